"""One HTML page with the results: tables, and plots as SVG in the page itself."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

COLOURS = ("#1f6fb2", "#d1622b", "#2f8f4e", "#8a4fb0", "#b03a5b", "#6b6b6b", "#b8932a", "#2aa3a3")
WIDTH, HEIGHT, LEFT, BOTTOM = 560, 320, 60, 40

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1180px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 }
td, th { border: 1px solid #ccc; padding: .2em .6em; text-align: right }
td:first-child, th:first-child { text-align: left } figure { display: inline-block; margin: .5em 1em .5em 0 }
figcaption { font-weight: 600 } pre { background: #f6f6f6; padding: .6em; overflow: auto; font-size: 12px }
"""

Series = dict[str, list[tuple[float, float]]]


def page(result: dict[str, Any]) -> str:
    """Return the page of the results of `run.py`; parts that were not run are missing."""
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items() if value is not None)
    body = ["<h1>What axiswatch costs</h1>", f"<p>{html.escape(machine)}</p>"]
    if result["quick"]:
        body.append("<p><b>Quick run: small sizes, few rounds. Good for a look, not to be quoted.</b></p>")
    for part, show in SHOWN.items():
        if part in result:
            commits = ", ".join(f"{name} {commit}" for name, commit in result[part]["commits"].items())
            title = f"<h2>{part}</h2><p>{html.escape(commits)}; {result[part]['took_s']:.0f} s</p>"
            body += [title, *show(result[part]["result"])]
    return (
        f"<!doctype html><meta charset=utf-8><title>What axiswatch costs</title><style>{STYLE}</style>{''.join(body)}"
    )


def _incremental(found: dict[str, Any]) -> Iterable[str]:
    cases = found["cases"]
    for kind, words in (("new", "one new recording on each axis"), ("nothing", "nothing new")):
        series: Series = {}
        for case in cases:
            name = f"{case['code']}, {case['database']}"
            series.setdefault(name, []).append((case["times"], case[f"{kind}_cpu_s"]["median"]))
        yield plot(f"{cases[0]['axes']} axes, {words}: processor time, s", "times of the history", series)
    steps = list(cases[0]["new_steps_cpu_s"])
    rows = []
    for case in cases:
        for kind in ("new", "nothing"):
            values = [case[f"{kind}_steps_cpu_s"][step]["median"] for step in steps]
            total = case[f"{kind}_cpu_s"]
            ends = [total["median"], f"{total['low']:.2f} to {total['high']:.2f}"]
            whole = case[f"{kind}_process_cpu_s"]["median"]
            rows.append([f"{case['code']}, {case['database']}, {case['times']}x, {kind}", *values, *ends, whole])
    yield table(["processor time, s (medians)", *steps, "all steps", "range", "process"], rows)
    ratios = [
        [f"{item['code']}, {item['database']}, {item['times']}x, {item['run']}", *_range(item["ratio"])]
        for item in found["ratios"]
    ]
    yield table(["cost over that at the smallest history", "median", "lowest", "highest"], ratios)
    counted = [
        [
            f"{item['code']}, {item['database']}, {item['times']}x, {kind}",
            item[kind]["instructions"],
            sum(item[kind]["rows_read"].values()),
            len(item[kind]["scans"]),
        ]
        for item in found["work"]
        for kind in ("new", "nothing")
    ]
    yield table(["work", "instructions of SQLite", "rows read by PostgreSQL", "plans that scan history"], counted)


def _fleet(found: list[dict[str, Any]]) -> Iterable[str]:
    series: Series = {}
    for case in found:
        name = f"{case['code']}, {case['database']}"
        series.setdefault(name, []).append((case["axes"], case["wall_s"]["median"]))
    yield plot("An interval of ten minutes: wall time, s", "axes, one recording each", series, limit=600.0)
    yield table(
        ["fleet", "days", "wall s", "longest", "processor s", "nothing new", "MiB", "held", "largest fleet"],
        [
            [
                f"{case['code']}, {case['database']}, {case['axes']} axes",
                case["days"],
                case["wall_s"]["median"],
                case["wall_s"]["high"],
                case["cpu_s"]["median"],
                case["nothing_cpu_s"],
                case["tree_mib"],
                str(case["held"]),
                case["largest_fleet"],
            ]
            for case in found
        ],
    )
    steps = list(found[0]["steps_cpu_s"])
    rows = [
        [f"{case['code']}, {case['database']}, {case['axes']} axes", *case["steps_cpu_s"].values()] for case in found
    ]
    yield table(["processor time, s (medians)", *steps], rows)


def _whole(found: dict[str, Any]) -> Iterable[str]:
    bars = {}
    for case in found["cases"]:
        name = f"{case['code']}, {case['database']}"
        bars[name] = case["us_per_window"]["median"]
        bars[f"{name}: floors"] = case["floor_us_per_window"]["median"]
    yield bar_plot("From logs to cases: processor time a window, us", bars)
    floors = list(found["cases"][0]["floors_us_per_window"])
    yield table(
        [
            "whole run",
            "recordings",
            "windows",
            "us a window",
            *floors,
            "times the floors",
            "range",
            "MiB",
            "with workers",
        ],
        [
            [
                f"{case['code']}, {case['database']}",
                case["recordings"],
                case["windows"],
                case["us_per_window"]["median"],
                *(case["floors_us_per_window"][name]["median"] for name in floors),
                case["times_the_floors"]["median"],
                f"{case['times_the_floors']['low']:.2f} to {case['times_the_floors']['high']:.2f}",
                case["parent_mib"],
                case["tree_mib"],
            ]
            for case in found["cases"]
        ],
    )
    steps = list(found["cases"][0]["steps_cpu_s"])
    yield table(
        ["processor time, s (medians)", *steps],
        [
            [f"{case['code']}, {case['database']}", *(item["median"] for item in case["steps_cpu_s"].values())]
            for case in found["cases"]
        ],
    )


