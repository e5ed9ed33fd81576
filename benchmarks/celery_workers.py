"""Two Celery workers compared with one: `python benchmarks/celery_workers.py --folder EMPTY_FOLDER --pairs 3`.

Runs the monitor on the same simulated backlog with Airflow's Celery executor over Redis and PostgreSQL, all on this
machine. Each worker has one slot; the order of one and two workers alternates. Prints the wall time from the first to
the last task of acquire and extract (the fan-out), and the ratio. Needs the extras airflow, postgres and local, and
`redis-server`.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import time
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from celery_parts import celery_settings, start_celery

from pipeline.local_airflow import LocalAirflow
from pipeline.simulation import FleetSettings, simulate

ROOT = Path(__file__).parents[1]
SECONDS = 600


def fan_out_seconds(folder: Path, landing: Path, workers: int, batch_mib: float) -> tuple[float, int]:
    """Run the monitor once with a number of workers; return the seconds of its mapped tasks, and their number."""
    port = _free_port()
    redis = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder.parent)],
        stdout=subprocess.DEVNULL,
    )
    local = LocalAirflow(
        folder,
        ROOT / "dags",
        _free_port(),
        {
            **celery_settings(port),
            "AXISWATCH_BATCH_MIB": str(batch_mib),
            "AXISWATCH_LANDING": str(landing),
        },
    )
    try:
        local.start_postgres()
        start_celery(local, workers)
        local.wait_until_healthy(SECONDS)
        return _mapped(local)
    finally:
        local.stop()
        redis.terminate()
        redis.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _mapped(local: LocalAirflow) -> tuple[float, int]:
    give_up = time.monotonic() + SECONDS
    while time.monotonic() < give_up:
        time.sleep(1)
        known = local.api("GET", "/dags/axiswatch_monitor/dagRuns", missing_ok=True)
        runs = known["dag_runs"] if known else []
        if runs and runs[0]["state"] == "success":
            path = f"/dags/axiswatch_monitor/dagRuns/{quote(runs[0]['dag_run_id'])}/taskInstances?limit=500"
            tasks = [
                task
                for task in local.api("GET", path)["task_instances"]
                if task["task_id"] in ("acquire", "extract") and task["map_index"] >= 0
            ]
            total = 0.0
            for step in ("acquire", "extract"):
                own = [task for task in tasks if task["task_id"] == step]
                begun = min(datetime.fromisoformat(task["start_date"]) for task in own)
                ended = max(datetime.fromisoformat(task["end_date"]) for task in own)
                total += (ended - begun).total_seconds()
            return total, len(tasks)
        if runs and runs[0]["state"] == "failed":
            raise SystemExit(f"the monitor failed; see {local.log}")
    raise SystemExit(f"the monitor did not end within {SECONDS} s; see {local.log}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="empty folder with a short path")
    parser.add_argument("--robots", type=int, default=12)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--batch-mib", type=float, default=24.0)
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    simulate(folder / "fleet", FleetSettings(robots=arguments.robots, days=arguments.days))
    times: dict[int, list[float]] = {1: [], 2: []}
    tasks = 0
    for pair in range(arguments.pairs):
        for workers in (1, 2) if pair % 2 == 0 else (2, 1):
            seconds, tasks = fan_out_seconds(
                folder / f"{pair}{workers}", folder / "fleet" / "landing", workers, arguments.batch_mib
            )
            times[workers].append(seconds)
            print(f"pair {pair + 1}: {workers} worker(s) {seconds:.1f} s", flush=True)
    ratios = [one / two for one, two in zip(times[1], times[2], strict=True)]
    print(f"{tasks} mapped tasks; medians {statistics.median(times[1]):.1f} s and {statistics.median(times[2]):.1f} s")
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"one worker takes {statistics.median(ratios):.2f} times as long as two ({spread})")


if __name__ == "__main__":
    main()
