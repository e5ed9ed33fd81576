"""DAG axiswatch_housekeeping: remove Airflow's own old rows and log files."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import CronDataIntervalTimetable, dag
from wiring import DEFAULT_ARGS, SETTINGS, START, outcome, report_run

DOCS = """
### What it does
Weekly: deletes rows of Airflow's own database (runs, tasks, events, XCom) and log files that are older than
`airflow_keep_days`. It touches nothing of axiswatch. `axiswatch failures` keeps what failed.

Its worker needs the folder of the logs, and in `AIRFLOW_DATABASE` the URL of Airflow's database: Airflow takes its own
variable away from tasks. Where logs go to S3, let a rule of the bucket remove them.
"""

REACHED = 'export AIRFLOW__DATABASE__SQL_ALCHEMY_CONN="${AIRFLOW_DATABASE:?set it, see the page of this DAG}"; '
END = "(dag_run.data_interval_end or dag_run.run_after)"
OLD = f"{{{{ macros.ds_add({END} | ds, -{SETTINGS.airflow_keep_days}) }}}}"


@dag(
    dag_id="axiswatch_housekeeping",
    schedule=CronDataIntervalTimetable("0 4 * * 0", timezone="UTC"),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    on_failure_callback=report_run,
    dagrun_timeout=timedelta(hours=6),
    tags=["axiswatch", "housekeeping"],
    description="Remove Airflow's own old rows and log files",
    doc_md=DOCS,
)
def axiswatch_housekeeping() -> None:
    """Connect the tasks."""
    rows = BashOperator(
        task_id="rows",
        bash_command=f"{REACHED}airflow db clean --clean-before-timestamp {OLD} --skip-archive --yes",
        execution_timeout=timedelta(hours=4),
    )
    logs = BashOperator(
        task_id="logs",
        bash_command=f'{REACHED}cd "$(airflow config get-value logging base_log_folder | tail -n 1)" && '
        f"find . -type f -mtime +{SETTINGS.airflow_keep_days} -delete && "
        "find . -mindepth 1 -type d -empty -mtime +1 -delete",
        execution_timeout=timedelta(hours=1),
    )
    [rows, logs] >> outcome()


axiswatch_housekeeping()
