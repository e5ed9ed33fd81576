"""How well the case memory tells faults from healthy units, among flagged recordings of simulated plants.

    OMP_NUM_THREADS=1 nice python benchmarks/case_memory.py --work FOLDER --seeds 1 2 3 --out FILE

The plants are those of benchmarks/replay.py. Of each, some units with a flag are drawn and answered by the truth, each
at one of its flagged recordings; the figure of every flagged recording of the other units is then compared with the
truth. Each unit counts as one, however many recordings it has. `flipped` answers say the opposite of the truth.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from replay import SIZE, settings_of
from replaying.fleet import Plant, load_plant
from replaying.loop import Plan, first_labels
from replaying.model import VERSION, fit, score
from replaying.moved import moved_of
from sklearn.metrics import roc_auc_score

from pipeline.cases.axis_state import combine_channels, priority_of
from pipeline.cases.memory import remembered
from pipeline.cases.ordering import queue_priority

LIKELY = 0.1
"""A recording from this fault probability on counts as flagged, too: alarm levels are the plant's own."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The flagged recordings of a plant.

    Attributes
    ----------
    moved : float64 (n, F)
    unit : str (n,)
    fault : bool (n,)
        The truth.
    p, priority : float64 (n,)
        Fault probability of the first champion, and the highest priority of the flags.
    alarm : bool (n,)
    """

    moved: npt.NDArray[np.float64]
    unit: npt.NDArray[np.str_]
    fault: npt.NDArray[np.bool_]
    p: npt.NDArray[np.float64]
    priority: npt.NDArray[np.float64]
    alarm: npt.NDArray[np.bool_]


def flagged(plant: Plant, seed: int) -> Judged:
    """Score a plant with its first champion; return the flagged recordings whose truth is healthy or a visible fault.

    Raises
    ------
    RuntimeError
        No model can be trained on the findings of the first inspection.
    """
    settings, labels = settings_of(), first_labels(plant, Plan(seed=seed))
    champion = fit(plant, labels, settings, day=max(label.known_day for label in labels), seed=seed)
    if champion is None:
        raise RuntimeError(f"seed {seed}: there is no first model; use another seed")
    moved = moved_of(plant, settings)
    known = ~np.isnan(moved).all(axis=1) & (plant.visible | ((plant.mode == "") & ~plant.sensor))
    rows, p, priority, alarm = [], [], [], []
    ahead = score(plant, champion)
    of_unit = {unit: np.flatnonzero(plant.unit == unit) for unit in np.unique(plant.unit).tolist()}
    for row in np.flatnonzero(plant.day >= champion.cutoff).tolist():
        own = of_unit[str(plant.unit[row])]
        past = ahead.p[own[own < row][-settings.alarm_bins :]]
        limits = {VERSION: champion.thresholds}
        figures = combine_channels(ahead.windows[row], limits, past[np.isfinite(past)].tolist())
        likely = figures.fault_probability or 0.0
        machine = [flag for flag in figures.flags if flag.code != "data"]
        if known[row] and figures.state != "data_fault" and (machine or likely >= LIKELY):
            rows.append(row)
            p.append(likely)
            alarm.append(any(flag.code == "fault" for flag in machine))
            priority.append(priority_of([flag.code for flag in machine] or ["undecided"], likely))
    return Judged(
        moved[rows], plant.unit[rows], plant.visible[rows], np.array(p), np.array(priority), np.array(alarm, np.bool_)
    )


def measure(judged: Judged, *, answers: int, flipped: float, draws: int, seed: int) -> dict[str, float]:
    """Return the figures of a plant, means over draws of the answered units."""
    found: list[dict[str, float]] = []
    units = np.unique(judged.unit)
    for draw in range(draws):
        rng = np.random.default_rng((seed, draw))
        asked = rng.permutation(units)[:answers]
        rows = np.array([rng.choice(np.flatnonzero(judged.unit == unit)) for unit in asked])
        finding = judged.fault[rows] ^ (rng.random(len(rows)) < flipped)
        rest = np.flatnonzero(~np.isin(judged.unit, asked))
        if judged.fault[rest].any() and not judged.fault[rest].all():
            found.append(_one(judged, rows, finding, rest))
    return {name: float(np.nanmean([one[name] for one in found])) for name in found[0]} if found else {}


def _one(judged: Judged, rows: Any, finding: Any, rest: Any) -> dict[str, float]:
    votes = (judged.moved[rows], finding, np.ones(len(rows)), judged.unit[rows])
    figures = [remembered(judged.moved[row], *votes).figure for row in rest.tolist()]
    figure = np.array([np.nan if one is None else one for one in figures])
    truth = judged.fault[rest]
    _, unit, count = np.unique(judged.unit[rest], return_inverse=True, return_counts=True)
    weight = 1.0 / count[unit]
    told, filled = ~np.isnan(figure), np.where(np.isnan(figure), 0.5, figure)
    p, zeros = judged.p[rest], np.zeros(len(rest))
    without = queue_priority(judged.priority[rest], zeros, zeros, zeros + 3.0)
    place = queue_priority(judged.priority[rest], zeros, zeros, zeros + 3.0, figure, judged.alarm[rest])

    def auroc(values: Any) -> float:
        return float(roc_auc_score(truth, values, sample_weight=weight))

    def share(of: Any, among: Any) -> float:
        return float(weight[of & among].sum() / weight[among].sum()) if among.any() else float("nan")

    everything = np.ones(len(truth), np.bool_)
    return {
        "flagged_faults": share(truth, everything),
        "speaks": share(told, everything),
        "auroc_memory": auroc(filled),
        "auroc_model": auroc(p),
        "auroc_both": auroc(np.log((p + 0.01) / (1.01 - p)) + 4.0 * (2.0 * filled - 1.0)),
        "auroc_priority": auroc(without),
        "auroc_priority_with_memory": auroc(place),
        "says_fault": share(figure >= 0.75, everything),
        "says_fault_wrong": share(~truth, figure >= 0.75),
        "says_healthy": share(figure <= 0.25, everything),
        "says_healthy_wrong": share(truth, figure <= 0.25),
    }


def main() -> None:
    """Measure the requested seeds and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder with plants")
    parser.add_argument("--out", type=Path, required=True, help="file of the results")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--draws", type=int, default=20, help="draws of answered units a plant")
    arguments = parser.parse_args()
    ways = [(6, 0.0), (18, 0.0), (18, 0.2)]
    by_seed = {}
    for seed in arguments.seeds:
        judged = flagged(load_plant(arguments.work, seed, **SIZE), seed)
        by_seed[seed] = {
            f"{answers} answers, {flipped:.0%} flipped": measure(
                judged, answers=answers, flipped=flipped, draws=arguments.draws, seed=seed
            )
            for answers, flipped in ways
        }
        print(seed, json.dumps(by_seed[seed]), flush=True)
    means = {
        way: {name: float(np.mean([one[way][name] for one in by_seed.values()])) for name in figures}
        for way, figures in by_seed[arguments.seeds[0]].items()
    }
    arguments.out.write_text(json.dumps({"means": means, "seeds": by_seed}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(means, indent=1))


if __name__ == "__main__":
    main()
