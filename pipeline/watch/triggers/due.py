"""Triggers by time and by news: the last training is old, or there are labels that the champion has not learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from pipeline.watch.triggers.decision import Decision

SCHEDULE: Final = "schedule"
NEW_LABELS: Final = "new_labels"


@dataclass(frozen=True)
class NewLabel:
    """A label that the champion has not learned.

    Attributes
    ----------
    unit : str
        Physical unit.
    target : str or None
        Class that the label trains; None: it trains none.
    verdict : str
        What the person recorded. Of a label that trains nothing: why, its verdict or the weight of its evidence.
    tried : bool
        Whether the last retraining had it, and did not lead to a new champion.
    """

    unit: str
    target: str | None
    verdict: str
    tried: bool = False


@dataclass(frozen=True)
class News:
    """What a champion has not learned: labels, and changes of those that it has learned.

    Attributes
    ----------
    labels : sequence of NewLabel
        Labels that were not in its training set. Those that a training set aside are counted in `set_aside` alone.
    withdrawn, late : int
        Labels that it has learned and that were withdrawn since, and labels that were recorded after its training with
        a time before it. A training set is wrong by that many, so they count like labels.
    withdrawn_since, late_since : int
        The same since the last attempt: the last retraining, whatever came of it.
    set_aside : int
        Labels that were set aside because the models contradict them, and that no further label has confirmed.
    learned_units : int
        Number of units in the champion's training set.
    """

    labels: Sequence[NewLabel]
    withdrawn: int = 0
    late: int = 0
    withdrawn_since: int = 0
    late_since: int = 0
    set_aside: int = 0
    learned_units: int = 0

    @property
    def to_learn_from(self) -> int:
        """Number of changes of the training set since the last attempt; 0: training again gives the same model."""
        fresh = sum(label.target is not None and not label.tried for label in self.labels)
        return fresh + self.withdrawn_since + self.late_since

    @property
    def findings(self) -> int:
        """Number of findings that the champion has not learned, one for each unit and class, and of changed ones."""
        found = {(label.unit, label.target) for label in self.labels if label.target is not None}
        return len(found) + self.withdrawn + self.late

    def new_kinds(self, known_classes: Collection[str], *, min_units: int) -> list[str]:
        """Return the classes that the champion does not know and that at least `min_units` units have."""
        units = _units_of(label for label in self.labels if label.target is not None)
        return [name for name in sorted(set(units) - set(known_classes)) if len(units[name]) >= min_units]


def schedule(age_days: float | None, *, max_age_days: float, to_learn_from: int) -> Decision:
    """Fire when the last training is old and there is something to learn from.

    Parameters
    ----------
    age_days
        Days since the champion's label cut-off, or since the last retraining if that is later: a retraining that kept
        the champion has confirmed it. None: there is no champion.
    max_age_days
        Age at which it fires, days; 0: never.
    to_learn_from
        Changes of the training set since then, see `News`.
    """
    figures = {"age_days": age_days, "max_age_days": max_age_days, "to_learn_from": to_learn_from}
    if age_days is None:
        return Decision(SCHEDULE, False, "there is no champion yet", figures)
    if max_age_days <= 0:
        return Decision(SCHEDULE, False, "retraining by age is switched off", figures)
    age = f"the last training was {age_days:.1f} days ago"
    if age_days < max_age_days:
        return Decision(SCHEDULE, False, f"{age}, a retraining is due only after {max_age_days:g} days", figures)
    if not to_learn_from:
        text = "there is no label since then, so training again would give the same model"
        return Decision(SCHEDULE, False, f"{age}, but {text}", figures)
    return Decision(SCHEDULE, True, f"{age}, a retraining is due after {max_age_days:g} days", figures)


def new_labels(
    news: News,
    *,
    known_classes: Collection[str] | None,
    min_findings: int,
    min_kind_units: int,
    growth: float,
) -> Decision:
    """Fire when there is enough that the champion has not learned, and enough of it since the last attempt.

    What a label teaches depends on how many there were: so what is needed since the last attempt is a share of what
    that attempt knew. Labels of a refused attempt stay new, and the same labels start nothing twice.

    Parameters
    ----------
    news
        What the champion has not learned. `unsure` and faults of sensor or data, and evidence of weight 0, train no
        class: they are counted separately and are not enough however many they are.
    known_classes
        Classes of the champion; None: there is no champion, and one label since the last attempt is enough.
    min_findings
        Findings not learned that are enough.
    min_kind_units
        Units with a kind of fault unknown to the champion that are enough, 1 or more.
    growth
        What has to be new since the last attempt, as a share of the units and labels that the attempt knew, 0 or more.
        One label at least; of a kind of fault, units are counted in the same way.
    """
    useful = [label for label in news.labels if label.target is not None]
    tried = [label for label in useful if label.tried]
    units, before = _units_of(useful), _units_of(tried)
    unknown = sorted(set(units) - set(known_classes or ()))
    not_trained_on = dict(sorted(Counter(label.verdict for label in news.labels if label.target is None).items()))
    n_units = len({label.unit for label in useful})
    total, since = len(useful) + news.withdrawn + news.late, news.to_learn_from
    needed = _needed(news.learned_units + max(total - since, 0), growth)
    figures: dict[str, Any] = {
        "not_learned": len(useful),
        "findings": news.findings,
        "since_last_attempt": len(useful) - len(tried),
        "units": n_units,
        "learned_units": news.learned_units,
        "classes": {name: len(members) for name, members in sorted(units.items())},
        "not_trained_on": not_trained_on,
        "set_aside": news.set_aside,
        "withdrawn": news.withdrawn,
        "late": news.late,
        "withdrawn_since": news.withdrawn_since,
        "late_since": news.late_since,
        "new_kinds": {name: len(units[name]) for name in unknown},
        "min_findings": min_findings,
        "min_kind_units": min_kind_units,
        "needed_since": needed,
        "growth": growth,
    }
    parts = [f"{len(useful)} labels not learned, {len(useful) - len(tried)} of them since the last attempt"]
    parts += [f"{count} {why} (not counted)" for why, count in not_trained_on.items()]
    parts += [f"{news.set_aside} set aside until a further label confirms them"] * (news.set_aside > 0)
    parts += [f"{news.withdrawn} learned ones withdrawn"] * (news.withdrawn > 0)
    parts += [f"{news.late} recorded late"] * (news.late > 0)
    text = ", ".join(parts)
    if known_classes is None:
        return Decision(NEW_LABELS, since > 0, f"{text}; there is no champion yet", figures)
    wanted = f"{min_findings} findings not learned and {needed} changes since the last attempt"
    if news.findings >= min_findings and since >= needed:
        return Decision(NEW_LABELS, True, f"{text}; {wanted} are enough", figures)
    enough = [
        name
        for name in news.new_kinds(known_classes, min_units=min_kind_units)
        if len(units[name] - before.get(name, set())) >= _needed(len(before.get(name, ())), growth)
    ]
    if enough:
        return Decision(NEW_LABELS, True, f"{text}; the champion does not know {', '.join(enough)}", figures)
    return Decision(NEW_LABELS, False, f"{text}; {wanted} are needed", figures)


def _units_of(labels: Iterable[NewLabel]) -> dict[str, set[str]]:
    """Return the units of each class."""
    units: dict[str, set[str]] = {}
    for label in labels:
        units.setdefault(str(label.target), set()).add(label.unit)
    return units


def _needed(known: int, growth: float) -> int:
    """Return how many have to be new where so many were known; one at least."""
    return max(1, ceil(growth * known - 1e-9))
