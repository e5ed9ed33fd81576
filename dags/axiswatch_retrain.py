"""DAG axiswatch_retrain: a new candidate from the labels known by now, and whether it becomes champion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, TriggerRule, dag, get_current_context, task
from wiring import CHAMPION, DEFAULT_ARGS, HEAVY, START, as_of, watch

DOCS = """
### What it does
When `axiswatch_watch` starts it, and by hand: for every scope asked for (none named: every one with labels) it builds
the training set, trains, and judges the candidate on units held out. The candidate becomes champion when it is not
worse than the champion on the units that both were held out for. The decision and its reason are in
`axiswatch models decisions`.
"""


@dag(
    dag_id="axiswatch_retrain",
    schedule=None,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    dagrun_timeout=timedelta(hours=12),
    tags=["axiswatch", "retrain"],
    description="Train a candidate and promote it if it is not worse",
    doc_md=DOCS,
    params={
        "scopes": Param([], type="array", items={"type": "string"}, description="Scopes; empty: all with labels"),
        "trigger": Param("by hand", type="string", description="What asked for it"),
    },
)
def axiswatch_retrain() -> None:
    """Wire the steps."""

    def trigger() -> str:
        return str(get_current_context()["params"]["trigger"])

    @task
    def scopes() -> list[str]:
        from pipeline import scheduled

        asked = get_current_context()["params"]["scopes"]
        found = scheduled.scopes_to_train(as_of(), trigger())
        return [scope for scope in found if not asked or scope in asked]

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
