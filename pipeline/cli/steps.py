"""Commands that run one step (acquire, extract, baseline, train, score, advise) or all of them once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any

import typer

from pipeline.base.logs import logged
from pipeline.cli.common import (
    ADMINISTRATION,
    DAILY,
    DATA,
    MODELS,
    AsJson,
    AsOf,
    Workplace,
    counts,
    emit,
    moment,
    opened_store,
    progress,
    table,
)
from pipeline.steps import MONITOR
from pipeline.workplace import batch_workplace, true_now

Scope = Annotated[str | None, typer.Option(help="Model scope, e.g. acceleration (default: every scope with labels).")]


TITLES = {
    "acquire": "Acquired",
    "extract": "Extracted",
    "baseline": "Baselines",
    "trend": "Trends",
    "score": "Scored",
    "advise": "Advised",
}
"""Heading of each step's counts."""

FEW_UNITS = "fewer than 10 units: the held-out figures are very uncertain, and one more unit may change them a lot"


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=DATA, epilog="Example: axiswatch acquire --json")(acquire)
    app.command(rich_help_panel=DATA, epilog="Example: axiswatch extract")(extract)
    app.command(rich_help_panel=DATA, epilog="Example: axiswatch baseline")(baseline)
    app.command(rich_help_panel=MODELS, epilog="Example: axiswatch train --scope acceleration")(train)
    app.command(rich_help_panel=DATA, epilog="Example: axiswatch score --as-of 2026-01-31T08:00:00Z")(score)
    app.command(rich_help_panel=DATA, epilog="Example: axiswatch advise")(advise)
    app.command(rich_help_panel=DAILY, epilog="Example: axiswatch run --json")(run)
    app.command(rich_help_panel=ADMINISTRATION, epilog="Example: axiswatch failures --limit 5")(failures)


def acquire(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Copy new log files from the landing zone to the lake; rows and files that cannot be read go to quarantine.

    Hidden files and folders (names that start with . or _) and files that
    end in .tmp, .part, .partial, .crdownload or .filepart are skipped. Check `quarantined` and `problems`. Exit code 1:
    the lake cannot be written, or no file be read; they are due again.
    """
    _take("acquire", as_of, as_json)


def extract(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Extract the vibration features of every recording that has none yet."""
    _take("extract", as_of, as_json)


def baseline(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Store the baseline of each unit, which is the features of its first days, once those days are over."""
    _take("baseline", as_of, as_json)


def score(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Score every window that the champion of its scope has not scored yet.

    A window with a bad quality verdict gets a row without figures. A scope is reported and not scored if it has no
    champion, or if its champion needs features that the present settings do not extract; the exit code is 0.
    """
    _take("score", as_of, as_json)


def advise(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Compute axis states from new scores, and open cases for flagged states."""
    _take("advise", as_of, as_json)


def run(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Run acquire, extract, baseline, trend, score and advise once, in this order. It does not train: see `train`."""
    from pipeline.handoff.heartbeat import beat

    place, at = _place(), moment(as_of)
    reports = run_steps(place, at, as_json)
    beat(place.store, as_of=at, at=moment(None), webhook_url=place.settings.webhook_url)

    def show() -> None:
        for name, report in reports.items():
            counts(TITLES[name], report)()

    emit(reports, as_json, show)


def _place() -> Workplace:
    return replace(batch_workplace(), true_time=true_now())


def _take(name: str, as_of: str | None, as_json: bool) -> None:
    """Run one step and print its counts."""
    report = run_steps(_place(), moment(as_of), as_json, only=name)[name]
    emit(report, as_json, counts(TITLES[name], report))


def run_steps(place: Workplace, as_of: datetime, as_json: bool, *, only: str = "") -> dict[str, dict[str, Any]]:
    """Run the steps in order, or only one; return the counts of each by name."""
    reports = {}
    for step in MONITOR:
        if only in ("", step.name):
            with progress(step.name, as_json) as on_progress, logged(step.name, run=as_of) as counted:
                reports[step.name] = step.run(place, as_of, on_progress)
                counted |= reports[step.name]
    return reports


def train(scope: Scope = None, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Train a model with the labels known now, and judge it on held-out units. The first model becomes the champion.

    Every later version needs `axiswatch models promote`. Exit code 3: no recording with features has a label, or no
    model can be trained on the labels, for example if they have only one fault class.
    """
    results = train_step(batch_workplace(), moment(as_of), as_json, scope)
    emit(results, as_json, lambda: show_training(results))


def failures(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """Show the scheduled tasks that failed after all retries."""
    from pipeline.handoff.failures import list_failures

    rows = list_failures(opened_store(), limit=limit)

    def show() -> None:
        names = ["known_at", "dag_id", "task_id", "map_index", "message", "webhook", "log_url"]
        table(names, [[row[name] for name in names] for row in rows], f"{len(rows)} failed tasks")

    emit(rows, as_json, show)


def train_step(place: Workplace, as_of: datetime, as_json: bool, scope: str | None = None) -> list[dict[str, Any]]:
    """Run the training with a progress bar; return the result of each scope."""
    from pipeline.promotion.questions import ask_about_twins
    from pipeline.training.train import train_scopes

    with progress("train", as_json) as bar:

        def on_progress(_stage: str, share: float) -> None:
            if bar is not None:
                bar(round(100 * share), 100)

        results = train_scopes(
            place.store, place.lake, place.settings, as_of=as_of, scope=scope, on_progress=on_progress
        )
    ask_about_twins(place.store, [twin for result in results for twin in result.training_set.twins], as_of=as_of)
    return [result.as_dict() for result in results]


def show_training(results: list[dict[str, Any]]) -> None:
    """Print the results of trainings, overall and by unit."""
    for result in results:
        report = result["report"]
        champion = ", champion (first of its scope)"
        if not result["became_champion"]:
            champion = f"; `axiswatch models promote {result['model_version']}` makes it the champion"
        table(
            ["held-out figure", ""],
            [
                ("classes", ", ".join(result["classes"])),
                ("windows, units", f"{report['n_windows']}, {report['n_units']}"),
                *report["overall"].items(),
                ("temperature", f"{report['temperature']['value']:.3g} ({report['temperature']['reason']})"),
                *(("note", note) for note in report["notes"]),
                *([("note", FEW_UNITS)] if report["n_units"] < 10 else []),
                *(("left out: " + why, count) for why, count in result["left_out"].items()),
            ],
            f"Model {result['model_version']} of {result['scope']}{champion}",
        )
        if report["tuning"] is not None and report["tuning"]["tried"]:
            tried = report["tuning"]["tried"]
            named = [
                [*candidate["settings"].values(), candidate["nll"], candidate["gain"], candidate["gain_se"]]
                for candidate in tried
            ]
            table(
                [*tried[0]["settings"], "nll", "gain", "its standard error"], named, "Settings tried, the default first"
            )
        names = ["unit", "class_name", "n_windows", "accuracy", "nll", "fault_probability", "mutual_information"]
        table(names, [[row[name] for name in names] for row in report["units"]], "By unit, each held out")
