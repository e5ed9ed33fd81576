"""The jobs that the benchmark runs in processes of their own, under the version of axiswatch that is measured.

`python jobs.py JSON`, with the name of the job in `do` and a file for the answer in `answer`. Settings come from the
environment. Whatever these jobs use of the product has to be there in each version that is compared.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil
from processes import cpu_of_tree

Job = dict[str, Any]


def main() -> None:
    """Do one job."""
    job: Job = json.loads(sys.argv[1])
    answer = JOBS[job["do"]](job)
    Path(job["answer"]).write_text(json.dumps(answer, default=str), encoding="utf-8")


def _spent(server: int) -> float:
    """Return the processor time so far of this process, its workers, those that have ended, and PostgreSQL; s."""
    total = cpu_of_tree(server) if server else 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    return total + sum(cpu_of_tree(child.pid) for child in psutil.Process().children())


IMPORTED = (
    "models.model",
    "pipeline.cases.evidence",
    "pipeline.extraction.baseline",
    "pipeline.extraction.extract",
    "pipeline.intake.acquire",
    "pipeline.scoring.advise",
    "pipeline.scoring.score",
    "pipeline.trends.course",
)
"""What the steps import; it is imported before the first of them, so that its time does not count as a step's."""


def _steps(job: Job, names: set[str] | None = None) -> dict[str, Any]:
    """Run steps of the monitor at `as_of`; return counts, and processor time by step, `start` before the first."""
    from pipeline.steps import MONITOR
    from pipeline.workplace import workplace

    for module in IMPORTED:
        import_module(module)
    place = workplace()
    counts: dict[str, Any] = {}
    cpu = {"start": _spent(0)}
    as_of = datetime.fromisoformat(job["as_of"])
    for step in MONITOR:
        if names is None or step.name in names:
            before = _spent(job["server"])
            counts[step.name] = step.run(place, as_of, None)
            cpu[step.name] = _spent(job["server"]) - before
    place.store.dispose()
    return {"counts": counts, "cpu_s": cpu}


def monitor(job: Job) -> Any:
    """Run the steps of a monitoring run at `as_of`."""
    return _steps(job)


def build(job: Job) -> Any:
    """Run a plant from its logs to its cases and train its model: folder `plant`, start of its time `start`."""
    from pipeline.assets import import_assets
    from pipeline.labels.labels import import_labels
    from pipeline.training.train import train_scopes
    from pipeline.workplace import workplace

    place = workplace()
    folder = Path(job["plant"])
    import_assets(place.store, folder / "assets.toml", as_of=datetime.fromisoformat(job["start"]))
    import_labels(place.store, folder / "labels.csv", who="benchmark")
    place.store.dispose()
    first = _steps(job, {"acquire", "extract", "baseline", "trend"})
    before = _spent(job["server"])
    place = workplace()
    train_scopes(place.store, place.lake, place.settings, as_of=datetime.fromisoformat(job["as_of"]))
    place.store.dispose()
    first["cpu_s"]["train"] = _spent(job["server"]) - before
    rest = _steps(job, {"score", "advise"})
    del rest["cpu_s"]["start"]
    return {name: {**first[name], **rest[name]} for name in first}


def copy(job: Job) -> Any:
    """Copy the rows of the database `source` into the empty one of the settings; `tables`: only these."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite

    from pipeline.store.database import Store, ensure_partitions
    from pipeline.store.tables import Base, Score
    from pipeline.workplace import workplace

    source, target = Store(job["source"]), workplace().store
    insert = sqlite.insert if target.is_sqlite else postgresql.insert
    with source.read() as read:
        months = read.scalars(sa.select(Score.started_at).distinct()).all()
        ensure_partitions(target, months)
        with target.write() as write:
            for table in Base.metadata.sorted_tables:
                if not job.get("tables") or table.name in job["tables"]:
                    query = sa.select(table)
                    if job.get("tables") and table.name == "lake_files":
                        query = query.where(table.c.kind == "models")
                    rows = [dict(row._mapping) for row in read.execute(query)]
                    if rows:
                        write.execute(insert(table).on_conflict_do_nothing(), rows)
                    number = table.autoincrement_column
                    if rows and number is not None and not target.is_sqlite:
                        counter = sa.func.pg_get_serial_sequence(table.name, number.name)
                        write.execute(sa.select(sa.func.setval(counter, max(row[number.name] for row in rows))))
    if not target.is_sqlite:
        with target.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE")
    source.dispose()
    target.dispose()
    return {}


def multiply(job: Job) -> Any:
    """Multiply the history of the plant, see `multiply.multiply`."""
    from multiply import multiply as grow

    from pipeline.workplace import workplace

    place = workplace()
    return grow(
        place.store,
        Path(place.lake.url),
        place.settings.landing_zone,
        end=datetime.fromisoformat(job["end"]),
        axes=job["axes"],
        copies=job["copies"],
        period_s=job["period_s"],
    )


def count(job: Job) -> Any:
    """Run the steps at `as_of` and count the work of each statement.

    Returns the statements whose plan goes through a table of history; on SQLite the instructions of all statements and
    of the ten costliest; on PostgreSQL the rows that were read of each table.
    """
    from query_work import recorded, rows_read, scans_of_history

    from pipeline.workplace import workplace

    store = workplace().store
    before = {} if store.is_sqlite else rows_read(store)
    with recorded() as statements:
        _steps(job)
    after = {} if store.is_sqlite else rows_read(store)
    scans = scans_of_history(store, statements)
    store.dispose()
    costly = sorted(statements, key=lambda statement: -statement.instructions)[:10]
    return {
        "scans": scans,
        "instructions": sum(statement.instructions for statement in statements),
        "costly": [[item.instructions, item.executions, item.text] for item in costly if item.instructions],
        "rows_read": {table: after[table] - before[table] for table in after},
    }


def several(job: Job) -> Any:
    """Do several jobs in one process, which has imported everything once; return their answers."""
    return [JOBS[item["do"]]({**item, "server": job["server"]}) for item in job["jobs"]]


def floors(job: Job) -> Any:
    """Return the floors a window of the plant, see `floors.floors`."""
    from floors import floors as measure_floors

    from pipeline.workplace import workplace

    del job
    place = workplace()
    found = measure_floors(place.store, Path(place.lake.url))
    place.store.dispose()
    return found


JOBS: dict[str, Callable[[Job], Any]] = {
    item.__name__: item for item in (monitor, build, copy, multiply, count, floors, several)
}

if __name__ == "__main__":
    main()
