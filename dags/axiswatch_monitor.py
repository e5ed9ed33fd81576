"""DAG axiswatch_monitor: from new log files to scores and cases, every interval."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from wiring import (
    CASES,
    DEFAULT_ARGS,
    FEATURES,
    HEAVY,
    LABELS,
    RECORDINGS,
    SCORES,
    SETTINGS,
    START,
    as_of,
    extract,
    score,
    true_time,
    watch,
)

DOCS = """
### What it does
Takes every log file that is due at the end of the interval, in batches, oldest first: **acquire**, **extract**,
**baseline**, **trend**, **score**, **advise**. Then it sends the news about cases to the webhook, and updates the asset
`labels` if there are findings that no retraining has used.

### When a task is red
The other batches go on; `watch` makes the run red. What was not done is due again in the next run. The reason is in the
log of the red task and in `axiswatch failures`. See docs/operations.md.
"""


@dag(
    dag_id="axiswatch_monitor",
    schedule=CronDataIntervalTimetable(SETTINGS.monitor_schedule, timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    dagrun_timeout=timedelta(hours=12),
    tags=["axiswatch", "monitor"],
    description="From new log files to scores and cases",
    doc_md=DOCS,
)
def axiswatch_monitor() -> None:
    """Connect the tasks."""

    @task
    def plan_acquire() -> list[list[str]]:
        from pipeline import scheduled

        plan = scheduled.plan_acquire(as_of())
        for problem in plan["problems"]:
            print(f"landing zone: {problem}")
        return plan["batches"]

    @task(pool=HEAVY)
    def acquire(names: list[str]) -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.acquire_batch(names, as_of())

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[RECORDINGS])
    def plan_extract(acquired: Any, *, outlet_events: Any) -> list[dict[str, Any]]:
        from pipeline import scheduled

        outlet_events[RECORDINGS].extra = scheduled.total(acquired)
        return scheduled.plan_extract(as_of())["batches"]

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[FEATURES])
    def baseline(extracted: Any, *, outlet_events: Any) -> dict[str, Any]:
        from pipeline import scheduled

        outlet_events[FEATURES].extra = scheduled.total(extracted)
        return scheduled.baselines(as_of())

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def trend() -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.trends(as_of())

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def plan_score() -> list[dict[str, Any]]:
        from pipeline import scheduled

        return scheduled.plan_score(as_of())["batches"]

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[SCORES, CASES])
    def advise(scored: Any, *, outlet_events: Any) -> dict[str, Any]:
        from pipeline import scheduled

        outlet_events[SCORES].extra = scheduled.total(scored)
        counts = scheduled.advise(as_of())
        outlet_events[CASES].extra = counts
        return counts

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def deliver() -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.deliver(true_time())

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[LABELS])
    def labels(*, outlet_events: Any) -> int:
        from pipeline import scheduled

        count = scheduled.new_labels(as_of())
        if not count:
            raise AirflowSkipException("there are no new findings")
        outlet_events[LABELS].extra = {"new_labels": count}
        return count

    files = plan_acquire()
    acquired = acquire.expand(names=files)
    recordings = plan_extract(acquired)
    extracted = extract.expand(batch=recordings)
    baselines, trends, windows = baseline(extracted), trend(), plan_score()
    scored = score.expand(batch=windows)
    advised, delivered, news = advise(scored), deliver(), labels()
    baselines >> trends >> windows
    advised >> [delivered, news]
    [files, acquired, recordings, extracted, baselines, trends, windows, scored, advised, delivered, news] >> watch()


axiswatch_monitor()
