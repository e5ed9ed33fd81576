"""Carry out an evaluation: from a manifest and a protocol to one document."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.base.errors import SettingsError
from pipeline.base.settings import Settings
from pipeline.evaluation import classification, healthy, trend
from pipeline.evaluation import fleet_windows as simulated
from pipeline.evaluation.budget import BudgetAsked
from pipeline.evaluation.dataset import Dataset, load_dataset
from pipeline.evaluation.protocol import SIMULATED, EvaluationRefused, Protocol, SimulatedProtocol, load_protocol
from pipeline.evaluation.reporting.output import EvaluationResult, summarise
from pipeline.evaluation.selection import Selection, select

Progress = Callable[[str, int, int], None]

ROWS: Final[dict[str, tuple[str, ...]]] = {
    "classification": classification.ROWS,
    "trend": trend.ROWS,
    "healthy": healthy.ROWS,
    SIMULATED: classification.ROWS,
}
"""Rows of a table by kind of protocol; all of them by default."""

SIMULATED_DEFAULT: Final = "simulated-a-to-b"
"""The shipped protocol that is used where neither manifest nor protocol is given."""

SETTINGS_SHOWN: Final = (
    "window_mode",
    "window_turns",
    "window_samples",
    "hidden",
    "dropout",
    "batch_norm",
    "length_scale",
    "tuning_budget",
    "tuning_min_units",
    "epochs",
    "learning_rate",
    "folds",
    "n_samples",
    "sub_bank_size",
    "prior_temperature",
    "prior_units",
    "min_calibration_units",
    "review_quantile",
    "novelty_percentile",
    "alarm_probability",
)
"""Settings that influence the figures; the document records their values."""


@dataclass(frozen=True)
class Request:
    """What to evaluate.

    Attributes
    ----------
    manifest, root
        CSV file, and the folder of its signal files (None: the manifest's). Kind `simulated` has neither.
    mappings
        Files or shipped names; empty: every shipped mapping that selects a row.
    protocol
        File or shipped name.
    methods
        Rows of the table; empty: all rows of the kind.
    seeds
        Number of seeds; the seeds are 1, 2, ... up to this.
    commit
        State of the code that the document records.
    fleets
        Folder that keeps simulated fleets for later evaluations; None: a temporary one.
    budget
        The review budget that is asked for; None for none.
    """

    manifest: Path | None
    protocol: Path | str
    root: Path | None = None
    mappings: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: int = 5
    commit: str = "unknown"
    fleets: Path | None = None
    budget: BudgetAsked | None = None


def evaluate(request: Request, settings: Settings, *, on_progress: Progress | None = None) -> dict[str, Any]:
    """Evaluate, and return the document that `evaluation.json` holds.

    Raises
    ------
    EvaluationRefused
        Something is wrong with protocol, manifest, mappings or signals.
    SettingsError
        The kind does not have a requested method, or cannot have a review budget.
    """
    protocol = load_protocol(request.protocol)
    methods = methods_of(protocol.kind, request.methods)
    seeds = range(1, request.seeds + 1)
    if isinstance(protocol, SimulatedProtocol):
        return _simulated(request, protocol, settings, methods, seeds, on_progress)
    if request.manifest is None:
        raise EvaluationRefused(
            f"protocol {protocol.name}",
            [f"kind {protocol.kind!r} needs recordings; give their manifest (--manifest), or a simulated protocol"],
        )
    selection = select(request.manifest, protocol)

    def reading(done: int, total: int) -> None:
        if on_progress:
            on_progress("features", done, total)

    dataset = load_dataset(
        request.manifest,
        selection.rows,
        settings,
        root=request.root,
        mappings=request.mappings,
        on_progress=reading,
    )
    if request.budget is not None and protocol.kind != "classification":
        raise SettingsError(
            f"--max-miss-rate: kind {protocol.kind!r} cannot have a review budget; only kinds 'classification' and "
            "'simulated' have labelled faults and healthy units"
        )
    result = _carry_out(protocol, selection, dataset, settings, methods, seeds, request.budget, on_progress)
    data = {
        "manifest": request.manifest.name,
        "mappings": list(dataset.mappings),
        "recordings": dataset.recordings,
        **result.about,
    }
    result.notes[:0] = dataset.notes
    return document(request, protocol, result, settings, dataset.left_out | result.left_out, data)


def _simulated(
    request: Request,
    protocol: SimulatedProtocol,
    settings: Settings,
    methods: Sequence[str],
    seeds: Sequence[int],
    on_progress: Progress | None,
) -> dict[str, Any]:
    """Evaluate on simulated fleets; they are kept only if the request names a folder for them."""
    if request.manifest is not None or request.mappings or request.root is not None:
        raise EvaluationRefused(
            f"protocol {protocol.name}", ["kind 'simulated' does not use a manifest, a mapping or a root; leave it out"]
        )
    with tempfile.TemporaryDirectory(prefix="axiswatch-fleets-") as scratch:
        prepared = simulated.prepare_fleets(protocol, settings, request.fleets or Path(scratch), on_progress)
    result = classification.evaluate_classification(
        prepared.task, methods=methods, seeds=seeds, budget=request.budget, on_progress=on_progress
    )
    result.notes.insert(0, "A simulated figure never supports a claim about real machines.")
    data = {"recordings": prepared.recordings, **result.about}
    return document(request, protocol, result, settings, result.left_out, data)


def methods_of(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return the rows of the table, in the order of the kind; all of them where no name is given.

    Raises
    ------
    SettingsError
        The kind does not have a name.
    """
    rows = ROWS[kind]
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise SettingsError(
            f"--methods: kind {kind!r} has no {', '.join(map(repr, unknown))}; it has {', '.join(rows)}"
        )
    return tuple(name for name in rows if not names or name in names)


def document(
    request: Request,
    protocol: Protocol | SimulatedProtocol,
    result: EvaluationResult,
    settings: Settings,
    left_out: dict[str, int],
    data: dict[str, Any],
) -> dict[str, Any]:
    """Build the document that is written to `evaluation.json`."""
    settings_shown = settings.model_dump(mode="json", include=set(SETTINGS_SHOWN))
    leaked = summarise(result.runs, "leaked") if any(run.get("leaked") for run in result.runs) else None
    return {
        "protocol": protocol.name,
        "kind": protocol.kind,
        "commit": request.commit,
        "summary": summarise(result.runs),
        "leaked_summary": leaked,
        "intervals": result.intervals,
        "curves": result.curves,
        "review_budget": result.review_budget,
        "runs": result.runs,
        "notes": result.notes,
        "left_out": left_out,
        "data": data,
        "protocol_read": protocol.model_dump(mode="json", exclude_none=True),
        "settings": settings_shown,
    }


def _carry_out(
    protocol: Protocol,
    selection: Selection,
    dataset: Dataset,
    settings: Settings,
    methods: Sequence[str],
    seeds: Sequence[int],
    budget: BudgetAsked | None,
    on_progress: Progress | None,
) -> EvaluationResult:
    if protocol.kind == "trend":
        return trend.evaluate_trend(protocol, selection, dataset.windows, methods=methods)
    if protocol.kind == "healthy":
        return healthy.evaluate_healthy(
            protocol, selection, dataset.windows, settings, seeds=seeds, on_progress=on_progress
        )
    task = classification.prepare(protocol, selection, dataset, settings)
    return classification.evaluate_classification(
        task, methods=methods, seeds=seeds, budget=budget, on_progress=on_progress
    )
