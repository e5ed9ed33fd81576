"""Batches of answers for `benchmarks/gate_streams.py`: right ones and poisoned ones, and what they are truly worth.

A batch comes on top of the labels that a champion was trained on. Right answers follow the plant's truth. A batch is
poisoned in three ways: `flipped` (a fifth of the answers at random), `careless` (one of three engineers is wrong in
half of all answers), `unit` (one unit is mislabelled in each of its three answers). A wrong answer calls a healthy unit
faulty, with a known mode, or a faulty one healthy.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.kinds import HEALTHY
from models.threads import one_thread
from pipeline.base.settings import Settings
from pipeline.promotion.gate import missed_rate
from pipeline.registry.held_out import ARRAYS, Predictions, by_recording
from replaying.fleet import Plant
from replaying.loop import Plan, first_labels
from replaying.model import Label, Version, _ids, fit

KINDS: Final = ("right", "flipped", "careless", "unit")
DAYS: Final = (45, 49, 53, 57, 61, 65)
"""Day of each batch; world B joins on day 42."""

SIZES: Final = (6, 10, 15)
FLIPPED: Final = 0.2
MORE_BEFORE: Final = 8
"""Right labels that every second champion knows beyond the first inspection."""

FALSE_ALARMS: Final = 0.02
"""Share of healthy recordings that may be called faulty where the true missed rate is measured."""


@dataclass(frozen=True)
class Batch:
    """Labels `before` that the champion knows, the new `labels`, and the numbers of those that are wrong (`flips`)."""

    seed: int
    number: int
    kind: str
    day: float
    before: tuple[Label, ...]
    labels: tuple[Label, ...]
    flips: frozenset[int]

    @property
    def champion_day(self) -> float:
        """Day on which the champion was trained."""
        return max(label.known_day for label in self.before)


def batches(plant: Plant, seed: int, *, count: int) -> list[Batch]:
    """Return `count` situations of a plant, each with one batch of every kind."""
    first = [replace(label, known_day=21.0) for label in first_labels(plant, Plan(seed=seed))]
    made = []
    for number in range(count):
        rng = np.random.default_rng((seed, number, 11))
        day, size = float(DAYS[number % len(DAYS)]), SIZES[(number // 2 + number // len(DAYS)) % len(SIZES)]
        before = list(first)
        if number % 2:
            before += _right(plant, rng, before, MORE_BEFORE, 22, day - 8, 1000)
        champion_day = max(label.known_day for label in before)
        right = _right(plant, rng, before, size, max(champion_day, day - 14), day, 2000)
        modes = [name for name in sorted({label.finding for label in before if label.target}) if name != HEALTHY]
        for place, kind in enumerate(KINDS):
            labels, flips = _poisoned(kind, right, modes, np.random.default_rng((seed, number, place, 13)))
            made.append(Batch(seed, number, kind, day, tuple(before), tuple(labels), frozenset(flips)))
    return made


def _right(
    plant: Plant, rng: np.random.Generator, known: Sequence[Label], n: int, first: float, last: float, number: int
) -> list[Label]:
    """Return right answers about n units in service, one each; every second one about a visible fault, if there is."""
    stopped = {label.unit for label in known if label.is_fault}
    asked: set[str] = set()
    answers = []
    for place in range(n):
        day = float(rng.integers(int(first) + 1, int(last) + 1))
        clear = ~plant.sensor & ((plant.mode == "") | plant.visible)
        near = clear & (plant.day >= day - 1) & (plant.day < day) & ~np.isin(plant.unit, sorted(stopped | asked))
        rows = np.flatnonzero(near)
        faulty, sound = rows[plant.visible[rows]], rows[~plant.visible[rows]]
        pool = faulty if (place % 2 == 0 and faulty.size) or not sound.size else sound
        if not pool.size:
            continue
        row = int(rng.choice(pool))
        unit, finding = str(plant.unit[row]), str(plant.mode[row]) or HEALTHY
        asked.add(unit)
        answers.append(Label(number + place, str(plant.axis[row]), unit, day - 7, day, finding, day, day))
    return answers


def _poisoned(
    kind: str, right: Sequence[Label], modes: Sequence[str], rng: np.random.Generator
) -> tuple[list[Label], set[int]]:
    """Return the batch with some answers turned round, and the numbers of those."""
    labels, n = list(right), len(right)
    wrong: list[int] = []
    if kind == "flipped":
        wrong = rng.permutation(n)[: max(1, round(FLIPPED * n))].tolist()
    elif kind == "careless":
        wrong = [int(index) for index in np.flatnonzero(rng.integers(0, 3, n) == 0) if rng.random() < 0.5]
        wrong = wrong or [int(rng.integers(n))]
    elif kind == "unit":
        index = int(rng.integers(n))
        for earlier in (1, 2):
            since = labels[index].from_day - 3 * earlier
            labels.append(replace(labels[index], number=3000 + earlier, from_day=since, to_day=since + 3))
        wrong = [index, n, n + 1]
    said: dict[str, str] = {}
    for index in wrong:
        label = labels[index]
        if label.unit not in said:
            said[label.unit] = str(rng.choice(modes)) if label.finding == HEALTHY else HEALTHY
        labels[index] = replace(label, finding=said[label.unit])
    return labels, {labels[index].number for index in wrong}


@dataclass
class Trainer:
    """Trains on labels of one plant, and keeps what the gate and the truth need in a folder, by the labels.

    `seconds`: training time of each training that was carried out or read.
    """

    folder: Path
    plant: Plant
    seed: int
    settings: Settings
    seconds: list[float]

    def __call__(self, labels: Sequence[Label], *, day: float, seed: int | None = None) -> Version | None:
        """Return the version that was trained on the labels, without its network; None where there can be none."""
        at = self.seed if seed is None else seed
        file = self.folder / f"{self._key(labels, at)}.npz"
        if not file.exists():
            self._train(file, labels, day, at)
        with np.load(file, allow_pickle=False) as kept:
            if "none" in kept:
                return None
            classes = tuple(kept["classes"].tolist())
            self.seconds.append(float(kept["seconds"]))
            held, everywhere = (
                Predictions(classes, **{name: kept[f"{side}_{name}"] for name in ARRAYS}) for side in ("h", "a")
            )
            nothing: Any = None
            return Version(
                nothing, day, nothing, frozenset(kept["units"].tolist()), frozenset(), held, everywhere=everywhere
            )

    def _key(self, labels: Sequence[Label], seed: int) -> str:
        told = repr(
            sorted((one.unit, one.from_day, one.to_day, one.finding, one.known_day, one.number) for one in labels)
        )
        method = self.settings.method
        method += str(self.settings.ensemble_size) if method == "ensemble" else ""
        return hashlib.sha256(f"{self.seed}|{told}|{method}|{seed}".encode()).hexdigest()[:24]

    def _train(self, file: Path, labels: Sequence[Label], day: float, seed: int) -> None:
        began = time.perf_counter()
        version = fit(self.plant, list(labels), self.settings, day=day, seed=seed)
        seconds = time.perf_counter() - began
        if version is None:
            np.savez(file, none=1)
            return
        good = np.flatnonzero(self.plant.ok)
        with one_thread():
            balanced = replace(version.model, log_prior_correction=np.zeros(len(version.model.classes)))
            p = balanced.score(self.plant.x[good]).class_probabilities
        of = self.plant.of[good]
        everywhere = by_recording(p, _ids(of), self.plant.unit[of], version.model.classes)
        arrays: dict[str, Any] = {
            "classes": np.array(version.model.classes),
            "units": np.array(sorted(version.units)),
            "seconds": seconds,
        }
        for name in ARRAYS:
            arrays |= {f"h_{name}": getattr(version.held_out, name), f"a_{name}": getattr(everywhere, name)}
        np.savez(file, **arrays)


def true_missed(plant: Plant, version: Version, batch: Batch) -> float:
    """Return the true share of missed faults after a batch's day, at `FALSE_ALARMS`; each unit counts once.

    Units whose fault somebody has reported rightly are out of service and do not count.
    """
    assert version.everywhere is not None
    every = (*batch.before, *batch.labels)
    stopped = {label.unit for label in every if label.is_fault and label.number not in batch.flips}
    rows = np.array([int(name) for name in version.everywhere.recording.tolist()])
    clear = ~plant.sensor[rows] & ((plant.mode[rows] == "") | plant.visible[rows])
    use = clear & (plant.day[rows] >= batch.day) & ~np.isin(plant.unit[rows], sorted(stopped))
    healthy = version.everywhere.classes.index(HEALTHY)
    _, code, counts = np.unique(plant.unit[rows[use]], return_inverse=True, return_counts=True)
    missed = missed_rate(
        1.0 - version.everywhere.p[use, healthy],
        plant.visible[rows[use]],
        (1.0 / counts[code])[None, :],
        review_share=FALSE_ALARMS,
    )
    return float(missed[0])
