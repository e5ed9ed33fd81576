"""A monitor that runs no more is told by the review application: live, with a real server and a real receiver."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[str]]]:
    """A webhook that keeps the texts it was sent."""
    told: list[str] = []

    class Keeper(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            del args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Keeper)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", told
    server.shutdown()
    server.server_close()


def test_the_review_application_tells_of_a_silent_monitor_and_of_its_return(
    cli: Any, free_port: Callable[[], int], receiver: tuple[str, list[str]]
) -> None:
    url, told = receiver
    port = free_port()
    settings = {"webhook_url": url, "monitor_silent_minutes": 0.05}
    cli("run", "--json", **settings)
    server = cli.start("review", "serve", "--port", str(port), **settings)

    def health() -> dict[str, str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/health", timeout=10) as answer:
            return dict(json.load(answer))

    def within(seconds: float, true: Callable[[], bool]) -> bool:
        give_up = time.monotonic() + seconds
        while time.monotonic() < give_up:
            if true():
                return True
            time.sleep(0.5)
        return False

    try:
        assert within(120, lambda: len(told) == 1), "nothing was said"
        assert "no run of the monitor ended well since" in told[0]
        assert health() == {"status": "ok", "monitor": "silent"}
        cli("run", "--json", **settings)
        assert told[1:] == ["the monitor runs again"]
        assert within(120, lambda: len(told) == 3), "it is silent again"
    finally:
        server.terminate()
        server.wait(timeout=30)
