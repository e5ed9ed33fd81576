"""Calibration decay: what was stated against what was found, over reviewed cases, weighted by how each was chosen.

Flagged cases are no random sample: they were chosen because the model was unsure or saw a fault, and among those it
doubts even a calibrated model may be off. So what is judged depends on what is there:

- with audited cases, every case weighs 1 / (chance that it was looked at), times the bins it stands for: together they
  stand for all bins of the fleet (Horvitz and Thompson 1952, Hajek 1971), and of all bins a calibrated model is right
  on average, below and above one half alike;
- without any, only alarms are judged: they were chosen by the stated probability itself, and for every probability a
  calibrated model is right.

The interval of what was found counts units, not cases (Korn and Graubard 1998; see `pipeline.cases.audit`). Taking the
binomial at the mean instead of every unit's own probability makes it wider, never narrower (W. Hoeffding, "On the
distribution of the number of successes in independent trials", 1956).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.cases.audit import AuditAnswer, miss_rate
from pipeline.watch.triggers.decision import Decision, check_share

NAME = "calibration"
HALF: Final = 0.5
Array = npt.NDArray[np.float64]


def calibration(
    stated: Array,
    fault: npt.NDArray[np.bool_],
    unit: npt.NDArray[np.str_],
    chance: Array,
    audited: npt.NDArray[np.bool_],
    *,
    alarm: npt.NDArray[np.bool_],
    margin: float,
    level: float = 0.95,
    min_units: int = 5,
) -> Decision:
    """Fire when the stated probability lies outside the interval of what was found, by more than a margin.

    Parameters
    ----------
    stated : float array, shape (n,)
        Fault probability stated for each reviewed case, 0 to 1.
    fault : bool array, shape (n,)
        Whether a fault was found.
    unit : str array, shape (n,)
        Physical unit: cases of one are near copies.
    chance : float array, shape (n,)
        Chance that one of the bins like this case's was looked at, in (0, 1]; for a case that stands for many bins,
        the chance divided by their number (then it may be smaller than any chance of being drawn).
    audited : bool array, shape (n,)
        Whether it was drawn by lot.
    alarm : bool array, shape (n,)
        Whether it is an alarm without any doubt of the model's.
    margin
        Difference that does no harm, 0 to 1.
    level
        Confidence over all groups together, in (0, 1).
    min_units
        Units that a group needs.
    """
    check_share("level", level)
    known = np.isfinite(stated)
    with_audits = bool((audited & known).any())
    used = known if with_audits else known & alarm
    groups = {"all": used, "below_half": used & (stated < HALF), "above_half": used & (stated >= HALF)}
    if not with_audits:
        groups = {"alarms": used}
    each = 1.0 - (1.0 - level) / len(groups)
    figures: dict[str, Any] = {
        "reviewed": len(stated),
        "audited": int((audited & known).sum()),
        "judged": int(used.sum()),
        "basis": "all bins, by the chance that each was looked at"
        if with_audits
        else "alarms alone: no audit is there",
        "groups": {},
        "margin": margin,
        "level": level,
        "min_units": min_units,
    }
    off = []
    for name, members in groups.items():
        found = _group(stated[members], fault[members], unit[members], chance[members], level=each)
        enough = found["units"] >= min_units
        found["off"] = bool(enough and _outside(found, margin))
        figures["groups"][name] = found
        if found["off"]:
            off.append(
                f"{name.replace('_', ' ')}: stated {found['stated']:.3f}, found {found['found']:.3f} "
                f"({found['low']:.3f} to {found['high']:.3f}, {found['units']} units)"
            )
    if off:
        return Decision(NAME, True, "; ".join(off), figures)
    units = max(group["units"] for group in figures["groups"].values())
    if units < min_units:
        return Decision(NAME, False, f"reviewed cases of {units} units can be judged; {min_units} are needed", figures)
    return Decision(NAME, False, f"what was stated agrees with what was found on {units} units", figures)


def _group(
    stated: Array, fault: npt.NDArray[np.bool_], unit: npt.NDArray[np.str_], chance: Array, *, level: float
) -> dict[str, Any]:
    answers = [AuditAnswer(*row) for row in zip(unit.tolist(), chance.tolist(), fault.tolist(), strict=True)]
    rate = miss_rate(answers, level=level)
    weight = 1.0 / chance
    return {
        "stated": float((weight * stated).sum() / weight.sum()) if len(stated) else None,
        "found": rate["miss_rate"],
        **{name: rate[name] for name in ("low", "high", "answers", "units", "effective_units")},
    }


def _outside(found: dict[str, Any], margin: float) -> bool:
    return bool(found["stated"] < found["low"] - margin or found["stated"] > found["high"] + margin)
