"""Questions about labels: a label that both models contradict is asked about again, by a case of its own.

The case of a question has an id that follows from the label, so nothing else has to be stored: a label that names this
case is the answer. An answer of the same class confirms the label; any other one but `unsure` overrules it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pipeline.base.ids import stable_id
from pipeline.labels.labels import KnownLabel
from pipeline.labels.words import Verdict

CONFIRM: Final = "confirm"
"""Family of the cases that ask about a label, and the code of their only reason."""


def question_id(label_id: str) -> str:
    """Return the id of the case that asks about a label."""
    return stable_id(label_id, CONFIRM, length=12)


@dataclass(frozen=True)
class Answered:
    """Labels known at a time after the answers to questions about them.

    `standing`: those that no answer overrules, in their order. `confirmed`: ids of the labels that were confirmed, and
    of the answers to questions; nobody is asked about them again.
    """

    standing: list[KnownLabel]
    confirmed: frozenset[str]


def answered(labels: Iterable[KnownLabel]) -> Answered:
    """Apply the newest answer to each question (labels in order of `known_at`)."""
    known = list(labels)
    answers = {label.case_id: label for label in known if label.case_id and label.verdict is not Verdict.UNSURE}
    overruled: set[str] = set()
    confirmed: set[str] = set()
    for label in known:
        answer = answers.get(question_id(label.label_id)) if answers else None
        if answer is not None:
            confirmed |= {label.label_id, answer.label_id}
            if _says(answer) != _says(label):
                overruled.add(label.label_id)
    return Answered([label for label in known if label.label_id not in overruled], frozenset(confirmed - overruled))


def _says(label: KnownLabel) -> tuple[object, ...]:
    benign = label.verdict in (Verdict.HEALTHY, Verdict.BENIGN_CHANGE)
    return (Verdict.HEALTHY,) if benign else (label.verdict, label.mode)
