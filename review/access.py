"""Who asks, and whether they may: every route declares its role by `needs`, writes bring the session's word along."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from starlette.datastructures import FormData

from pipeline.accounts import Account, account_of_session, account_of_token

COOKIE = "axiswatch_session"
PUBLIC = "nobody"
READS = ("GET", "HEAD")


async def form_of(request: Request) -> FormData:
    """Read the form of a request; an empty one where there is none."""
    kind = request.headers.get("content-type", "")
    if kind.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        return await request.form(max_files=0, max_fields=500)
    return FormData()


Form = Annotated[FormData, Depends(form_of)]


class Needs:
    """A dependency: whoever asks has at least this role. `nobody` is open to all, and the route says so."""

    def __init__(self, role: str) -> None:
        self.role = role

    def __call__(self, request: Request, form: Form) -> Account | None:
        """Give the account; None where the route is open and nobody is logged in."""
        if request.method not in READS:
            _refuse_other_origins(request)
        account: Account | None = request.app.state.account_of(request)
        if self.role == PUBLIC:
            return account
        if account is None:
            raise HTTPException(401, "log in first, or send a token: Authorization: Bearer TOKEN")
        if request.method not in READS and account.csrf:
            token = request.headers.get("x-csrf-token") or str(form.get("csrf", ""))
            if not secrets.compare_digest(token.encode(), account.csrf.encode()):
                raise HTTPException(403, "this form is too old or not ours; load the page again")
        if not account.may(self.role):
            raise HTTPException(403, f"this needs the role {self.role}; yours is {account.role}")
        return account


def needs(role: str) -> Any:
    """Declare the role of a route."""
    return Depends(Needs(role))


def own_account(request: Request) -> Account | None:
    """Give whose token or session a request carries; None where it is nobody's."""
    state = request.app.state
    clock: Callable[[], Any] = state.clock
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return account_of_token(state.store, token.strip(), at=clock())
    cookie = request.cookies.get(COOKIE)
    return account_of_session(state.store, cookie, at=clock()) if cookie else None


def _refuse_other_origins(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"a write that comes from {origin} is refused")
