"""Commands that keep an installation well: doctor, backup and restore."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from pipeline.base.errors import SettingsError
from pipeline.cli.common import ADMINISTRATION, AsJson, counts, emit, table
from pipeline.workplace import clock_of, true_now


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=ADMINISTRATION, epilog="Example: axiswatch doctor --quiet")(doctor)
    app.command(rich_help_panel=ADMINISTRATION, epilog="Example: axiswatch backup --to backups/plant1")(backup)
    app.command(rich_help_panel=ADMINISTRATION, epilog="Example: axiswatch restore --from backups/plant1")(restore)


def doctor(
    quiet: Annotated[
        bool, typer.Option("--quiet", help="Print faults only: for cron, which mails what is printed.")
    ] = False,
    seconds: Annotated[float, typer.Option(min=0.5, max=600, help="The longest that one check may take, s.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Look for what is wrong: settings, database, lake, Airflow, disks, clock, champions, work that waits, cases, runs.

    Each fault is a sentence: what, where, and what to do. Nothing is changed but for a small file in the lake, which is
    deleted again. It also works when the database is gone. Exit code 0: no fault. 1: at least one fault.
    """
    from pipeline.base.sources import airflow_places, load_settings, used_file
    from pipeline.doctor.examine import FAULT, examine
    from pipeline.doctor.finding import Patient, Symptom

    try:
        settings = load_settings()
    except SettingsError as error:
        found = [Symptom("settings", FAULT, " ".join(str(error).split()))]
    else:
        url, database = airflow_places()
        found = examine(
            Patient(
                settings=settings,
                at=clock_of(settings)(),
                true_time=true_now(),
                seconds=seconds,
                config=used_file(),
                airflow_url=url,
                airflow_database=database,
            )
        )
    shown = [finding for finding in found if not quiet or finding.state == FAULT]

    def show() -> None:
        if shown:
            table(["check", "state", "what"], [(one.check, one.state, one.text) for one in shown])

    emit([asdict(one) for one in shown], as_json, show)
    if any(finding.state == FAULT for finding in found):
        raise typer.Exit(1)


def backup(
    to: Annotated[
        Path, typer.Option("--to", help="Folder of the backup; one that has an earlier backup gets what is new.")
    ],
    files_only: Annotated[
        bool, typer.Option("--files-only", help="Only the lake: the database was copied just before by other means.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy database and lake together, while runs go on. PostgreSQL is copied by pg_dump, which must be installed.

    A database of an older version is copied too: make a backup, then `axiswatch db upgrade`. Exit code 1: rows name
    files that the lake does not have (everything else was copied).
    """
    from pipeline.base.sources import load_settings
    from pipeline.store.backup import backup as step
    from pipeline.store.database import Store
    from pipeline.store.lake import Lake

    settings = load_settings()
    report = step(Store(settings.database), Lake(settings.lake), to, files_only=files_only)
    emit(report, as_json, counts("Backup", report))


def restore(
    source: Annotated[Path, typer.Option("--from", help="Folder that `axiswatch backup` has written.")],
    as_json: AsJson = False,
) -> None:
    """Bring a backup back: to a database that is not there yet (of PostgreSQL: is empty), and to the lake.

    Files that the lake has already, and whole, stay as they are. Then `axiswatch doctor`, and `axiswatch run` goes on.
    """
    from pipeline.base.sources import load_settings
    from pipeline.store.backup import restore as step
    from pipeline.store.lake import Lake

    settings = load_settings()
    report = step(source, settings.database, Lake(settings.lake))
    emit(report, as_json, counts("Restored", report))
