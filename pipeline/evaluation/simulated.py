"""Kind `simulated`: trained on the findings of one simulated fleet, judged by the truth of others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.kinds import HEALTHY
from pipeline.base.settings import Settings
from pipeline.evaluation.classification import Task
from pipeline.evaluation.fleet_truth import RecordingTruth
from pipeline.evaluation.fleet_windows import Progress, Told, judged_fleet, take_in, training_fleet
from pipeline.evaluation.methods import Training, mode_of_word
from pipeline.evaluation.protocol import EvaluationRefused, SimulatedProtocol
from pipeline.evaluation.windows import Judged, Windows, join

UNSEEN_CLASS, UNSEEN_PROGRAM = "class", "program"
"""Why a window is unseen."""

BASELINE = "windows of the judged units' baseline periods"
BAD = "windows with a bad data-quality verdict"
TOO_SMALL = "windows with a fault below the visible level"
NO_MODE = "training windows of a fault whose finding names no mode"


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is fitted and judged, and what was left out."""

    task: Task
    left_out: dict[str, int]
    recordings: int


def prepare_fleets(
    protocol: SimulatedProtocol, settings: Settings, root: Path, on_progress: Progress | None = None
) -> Prepared:
    """Simulate both sides below `root` and put their windows together.

    Training knows what a plant would: the findings about its fleet. Truth is read of the judged fleets alone. Not
    judged are windows that the unit's own baseline was made of, those with a bad data-quality verdict (score says
    nothing about them), and those with a fault that the truth itself calls not visible.

    Raises
    ------
    EvaluationRefused
        The findings name no healthy unit or fewer classes than are judged.
    """
    where = f"protocol {protocol.name}"
    trained, found = training_fleet(take_in(root, protocol.train.fleets()[0], settings, on_progress))
    named = found.y >= 0
    parts = [judged_fleet(take_in(root, fleet, settings, on_progress)) for fleet in protocol.test.fleets()]
    windows = join([part for part, _ in parts])
    truth = [item for _, told in parts for item in told.truth]
    left_out = Counter({NO_MODE: int((~named).sum())})
    keep = _kept(windows, [told for _, told in parts], truth, left_out)
    kept = np.flatnonzero(keep)
    truth = [truth[index] for index in kept.tolist()]
    lost = {item.mode for item in truth if item.mode and not item.unseen_class} - set(found.classes)
    problems = [f"the findings about [train] name no {name}; make its fleet larger" for name in sorted(lost)]
    if HEALTHY not in found.classes:
        problems.append("no finding about [train] says healthy; make its fleet larger")
    if problems:
        raise EvaluationRefused(where, problems)
    unit = np.concatenate([told.unit for _, told in parts])[kept]
    training = Training(
        trained.take(named),
        found.y[named],
        found.unit[named],
        found.classes,
        {name: mode for name in found.classes if name != HEALTHY and (mode := mode_of_word(name)) is not None},
        protocol.fault_prior,
        settings,
        settings.seed,
        found.supplement,
    )
    return Prepared(
        Task(training, _judged(windows.take(kept), truth, unit, found.classes), ()),
        {reason: count for reason, count in left_out.items() if count},
        int(np.unique(windows.recording).size),
    )


def _kept(
    windows: Windows, told: Sequence[Told], truth: Sequence[RecordingTruth], left_out: Counter[str]
) -> NDArray[np.bool_]:
    """Say which windows are judged; count the others, each by the first reason that holds."""
    reasons = (
        (BASELINE, np.concatenate([item.in_baseline for item in told])),
        (BAD, windows.quality != "ok"),
        (TOO_SMALL, np.array([bool(item.mode) and not item.visible for item in truth], dtype=np.bool_)),
    )
    keep = np.ones(len(windows), dtype=np.bool_)
    for reason, out in reasons:
        left_out[reason] += int((keep & out).sum())
        keep &= ~out
    return keep


def _judged(
    windows: Windows, truth: Sequence[RecordingTruth], unit: NDArray[np.str_], classes: tuple[str, ...]
) -> Judged:
    index = {name: number for number, name in enumerate(classes)}
    unseen = [UNSEEN_CLASS if t.unseen_class else UNSEEN_PROGRAM if t.unseen_program else "" for t in truth]
    y = [-1 if why else index[t.mode or HEALTHY] for why, t in zip(unseen, truth, strict=True)]
    return Judged(
        windows,
        np.array(y, dtype=np.int64),
        unit,
        windows.recording,
        np.zeros(len(windows), dtype=np.bool_),
        np.array(unseen, dtype=np.str_),
    )
