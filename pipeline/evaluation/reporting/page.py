"""report.html: the document of an evaluation as a page for engineers. It loads nothing from a network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.evaluation.reporting import drawing

Rows = Mapping[str, Mapping[str, float | None]]

ASKED: Final = {
    "classification": "Methods are trained on some physical units and judged on others that were not used in training. "
    "Each window gets a class with a probability.",
    "trend": "Runs to failure: every rule is frozen on the first part of a run and judged on the rest of it.",
    "healthy": "Recordings of healthy machines only: every alarm is false, and every review is needless work.",
    "simulated": "Methods are trained on the findings about one simulated fleet, and judged by the truth about other "
    "fleets with other units. A simulated figure never supports a claim about real machines.",
}

DEPENDENT: Final = (
    "Recordings of one unit are not independent: they share its bearing, mount and drift. The intervals of rates below "
    "assume that they are (Clopper-Pearson), so they are narrower than the true uncertainty about another unit."
)

GROUPS: Final = (
    (
        "Discrimination between conditions",
        ("accuracy", "accuracy_vote", "blocked", "blocked_vote", "macro_auroc", "fault_auroc"),
    ),
    (
        "Quality of the probabilities",
        ("nll", "nll_scored", "brier", "ece", "adaptive_ece", "ece_by_unit", "slope_by_unit"),
    ),
    ("The credible band of the fault probability, 5 to 95 %", ("band_width", "band_coverage")),
    ("Does the uncertainty point to the errors", ("error_auroc", "aurc", "review_10")),
    ("What the rules send to review", ("review_rate", "wrong_reviewed", "blocked_reviewed")),
    (
        "Conditions that were not in the training",
        ("unseen_auroc_entropy", "unseen_auroc_mi", "unseen_auroc_novelty", "unseen_auroc_routed"),
    ),
    (
        "After a review of 10 % of the windows",
        (
            "missed_after_review_10",
            "unseen_class_reviewed_10",
            "unseen_program_reviewed_10",
            "fault_share",
        ),
    ),
)
"""Groups of columns; all other columns come last."""

HIGHER: Final = frozenset({"accuracy", "accuracy_vote", "macro_auroc", "fault_auroc", "error_auroc", "review_10"})
LOWER: Final = frozenset(
    {"nll", "nll_scored", "brier", "ece", "adaptive_ece", "ece_by_unit", "aurc", "missed_after_review_10"}
)


def report(document: Mapping[str, Any]) -> str:
    """Return the page as HTML, from the document that `pipeline.evaluation.run.document` returns."""
    kind, name = str(document["kind"]), html.escape(str(document["protocol"]))
    parts = [
        f"<header><h1>{name}</h1><p class='sub'>axiswatch evaluation, kind {html.escape(kind)}, state of the code "
        f"<code>{html.escape(str(document['commit']))}</code></p></header>",
        f"<h2>Question</h2><p>{html.escape(ASKED.get(kind, ''))}</p>",
        _data(document["data"], document["runs"]),
    ]
    if kind == "healthy":
        parts.append(f"<p class='note'>{html.escape(DEPENDENT)}</p>")
    parts.append("<h2>Results</h2>")
    parts.append(_legend_text(document.get("intervals", {}), document["summary"], document["runs"], kind))
    parts += _tables(document["summary"], document.get("intervals", {}))
    parts += _budget(document.get("review_budget"))
    parts += _curves(document.get("curves") or {}, document["data"])
    if document.get("leaked_summary"):
        parts.append("<h2>Leaked: units that were also in the training (not a fair test)</h2>")
        parts += _tables(document["leaked_summary"], {})
    for title, key in (("Notes", "notes"), ("Left out", "left_out")):
        entries = document.get(key)
        if entries:
            lines = [f"{count} {reason}" for reason, count in entries.items()] if isinstance(entries, dict) else entries
            items = "".join(f"<li>{html.escape(str(line))}</li>" for line in lines)
            parts.append(f"<h2>{title}</h2><ul>{items}</ul>")
    parts.append(_units(document["runs"]))
    parts.append("<h2>Protocol, settings and data</h2>")
    for title, key in (("Protocol", "protocol_read"), ("Settings", "settings"), ("Data", "data")):
        text = html.escape(json.dumps(document.get(key), ensure_ascii=False, indent=1))
        parts.append(f"<details><summary>{title}</summary><pre>{text}</pre></details>")
    return _PAGE.replace("{title}", name).replace("{body}", "\n".join(part for part in parts if part))


def _data(data: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    """Return a table of how much data was trained on and judged."""
    words = {"train": "trained on", "baseline": "baseline", "test": "judged", "unseen": "unseen"}
    lines = []
    for key, word in words.items():
        side = data.get(key)
        if isinstance(side, Mapping) and side.get("windows"):
            units = side["units"]
            lines.append((word, f"{side['windows']:,} windows of {units:,} unit{'' if units == 1 else 's'}"))
    if data.get("classes"):
        lines.append(("classes", ", ".join(map(str, data["classes"]))))
    if data.get("blocked"):
        counts = ", ".join(f"{count:,} {verdict}" for verdict, count in data["blocked"].items())
        lines.append(("judged, but blocked", f"{counts}: no score, so not right, whatever the method"))
    if data.get("recordings"):
        lines.append(("recordings read", f"{data['recordings']:,}"))
    seeds = sorted({run["seed"] for run in runs if run.get("seed") is not None})
    if len(seeds) > 1:
        lines.append(("seeds", f"{seeds[0]} to {seeds[-1]}"))
    rows = "".join(f"<tr><th>{html.escape(a)}</th><td>{html.escape(b)}</td></tr>" for a, b in lines)
    return f"<table class='facts'>{rows}</table>" if rows else ""


def _legend_text(intervals: Mapping[str, Any], summary: Rows, runs: Sequence[Mapping[str, Any]], kind: str) -> str:
    text = "Mean ± standard deviation over seeds." if len({run.get("seed") for run in runs}) > 1 else ""
    if kind == "healthy":
        text += " In brackets: 95 % intervals; recordings count as independent."
    elif any(intervals.values()):
        text += " In brackets: 95 % intervals by a bootstrap over physical units."
    elif kind != "trend":
        text += " No intervals: fewer than 10 units were judged."
    best = " Bold: the best row of a column." if len(summary) > 1 and kind not in ("trend", "healthy") else ""
    return f"<p class='sub'>{text} A dash: not defined.{best}</p>"


def _tables(summary: Rows, intervals: Mapping[str, Any]) -> list[str]:
    """Return one table for each group of columns, so that rows stay short enough to read."""
    columns = [c for c in dict.fromkeys(c for row in summary.values() for c in row) if not c.endswith("_sd")]
    grouped = {c for _, members in GROUPS for c in members}
    parts = []
    for title, members in (*GROUPS, ("", tuple(c for c in columns if c not in grouped))):
        own = [c for c in members if c in columns and any(row.get(c) is not None for row in summary.values())]
        if own:
            parts.append((f"<h3>{title}</h3>" if title else "") + _table(summary, intervals, own))
    return parts


def _table(summary: Rows, intervals: Mapping[str, Any], columns: Sequence[str]) -> str:
    best = {column: _best(summary, column) for column in columns}
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    lines = []
    for method, row in summary.items():
        cells = "".join(
            f"<td{' class=best' if best[c] is not None and row.get(c) == best[c] else ''}>"
            f"{_cell(row, c, intervals.get(method, {}))}</td>"
            for c in columns
        )
        lines.append(f"<tr><th>{html.escape(method)}</th>{cells}</tr>")
    return f"<div class='wide'><table><tr><th>method</th>{head}</tr>{''.join(lines)}</table></div>"


def _best(summary: Rows, column: str) -> float | None:
    values = [value for row in summary.values() if (value := row.get(column)) is not None]
    if len(values) < 2 or column not in HIGHER | LOWER:
        return None
    return max(values) if column in HIGHER else min(values)


def _cell(row: Mapping[str, float | None], column: str, interval: Mapping[str, Any]) -> str:
    value, spread = row.get(column), row.get(f"{column}_sd")
    if value is None:
        return "-"
    text = f"{value:.3g}" + (f" <small>± {spread:.2g}</small>" if spread else "")
    if column in interval:
        low, high = interval[column]
        text += f"<br><small>[{low:.3g}, {high:.3g}]</small>"
    return text


def _budget(budget: Mapping[str, Any] | None) -> list[str]:
    if not budget:
        return []
    names = ("review_rate", "cases_a_day", "fault_units", "missed_units", "miss_bound", "needed_units")
    head = "".join(f"<th>{html.escape(name)}</th>" for name in ("method", *names)) + "<th class='text'>reason</th>"
    lines = []
    for method, chosen in budget.items():
        cells = "".join(f"<td>{html.escape(_shown(chosen[name]))}</td>" for name in names)
        word = "refused" if chosen["threshold"] is None else "chosen"
        reason = f"<td class='text'><b>{word}</b>: {html.escape(chosen['reason'])}</td>"
        lines.append(f"<tr><th>{html.escape(method)}</th>{cells}{reason}</tr>")
    return [f"<h2>Review budget</h2><div class='wide'><table><tr>{head}</tr>{''.join(lines)}</table></div>"]


def _curves(curves: Mapping[str, Any], data: Mapping[str, Any]) -> list[str]:
    if not curves:
        return []
    what = "fault probability" if "healthy" in (data.get("classes") or ()) else "probability of the top class"
    return [
        "<h2>Reliability, and errors against coverage</h2>",
        drawing.legend(list(curves)),
        "<div class='pair'><figure>",
        drawing.reliability(curves, x=what),
        "<figcaption>On the dashed line, the stated probability equals the observed frequency. Below it, the method is "
        "too sure. Larger dots: more windows.</figcaption></figure><figure>",
        drawing.risk_coverage(curves),
        "<figcaption>Error if only the most certain windows are answered and the others go to review. The curve should "
        "rise to the right.</figcaption></figure></div>",
    ]


def _units(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return tables by unit, one for each method, of its first seed; methods with the same figures share one."""
    parts, seen = list[str](), list[Any]()
    for run in runs:
        units = run.get("units") or {}
        if not units or any(units == other for other in seen) or run.get("seed") not in (None, runs[0].get("seed")):
            continue
        seen.append(units)
        same = [r["method"] for r in runs if r.get("units") == units and r.get("seed") == run.get("seed")]
        names = list(dict.fromkeys(n for figures in units.values() for n in figures))
        head = "".join(f"<th>{html.escape(name)}</th>" for name in ("unit", *names))
        lines = "".join(
            f"<tr><th>{html.escape(unit)}</th>"
            + "".join(f"<td>{html.escape(_shown(figures.get(name)))}</td>" for name in names)
            + "</tr>"
            for unit, figures in units.items()
        )
        title = html.escape(", ".join(dict.fromkeys(same)))
        opened = " open" if len(units) <= 12 and not parts else ""
        parts.append(
            f"<details{opened}><summary>{title} ({len(units)} rows)</summary><div class='wide'><table><tr>{head}</tr>"
            f"{lines}</table></div></details>"
        )
    return "<h2>By unit (first seed)</h2>" + "".join(parts) if parts else ""


