"""DAG axiswatch_retention: delete what the settings keep no longer, and what killed runs left behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, dag, task
from wiring import DEFAULT_ARGS, FEATURES, RECORDINGS, SCORES, SETTINGS, START, as_of, outcome, parameters, report_run

DOCS = """
### What it does
Daily: deletes what `retention_months`, `superseded_days` and `landing_keep_days` keep no longer (`axiswatch retention
--dry-run` shows it): old recordings with their features and scores, scores of former champions, log files that are
safely in the lake. Then it deletes files of the lake that no row names: the remains of killed runs. Each of the three
is off until it is set.

### What it never does
It deletes nothing that a label, a baseline, a case, a decision or an audit needs (docs/operations.md).
"""


@dag(
    dag_id="axiswatch_retention",
    schedule=CronDataIntervalTimetable(SETTINGS.retention_schedule, timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=report_run,
    dagrun_timeout=timedelta(hours=12),
    tags=["axiswatch", "retention"],
    description="Delete what the settings keep no longer",
    doc_md=DOCS,
)
def axiswatch_retention() -> None:
    """Connect the tasks."""

    @task(inlets=[RECORDINGS, FEATURES, SCORES], execution_timeout=timedelta(hours=6))
    def retain() -> dict[str, Any]:
        from pipeline import scheduled

        parameters()
        return scheduled.retain(as_of())

    @task(execution_timeout=timedelta(hours=6))
    def sweep() -> int:
        from pipeline import scheduled

        return scheduled.sweep(as_of())

    kept, swept = retain(), sweep()
    kept >> swept
    [kept, swept] >> outcome()


axiswatch_retention()
