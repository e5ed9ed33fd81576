"""One HTTP POST to an address of the settings, within a time that is kept whatever the other side does.

No redirect is followed: only the address that an administrator wrote down is told, and a receiver cannot send the
message on to another one. What it answers is not kept, only its status.
"""

from __future__ import annotations

import http.client
import socket
import threading
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit

SECONDS: Final = 10.0
"""Longest time for connecting, sending and the answer together, s."""

SCHEMES: Final = ("http", "https")


@dataclass(frozen=True)
class Answer:
    """What came of a request: the status (None where there was none), and a sentence."""

    status: int | None
    told: str

    @property
    def good(self) -> bool:
        """Whether it was taken: 200 to 299."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_down(self) -> bool:
        """Whether the receiver as a whole seems to be away: no answer, an error of its own, or too much for it."""
        return self.status is None or self.status >= 500 or self.status == 429


def post(url: str, body: bytes, headers: Mapping[str, str], *, seconds: float = SECONDS) -> Answer:
    """Send a body by POST and give what came of it; never raises for what the network or the receiver does.

    Parameters
    ----------
    seconds
        Time for all of it. A receiver that answers a byte at a time is cut off, too.
    """
    if urlsplit(url).scheme not in SCHEMES:
        return Answer(None, "not told: the address begins with neither http:// nor https://")
    deadline = _Deadline(seconds)
    try:
        request = urllib.request.Request(url, body, dict(headers), method="POST")
        with deadline, _opener(deadline).open(request, timeout=seconds) as answer:
            return Answer(answer.status, f"answered {answer.status}")
    except HTTPError as error:
        error.close()
        return Answer(error.code, f"answered {error.code}")
    except (OSError, ValueError, http.client.HTTPException) as error:
        if deadline.over:
            return Answer(None, f"not told: no answer within {seconds:g} s")
        return Answer(None, f"not told: {type(error).__name__}: {str(error)[:200]}")


class _Deadline:
    """Cuts the connections that it was told of when the time is over."""

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def watch(self, connection: socket.socket) -> None:
        """Cut this connection when the time is over."""
        self._sockets.append(connection)
        if self.over:
            self._cut()

    def _cut(self) -> None:
        self.over = True
        for connection in self._sockets:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


def _opener(deadline: _Deadline) -> urllib.request.OpenerDirector:
    """Give an opener of http and https, with the machine's proxies, without redirects and without other schemes."""

    def watched(kind: type[http.client.HTTPConnection], *told: Any, **more: Any) -> http.client.HTTPConnection:
        connection = kind(*told, **more)
        connect = connection.connect

        def connect_and_watch() -> None:
            connect()
            deadline.watch(connection.sock)

        connection.connect = connect_and_watch  # type: ignore[method-assign]
        return connection

    class Plain(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(lambda *t, **m: watched(http.client.HTTPConnection, *t, **m), request)

    class Secure(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(lambda *t, **m: watched(http.client.HTTPSConnection, *t, **m), request)

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        Plain(),
        Secure(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    return opener
