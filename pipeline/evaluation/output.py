"""What an evaluation writes: evaluation.json, and report.html with the same figures as a table."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

Summary = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Found:
    """What an evaluation found.

    Attributes
    ----------
    runs : list of dict
        One per method and seed: method, seed, metrics, leaked (metrics of units trained on too, or None), units, notes.
    intervals : dict
        (low, high) by method and column, where there is an interval.
    about : dict
        What was trained on and judged.
    notes : list of str
    """

    runs: list[dict[str, Any]]
    intervals: dict[str, dict[str, tuple[float, float]]]
    about: dict[str, Any]
    notes: list[str]


def summarise(runs: Sequence[Mapping[str, Any]], key: str = "metrics") -> Summary:
    """Give mean and spread (standard deviation, ddof 1) over seeds of every figure, by method.

    `COLUMN` is null where a seed does not define it, `COLUMN_sd` also with one seed.
    """
    found: Summary = {}
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run[key] for run in runs if run["method"] == method and run[key] is not None]
        row: dict[str, float | None] = {}
        for column in own[0] if own else ():
            values = [metrics[column] for metrics in own]
            defined = all(value is not None and math.isfinite(value) for value in values)
            row[column] = fmean(values) if defined else None
            row[f"{column}_sd"] = stdev(values) if defined and len(values) > 1 else None
        found[method] = row
    return found


def write(folder: Path, document: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write both files into a folder, made if it is not there; files of an earlier evaluation are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False, sort_keys=False)
    paths = folder / "evaluation.json", folder / "report.html"
    for path, content in zip(paths, (text + "\n", report(document)), strict=True):
        aside = path.with_name(f".{path.name}.part")
        aside.write_text(content, encoding="utf-8", newline="")
        aside.replace(path)
    return paths


def report(document: Mapping[str, Any]) -> str:
    """Give a page that needs nothing from a network."""
    name = html.escape(str(document["protocol"]))
    parts = [
        f"<h1>{name}</h1>",
        f"<p>commit {html.escape(str(document['commit']))}, kind {html.escape(document['kind'])}</p>",
    ]
    parts.append(_table(document["summary"], document.get("intervals", {})))
    if document.get("leaked_summary"):
        parts.append("<h2>Leaked: units that were trained on too (no goal is judged by these)</h2>")
        parts.append(_table(document["leaked_summary"], {}))
    for title, key in (("Notes", "notes"), ("Left out", "left_out")):
        found = document.get(key)
        if found:
            lines = [f"{k}: {v}" for k, v in found.items()] if isinstance(found, dict) else found
            items = "".join(f"<li>{html.escape(str(line))}</li>" for line in lines)
            parts.append(f"<h2>{title}</h2><ul>{items}</ul>")
    parts.append(_units(document["runs"]))
    for title, key in (("Data", "data"), ("Protocol", "protocol_read"), ("Settings", "settings")):
        text = html.escape(json.dumps(document.get(key), ensure_ascii=False, indent=1))
        parts.append(f"<details><summary>{title}</summary><pre>{text}</pre></details>")
    return _PAGE.replace("{title}", name).replace("{body}", "\n".join(parts))


def _table(summary: Summary, intervals: Mapping[str, Any]) -> str:
    columns = [c for c in dict.fromkeys(c for row in summary.values() for c in row) if not c.endswith("_sd")]
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    lines = []
    for method, row in summary.items():
        cells = "".join(f"<td>{_cell(row, column, intervals.get(method, {}))}</td>" for column in columns)
        lines.append(f"<tr><th>{html.escape(method)}</th>{cells}</tr>")
    return f"<div><table><tr><th>method</th>{head}</tr>{''.join(lines)}</table></div>"


def _cell(row: Mapping[str, float | None], column: str, interval: Mapping[str, Any]) -> str:
    value, spread = row.get(column), row.get(f"{column}_sd")
    if value is None:
        return "-"
    text = f"{value:.3g}" + (f" <small>± {spread:.2g}</small>" if spread else "")
    if column in interval:
        low, high = interval[column]
        text += f"<br><small>[{low:.3g}, {high:.3g}]</small>"
    return text


def _units(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for run in runs:
        for unit, figures in run.get("units", {}).items():
            cells = "".join(f"<td>{html.escape(_shown(value))}</td>" for value in figures.values())
            head = "".join(f"<td>{html.escape(str(value))}</td>" for value in (run["method"], run["seed"], unit))
            lines.append((tuple(figures), f"<tr>{head}{cells}</tr>"))
    if not lines:
        return ""
    names = "".join(f"<th>{html.escape(name)}</th>" for name in ("method", "seed", "unit", *lines[0][0]))
    rows = "".join(line for _, line in lines)
    return f"<details><summary>By unit</summary><div><table><tr>{names}</tr>{rows}</table></div></details>"


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }
div { overflow-x: auto; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { border: 1px solid #bbb; padding: .3rem .6rem; text-align: right; vertical-align: top; }
th { background: #f2f2f2; } small { color: #555; } summary { cursor: pointer; margin-top: 1rem; }
</style></head><body>
{body}
</body></html>
"""
