"""DAG axiswatch_retrain: train a challenger from the labels known by now, judge it, promote it, and score again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import Param, TriggerRule, dag, task
from airflow.sdk.exceptions import AirflowSkipException
from wiring import (
    CHAMPION,
    DEFAULT_ARGS,
    FEATURES,
    HEAVY,
    LABELS,
    NEWS,
    SETTINGS,
    START,
    STRETCH,
    as_of,
    outcome,
    parameters,
    report_run,
)

DOCS = """
### What it does
Has no schedule: `axiswatch_watch` or a person starts it. For every scope asked for (empty: every one with labels) it
builds the training set, trains a challenger, and judges it against the champion on the same held-out units. The
challenger becomes champion when it is not worse where it counts; else the champion stays. The decision, its reason and
all figures are in `axiswatch models decisions`. With the setting `promotion_approval` a person is asked first, here
under "Required actions" or by `axiswatch models approve`. After a promotion the new champion scores open cases and the
newest days again, and closed cases for the comparison in `axiswatch payback`. See docs/model-life.md.
"""

WAIT = timedelta(hours=SETTINGS.promotion_approval_hours if SETTINGS.promotion_approval else 0)


@dag(
    dag_id="axiswatch_retrain",
    schedule=None,
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=report_run,
    dagrun_timeout=timedelta(hours=12) + WAIT,
    params={
        "scopes": Param([], type="array", items={"type": "string"}, description="Model scopes; none: all with labels"),
        "trigger": Param("by hand", type="string", minLength=1, description="The reason for the retraining"),
    },
    tags=["axiswatch", "retrain"],
    description="Train a challenger and promote it if it is not worse",
    doc_md=DOCS,
)
def axiswatch_retrain() -> None:
    """Connect the tasks."""

    @task
    def scopes() -> list[str]:
        from pipeline import scheduled

        asked = parameters()
        return scheduled.scopes_to_train(as_of(), asked["trigger"], asked["scopes"])

    @task(
        pool=HEAVY,
        max_active_tis_per_dagrun=1,  # it takes long, and the monitor needs a slot meanwhile
        execution_timeout=timedelta(hours=3),
        map_index_template="{{ task.op_kwargs['scope'] }}",
        inlets=[LABELS, FEATURES],
    )
    def retrain(scope: str) -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.retrain(scope, as_of(), parameters()["trigger"])

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def question() -> str:
        from pipeline import scheduled

        lines = scheduled.waiting(as_of())
        if not lines:
            raise AirflowSkipException("no challenger waits for a person")
        return "\n\n".join(lines)

    @task
    def answer(given: Any) -> list[dict[str, Any]]:
        from pipeline import scheduled

        return scheduled.answer_waiting(as_of(), given)

    @task(trigger_rule=TriggerRule.ALL_DONE, outlets=[NEWS])
    def finish(*, outlet_events: Any) -> list[dict[str, Any]]:
        from pipeline import scheduled

        rows = scheduled.decisions(as_of())
        changed = {row["scope"]: row["reason"] for row in rows if row["outcome"] in ("first", "promoted")}
        if changed:
            outlet_events[NEWS].add(CHAMPION, extra=changed)
        return rows

    @task(trigger_rule=TriggerRule.ALL_DONE, inlets=[CHAMPION])
    def plan_rescore(decisions: Any) -> list[dict[str, Any]]:
        from pipeline import scheduled

        return scheduled.plan_rescore(list(decisions or []), as_of())

    @task(pool=HEAVY, map_index_template=STRETCH)
    def rescore(batch: dict[str, Any]) -> dict[str, Any]:
        from pipeline import scheduled

        return scheduled.rescore_batch(batch, as_of())

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def payback(rescored: Any) -> int:
        from pipeline import scheduled

        list(rescored or [])
        return scheduled.write_payback(as_of())

    named = scopes()
    trained = retrain.expand(scope=named)
    finished = finish()
    tasks = [named, trained, finished]
    trained >> finished
    if SETTINGS.promotion_approval:
        asked = question()
        answered = answer(approval(asked))
        trained >> asked
        answered >> finished
        tasks += [asked, answered]
    batches = plan_rescore(finished)
    rescored = rescore.expand(batch=batches)
    [*tasks, batches, rescored, payback(rescored)] >> outcome()


def approval(asked: Any) -> Any:
    """Ask a person and wait for the answer for a limited time; no answer leaves the challenger waiting.

    An answer in the same second as the question fails the task in Airflow 3.3 (its retry asks again), so programs wait.
    """
    from airflow.providers.standard.operators.hitl import HITLOperator

    names = [name.strip() for name in SETTINGS.promotion_approvers.split(",") if name.strip()]
    return HITLOperator(
        task_id="approval",
        subject="Promote the challenger?",
        body=asked,
        options=["Approve", "Reject"],
        defaults="Reject",
        assigned_users=[{"id": name, "name": name} for name in names] or None,
        response_timeout=WAIT,
        execution_timeout=WAIT + timedelta(minutes=30),
    ).output


axiswatch_retrain()
