"""Commands that keep an installation well: doctor."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pipeline.base.errors import SettingsError
from pipeline.cli.common import ADMINISTRATION, AsJson, emit, table
from pipeline.workplace import clock_of, true_now


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=ADMINISTRATION, epilog="Example: axiswatch doctor --quiet")(doctor)


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
    from pipeline.doctor.finding import Symptom, Patient

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
