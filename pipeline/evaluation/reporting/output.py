"""The files of an evaluation: evaluation.json, and report.html with the same figures for people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pipeline.evaluation.reporting.page import report

Summary = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class EvaluationResult:
    """The result of an evaluation.

    Attributes
    ----------
    runs : list of dict
        One per method and seed: method, seed, metrics, leaked (metrics of units trained on too, or None), units, notes.
    intervals : dict
        (low, high) by method and column, where there is an interval.
    about : dict
        Classes, features, and numbers of windows and units trained on and judged.
    notes : list of str
        Sentences for the reader of the report.
    left_out : dict
        Number of windows that the kind leaves out, by reason.
    curves : dict
        Reliability and risk-coverage by method, where the kind has them.
    review_budget : dict
        By method a threshold, or the reason why there is none, where a miss rate was asked for.
    """

    runs: list[dict[str, Any]]
    intervals: dict[str, dict[str, tuple[float, float]]]
    about: dict[str, Any]
    notes: list[str]
    left_out: dict[str, int]
    curves: dict[str, Any] = field(default_factory=dict)
    review_budget: dict[str, Any] = field(default_factory=dict)


def summarise(runs: Sequence[Mapping[str, Any]], key: str = "metrics") -> Summary:
    """Return the mean and the standard deviation (ddof 1) over seeds of every figure, by method.

    `COLUMN` is None where a seed does not define it; so is `COLUMN_sd`, also where there is only one seed.
    """
    summary: Summary = {}
    for method in dict.fromkeys(run["method"] for run in runs):
        own = [run[key] for run in runs if run["method"] == method and run[key] is not None]
        row: dict[str, float | None] = {}
        for column in own[0] if own else ():
            values = [metrics[column] for metrics in own]
            defined = all(value is not None and math.isfinite(value) for value in values)
            row[column] = fmean(values) if defined else None
            row[f"{column}_sd"] = stdev(values) if defined and len(values) > 1 else None
        summary[method] = row
    return summary


def write(folder: Path, document: Mapping[str, Any]) -> tuple[Path, Path]:
    """Write both files into a folder, which is made if needed; files of an earlier evaluation are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False, sort_keys=False)
    paths = folder / "evaluation.json", folder / "report.html"
    for path, content in zip(paths, (text + "\n", report(document)), strict=True):
        aside = path.with_name(f".{path.name}.part")
        aside.write_text(content, encoding="utf-8", newline="")
        aside.replace(path)
    return paths
