"""How well the gate tells challengers that are truly better from those that are truly worse.

    OMP_NUM_THREADS=1 nice python benchmarks/gate_streams.py --plants FOLDER --cache FOLDER --out FILE --seeds 1 2 3

Many batches of answers on simulated plants, right ones and poisoned ones (`replaying/streams.py`). On each a challenger
is trained and judged by the product's own gate. The truth is the share of missed faults on the plant's future at 2 %
false alarms; a difference of more than 0.03 makes a challenger truly better or worse. Trained models are kept in
`--cache`. `--sweep` counts the outcomes for other thresholds as well: choose on a half of the seeds, report the other.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from replaying.fleet import Plant, load_plant, plant_settings
from replaying.model import Challenge, challenge, noise_of_refits, rule
from replaying.streams import KINDS, Batch, Trainer, batches, true_missed

from pipeline.base.settings import Settings
from pipeline.promotion.gate import Noise, most_aside

SIZE: Final = {"robots": 3, "days": 84, "per_day": 2, "samples": 10_240}
CLEAR: Final = 0.03
"""Difference in the true missed rate from which on a challenger is truly better or worse."""

MORE_SEEDS: Final = (1000, 2000)
"""Added to a plant's seed for the refits that the noise is estimated from, once a plant."""

REVIEWS: Final = (0.02, 0.1)
FACTORS: Final = (0.0, 1.0, 2.0, 3.0, 4.0)
"""Values of `gate_review_share` and `gate_noise_factor` that `--sweep` measures for."""

RISKS: Final = (0.2, 0.3, 0.5, 0.7)
SHARES: Final = (0.2, 0.34, 0.5)
LEAST: Final = (0, 7, 8)
"""Values of `gate_risk`, `gate_aside_share` and `retrain_min_findings` that `--sweep` counts for."""


def settings_of(size: int) -> Settings:
    """Return the settings of a retraining: the defaults; with `size` networks of an ensemble if above 1."""
    method = {"method": "ensemble", "ensemble_size": size} if size > 1 else {}
    return plant_settings().model_copy(update=method)


def noise_of(plant: Plant, batch: Batch, trainer: Trainer, settings: Settings) -> Noise | None:
    """Return the noise of refits on the labels of a batch."""
    labels = (*batch.before, *batch.labels)
    seeds = (trainer.seed, *(trainer.seed + more for more in MORE_SEEDS))
    refits = [one for seed in seeds if (one := trainer(labels, day=batch.day, seed=seed)) is not None]
    return noise_of_refits(plant, refits, labels, settings, day=batch.day)


def judge(
    plant: Plant, batch: Batch, trainer: Trainer, noise: Noise | None, settings: Settings
) -> tuple[Challenge, dict[str, Any]] | None:
    """Judge the challenger of a batch; None where no model can be trained."""
    champion = trainer(batch.before, day=batch.champion_day)
    labels = (*batch.before, *batch.labels)
    attempt = None
    if champion is not None:
        attempt = challenge(
            plant,
            champion,
            labels,
            settings,
            day=batch.day,
            noise=noise,
            train_on=lambda some: trainer(some, day=batch.day),
        )
    if champion is None or attempt is None:
        return None
    before, after = (true_missed(plant, one, batch) for one in (champion, attempt.version))
    return attempt, {
        "seed": batch.seed,
        "number": batch.number,
        "kind": batch.kind,
        "labels": len(batch.labels),
        "flips": len(batch.flips),
        "set_aside": len(attempt.set_aside),
        "flips_set_aside": len(attempt.set_aside & batch.flips),
        "champion": before,
        "challenger": after,
        "passed": attempt.ruling.passed,
        "reasons": list(attempt.ruling.reasons),
    }


def evidence(
    plant: Plant, batch: Batch, trainer: Trainer, noises: dict[float, Noise | None], settings: Settings
) -> dict[str, Any] | None:
    """Judge a batch and keep what the gate decides by, for any thresholds; None where no model can be trained.

    As many labels as are contradicted are set aside, so this is what the gate sees wherever it allows that many.
    """
    free = {"gate_aside_share": 1.0, "gate_risk": 1.0, "gate_bootstrap": 500, "retrain_min_findings": 0}
    open_gate = settings.model_copy(update=free)
    judged, champion = judge(plant, batch, trainer, None, open_gate), trainer(batch.before, day=batch.champion_day)
    if judged is None or champion is None:
        return None
    attempt, row = judged
    labels = (*batch.before, *batch.labels)
    risks = {}
    for review, factor in itertools.product(REVIEWS, FACTORS):
        changed = open_gate.model_copy(update={"gate_review_share": review, "gate_noise_factor": factor})
        gate_figures = rule(
            plant, attempt.version, champion, labels, changed, day=batch.day, noise=noises[review]
        ).figures
        measures = [
            one for which in ("then", "now") for one in gate_figures.get(which, {}).values() if isinstance(one, dict)
        ]
        risks[f"{review:g} {factor:g}"] = max(
            (np.inf if one["risk"] is None else one["risk"] for one in measures), default=np.inf
        )
    learned = attempt.ruling.figures.get("learned", 0)
    return row | {"doubted": attempt.doubted, "new": attempt.new, "learned": learned, "risks": risks}


