"""Commands of the asset registry: import, list, show, replace, timeline, planned stops."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.cli.common import AsJson, AsOf, DryRun, Who, counts, emit, flat, moment, opened_store, out, table, user

assets_app = typer.Typer(
    no_args_is_help=True, help="The asset registry: the units on each axis, with their characteristic orders."
)

Robot = Annotated[str, typer.Argument(help="Robot, as in the logs.")]
AxisName = Annotated[str, typer.Argument(help="Axis of the robot, as in the logs.")]
Site = Annotated[str | None, typer.Option(help="Site, if several sites have a robot of this name.")]
Cell = Annotated[str | None, typer.Option(help="Cell, if several cells have a robot of this name.")]


@assets_app.command("import", epilog="Example: axiswatch assets import assets.toml")
def assets_import(
    file: Annotated[
        Path, typer.Argument(help="TOML, or CSV with one row for each unit; the formats are in docs/assets.md.")
    ],
    dry_run: DryRun = False,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Import an asset file into the registry; existing entries are updated.

    If anything is wrong with the file, every problem is listed and nothing is stored (exit code 1).
    """
    from pipeline.assets import import_assets

    report = import_assets(opened_store(), file, as_of=moment(as_of), dry_run=dry_run)
    emit(report, as_json, counts("Assets (dry run)" if dry_run else "Assets", _joined(report)))


@assets_app.command("list", epilog="Example: axiswatch assets list --json")
def assets_list(as_json: AsJson = False) -> None:
    """List every axis with its units, oldest first."""
    from pipeline.assets.views import list_assets

    rows = list_assets(opened_store())

    def show() -> None:
        table(
            ["axis", "criticality", "every s", "unit", "installed", "removed", "geometry"],
            [
                (
                    _place(row),
                    row["criticality"],
                    _number(row["expected_every_s"]),
                    row["unit_serial"],
                    row["installed_at"],
                    row["removed_at"],
                    row["geometry"],
                )
                for row in rows
            ],
        )

    emit(rows, as_json, show)


@assets_app.command("show", epilog="Example: axiswatch assets show R02 A3")
def assets_show(
    robot: Robot,
    axis: AxisName,
    site: Site = None,
    cell: Cell = None,
    as_json: AsJson = False,
) -> None:
    """Show one axis: its units, and the characteristic orders of each, with formula and source."""
    from pipeline.assets.views import show_asset

    asset = show_asset(opened_store(), robot, axis, site=site, cell=cell)

    def show() -> None:
        facts = [(name.replace("_", " "), _number(asset[name])) for name in ("criticality", "expected_every_s")]
        table(["", ""], facts, _place(asset))
        for unit in asset["units"]:
            removed = f" to {unit['removed_at']:%Y-%m-%d %H:%M}" if unit["removed_at"] else ""
            title = f"{unit['unit_serial']}, {unit['installed_at']:%Y-%m-%d %H:%M}{removed}, {unit['geometry'] or '-'}"
            rows = [(o["name"], f"{o['order']:.6g}", o["formula"], o["source"]) for o in unit["orders"]]
            table(["order", "x shaft", "formula", "source"], rows, title)
        if not asset["units"]:
            out.print("the registry has no unit on this axis")

    emit(asset, as_json, show)


