"""Due by the calendar, or by the findings that no retraining has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.watch.triggers.decision import Decision

SCHEDULE = "schedule"


def schedule(age_days: float | None, *, max_age_days: float) -> Decision:
    """Fire when the champion's age has reached a limit.

    Parameters
    ----------
    age_days
        Days since the champion's label cut-off, or since the last retraining if that is later: one that kept the
        champion has just found it good. None: there is no champion.
    max_age_days
        Age at which it fires, days; 0: never.
    """
    figures = {"age_days": age_days, "max_age_days": max_age_days}
    if age_days is None:
        return Decision(SCHEDULE, False, "there is no champion whose age could be told", figures)
    if max_age_days <= 0:
        return Decision(SCHEDULE, False, "no age is set at which a champion is trained anew", figures)
    fired = age_days >= max_age_days
    told = f"{age_days:.1f} days since the last training, {max_age_days:g} are allowed"
    return Decision(SCHEDULE, fired, f"{told}: it is due" if fired else told, figures)


NEW_LABELS = "new_labels"
HEALTHY = "healthy"


@dataclass(frozen=True)
class NewLabel:
    """A new label: its physical unit and the class that it trains; None: it trains none (unsure, a data fault)."""

    unit: str
    target: str | None
    verdict: str


def new_labels(
    new: Sequence[NewLabel],
    *,
    withdrawn: int = 0,
    late: int = 0,
    known_classes: Collection[str] | None,
    min_labels: int,
    min_kind_units: int,
) -> Decision:
    """Fire when enough findings are new, or a kind of fault that the champion does not know.

    Parameters
    ----------
    new
        Labels that no retraining has seen and nobody took back.
    withdrawn
        Labels that the last retraining had and that were taken back since: its training set is wrong by so many, so
        they count as findings do.
    late
        Labels that were brought in only after the last retraining, known at a time before it; of which kind and of
        which scope is not known, they count as findings.
    known_classes
        Classes of the champion; None: there is no champion, and one finding is enough.
    min_labels
        New findings that train a class, 1 or more. `unsure` and data faults are counted apart and do not count here.
    min_kind_units
        Units of a class that the champion does not know, 1 or more.
    """
    useful = [one for one in new if one.target is not None]
    units: dict[str, set[str]] = {}
    for one in useful:
        units.setdefault(str(one.target), set()).add(one.unit)
    unknown = sorted(set(units) - set(known_classes or ()))
    figures: dict[str, Any] = {
        "new": len(useful),
        "units": len({one.unit for one in useful}),
        "classes": {name: len(members) for name, members in sorted(units.items())},
        "not_trained_on": dict(sorted(Counter(one.verdict for one in new if one.target is None).items())),
        "withdrawn": withdrawn,
        "late": late,
        "new_kinds": {name: len(units[name]) for name in unknown},
        "min_labels": min_labels,
        "min_kind_units": min_kind_units,
    }
    apart = "".join(f", {count} {verdict} apart" for verdict, count in figures["not_trained_on"].items())
    told = f"{len(useful)} new findings on {figures['units']} units{apart}"
    if withdrawn:
        told += f", {withdrawn} taken back since the last training"
    if late:
        told += f", {late} brought in late"
    if known_classes is None:
        return Decision(NEW_LABELS, bool(useful) or late > 0, f"{told}; there is no champion yet", figures)
    if len(useful) + withdrawn + late >= min_labels:
        return Decision(NEW_LABELS, True, f"{told}: {min_labels} are enough", figures)
    enough = [name for name in unknown if len(units[name]) >= min_kind_units]
    if enough:
        return Decision(NEW_LABELS, True, f"{told}, among them of kinds unknown so far: {', '.join(enough)}", figures)
    return Decision(NEW_LABELS, False, f"{told}; {min_labels} are needed", figures)
