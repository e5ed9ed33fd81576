"""Compare the cases of a simulated fleet with the simulation's truth. Nothing else reads truth.csv."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.base.ids import axis_id, recording_id
from pipeline.cases.axis_state import MACHINE_CODES
from pipeline.store.database import Store
from pipeline.store.tables import AxisState, Case, Label

OUTCOMES = ("alarm", "review", "data case", "nothing")
KINDS = (
    "known fault",
    "fault class never trained",
    "program never trained",
    "sensor fault",
    "silent",
    "fault too small to see",
    "healthy",
)


@dataclass(frozen=True)
class AxisTruth:
    """The true condition of an axis, and the time from which on it could be seen."""

    axis_id: str
    kind: str
    since: datetime | None
    has_finding: bool


@dataclass(frozen=True)
class RecordingTruth:
    """The truth about a recording, see docs/simulation.md."""

    mode: str
    severity: float
    visible: bool
    unseen_class: bool
    unseen_program: bool
    sensor_fault: str


def read_recording_truth(folder: Path) -> dict[str, RecordingTruth]:
    """Read truth.csv of a simulated fleet; return the truth about each recording, by its id."""
    truth = {}
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            axis = axis_id(row["site"], row["cell"], row["robot_id"], row["axis"])
            truth[recording_id(axis, row["channel"], datetime.fromisoformat(row["started_at"]))] = RecordingTruth(
                row["mode"],
                float(row["severity"]),
                row["visible"] == "true",
                row["unseen_class"] == "true",
                row["unseen_program"] == "true",
                row["sensor_fault"],
            )
    return truth


def judge_fleet(store: Store, folder: Path) -> dict[str, Any]:
    """Count the outcomes of axes, by their true condition.

    Axes with findings (their units may be in the training set) and axes without are counted apart: only the latter are
    a fair test. Where an axis has several troubles, the first in `KINDS` counts.

    Returns
    -------
    dict
        `axes`: kind -> with/without findings -> outcome -> axes; `review_rate`: share of scored axis bins that are
        flagged for review (doubts, not alarms); `bins`: their number.
    """
    with store.read() as connection:
        findings = {row for row in connection.scalars(sa.select(Label.axis_id).distinct()) if row}
        cases = connection.execute(sa.select(Case)).all()
        states = connection.execute(sa.select(AxisState.state, AxisState.flags).where(AxisState.n_windows > 0)).all()
    counted: dict[str, dict[str, Counter[str]]] = {
        kind: {"with findings": Counter(), "without findings": Counter()} for kind in KINDS
    }
    for truth in read_truth(folder, findings):
        own = [
            case
            for case in cases
            if case.axis_id == truth.axis_id and (truth.since is None or case.last_at >= truth.since)
        ]
        group = "with findings" if truth.has_finding else "without findings"
        counted[truth.kind][group][outcome_of(own)] += 1
    doubts = set(MACHINE_CODES) - {"fault"}
    reviewed = sum(any(flag["code"] in doubts for flag in row.flags) for row in states)
    return {
        "axes": {
            kind: {group: {name: count[name] for name in OUTCOMES} for group, count in groups.items()}
            for kind, groups in counted.items()
        },
        "review_rate": reviewed / len(states) if states else None,
        "bins": len(states),
    }


def outcome_of(cases: list[Any]) -> str:
    """Return the strongest outcome of an axis's cases: an alarm, a review, a data case, or nothing."""
    codes = {reason["code"] for case in cases for reason in case.reasons}
    if "fault" in codes:
        return "alarm"
    if codes & set(MACHINE_CODES):
        return "review"
    return "data case" if codes else "nothing"


def read_truth(folder: Path, findings: set[str]) -> list[AxisTruth]:
    """Read truth.csv and simulation.json of a simulated fleet; return one entry for each axis.

    Parameters
    ----------
    folder
        Where the simulation wrote them.
    findings
        Ids of the axes that have findings.
    """
    rows: dict[str, list[dict[str, str]]] = {}
    with (folder / "truth.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = axis_id(row["site"], row["cell"], row["robot_id"], row["axis"])
            rows.setdefault(key, []).append(row)
    silent = json.loads((folder / "simulation.json").read_text(encoding="utf-8")).get("silent", [])
    quiet = {
        axis_id(*(item[name] for name in ("site", "cell", "robot_id", "axis"))): datetime.fromisoformat(
            item["silent_from"]
        )
        for item in silent
    }
    return [_axis_truth(key, own, quiet.get(key), key in findings) for key, own in sorted(rows.items())]


def _axis_truth(key: str, rows: list[dict[str, str]], silent_from: datetime | None, has_finding: bool) -> AxisTruth:
    def first(column: str, *also: str) -> datetime | None:
        matching = [row for row in rows if all(row[name] not in ("", "false") for name in (column, *also))]
        return min((datetime.fromisoformat(row["started_at"]) for row in matching), default=None)

    known = [row for row in rows if row["visible"] == "true" and row["unseen_class"] == "false"]
    since_known = min((datetime.fromisoformat(row["started_at"]) for row in known), default=None)
    for kind, since in (
        ("known fault", since_known),
        ("fault class never trained", first("unseen_class", "visible")),
        ("program never trained", first("unseen_program")),
        ("sensor fault", first("sensor_fault")),
        ("silent", silent_from),
        ("fault too small to see", first("mode")),
    ):
        if since is not None:
            return AxisTruth(key, kind, since, has_finding)
    return AxisTruth(key, "healthy", None, has_finding)
