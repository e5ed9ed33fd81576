"""The stored trends of one axis, as data and as a picture."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.health.health import GROUPS
from features.health.trend import MIN_SLOPE_POINTS, running_median
from features.spectra.time_domain import Vector
from features.vibration_velocity import ZONES
from pipeline.assets.places import find_axis
from pipeline.base.errors import PrerequisiteMissing, SettingsError
from pipeline.store.database import Store
from pipeline.store.tables import Baseline, Extraction, Trend, TrendChange, TrendPoint, Unit
from pipeline.trends.series import DAY_S, MEDIAN_WIDTH, SeriesKey, series_filter

if TYPE_CHECKING:
    from matplotlib.axes import Axes


WIDTH_IN, PANEL_IN, HEADER_IN = 11.0, 3.2, 0.9
POINTS, LINE, SLOPE, BAND = "#9aa5b1", "#1f4e8c", "#6c3483", "#cfe3d4"
ALARM, CHANGE, UNIT, ZONE = "#c0392b", "#b9770e", "#444444", "#7d6608"


BORROWED = (
    "limits borrowed from ISO 20816-3, group {}: they are for pumps, fans, motors and the like, not for robot axes; "
    "nothing alarms by them"
)
ZONE_LIMITS = ("A/B", "B/C", "C/D")
POINT_FIGURES = ("started_at", "health_index", *GROUPS, "velocity_rms_mm_s")


EXTRACTION_OF_POINT = sa.and_(
    Extraction.recording_id == TrendPoint.recording_id,
    Extraction.feature_version == TrendPoint.feature_version,
    Extraction.geometry_version == TrendPoint.geometry_version,
)
"""Joins a point with its extraction, which has the rms of the vibration velocity."""


def draw(shown: dict[str, Any], *, dpi: int = 110) -> bytes:
    """Draw the result of `trends_of` as a PNG, and return its bytes.

    Each panel shows the health index of every recording, its running median, the band of the baseline's time (5 to
    95 %), the alarm threshold, change points (dashed) and installations of units (dotted). Below it is the vibration
    velocity, where it is known. No display is needed.
    """
    import matplotlib.dates as dates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    channels = sorted({trend["channel"] for trend in shown["trends"]}) or ["-"]
    moving = [name for name in channels if any(_velocities(trend) for trend in _of(shown, name))]
    n_panels = len(channels) + len(moving)
    height = HEADER_IN + PANEL_IN * n_panels
    figure = Figure(figsize=(WIDTH_IN, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    place = "/".join(part for part in (shown["site"], shown["cell"]) if part)
    figure.suptitle(f"{shown['robot_id']} {shown['axis']}" + (f"  ({place})" if place else ""), parse_math=False)
    panels = figure.subplots(n_panels, 1, sharex=True, squeeze=False)[:, 0]
    free = iter(panels)
    for channel in channels:
        _panel(next(free), channel, _of(shown, channel), shown["units"])
        if channel in moving:
            _velocity_panel(next(free), channel, _of(shown, channel), shown["zones"])
    last = panels[-1]
    locator = dates.AutoDateLocator(minticks=4, maxticks=10)  # type: ignore[no-untyped-call]
    last.xaxis.set_major_locator(locator)
    last.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    last.set_xlabel("time, UTC")
    sink = io.BytesIO()
    figure.savefig(sink, format="png", metadata={"Software": None})
    return sink.getvalue()


def _panel(panel: Axes, channel: str, trends: list[dict[str, Any]], units: list[dict[str, Any]]) -> None:
    named: set[str] = set()

    def once(label: str) -> str:
        already = label in named
        named.add(label)
        return "_" + label if already else label

    times: list[float] = []
    for trend in trends:
        points = [point for point in trend["points"] if point["health_index"] is not None]
        if not points:
            continue
        at = [_days(point["started_at"]) for point in points]
        values = np.array([point["health_index"] for point in points])
        times += at
        if trend["reference_low"] is not None:
            panel.fill_between(
                [at[0], at[-1]],
                trend["reference_low"],
                trend["reference_high"],
                color=BAND,
                lw=0,
                label=once("baseline, 5-95 %"),
            )
        if trend["threshold"] is not None:
            panel.plot(
                [at[0], at[-1]], [trend["threshold"]] * 2, color=ALARM, lw=1, ls="-.", label=once("alarm threshold")
            )
        panel.plot(at, values, ".", color=POINTS, ms=4, label=once("recordings"))
        panel.plot(
            *_with_gaps(at, running_median(values, width=MEDIAN_WIDTH)), color=LINE, lw=1.8, label=once("median")
        )
        _slope(panel, trend, at, values, once)
        for change in trend["changes"]:
            panel.axvline(_days(change["changed_at"]), color=CHANGE, lw=1.3, ls="--", label=once("change point"))
    panel.set_title(channel, loc="left", fontsize=10, parse_math=False)
    panel.set_ylabel("health index, sigmas")
    panel.grid(alpha=0.25)
    if not times:
        panel.text(0.5, 0.5, "no trend: no baseline, or no points in this time", transform=panel.transAxes, ha="center")
        return
    panel.set_ylim(bottom=0.0)
    panel.margins(y=0.15)
    panel.set_xlim(*_padded(min(times), max(times)))
    for unit in units:
        installed = _days(unit["installed_at"])
        if min(times) <= installed <= max(times):
            panel.axvline(installed, color=UNIT, lw=1.3, ls=":", label=once("unit installed"))
            panel.annotate(
                unit["unit_serial"],
                (installed, 0.97),
                xycoords=("data", "axes fraction"),
                xytext=(3, 0),
                textcoords="offset points",
                fontsize=8,
                va="top",
                color=UNIT,
                parse_math=False,
            )
    panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def _of(shown: dict[str, Any], channel: str) -> list[dict[str, Any]]:
    return [trend for trend in shown["trends"] if trend["channel"] == channel]


def _velocities(trend: dict[str, Any]) -> list[tuple[float, float]]:
    """Return times (days) and rms of the vibration velocity, where it is known."""
    points = ((point["started_at"], point["velocity_rms_mm_s"]) for point in trend["points"])
    return [(_days(at), value) for at, value in points if value is not None]


def _velocity_panel(panel: Axes, channel: str, trends: list[dict[str, Any]], zones: dict[str, Any] | None) -> None:
    for trend in trends:
        found = _velocities(trend)
        if found:
            panel.plot(*zip(*found, strict=True), ".", color=LINE, ms=4)
    panel.set_title(f"{channel}, vibration velocity", loc="left", fontsize=10, parse_math=False)
    panel.set_ylabel("rms 10-1000 Hz, mm/s")
    panel.grid(alpha=0.25)
    panel.set_ylim(bottom=0.0)
    if zones is not None:
        for name, limit in zip(ZONE_LIMITS, zones["limits_mm_s"], strict=True):
            panel.axhline(limit, color=ZONE, lw=1, ls=":", label=f"borrowed {name}: {limit:g} mm/s")
        panel.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)
        words = zones["explanation"]
        panel.text(0.0, -0.2, words, transform=panel.transAxes, fontsize=7, va="top", color=UNIT, parse_math=False)


def _slope(panel: Axes, trend: dict[str, Any], at: list[float], values: Vector, label: Callable[[str], str]) -> None:
    """Draw the robust straight line through the newest stretch, where it is in the shown time."""
    first, slope = trend["slope_from_at"], trend["slope_per_day"]
    days = np.array(at)
    recent = days >= _days(first) if first is not None else np.zeros(len(days), np.bool_)
    if slope is None or recent.sum() < MIN_SLOPE_POINTS:
        return
    level = float(np.median(values[recent] - slope * (days[recent] - days[-1])))
    ends = days[recent][[0, -1]]
    panel.plot(ends, np.maximum(level + slope * (ends - days[-1]), 0.0), color=SLOPE, lw=1.6, label=label("slope"))


def _with_gaps(at: list[float], values: Vector) -> tuple[Vector, Vector]:
    """Break a line where a gap is far longer than usual: nothing was measured there."""
    days = np.array(at)
    steps = np.diff(days)
    cut = np.flatnonzero(steps > 8 * np.median(steps)) + 1 if len(steps) else np.zeros(0, np.intp)
    return np.insert(days, cut, days[cut]), np.insert(values, cut, np.nan)


def _padded(first: float, last: float) -> tuple[float, float]:
    pad = max((last - first) * 0.02, 0.02)
    return first - pad, last + pad


def _days(moment: datetime) -> float:
    """Return days since 1970 in UTC, the unit of the time axis."""
    return moment.timestamp() / DAY_S


def trends_of(
    store: Store,
    robot_id: str,
    axis: str,
    *,
    site: str | None = None,
    cell: str | None = None,
    channel: str | None = None,
    from_at: datetime | None = None,
    to_at: datetime | None = None,
    group: str = "",
) -> dict[str, Any]:
    """Return the trends of an axis: for each channel and unit the trend, its change points and its points.

    Where there are several feature versions, the one that became known last is used. `from_at` (included) and `to_at`
    (not included) select points, changes and installations. Slope and last value are always those of the newest points.
    `group` names the limits of ISO 20816-3 (`features.vibration_velocity.ZONES`) that are lent to vibration velocities.

    Raises
    ------
    PrerequisiteMissing
        There is no such axis, or it has no such channel.
    SettingsError
        Several axes have this name, or `from_at` is not before `to_at`.
    """
    if from_at is not None and to_at is not None and from_at >= to_at:
        raise SettingsError("--from must be before --to")
    with store.read() as connection:
        axis_row = find_axis(connection, robot_id, axis, site=site, cell=cell)
        query = sa.select(Trend).where(Trend.axis_id == axis_row.axis_id)
        newest: dict[tuple[str, str], Row[Any]] = {}
        for row in connection.execute(query.order_by(Trend.known_at, Trend.feature_version)):
            newest[row.channel, row.unit_serial] = row
        channels = sorted({name for name, _ in newest})
        if channel is not None and channels and channel not in channels:
            raise PrerequisiteMissing(
                f"{robot_id} {axis} has no trend on channel {channel}, only {', '.join(channels)}"
            )
        chosen = [row for row in newest.values() if channel in (None, row.channel)]
        chosen.sort(key=lambda row: (row.channel, row.from_at, row.unit_serial))
        return {
            "site": axis_row.site,
            "cell": axis_row.cell,
            "robot_id": robot_id,
            "axis": axis,
            "units": [
                {"unit_serial": unit.unit_serial, "installed_at": unit.installed_at, "removed_at": unit.removed_at}
                for unit in connection.execute(
                    sa.select(Unit).where(Unit.axis_id == axis_row.axis_id).order_by(Unit.installed_at)
                )
            ],
            "trends": [_trend(connection, row, from_at, to_at) for row in chosen],
            "no_trend": None if chosen else _why_none(connection, axis_row.axis_id),
            "zones": {"limits_mm_s": list(ZONES[group]), "explanation": BORROWED.format(group)} if group else None,
        }


def _why_none(connection: Connection, axis_id: str) -> str:
    """Return why an axis has no trend, and which command makes one."""
    if connection.scalar(sa.select(sa.exists().where(Baseline.axis_id == axis_id))):
        return "its units have a baseline, but no trend was computed since; `axiswatch run` computes it"
    return "its units have no baseline yet; they get one after their first days, by `axiswatch run`"


def _trend(connection: Connection, row: Row[Any], from_at: datetime | None, to_at: datetime | None) -> dict[str, Any]:
    key: SeriesKey = (row.axis_id, row.unit_serial, row.channel, row.feature_version)

    def within(column: Any) -> list[Any]:
        return [*([column >= from_at] if from_at is not None else []), *([column < to_at] if to_at is not None else [])]

    changes = sa.select(TrendChange).where(series_filter(TrendChange, key), *within(TrendChange.changed_at))
    points = sa.select(TrendPoint, Extraction.velocity_rms_mm_s).outerjoin(Extraction, EXTRACTION_OF_POINT)
    points = points.where(series_filter(TrendPoint, key), *within(TrendPoint.started_at))
    return {
        **{name: value for name, value in row._mapping.items() if name != "axis_id"},
        "changes": [
            {name: change._mapping[name] for name in ("after_at", "changed_at", "before", "after", "known_at")}
            for change in connection.execute(changes.order_by(TrendChange.changed_at))
        ],
        "points": [
            {name: point._mapping[name] for name in (*POINT_FIGURES, "regime", "baseline_version", "n_windows")}
            for point in connection.execute(points.order_by(TrendPoint.started_at, TrendPoint.recording_id))
        ],
    }
