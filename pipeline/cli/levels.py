"""Commands about the alarm and review levels of a site: show them, estimate them, take a change back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.common import (
    MODELS,
    AsJson,
    AsOf,
    Who,
    counts,
    emit,
    moment,
    opened_store,
    out,
    table,
    user,
    workplace,
)

Site = Annotated[str, typer.Argument(help="Site; '' where the axes name none.")]
Scope = Annotated[str, typer.Option(help="Scope of the model, e.g. acceleration.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is stored.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    levels = typer.Typer(help="Alarm and review level of each site.", no_args_is_help=True)
    levels.command("list", epilog="Example: axiswatch levels list --json")(list_levels)
    levels.command("estimate", epilog="Example: axiswatch levels estimate")(estimate)
    levels.command("back", epilog='Example: axiswatch levels back plant-a --reason "too many reviews"')(back)
    levels.command("release", epilog='Example: axiswatch levels release plant-a --reason "sensors are mended"')(release)
    app.add_typer(levels, name="levels", rich_help_panel=MODELS)


def list_levels(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Show the levels in force, each with its reason. A site without a row has the level without answers."""
    from pipeline.scoring.plant_levels import list_levels as rows_of

    _show(rows_of(opened_store(), as_of=moment(as_of)), as_json)


def estimate(as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Estimate the levels of every site for each champion, as the schedule does daily.

    A level that a person holds stays. A second call at the same time changes nothing.
    """
    from pipeline.scoring.references import estimate as run

    place = workplace()
    _show(run(place.store, place.lake, place.settings, as_of=moment(as_of)), as_json)


def back(site: Site, reason: Reason, scope: Scope = "acceleration", who: Who = None, as_json: AsJson = False) -> None:
    """Go back to the levels before the last change, and hold them: the daily estimate leaves them alone.

    Exit code 3: there is no row of this site and scope.
    """
    from pipeline.scoring.plant_levels import go_back

    row = go_back(opened_store(), workplace().settings, scope, site, who=user(who), reason=reason, at=moment(None))
    emit(row, as_json, counts("Levels", row))


def release(
    site: Site, reason: Reason, scope: Scope = "acceleration", who: Who = None, as_json: AsJson = False
) -> None:
    """Let the daily estimate decide again about levels that a person holds.

    Exit code 3: there is no row of this site and scope.
    """
    from pipeline.scoring.plant_levels import release as let_go

    row = let_go(opened_store(), scope, site, who=user(who), reason=reason, at=moment(None))
    emit(row, as_json, counts("Levels", row))


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    def show() -> None:
        names = ["site", "scope", "alarm_probability", "review_probability", "held", "decided_at", "reason"]
        head = ["site", "scope", "alarm", "review", "held", "since", "reason"]
        table(head, [[row[name] for name in names] for row in rows])
        if not rows:
            out.print("no site has levels of its own yet")

    emit(rows, as_json, show)
