"""The command `trend`: the course of the health of an axis as a table, as JSON or as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.base.errors import SettingsError
from pipeline.cli.common import DAILY, AsJson, emit, moment, opened_store, out, shown, table


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("trend", rich_help_panel=DAILY, epilog="Example: axiswatch trend R07 A3 --png r07-a3.png")(show_trend)


def show_trend(
    robot: Annotated[str, typer.Argument(help="Robot, for example R07.")],
    axis: Annotated[str, typer.Argument(help="Axis, for example A3.")],
    channel: Annotated[str | None, typer.Option(help="Only this channel (default: all).")] = None,
    site: Annotated[str | None, typer.Option(help="Site, if several sites have a robot of this name.")] = None,
    cell: Annotated[str | None, typer.Option(help="Cell, if several cells have a robot of this name.")] = None,
    from_at: Annotated[
        str | None, typer.Option("--from", help="Start of the time shown, ISO 8601 with an offset.")
    ] = None,
    to_at: Annotated[
        str | None, typer.Option("--to", help="End of the time shown (not included), ISO 8601 with an offset.")
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Draw the trend to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the trend of an axis's health against its own baseline: last value, slope, change points."""
    from pipeline.base.sources import load_settings
    from pipeline.trends.view import trends_of

    first = moment(from_at, "--from") if from_at is not None else None
    last = moment(to_at, "--to") if to_at is not None else None
    if png is not None and png.suffix.lower() != ".png":
        raise SettingsError(f"--png {png}: the name must end in .png, the only format of pictures")
    group = load_settings().iso_20816_3
    report = trends_of(
        opened_store(), robot, axis, site=site, cell=cell, channel=channel, from_at=first, to_at=last, group=group
    )
    if png is not None:
        from pipeline.trends.view import draw

        png.write_bytes(draw(report))
    emit(report, as_json, lambda: print_trends(report, png))


def print_trends(report: dict[str, Any], png: Path | None = None) -> None:
    """Print one line for each channel and unit, and below them the change points."""
    name = f"{report['robot_id']} {report['axis']}"
    if not report["trends"]:
        out.print(f"{name}: no trend; {report['no_trend']}.", markup=False, highlight=False)
    else:
        rows = [
            (
                trend["channel"],
                trend["unit_serial"],
                trend["n_points"],
                trend["to_at"],
                trend["health_index"],
                trend["threshold"],
                slope_words(trend),
                trend["alarm_since"],
            )
            for trend in report["trends"]
        ]
        columns = ["channel", "unit", "points", "until", "health index", "threshold", "a day (95 %)", "alarm since"]
        table(columns, rows, f"{name}, sigmas from the unit's own baseline")
    for trend in report["trends"]:
        known = [point for point in trend["points"] if point["velocity_rms_mm_s"] is not None]
        if known:
            rms = f"{known[-1]['velocity_rms_mm_s']:.2f} mm/s rms, 10 to 1000 Hz, at {shown(known[-1]['started_at'])}"
            out.print(f"{trend['channel']} {trend['unit_serial']}: {rms} UTC", markup=False, highlight=False)
        for change in trend["changes"]:
            line = f"{trend['channel']} {trend['unit_serial']}: {change_words(change)}"
            out.print(line, markup=False, highlight=False)
    if report["zones"] is not None:
        limits = ", ".join(f"{limit:g}" for limit in report["zones"]["limits_mm_s"])
        out.print(f"zones A to D: {limits} mm/s; {report['zones']['explanation']}", markup=False, highlight=False)
    if png is not None:
        out.print(f"drawn to {png}", markup=False, highlight=False)


def slope_words(trend: dict[str, Any]) -> str:
    """Write a slope with its interval."""
    if trend["slope_per_day"] is None:
        return "-"
    return f"{trend['slope_per_day']:+.2g} ({trend['slope_low']:+.2g} to {trend['slope_high']:+.2g})"


def change_words(change: dict[str, Any]) -> str:
    """Write a change point as one sentence."""
    verb = "rose" if change["after"] > change["before"] else "fell"
    return (
        f"{verb} from {change['before']:.1f} to {change['after']:.1f} sigmas "
        f"between {shown(change['after_at'])} and {shown(change['changed_at'])} UTC"
    )
