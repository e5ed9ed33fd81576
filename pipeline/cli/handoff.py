"""Commands that pass cases and labels to other systems: `webhook` and `export`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.base.errors import AxiswatchError, SettingsError
from pipeline.cli.common import (
    ADMINISTRATION,
    DATA,
    AsJson,
    case_ids,
    counts,
    emit,
    err,
    moment,
    opened_store,
    table,
    workplace,
)
from pipeline.workplace import Workplace

webhook_app = typer.Typer(no_args_is_help=True, help="The webhook of cases: sent and waiting messages.")
export_app = typer.Typer(no_args_is_help=True, help="Labels and cases as a file.")

EVERY_SECONDS = 10.0


class Form(StrEnum):
    """Formats of an export."""

    CSV = "csv"
    PARQUET = "parquet"


Format = Annotated[Form, typer.Option("--format", help="csv or parquet.")]
Out = Annotated[Path, typer.Option(help="File to write; an existing file is replaced.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(webhook_app, name="webhook", rich_help_panel=ADMINISTRATION)
    app.add_typer(export_app, name="export", rich_help_panel=DATA)


@webhook_app.command("deliver", epilog="Example: axiswatch webhook deliver --json")
def webhook_deliver(as_json: AsJson = False) -> None:
    """Send every message that is due to the webhook of cases, and word of a monitor that has been silent for too long.

    The monitor sends the first, `review serve` both.
    """
    report = _deliver(workplace())
    emit(report, as_json, counts("Webhook", report))


@webhook_app.command("list", epilog="Example: axiswatch webhook list --state given_up")
def webhook_list(
    state: Annotated[str, typer.Option(help="waiting, delivered, given_up, skipped or all.")] = "all",
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show the messages of the webhook, newest first, and the state of each."""
    from pipeline.handoff.delivery import list_events

    rows = list_events(opened_store(), state=_state(state), limit=limit)
    names = ["id", "kind", "known_at", "state", "attempts", "not_before", "answer"]
    emit(rows, as_json, lambda: table(names, [[row[name] for name in names] for row in rows]))


@webhook_app.command("again", epilog="Example: axiswatch webhook again --state given_up")
def webhook_again(
    state: Annotated[str, typer.Option(help="Messages to send again: given_up, skipped or delivered.")] = "given_up",
    case: Annotated[str, typer.Option(help="Only messages of this case.", autocompletion=case_ids)] = "",
    as_json: AsJson = False,
) -> None:
    """Send messages again that were given up, for example after the receiver was repaired."""
    from pipeline.handoff.delivery import send_again

    chosen = _state(state)
    if chosen in (None, "waiting"):
        raise SettingsError(f"--state {state!r} is none of given_up, skipped, delivered")
    report = {"waiting_again": send_again(opened_store(), states=(str(chosen),), case_id=case)}
    emit(report, as_json, counts("Webhook", report))


@export_app.command("labels", epilog="Example: axiswatch export labels --format parquet --out labels.parquet")
def export_labels(out: Out, form: Format = Form.CSV, as_json: AsJson = False) -> None:
    """Write all labels to a file; a withdrawn label has its time in withdrawn_at."""
    _export("labels", out, form, as_json)


@export_app.command("cases", epilog="Example: axiswatch export cases --format csv --out cases.csv")
def export_cases(out: Out, form: Format = Form.CSV, as_json: AsJson = False) -> None:
    """Write all cases to a file, with the codes of their reasons and their work order numbers."""
    _export("cases", out, form, as_json)


@contextmanager
def delivering(place: Workplace) -> Iterator[None]:
    """Send due messages and word of a silent monitor every few seconds in the background while the block runs."""
    settings = place.settings
    if not (settings.case_webhook_url or settings.case_mail_host or settings.webhook_url):
        yield
        return
    stop = threading.Event()

    def work() -> None:
        from sqlalchemy.exc import SQLAlchemyError

        while not stop.wait(EVERY_SECONDS):
            try:
                _deliver(place)
            except (AxiswatchError, SQLAlchemyError) as error:
                err.print(f"webhook: {error}", markup=False, highlight=False)

    thread = threading.Thread(target=work, name="webhook", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _deliver(place: Workplace) -> dict[str, Any]:
    from pipeline.handoff.delivery import deliver
    from pipeline.handoff.heartbeat import report_silence
    from pipeline.handoff.mail import mailbox

    settings = place.settings
    minutes = settings.monitor_silent_minutes
    report_silence(place.store, minutes, at=moment(None), webhook_url=settings.webhook_url)
    return deliver(
        place.store,
        url=settings.case_webhook_url,
        secret=settings.case_webhook_secret,
        most_attempts=settings.case_webhook_attempts,
        box=mailbox(settings),
        at=moment(None),
    ).as_dict()


def _state(state: str) -> str | None:
    from pipeline.handoff.outbox import DELIVERED, GIVEN_UP, SKIPPED, WAITING

    known = (WAITING, DELIVERED, GIVEN_UP, SKIPPED, "all")
    if state not in known:
        raise SettingsError(f"--state {state!r} is none of {', '.join(known)}")
    return None if state == "all" else state


def _export(what: str, out: Path, form: Form, as_json: bool) -> None:
    from pipeline.handoff.exporting import write_export

    report = {"out": str(out), "rows": write_export(opened_store(), what, str(form), out)}
    emit(report, as_json, counts("Exported", report))
