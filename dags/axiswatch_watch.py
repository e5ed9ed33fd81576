"""DAG axiswatch_watch: decide whether a retraining is due, daily and when there are new findings; start it if so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException
from wiring import DEFAULT_ARGS, HEAVY, LABELS, SETTINGS, START, as_of, outcome, parameters, report_run

DOCS = """
### What it does
Daily, by hand, and when the monitor reports new findings: evaluates every trigger of a retraining for every scope, and
stores each result with all its figures, fired or not (`axiswatch watch` shows it; docs/triggers.md). For the scopes
whose decision is to retrain it starts `axiswatch_retrain`, with the time of this run.

### What it never does
A run of a backfill starts nothing. A repeated run gives the same results, and starts nothing twice.
"""


class StartRun(TriggerDagRunOperator):
    """Start a run of another DAG for a time that is known only when this task runs."""

    template_fields = (*TriggerDagRunOperator.template_fields, "run_after")


@dag(
    dag_id="axiswatch_watch",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(SETTINGS.watch_schedule, timezone="UTC"), assets=[LABELS]
    ),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=report_run,
    dagrun_timeout=timedelta(hours=2),
    tags=["axiswatch", "watch"],
    description=f"Is a retraining due? With new findings, and at {SETTINGS.watch_schedule} UTC",
    doc_md=DOCS,
)
def axiswatch_watch() -> None:
    """Connect the tasks."""

    @task(pool=HEAVY)
    def decide() -> dict[str, Any]:
        from pipeline import scheduled

        parameters()
        kind = str(getattr(get_current_context()["dag_run"], "run_type", "")).rsplit(".", 1)[-1].lower()
        return scheduled.watch(as_of(), backfill="backfill" in kind)

    @task
    def due(decided: dict[str, Any]) -> dict[str, Any]:
        if not decided["scopes"]:
            raise AirflowSkipException("; ".join(decided["why"]) or "no scope has a model, or a label to make one from")
        return {"scopes": decided["scopes"], "trigger": decided["trigger"]}

    decided = decide()
    asked = due(decided)
    started = StartRun(
        task_id="start",
        trigger_dag_id="axiswatch_retrain",
        trigger_run_id="watch__{{ ti.xcom_pull(task_ids='decide')['as_of'] }}",
        run_after="{{ ti.xcom_pull(task_ids='decide')['as_of'] }}",
        conf=asked,
        skip_when_already_exists=True,
    )
    asked >> started
    [decided, asked, started] >> outcome()


axiswatch_watch()
