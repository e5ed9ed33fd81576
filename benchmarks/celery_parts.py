"""Airflow on one machine with Celery workers: for the benchmark of workers, and for tests/e2e/test_celery.py."""

from __future__ import annotations

from pipeline.local_airflow import LocalAirflow


def celery_settings(redis_port: int) -> dict[str, str]:
    """Return the variables that let Airflow hand its tasks to Celery workers over a Redis of this machine."""
    return {
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis_port}/0",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "1",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    }


def start_celery(local: LocalAirflow, workers: int) -> None:
    """Start the parts of Airflow as processes of their own, with workers `w1`, `w2`, ... of one slot each.

    Needs PostgreSQL, and the variables of `celery_settings`.
    """
    local.run("db", "migrate")
    for part in (("api-server",), ("scheduler",), ("dag-processor",)):
        local.start(*part)
    for number in range(1, workers + 1):
        local.start("celery", "worker", "-H", f"w{number}@%h", "--skip-serve-logs")
