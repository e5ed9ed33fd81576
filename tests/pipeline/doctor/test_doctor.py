"""axiswatch doctor: a sound installation has no fault, and each fault of a real one makes its check red."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from pipeline.doctor.examine import examine
from pipeline.doctor.finding import Patient
from pipeline.doctor.lake import room
from pipeline.doctor.settings import contradictions
from pipeline.extraction.in_force import feature_version_of
from pipeline.store import due
from pipeline.store.database import Store
from pipeline.store.tables import (
    Case,
    DueWork,
    Extraction,
    Heartbeat,
    LakeFile,
    LogFile,
    ModelAlias,
    ModelVersion,
    QuarantineRow,
    Recording,
    TaskFailure,
)

POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []


@pytest.fixture
def patient(store: Store, store_url: str, tmp_path: Path, extracted_fleet: Any, make_settings: Any) -> Patient:
    """The small fleet with a champion of each scope, nothing due, just after its last recording."""
    lake = extracted_fleet.copy_to(store, tmp_path)
    places = {"database_url": store_url, "lake_url": lake.root, "landing": extracted_fleet.fleet.landing}
    settings = make_settings(**places)
    now = extracted_fleet.end + timedelta(minutes=1)
    with store.write() as connection:
        connection.execute(sa.delete(DueWork))
        for scope in connection.scalars(sa.select(Extraction.scope).distinct()).all():
            lake.put_at(f"models/{scope[:4]}/manifest.json", b"{}")
            model = {"scope": scope, "kind": "classification", "lake_prefix": f"models/{scope[:4]}", "known_at": now}
            model |= {"model_version": scope[:4], "feature_version": feature_version_of(settings, scope)}
            model |= {"label_cutoff": now, "training_data_hash": "", "n_units": 1, "n_windows": 1, "metrics": {}}
            connection.execute(sa.insert(ModelVersion), model | {"settings": {"files": ["manifest.json"]}})
            connection.execute(sa.insert(ModelAlias), {"scope": scope, "alias": "champion", "model_version": scope[:4]})
    return Patient(settings, now, datetime.now(UTC), 20.0, "", "", "")


def red(patient: Patient) -> dict[str, str]:
    """The faults by check."""
    faults = [one for one in examine(patient) if one.state == "fault"]
    patient.store.dispose()
    assert len({one.check for one in faults}) == len(faults), faults
    return {one.check: one.text for one in faults}


def only(patient: Patient, check: str) -> str:
    """The text of the only fault."""
    found = red(patient)
    assert list(found) == [check], found
    return found[check]


def test_a_sound_installation_has_no_fault(patient: Patient) -> None:
    found = examine(patient)
    patient.store.dispose()
    assert [one for one in found if one.state != "ok"] == []
    told = " ".join(one.text for one in found)
    assert "looked for" in told
    assert "acceleration: acce" in told


def test_each_fault_of_the_rows_is_told(patient: Patient, store: Store) -> None:
    """One after another: put in, seen, taken out."""
    at, days = patient.at, timedelta(days=1)
    with store.read() as connection:
        recording = dict(connection.execute(sa.select(Recording).limit(1)).one()._mapping)
        log = dict(connection.execute(sa.select(LogFile).limit(1)).one()._mapping)
    axis = recording["axis_id"]
    case = {"case_id": "old", "axis_id": axis, "family": "machine", "state": "open", "n_bins": 1, "priority": 0.5}
    case |= {"first_at": at, "last_at": at, "known_at": at - 31 * days, "changed_at": at, "reasons": []}
    quarantined = {"quarantine_id": "q", "file_hash": "h", "path": "p", "row_number": 0, "what": "", "reasons": []}
    quarantined |= {"lake_path": "p", "lake_row": 0, "state": "open", "known_at": at, "due_at": at - 2 * days}
    mark = {"subject": "r", "step": due.EXTRACT, "scope": "", "version": "", "size": 1, "cause": ""}
    failure = {"dag_id": "axiswatch_monitor", "run_id": "r", "task_id": "score", "map_index": 0, "try_number": 4}
    failure |= {"message": "", "log_url": "", "webhook": "", "known_at": at}
    beat = {"name": "monitor", "as_of": at, "at": patient.true_time - days, "reported_at": None}
    ahead = recording | {"recording_id": "ahead", "started_at": at + days}
    for check, table, row, words in (
        ("cases", Case, case, ("old", "31 days", "`axiswatch queue`")),
        ("quarantine", QuarantineRow, quarantined, ("1 rows", "`axiswatch acquire`")),
        ("backlog", DueWork, mark | {"at": at - 2 * days}, ("extract: 1 wait", "`axiswatch run`")),
        ("runs", TaskFailure, failure, ("axiswatch_monitor.score", "`axiswatch failures`")),
        ("runs", Heartbeat, beat, ("last whole run", "schedule")),
        ("clock", Recording, ahead, ("newest recording", "NTP")),
        ("clock", LogFile, log | {"file_hash": "a", "known_at": at + days}, ("newest log file", "NTP")),
    ):
        with store.write() as connection:
            connection.execute(sa.insert(table), row)
        told = only(patient, check)
        assert all(word in told for word in words), told
        key = [column == row[column.name] for column in table.__table__.primary_key]  # type: ignore[attr-defined]
        with store.write() as connection:
            connection.execute(sa.delete(table).where(*key))
    assert red(patient) == {}


def test_nothing_taken_for_a_day_is_a_fault(patient: Patient) -> None:
    assert "2 days" in only(dataclasses.replace(patient, at=patient.at + timedelta(days=2)), "runs")


def test_scopes_that_nothing_scores(patient: Patient, store: Store) -> None:
    with store.write() as connection:
        connection.execute(sa.update(ModelVersion).values(feature_version="older"))
    assert "needs other features" in only(patient, "champion")
    with store.write() as connection:
        connection.execute(sa.delete(ModelAlias))
    assert "no champion" in only(patient, "champion")


def test_a_log_file_that_no_run_takes(patient: Patient, tmp_path: Path) -> None:
    landing = tmp_path / "there"
    shutil.copytree(patient.settings.landing_zone, landing)
    settings = patient.settings.model_copy(update={"landing": landing})
    assert red(dataclasses.replace(patient, settings=settings)) == {}
    (landing / "late.parquet").write_bytes(b"")
    os.utime(landing / "late.parquet", (time.time() - 7200,) * 2)
    assert "1 of" in only(dataclasses.replace(patient, settings=settings), "landing")
    shutil.rmtree(landing)
    assert "there is no landing zone" in only(dataclasses.replace(patient, settings=settings), "landing")


def test_lost_cut_and_unwritable_files_of_the_lake(patient: Patient, store: Store) -> None:
    root = Path(patient.settings.lake)
    with store.read() as connection:
        path = root / (connection.scalar(sa.select(LakeFile.path).where(LakeFile.kind == "features")) or "")
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    assert f"{len(data) - 1} bytes, not {len(data)}" in only(patient, "files")
    path.unlink()
    assert "restore it from a backup" in only(patient, "files")
    path.write_bytes(data)
    (root / "models" / "acce" / "manifest.json").rename(root / "kept")
    assert "manifest.json" in only(patient, "files")
    (root / "kept").rename(root / "models" / "acce" / "manifest.json")
    shutil.rmtree(root / "aside")
    (root / "aside").write_text("in the way")
    assert "cannot write to the lake" in only(patient, "lake")
    (root / "aside").unlink()
    assert red(patient) == {}
    assert list((root / "aside").iterdir()) == [], "the probe is gone"


def test_a_lake_that_is_gone(patient: Patient) -> None:
    Path(patient.settings.lake).rename(Path(patient.settings.home) / "elsewhere")
    found = red(patient)
    assert "there is no lake" in found["lake"]
    assert not Path(patient.settings.lake).exists() or "restore" in found["files"]


def test_disks_that_are_full_or_soon_will_be(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    assert [fault for fault, _ in room({"lake": tmp_path}, 0.0)] == [False]
    assert [fault for fault, _ in room({"lake": tmp_path}, 0.0, least=2 * free)] == [True]
    ((fault, told),) = room({"lake": tmp_path}, free / 5)
    assert fault
    assert "enough for 5 days" in told


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"retention_months": 1}, "payback_days"),
        ({"alarm_probability": 0.3, "review_probability": 0.5}, "review_probability"),
        ({"retrain_budget": 0}, "retrain_budget"),
        ({"retrain_after_days": 1.0, "retrain_cooldown_days": 2.0}, "retrain_cooldown_days"),
        ({"case_gap_hours": 1.0}, "case_gap_hours"),
        ({"workers": 9}, "workers"),
        ({"case_mail_host": "mail"}, "case_mail_host"),
        ({"review_secure_cookie": False}, "review_secure_cookie"),
        ({"clock_offset_s": 60.0}, "clock_offset_s"),
        ({"lake_url": "here/lake", "landing": "here"}, "landing zone"),
    ],
)
def test_settings_that_undo_each_other(make_settings: Any, changes: dict[str, Any], word: str) -> None:
    def told_of(**settings: Any) -> list[str]:
        now = datetime.now(UTC)
        return contradictions(Patient(make_settings(**settings), now, now, 1.0, "", "", ""), cores=4)

    assert told_of() == []
    (told,) = told_of(**changes)
    assert word in told


def test_a_check_that_hangs_ends(patient: Patient, store: Store) -> None:
    """A table that another transaction holds: what needs it says so, the rest is looked at. SQLite's readers wait for
    nobody."""
    if store.is_sqlite:
        return
    with store.write() as connection:
        connection.exec_driver_sql("LOCK TABLE cases IN ACCESS EXCLUSIVE MODE")
        begin = time.monotonic()
        found = red(dataclasses.replace(patient, seconds=2.0))
        assert time.monotonic() - begin < 30
    assert set(found) == {"database", "cases"}
    assert "timeout" in found["cases"]


# ---------------------------------------------------------------------------------------------------- the database


def test_a_database_that_is_gone_leaves_the_rest(patient: Patient, tmp_path: Path) -> None:
    secret = "postgresql+psycopg://mara:geheim@127.0.0.1:1/axiswatch"
    for url, word in ((secret, "start the server"), (f"sqlite:///{tmp_path}/none/a.db", "restore a backup")):
        settings = patient.settings.model_copy(update={"database_url": url})
        found = examine(dataclasses.replace(patient, settings=settings))
        assert [one.check for one in found if one.state == "fault"] == ["database"]
        assert any(one.check == "lake" and one.state == "ok" for one in found)
        assert any(one.state == "skipped" and "cases" in one.text for one in found)
        told = " ".join(one.text for one in found)
        assert word in told
        assert "geheim" not in told
    assert not (tmp_path / "none").exists(), "nothing is made"


def test_a_database_of_another_version(patient: Patient, store: Store) -> None:
    for version, word in (("0001", "axiswatch db upgrade"), ("9999", "newer axiswatch")):
        with store.write() as connection:
            connection.execute(sa.text("UPDATE alembic_version SET version_num = :version"), {"version": version})
        assert word in only(patient, "database")
    with store.write() as connection:
        connection.exec_driver_sql("DROP TABLE alembic_version")
    assert "no tables" in only(patient, "database")


def test_a_damaged_file_and_one_that_all_may_write(patient: Patient, store: Store) -> None:
    if not store.is_sqlite:
        return
    with store.read() as connection:
        size = connection.exec_driver_sql("PRAGMA page_size").scalar() or 4096
        page = connection.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = 'cases'").scalar() or 2
    store.dispose()
    path = Path(patient.settings.database.removeprefix("sqlite:///"))
    path.chmod(0o666)
    assert "every user" in only(patient, "database")
    path.chmod(0o444)
    assert "may not be written" in powerless(patient)
    path.chmod(0o644)
    assert "may not be written" not in powerless(patient)
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 64)
    assert "damaged" in red(patient)["database"]
    path.write_bytes(b"this is no database, though it is long enough to be read as one" * 100)
    assert "cannot open the database" in only(patient, "database")


def powerless(patient: Patient) -> str:
    """What the command prints to somebody who may not write everything, as root may."""
    settings = patient.settings
    places = {"database_url": settings.database, "lake_url": settings.lake, "landing": settings.landing_zone}
    ours = {f"AXISWATCH_{name.upper()}": str(value) for name, value in places.items()}
    program = Path(sys.executable).parent / "axiswatch"
    command = [*POWERLESS, str(program), "doctor", "--quiet", "--json"]
    done = subprocess.run(command, env=os.environ | ours, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    return done.stdout


def test_postgresql_that_only_reads_or_never_counted(patient: Patient, store: Store) -> None:
    if store.is_sqlite:
        return
    with store.write() as connection:
        connection.exec_driver_sql("ALTER TABLE due_work SET (autovacuum_enabled = off)")
        rows = [{"subject": f"{number:0200d}", "at": patient.at} for number in range(10_000)]
        mark = {"step": due.EXTRACT, "scope": "", "version": "", "size": 1, "cause": ""}
        connection.execute(sa.insert(DueWork), [row | mark for row in rows])
    told = only(patient, "database")
    assert "due_work" in told
    assert "ANALYZE" in told
    with store.write() as connection:
        connection.exec_driver_sql("ANALYZE due_work")
        name = connection.exec_driver_sql("SELECT current_database()").scalar()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    store.dispose()
    assert "only reads" in only(patient, "database")


# ------------------------------------------------------------------------------------------------ Airflow, command


def test_airflow_that_is_configured_and_away(patient: Patient, store_url: str, free_port: Callable[[], int]) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    assert "does not answer" in only(dataclasses.replace(patient, airflow_url=away), "airflow")
    told = only(dataclasses.replace(patient, airflow_database=store_url), "airflow")
    assert "airflow db migrate" in told, "a database without Airflow's tables"


def test_the_command(cli: Any, tmp_path: Path) -> None:
    """Exit codes; faults alone for cron; wrong settings are a fault."""
    done = cli("doctor", "--json")
    assert done.code == 1
    found = json.loads(done.out)
    assert {"database", "lake"} <= {one["check"] for one in found if one["state"] == "fault"}
    assert not (tmp_path / "axiswatch.db").exists(), "nothing is made"
    told = cli("doctor", "--quiet")
    assert "ok" not in told.out.split()
    wrong = cli("doctor", "--json", n_samples=99)
    assert (wrong.code, json.loads(wrong.out)[0]["check"]) == (1, "settings")


def test_a_good_installation_ends_with_0_and_says_nothing_to_cron(
    cli: Any, tmp_path: Path, make_row: Callable[..., dict[str, Any]], write_log: Callable[..., Path]
) -> None:
    now = datetime.now(UTC)
    write_log(tmp_path / "landing" / "a.parquet", [make_row(0, started_at=now - timedelta(hours=1), quantity="sound")])
    assert cli("run", "--json").code == 0
    done = cli("doctor", "--quiet")
    assert (done.code, done.out) == (0, ""), done.out
