"""The benefit of triggers, gate and active choice of labels on a simulated plant, replayed with delayed labels.

    OMP_NUM_THREADS=1 nice python benchmarks/replay.py --work FOLDER --out FOLDER --seeds 1 2 3
    python benchmarks/replay.py --out FOLDER --sum-up

World A for 84 days, with axes of world B from day 42 on. Each seed is simulated, acquired and extracted once by the
product's own steps and kept in `--work`. Every strategy is then replayed on the same arrays, with the same first
champion, the same number of labels a week and the same delays. Each seed writes one JSON file to `--out`; seeds with a
file are not run again. `--sum-up` writes `replay.json` and `replay.png` from all files.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from replaying.counts import MEASURES, interval, outcome, refusals, summary
from replaying.fleet import Plant, load_plant, plant_settings, side_by_side
from replaying.loop import Plan, Shared, first_labels, run, true_labels
from replaying.model import fit

from pipeline.base.settings import Settings

DAYS = 84
AXES = 18
"""Number of axes of each world in a hall."""

SIZE = {"robots": 3, "days": DAYS, "per_day": 2, "samples": 10_240}
RUNS: dict[str, dict[str, Any]] = {
    "no levels, never": {"strategy": "never", "choice": "queue", "own_levels": False},
    "never, no memory": {"strategy": "never", "choice": "queue", "memory": False},
    "never": {"strategy": "never", "choice": "queue"},
    "never, bald": {"strategy": "never", "choice": "active"},
    "never, random": {"strategy": "never", "choice": "random"},
    "calendar": {"strategy": "calendar", "choice": "queue"},
    "drift only": {"strategy": "drift only", "choice": "queue"},
    "all triggers": {"strategy": "all triggers", "choice": "queue"},
    "all triggers, no gate": {"strategy": "all triggers", "choice": "queue", "gated": False},
    "ensemble, never": {"strategy": "never", "choice": "queue", "method": "ensemble"},
    "ensemble, all triggers": {"strategy": "all triggers", "choice": "queue", "method": "ensemble"},
    "ensemble, all triggers, no gate": {
        "strategy": "all triggers",
        "choice": "queue",
        "method": "ensemble",
        "gated": False,
    },
    "20 % wrong answers, never": {"strategy": "never", "choice": "queue", "wrong": 0.2},
    "ceiling": {"strategy": "never", "choice": "queue", "taught": True},
}
"""By name of the run: arguments of `replaying.loop.run`; `method` of scoring and training, `wrong`: share of answers
that are wrong, `taught`: the model has learned the truth about every unit."""

PAIRS = [
    ("never", "no levels, never"),
    ("never", "never, no memory"),
    ("never, bald", "never"),
    ("never, random", "never"),
    ("calendar", "never"),
    ("drift only", "never"),
    ("all triggers", "never"),
    ("all triggers, no gate", "never"),
    ("ensemble, never", "never"),
    ("ensemble, all triggers", "ensemble, never"),
    ("ensemble, all triggers, no gate", "ensemble, never"),
    ("20 % wrong answers, never", "no levels, never"),
]


def settings_of() -> Settings:
    """Return the settings of all strategies: defaults, except for a plant that records rarely and a faster calendar."""
    return plant_settings().model_copy(update={"retrain_after_days": 21.0})


def replay_seed(plant: Plant, seed: int, *, axes: int, a_week: int, quick: bool = False) -> dict[str, Any]:
    """Replay all runs on one plant; quick: only those of the shipped method with a queue.

    Raises
    ------
    RuntimeError
        No model can be trained on the findings of the first inspection.
    """
    results, shared, firsts = {}, {}, {}
    for name, policy in RUNS.items():
        if quick and not name.startswith(("no levels", "never", "all")):
            continue
        began = time.perf_counter()
        arguments = dict(policy)
        method, taught = arguments.pop("method", "mc_dropout"), arguments.pop("taught", False)
        settings = settings_of().model_copy(update={"method": method})
        plan = Plan(seed=seed, first_axes=axes, a_week=a_week, wrong=arguments.pop("wrong", 0.0))
        labels = first_labels(plant, plan)
        start = max(label.known_day for label in labels)
        key = (method, taught)
        if key not in firsts:
            known = true_labels(plant, start) if taught else labels
            firsts[key], shared[key] = fit(plant, known, settings, day=start, seed=seed), Shared()
        first = firsts[key]
        if first is None:
            raise RuntimeError(
                f"seed {seed}: the first inspection found no fault or no healthy unit, so there is no first model; use "
                "another seed"
            )
        log = run(plant, settings, plan, first, days=DAYS, shared=shared[key], **arguments)
        result = outcome(plant, log, settings, days=DAYS)
        result["seconds"] = round(time.perf_counter() - began, 1)
        results[name] = result
        printed = {measure: result[measure] for measure in (*MEASURES, "seconds")}
        print(seed, name, json.dumps(printed), flush=True)
    return results


def sum_up(out: Path) -> dict[str, Any]:
    """Sum up all seeds in a folder; write replay.json and replay.png."""
    results = {
        int(file.stem.split("-")[1]): json.loads(file.read_text(encoding="utf-8")) for file in out.glob("seed-*.json")
    }
    summed = {**summary(results, PAIRS), "gate": refusals(results)}
    (out / "replay.json").write_text(json.dumps({**summed, "results": results}, indent=1) + "\n", encoding="utf-8")
    draw(results, out / "replay.png")
    return summed


def draw(results: dict[int, dict[str, dict[str, Any]]], file: Path) -> None:
    """Draw missed faults over time and over labels, false alarms over time, and review load; means over seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(15, 4), dpi=80)
    days = np.arange(DAYS + 1)
    names = [name for name in RUNS if all(name in result for result in results.values())]
    shown = ("no levels, never", "never", "all triggers", "all triggers, no gate", "ensemble, all triggers", "ceiling")

    def over_time(run_name: str, measure: str) -> Any:
        return np.mean(
            [(np.array(r[run_name][measure])[:, None] <= days).sum(axis=0) for r in results.values()], axis=0
        )

    for place, name in enumerate(names):
        style: dict[str, Any] = {"color": f"C{shown.index(name)}" if name in shown else "#bbbbbb", "label": name}
        if name in shown:
            labels, missed, false = (over_time(name, m) for m in ("days_labels", "days_missed", "days_false"))
            axes[0].plot(days, missed, **style)
            axes[1].plot(labels, missed, **style)
            axes[2].plot(days, false, **style)
        mean, low, high = interval([result[name]["missed"] for result in results.values()])
        errors = None if not np.isfinite(low) else [[mean - low], [high - mean]]
        axes[3].barh(place, mean, xerr=errors, color=style["color"])
    axes[0].set(title="missed faults", xlabel="day", ylabel="missed so far, mean a plant", xlim=(DAYS // 2, DAYS))
    axes[1].set(title="labels and missed faults", xlabel="labels spent, mean a plant", ylabel="missed so far")
    axes[2].set(title="false alarms", xlabel="day", ylabel="alarm episodes so far, mean a plant", ylim=(0, None))
    axes[3].set(title="missed faults by run", xlabel="mean a plant", xlim=(0, None))
    axes[3].set_yticks(range(len(names)), names, fontsize=7)
    axes[3].invert_yaxis()
    axes[0].legend(fontsize=7)
    figure.suptitle(f"{len(results)} simulated plants; world B comes into service on day {DAYS // 2}", fontsize=10)
    figure.tight_layout()
    figure.savefig(file)
    plt.close(figure)


def main() -> None:
    """Run the requested seeds, then sum up if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="folder to keep plants in")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--seeds", type=int, nargs="*", default=[])
    parser.add_argument(
        "--halls", type=int, default=1, help="number of plants (seed, seed + 1, ...) that are joined to one"
    )
    parser.add_argument("--a-week", type=int, default=3, help="most labels a week and hall")
    parser.add_argument("--quick", action="store_true", help="only the runs of the shipped method with the queue")
    parser.add_argument("--sum-up", action="store_true", help="sum up all seeds in --out")
    arguments = parser.parse_args()
    if arguments.seeds and arguments.work is None:
        parser.error("--work FOLDER is needed to run seeds: plants are kept there")
    arguments.out.mkdir(parents=True, exist_ok=True)
    for seed in arguments.seeds:
        file = arguments.out / f"seed-{seed}.json"
        if not file.exists():
            halls = [load_plant(arguments.work, seed + index, **SIZE) for index in range(arguments.halls)]
            plant = halls[0] if arguments.halls == 1 else side_by_side(halls)
            axes = AXES * arguments.halls
            result = replay_seed(
                plant, seed, axes=axes, a_week=arguments.a_week * arguments.halls, quick=arguments.quick
            )
            file.write_text(json.dumps(result) + "\n", encoding="utf-8")
    if arguments.sum_up:
        print(json.dumps(sum_up(arguments.out), indent=1))


if __name__ == "__main__":
    main()
