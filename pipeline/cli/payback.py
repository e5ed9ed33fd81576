"""Commands after a promotion: rescore and payback."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.common import AsJson, AsOf, counts, emit, flat, moment, out, table, workplace

ScopeOption = Annotated[str | None, typer.Option(help="Model scope, e.g. acceleration (default: all).")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(epilog="Example: axiswatch rescore --scope acceleration")(rescore)
    app.command(epilog="Example: axiswatch payback --limit 1")(payback)


def rescore(scope: ScopeOption = None, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Score open cases, cases closed lately and the newest days with the champion, and write down the payback."""
    from pipeline.promotion.payback import write_payback
    from pipeline.promotion.rescore import rescore as step
    from pipeline.registry.versions import champion_of, champions

    place, at = workplace(), moment(as_of)
    with place.store.read() as connection:
        named = champions(connection)
    wanted = named if scope is None else {scope: champion_of(place.store, scope)}
    found: dict[str, Any] = {"models": wanted, "recordings": 0, "windows": 0, "not_scored": 0}
    for name, version in sorted(wanted.items()):
        report = step(place.store, place.lake, place.settings, name, version, as_of=at).as_dict()
        for count in ("recordings", "windows", "not_scored"):
            found[count] += report[count]
    found["cases_judged"] = write_payback(place.store, place.settings, as_of=at, scope=scope)
    emit(found, as_json, counts("Scored again", found))


def payback(
    scope: ScopeOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many changes of champion, newest first.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show what labels bought: decisions on closed cases that a new champion changed, and how far doubt fell."""
    from pipeline.promotion.payback import payback as step

    rows = step(workplace().store, scope=scope, limit=limit)

    def show() -> None:
        for row in rows:
            batch, decisions = row["batch"], row["decisions"]
            told = [
                ("labels that were new to it", f"{batch['labels']} ({flat(batch['by_verdict'])})"),
                ("closed cases judged by both", decisions["cases"]),
                ("changed, better, worse", f"{decisions['changed']}, {decisions['better']}, {decisions['worse']}"),
            ]
            for name, fall in row["uncertainty"].items():
                told.append((f"mutual information, {name.replace('_', ' ')}", _fall(fall)))
            table(["", ""], told, f"{row['scope']}: {row['from']} to {row['to']} ({row['action']} by {row['who']})")
            if decisions["list"]:
                names = ["case_id", "verdict", "before", "after", "worth"]
                table(names, [[case[name] for name in names] for case in decisions["list"]], "Decisions that changed")
        if not rows:
            out.print("no champion has followed another yet")

    emit(rows, as_json, show)


def _fall(found: dict[str, Any]) -> str:
    if not found["n"]:
        return "-"
    interval = "" if found["low"] is None else f", 90 %: {found['low']:+.4f} to {found['high']:+.4f}"
    return f"{found['before']:.4f} to {found['after']:.4f} nats ({found['change']:+.4f}{interval}), n = {found['n']}"
