"""Airflow, where this computer is configured for it: does it answer, can it read the DAGs, does the monitor run."""

from __future__ import annotations

from datetime import UTC, timedelta

import httpx
import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from pipeline.doctor.finding import Patient, Said, ago, bounded

MONITOR = "axiswatch_monitor"
LATE = timedelta(hours=2)


def airflow(patient: Patient) -> Said:
    """Ask Airflow's health page, which is open to all, and read its database."""
    if not patient.airflow_url and not patient.airflow_database:
        yield False, "not configured here (AIRFLOW__API__BASE_URL and AIRFLOW__DATABASE__SQL_ALCHEMY_CONN are not set)"
        return
    if patient.airflow_url:
        yield from _health(patient.airflow_url, patient.seconds)
    if patient.airflow_database:
        yield from _monitor(patient)


def _health(url: str, seconds: float) -> Said:
    try:
        answer = httpx.get(f"{url.rstrip('/')}/api/v2/monitor/health", timeout=seconds / 4)
        parts = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError) as error:
        yield True, f"Airflow at {url} does not answer ({error or type(error).__name__}); start its api-server"
        return
    ill = [name for name in ("metadatabase", "scheduler", "dag_processor") if parts[name]["status"] != "healthy"]
    if ill:
        yield True, f"of Airflow at {url} {' and '.join(ill)} are not healthy; start them"
    else:
        yield False, f"{url} is healthy"


def _monitor(patient: Patient) -> Said:
    known = sa.text(
        "SELECT d.dag_id, d.is_paused, d.is_stale, d.has_import_errors, e.stacktrace "
        "FROM dag d LEFT JOIN import_error e ON e.filename = d.relative_fileloc AND e.bundle_name = d.bundle_name "
        "WHERE d.dag_id LIKE 'axiswatch_%'"
    )
    ended = sa.text("SELECT max(end_date) FROM dag_run WHERE dag_id = :dag AND state = 'success'").columns(
        sa.column("end", sa.DateTime(timezone=True))
    )
    engine = sa.create_engine(
        bounded(_own_driver(patient.airflow_database), patient.seconds / 2), poolclass=sa.NullPool
    )
    try:
        with engine.connect() as connection:
            dags = {row.dag_id: row for row in connection.execute(known)}
            last = connection.scalar(ended, {"dag": MONITOR})
    except DBAPIError as error:
        yield True, f"cannot read Airflow's database: {str(error.orig).strip()}; start it, or `airflow db migrate`"
        return
    unread = {name: dag.stacktrace for name, dag in sorted(dags.items()) if dag.has_import_errors or dag.is_stale}
    for name, trace in unread.items():
        why = (trace or "its file is gone").strip().splitlines()[-1]
        yield True, f"Airflow cannot read the DAG {name}, so it does not run ({why}); put its file in order"
    if MONITOR not in dags:
        yield True, f"Airflow does not know the DAG {MONITOR}; set AIRFLOW__CORE__DAGS_FOLDER to dags/"
    elif dags[MONITOR].is_paused:
        yield True, f"the DAG {MONITOR} is paused, so nothing runs by itself; `airflow dags unpause {MONITOR}`"
    elif last is None:
        yield True, f"no run of {MONITOR} has ended well yet; look at its page in Airflow"
    elif patient.true_time - (last := last.replace(tzinfo=last.tzinfo or UTC)) > LATE:
        yield True, f"the last good run of {MONITOR} ended {ago(patient.true_time, last)} ago; look at its page"
    elif MONITOR not in unread:
        yield False, f"{MONITOR} is on, its last good run ended {ago(patient.true_time, last)} ago"


def _own_driver(url: str) -> URL:
    """Return the URL with the driver of PostgreSQL that axiswatch has."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.get_backend_name() == "postgresql" else parsed
