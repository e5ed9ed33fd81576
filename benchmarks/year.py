"""A year of a plant in an hour: `python benchmarks/year.py --folder EMPTY_FOLDER`.

A simulated plant of 100 axes with short signals goes day by day through the functions that the scheduled tasks call
(no Airflow): logs that come late, a week without any run, replaced units, monthly retrainings with their promotions,
daily retention of data, superseded scores and the landing zone. Prints and writes to `year.json`: processor time of a
day's run, size of database, lake and landing zone, by month; and whether the end is what it should be.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

OUTAGE = range(100, 107)
"""Days on which nothing runs, while logs go on coming."""

REPLACED = {60: 3, 150: 40, 240: 77, 300: 91}
"""Day, and the number of the axis whose unit is replaced on it."""

LATE_SHARE, LATE_DAYS = 0.03, 9
KEPT = {"RETENTION_MONTHS": "3", "SUPERSEDED_DAYS": "30", "LANDING_KEEP_DAYS": "30"}
SMALL = {"EPOCHS": "6", "N_SAMPLES": "20", "FOLDS": "3", "HIDDEN": "[32]", "SYNTHETIC_WINDOWS": "50"}


def main() -> None:
    """Run the year and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="empty folder")
    parser.add_argument("--robots", type=int, default=25, help="robots of four axes each")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--samples", type=int, default=2048)
    parser.add_argument("--postgresql", action="store_true", help="on PostgreSQL; else on SQLite")
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    landing = folder / "landing"
    os.environ.update({f"AXISWATCH_{name}": value for name, value in (KEPT | SMALL).items()})
    os.environ.update(OMP_NUM_THREADS="1", AXISWATCH_HOME=str(folder), AXISWATCH_LANDING=str(landing))
    warnings.simplefilter("ignore")
    if arguments.postgresql:
        import pgserver.postgres_server

        server = pgserver.postgres_server.get_server(folder / "postgres", cleanup_mode="stop")
        socket = server.get_postmaster_info().socket_dir
        os.environ["AXISWATCH_DATABASE_URL"] = f"postgresql+psycopg://postgres@/axiswatch?host={socket}"
    from pipeline.simulation import FleetSettings, simulate

    fleet = FleetSettings(
        robots=arguments.robots,
        axes=4,
        days=arguments.days,
        recordings_per_day=2,
        samples=arguments.samples,
        label_until_day=float(arguments.days),
    )
    print("simulating", flush=True)
    simulate(folder / "fleet", fleet)
    result = run(folder, landing, fleet)
    (folder / "year.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    for month in result["months"]:
        print(month)
    print(json.dumps({name: value for name, value in result.items() if name != "months"}, indent=1))


def run(folder: Path, landing: Path, fleet: Any) -> dict[str, Any]:
    """Go through the days; return figures by month and the check at the end."""
    import sqlalchemy as sa

    from pipeline import scheduled
    from pipeline.assets import import_assets
    from pipeline.cases.replacement import replace_unit
    from pipeline.labels.labels import import_labels
    from pipeline.store.database import create_database
    from pipeline.store.tables import Axis
    from pipeline.workplace import workplace

    if "AXISWATCH_DATABASE_URL" in os.environ:
        create_database(os.environ["AXISWATCH_DATABASE_URL"])
    place = workplace()
    import_assets(place.store, folder / "fleet" / "assets.toml", as_of=fleet.start)
    import_labels(place.store, inspected_at_once(folder / "fleet" / "labels.csv"), who="inspection")
    chance = random.Random(7)
    logs: dict[int, list[Path]] = {}
    for path in sorted((folder / "fleet" / "landing").rglob("*.parquet")):
        day = (date_of(path) - fleet.start.date()).days + 1
        late = chance.randint(1, LATE_DAYS) if chance.random() < LATE_SHARE else 0
        logs.setdefault(day + late, []).append(path)
    days = []
    for day in range(1, fleet.days + 1):
        as_of = fleet.start + timedelta(days=day)
        for path in logs.get(day, ()):
            target = landing / path.relative_to(folder / "fleet" / "landing")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
            os.utime(target, (as_of.timestamp() - 3600,) * 2)
        if day in OUTAGE:
            continue
        if day in REPLACED:
            with place.store.read() as connection:
                axes = connection.execute(sa.select(Axis).order_by(Axis.robot_id, Axis.axis)).all()
            axis = axes[REPLACED[day] % len(axes)]
            told: dict[str, Any] = {"new_serial": f"NEW-{day}", "at": as_of, "as_of": as_of, "who": "mara"}
            replace_unit(place.store, axis.robot_id, axis.axis, site=axis.site, cell=axis.cell, **told)
        started = time.process_time()
        while not scheduled.interval(as_of, as_of):
            batches(scheduled, as_of)
        spent = time.process_time() - started
        promoted = retrain(scheduled, as_of) if day % 30 == 0 else 0
        if day % 7 == 0:
            scheduled.estimate_levels(as_of)
        scheduled.retain(as_of)
        days.append({"day": day, "run_s": spent, "promoted": promoted, **sizes(folder, landing, place)})
        if day % 30 == 0:
            print(days[-1], tables(place), flush=True)
    return {"months": months(days), "flat": flat(days), "end": check(place, logs, fleet)}


def inspected_at_once(labels: Path) -> Path:
    """Return the findings as if each unit was inspected three weeks after what the finding is about began."""
    import pandas as pd

    rows = pd.read_csv(labels)
    begin = pd.to_datetime(rows["from_at"])
    rows["to_at"] = (begin + timedelta(days=20)).map(lambda at: at.isoformat())
    rows["known_at"] = (begin + timedelta(days=21)).map(lambda at: at.isoformat())
    target = labels.with_name("inspected.csv")
    rows.to_csv(target, index=False)
    return target


def date_of(path: Path) -> Any:
    """Return the day that a simulated log is of."""
    from datetime import date

    return date.fromisoformat(path.name.split("_")[0])


def batches(scheduled: Any, as_of: Any) -> None:
    """Work off an interval that is too large for one task, as the mapped tasks do."""
    for names in scheduled.plan_acquire(as_of)["batches"]:
        scheduled.acquire_batch(names, as_of)
    for batch in scheduled.plan_extract(as_of)["batches"]:
        scheduled.extract_batch(batch, as_of)
    scheduled.baselines(as_of)
    for batch in scheduled.plan_score(as_of)["batches"]:
        scheduled.score_batch(batch, as_of)


def retrain(scheduled: Any, as_of: Any) -> int:
    """Train, judge and promote as the DAG does; return how many scopes got another champion."""
    for scope in scheduled.scopes_to_train(as_of, "monthly"):
        scheduled.retrain(scope, as_of, "monthly")
    decisions = scheduled.decisions(as_of)
    print([(row["outcome"], row["reason"]) for row in decisions], flush=True)
    for batch in scheduled.plan_rescore(decisions, as_of):
        scheduled.rescore_batch(batch, as_of)
    scheduled.write_payback(as_of)
    return sum(row["outcome"] in ("first", "promoted") for row in decisions)


def sizes(folder: Path, landing: Path, place: Any) -> dict[str, int]:
    """Return the bytes of database and lake, and the files of the landing zone."""
    import sqlalchemy as sa

    if place.store.is_sqlite:
        with place.store.read() as connection:
            used = "SELECT (c.page_count - f.freelist_count) * s.page_size FROM pragma_page_count c"
            used += ", pragma_freelist_count f, pragma_page_size s"
            database = connection.exec_driver_sql(used).scalar()
    else:
        with place.store.read() as connection:
            database = connection.scalar(sa.text("SELECT pg_database_size(current_database())"))
    lake = sum(path.stat().st_size for path in (folder / "lake").rglob("*") if path.is_file())
    return {"database": int(database), "lake": lake, "landing_files": sum(1 for _ in landing.rglob("*.parquet"))}


def tables(place: Any) -> dict[str, int]:
    """Return the bytes of each table, indexes included."""
    if place.store.is_sqlite:
        query = "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name GROUP BY 1"
    else:
        query = """SELECT coalesce(p.relname, c.relname), sum(pg_total_relation_size(c.oid)) FROM pg_class c
                   LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class p ON p.oid = i.inhparent
                   WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace GROUP BY 1"""
    with place.store.read() as connection:
        found = connection.exec_driver_sql(query).all()
    return {name: int(size) for name, size in sorted(found, key=lambda row: -row[1]) if size > 100_000}


def months(days: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the median run and the last sizes of every 30 days."""
    found = []
    for first in range(0, len(days) - 29, 30):
        part = days[first : first + 30]
        seconds = sorted(one["run_s"] for one in part)
        last = {name: part[-1][name] for name in ("database", "lake", "landing_files")}
        promoted = sum(one["promoted"] for one in part)
        found.append({"month": first // 30 + 1, "run_s": round(seconds[15], 3), "promoted": promoted, **last})
    return found


def flat(days: list[dict[str, Any]]) -> dict[str, float]:
    """Return the last month over the fourth, where retention of three months has set in."""
    by_month = months(days)
    if len(by_month) < 5:
        return {}
    names = ("run_s", "database", "lake", "landing_files")
    return {name: round(by_month[-1][name] / by_month[3][name], 3) for name in names}


def check(place: Any, logs: dict[int, list[Path]], fleet: Any) -> dict[str, Any]:
    """Compare what the database holds of the kept months with what was dropped there."""
    import pyarrow.parquet as pq
    import sqlalchemy as sa

    from pipeline.store.retention import first_month_kept
    from pipeline.store.tables import DueWork, Extraction, QuarantineRow, Recording

    end = fleet.start + timedelta(days=fleet.days)
    limit = first_month_kept(end, int(KEPT["RETENTION_MONTHS"]))
    wanted = 0
    for day, paths in logs.items():
        for path in paths if day <= fleet.days else ():
            times = pq.read_table(path, columns=["started_at"]).column("started_at").to_pylist()
            wanted += sum(at >= limit for at in times)
    with place.store.read() as connection:

        def count(table: Any, *where: Any) -> int:
            return connection.scalar(sa.select(sa.func.count()).select_from(table).where(*where)) or 0

        found = {
            "recordings_wanted": wanted,
            "recordings": count(Recording, Recording.started_at >= limit),
            "extractions": count(Extraction, Extraction.started_at >= limit),
            "older_kept": count(Recording, Recording.started_at < limit),
            "quarantined": count(QuarantineRow),
            "due": count(DueWork, DueWork.step.in_(("extract", "score"))),
        }
    return found | {"right": found["recordings"] == found["extractions"] == wanted and not found["quarantined"]}


if __name__ == "__main__":
    main()
