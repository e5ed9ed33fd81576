"""Run DAGs whole by `dag.test()`, one after the other, and print how they ended, as JSON. Run by test_whole_runs.py.

Standard input: a JSON list of runs, each with `name`, `dag`, `at` (the time it stands for), `conf` and `settings`.
"""

import json
import os
import sys
from datetime import datetime
from typing import Any

from airflow.models.asset import AssetEvent, AssetModel
from airflow.models.dagrun import DagRun
from airflow.models.xcom import XComModel
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from sqlalchemy import func, select


def ended(run: DagRun, events_before: int) -> dict[str, Any]:
    """How a run ended: its state, its tasks with their names in the page and what they returned, and its events."""
    with create_session() as session:
        tasks = [
            {
                "task": task.task_id,
                "state": str(task.state),
                "called": task.rendered_map_index,
                "returned": XComModel.deserialize_value(found) if (found := session.scalar(value(task))) else None,
            }
            for task in run.get_task_instances(session=session)
        ]
        news = select(AssetModel.name, AssetEvent.extra).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        events = [tuple(row) for row in session.execute(news.where(AssetEvent.id > events_before))]
    return {"state": str(run.state), "tasks": tasks, "events": sorted(events, key=str)}


def value(task: Any) -> Any:
    """The query for what a task returned."""
    named = dict(key="return_value", dag_ids=task.dag_id, task_ids=task.task_id, run_id=task.run_id)
    return XComModel.get_many(**named, map_indexes=task.map_index).limit(1)


def newest_event() -> int:
    """The number of the newest event."""
    with create_session() as session:
        return session.scalar(select(func.max(AssetEvent.id))) or 0


initdb()
from airflow.dag_processing.dagbag import DagBag  # noqa: E402, the database has to be there

asked = json.load(sys.stdin)
bag = DagBag(dag_folder=sys.argv[1])
assert not bag.import_errors, bag.import_errors
found = {}
for one in asked:
    os.environ.update(one["settings"])
    before, dag = newest_event(), bag.dags[one["dag"]]
    at = datetime.fromisoformat(one["at"])
    run = dag.test(run_after=at, logical_date=at if one["conf"] is None else None, run_conf=one["conf"])
    found[one["name"]] = ended(run, before)
    for name in one["settings"]:
        del os.environ[name]
print("RUNS" + json.dumps(found, default=str))
