"""The words of a finding: verdict, part, failure mode, cause, severity, evidence; and the bearing line of each mode.

One list for the command line, the web application, `labels.csv` and training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final


class Verdict(StrEnum):
    """The result of an examination."""

    HEALTHY = "healthy"
    FAULT = "fault"
    SENSOR_OR_DATA = "sensor_or_data"
    BENIGN_CHANGE = "benign_change"
    UNSURE = "unsure"


class Component(StrEnum):
    """The part that the finding is about."""

    BEARING = "bearing"
    GEAR = "gear"
    REDUCER = "reducer"
    MOTOR = "motor"
    BELT = "belt"
    BRAKE = "brake"
    SENSOR = "sensor"
    CABLE = "cable"
    OTHER = "other"


class Mode(StrEnum):
    """The failure mode. Where it is not known the label's mode is empty: 'fault, mode unknown'."""

    INNER_RACE = "inner_race"
    OUTER_RACE = "outer_race"
    BALL = "ball"
    CAGE = "cage"
    GEAR_TOOTH = "gear_tooth"
    GEAR_WEAR = "gear_wear"
    LUBRICATION = "lubrication"
    LOOSENESS = "looseness"
    MISALIGNMENT = "misalignment"
    IMBALANCE = "imbalance"
    OTHER = "other"


class Cause(StrEnum):
    """Why a signal looked unusual although the machine is not faulty."""

    NEW_PROGRAM = "new_program"
    NEW_LOAD = "new_load"
    NEW_SPEED = "new_speed"
    NEW_UNIT = "new_unit"
    MAINTENANCE = "maintenance"
    TEMPERATURE = "temperature"
    SENSOR_FAULT = "sensor_fault"
    CABLE_FAULT = "cable_fault"
    CLOCK_FAULT = "clock_fault"
    OTHER = "other"


class Severity(StrEnum):
    """How soon action is needed."""

    MONITOR = "monitor"
    PLAN = "plan"
    URGENT = "urgent"
    STOP = "stop"


class Evidence(StrEnum):
    """How the finding is known, weakest first."""

    SIGNAL_ONLY = "signal_only"
    INSPECTED = "inspected"
    TEARDOWN = "teardown"


IS_FAULT: Final = {Verdict.HEALTHY: False, Verdict.BENIGN_CHANGE: False, Verdict.FAULT: True}
"""What a verdict says about the machine; the other verdicts say nothing about it, and so teach nothing."""

HEALTHY_VERDICTS: Final = frozenset(verdict for verdict, is_fault in IS_FAULT.items() if not is_fault)

STRENGTH: Final = {evidence: index for index, evidence in enumerate(Evidence)}
"""Rank of each evidence: the higher, the stronger."""


def evidence_weight(weights: Mapping[str, float], evidence: str) -> float:
    """Return the weight of a finding by its evidence; 1 for evidence that is not listed."""
    return weights.get(str(evidence), 1.0)


LABEL_CSV_COLUMNS: Final = (
    "site",
    "cell",
    "robot_id",
    "axis",
    "channel",
    "unit_serial",
    "from_at",
    "to_at",
    "verdict",
    "component",
    "mode",
    "cause",
    "severity",
    "evidence",
    "confidence",
    "known_at",
    "note",
)
"""Columns of labels.csv. An empty cell means not known. Times are ISO 8601 with an offset; the range is
[from_at, to_at). A label targets a unit (`unit_serial`) or an axis (site, cell, robot_id, axis), optionally one
channel.
"""

EXPORTED_COLUMNS: Final = ("label_id", "axis_id", "who", "case_id", "withdrawn_at")
"""Columns that `export labels` has besides. With them a label keeps its identity, its author and its case."""


LINES: Final = {
    Mode.OUTER_RACE: "ses_white_bpfo_h1_db",
    Mode.INNER_RACE: "ses_white_bpfi_h1_db",
    Mode.BALL: "ses_white_bsf2x_h1_db",
    Mode.CAGE: "ses_white_ftf_h1_db",
}
"""The line of each bearing fault in the squared envelope spectrum of the prewhitened signal. Source: R. B. Randall and
J. Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical Systems and Signal Processing 25 (2011)."""


def mode_of(word: str | None) -> Mode:
    """Return the failure mode that a class is named after; `Mode.OTHER` where there is none."""
    return Mode(word) if word in set(Mode) else Mode.OTHER


def unmodelled_modes(modes: Sequence[str | None]) -> tuple[Mode, ...]:
    """Return the failure modes that have a bearing line and are not among `modes` (names of classes or modes)."""
    known = {mode_of(mode) for mode in modes}
    return tuple(mode for mode in LINES if mode not in known)
