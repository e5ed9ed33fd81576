"""Kind `classification`: train on some units, judge others, by window and by vote."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.kinds import HEALTHY, TrainingRefused
from models.methods import METHODS as SCORING_METHODS
from pipeline.base.settings import Settings
from pipeline.evaluation.budget import BudgetAsked, budgets
from pipeline.evaluation.dataset import Dataset
from pipeline.evaluation.figures import by_unit, columns_of, figures, intervals_of
from pipeline.evaluation.methods import (
    DEFAULT_ROW,
    METHODS,
    SHIPPED,
    MethodNotDefined,
    Prediction,
    Training,
    mode_of_word,
    with_seed,
)
from pipeline.evaluation.protocol import EvaluationRefused, Protocol
from pipeline.evaluation.reporting.drawing import curves
from pipeline.evaluation.reporting.output import EvaluationResult
from pipeline.evaluation.same_samples import each_once
from pipeline.evaluation.selection import Selection
from pipeline.evaluation.windows import (
    OK,
    EvaluationRows,
    Windows,
    cut_shared,
    join,
    left_out_bad,
    with_changes,
    without_levels,
)
from pipeline.labels.words import Mode

ROWS: Final = (*METHODS, DEFAULT_ROW)

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class EvaluationTask:
    """Training data and windows to judge, the same for every method, and how many windows are left out.

    `others` is training data of other fleets of the same size, for the coverage of the credible band.
    """

    training: Training
    judged: EvaluationRows
    notes: tuple[str, ...]
    left_out: dict[str, int]
    others: tuple[Training, ...] = ()


def prepare(protocol: Protocol, selection: Selection, dataset: Dataset, settings: Settings) -> EvaluationTask:
    """Build the training data and the windows to judge from the rows of both sides.

    Raises
    ------
    EvaluationRefused
        A side has no good window, a class has no good window in [train], or no baseline can be made.
    """
    windows, notes = _comparable(dataset.windows)
    if protocol.baseline is not None:
        windows, more = _with_baseline(windows, protocol, selection)
        notes += list(more)
    sides = {name: windows.of_rows(getattr(selection, name)) for name in ("train", "test", "unseen")}
    sides["train"], sides["test"] = cut_shared(sides["train"], sides["test"], selection, _column(protocol, "unit"))
    sides, left_out, copies = each_once(sides, _column(protocol, "label"), _column(protocol, "unit"))
    notes += copies
    good = {name: side.quality == OK for name, side in sides.items()}
    left_out |= left_out_bad(int((~good["train"]).sum()), "training windows")
    sides["train"] = sides["train"].take(good["train"])
    empty = [name for name in ("train", "test") if not good[name].any()]
    empty += ["unseen"] if selection.unseen and not good["unseen"].any() else []
    if empty:
        raise EvaluationRefused(
            f"protocol {protocol.name}", [f"[{name}]: no window has a good data-quality verdict" for name in empty]
        )
    label = _column(protocol, "label")
    trained = _targets(sides["train"], label, protocol)
    faults = sorted(set(trained.tolist()) - {HEALTHY})
    classes = ((HEALTHY,) if HEALTHY in trained else ()) + tuple(faults)
    judged = _targets(sides["test"], label, protocol)
    if lost := sorted(set(judged.tolist()) - set(classes)):
        raise EvaluationRefused(f"protocol {protocol.name}", [f"class {', '.join(lost)} has no good window in [train]"])
    index = {name: number for number, name in enumerate(classes)}
    training = Training(
        sides["train"],
        np.array([index[name] for name in trained.tolist()], dtype=np.int64),
        sides["train"].cells(_column(protocol, "unit")),
        classes,
        _modes(sides["train"], trained),
        protocol.fault_prior,
        settings,
        settings.seed,
    )
    rows = _judged(sides["test"], sides["unseen"], judged, index, protocol, selection)
    return EvaluationTask(training, rows, tuple(notes), left_out)


def evaluate_classification(
    task: EvaluationTask,
    *,
    methods: Sequence[str],
    seeds: Sequence[int],
    budget: BudgetAsked | None = None,
    on_progress: Progress | None = None,
) -> EvaluationResult:
    """Fit and judge every method with every seed.

    Parameters
    ----------
    task
        Training data and windows to judge.
    methods
        Rows of the table, names from `ROWS`.
    seeds
        Each method is fitted once with each.
    budget
        The review budget that is asked for, chosen with the first seed; None for none.
    on_progress
        Called with what is fitted, the runs done, and all runs.
    """
    names = list(dict.fromkeys(SHIPPED if name == DEFAULT_ROW else name for name in methods))
    runs: list[dict[str, Any]] = []
    predicted: dict[str, list[Prediction]] = {}
    notes: list[str] = []
    make = any(name in SCORING_METHODS for name in names)
    trainings = {seed: with_seed(task.training, seed, make=make) for seed in seeds}
    for number, (name, seed) in enumerate((name, seed) for name in names for seed in seeds):
        if on_progress:
            on_progress(f"{name}, seed {seed}", number, len(names) * len(seeds))
        run, prediction = _run(task, name, trainings[seed])
        if prediction is not None:
            predicted.setdefault(name, []).append(prediction)
        notes += [f"{name}: {note}" for note in run["notes"]]
        runs += [{**run, "method": row} for row in methods if row == name or (row == DEFAULT_ROW and name == SHIPPED)]
    runs.sort(key=lambda run: list(methods).index(run["method"]))
    intervals = {
        row: intervals_of(task.judged, predicted[name], healthy_of(task))
        for row in methods
        if (name := SHIPPED if row == DEFAULT_ROW else row) in predicted
    }
    notes = list(dict.fromkeys([*task.notes, *notes]))
    result = EvaluationResult(runs, intervals, _about(task), notes, task.left_out)
    shown = {row: name for row in methods if (name := SHIPPED if row == DEFAULT_ROW else row) in predicted}
    if DEFAULT_ROW in shown:
        shown.pop(SHIPPED, None)  # both rows are the same method
    clean = np.flatnonzero((task.judged.y >= 0) & ~task.judged.leaked & ~task.judged.blocked)
    for row, name in shown.items():
        probabilities = [seed_prediction.probabilities[clean] for seed_prediction in predicted[name]]
        result.curves[row] = curves(probabilities, task.judged.y[clean], healthy=healthy_of(task))
    if budget is not None:
        first = {row: predicted[name][0] for row, name in shown.items()}
        result.review_budget.update(budgets(task.judged, first, budget, healthy=healthy_of(task)))
    return result


def healthy_of(task: EvaluationTask) -> int | None:
    """Return the index of the healthy class; None where all classes are faults."""
    return 0 if task.training.classes[0] == HEALTHY else None


def _run(task: EvaluationTask, name: str, training: Training) -> tuple[dict[str, Any], Prediction | None]:
    """Fit one method with one seed and judge it."""
    judged, seed = task.judged, training.seed
    started = time.perf_counter()
    try:
        fitted = METHODS[name](training)
        prediction = _withheld(fitted.predict(judged.windows), judged)
        seconds = time.perf_counter() - started + fitted.spared_seconds  # a shared fit counts in each row
        prediction = _with_others(prediction, task, name, seed)
    except (MethodNotDefined, TrainingRefused) as error:
        nothing = dict.fromkeys(columns_of(judged))
        empty = {"method": name, "seed": seed, "metrics": nothing, "leaked": None, "units": {}}
        return {**empty, "notes": [f"not defined: {error}"]}, None
    clean: NDArray[np.bool_] = np.asarray((judged.y >= 0) & ~judged.leaked)
    metrics = figures(judged, prediction, healthy_of(task), clean)
    leaked = (
        figures(judged, prediction, healthy_of(task), (judged.y >= 0) & judged.leaked) if judged.leaked.any() else None
    )
    run = {
        "method": name,
        "seed": seed,
        "metrics": {**metrics, "seconds": seconds},
        "leaked": leaked,
        "units": by_unit(judged, prediction, task.training.classes),
        "notes": list(fitted.notes),
        "tuning": None if fitted.tuning is None else asdict(fitted.tuning),
    }
    return run, prediction


def _withheld(prediction: Prediction, judged: EvaluationRows) -> Prediction:
    """Take the probabilities of blocked windows away, as score does: no method is judged by what nobody would see."""
    return replace(prediction, probabilities=np.where(judged.blocked[:, None], np.nan, prediction.probabilities))


def _with_others(prediction: Prediction, task: EvaluationTask, name: str, seed: int) -> Prediction:
    """Add what the method says of the windows when it is fitted on each other fleet, where it states a band."""
    if prediction.band is None or not task.others:
        return prediction
    said = []
    for training in task.others:
        p = METHODS[name](with_seed(training, seed, make=True)).predict(task.judged.windows).probabilities
        said.append(1.0 - p[:, training.classes.index(HEALTHY)])
    return replace(prediction, others=np.array(said))


def _about(task: EvaluationTask) -> dict[str, Any]:
    training, judged = task.training, task.judged
    test = judged.y >= 0
    verdicts = Counter(judged.windows.quality[judged.blocked].tolist())
    return {
        "classes": list(training.classes),
        "modes": {name: str(mode) for name, mode in training.modes.items()},
        "feature_version": training.windows.feature_version,
        "features": len(training.windows.names),
        "train": {"windows": len(training.windows), "units": int(np.unique(training.unit).size)},
        "test": {"windows": int(test.sum()), "units": int(np.unique(judged.unit[test]).size)},
        "unseen": {"windows": int((~test).sum()), "units": int(np.unique(judged.unit[~test]).size)},
        "blocked": dict(sorted(verdicts.items())),
        "leaked_units": sorted(np.unique(judged.unit[judged.leaked]).tolist()),
    }


def _column(protocol: Protocol, key: str) -> str:
    column: str | None = getattr(protocol, key)
    assert column is not None
    return column


def _comparable(windows: Windows) -> tuple[Windows, list[str]]:
    """Leave absolute levels out where the windows do not all have the same declared unit of measurement."""
    scopes = np.unique(windows.scope).tolist()
    mappings = {recording.split(":", 1)[0] for recording in np.unique(windows.recording).tolist()}
    undeclared = [scope for scope in scopes if scope.endswith(":raw")]
    if len(scopes) == 1 and not (undeclared and len(mappings) > 1):
        return windows, []
    text = f"the unit of {', '.join(undeclared)} is not declared, so absolute levels are left out on every side"
    return without_levels(windows), [text]


def _with_baseline(windows: Windows, protocol: Protocol, selection: Selection) -> tuple[Windows, tuple[str, ...]]:
    baseline = windows.of_rows(selection.baseline)
    wider, notes = with_changes(windows, _rig(windows, protocol), baseline, _rig(baseline, protocol))
    if np.isnan(wider.x[:, len(windows.names) :]).all():
        problem = f"[baseline]: no rig has a reference ({'; '.join(notes)})"
        raise EvaluationRefused(f"protocol {protocol.name}", [problem])
    return wider, notes


def _rig(windows: Windows, protocol: Protocol) -> NDArray[np.str_]:
    columns = [windows.cells(column) for column in protocol.rigs]
    return np.array([" | ".join(cells) for cells in zip(*columns, strict=True)], dtype=np.str_)


def _targets(windows: Windows, label: str, protocol: Protocol) -> NDArray[np.str_]:
    """Return the class name of each window: the label's text, and `healthy` for the healthy value."""
    cells = windows.cells(label)
    return np.array([HEALTHY if cell == protocol.healthy else cell for cell in cells.tolist()], dtype=np.str_)


def _modes(windows: Windows, targets: NDArray[np.str_]) -> dict[str, Mode]:
    """Return the failure mode of each class: by the mapping's label table if it names one mode, else by the word."""
    modes = {}
    for name in np.unique(targets).tolist():
        mapped = set(windows.mode[targets == name].tolist()) - {""}
        mode = Mode(mapped.pop()) if len(mapped) == 1 else mode_of_word(name)
        if mode is not None and name != HEALTHY:
            modes[name] = mode
    return modes


def _judged(
    test: Windows,
    unseen: Windows,
    targets: NDArray[np.str_],
    index: dict[str, int],
    protocol: Protocol,
    selection: Selection,
) -> EvaluationRows:
    windows = join([test, unseen])
    # Not every method takes infinity.
    windows = replace(windows, x=np.where(np.isfinite(windows.x), windows.x, np.float32(np.nan)))
    unit = windows.cells(_column(protocol, "unit"))
    y = np.array([index[name] for name in targets.tolist()] + [-1] * len(unseen), dtype=np.int64)
    votes = None if protocol.vote is None else windows.cells(protocol.vote)
    return EvaluationRows(windows, y, unit, votes, np.isin(unit, sorted(selection.leaked)), windows.quality != OK)
