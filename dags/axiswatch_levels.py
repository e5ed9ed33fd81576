"""DAG axiswatch_levels: estimate each site's alarm and review level, daily and when there is a new champion."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task
from wiring import CHAMPION, DEFAULT_ARGS, HEAVY, SETTINGS, START, as_of, outcome, parameters, report_run

DOCS = """
### What it does
Daily, by hand, and when there is a new champion: scores the first days of new units and the time of new findings with
each champion, and estimates from them the alarm and the review level of each site (docs/cases.md). A level is written
with its reason when it has changed; the next bins that `advise` computes use it. `axiswatch levels list` shows them,
and `axiswatch levels back` takes the last change back and holds it.

### What it never does
It changes no score, no state and no case that exists. A repeated run writes nothing.
"""


@dag(
    dag_id="axiswatch_levels",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable(SETTINGS.levels_schedule, timezone="UTC"), assets=[CHAMPION]
    ),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=report_run,
    dagrun_timeout=timedelta(hours=2),
    tags=["axiswatch", "levels"],
    description=f"Estimate each site's levels: with a new champion, and at {SETTINGS.levels_schedule} UTC",
    doc_md=DOCS,
)
def axiswatch_levels() -> None:
    """Connect the tasks."""

    @task(pool=HEAVY, execution_timeout=timedelta(hours=1))
    def estimate() -> list[dict[str, Any]]:
        from pipeline import scheduled

        parameters()
        return scheduled.estimate_levels(as_of())

    estimate() >> outcome()


axiswatch_levels()
