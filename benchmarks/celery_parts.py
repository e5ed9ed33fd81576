"""Airflow with Celery workers on one machine, for the benchmark of workers and for tests/e2e/test_celery.py."""

from __future__ import annotations

from pipeline.local_airflow import LocalAirflow


def celery_settings(redis_port: int) -> dict[str, str]:
    """Return the variables that make Airflow send its tasks to Celery workers over a Redis on this machine."""
    return {
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    }


def start_celery(local: LocalAirflow, workers: int) -> None:
    """Start each part of Airflow as a process, with workers `w1`, `w2`, ... of one slot each.

    Needs PostgreSQL, and the variables of `celery_settings`.
    """
    local.run("db", "migrate")
    for part in (("api-server",), ("scheduler",), ("dag-processor",)):
        local.start(*part)
    for number in range(1, workers + 1):
        local.start("celery", "worker", "-H", f"w{number}@%h", "--skip-serve-logs")
