"""A year of a plant in an hour: `python benchmarks/year.py --folder EMPTY_FOLDER`.

A simulated plant of 100 axes with short signals goes day by day through the functions that the scheduled tasks call
(no Airflow): logs that come late, a week without any run, replaced units, monthly retrainings whose challengers a
person approves, or promotes by hand where the gate has kept all of them for long, daily retention of data, superseded
scores and the landing zone. Prints and writes to `year.json`: processor time of a day's run, size of database, lake and
landing zone, by month and table; and whether the end is what it should be.
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
KEPT = {"RETENTION_MONTHS": "3", "SUPERSEDED_DAYS": "30", "LANDING_KEEP_DAYS": "30", "PROMOTION_APPROVAL": "true"}
SMALL = {"EPOCHS": "40", "N_SAMPLES": "30", "FOLDS": "3", "HIDDEN": "[64]", "SYNTHETIC_WINDOWS": "100"}

INSPECTED_AFTER, FOUND_AFTER, FINDING_DAYS = 21, 45, 20
"""Days from the begin of what a finding is about to the inspection, of healthy and of faulty units; and its length."""

TURNS = 11
"""Months over which the inspections of healthy units are spread."""

PATIENCE = timedelta(days=50)
"""So long without a promotion, and the owner of the models promotes the newest challenger by hand."""


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
        promoted = retrain(scheduled, place, as_of) if day % 30 == 0 else []
        if day % 7 == 0:
            scheduled.estimate_levels(as_of)
        scheduled.retain(as_of)
        days.append({"day": day, "run_s": spent, "promoted": promoted, **sizes(folder, landing, place)})
        if day % 30 == 0:
            days[-1]["tables"] = tables(place)
            print(days[-1], flush=True)
    from pipeline.evaluation.fleet_truth import judge_fleet

    return {
        "months": months(days),
        "flat": flat(days),
        "growth": growth(days, 4 * fleet.robots),
        "end": check(place, logs, fleet),
        "faults": judge_fleet(place.store, folder / "fleet")["axes"],
    }


def inspected_at_once(labels: Path) -> Path:
    """Return the findings as if a fault was found weeks after it began, and healthy units were inspected in turn."""
    import pandas as pd

    rows = pd.read_csv(labels)
    after = rows["verdict"].map(lambda verdict: timedelta(days=FOUND_AFTER if verdict == "fault" else INSPECTED_AFTER))
    turn = (rows["verdict"] == "healthy").cumsum() % TURNS * (rows["verdict"] == "healthy")
    end = pd.to_datetime(rows["from_at"]) + after + turn.map(lambda number: timedelta(days=30 * number))
    rows["from_at"] = (end - timedelta(days=FINDING_DAYS)).map(lambda at: at.isoformat())
    rows["to_at"] = end.map(lambda at: at.isoformat())
    rows["known_at"] = (end + timedelta(days=1)).map(lambda at: at.isoformat())
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


def retrain(scheduled: Any, place: Any, as_of: Any) -> list[str]:
    """Train, judge, ask and promote as the DAG does; return what became of each scope."""
    for scope in scheduled.scopes_to_train(as_of, "monthly"):
        scheduled.retrain(scope, as_of, "monthly")
    answer = {"responded_by_user": {"name": "mara"}, "responded_at": as_of.isoformat(), "chosen_options": ["Approve"]}
    scheduled.answer_waiting(as_of, answer)
    decisions = scheduled.decisions(as_of)
    outcomes = [f"{row['outcome']}: {row['reason']}" for row in decisions]
    outcomes += [promote_by_hand(place, row, as_of) for row in decisions if row["outcome"] == "kept"]
    for batch in scheduled.plan_rescore(decisions, as_of):
        scheduled.rescore_batch(batch, as_of)
    scheduled.write_payback(as_of)
    return [outcome for outcome in outcomes if outcome]


def promote_by_hand(place: Any, decision: dict[str, Any], as_of: Any) -> str:
    """Promote a challenger that the gate has kept, as `axiswatch models promote` does, where no other was for long."""
    import sqlalchemy as sa

    from pipeline.registry.registry import promote
    from pipeline.store.tables import AliasEvent

    of_champion = (AliasEvent.scope == decision["scope"], AliasEvent.alias == "champion")
    with place.store.read() as connection:
        last = connection.scalar(sa.select(sa.func.max(AliasEvent.at, type_=AliasEvent.at.type)).where(*of_champion))
    if as_of - last < PATIENCE:
        return ""
    told = {"who": "mara", "reason": "more units than the champion knew", "at": as_of}
    promote(place.store, place.lake, decision["candidate"], **told)
    return "promoted by hand"


def sizes(folder: Path, landing: Path, place: Any) -> dict[str, int]:
    """Return the bytes of database, lake and landing zone. SQLite's are those of its files, free pages included."""
    import sqlalchemy as sa

    if place.store.is_sqlite:
        database = sum(path.stat().st_size for path in folder.glob("axiswatch.db*"))
    else:
        with place.store.read() as connection:
            database = connection.scalar(sa.text("SELECT pg_database_size(current_database())"))
    lake, dropped = (
        sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) for place in (folder / "lake", landing)
    )
    return {"database": int(database), "lake": lake, "landing": dropped}


