"""PostgreSQL and S3 for a campaign, and what can go wrong with them."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa


class Postgres:
    """A real PostgreSQL server that listens on a socket only. It starts with the first call."""

    def __init__(self) -> None:
        self._server: Any = None

    def _started(self) -> Any:
        if self._server is None:
            self.folder = Path(tempfile.mkdtemp(prefix="axiswatch-pg-"))  # the path of a socket has to be short
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                import pgserver

                self._server = pgserver.get_server(self.folder, cleanup_mode=None)
            for setting in ("fsync", "full_page_writes"):  # no power is cut; a crash of the server loses nothing by it
                self.execute(f"ALTER SYSTEM SET {setting} = off")
            self.execute("SELECT pg_reload_conf()")
        return self._server

    def url(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql+psycopg://postgres@/{database}?host={self._started().get_postmaster_info().socket_dir}"

    def execute(self, statement: str) -> None:
        """Execute a statement outside a transaction."""
        engine = sa.create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def create(self) -> str:
        """Create an empty database; return its name."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name}")
        return name

    def copy(self, template: str) -> str:
        """Return the URL of a new copy of a database."""
        name = f"t{uuid.uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def drop(self, url: str) -> None:
        """Drop a database."""
        self.execute(f"DROP DATABASE IF EXISTS {sa.make_url(url).database} WITH (FORCE)")

    def cut_connections(self, url: str) -> None:
        """End every connection to a database."""
        name = sa.make_url(url).database
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")

    def restart(self, how: str, pause_s: float) -> None:
        """Stop the server (`fast`; `immediate`, which is like a crash), and start it after a pause."""
        from pgserver import _commands

        server = self._started()
        _commands.pg_ctl(["-w", "-m", how, "stop"], pgdata=server.pgdata, user=server.system_user)
        time.sleep(pause_s)
        server.ensure_postgres_running()

    def stop(self) -> None:
        """End it and delete its files."""
        if self._server is not None:
            with suppress(Exception):
                self._server.cleanup()
            with suppress(Exception):
                from pgserver import _commands

                _commands.pg_ctl(
                    ["-w", "-m", "immediate", "stop"], pgdata=self._server.pgdata, user=self._server.system_user
                )
            shutil.rmtree(self.folder, ignore_errors=True)


class S3:
    """An S3 server (moto) behind a door that can be made to answer wrongly: `mode`, from the `first` request on."""

    BUCKET = "lake"

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        self.mode, self.first, self.many, self.requests, self.fired = "", 0, 0, 0, 0
        self._lock = threading.Lock()
        self._inside = DomainDispatcherApplication(create_backend_app)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._server = make_server("127.0.0.1", port, self._answer, threaded=True)
        import logging

        logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.environment = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        os.environ.update(self.environment)  # for the eyes of this process
        import boto3

        self.client = boto3.client(
            "s3",
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
        )
        self.client.create_bucket(Bucket=self.BUCKET)

    def fill(self, prefix: str, folder: Path) -> str:
        """Copy a folder below a prefix; return the URL."""
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=self.BUCKET, Key=key, Body=path.read_bytes())
        return f"s3://{self.BUCKET}/{prefix}"

    def clear(self, url: str) -> None:
        """Delete everything below a URL."""
        prefix = url.split("/", 3)[3]
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.BUCKET, Prefix=f"{prefix}/")
        for page in pages:
            for entry in page.get("Contents", []):
                self.client.delete_object(Bucket=self.BUCKET, Key=entry["Key"])

    def harm(self, mode: str, first: int, many: int) -> None:
        """Answer wrongly: from the request with this number on, so many of them."""
        self.mode, self.first, self.many, self.requests, self.fired = mode, first, many, 0, 0

    def heal(self) -> None:
        """Answer as usual."""
        self.mode = ""

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._lock:
            self.requests += 1
            is_hit = bool(self.mode) and self.first <= self.requests < self.first + self.many
            self.fired += is_hit
        mode = self.mode if is_hit else ""
        codes = {"500": "InternalError", "503": "SlowDown", "403": "AccessDenied", "404": "NoSuchKey"}
        if mode in codes:
            code = codes[mode]
            start(f"{mode} x", [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>made on purpose</Message></Error>".encode()]
        if mode == "disconnect":
            with suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if mode == "slow":
            time.sleep(0.7)
        if mode == "silent":
            while self.mode == "silent":
                time.sleep(0.1)
            return []
        answer: list[Any] = []
        body = b"".join(self._inside(environ, lambda *head: answer.append(head)))
        status, headers = answer[0][:2]
        if mode in ("truncated", "short") and len(body) > 1:
            others = [(name, value) for name, value in headers if name.lower() != "content-length"]
            half = body[: len(body) // 2]
            headers = [*others, ("Content-Length", str(len(body if mode == "truncated" else half)))]
            body = half
        if mode == "flipped" and environ["REQUEST_METHOD"] == "GET" and body:
            place = len(body) // 2
            body = body[:place] + bytes([body[place] ^ 0x55]) + body[place + 1 :]
        start(status, headers)
        return [body]

    def stop(self) -> None:
        """End it."""
        self.heal()
        self._server.shutdown()
