"""Read the DAG files as Airflow does and print what they declare, as JSON. Run by test_dags.py in its own process."""

import json
import sys

from airflow.dag_processing.dagbag import DagBag

bag = DagBag(dag_folder=sys.argv[1])
facts = {
    "errors": {str(path): text for path, text in bag.import_errors.items()},
    "modules": sorted(set(sys.modules) & {"torch", "sklearn", "scipy", "pandas", "numpy"}),
    "dags": {
        dag.dag_id: {
            "tags": sorted(dag.tags),
            "doc": dag.doc_md or "",
            "description": dag.description or "",
            "max_active_runs": dag.max_active_runs,
            "timeout_s": dag.dagrun_timeout.total_seconds() if dag.dagrun_timeout else None,
            "catchup": dag.catchup,
            "tells": bool(dag.on_failure_callback),
            "schedule": type(dag.timetable).__name__,
            "required": sorted(name for name in dag.params if not dag.params.get_param(name).has_value),
            "params": {name: dag.params.get_param(name).schema for name in dag.params},
            "tasks": {
                task.task_id: {
                    "owner": task.owner,
                    "retries": task.retries,
                    "backoff": bool(task.retry_exponential_backoff),
                    "timeout_s": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                    "pool": task.pool,
                    "at_once": task.max_active_tis_per_dagrun,
                    "weight": task.priority_weight,
                    "tells": bool(task.on_failure_callback),
                    "outlets": sorted(asset.name for asset in task.outlets),
                    "inlets": sorted(asset.name for asset in task.inlets),
                    "rule": str(task.trigger_rule.value),
                    "map_name": task.map_index_template,
                    "gives_up_on": sorted(
                        path.rsplit(".", 1)[-1]
                        for rule in (task.retry_policy.rules if task.retry_policy else ())
                        for path in rule.exception
                    ),
                    "upstream": sorted(task.upstream_task_ids),
                }
                for task in dag.tasks
            },
        }
        for dag in bag.dags.values()
    },
}
print("FACTS" + json.dumps(facts))
