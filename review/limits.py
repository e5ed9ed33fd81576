"""How much a request may send and hold, before anything of it is read or anybody is asked who sends it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import Any, Final

import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.base.errors import AxiswatchError, Coded

MOST_BYTES: Final = 256 * 1024
"""Of a body: ten times the longest that the pages and the interface can use (200 cases and a note)."""

MOST_HEAD: Final = 16 * 1024
"""Of the first line and the headers together, bytes."""

HEAD_S: Final = 10.0
"""In which a connection must have sent its first line and headers, and the next ones after an answer, s."""

BODY_S: Final = 30.0
"""In which the body must follow, s."""

MOST_CONNECTIONS: Final = 2_000
MOST_OF_ONE: Final = 500
"""Open connections of all, and of one source: a plant behind a proxy is one source."""

BACKLOG: Final = 64
"""New connections that are taken before others get their turn."""

LOG_INS_OF_ONE: Final = 1
LOG_INS: Final = 6
"""Log-ins of one source, and of all, that are looked at at the same time: each takes cores that pages need too."""

MOST_WAITING: Final = 50
LOG_IN_PATIENCE_S: Final = 5.0


def network_of(host: str) -> str:
    """Return the source that an address belongs to: itself; of IPv6 the network of 64 bits that one customer has."""
    try:
        address = ip_address(host)
    except ValueError:
        return host[:64]
    return str(ip_network(f"{host}/64", strict=False)) if address.version == 6 else host


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 that bounds what a connection may hold: uvicorn alone waits for ever, and keeps headers of any length.

    The first line and the headers are collected here and handed on whole. Chunked bodies are refused (411): no browser
    sends them, and a chunk of one byte costs as much as one of a megabyte. A request that comes before the answer to
    the one before it ends the connection: no browser does that either.
    """

    open_by_source: Final[Counter[str]] = Counter()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, unless its source has too many."""
        super().connection_made(transport)
        self.head, self.body_left, self.is_answering = bytearray(), 0, False
        self.timer: asyncio.TimerHandle | None = None
        self.source = network_of(self.client[0] if self.client else "")
        self.open_by_source[self.source] += 1
        if self.open_by_source[self.source] > MOST_OF_ONE or len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._end_after(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._end_after(None)
        self.open_by_source[self.source] -= 1
        if self.open_by_source[self.source] <= 0:
            del self.open_by_source[self.source]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Collect a head and hand it on whole; hand on a body as it comes."""
        if self.transport.is_closing():
            return
        head = b""
        if not self.is_answering:
            self._unset_keepalive_if_required()
            self.head += data
            end = self.head.find(b"\r\n\r\n", 0, MOST_HEAD) + 4
            if end < 4:
                if len(self.head) > MOST_HEAD:
                    self._refuse(b"431 Request Header Fields Too Large")
                return
            head, data = bytes(self.head[:end]), bytes(self.head[end:])
            self.head.clear()
            headers = [line.partition(b":") for line in head.lower().split(b"\r\n")[1:]]
            if any(name.strip() == b"transfer-encoding" for name, _, _ in headers):
                self._refuse(b"411 Length Required")
                return
            length = next((value.strip() for name, _, value in headers if name.strip() == b"content-length"), b"0")
            self.body_left = int(length) if length.isdigit() and len(length) < 19 else 0
            self.is_answering = True
        if len(data) > self.body_left:
            self.transport.abort()
            return
        self.body_left -= len(data)
        if head or not self.body_left:
            self._end_after(BODY_S if self.body_left else None)
        super().data_received(head + data)

    def on_response_complete(self) -> None:
        """Wait for the next request, but not for ever."""
        self.is_answering = False
        if self.body_left:
            self.transport.close()
        super().on_response_complete()
        if not self.transport.is_closing():
            self._end_after(HEAD_S)

    def _end_after(self, seconds: float | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)

    def _refuse(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.transport.close()


def server_config(app: Any, *, host: str, port: int) -> uvicorn.Config:
    """Return how an application is served: the same protocol and loop whatever else is installed."""
    return uvicorn.Config(
        app, host=host, port=port, log_level="warning", http=GuardedProtocol, ws="none", loop="asyncio", backlog=BACKLOG
    )


class LogInTurns:
    """Log-ins wait here, where waiting costs nothing, until few enough of their source and of all are looked at."""

    def __init__(self) -> None:
        self.of_all = asyncio.Semaphore(LOG_INS)
        self.of_source: dict[str, asyncio.Semaphore] = {}
        self.waiting: Counter[str] = Counter()

    @asynccontextmanager
    async def turn(self, source: str) -> AsyncIterator[None]:
        """Wait for a turn.

        Raises
        ------
        AxiswatchError
            Too many wait, or none was given in time.
        """
        busy = AxiswatchError(Coded("many people log in at this moment; try again in a few seconds", "busy"))
        if self.waiting[source] >= MOST_WAITING:
            raise busy
        self.waiting[source] += 1
        own = self.of_source.setdefault(source, asyncio.Semaphore(LOG_INS_OF_ONE))
        taken = []
        try:
            try:
                async with asyncio.timeout(LOG_IN_PATIENCE_S):
                    for turns in (own, self.of_all):
                        await turns.acquire()
                        taken.append(turns)
            except TimeoutError:
                raise busy from None
            yield
        finally:
            for turns in taken:
                turns.release()
            self.waiting[source] -= 1
            if not self.waiting[source]:
                del self.waiting[source], self.of_source[source]


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
        whole = declared.isdigit() and len(declared) < 10 and int(declared) <= MOST_BYTES
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
