"""The results of inspections: the rows of labels.csv."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from pipeline.labels.words import Component, Evidence, Severity, Verdict
from pipeline.simulation.fleet import AxisPlan, draw_fleet
from pipeline.simulation.seeds import Stream, generator
from pipeline.simulation.settings import FleetSettings


def stamp(moment: datetime) -> str:
    """Return a time in the form of CSV and TOML files: ISO 8601, UTC, to the second."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class _Proof:
    evidence: Evidence
    confidence: float


def _proof(settings: FleetSettings, plan: AxisPlan, *, torn_down: bool) -> _Proof:
    rng = generator(settings.seed, settings.world, Stream.FINDING, plan.index)
    if torn_down:
        return _Proof(Evidence.TEARDOWN, round(float(rng.uniform(0.97, 1.0)), 2))
    # A fault is rarely recorded from the signal alone.
    if rng.uniform() < (0.7 if plan.installations[0].course is None else 0.85):
        return _Proof(Evidence.INSPECTED, round(float(rng.uniform(0.85, 0.97)), 2))
    return _Proof(Evidence.SIGNAL_ONLY, round(float(rng.uniform(0.6, 0.8)), 2))


def _urgency(severity: float) -> Severity:
    for bound, word in ((0.4, Severity.MONITOR), (0.65, Severity.PLAN), (0.9, Severity.URGENT)):
        if severity < bound:
            return word
    return Severity.STOP


def finding(settings: FleetSettings, plan: AxisPlan) -> dict[str, str] | None:
    """Return the finding about an axis as a row of labels.csv, or None.

    The range of a fault is from the day on which it became visible (or the start of the run) to the inspection. The
    range of a healthy finding begins in the first tenth of the run. A finding is known one to two days after the
    inspection, or sooner where the rest of the run is short: at most half of the rest has passed then.
    """
    if math.isnan(plan.finding_day):
        return None
    first = plan.installations[0]
    course = first.course
    rng = generator(settings.seed, settings.world, Stream.FINDING, plan.index, 1)
    delay = min(float(rng.uniform(1.0, 2.0)), max(0.5 * (settings.days - plan.finding_day), 1.0 / 24.0))
    proof = _proof(settings, plan, torn_down=first.removed_day is not None)
    row = {
        "site": settings.site,
        "cell": plan.cell,
        "robot_id": plan.robot_id,
        "axis": plan.axis,
        "channel": "",
        "unit_serial": first.unit_serial,
        "to_at": stamp(settings.at(plan.finding_day)),
        "component": "",
        "mode": "",
        "cause": "",
        "severity": "",
        "evidence": proof.evidence.value,
        "confidence": f"{proof.confidence:.2f}",
        "known_at": stamp(settings.at(plan.finding_day + delay)),
    }
    if course is None:
        from_day = float(rng.uniform(0.0, 0.1)) * settings.days
        row |= {"verdict": Verdict.HEALTHY.value, "note": "inspected, nothing found"}
    else:
        from_day = max(course.visible_day, 0.0)
        row |= {"verdict": Verdict.FAULT.value, "severity": _urgency(course.severity(plan.finding_day)).value}
        if plan.mode_unknown:
            row["note"] = "rough running, cause not found"
        else:
            component = Component.GEAR if course.mode == "gear_tooth" else Component.BEARING
            row |= {"component": component.value, "mode": course.mode, "note": "found at the inspection"}
    row["from_at"] = stamp(settings.at(from_day))
    return row


def findings(settings: FleetSettings) -> list[dict[str, str]]:
    """Return all findings as rows of labels.csv, in order of `known_at`."""
    rows = [row for plan in draw_fleet(settings) if (row := finding(settings, plan)) is not None]
    return sorted(rows, key=lambda row: (row["known_at"], row["unit_serial"]))
