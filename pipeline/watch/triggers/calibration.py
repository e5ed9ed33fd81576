"""Calibration decay: stated fault probabilities against what people found in reviewed cases.

Flagged cases are no random sample: they were chosen because the model was unsure or saw a fault. Among cases that it
doubts, even a calibrated model may be wrong. So the test depends on which cases there are:

- with audited cases (drawn at random), every case weighs 1 / (chance that it was reviewed), times the bins it stands
  for. Together they stand for all bins of the fleet (Horvitz and Thompson 1952, Hajek 1971), and over all bins a
  calibrated model is right on average, below and above one half alike;
- without audited cases, only alarms are tested: they were chosen by the stated probability itself, and a calibrated
  model is right at every probability.

The interval of the observed fault rate counts units, not cases (Korn and Graubard 1998; see
`pipeline.cases.audit`). It takes the binomial at the mean in place of each unit's own probability: this makes it wider,
never narrower (W. Hoeffding, "On the distribution of the number of successes in independent trials", 1956).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.cases.audit import AuditAnswer, miss_rate
from pipeline.watch.triggers.decision import Decision, check_share

NAME: Final = "calibration"
HALF: Final = 0.5
WORDS: Final = {
    "all": "all cases",
    "below_half": "cases stated below 0.5",
    "above_half": "cases stated at 0.5 or above",
    "alarms": "alarms",
}
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
    """Fire when the mean stated probability lies outside the interval of the observed fault rate by more than a margin.

    Parameters
    ----------
    stated : float array, shape (n,)
        Fault probability stated for each reviewed case, 0 to 1.
    fault : bool array, shape (n,)
        Whether people found a fault.
    unit : str array, shape (n,)
        Physical unit: cases of one are near copies.
    chance : float array, shape (n,)
        Chance that a bin like the one of this case was reviewed, in (0, 1]. For a case that stands for many bins: that
        chance divided by their number.
    audited : bool array, shape (n,)
        Whether the case was drawn at random.
    alarm : bool array, shape (n,)
        Whether the case is an alarm, without any doubt of the model.
    margin
        Difference that is allowed, 0 to 1.
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
        "basis": "all bins, weighted by the chance of a review" if with_audits else "alarms only, there is no audit",
        "groups": {},
        "margin": margin,
        "level": level,
        "min_units": min_units,
    }
    wrong = []
    for name, members in groups.items():
        group = _group(stated[members], fault[members], unit[members], chance[members], level=each)
        group["off"] = bool(group["units"] >= min_units and _outside(group, margin))
        figures["groups"][name] = group
        if group["off"]:
            wrong.append(
                f"{WORDS[name]}: stated fault probability {group['stated']:.3f}, observed fault rate "
                f"{group['found']:.3f} ({group['low']:.3f} to {group['high']:.3f}, {group['units']} units)"
            )
    if wrong:
        return Decision(NAME, True, "; ".join(wrong), figures)
    units = max(group["units"] for group in figures["groups"].values())
    if units < min_units:
        return Decision(
            NAME, False, f"{units} units have reviewed cases that can be used; {min_units} are needed", figures
        )
    return Decision(NAME, False, f"stated fault probabilities agree with the findings on {units} units", figures)


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


def _outside(group: dict[str, Any], margin: float) -> bool:
    return bool(group["stated"] < group["low"] - margin or group["stated"] > group["high"] + margin)
