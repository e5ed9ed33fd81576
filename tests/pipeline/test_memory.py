"""A backlog is scored in pieces: memory does not grow with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from features.settings import feature_groups, feature_names
from models.artifact import pack
from models.network import NetworkSettings
from models.settings import TrainingSettings
from models.training.train import train
from pipeline.base.settings import Settings
from pipeline.extraction.extract import feature_table
from pipeline.extraction.in_force import feature_settings, feature_versions
from pipeline.extraction.recording import Extracted
from pipeline.registry.registry import Registered, register
from pipeline.store.database import Store, insert_ignore
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Extraction, LakeFile, Recording, Score

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
WINDOWS = 10
"""Windows of a recording."""
FILE = 500
"""Recordings of a feature file."""
MIB = 2**20


@pytest.fixture(scope="module")
def artifact() -> dict[str, bytes]:
    """A model of the real features, of the usual width; fewer samples, because their number costs time, not memory."""
    wanted = feature_settings(Settings(), "acceleration")
    names = feature_names(wanted)
    rng = np.random.default_rng(3)
    unit = np.repeat(np.arange(6), 20)
    target = unit % 2
    x = (rng.normal(size=(unit.size, len(names))) + 2.0 * target[:, None]).astype(np.float32)
    model, _ = train(
        x,
        target,
        unit,
        np.ones(unit.size),
        classes=("healthy", "ball"),
        feature_names=names,
        feature_version=feature_versions(Settings())["acceleration"],
        feature_groups=tuple(group for group, members in feature_groups(wanted).items() for _ in members),
        settings=TrainingSettings(
            epochs=2, fixed_epochs=1, folds=2, n_samples=20, sub_bank_size=10, network=NetworkSettings(hidden=(64, 64))
        ),
    )
    return pack(model, training_data_hash="", metrics={}, settings={})


def build(home: Path, recordings: int, artifact: dict[str, bytes]) -> None:
    """Fill a database and a lake as acquire and extract would have, `WINDOWS` windows a recording."""
    settings = Settings(home=home)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    names = feature_names(feature_settings(settings, "acceleration"))
    version = feature_versions(settings)["acceleration"]
    about = Registered("acceleration", "classification", version, FIRST, "", 6, 120, {}, {})
    register(store, lake, artifact, about, as_of=FIRST)
    rng = np.random.default_rng(4)
    axis = {"axis_id": "axis", "site": "", "cell": "", "robot_id": "R", "axis": "A", "expected_every_s": None}
    signals, _ = lake.put_table("recordings", pa.table({"samples": pa.array([[0.0]], pa.list_(pa.float32()))}))
    with store.write() as connection:
        insert_ignore(connection, Axis, [axis | {"known_at": FIRST}])
        insert_ignore(connection, LakeFile, [lake_file(signals, "recordings", 1)])
    for first in range(0, recordings, FILE):
        numbers = range(first, min(first + FILE, recordings))
        extracted = [
            Extracted(
                f"{number:032d}",
                np.arange(WINDOWS, dtype=np.int64) * 4_096,
                np.full(WINDOWS, 4_096),
                np.full(WINDOWS, 30.0),
                rng.normal(size=(WINDOWS, len(names))).astype(np.float32),
                ["ok"] * WINDOWS,  # type: ignore[list-item]
                ["as it should be"] * WINDOWS,
            )
            for number in numbers
        ]
        table, firsts = feature_table(extracted, names)
        path, _ = lake.put_table("features", table)
        with store.write() as connection:
            insert_ignore(connection, LakeFile, [lake_file(path, "features", table.num_rows)])
            insert_ignore(connection, Recording, [recording(number, signals) for number in numbers])
            rows = [extraction(number, version, path, row) for number, row in zip(numbers, firsts, strict=True)]
            insert_ignore(connection, Extraction, rows)
    store.dispose()


def lake_file(path: str, kind: str, n_rows: int) -> dict[str, Any]:
    return {"path": path, "kind": kind, "size_bytes": 1, "n_rows": n_rows, "known_at": FIRST}


def recording(number: int, path: str) -> dict[str, Any]:
    nothing = ("shaft_speed_rpm", "speed_is_steady", "load", "payload_kg", "temperature_c", "program", "unit_serial")
    return dict.fromkeys(nothing) | {
        "recording_id": f"{number:032d}",
        "axis_id": "axis",
        "channel": "acc_x",
        "started_at": FIRST + timedelta(seconds=number),
        "quantity": "acceleration",
        "unit": "g",
        "time_basis": "clock",
        "sampling_rate_hz": 12_800.0,
        "rate_basis": "declared",
        "n_samples": 1,
        "content_hash": "",
        "file_hash": "",
        "lake_path": path,
        "lake_row": 0,
        "known_at": FIRST,
    }


def extraction(number: int, version: str, path: str, row: int) -> dict[str, Any]:
    return {
        "recording_id": f"{number:032d}",
        "feature_version": version,
        "geometry_version": "none",
        "axis_id": "axis",
        "channel": "acc_x",
        "scope": "acceleration",
        "started_at": FIRST + timedelta(seconds=number),
        "unit_serial": None,
        "regime": "?|?|?",
        "quality": "ok",
        "evidence": "as it should be",
        "n_windows": WINDOWS,
        "lake_path": path,
        "lake_row": row,
        "known_at": FIRST,
    }


MEASURE = """
import os, sys
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(process, 0)
print(usage.ru_maxrss, file=sys.stderr)
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""A small process in between: the peak of a process counts that of the one which started it."""


def peak_while_scoring(home: Path, recordings: int, cli_at: Callable[[Path], Any]) -> int:
    """Run `axiswatch score` in a process of its own; give the most memory that it held, bytes."""
    cli = cli_at(home)
    arguments = [str(cli.program), "score", "--json", "--as-of", "2026-03-01T00:00:00Z"]
    measured = [sys.executable, "-c", MEASURE, *arguments]
    ended = subprocess.run(measured, env=cli.environment(), capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["windows"] == recordings * WINDOWS
    store = Store.open(Settings(home=home).database)
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Score)) == recordings * WINDOWS
    store.dispose()
    return int(ended.stderr.split()[-1]) * 1024


def test_memory_does_not_grow_with_the_backlog(
    tmp_path: Path, artifact: dict[str, bytes], cli_at: Callable[[Path], Any]
) -> None:
    peaks = {}
    for recordings in (3_000, 15_000):
        home = tmp_path / str(recordings)
        home.mkdir()
        build(home, recordings, artifact)
        peaks[recordings] = peak_while_scoring(home, recordings, cli_at)
        shutil.rmtree(home)
    small, large = peaks.values()
    assert large < 1024 * MIB, f"{large / MIB:.0f} MiB"
    assert large - small < 150 * MIB, f"{small / MIB:.0f} MiB for 30,000 windows, {large / MIB:.0f} MiB for 150,000"
