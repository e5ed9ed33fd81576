"""Who sends a request, and with which rights: every route declares its role by `needs`; writes need a CSRF token."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import Depends, HTTPException, Request
from starlette.datastructures import FormData

from pipeline.accounts import Account, account_of_session, account_of_token
from pipeline.base.errors import Coded
from review.limits import COOKIE, KNOWN, credential, network_of

PUBLIC = "nobody"
READS = ("GET", "HEAD")
MOST_FIELDS = 500


async def form_of(request: Request) -> FormData:
    """Read the form of a request; return an empty one where there is none."""
    kind = request.headers.get("content-type", "")
    if kind.startswith(("application/x-www-form-urlencoded", "multipart/form-data")):
        if "form-data" not in kind and (await request.body()).count(b"&") >= MOST_FIELDS:
            raise HTTPException(400, f"the form has more than {MOST_FIELDS} fields")  # the parser itself would take all
        return await request.form(max_files=0, max_fields=MOST_FIELDS)
    return FormData()


Form = Annotated[FormData, Depends(form_of)]


class Needs:
    """A dependency of a route: the user must have at least this role. `nobody` means that the route is open to all."""

    def __init__(self, role: str) -> None:
        self.role = role

    def __call__(self, request: Request, form: Form) -> Account | None:
        """Return the account of the request; None where the route is open and nobody is logged in.

        Raises
        ------
        HTTPException
            401: not logged in. 403: the role is not sufficient, the CSRF token is wrong, or the write comes from a page
            of another site.
        """
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
                text = "the form has no valid CSRF token, or it is too old; load the page again"
                raise HTTPException(403, Coded(text, "csrf"))
        if not account.may(self.role):
            text = f"this needs the role {self.role}; yours is {account.role}"
            raise HTTPException(403, Coded(text, "role", role=self.role, own=account.role))
        return account


def needs(role: str) -> Any:
    """Declare the least role that a route needs."""
    return Depends(Needs(role))


def own_account(request: Request) -> Account | None:
    """Return the account of a request's token or session; None where it has no valid one."""
    state = request.app.state
    clock: Callable[[], Any] = state.clock
    shown = request.headers.get("authorization", "")
    kind, _, token = shown.partition(" ")
    if kind.lower() == "bearer":
        account = account_of_token(state.store, token.strip(), at=clock())
    else:
        cookie = request.cookies.get(COOKIE)
        account = account_of_session(state.store, cookie, at=clock()) if cookie else None
    if account is not None:
        KNOWN.add(credential(shown.encode("latin-1"), request.headers.get("cookie", "").encode("latin-1")))
    return account


def source_of(request: Request) -> str:
    """Return where a request comes from, see `network_of`.

    Behind a proxy the server must know it (uvicorn's `forwarded_allow_ips`), or all have the proxy's address.
    """
    return network_of(request.client.host if request.client is not None else "")


def _refuse_other_origins(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin and urlsplit(origin).netloc != request.headers.get("host"):
        text = f"writes from pages of {origin} are refused; use the pages of this application"
        raise HTTPException(403, Coded(text, "origin"))
