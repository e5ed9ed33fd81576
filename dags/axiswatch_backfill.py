"""DAG axiswatch_backfill: extract or score a past period again, started by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, TriggerRule, dag, get_current_context, task
from wiring import (
    DEFAULT_ARGS,
    FEATURES,
    NEWS,
    SCORES,
    START,
    TIME,
    announce,
    as_of,
    extract,
    outcome,
    parameters,
    report_run,
    score,
)

DOCS = """
### What it does
For recordings that started from `from_at` (included) to `to_at` (not included): extracts missing features at today's
settings, and scores with the named model (none named: the champions) what it has not scored. The rows get the time of
this run as `known_at`. Old rows stay. It never changes which model is champion. An axis that was last flagged longer
than `case_max_age_days` ago opens no case.

To fill in **intervals of the monitor** that never ran, use Airflow's own backfill of `axiswatch_monitor`: each run then
has the time of its own interval. See docs/operations.md.
"""


@dag(
    dag_id="axiswatch_backfill",
    schedule=None,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=report_run,
    dagrun_timeout=timedelta(days=7),
    tags=["axiswatch", "backfill"],
    description="Extract and score a past period again",
    doc_md=DOCS,
    params={
        "from_at": Param(type="string", description="First started_at, with an offset", **TIME),
        "to_at": Param(type="string", description="End of started_at, not included", **TIME),
        "extract": Param(True, type="boolean", description="Extract features that are missing"),
        "score": Param(True, type="boolean", description="Score what has no score of the model"),
        "model_version": Param(None, type=["null", "string"], description="Model to score with; empty: the champions"),
    },
)
def axiswatch_backfill() -> None:
    """Connect the tasks."""

    @task(retries=0)
    def check() -> dict[str, Any]:
        from pipeline import scheduled

        asked = parameters()
        return scheduled.check_backfill(as_of(), asked["from_at"], asked["to_at"], asked["model_version"])

    @task
    def plan_extract(between: dict[str, Any]) -> list[dict[str, Any]]:
        from pipeline import scheduled

        if not get_current_context()["params"]["extract"]:
            return []
        return scheduled.plan_extract(as_of(), between)["batches"]

    @task(trigger_rule=TriggerRule.NONE_FAILED, inlets=[FEATURES], outlets=[NEWS])
    def plan_score(between: dict[str, Any], extracted: Any, *, outlet_events: Any) -> list[dict[str, Any]]:
        from pipeline import scheduled

        announce(outlet_events, {"extract": scheduled.total(extracted)})
        asked = get_current_context()["params"]
        if not asked["score"]:
            return []
        return scheduled.plan_score(as_of(), between, asked["model_version"])["batches"]

    @task(trigger_rule=TriggerRule.ALL_DONE, inlets=[SCORES], outlets=[NEWS])
    def finish(scored: Any, *, outlet_events: Any) -> dict[str, Any]:
        from pipeline import scheduled

        counts = scheduled.advise(as_of())
        announce(outlet_events, {"score": scheduled.total(scored), "advise": counts})
        return counts

    between = check()
    recordings = plan_extract(between)
    extracted = extract.expand(batch=recordings)
    windows = plan_score(between, extracted)
    scored = score.expand(batch=windows)
    finished = finish(scored)
    [between, recordings, extracted, windows, scored, finished] >> outcome()


axiswatch_backfill()
