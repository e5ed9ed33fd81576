"""How much a request may send and hold, before anything of it is read or anybody is asked who sends it."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections import Counter, deque
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

AT_A_TIME: Final = 8
"""Connections that are taken before what is at work gets its turn."""

BACKLOG: Final = 4096
"""Connections that the system lets wait: it drops others, whose senders try again only after a second."""

STRANGERS_OF_ONE: Final = 3
STRANGERS: Final = 12
"""Requests of one source and kind (with or without a credential), and of all, that are answered at the same time while
nobody knows who sends them."""

COOKIE: Final = "axiswatch_session"
SESSION: Final = f"{COOKIE}=".encode()
MOST_KNOWN: Final = 10_000

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


def credential(authorization: bytes, cookies: bytes) -> bytes:
    """Return what stands for a request's log-in: a hash of its token or session cookie; empty where it has none."""
    _, _, session = cookies.partition(SESSION)
    given = authorization.strip() or session.partition(b";")[0].strip()
    return hashlib.sha256(given).digest() if given else b""


class Known:
    """Credentials that were right lately. It gives a place in the queue and no right: each request is checked anew."""

    def __init__(self) -> None:
        self.kept: dict[bytes, None] = {}

    def add(self, one: bytes) -> None:
        """Remember a credential; forget the oldest where there are too many."""
        if one and one not in self.kept:
            self.kept[one] = None
            if len(self.kept) > MOST_KNOWN:
                del self.kept[next(iter(self.kept))]


KNOWN: Final = Known()


class GuardedProtocol(H11Protocol):
    """HTTP/1.1 that bounds what a connection may hold: uvicorn alone waits for ever, and keeps headers of any length.

    The first line and the headers are collected here and handed on whole. Chunked bodies are refused (411): no browser
    sends them, and a chunk of one byte costs as much as one of a megabyte. A request that comes before the answer to
    the one before it ends the connection: no browser does that either.

    Of those who have not shown a right credential lately, few requests are answered at a time; the others wait, those
    of each source by themselves. So no flood of them stands before the request of somebody who is logged in. A source
    that opens too many connections loses the oldest one that waits for a request.
    """

    open_by_source: Final[Counter[str]] = Counter()
    strangers: Final[Counter[str]] = Counter()
    waiting: Final[dict[str, deque[GuardedProtocol]]] = {}
    idle: Final[dict[str, dict[GuardedProtocol, None]]] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; where there are too many, end the oldest that waits for a request."""
        super().connection_made(transport)
        self.head, self.body_left, self.is_answering = bytearray(), 0, False
        self.timer: asyncio.TimerHandle | None = None
        self.is_stranger, self.held = False, b""
        self.source = network_of(self.client[0] if self.client else "")
        self.lane, self.is_known = self.source, False
        self.open_by_source[self.source] += 1
        self.idle.setdefault(self.source, {})[self] = None
        self._end_after(HEAD_S)
        if self.open_by_source[self.source] > MOST_OF_ONE:
            self._make_room(self.source)
        elif len(self.connections) > MOST_CONNECTIONS:
            self._make_room(self.open_by_source.most_common(1)[0][0])

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._end_after(None)
        if self.held:
            self.waiting[self.lane].remove(self)
        self._leave()
        self._is_idle(False)
        self.open_by_source[self.source] -= 1
        if self.open_by_source[self.source] <= 0:
            del self.open_by_source[self.source]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Collect a head and hand it on whole; hand on a body as it comes."""
        if self.transport.is_closing():
            return
        head = b""
        if self.held:
            self.transport.abort()
            return
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
            lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
            headers = {name.strip().lower(): value.strip() for name, _, value in lines}
            if b"transfer-encoding" in headers:
                self._refuse(b"411 Length Required")
                return
            length = headers.get(b"content-length", b"0")
            self.body_left = int(length) if length.isdigit() and len(length) < 19 else 0
            self.is_answering = True
            self._is_idle(False)
        if len(data) > self.body_left:
            self.transport.abort()
            return
        self.body_left -= len(data)
        if head or not self.body_left:
            self._end_after(BODY_S if self.body_left else None)
        if head:
            shown = credential(headers.get(b"authorization", b""), headers.get(b"cookie", b""))
            self.is_known = shown in KNOWN.kept
            self.lane = f"{self.source} {bool(shown)}"
            if not self.is_known and not self._enter():
                self.held = head + data
                self.transport.pause_reading()
                self.waiting.setdefault(self.lane, deque()).append(self)
                return
        super().data_received(head + data)

    def on_response_complete(self) -> None:
        """Wait for the next request, but not for ever."""
        self.is_answering = False
        if self.body_left:
            self.transport.close()
        self._leave()
        super().on_response_complete()
        if not self.transport.is_closing():
            self._end_after(HEAD_S)
            self._is_idle(not self.is_known)

    def _enter(self) -> bool:
        """Take one of the places of strangers, if one is free."""
        if self.strangers[self.lane] >= STRANGERS_OF_ONE or self.strangers.total() >= STRANGERS:
            return False
        self.strangers[self.lane] += 1
        self.is_stranger = True
        return True

    def _leave(self) -> None:
        """Give the place back, and let who waits have it."""
        if not self.is_stranger:
            return
        self.is_stranger = False
        self.strangers[self.lane] -= 1
        if not self.strangers[self.lane]:
            del self.strangers[self.lane]
        for lane, line in list(self.waiting.items()):
            while line and line[0]._enter():
                line.popleft()._go_on()
            if not line:
                del self.waiting[lane]

    def _is_idle(self, so: bool) -> None:
        """Note whether the connection of a stranger waits for a request."""
        there = self.idle.setdefault(self.source, {})
        if so:
            there[self] = None
        else:
            there.pop(self, None)
        if not there:
            del self.idle[self.source]

    def _make_room(self, source: str) -> None:
        """End the oldest connection of a source that waits for a request; where none does, this one."""
        oldest = next(iter(self.idle.get(source) or [self]))
        oldest._is_idle(False)
        oldest.transport.abort()

    def _go_on(self) -> None:
        data, self.held = self.held, b""
        self.transport.resume_reading()
        super().data_received(data)

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
        app,
        host=host,
        port=port,
        log_level="warning",
        http=GuardedProtocol,
        ws="none",
        loop="asyncio",
        backlog=AT_A_TIME,
    )


class GuardedServer(uvicorn.Server):
    """A server before which many connections may wait, of which it takes a few at a time."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        for one in sockets or ():
            one.listen(BACKLOG)


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
