"""The review application inside Airflow's own pages: Airflow's users, Airflow's rights, one log-in.

Airflow loads this file in each of its parts, so that nothing of ours is imported, opened or read before the first page
is asked for. Airflow protects no mounted application: the gate stands before every route, whatever it is, and lets
nobody through whom Airflow does not know. What a person may do follows from what Airflow lets them do with the
monitor's DAG, whichever auth manager it runs: see it (viewer), run it (reviewer), change connections (admin).
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from airflow.plugins_manager import AirflowPlugin

PREFIX: Final = "/axiswatch"
DAG: Final = "axiswatch_monitor"
REALM: Final = "airflow"
"""Behind the name of who comes through Airflow: `mara@airflow`, apart from a `mara` with a password of ours."""

OWN_LOG_IN: Final = ("/login", "/logout")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Gate:
    """An ASGI application: asks Airflow who is there, then hands the request to the review application."""

    def __init__(self) -> None:
        self._app: Any = None
        self._lock = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        from starlette.concurrency import run_in_threadpool
        from starlette.exceptions import HTTPException
        from starlette.requests import Request

        if scope["type"] != "http":
            return
        request = Request(scope)
        try:
            user, by_token = await _user(request)
            if _path(scope) in OWN_LOG_IN:
                raise HTTPException(404, "log in and out in Airflow")
            app, account = await run_in_threadpool(self._enter, user, by_token)
        except HTTPException as error:
            await _refusal(request, error.status_code, str(error.detail))(scope, receive, send)
            return
        state = {**scope.get("state", {}), "account": account}
        await app({**scope, "state": state}, receive, send)

    def _enter(self, user: Any, by_token: bool) -> tuple[Any, Any]:
        """Give the application, and the account of a user of Airflow."""
        from airflow.configuration import conf
        from starlette.exceptions import HTTPException

        from pipeline.accounts import Account, record_outside_user
        from pipeline.base.errors import AxiswatchError
        from pipeline.workplace import now

        role = role_in_airflow(user)
        if role is None:
            raise HTTPException(403, f"Airflow does not let {user.get_name()} see the DAG {DAG}")
        try:
            app = self._application()
            name = f"{user.get_name()}@{REALM}"
            allowed = record_outside_user(app.state.store, name, role, at=now())
        except (AxiswatchError, ModuleNotFoundError) as error:
            raise HTTPException(503, f"the review application cannot start: {error}") from error
        if not allowed:
            raise HTTPException(403, f"{name} is disabled; `axiswatch user set` changes that")
        key = str(conf.get("api", "secret_key")).encode()
        word = hmac.new(key, f"axiswatch csrf {user.get_id()}".encode(), hashlib.sha256).hexdigest()
        return app, Account(name, role, "" if by_token else word)

    def _application(self) -> Any:
        """Open database and lake at the first request; where that fails, at the next one again."""
        with self._lock:
            if self._app is None:
                from pipeline.workplace import now, workplace
                from review.app import create_app

                place = workplace()
                self._app = create_app(
                    place.store,
                    place.lake,
                    place.settings,
                    clock=now,
                    account_of=lambda request: request.state.account,
                )
            return self._app


def role_in_airflow(user: Any) -> str | None:
    """Give the role here of a user of Airflow, None where Airflow lets them not even see the monitor."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

    manager, monitor = get_auth_manager(), DagDetails(id=DAG)
    if not manager.is_authorized_dag(method="GET", details=monitor, user=user):
        return None
    if not manager.is_authorized_dag(method="POST", access_entity=DagAccessEntity.RUN, details=monitor, user=user):
        return "viewer"
    return "admin" if manager.is_authorized_connection(method="POST", user=user) else "reviewer"


async def _user(request: Any) -> tuple[Any, bool]:
    """Give Airflow's user, by its own rules, and whether a token said so (a browser's cookie needs a word besides)."""
    from airflow.api_fastapi.core_api.security import bearer_scheme, get_user

    token = await bearer_scheme(request)
    return await get_user(request, None, token), token is not None


def _path(scope: Scope) -> str:
    path = str(scope["path"]).removeprefix(str(scope.get("root_path", "")))
    return path.rstrip("/") or "/"


def _refusal(request: Any, status: int, why: str) -> Any:
    from starlette.responses import JSONResponse, PlainTextResponse

    if "text/html" in request.headers.get("accept", "") and "/api/" not in request.url.path:
        more = " Log in to Airflow, then load this page again." if status == 401 else ""
        return PlainTextResponse(f"axiswatch: {why}.{more}", status)
    return JSONResponse({"detail": why}, status)


class AxiswatchReview(AirflowPlugin):  # type: ignore[misc]
    """What Airflow finds by the entry point `airflow.plugins`: the application, and its place in the menu."""

    name = "axiswatch_review"
    fastapi_apps = [{"app": Gate(), "url_prefix": PREFIX, "name": "axiswatch review"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "axiswatch review",
            "href": f"{PREFIX[1:]}/",
            "url_route": "axiswatch_review",
            "destination": "nav",
            "category": "browse",
        }
    ]
