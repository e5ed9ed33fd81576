"""Floors: the least work that a window from a log to a score needs, in one thread of this machine."""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import sqlalchemy as sa
import torch
from scipy import fft

from pipeline.store.database import Store
from pipeline.store.tables import LakeFile, Score

SHAPE = (279, 128, 128, 5)
"""Widths of the default network on acceleration."""

SAMPLES = 100
LEAST_S = 0.2


def floors(store: Store, lake: Path) -> dict[str, float]:
    """Return microseconds a window of the least work, processor time of one thread; medians of repeated calls.

    read: the samples of all recordings out of the lake's files. fft: three real Fourier transforms of windows of the
    lengths that were scored. gemm: the products of 100 samples of the default network. insert: rows of scores with both
    indexes, by executemany on SQLite and by COPY on PostgreSQL, with a commit.
    """
    with store.read() as connection:
        paths = connection.scalars(sa.select(LakeFile.path).where(LakeFile.kind == "recordings")).all()
        rows = [tuple(row) for row in connection.execute(sa.select(Score).limit(5000))]
        windows = connection.scalar(sa.select(sa.func.count()).select_from(Score)) or 1
        every = connection.scalars(sa.select(Score.n_window_samples).order_by(Score.recording_id)).all()
    torch.set_num_threads(1)
    lengths = list(every[:: max(len(every) // 100, 1)])
    own = [tuple(json.dumps(value) if isinstance(value, dict) else value for value in row) for row in rows]
    return {
        "read": 1e6 * _cpu(lambda: [_read(lake / path) for path in paths]) / windows,
        "fft": 1e6 * _cpu(_transforms(lengths)) / len(lengths),
        "gemm": 1e6 * _cpu(_products(256)) / 256,
        "insert": 1e6 * (_into_sqlite(own) if store.is_sqlite else _into_postgresql(store, own)) / len(own),
    }


def _cpu(work: Callable[[], Any]) -> float:
    """Return the processor time of one call, s: the median of repeated ones, without the first."""
    work()
    spent: list[float] = []
    until = time.perf_counter() + LEAST_S
    while len(spent) < 3 or time.perf_counter() < until:
        before = time.process_time()
        work()
        spent.append(time.process_time() - before)
    return statistics.median(spent)


def _read(path: Path) -> Any:
    return pq.read_table(path, columns=["samples"], use_threads=False).column("samples").chunks


def _transforms(lengths: list[int]) -> Callable[[], Any]:
    noise = np.random.default_rng(1).standard_normal(max(lengths)).astype(np.float32)
    windows = [noise[:length] for length in lengths]

    def work() -> float:
        total = 0.0
        for window in windows:
            spectrum = fft.rfft(window)
            total += float(fft.irfft(spectrum, n=len(window))[0]) + float(fft.rfft(window)[0].real)
        return total

    return work


def _products(windows: int) -> Callable[[], Any]:
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(a, b, generator=generator) for a, b in pairwise(SHAPE)]
    x = torch.randn(windows, SHAPE[0], generator=generator)
    buffers = [torch.empty(windows, width) for width in SHAPE[1:]]

    def work() -> None:
        torch.mm(x, weights[0], out=buffers[0])
        for _ in range(SAMPLES):
            torch.mm(buffers[0], weights[1], out=buffers[1])
            torch.mm(buffers[1], weights[2], out=buffers[2])

    return work


def _into_sqlite(rows: list[tuple[Any, ...]]) -> float:
    stored = [tuple(str(value) if hasattr(value, "isoformat") else value for value in row) for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        connection = sqlite3.connect(Path(folder) / "floor.db", isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        names = ", ".join(column.name for column in Score.__table__.columns)
        keys = ", ".join(column.name for column in Score.__table__.primary_key)
        connection.execute(f"CREATE TABLE floor ({names}, PRIMARY KEY ({keys}))")
        connection.execute("CREATE INDEX floor_axis ON floor (axis_id, started_at)")

        def work() -> None:
            connection.execute("BEGIN")
            connection.execute("DELETE FROM floor")
            marks = ", ".join("?" * len(stored[0]))
            connection.executemany(f"INSERT INTO floor VALUES ({marks})", stored)
            connection.execute("COMMIT")

        spent = _cpu(work)
        connection.close()
    return spent


def _into_postgresql(store: Store, rows: list[tuple[Any, ...]]) -> float:
    """Return the processor time of this process and of the server process that it talks to."""
    import psutil
    import psycopg

    url = store.engine.url
    with psycopg.connect(f"host={url.query['host']} user=postgres dbname={url.database}") as connection:
        connection.execute("CREATE TABLE floor (LIKE scores)")
        connection.execute("ALTER TABLE floor ADD PRIMARY KEY (started_at, recording_id, start_sample)")
        connection.execute("CREATE INDEX ON floor (axis_id, started_at)")
        connection.commit()
        backend = psutil.Process(connection.info.backend_pid)
        names = ", ".join(column.name for column in Score.__table__.columns)
        spent = []
        for _ in range(5):
            connection.execute("TRUNCATE floor")
            connection.commit()
            before = time.process_time() + sum(backend.cpu_times()[:2])
            with connection.cursor() as cursor, cursor.copy(f"COPY floor ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            connection.commit()
            spent.append(time.process_time() + sum(backend.cpu_times()[:2]) - before)
        connection.execute("DROP TABLE floor")
    return statistics.median(spent)


assert os.environ.get("OMP_NUM_THREADS") == "1", "floors are those of one thread; set OMP_NUM_THREADS=1"
