"""DAG axiswatch_retrain: a new candidate from the labels known by now, and whether it becomes champion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, TriggerRule, dag, get_current_context, task
from wiring import CHAMPION, DEFAULT_ARGS, HEAVY, LABELS, SETTINGS, START, as_of, watch

DOCS = """
### What it does
Weekly, by hand, and when the monitor tells of new findings: for every scope with labels it builds the training set,
trains, and judges the candidate on units held out. The candidate becomes champion when it is not worse than the
champion on the units that both were held out for. The decision and its reason are in `axiswatch models decisions`.
"""


@dag(
    dag_id="axiswatch_retrain",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(SETTINGS.retrain_schedule, timezone="UTC"), assets=[LABELS]
    ),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    dagrun_timeout=timedelta(hours=12),
    tags=["axiswatch", "retrain"],
    description="Train a candidate and promote it if it is not worse",
    doc_md=DOCS,
)
def axiswatch_retrain() -> None:
    """Wire the steps."""

    def trigger() -> str:
        kind = str(getattr(get_current_context()["dag_run"], "run_type", "")).rsplit(".", 1)[-1].lower()
        return {"manual": "by hand", "scheduled": "schedule"}.get(kind, "labels" if "asset" in kind else kind)

    @task
    def scopes() -> list[str]:
        from pipeline import scheduled

        return scheduled.scopes_to_train(as_of(), trigger())

    @task(pool=HEAVY, execution_timeout=timedelta(hours=3))
    def retrain(scope: str) -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.retrain(scope, as_of(), trigger())

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[CHAMPION])
    def finish(decisions: Any, *, outlet_events: Any) -> list[dict[str, Any]]:
        found = list(decisions or [])
        outlet_events[CHAMPION].extra = {item["scope"]: f"{item['outcome']}: {item['reason']}" for item in found}
        return found

    named = scopes()
    decisions = retrain.expand(scope=named)
    finished = finish(decisions)
    [named, decisions, finished] >> watch()


axiswatch_retrain()
