"""The outcome of a replay: counted by the truth after its end, and compared over seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.stats import t as student

from models.kinds import HEALTHY
from pipeline.base.settings import Settings
from pipeline.cases.axis_state import MACHINE_CODES
from replaying.cases import ALARM, day_of, episodes
from replaying.fleet import Plant
from replaying.loop import Log
from replaying.model import out_of_service

GRACE_DAYS: Final = 10
"""A fault counts as missed if no alarm and no answer reports it within this many days after it could be seen."""

MEASURES: Final = (
    "faults",
    "missed",
    "missed_alarm",
    "missed_a",
    "missed_b",
    "false_alarms",
    "false_a",
    "false_b",
    "unflagged",
    "silent_share",
    "review_a",
    "review_b",
    "labels",
    "retrainings",
    "promotions",
)


def outcome(plant: Plant, log: Log, settings: Settings, *, days: int) -> dict[str, Any]:
    """Count faults and false alarms.

    Returns
    -------
    dict
        `faults`: units whose fault was visible at least `GRACE_DAYS` before the end, and not found by the first
        inspection. `missed`: those without an alarm (debounced) and without an answer in time. `missed_alarm`: those
        without an alarm in time. `_a`, `_b`: by world. `false_alarms`: alarm episodes on units without a fault and
        without a sensor fault. `silent_share`: share without an alarm among recordings with a visible fault that is not
        known yet. `unflagged`: faults without any machine case in time. `review_a`, `review_b`: share of the healthy
        recordings of a world with a machine flag, which sends them to review. `labels`: number asked for after the
        first inspection. `retrainings`, `promotions`: their numbers. `days_missed`, `days_false`: the day of each.
    """
    rows_of: dict[str, list[int]] = {}
    for row in sorted(log.bins.figures):
        rows_of.setdefault(str(plant.axis[row]), []).append(row)
    alarms = _moments(plant, log, rows_of, settings, frozenset({ALARM}))
    flags = _moments(plant, log, rows_of, settings, frozenset(MACHINE_CODES))
    fault_known = out_of_service(log.labels)
    faults: list[dict[str, Any]] = []
    false: list[tuple[float, str]] = []
    for unit in np.unique(plant.unit).tolist():
        own = plant.unit == unit
        world = str(plant.world[own][0])
        seen = own & plant.visible
        if seen.any():
            since = max(float(plant.day[seen].min()), log.start)
            if since + GRACE_DAYS > days or fault_known.get(unit, np.inf) <= log.start:
                continue
            until = since + GRACE_DAYS
            alarmed = any(since <= day <= until for moments in alarms.get(unit, []) for day in moments)
            asked = fault_known.get(unit, np.inf) <= until
            flagged = any(since <= day <= until for moments in flags.get(unit, []) for day in moments)
            seen_by = {"alarmed": alarmed, "asked": asked, "flagged": flagged}
            faults.append({"unit": unit, "world": world, "until": until, **seen_by})
        elif not (plant.mode[own] != "").any() and not plant.sensor[own].any():
            false += [(moments[0], world) for moments in alarms.get(unit, [])]
    missed = [item for item in faults if not (item["alarmed"] or item["asked"])]
    healthy = [row for row in log.bins.figures if not plant.mode[row] and not plant.sensor[row]]
    due = [row for row in log.bins.figures if plant.visible[row]]
    silent = [row for row in due if log.bins.figures[row].state != "alarm"]
    later = [label for label in log.labels if label.asked_day > log.start]
    return {
        "faults": len(faults),
        "missed": len(missed),
        "missed_alarm": sum(not item["alarmed"] for item in faults),
        "missed_a": sum(item["world"] == "A" for item in missed),
        "missed_b": sum(item["world"] == "B" for item in missed),
        "faults_a": sum(item["world"] == "A" for item in faults),
        "faults_b": sum(item["world"] == "B" for item in faults),
        "false_alarms": len(false),
        "false_a": sum(world == "A" for _, world in false),
        "false_b": sum(world == "B" for _, world in false),
        "unflagged": sum(not item["flagged"] for item in faults),
        "review_a": _flagged(log, [row for row in healthy if plant.world[row] == "A"]),
        "review_b": _flagged(log, [row for row in healthy if plant.world[row] == "B"]),
        "silent_share": len(silent) / len(due) if due else None,
        "labels": len(later),
        "labels_healthy": sum(label.finding == HEALTHY for label in later),
        "labels_useless": sum(label.target is None for label in later),
        "retrainings": len(log.trainings),
        "promotions": sum(item["promoted"] for item in log.trainings),
        "days_missed": sorted(item["until"] for item in missed),
        "days_false": sorted(day for day, _ in false),
        "days_labels": sorted(label.asked_day for label in later),
        "trainings": log.trainings,
        "fired": log.fired,
        "asked": log.asked,
    }


def _flagged(log: Log, rows: list[int]) -> float | None:
    hits = [any(flag.code in MACHINE_CODES for flag in log.bins.figures[row].flags) for row in rows]
    return float(np.mean(hits)) if hits else None


def _moments(
    plant: Plant, log: Log, rows_of: dict[str, list[int]], settings: Settings, codes: frozenset[str]
) -> dict[str, list[list[float]]]:
    """Return for each unit its episodes with these flags, each as the days of its bins."""
    of_units: dict[str, list[list[float]]] = {}
    for rows in rows_of.values():
        for episode in episodes(plant, log.bins, rows, settings, only=codes):
            by_unit: dict[str, list[float]] = {}
            for item in episode.bins:
                moment = day_of(item.bin_at)
                row = rows[int(np.argmin(np.abs(plant.day[rows] - moment)))]
                by_unit.setdefault(str(plant.unit[row]), []).append(moment)
            for unit, moments in by_unit.items():
                of_units.setdefault(unit, []).append(moments)
    return of_units


def interval(values: Sequence[float] | npt.NDArray[np.float64], *, level: float = 0.95) -> tuple[float, float, float]:
    """Return the mean over seeds and its interval by Student's t, which is wide for few seeds.

    Seeds without a value are left out. The limits are NaN for fewer than 3 seeds.
    """
    wide = np.asarray(values, dtype=np.float64)
    wide = wide[np.isfinite(wide)]
    mean = float(wide.mean()) if wide.size else float("nan")
    if wide.size < 3:
        return mean, float("nan"), float("nan")
    half = float(student.ppf(0.5 + level / 2, wide.size - 1) * wide.std(ddof=1) / np.sqrt(wide.size))
    return mean, mean - half, mean + half


def summary(results: dict[int, dict[str, dict[str, Any]]], pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Sum up results by seed and run: means, and paired differences (first minus second) of the same seeds."""
    seeds = sorted(results)
    runs = [run for run in results[seeds[0]] if all(run in results[seed] for seed in seeds)] if seeds else []

    def values(run: str, measure: str) -> list[float]:
        measured = [results[seed][run][measure] for seed in seeds]
        return [float("nan") if value is None else float(value) for value in measured]

    return {
        "seeds": seeds,
        "runs": {run: {name: interval(values(run, name)) for name in MEASURES} for run in runs},
        "paired": {
            f"{one} minus {other}": {
                name: interval(np.subtract(values(one, name), values(other, name))) for name in MEASURES
            }
            for one, other in pairs
            if one in runs and other in runs
        },
    }


WORDS: Final = {
    "NLL": "NLL",
    "missed-fault rate": "missed-fault rate",
    "new findings are contradicted": "doubt",
    "new findings, fewer than": "too few findings",
}
"""Words in a reason of the gate, and the name of that reason in `refusals`."""


def refusals(results: dict[int, dict[str, dict[str, Any]]]) -> dict[str, dict[str, int]]:
    """Return for each run how many challengers passed the gate, and the reasons against the others.

    A challenger counts under each of its reasons. `same`: passed with the same figures as the champion, because it was
    trained on the same labels.
    """
    counts: dict[str, dict[str, int]] = {}
    for runs in results.values():
        for run, result in runs.items():
            count = counts.setdefault(run, dict.fromkeys(("judged", "passed", "same", *WORDS.values()), 0))
            for item in result["trainings"]:
                if "gate" not in item:
                    continue
                count["judged"] += 1
                count["passed"] += item["gate"]
                if item["gate"]:
                    pairs = re.findall(r"NLL (\S+) \(champion (\S+)\)", item["reason"])
                    count["same"] += all(one == other for one, other in pairs)
                else:
                    for words, name in WORDS.items():
                        count[name] += words in item["reason"]
    return counts