def _start(found: list[dict[str, Any]]) -> Iterable[str]:
    yield bar_plot(
        "Commands as whole processes: processor time, s",
        {f"{item['code']}: {item['command']}": item["cpu_s"]["median"] for item in found},
    )
    rows = [[f"{item['code']}: {item['command']}", *_range(item["cpu_s"])] for item in found]
    yield table(["command", "median, s", "lowest", "highest"], rows)


def _as_json(found: Any) -> Iterable[str]:
    yield f"<pre>{html.escape(json.dumps(found, indent=1))}</pre>"


SHOWN = {
    "incremental": _incremental,
    "fleet": _fleet,
    "whole": _whole,
    "start": _start,
    "features": _as_json,
    "scoring": _as_json,
    "peers": _as_json,
}


def _range(summary: dict[str, Any]) -> list[Any]:
    return [summary["median"], summary["low"], summary["high"]]


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table; numbers with three significant digits."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join(f"<tr>{''.join(f'<td>{html.escape(_text(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value)


def plot(title: str, below: str, series: Series, limit: float | None = None) -> str:
    """Return lines over both axes in logarithms as a figure; `limit`: a dashed line at this height."""
    points = [point for line in series.values() for point in line]
    heights = [y for _, y in points] + ([] if limit is None else [limit])
    x_span = _span(x for x, _ in points)
    y_span = _span(heights)

    def place(x: float, y: float) -> str:
        across = LEFT + (WIDTH - LEFT - 20) * (math.log10(x) - x_span[0]) / (x_span[1] - x_span[0])
        return f"{across:.1f},{_height(y, y_span):.1f}"

    parts = [_frame(y_span)]
    for x in sorted({x for x, _ in points}):
        across = place(x, 10 ** y_span[0]).split(",")[0]
        parts.append(f'<text x="{across}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    if limit is not None:
        y = _height(limit, y_span)
        parts.append(f'<path d="M{LEFT},{y:.1f}H{WIDTH - 20}" stroke="#999" stroke-dasharray="5 4"/>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(place(*point) for point in sorted(line))
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for point in line:
            x, y_text = place(*point).split(",")
            parts.append(f'<circle cx="{x}" cy="{y_text}" r="3.5" fill="{colour}"/>')
        parts.append(f'<text x="{LEFT + 10}" y="{18 + 15 * number}" fill="{colour}">{html.escape(name)}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(below)}</text>')
    return _figure(title, parts, HEIGHT)


def bar_plot(title: str, bars: dict[str, float]) -> str:
    """Return horizontal bars with their values as a figure."""
    longest = max(bars.values())
    parts = []
    for number, (name, value) in enumerate(bars.items()):
        y = 22 * number
        parts.append(f'<text x="0" y="{y + 14}">{html.escape(name)}</text>')
        parts.append(f'<rect x="250" y="{y + 2}" width="{230 * value / longest:.1f}" height="16" fill="{COLOURS[0]}"/>')
        parts.append(f'<text x="{256 + 230 * value / longest:.1f}" y="{y + 14}">{_text(float(value))}</text>')
    return _figure(title, parts, 22 * len(bars) + 6)


def _span(values: Iterable[float]) -> tuple[float, float]:
    logs = [math.log10(max(value, 1e-6)) for value in values]
    low, high = min(logs), max(logs)
    return (low - 0.5, high + 0.5) if high - low < 0.2 else (low - 0.05 * (high - low), high + 0.25 * (high - low))


def _height(y: float, span: tuple[float, float]) -> float:
    share = (math.log10(max(y, 1e-6)) - span[0]) / (span[1] - span[0])
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - 8) * share


def _frame(span: tuple[float, float]) -> str:
    lines = [f'<path d="M{LEFT},8V{HEIGHT - BOTTOM}H{WIDTH - 20}" fill="none" stroke="#888"/>']
    for power in range(math.floor(span[0]), math.ceil(span[1]) + 1):
        for digit in (1, 2, 5):
            value = digit * 10.0**power
            if span[0] <= math.log10(value) <= span[1]:
                y = _height(value, span)
                lines.append(f'<path d="M{LEFT},{y:.1f}H{WIDTH - 20}" stroke="#e4e4e4"/>')
                lines.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    return "".join(lines)


def _figure(title: str, parts: Iterable[str], height: float) -> str:
    drawing = (
        f'<svg width="{WIDTH}" height="{height:.0f}" font-size="12" font-family="sans-serif">{"".join(parts)}</svg>'
    )
    return f"<figure><figcaption>{html.escape(title)}</figcaption>{drawing}</figure>"
