"""What somebody who is not logged in can do to the review application: its memory, and how long others wait.

    python benchmarks/attacks.py FOLDER [--seconds 8] [--only NAME]

FOLDER is the home of a demonstration (`axiswatch demo --folder FOLDER`). The application runs as a process of its own.
Each attack goes on for some seconds over real sockets, with no valid cookie, token or password. Meanwhile a user who is
logged in loads the queue and a case, one after another. Printed of each attack: the most memory the process had (MiB),
how long the user's slowest page took (s), the answers by status, and the memory after it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import httpx
from review_load import serve

from pipeline.accounts import add_user, list_users, make_token
from pipeline.base.settings import Settings
from pipeline.store.database import Store
from pipeline.store.tables import Case

Attack = Callable[["Attacker"], None]
PATIENCE_S = 5.0
CONNECTIONS = 40
MIB = 1024**2


class Attacker:
    """Sends bytes until a time is over, and counts what comes back."""

    def __init__(self, address: str, until: float, seed: int) -> None:
        self.place = (urlsplit(address).hostname or "", urlsplit(address).port or 0)
        self.until, self.random = until, random.Random(seed)
        self.answers: Counter[str] = Counter()

    @property
    def goes_on(self) -> bool:
        """Whether there is time left."""
        return time.monotonic() < self.until

    def connect(self) -> socket.socket:
        """Open a connection."""
        opened = socket.create_connection(self.place, PATIENCE_S)
        opened.settimeout(PATIENCE_S)
        return opened

    def send(self, *parts: bytes, listen: bool = True) -> None:
        """Send parts over a new connection and count the status of the answer, or how it ended without one."""
        try:
            with self.connect() as opened:
                with suppress(ConnectionError):
                    for part in parts:
                        opened.sendall(part)
                if listen:
                    head = opened.recv(64).split(b" ")
                    self.answers[head[1].decode() if len(head) > 1 else "closed"] += 1
        except TimeoutError:
            self.answers["timeout"] += 1
        except OSError as error:
            self.answers[type(error).__name__] += 1

    def ask(self, path: str, *headers: str, method: str = "GET", body: bytes = b"") -> None:
        """Send one request."""
        length = [f"Content-Length: {len(body)}"] if body else []
        head = "\r\n".join([f"{method} {path} HTTP/1.1", "Host: plant", "Connection: close", *length, *headers])
        self.send(head.encode("latin-1") + b"\r\n\r\n" + body)


def form(path: str, **fields: str) -> bytes:
    """A posted form."""
    body = urlencode(fields).encode()
    kind = "Content-Type: application/x-www-form-urlencoded"
    head = f"POST {path} HTTP/1.1\r\nHost: plant\r\nConnection: close\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def big_body(one: Attacker) -> None:
    """400 MiB that are declared."""
    one.send(b"POST /api/v1/bulk/verdict HTTP/1.1\r\nHost: p\r\nContent-Length: 419430400\r\n\r\n", *[b"x" * MIB] * 400)


def body_without_length(one: Attacker) -> None:
    """Chunks without end."""
    chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
    one.send(b"POST /login HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n", *[chunk] * 400)


def small_chunks(one: Attacker) -> None:
    """A body of many chunks of one byte, never ended."""
    one.send(b"POST /login HTTP/1.1\r\nHost: p\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"1\r\nx\r\n" * 10_000] * 40)


def pipelined(one: Attacker) -> None:
    """A thousand requests before the first answer."""
    one.send(b"GET /login HTTP/1.1\r\nHost: p\r\n\r\n" * 1000)


def slow(lines: bytes, drip: bytes) -> Attack:
    """Many connections that send a byte now and then."""

    def drips(one: Attacker) -> None:
        opened: list[socket.socket] = []
        while one.goes_on:
            with suppress(OSError):
                fresh = one.connect()
                fresh.sendall(lines)
                opened.append(fresh)
            if len(opened) % 20 == 0:
                for line in opened:
                    with suppress(OSError):
                        line.sendall(drip)
        one.answers["connections"] += len(opened)
        for line in opened:
            line.close()

    return drips


def many_log_ins(one: Attacker) -> None:
    """A made-up name each time."""
    one.send(form("/login", name=f"user{one.random.random()}", password="wrong password"))


def true_name(one: Attacker) -> None:
    """Wrong passwords for a user whom everybody knows."""
    one.send(form("/login", name="load", password=f"wrong {one.random.random()}"))


def long_name(one: Attacker) -> None:
    """A name, or a password, that fills what a body may have."""
    one.send(form("/login", **{one.random.choice(("name", "password")): "n" * 250_000}, other="x"))


def many_fields(one: Attacker) -> None:
    """A form of 100,000 fields, and a multipart form of files."""
    body = b"&".join(b"a%d=" % number for number in range(30_000))
    one.ask("/login", "Content-Type: application/x-www-form-urlencoded", method="POST", body=body)
    part = b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n' * 3000
    one.ask("/login", "Content-Type: multipart/form-data; boundary=b", method="POST", body=part + b"--b--\r\n")


def deep_json(one: Attacker) -> None:
    """Lists in lists, and numbers of 100,000 digits."""
    body = one.random.choice((b"[" * 120_000, b'{"a":' * 40_000, b"9" * 250_000))
    one.ask("/api/v1/cases/x/comment", "Content-Type: application/json", method="POST", body=body)


def long_query(one: Attacker) -> None:
    """60 kB behind the question mark."""
    one.ask("/?" + one.random.choice(("a=" + "b" * 60_000, "&".join(["a=1"] * 15_000), "next=" + "%2F" * 20_000)))


def long_headers(one: Attacker) -> None:
    """Headers of 16 MiB, of one line or of many."""
    line = one.random.choice((b"x" * 65_536, b"A: b\r\n" * 10_922))
    one.send(b"GET / HTTP/1.1\r\nHost: p\r\nX: ", *[line] * 256)


def ranges(one: Attacker) -> None:
    """Thousands of ranges of a file."""
    spans = ",".join(f"{number}-{number + 1}" for number in range(0, 12_000, 2))
    one.ask("/static/review.css", f"Range: bytes={spans[:60_000].rpartition(',')[0]}")


PATHS = (
    "/cases/x", "/api/v1/cases/x", "/none", "/static/../../etc/passwd", "/static/..%2f..%2fetc%2fpasswd", "/static/%00",
    "/cases/%00", "/api/v1/recordings/x/waveform", "/api/v1/export/cases.csv", "//evil/", "/login?next=//evil",
    "/%ff%fe", "/a" * 2000, "/api/v1/metrics", "/api/v1/openapi.json", "/static/review.js%00.css",
)  # fmt: skip


def odd_paths(one: Attacker) -> None:
    """Unknown paths, paths that lead out of the folder, NUL bytes, pages that need a log-in."""
    one.ask(one.random.choice(PATHS))


def bad_tokens(one: Attacker) -> None:
    """Cookies and tokens that are wrong, long, or no text."""
    odd = one.random.choice(("x" * 43, "y" * 30_000, "\xff\xfe", "a=b;" * 2000))
    one.ask("/", one.random.choice((f"Cookie: axiswatch_session={odd}", f"Authorization: Bearer {odd}")))


def no_http(one: Attacker) -> None:
    """Bytes of no protocol, and of others."""
    one.send(one.random.choice((os.urandom(4096), b"\x16\x03\x01" * 1000, b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n")))


def log_in_page(one: Attacker) -> None:
    """The page that everybody may see, as often as it goes."""
    one.ask("/login")


HEAD, BODY = b"GET / HTTP/1.1\r\nHost: p\r\n", b"POST /login HTTP/1.1\r\nHost: p\r\nContent-Length: 200000\r\n\r\n"
ATTACKS: dict[str, Attack] = {
    "nothing": lambda one: time.sleep(0.1),
    "big body": big_body,
    "body without length": body_without_length,
    "small chunks": small_chunks,
    "a request upon another": pipelined,
    "silent connections": slow(b"", b""),
    "slow head": slow(HEAD, b"X: y\r\n"),
    "slow body": slow(BODY, b"x"),
    "unread answers": slow(b"GET /static/review.css HTTP/1.1\r\nHost: p\r\n\r\n", b""),
    "made-up names": many_log_ins,
    "a true name": true_name,
    "long names": long_name,
    "many fields": many_fields,
    "deep JSON": deep_json,
    "long queries": long_query,
    "long headers": long_headers,
    "ranges": ranges,
    "odd paths": odd_paths,
    "bad cookies and tokens": bad_tokens,
    "no HTTP": no_http,
    "log-in page": log_in_page,
}


def attack(address: str, act: Attack, seconds: float) -> Counter[str]:
    """Let many attackers act for some seconds; return all answers."""
    until = time.monotonic() + seconds
    attackers = [Attacker(address, until, seed) for seed in range(CONNECTIONS)]

    def work(one: Attacker) -> None:
        while one.goes_on:
            act(one)

    threads = [threading.Thread(target=work, args=[one]) for one in attackers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum((one.answers for one in attackers), Counter())


class User:
    """Somebody who is logged in and loads a page after another, in a process of its own."""

    def __init__(self, address: str, token: str, case: str) -> None:
        command = [sys.executable, __file__, "--user", address, token, case]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def stop(self) -> tuple[list[float], int]:
        """End it; return the times of its pages, s, in their order, and how many went wrong."""
        out, _ = self.process.communicate("")
        times, wrong = json.loads(out)
        return sorted(times), wrong


def load_pages(address: str, token: str, case: str) -> None:
    """Load pages until the standard input ends; print times and failures."""
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    times, wrong = [], 0
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        client.get("/")
        print("ready", flush=True)
        while not over.wait(0.05):
            begin = time.monotonic()
            try:
                answer = client.get(("/", f"/cases/{case}", "/fleet")[len(times) % 3])
                wrong += answer.status_code != 200
            except httpx.HTTPError:
                wrong += 1
            times.append(time.monotonic() - begin)
    print(json.dumps([times, wrong]))


def memory(process: int) -> Iterator[float]:
    """Yield the most memory since the last call, then what is taken now (MiB; Linux)."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    Path(f"/proc/{process}/clear_refs").write_text("5")
    for name in ("VmHWM", "VmRSS"):
        yield round(int(status[name].split()[0]) / 1024, 1)


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    settings = Settings(home=arguments.folder)
    store = Store.open(settings.database)
    now = datetime.now(UTC)
    if not any(user["name"] == "load" for user in list_users(store)):
        add_user(store, "load", "viewer", "only for measuring", at=now)
    token = make_token(store, "load", purpose="benchmark", at=now, days=1)
    with store.read() as connection:
        case = connection.scalar(Case.__table__.select().with_only_columns(Case.case_id).limit(1)) or ""
    process, address = serve(arguments.folder.absolute())
    found = []
    try:
        for name, act in ATTACKS.items():
            if arguments.only and arguments.only != name:
                continue
            list(memory(process.pid))
            user = User(address, token, case)
            answers = attack(address, act, arguments.seconds)
            times, wrong = user.stop()
            peak, after = memory(process.pid)
            row = {"attack": name, "peak_mib": peak, "after_mib": after, "pages": len(times), "wrong": wrong}
            row |= {"median_s": round(times[len(times) // 2], 3), "slowest_s": round(times[-1], 3)}
            found.append(row | {"answers": dict(answers.most_common(6))})
            print(json.dumps(found[-1]), flush=True)
            if process.poll() is not None:
                raise SystemExit("the application ended")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()
    print(json.dumps({"load_average": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}))


if __name__ == "__main__":
    load_pages(*sys.argv[2:]) if sys.argv[1:2] == ["--user"] else main()
