"""How much a request may send, before anything of it is read or anybody is asked who sends it."""

from __future__ import annotations

from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES: Final = 256 * 1024
"""Of a body: ten times the longest that the pages and the interface can use (200 cases and a note)."""


class BodyLimit:
    """Refuses a request whose body is longer than `MOST_BYTES` with status 413; no more than that is kept in memory."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, its whole body read; websockets and life cycle pass as they are."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        body = b""
        whole = declared.isdigit() and int(declared) <= MOST_BYTES
        more = whole
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MOST_BYTES:
                whole = more = False
        if not whole:
            text = f"the request is longer than {MOST_BYTES // 1024} kB; send less at once"
            await JSONResponse({"detail": text}, 413, headers={"Connection": "close"})(scope, receive, send)
            return
        given = False

        async def once() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, once, send)
