"""Triggers by time and by news: the last training is old, or there are labels that no training has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.watch.triggers.decision import Decision

SCHEDULE: Final = "schedule"
NEW_LABELS: Final = "new_labels"


@dataclass(frozen=True)
class NewLabel:
    """A label that no retraining has seen.

    Attributes
    ----------
    unit : str
        Physical unit.
    target : str or None
        Class that the label trains; None: it trains none (unsure, or a fault of sensor or data).
    verdict : str
        What the person recorded.
    """

    unit: str
    target: str | None
    verdict: str


def schedule(age_days: float | None, *, max_age_days: float) -> Decision:
    """Fire when the last training is old.

    Parameters
    ----------
    age_days
        Days since the champion's label cut-off, or since the last retraining if that is later: a retraining that kept
        the champion has confirmed it. None: there is no champion.
    max_age_days
        Age at which it fires, days; 0: never.
    """
    figures = {"age_days": age_days, "max_age_days": max_age_days}
    if age_days is None:
        return Decision(SCHEDULE, False, "there is no champion yet", figures)
    if max_age_days <= 0:
        return Decision(SCHEDULE, False, "retraining by age is switched off", figures)
    fired = age_days >= max_age_days
    age = f"the last training was {age_days:.1f} days ago"
    if fired:
        return Decision(SCHEDULE, True, f"{age}, a retraining is due after {max_age_days:g} days", figures)
    return Decision(SCHEDULE, False, f"{age}, a retraining is due only after {max_age_days:g} days", figures)


def new_labels(
    new: Sequence[NewLabel],
    *,
    withdrawn: int = 0,
    late: int = 0,
    known_classes: Collection[str] | None,
    min_labels: int,
    min_kind_units: int,
) -> Decision:
    """Fire when there are enough new labels, or enough units with a kind of fault that the champion does not know.

    Parameters
    ----------
    new
        Labels that no retraining has seen and that were not withdrawn.
    withdrawn
        Number of labels that the last training used and that were withdrawn since. The training set of the champion is
        wrong by that many, so they count like new labels.
    late
        Number of labels that were recorded after the last training with a time before it. Their kind and scope are not
        known here; they count like new labels.
    known_classes
        Classes of the champion; None: there is no champion, and one new label is enough.
    min_labels
        New labels that are enough, 1 or more. `unsure` and faults of sensor or data train no class: they are counted
        separately and are not enough however many they are.
    min_kind_units
        Units with a kind of fault unknown to the champion that are enough, 1 or more.
    """
    useful = [label for label in new if label.target is not None]
    units: dict[str, set[str]] = {}
    for label in useful:
        units.setdefault(str(label.target), set()).add(label.unit)
    unknown = sorted(set(units) - set(known_classes or ()))
    not_trained_on = dict(sorted(Counter(label.verdict for label in new if label.target is None).items()))
    n_units = len({label.unit for label in useful})
    figures: dict[str, Any] = {
        "new": len(useful),
        "units": n_units,
        "classes": {name: len(members) for name, members in sorted(units.items())},
        "not_trained_on": not_trained_on,
        "withdrawn": withdrawn,
        "late": late,
        "new_kinds": {name: len(units[name]) for name in unknown},
        "min_labels": min_labels,
        "min_kind_units": min_kind_units,
    }
    parts = [f"{len(useful)} new labels on {n_units} units"]
    parts += [f"{count} {verdict} (not counted)" for verdict, count in not_trained_on.items()]
    parts += [f"{withdrawn} withdrawn since the last training"] * (withdrawn > 0)
    parts += [f"{late} recorded late"] * (late > 0)
    news = ", ".join(parts)
    if known_classes is None:
        return Decision(NEW_LABELS, bool(useful) or late > 0, f"{news}; there is no champion yet", figures)
    if len(useful) + withdrawn + late >= min_labels:
        return Decision(NEW_LABELS, True, f"{news}; {min_labels} are enough", figures)
    enough = [name for name in unknown if len(units[name]) >= min_kind_units]
    if enough:
        text = f"{news}; the champion does not know {', '.join(enough)}"
        return Decision(NEW_LABELS, True, text, figures)
    return Decision(NEW_LABELS, False, f"{news}; {min_labels} are needed", figures)