def with_thresholds(
    row: dict[str, Any], *, review: float, factor: float, risk: float, share: float, least: int
) -> dict[str, Any]:
    """Return the outcome of a batch (of `evidence`) with some thresholds."""
    few = row["doubted"] <= most_aside(row["new"], share=share)
    return row | {"passed": few and row["learned"] >= least and row["risks"][f"{review:g} {factor:g}"] <= risk}


def sweep_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Count the outcomes for each choice of thresholds."""
    swept = []
    for review, factor, risk, share, least in itertools.product(REVIEWS, FACTORS, RISKS, SHARES, LEAST):
        choice: dict[str, Any] = {"review": review, "factor": factor, "risk": risk, "share": share, "least": least}
        swept.append({"choice": choice, **counts([with_thresholds(row, **choice) for row in rows])})
    return swept


def counts(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Count the outcomes by kind, and those of all challengers by the truth."""
    by_kind: dict[str, Any] = {}
    for name, rows in [("all", results), *((kind, [r for r in results if r["kind"] == kind]) for kind in KINDS)]:
        worse = [r for r in rows if r["challenger"] - r["champion"] > CLEAR]
        better = [r for r in rows if r["challenger"] - r["champion"] < -CLEAR]
        passed = [r for r in rows if r["passed"]]
        by_kind[name] = {
            "batches": len(rows),
            "passed": len(passed),
            "truly_better": len(better),
            "truly_better_passed": sum(r["passed"] for r in better),
            "truly_worse": len(worse),
            "truly_worse_passed": sum(r["passed"] for r in worse),
            "labels": sum(r["labels"] for r in rows),
            "flips": sum(r["flips"] for r in rows),
            "flips_set_aside": sum(r["flips_set_aside"] for r in rows),
            "right_set_aside": sum(r["set_aside"] - r["flips_set_aside"] for r in rows),
            "flips_trained_on_and_promoted": sum(r["flips"] - r["flips_set_aside"] for r in passed),
            "missed_champion": float(np.mean([r["champion"] for r in rows])) if rows else None,
            "missed_challenger": float(np.mean([r["challenger"] for r in rows])) if rows else None,
            "missed_after_the_gate": float(np.mean([r["challenger"] if r["passed"] else r["champion"] for r in rows]))
            if rows
            else None,
        }
    return by_kind


def main() -> None:
    """Judge the batches of the requested seeds, and write the outcome of each and the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plants", type=Path, required=True, help="folder of plants, as for replay.py")
    parser.add_argument("--cache", type=Path, required=True, help="folder to keep trained models in")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--count", type=int, default=6, help="situations of a plant; four batches each")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="kinds of batches")
    parser.add_argument("--networks", type=int, default=4, help="networks of a challenger; 1: MC dropout alone")
    parser.add_argument("--sweep", action="store_true", help="also count for other thresholds")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    settings = settings_of(arguments.networks)
    judged: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    seconds: list[float] = []
    for seed in arguments.seeds:
        plant = load_plant(arguments.plants, seed, **SIZE)
        trainer = Trainer(arguments.cache, plant, seed, settings, seconds)
        made = batches(plant, seed, count=arguments.count)
        noise = noise_of(plant, made[0], trainer, settings)
        noises = {
            review: noise_of(plant, made[0], trainer, settings.model_copy(update={"gate_review_share": review}))
            for review in REVIEWS
        }
        for batch in (one for one in made if one.kind in arguments.kinds):
            outcome = judge(plant, batch, trainer, noise, settings)
            judged += [] if outcome is None else [outcome[1]]
            row = evidence(plant, batch, trainer, noises, settings) if arguments.sweep else None
            rows += [] if row is None else [row]
        print(seed, noise, json.dumps(counts(judged)["all"]), flush=True)
    result = {
        "settings": {name: getattr(settings, name) for name in Settings.model_fields if name.startswith("gate_")},
        "networks": arguments.networks,
        "median_training_s": float(np.median(seconds)),
        "counts": counts(judged),
        "sweep": sweep_of(rows),
        "evidence": rows,
        "batches": judged,
    }
    arguments.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result["counts"], indent=1))


if __name__ == "__main__":
    main()
