"""A trend as a picture: one panel a channel, over time in UTC."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from features.time_domain import Vector
from features.trend import MIN_SLOPE_POINTS, running_median
from pipeline.trend_course import DAY_S, MEDIAN_WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH_IN, PANEL_IN, HEADER_IN = 11.0, 3.2, 0.9
POINTS, LINE, SLOPE, BAND = "#9aa5b1", "#1f4e8c", "#6c3483", "#cfe3d4"
ALARM, CHANGE, UNIT = "#c0392b", "#b9770e", "#444444"


def draw(found: dict[str, Any], *, dpi: int = 110) -> bytes:
    """Draw what `pipeline.trend_view.trends_of` gives, as the bytes of a PNG.

    Each panel: health index of every recording, its running median, the band of the baseline's time (5 to 95 %), the
    threshold of the alarm rule, change points (dashed) and installations of units (dotted). No display is needed.
    """
    import matplotlib.dates as dates
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    channels = sorted({trend["channel"] for trend in found["trends"]}) or ["-"]
    height = HEADER_IN + PANEL_IN * len(channels)
    figure = Figure(figsize=(WIDTH_IN, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    place = "/".join(part for part in (found["site"], found["cell"]) if part)
    figure.suptitle(f"{found['robot_id']} {found['axis']}" + (f"  ({place})" if place else ""), parse_math=False)
    panels = figure.subplots(len(channels), 1, sharex=True, squeeze=False)[:, 0]
    for panel, channel in zip(panels, channels, strict=True):
        _panel(panel, channel, [trend for trend in found["trends"] if trend["channel"] == channel], found["units"])
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
        told = label in named
        named.add(label)
        return "_" + label if told else label

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


def _slope(panel: Axes, trend: dict[str, Any], at: list[float], values: Vector, label: Callable[[str], str]) -> None:
    """Draw the robust straight line of the newest stretch, as far as it is shown."""
    first, slope = trend["slope_from_at"], trend["slope_per_day"]
    days = np.array(at)
    recent = days >= _days(first) if first is not None else np.zeros(len(days), np.bool_)
    if slope is None or recent.sum() < MIN_SLOPE_POINTS:
        return
    level = float(np.median(values[recent] - slope * (days[recent] - days[-1])))
    ends = days[recent][[0, -1]]
    panel.plot(ends, np.maximum(level + slope * (ends - days[-1]), 0.0), color=SLOPE, lw=1.6, label=label("slope"))


def _with_gaps(at: list[float], values: Vector) -> tuple[Vector, Vector]:
    """Break a line where a gap is far longer than is usual: nothing was measured there."""
    days = np.array(at)
    steps = np.diff(days)
    cut = np.flatnonzero(steps > 8 * np.median(steps)) + 1 if len(steps) else np.zeros(0, np.intp)
    return np.insert(days, cut, days[cut]), np.insert(values, cut, np.nan)


def _padded(first: float, last: float) -> tuple[float, float]:
    pad = max((last - first) * 0.02, 0.02)
    return first - pad, last + pad


def _days(moment: datetime) -> float:
    """Days since 1970 in UTC, which is what the time axis counts in."""
    return moment.timestamp() / DAY_S
