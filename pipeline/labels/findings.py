"""From labels to the finding of a recording: which label is valid for it, the class that it trains, and its weight.

Training and the gate use the same rule, so a challenger is judged by the same findings that a training would learn. The
review application imports `pipeline.labels` without models, so nothing that it imports may import this file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.kinds import HEALTHY, UNKNOWN_FAULT
from pipeline.labels.labels import KnownLabel, label_for, question_id
from pipeline.labels.words import IS_FAULT, Verdict, evidence_weight

NO_WEIGHT = "evidence of weight 0"
"""Reason why a label that names a class is left out."""


@dataclass(frozen=True)
class Finding:
    """The finding of one recording.

    `target` is a class: healthy, a mode, or 'fault_unknown'. `weight` is the weight of the evidence, above 0. `label`
    is the label that it comes from.
    """

    target: str
    weight: float
    label: KnownLabel


class Findings:
    """The labels known at a time, ready to be looked up by recording."""

    def __init__(self, labels: Iterable[KnownLabel], evidence_weights: Mapping[str, float]) -> None:
        """Index labels by unit.

        Parameters
        ----------
        labels
            Known at a time, see `pipeline.labels.labels.known_labels`.
        evidence_weights
            Weight of a finding by its evidence, see `evidence_weight`.
        """
        self._weights = evidence_weights
        self._by_unit: dict[str | None, list[KnownLabel]] = {}
        for label in labels:
            self._by_unit.setdefault(label.unit_serial, []).append(label)

    def of(self, row: Any) -> Finding | None:
        """Return the finding of a recording; None where no label is valid for it, or that label trains nothing.

        Parameters
        ----------
        row
            Has axis_id, unit_serial (None: not known), channel and started_at.
        """
        label = self.label_of(row)
        return None if label is None else self.finding_of(label)

    def label_of(self, row: Any) -> KnownLabel | None:
        """Return the label that is valid for a recording (a row as in `of`), even if it trains nothing."""
        of_unit = self._by_unit.get(row.unit_serial, []) if row.unit_serial else []
        return label_for(
            self._by_unit.get(None, []) + of_unit,
            axis=row.axis_id,
            unit_serial=row.unit_serial,
            channel=row.channel,
            started_at=row.started_at,
        )

    def finding_of(self, label: KnownLabel) -> Finding | None:
        """Return the finding of a label; None where it names no class, or its evidence has weight 0."""
        target, weight = target_of(label), evidence_weight(self._weights, label.evidence)
        return Finding(target, weight, label) if target is not None and weight > 0 else None


@dataclass(frozen=True)
class Answered:
    """Labels known at a time after the answers to questions about them.

    `standing`: those that no answer overrules, in their order. `confirmed`: ids of the labels that were confirmed, and
    of the answers to questions; nobody is asked about them again.
    """

    standing: list[KnownLabel]
    confirmed: frozenset[str]


def answered(labels: Iterable[KnownLabel]) -> Answered:
    """Apply the newest answer to each question whether a label is right (labels in order of `known_at`).

    An answer of the same class confirms the label; any other one but `unsure` overrules it.
    """
    known = list(labels)
    answers = {label.case_id: label for label in known if label.case_id and label.verdict is not Verdict.UNSURE}
    overruled: set[str] = set()
    confirmed: set[str] = set()
    for label in known:
        answer = answers.get(question_id(label.label_id)) if answers else None
        if answer is not None:
            confirmed |= {label.label_id, answer.label_id}
            if target_of(answer) != target_of(label):
                overruled.add(label.label_id)
    return Answered([label for label in known if label.label_id not in overruled], frozenset(confirmed - overruled))


def target_of(label: KnownLabel) -> str | None:
    """Return the class that a label trains: healthy, a mode, or 'fault_unknown'; None where it trains nothing.

    A benign change trains healthy. Sensor faults and 'unsure' say nothing about the machine and train nothing.
    """
    is_fault = IS_FAULT.get(label.verdict)
    if is_fault:
        return str(label.mode) if label.mode is not None else UNKNOWN_FAULT
    return None if is_fault is None else HEALTHY


def why_left_out(label: KnownLabel) -> str:
    """Return the reason why `Findings.finding_of` has no finding for a label, as reports count it."""
    return str(label.verdict) if target_of(label) is None else NO_WEIGHT
