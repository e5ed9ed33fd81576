"""The same schedule on Airflow's Celery executor: two workers over a real Redis share the batches."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.local_airflow import LocalAirflow
from pipeline.simulation import FleetSettings, simulate
from pipeline.store.database import Store
from pipeline.store.tables import Extraction, Recording

ROOT = Path(__file__).parents[2]
FLEET = FleetSettings(robots=6, days=3, seed=5)
SECONDS = 900
"""When a wait counts as a hang: a busy machine takes several times what an idle one does."""


def celery_parts() -> ModuleType:
    """How the benchmark starts Airflow with Celery workers."""
    spec = importlib.util.spec_from_file_location("celery_parts", ROOT / "benchmarks" / "celery_parts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def celery(free_port: Callable[[], int]) -> Iterator[LocalAirflow]:
    """Redis, PostgreSQL, and the parts of Airflow as processes of their own."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    folder = Path(tempfile.mkdtemp(prefix="axiswatch-ce-"))
    parts, port = celery_parts(), free_port()
    redis = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    local = LocalAirflow(
        folder,
        ROOT / "dags",
        free_port(),
        {
            **parts.celery_settings(port),
            "AXISWATCH_BATCH_MIB": "0.7",
            "AXISWATCH_LANDING": str(folder / "fleet" / "landing"),
        },
    )
    try:
        simulate(folder / "fleet", FLEET)
        local.start_postgres()
        parts.start_celery(local, 2)
        local.wait_until_healthy(SECONDS)
        yield local
    finally:
        local.stop()
        redis.terminate()
        redis.wait()
        shutil.rmtree(folder, ignore_errors=True)


def test_two_workers_share_a_fan_out(celery: LocalAirflow) -> None:
    give_up = time.monotonic() + SECONDS
    runs: list[dict[str, str]] = []
    # DAGs are on at birth, so the interval that ended last is run by itself; it takes all there is.
    while not runs or runs[0]["state"] not in ("success", "failed"):
        assert time.monotonic() < give_up, runs
        time.sleep(1)
        runs = (
            celery.api("GET", "/dags/axiswatch_monitor/dagRuns", missing_ok=True)["dag_runs"] if _known(celery) else []
        )
    assert runs[0]["state"] == "success"
    tasks = celery.api(
        "GET", f"/dags/axiswatch_monitor/dagRuns/{runs[0]['dag_run_id'].replace('+', '%2B')}/taskInstances"
    )
    mapped = [task for task in tasks["task_instances"] if task["task_id"] in ("acquire", "extract")]
    assert len(mapped) >= 12
    store = Store.open(celery.database_url("axiswatch"))
    with store.read() as connection:
        recordings = connection.scalar(sa.select(sa.func.count()).select_from(Recording))
        extractions = connection.scalar(sa.select(sa.func.count()).select_from(Extraction))
    store.dispose()
    assert recordings == extractions
    assert recordings == len((celery.folder / "fleet" / "truth.csv").read_text(encoding="utf-8").splitlines()) - 1
    done = {name: sum(totals["total"].values()) for name, totals in inspect(celery, "stats").items()}
    assert len(done) == 2, done
    assert min(done.values()) >= 5, f"each worker had its share: {done}"
    assert {name: told["ok"] for name, told in inspect(celery, "ping").items()} == dict.fromkeys(done, "pong")


def inspect(celery: LocalAirflow, what: str) -> dict[str, Any]:
    """Ask the workers, as the health check of docker-compose.yml does."""
    words = ("--app", "airflow.providers.celery.executors.celery_executor.app", "inspect", what, "--json")
    answer = subprocess.run(celery.command("celery", *words), capture_output=True, text=True, check=True)
    return dict(json.loads(answer.stdout[answer.stdout.index("{") :]))


def _known(celery: LocalAirflow) -> bool:
    return celery.api("GET", "/dags/axiswatch_monitor", missing_ok=True) is not None
