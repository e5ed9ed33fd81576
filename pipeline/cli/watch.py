"""Commands `watch` (whether a retraining is due) and `ask` (which cases to label next)."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from pipeline.cli.common import MODELS, AsJson, AsOf, emit, moment, table, workplace


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=MODELS, epilog="Example: axiswatch watch --json")(watch)
    app.command(rich_help_panel=MODELS, epilog="Example: axiswatch ask --n 5")(ask)


def ask(
    n: Annotated[int, typer.Option("--n", min=1, help="How many cases.")] = 10,
    method: Annotated[
        Literal["bald", "random"] | None, typer.Option(help="How to choose (default: the setting ask_method).")
    ] = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """List the open cases whose labels would improve the model most. The queue lists cases by urgency instead."""
    from pipeline.watch.ask import ask as choose

    place = workplace()
    rows = choose(
        place.store,
        place.lake,
        place.settings,
        n=n,
        method=method or place.settings.ask_method,
        seed=place.settings.ask_seed,
        as_of=moment(as_of),
    )
    names = ["rank", "case_id", "robot_id", "axis", "unit", "family", "priority", "reason"]

    def show() -> None:
        table(names, [[row[name] for name in names] for row in rows], f"{len(rows)} cases to ask about")

    emit(rows, as_json, show)


def watch(
    as_of: AsOf = None,
    history: Annotated[int, typer.Option(min=0, help="Show this many earlier decisions instead of a new one.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Evaluate every trigger of a retraining, store the results, and explain why one is due or not. Starts nothing.

    A second call with the same --as-of shows the result of the first. Only scheduled runs count for cooldown and
    budget.
    """
    from pipeline.watch.watch import list_trigger_decisions
    from pipeline.watch.watch import watch as step

    place = workplace()
    if history:
        rows = list_trigger_decisions(place.store, limit=history)
    else:
        rows = step(place.store, place.lake, place.settings, as_of=moment(as_of))
    names = ["scope", "trigger", "fired", "reason"] if not history else ["decided_at", "scope", "fired", "reason"]

    def show() -> None:
        cells = [
            ["yes" if row[name] is True else "no" if row[name] is False else row[name] for name in names]
            for row in rows
        ]
        table(names, cells, "Earlier decisions" if history else "Triggers")
        if not rows and not history:
            table(["", ""], [("nothing to watch", "no scope has a model, or labels to train one")])

    emit(rows, as_json, show)
