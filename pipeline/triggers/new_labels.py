"""New labels: how many findings, and of what kind, no retraining has seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.triggers.decision import Decision

NAME = "new_labels"
HEALTHY = "healthy"


@dataclass(frozen=True)
class Finding:
    """A new label: its physical unit and the class that it trains; None: it trains none (unsure, a data fault)."""

    unit: str
    target: str | None
    verdict: str


def new_labels(
    new: Sequence[Finding],
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
        return Decision(NAME, bool(useful) or late > 0, f"{told}; there is no champion yet", figures)
    if len(useful) + withdrawn + late >= min_labels:
        return Decision(NAME, True, f"{told}: {min_labels} are enough", figures)
    enough = [name for name in unknown if len(units[name]) >= min_kind_units]
    if enough:
        return Decision(NAME, True, f"{told}, among them of kinds unknown so far: {', '.join(enough)}", figures)
    return Decision(NAME, False, f"{told}; {min_labels} are needed", figures)
