"""The lake behind a real S3 endpoint over HTTP: the same bytes and the same rows as in a folder."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from pipeline.base.settings import Settings
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.intake.quarantine import list_quarantine, replay
from pipeline.store.database import Store
from pipeline.store.lake import S3_PATIENCE, Lake, LakeError, LakeUnavailable
from pipeline.store.retention import sweep_lake
from pipeline.training.train import train_scopes

BUCKET = "plant-axiswatch"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 server on this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_url(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """URL of an empty lake; where the server is and who asks is in the environment, as in production."""
    for name, value in (
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "tester"),
        ("AWS_SECRET_ACCESS_KEY", "only-for-this-test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    fsspec.filesystem("s3").clear_instance_cache()
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    if not filesystem.exists(BUCKET):
        filesystem.mkdir(BUCKET)
    return f"s3://{BUCKET}/{request.node.name}"


def test_files_go_in_once_and_come_back(s3_url: str, tmp_path: Path) -> None:
    lake = Lake(s3_url)
    path = lake.put("features", b"some bytes", ".bin")
    assert lake.put("features", b"some bytes", ".bin") == path
    assert lake.read(path) == b"some bytes"
    assert [name for name, _ in lake.files()] == [path]
    source = tmp_path / "whole.bin"
    source.write_bytes(b"x" * 100_000)
    kept = lake.put_file("quarantine", source, "ab" * 32)
    assert lake.read(kept) == source.read_bytes()
    assert {name for name, _ in lake.files()} == {path, kept}, "a listing of before does not stay"
    lake.remove(path)
    lake.remove(path)
    with pytest.raises(LakeError, match="restore it from a backup"):
        lake.read(path)


def test_files_that_no_row_commits_are_swept_by_age(s3_url: str, sqlite_store: Store) -> None:
    lake = Lake(s3_url)
    lake.put("features", b"orphan", ".bin")
    assert sweep_lake(sqlite_store, lake, older_than=datetime.now(UTC) - timedelta(hours=1)) == 0
    assert sweep_lake(sqlite_store, lake, older_than=datetime.now(UTC) + timedelta(hours=1)) == 1
    assert list(lake.files()) == []


def test_the_steps_give_the_same_rows_as_in_a_folder(
    s3_url: str,
    tmp_path: Path,
    landing: Path,
    limits: Limits,
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
    make_settings: Callable[..., Settings],
    dump: Callable[[Store], Any],
) -> None:
    """Acquire with a bad row and a bad file, extract (also in other processes), replay."""
    write_log(landing / "good.parquet", [make_row(number) for number in range(60)])
    write_log(landing / "mixed.parquet", [make_row(100), make_row(101, unit="furlong")])
    (landing / "bad.parquet").write_bytes(b"no parquet at all")
    found = {}
    for name, url in (("folder", str(tmp_path / "lake")), ("s3", s3_url)):
        settings = make_settings(lake_url=url, home=tmp_path / name)
        store, lake = Store.open(settings.database), Lake(settings.lake)
        report = acquire(store, lake, landing, limits=limits, settled_before=limits.as_of + timedelta(days=3650))
        assert (report.recordings, report.quarantined) == (61, 2)
        assert extract_due(store, lake, settings, as_of=limits.as_of).recordings == 61
        assert len(list_quarantine(store)) == 2
        assert not any(item.accepted for item in replay(store, lake, limits))
        found[name] = dump(store), sorted(path for path, _ in lake.files())
        store.dispose()
    assert found["s3"] == found["folder"]


def test_a_model_is_trained_from_features_and_signals_there(
    s3_url: str, sqlite_store: Store, extracted_fleet: Any, tmp_path: Path, make_settings: Callable[..., Settings]
) -> None:
    """Windows that training makes read the signals of healthy recordings again, by the lake's URL."""
    folder = extracted_fleet.copy_to(sqlite_store, tmp_path)
    settings = make_settings(lake_url=s3_url, epochs=1, folds=2, n_samples=20)
    lake = Lake(s3_url)
    lake.fs.put(folder.root, lake.root, recursive=True)
    shutil.rmtree(folder.root)
    (trained,) = train_scopes(sqlite_store, lake, settings, as_of=extracted_fleet.end)
    assert trained.champion


@pytest.fixture(params=["never answers", "answers 500", "listens no more"])
def broken_url(request: pytest.FixtureRequest, s3_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of a lake on a server that is broken for ever; it is waited for only a moment."""
    patience = {"connect_timeout": 0.2, "read_timeout": 0.2, "retries": {"total_max_attempts": 1}}
    monkeypatch.setattr("pipeline.store.lake.S3_PATIENCE", patience)
    monkeypatch.setattr("pipeline.store.lake.PUT_SECONDS", 0.5)

    def serve() -> None:
        with suppress(OSError):
            while True:
                connections.append(server.accept()[0])
                if request.param == "answers 500":
                    connections[-1].recv(65_536)
                    connections[-1].sendall(b"HTTP/1.1 500 Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.getsockname()[1]}")
        fsspec.filesystem("s3").clear_instance_cache()
        if request.param != "listens no more":
            threading.Thread(target=serve, daemon=True).start()
        else:
            server.close()
        yield s3_url
    for connection in connections:
        connection.close()
    fsspec.filesystem("s3").clear_instance_cache()


def test_a_server_that_is_broken_for_ever_ends_every_call(broken_url: str, tmp_path: Path) -> None:
    """Reading, writing, listing and deleting end with one error that says what to do, and bounded waiting."""
    (tmp_path / "log").write_bytes(b"PAR1")
    lake = Lake(broken_url)
    path = f"features/ab/{'ab' * 32}.parquet"
    for call in (
        lambda: lake.put("features", b"some bytes", ".bin"),
        lambda: lake.put_file("quarantine", tmp_path / "log", "ab" * 32),
        lambda: lake.read(path),
        lambda: lake.table(path),
        lambda: lake.size(path),
        lambda: lake.remove(path),
        lambda: list(lake.files()),
    ):
        with pytest.raises(LakeUnavailable, match="nothing is lost"):
            call()


def test_waiting_for_s3_is_bounded_unless_the_configuration_says_otherwise(
    s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Lake(s3_url).fs.config_kwargs == S3_PATIENCE
    monkeypatch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"read_timeout": 99}})
    assert Lake(s3_url).fs.config_kwargs == S3_PATIENCE | {"read_timeout": 99}
