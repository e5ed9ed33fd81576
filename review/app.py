"""The factory of the application: routes, headers, errors. The time comes from the clock in its arguments."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from urllib.parse import quote, unquote

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.encoders import jsonable_encoder
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse
from starlette.exceptions import HTTPException as RouteError
from starlette.middleware.gzip import GZipMiddleware

from pipeline.accounts import Account
from pipeline.base.errors import AxiswatchError, Coded, PrerequisiteMissing, problem_text
from pipeline.base.settings import Settings
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from review import api, api_figures, pages
from review.access import PUBLIC, needs, own_account
from review.acts import api as api_acts
from review.figures.kept import Kept
from review.limits import BodyLimit, GuardedServer, LogInTurns, server_config
from review.page import STATIC_FILES, here, refuse

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)
COLLECTED_AFTER = (2_000, 10, 10)
KEPT_FOR_EVER = "public, max-age=31536000, immutable"
NO_ROUTE = {
    "Not Found": "there is nothing at this address; GET /api/v1/openapi.json lists every one",
    "Method Not Allowed": "this address takes another method; GET /api/v1/openapi.json lists them",
}
"""Sentences in place of the words of the library, for programs."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(
    store: Store,
    lake: Lake,
    settings: Settings,
    *,
    clock: Callable[[], datetime],
    account_of: Callable[[Request], Account | None] = own_account,
) -> FastAPI:
    """Create the application over a store and a lake.

    Parameters
    ----------
    store, lake, settings
        Database, files and settings.
    clock
        Returns the time (with offset) of a request; the application reads no other clock.
    account_of
        Returns the account of a request: by the log-in and tokens of axiswatch, or by the system in which the
        application is mounted.
    """
    app = FastAPI(title="axiswatch review", version="1", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.store, app.state.lake, app.state.settings, app.state.clock = store, lake, settings, clock
    app.state.log_ins = LogInTurns()
    app.state.counts = Kept(timedelta(seconds=30), 100)  # of cases by choice of a filter
    app.state.courses = Kept(timedelta(seconds=10), 2_000)  # small lines of the queue
    app.state.account_of, app.state.own_log_in = account_of, account_of is own_account
    app.include_router(pages.router)
    app.include_router(api.router)
    app.include_router(api_figures.router)
    app.include_router(api_acts.router)
    app.get("/static/{name}", dependencies=[needs(PUBLIC)], include_in_schema=False)(static)
    app.middleware("http")(_with_headers)
    # A page holds a word of the session and words from its address; a stranger's page cannot ask for it, since the
    # cookie is sent on the application's own pages only (SameSite=strict), so its length tells nobody anything.
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=4)
    app.add_middleware(BodyLimit)
    for kind in (AxiswatchError, RouteError):
        app.add_exception_handler(kind, _error_response)
    app.add_exception_handler(RequestValidationError, _wrong_body)
    app.add_exception_handler(Exception, _broken)
    return app


def serve(app: FastAPI, *, host: str, port: int) -> None:
    """Serve the application until it is stopped."""
    gc.freeze()  # what was imported stays; what a request leaves behind goes soon: a refused body may be large
    gc.set_threshold(*COLLECTED_AFTER)
    config = server_config(app, host=host, port=port)
    GuardedServer(config).run(sockets=[config.bind_socket()])


def static(request: Request, name: str) -> Response:
    """Serve the application's own files; one that is asked for by its hash never changes, so a browser keeps it."""
    file = STATIC_FILES.get(name)
    if file is None:
        raise HTTPException(404, "there is no such file")
    kept = request.query_params.get("v") == file.digest
    return FileResponse(file.path, headers={"Cache-Control": KEPT_FOR_EVER if kept else "no-cache"})


async def _with_headers(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
    if "\0" in request.url.path or "%00" in request.url.query or "\0" in unquote(request.url.path):
        response = _error_response(request, HTTPException(422, "the address has a NUL character; remove it"))
    else:
        response = await proceed(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _error_response(request: Request, error: Exception) -> Response:
    """Return an error as JSON to programs and as a page to people; redirect to the log-in where it is missing."""
    status = 409
    if isinstance(error, PrerequisiteMissing):
        status = 404
    elif isinstance(error, RouteError):
        status = error.status_code
    if "/api/" in request.url.path or here(request).startswith("/static"):
        text = str(error.detail) if isinstance(error, RouteError) else str(error)
        return JSONResponse({"detail": NO_ROUTE.get(text, text)}, status)
    if status == 401 and request.method == "GET":
        target = here(request) + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{request.scope.get('root_path', '')}/login?next={quote(target)}", 303)
    return refuse(request, request.app.state.account_of(request), error, status=status)


def _wrong_body(request: Request, error: Exception) -> Response:
    """Return all that is wrong with the body or the query of a program, as FastAPI does."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    del request
    wrong = [{**{name: one[name] for name in ("type", "loc")}, "msg": problem_text(one)} for one in found]
    return JSONResponse({"detail": jsonable_encoder(wrong)}, 422)


def _broken(request: Request, error: Exception) -> Response:
    """Return a page, or JSON, for an error of our own; the server's log has the details."""
    del error
    text = Coded("something in the application went wrong; its log tells what", "broken")
    if "/api/" in request.url.path:
        return JSONResponse({"detail": text}, 500, headers=HEADERS)
    response = refuse(request, None, HTTPException(500, text), status=500)
    response.headers.update(HEADERS)
    return response