SIZES = ("database", "lake", "landing")


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
    """Return the median run and the largest sizes of every 30 days."""
    found = []
    for first in range(0, days[-1]["day"] - 29, 30):
        part = [one for one in days if first < one["day"] <= first + 30]
        seconds = sorted(one["run_s"] for one in part)
        last = {name: max(one[name] for one in part) for name in SIZES}
        promoted = [outcome for one in part for outcome in one["promoted"]]
        found.append(
            {"month": first // 30 + 1, "run_s": round(seconds[len(part) // 2], 3), **last, "promoted": promoted}
        )
    return found


def flat(days: list[dict[str, Any]]) -> dict[str, float]:
    """Return the last month over the sixth, the first with whole months that retention keeps at their most."""
    by_month = months(days)
    if len(by_month) < 7:
        return {}
    return {name: round(by_month[-1][name] / by_month[5][name], 3) for name in ("run_s", *SIZES)}


def growth(days: list[dict[str, Any]], axes: int) -> dict[str, dict[str, int]]:
    """Return the bytes that an axis and month add: while nothing is old enough to go, and in the last half."""
    by_month = months(days)

    def a_month(name: str, first: int, last: int) -> int:
        return round((by_month[last][name] - by_month[first][name]) / (last - first) / axes)

    if len(by_month) < 6:
        return {}
    half = len(by_month) // 2
    return {
        name: {"all kept": a_month(name, 0, 2), "last half": a_month(name, half, -1 % len(by_month))} for name in SIZES
    }


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
    found |= scored(place, limit)
    right = found["recordings"] == found["extractions"] == found["scored_when_taken"] == wanted
    return found | {"right": right and not found["quarantined"] and not found["left_of_pruned_models"]}


def scored(place: Any, limit: Any) -> dict[str, int]:
    """Compare who scored the kept recordings, and when, with the champions in force when they were taken in."""
    import sqlalchemy as sa

    from pipeline.store.tables import AliasEvent, Case, Pruning, Recording, Scoring

    with place.store.read() as connection:
        reigns = connection.execute(
            sa.select(AliasEvent.at, AliasEvent.model_version)
            .where(AliasEvent.alias == "champion")
            .order_by(AliasEvent.sequence)
        ).all()
        pruned = set(connection.scalars(sa.select(Pruning.name).where(Pruning.what == "scores")))
        taken = sa.select(Recording.recording_id, Recording.known_at).where(Recording.started_at >= limit)
        recordings = connection.execute(taken).all()
        rows = connection.execute(sa.select(Scoring.recording_id, Scoring.model_version, Scoring.known_at))
        times = {(row.recording_id, row.model_version): row.known_at for row in rows}
        quoted = sa.exists().where(
            Case.axis_id == Scoring.axis_id, Case.first_at <= Scoring.started_at, Case.last_at >= Scoring.started_at
        )
        left = sa.select(sa.func.count()).select_from(Scoring).where(Scoring.model_version.in_(pruned), ~quoted)
        found = {
            "promotions": len(reigns),
            "pruned_models": len(pruned),
            "left_of_pruned_models": connection.scalar(left),
        }
    counts = {"scored_when_taken": 0, "scored_later": 0, "not_scored": 0, "of_pruned_models": 0}
    for row in recordings:
        version = [version for at, version in reigns if at < row.known_at][-1]
        at = times.get((row.recording_id, version))
        counts["scored_when_taken"] += at == row.known_at or version in pruned
        counts["of_pruned_models"] += version in pruned
        counts["scored_later"] += at is not None and at != row.known_at
        counts["not_scored"] += at is None and version not in pruned
    return found | counts


if __name__ == "__main__":
    main()
