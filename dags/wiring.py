"""What the DAG files share: settings, assets, the time of a run, common tasks, and what happens after a failure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import (
    Asset,
    AssetAlias,
    ExceptionRetryPolicy,
    RetryAction,
    RetryRule,
    TriggerRule,
    get_current_context,
    task,
)
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

NEWS = AssetAlias(name="axiswatch")
"""Outlet of every task that updates an asset: an asset gets an event where something changed, and no other."""

CHANGED_BY = {
    "acquire": (RECORDINGS, "recordings"),
    "extract": (FEATURES, "recordings"),
    "score": (SCORES, "recordings"),
    "advise": (CASES, "bins"),
    "labels": (LABELS, "new_labels"),
}
"""The asset that a step updates, and the count that is 0 where it changed nothing."""


def announce(events: Any, reports: Mapping[str, Mapping[str, Any]]) -> None:
    """Update the assets of steps that changed something, with their counts."""
    for step, (asset, changed) in CHANGED_BY.items():
        if reports.get(step, {}).get(changed):
            events[NEWS].add(asset, extra=dict(reports[step]))


def run_time(context: Any) -> datetime:
    """Return the time that a run stands for: the end of its interval, or without one the time when it was asked for."""
    return context.get("data_interval_end") or context["dag_run"].run_after


TIME = {"format": "date-time", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)$"}
"""Schema of a parameter that is a time with an offset; Airflow itself looks at no `format`."""


def parameters() -> dict[str, Any]:
    """Return the parameters of a run; a mistyped name in a run by hand fails it, because it would change nothing."""
    context = get_current_context()
    unknown = set(context["dag_run"].conf or {}) - set(context["dag"].params)
    if unknown:
        known = ", ".join(sorted(context["dag"].params)) or "none"
        raise AirflowFailException(f"there is no parameter {', '.join(sorted(unknown))}; this DAG takes: {known}")
    return dict(context["params"])


CLOCKS_DIFFER = timedelta(minutes=5)
"""By no more than this do the clocks of scheduler and worker differ."""


def as_of() -> datetime:
    """Return the time that the run of this task stands for; one to come fails it, as by a mistyped logical date.

    Every axis would be silent by then, and every later run would stand before what this one wrote.
    """
    context = get_current_context()
    at = run_time(context)
    if at > context["ti"].start_date + CLOCKS_DIFFER:
        raise AirflowFailException(
            f"this run stands for {at:%Y-%m-%d %H:%M}, which is to come; take no such logical date"
        )
    return at


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


WHY = {
    "timed_out": "it took longer than its time limit",
    "task_failure": "a task reported no error and failed: a person marked it so, or it never began",
    "all_tasks_deadlocked": "its tasks wait for each other",
}
"""What Airflow's reasons for a failed run mean."""


def report_run(context: Any) -> None:
    """Store a run that failed although none of its tasks was reported, as after its time limit, and report it."""
    from pipeline import scheduled

    reason = str(context.get("reason") or "Airflow does not say why")
    run = context.get("dag_run")  # Airflow gives none where no task of the run is to blame
    failure = {"dag_id": context["dag"].dag_id, "run_id": context["run_id"], "task_id": "", "map_index": -1}
    failure |= {"try_number": 0, "log_url": "", "message": WHY.get(reason, reason)}
    scheduled.record_failure(failure, run and (run.data_interval_end or run.run_after))


DEFAULT_ARGS = {
    "owner": "axiswatch",
    "retries": 5,  # 0.5 + 1 + 2 + 4 + 8 min at least: a restart of a database or of Airflow fits in
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy(
        [
            RetryRule(
                ["pipeline.base.errors.SettingsError", "pipeline.base.errors.PrerequisiteMissing"],
                RetryAction.FAIL,
                reason="a person has to change something first",
            )
        ]
    ),
    "execution_timeout": timedelta(minutes=30),
    "on_failure_callback": report_failure,
}


STRETCH = "{{ task.op_kwargs['batch']['recordings'] }} recordings from {{ task.op_kwargs['batch']['first_at'] }}"
"""What a mapped task of a batch of recordings is called in Airflow's pages."""


@task(pool=HEAVY, map_index_template=STRETCH)
def extract(batch: dict[str, Any]) -> dict[str, Any]:
    """Extract the features of a batch of recordings."""
    from pipeline import scheduled

    return scheduled.extract_batch(batch, as_of())


@task(pool=HEAVY, map_index_template=STRETCH)
def score(batch: dict[str, Any]) -> dict[str, Any]:
    """Score a batch of recordings."""
    from pipeline import scheduled

    return scheduled.score_batch(batch, as_of())


@task(trigger_rule=TriggerRule.ONE_FAILED, retries=0, on_failure_callback=None)
def outcome() -> None:
    """Make the run red where any task before it failed."""
    raise AirflowFailException("a task of this run failed: see the red tasks")
