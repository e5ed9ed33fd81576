"""DAG axiswatch_monitor: from new log files to scores and cases, every interval."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, TriggerRule, dag, task
from wiring import (
    CASES,
    DEFAULT_ARGS,
    FEATURES,
    HEAVY,
    NEWS,
    RECORDINGS,
    SCORES,
    SETTINGS,
    START,
    announce,
    as_of,
    extract,
    outcome,
    parameters,
    report_run,
    score,
    true_time,
)

DOCS = """
### What it does
Takes what is due at the end of the interval through the steps **acquire**, **extract**, **baseline**, **trend**,
**score** and **advise**. Then it sends the news about cases to the webhook, and updates the asset `labels` if there are
findings that no retraining has used. New data come first; what piled up follows, as much as `max_batches` allow.

Where no step has more than one batch, as in most intervals, the task `interval` does all of it and the others are
skipped. Else they work in batches, side by side.

### When a task is red
The other batches go on; `outcome` makes the run red. What was not done is due again in the next run. The reason is in
the log of the red task and in `axiswatch failures`. See docs/operations.md.
"""


@dag(
    dag_id="axiswatch_monitor",
    schedule=CronDataIntervalTimetable(SETTINGS.monitor_schedule, timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"priority_weight": 100},  # a slot that gets free is its, not a backfill's
    on_failure_callback=report_run,
    dagrun_timeout=timedelta(hours=4),
    tags=["axiswatch", "monitor"],
    description="From new log files to scores and cases",
    doc_md=DOCS,
)
def axiswatch_monitor() -> None:
    """Connect the tasks."""

    @task.short_circuit(pool=HEAVY, outlets=[NEWS])
    def interval(*, outlet_events: Any) -> bool:
        from pipeline import scheduled

        parameters()
        reports = scheduled.interval(as_of(), true_time())
        print(reports or "more than one batch is due")
        announce(outlet_events, reports)
        return not reports

    @task
    def plan_acquire() -> list[list[str]]:
        from pipeline import scheduled

        plan = scheduled.plan_acquire(as_of())
        for problem in plan["problems"]:
            print(f"landing zone: {problem}")
        return plan["batches"]

    @task(pool=HEAVY, map_index_template="{{ task.op_kwargs['names'] | length }} files")
    def acquire(names: list[str]) -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.acquire_batch(names, as_of())

    @task(trigger_rule=TriggerRule.ALL_DONE, inlets=[RECORDINGS], outlets=[NEWS])
    def plan_extract(acquired: Any, *, outlet_events: Any) -> list[dict[str, Any]]:
        from pipeline import scheduled

        announce(outlet_events, {"acquire": scheduled.total(acquired)})
        return scheduled.plan_extract(as_of())["batches"]

    @task(trigger_rule=TriggerRule.ALL_DONE, inlets=[FEATURES], outlets=[NEWS])
    def baseline(extracted: Any, *, outlet_events: Any) -> dict[str, Any]:
        from pipeline import scheduled

        announce(outlet_events, {"extract": scheduled.total(extracted)})
        return scheduled.baselines(as_of())

    @task(trigger_rule=TriggerRule.ALL_DONE, inlets=[FEATURES])
    def trend() -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.trends(as_of())

    @task(trigger_rule=TriggerRule.ALL_DONE, inlets=[FEATURES])
    def plan_score() -> list[dict[str, Any]]:
        from pipeline import scheduled

        return scheduled.plan_score(as_of())["batches"]

    @task(trigger_rule=TriggerRule.ALL_DONE, inlets=[SCORES], outlets=[NEWS])
    def advise(scored: Any, *, outlet_events: Any) -> dict[str, Any]:
        from pipeline import scheduled

        counts = scheduled.advise(as_of())
        announce(outlet_events, {"score": scheduled.total(scored), "advise": counts})
        return counts

    @task(trigger_rule=TriggerRule.ALL_DONE, inlets=[CASES])
    def deliver() -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.deliver(true_time())

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[NEWS])
    def labels(*, outlet_events: Any) -> int:
        from pipeline import scheduled

        count = scheduled.new_labels(as_of())
        announce(outlet_events, {"labels": {"new_labels": count}})
        return count

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def whole() -> None:
        from pipeline import scheduled

        scheduled.beat(as_of(), true_time())

    small, files = interval(), plan_acquire()
    acquired = acquire.expand(names=files)
    recordings = plan_extract(acquired)
    extracted = extract.expand(batch=recordings)
    baselines, trends, windows = baseline(extracted), trend(), plan_score()
    scored = score.expand(batch=windows)
    advised, delivered, news = advise(scored), deliver(), labels()
    small >> files
    baselines >> trends >> windows
    advised >> [delivered, news]
    tasks = [
        small,
        files,
        acquired,
        recordings,
        extracted,
        baselines,
        trends,
        windows,
        scored,
        advised,
        delivered,
        news,
    ]
    ended = whole()
    tasks >> ended
    [*tasks, ended] >> outcome()


axiswatch_monitor()