@assets_app.command(
    "replace", epilog="Example: axiswatch assets replace R02 A3 --new-serial SN-0043 --at 2026-02-01T06:00:00Z"
)
def assets_replace(
    robot: Robot,
    axis: AxisName,
    new_serial: Annotated[str, typer.Option(help="Serial number of the new unit.")],
    at: Annotated[str, typer.Option(help="Time of the replacement, ISO 8601 with an offset.")],
    geometry: Annotated[
        str | None, typer.Option(help="Name of a geometry in the registry (default: that of the old unit).")
    ] = None,
    bearing: Annotated[
        str | None, typer.Option(help="Instead of --geometry: the designation of its bearing, such as 6205.")
    ] = None,
    site: Site = None,
    cell: Cell = None,
    reason: Annotated[str, typer.Option(help="Reason; recorded in the timeline.")] = "",
    who: Who = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Replace the unit on an axis: open cases of the old unit are closed, later recordings belong to the new one."""
    from pipeline.cases.replacement import replace_unit

    when = moment(at, "--at")
    report = replace_unit(
        opened_store(),
        robot,
        axis,
        new_serial=new_serial,
        at=when,
        as_of=moment(as_of),
        who=user(who),
        geometry=geometry,
        bearing=bearing,
        site=site,
        cell=cell,
        reason=reason,
    )
    emit(report, as_json, counts("Replaced" if report["changed"] else "Already recorded", _joined(report)))


@assets_app.command("timeline", epilog="Example: axiswatch assets timeline R02 A3")
def assets_timeline(
    robot: Robot,
    axis: AxisName,
    site: Site = None,
    cell: Cell = None,
    as_json: AsJson = False,
) -> None:
    """Show what happened to an axis: units installed, replaced and removed."""
    from pipeline.assets.views import axis_timeline

    rows = axis_timeline(opened_store(), robot, axis, site=site, cell=cell)

    def show() -> None:
        table(
            ["at", "what", "details", "who"],
            [
                (
                    row["at"],
                    row["kind"] + ("" if row["in_force"] else " (corrected by a later import)"),
                    flat(_joined({name: value for name, value in row["details"].items() if value})),
                    row["who"],
                )
                for row in rows
            ],
        )

    emit(rows, as_json, show)


@assets_app.command(
    "stop",
    epilog="Example: axiswatch assets stop --cell C2 --from 2026-08-01T00:00:00Z --until 2026-08-15T00:00:00Z "
    '--reason "summer break"',
)
def assets_stop(
    from_at: Annotated[str, typer.Option("--from", help="Start, ISO 8601 with an offset.")],
    until_at: Annotated[str, typer.Option("--until", help="End, ISO 8601 with an offset; at most a year later.")],
    reason: Annotated[str, typer.Option(help="Why the axes are off.")],
    site: Annotated[str | None, typer.Option(help="Only axes of this site.")] = None,
    cell: Annotated[str | None, typer.Option(help="Only axes of this cell.")] = None,
    robot: Annotated[str | None, typer.Option(help="Only axes of this robot.")] = None,
    axis: Annotated[str | None, typer.Option(help="Only axes of this name.")] = None,
    who: Who = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Announce that axes are off for a time: they are not silent then. At least one of the four options chooses them.

    A second call with the same --from changes the end; --until equal to --from withdraws the stop.
    """
    from pipeline.assets.stops import plan_stop

    rows = plan_stop(
        opened_store(),
        {"site": site, "cell": cell, "robot_id": robot, "axis": axis},
        from_at=moment(from_at, "--from"),
        until_at=moment(until_at, "--until"),
        reason=reason,
        who=user(who),
        as_of=moment(as_of),
    )
    emit(rows, as_json, lambda: _show_stops(rows))


@assets_app.command("stops", epilog="Example: axiswatch assets stops")
def assets_stops(
    everything: Annotated[bool, typer.Option("--all", help="Also show stops that are over.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the planned stops that are not over."""
    from pipeline.assets.stops import list_stops

    rows = list_stops(opened_store(), at=moment(None), everything=everything)
    emit(rows, as_json, lambda: _show_stops(rows))


def _show_stops(rows: list[dict[str, Any]]) -> None:
    names = ["from_at", "until_at", "reason", "who"]
    table(["axis", "from", "until", "reason", "who"], [(_place(row), *(row[name] for name in names)) for row in rows])


def _place(row: dict[str, Any]) -> str:
    return "/".join(part for part in (row["site"], row["cell"], row["robot_id"], row["axis"]) if part)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.10g}"


def _joined(values: dict[str, Any]) -> dict[str, Any]:
    return {name: ", ".join(value) or None if isinstance(value, list) else value for name, value in values.items()}