def _shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 72rem; margin: 2rem auto; padding: 0 1.5rem; }
header { border-bottom: 3px solid #1f5fa8; } h1 { margin: 0; font-size: 1.7rem; }
h2 { margin: 2.2rem 0 .6rem; font-size: 1.25rem; } h3 { margin: 1.2rem 0 0; font-size: 1rem; color: #444; }
.sub, figcaption { color: #555; font-size: .9rem; } .wide { overflow-x: auto; }
.note { border-left: 4px solid #c4541c; background: #fdf3ee; padding: .6rem .9rem; }
table { border-collapse: collapse; margin: .5rem 0 1rem; }
td, th { padding: .3rem .7rem; text-align: right; vertical-align: top; }
tr > th:first-child { text-align: left; white-space: nowrap; } th { font-weight: 600; background: #f4f6f8; }
td, th { border-bottom: 1px solid #dcdfe3; } .best { font-weight: 700; } .facts td, .text { text-align: left; }
td.text { min-width: 22rem; }
small { color: #666; font-weight: 400; } summary { cursor: pointer; margin-top: .8rem; }
pre { background: #f4f6f8; padding: .8rem; }
.pair { display: flex; flex-wrap: wrap; gap: 1.5rem; } figure { margin: 0; width: 30rem; max-width: 100%; }
svg { width: 100%; } svg path { fill: none; stroke-width: 1.8; } svg .grid { stroke: #e3e6ea; stroke-width: 1; }
svg .ideal { stroke: #777; stroke-dasharray: 5 4; } svg text { font: 12px system-ui, sans-serif; fill: #444; }
.legend span { margin-right: 1.2rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; }
</style></head><body>
{body}
</body></html>
"""
