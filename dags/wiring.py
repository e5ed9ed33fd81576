"""What the DAG files share: settings, assets, the time of a run, common tasks, and what happens after a failure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, TriggerRule, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

from pipeline.base.sources import load_settings

SETTINGS = load_settings()
START = datetime(2020, 1, 1, tzinfo=UTC)
"""Before the first interval that anybody may want to backfill."""

HEAVY = "axiswatch_heavy"
"""Pool of the tasks that keep a core busy; it has as many slots as all workers have cores."""

RECORDINGS = Asset(name="recordings", uri="axiswatch://recordings")
FEATURES = Asset(name="features", uri="axiswatch://features")
SCORES = Asset(name="scores", uri="axiswatch://scores")
CASES = Asset(name="cases", uri="axiswatch://cases")
LABELS = Asset(name="labels", uri="axiswatch://labels")
CHAMPION = Asset(name="champion", uri="axiswatch://champion")


def run_time(context: Any) -> datetime:
    """Return the time that a run stands for: the end of its interval, or without one the time when it was asked for."""
    return context.get("data_interval_end") or context["dag_run"].run_after


def as_of() -> datetime:
    """Return the time that the run of this task stands for."""
    return run_time(get_current_context())


def true_time() -> datetime:
    """Return the real time at which this task began: for messages to other systems, which check their age."""
    return get_current_context()["ti"].start_date


def report_failure(context: Any) -> None:
    """Store a task that failed for good, and report it to the webhook."""
    from pipeline import scheduled

    task = context["ti"]
    error = context.get("exception")
    scheduled.record_failure(
        {
            "dag_id": task.dag_id,
            "run_id": task.run_id,
            "task_id": task.task_id,
            "map_index": -1 if task.map_index is None else task.map_index,
            "try_number": task.try_number,
            "message": "killed, or no answer from its worker" if error is None else f"{type(error).__name__}: {error}",
            "log_url": getattr(task, "log_url", ""),
        },
        run_time(context),
    )


DEFAULT_ARGS = {
    "owner": "axiswatch",
    "retries": 3,
    "retry_delay": timedelta(seconds=20),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
    "execution_timeout": timedelta(minutes=30),
    "on_failure_callback": report_failure,
}


@task(pool=HEAVY)
def extract(batch: dict[str, Any]) -> dict[str, Any]:
    """Extract the features of a batch of recordings."""
    from pipeline import scheduled

    return scheduled.extract_batch(batch, as_of())


@task(pool=HEAVY)
def score(batch: dict[str, Any]) -> dict[str, Any]:
    """Score a batch of recordings."""
    from pipeline import scheduled

    return scheduled.score_batch(batch, as_of())


@task(trigger_rule=TriggerRule.ONE_FAILED, retries=0, on_failure_callback=None)
def watch() -> None:
    """Make the run red where any task before it failed."""
    raise AirflowFailException("a task of this run failed: see the red tasks")
