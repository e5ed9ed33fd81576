"""Response times of the review application with 100,000 cases and users who each load a page every five seconds.

    python benchmarks/review_load.py FOLDER [--cases 100000] [--users 50] [--seconds 60]

FOLDER is the home of a demonstration (`axiswatch demo --folder FOLDER`). The cases are added to it, so use one that you
can delete. Two of three users load the queue, the third one a case page with its signal. Times are measured by the
client on the same machine, so they are not shorter than the server's. The server's processor time for a page does not
depend on other processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.accounts import add_user, list_users, make_token
from pipeline.base.settings import Settings
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case, CaseEvidence, Label, Score

EVERY_S = 5.0


def add_cases(store: Store, number: int) -> list[str]:
    """Add cases on the existing axes until there are `number` of them; return ids of up to 500 open cases."""
    rng = np.random.default_rng(1)
    with store.write() as connection:
        axes = connection.scalars(sa.select(Axis.axis_id).order_by(Axis.axis_id)).all()
        last = connection.scalar(sa.select(sa.func.max(Score.started_at, type_=Score.started_at.type)))
        there = connection.scalar(sa.select(sa.func.count()).select_from(Case)) or 0
        assert last is not None, "the folder has no scores; create it by `axiswatch demo`"
        rows = []
        for index in range(there, number):
            first = last - timedelta(days=float(rng.uniform(1, 12)))
            probability = float(rng.uniform())
            reason = {"code": "unseen", "text": "The model has not seen enough of this.", "n_bins": 3}
            rows.append(
                {
                    "case_id": f"load{index:08d}",
                    "axis_id": axes[index % len(axes)],
                    "family": "machine",
                    "state": ("open", "open", "closed")[index % 3],
                    "first_at": first,
                    "last_at": first + timedelta(days=1),
                    "n_bins": 3,
                    "priority": round(float(rng.uniform()), 6),
                    "reasons": [reason],
                    "fault_probability": probability,
                    "mode": "ball",
                    "known_at": last,
                    "changed_at": last,
                }
            )
        if rows:
            connection.execute(sa.insert(Case), rows)
            add_evidence(connection, rows, rng)
            connection.exec_driver_sql("ANALYZE")
        return list(connection.scalars(sa.select(Case.case_id).where(Case.state == "open").limit(500)))


def add_evidence(connection: Connection, cases: list[dict[str, Any]], rng: np.random.Generator) -> None:
    """Add to each case the evidence of a case of the demonstration with noise, and to 5,000 closed ones a finding."""
    known = [dict(row._mapping) for row in connection.execute(sa.select(CaseEvidence)) if row.moved is not None]
    assert known, "the folder has no evidence; run `axiswatch advise` on it"
    rows = []
    for case in cases:
        row = known[int(rng.integers(len(known)))]
        moved = np.frombuffer(row["moved"], "<f4") + rng.normal(0, 1, len(row["moved"]) // 4)
        rows.append(row | {"case_id": case["case_id"], "moved": moved.astype("<f4").tobytes()})
    connection.execute(sa.insert(CaseEvidence), rows)
    blank = {name: None for name in ("unit_serial", "channel", "component", "cause", "severity", "confidence")}
    labels = [
        {"label_id": f"load{number:08d}", "axis_id": case["axis_id"], "case_id": case["case_id"], "mode": "ball"}
        | {"from_at": case["first_at"], "to_at": case["last_at"], "verdict": "fault", "evidence": "inspected"}
        | {"note": "", "who": "load", "known_at": case["known_at"], **blank}
        for number, case in enumerate([case for case in cases if case["state"] == "closed"][:5000])
    ]
    connection.execute(sa.insert(Label), labels)


def serve(folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start `axiswatch review serve` as a process on a free port; return the process and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = "from pipeline.cli import main; main()"
    options = ["review", "serve", "--host", "127.0.0.1", "--port", str(port)]
    environment = os.environ | {"AXISWATCH_HOME": str(folder)}
    process = subprocess.Popen([sys.executable, "-c", command, *options], env=environment)
    while True:
        if process.poll() is not None:
            raise SystemExit("the application did not start; see above")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process, f"http://127.0.0.1:{port}"
        time.sleep(0.1)


async def one_user(place: int, client: httpx.AsyncClient, cases: list[str], until: float, times: Any) -> None:
    """Load a page every five seconds, starting at a random time."""
    rng = np.random.default_rng(place)
    await asyncio.sleep(float(rng.uniform(0, EVERY_S)))
    while time.perf_counter() < until:
        begin = time.perf_counter()
        case = cases[int(rng.integers(len(cases)))]
        what, paths = (
            ("queue", ["/"])
            if place % 3
            else ("case", [f"/cases/{case}", f"/api/v1/cases/{case}/figures?part=signals"])
        )
        for path in paths:
            answer = await client.get(path)
            assert answer.status_code == 200, (path, answer.status_code, answer.text[:200])
        times[what].append(time.perf_counter() - begin)
        await asyncio.sleep(max(0.0, EVERY_S - (time.perf_counter() - begin)))


async def load(address: str, token: str, cases: list[str], users: int, seconds: float) -> dict[str, list[float]]:
    """Run all users for some seconds; return the times in seconds by kind of page."""
    times: dict[str, list[float]] = {"queue": [], "case": []}
    headers = {"Authorization": f"Bearer {token}"}
    until = time.perf_counter() + seconds
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as client:
        await asyncio.gather(*(one_user(place, client, cases, until, times) for place in range(users)))
    return times


def main() -> None:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    settings = Settings(home=arguments.folder)
    store = Store.open(settings.database)
    cases = add_cases(store, arguments.cases)
    now = datetime.now(UTC)
    if not any(user["name"] == "load" for user in list_users(store)):
        add_user(store, "load", "viewer", "only for measuring", at=now)
    token = make_token(store, "load", purpose="benchmark", at=now, days=1)
    process, address = serve(arguments.folder.absolute())
    before = _cpu_seconds(process.pid)
    times = asyncio.run(load(address, token, cases, arguments.users, arguments.seconds))
    spent = _cpu_seconds(process.pid) - before
    process.terminate()
    process.wait()
    latencies = {
        what: {
            "requests": len(values),
            "median_ms": round(1000 * statistics.median(values), 1),
            "p95_ms": round(1000 * statistics.quantiles(values, n=20)[18], 1),
        }
        for what, values in times.items()
    }
    pages = sum(len(values) for values in times.values())
    machine = {"load_average": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    server = {"server_cpu_ms_per_page": round(1000 * spent / pages, 1), **machine}
    print(json.dumps({"cases": arguments.cases, "users": arguments.users, **server, **latencies}, indent=2))


def _cpu_seconds(process: int) -> float:
    """Return the processor time of a process in seconds, user and system (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
