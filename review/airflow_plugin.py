"""The review application inside Airflow's pages, with its users, rights and log-in; and runs that a person ends there.

Airflow loads this file in each of its processes, so nothing of axiswatch is imported or opened before the first
request. Airflow does not protect a mounted application, so the gate checks every request and refuses users that Airflow
does not know. A user's role follows from their rights on the monitor's DAG, with any auth manager: they can see it
(viewer), run it (reviewer), or also change connections (admin).
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

PREFIX: Final = "/axiswatch"
DAG: Final = "axiswatch_monitor"
REALM: Final = "airflow"
"""Added to the names of Airflow's users: `mara@airflow` is not the user `mara` of axiswatch."""

OWN_DAGS: Final = "axiswatch_"
BY_HAND: Final = "manually"
"""A word of Airflow's message about a run that a person marked failed, which calls nothing in a DAG file."""

OWN_LOG_IN: Final = ("/login", "/logout")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Gate:
    """An ASGI application that identifies the user by Airflow and passes the request to the review application."""

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
        """Return the application, and the account of a user of Airflow."""
        from airflow.configuration import conf
        from starlette.exceptions import HTTPException

        from pipeline.accounts import Account, record_outside_user
        from pipeline.base.errors import AxiswatchError
        from pipeline.workplace import now

        role = role_in_airflow(user)
        if role is None:
            raise HTTPException(403, f"user {user.get_name()} has no right in Airflow to see the DAG {DAG}")
        try:
            app = self._application()
            name = f"{user.get_name()}@{REALM}"
            allowed = record_outside_user(app.state.store, name, role, at=now())
        except (AxiswatchError, ModuleNotFoundError) as error:
            raise HTTPException(503, f"the review application cannot start: {error}") from error
        if not allowed:
            raise HTTPException(403, f"user {name} is disabled; `axiswatch user set {name} --enable` enables it")
        key = str(conf.get("api", "secret_key")).encode()
        word = hmac.new(key, f"axiswatch csrf {user.get_id()}".encode(), hashlib.sha256).hexdigest()
        return app, Account(name, role, "" if by_token else word)

    def _application(self) -> Any:
        """Open database and lake at the first request; if that fails, try again at the next one."""
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


class MarkedFailed:
    """Store and report a run that a person marked failed in Airflow. A run that fails by itself reports itself."""

    @hookimpl  # type: ignore[untyped-decorator]
    def on_dag_run_failed(self, dag_run: Any, msg: str) -> None:
        """Airflow's api-server and scheduler call this in the middle of a transaction, so it waits for nothing."""
        if BY_HAND not in msg or not dag_run.dag_id.startswith(OWN_DAGS):
            return
        told = {"dag_id": dag_run.dag_id, "run_id": dag_run.run_id, "task_id": "", "map_index": -1, "try_number": 0}
        told |= {"log_url": "", "message": "a person marked this run failed; Airflow's audit log says who"}
        told["known_at"] = dag_run.data_interval_end or dag_run.run_after
        threading.Thread(target=_report, args=[told]).start()


def _report(told: dict[str, Any]) -> None:
    from pipeline.base.errors import AxiswatchError
    from pipeline.base.sources import load_settings
    from pipeline.handoff.failures import Failure, report_failure

    try:
        settings = load_settings()
        report_failure(Failure(**told), database=settings.database, webhook_url=settings.webhook_url)
    except AxiswatchError:
        logging.getLogger(__name__).exception("a run that was marked failed was not stored: %s", told["run_id"])


def role_in_airflow(user: Any) -> str | None:
    """Return the role of a user of Airflow in the review application; None where they cannot see the monitor's DAG."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

    manager, monitor = get_auth_manager(), DagDetails(id=DAG)
    if not manager.is_authorized_dag(method="GET", details=monitor, user=user):
        return None
    if not manager.is_authorized_dag(method="POST", access_entity=DagAccessEntity.RUN, details=monitor, user=user):
        return "viewer"
    return "admin" if manager.is_authorized_connection(method="POST", user=user) else "reviewer"


async def _user(request: Any) -> tuple[Any, bool]:
    """Return Airflow's user, and whether a token identified them (with a cookie, writes need a CSRF token too)."""
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
    """The plugin that Airflow loads by the entry point `airflow.plugins`: the application and its menu entry."""

    name = "axiswatch_review"
    listeners = [MarkedFailed()]  # noqa: RUF012
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
