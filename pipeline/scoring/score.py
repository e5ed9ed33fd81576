"""score: the champion of each scope scores every window that it has not scored yet.

A recording that this sensor on this unit cannot have made gets that data-quality verdict and no figures; it is compared
with the unit's own baseline of the same regime (`features.quality.plausibility`). A data fault is not a machine fault.

A recording is due when it has features at the champion's feature version and with the geometry version of the unit on
the axis. Only marked recordings are looked at (`pipeline.store.due`), the newest first. A new champion makes due again
what `pipeline.scoring.selection` selects. Each recording is compared with the newest baseline of its unit known at
`as_of`. Scores are committed one chunk at a time, so memory does not grow with the backlog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.quality.quality import Quality
from pipeline.base.figures import finite_or_none
from pipeline.base.log_schema import SCOPES, quantity_of
from pipeline.base.regime import program_of
from pipeline.base.settings import ExtractionSettings, ScoreSettings
from pipeline.cases.axis_state import ScoredWindow, windows_of
from pipeline.extraction.baselines import Baselines
from pipeline.extraction.in_force import feature_versions
from pipeline.extraction.reading import Chunk, read_chunk
from pipeline.registry.versions import champions
from pipeline.scoring.selection import RescoreSelection
from pipeline.store import due
from pipeline.store.attribution import extractions, own_baseline
from pipeline.store.batches import EVER, Between, Stretch, portions, stretches
from pipeline.store.database import Store, bulk_insert, ensure_partitions, insert_ignore
from pipeline.store.lake import Lake
from pipeline.store.tables import DueWork, Extraction, ModelVersion, Score, Scoring

if TYPE_CHECKING:
    from models.model import Model, Scores

PAGE = 4000

Only = sa.ColumnElement[bool] | None
"""SQL condition: which extractions are scored; None: all that are due."""

STATISTICS = {
    "fault_probability": "fault_probability",
    "fault_std": "fault_std",
    "fault_q05": "fault_q05",
    "fault_q95": "fault_q95",
    "predictive_entropy": "predictive_entropy",
    "expected_entropy": "expected_entropy",
    "mutual_information": "mutual_information",
    "fault_expected_entropy": "fault_expected_entropy",
    "fault_mutual_information": "fault_mutual_information",
    "novelty": "novelty_raw",
    "novelty_percentile": "novelty_percentile",
    "monte_carlo_se": "monte_carlo_se",
    "unmodelled_probability": "unmodelled",
}
"""From a column of the score table to the field of the model's scores."""


@dataclass
class ScoreReport:
    """Counts of one run of score."""

    recordings: int = 0
    windows: int = 0
    not_scored: int = 0
    models: dict[str, str] = field(default_factory=dict)
    scopes_without_model: list[str] = field(default_factory=list)
    scopes_to_retrain: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return dict(vars(self))


def score_due(
    store: Store,
    lake: Lake,
    settings: ScoreSettings,
    *,
    as_of: datetime,
    on_progress: Callable[[int, int], None] | None = None,
) -> ScoreReport:
    """Score every marked window with the champion of its scope.

    The champions are read once, so a run does not mix two of a scope. If the feature settings have changed since a
    champion was trained, its scope is listed in `scopes_to_retrain`: its new recordings are not scored until a model is
    trained and promoted.
    """
    report = ScoreReport()
    refresh_marks(store, settings, as_of)
    with store.read() as connection:
        named = champions(connection)
        trained_at = dict(connection.execute(sa.select(ModelVersion.model_version, ModelVersion.feature_version)).all())
        marked = sa.select(DueWork.subject).where(DueWork.step == due.SCORE)
        others = [scope for scope in SCOPES if scope not in named]
        report.scopes_without_model = [
            scope for scope in others if connection.scalar(marked.where(DueWork.scope == scope).limit(1)) is not None
        ]
    versions = feature_versions(settings)
    for scope in sorted(named):
        report.models[scope] = named[scope]
        if trained_at[named[scope]] != versions[quantity_of(scope)]:
            report.scopes_to_retrain.append(scope)
        score_scope(store, lake, settings, scope, named[scope], as_of=as_of, report=report, on_progress=on_progress)
    return report


def plan_score(
    store: Store,
    scope: str,
    version: str,
    *,
    as_of: datetime,
    between: Between = EVER,
    only: Only = None,
    size: int,
    most: int,
) -> tuple[list[dict[str, Any]], int, int]:
    """Split the recordings that a model has to score into batches of up to `size` windows.

    The marked recordings, newest first; with `between` or `only` every recording of that time or of that kind that the
    model has not scored yet. See `pipeline.store.batches`.
    """
    if between == EVER and only is None:
        with store.read() as connection:
            waiting = due.waiting(connection, _queue(connection, scope, version), as_of)
            return stretches(waiting, size=size, most=most)
    found = _due_query(scope, version, as_of, None, only).where(*between.holds(Extraction.started_at))
    query = found.with_only_columns(*due.of_extractions()[2:])
    with store.read() as connection:
        rows = connection.execution_options(yield_per=PAGE).execute(
            query.order_by(Extraction.started_at, Extraction.recording_id)
        )
        return stretches(((row[0], row[1], row[2]) for row in rows), size=size, most=most)


def score_scope(
    store: Store,
    lake: Lake,
    settings: ExtractionSettings,
    scope: str,
    version: str,
    *,
    as_of: datetime,
    report: ScoreReport,
    within: Stretch | None = None,
    only: Only = None,
    search: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Score every window of a scope that is due for one model and lies in `within`; add the counts to the report.

    Parameters
    ----------
    search
        Look at every extraction in `within`; False: only at those that are marked, which is for champions.
    only
        SQL condition of a search: which extractions are scored; None: all that are due.
    """
    model: Model | None = None
    done = total = 0
    if on_progress and not search:
        with store.read() as connection:
            total = due.count(connection, _queue(connection, scope, version), as_of, within)
    for page, marks in _pages(store, scope, version, as_of, within, only, search):
        for rows in portions(page, lambda row: row.n_windows, settings.score_chunk_windows):
            model = model or _load_model(store, lake, version)
            with store.read() as connection:
                baselines = Baselines(connection, as_of).of_all(rows)
            chunk = read_chunk(lake, rows, model.feature_names, baselines)
            scored = score_rows(model, version, chunk, as_of)
            scorings = [_scoring(row, version, chunk.baseline_version(row.recording_id), as_of) for row in rows]
            ensure_partitions(store, {row.started_at for row in rows})
            with store.write() as connection:
                bulk_insert(connection, Score, scored)
                insert_ignore(connection, Scoring, sorted(scorings, key=lambda row: str(row["recording_id"])))
                due.done(connection, marks, [row.recording_id for row in rows])
            report.recordings += len(rows)
            report.windows += len(scored)
            report.not_scored += sum(row["quality"] != Quality.OK for row in scored)
            done += len(rows)
            if on_progress:
                on_progress(done, max(total, done))
    store.refresh_statistics(done)


def refresh_marks(store: Store, settings: ScoreSettings, as_of: datetime) -> None:
    """Where the champion of a scope has changed, mark what the new one has to score.

    For the first champion that this finds, that is all; later only what is selected, and what nobody has scored yet.
    """
    with store.read() as connection:
        if not due.changed_bases(connection, due.SCORE, champions(connection)):
            return
    with store.write() as connection:
        named = champions(connection)
        for scope, before in due.changed_bases(connection, due.SCORE, named).items():
            found = _due_query(scope, named[scope], None).with_only_columns(*due.of_extractions())
            selection = RescoreSelection.at(settings, as_of)
            ours = [DueWork.step == due.SCORE, DueWork.scope == scope]
            if before is not None:
                scored = sa.exists().where(Scoring.recording_id == DueWork.subject)
                ours += [DueWork.at < selection.recent_from, scored]
            connection.execute(sa.delete(DueWork).where(*ours))
            for part in (sa.true(),) if before is None else selection.parts():
                due.mark_selected(connection, due.SCORE, found.where(part), named[scope])
        due.set_bases(connection, due.SCORE, named)


def _load_model(store: Store, lake: Lake, version: str) -> Model:
    """Load a model; only a run that has something to score imports torch, which takes longer than all the rest."""
    from pipeline.registry.registry import load_model

    return load_model(store, lake, version)


def _queue(connection: Connection, scope: str, version: str) -> due.Queue:
    return due.Queue(due.SCORE, scope, str(connection.scalar(sa.select(_feature_version_of(version)))))


def _due_query(
    scope: str, version: str, as_of: datetime | None, within: Stretch | None = None, only: Only = None
) -> sa.Select[Any]:
    query = extractions(scope=scope, feature_version=_feature_version_of(version)).where(_unscored(version))
    query = query if as_of is None else query.where(Extraction.started_at <= as_of)
    query = query if only is None else query.where(only)
    return query if within is None else query.where(within.holds(Extraction.started_at, Extraction.recording_id))


def _unscored(version: str) -> sa.ColumnElement[bool]:
    """SQL: the model has no valid score of an extraction."""
    return ~sa.exists().where(
        Scoring.recording_id == Extraction.recording_id,
        Scoring.feature_version == Extraction.feature_version,
        Scoring.geometry_version == Extraction.geometry_version,
        Scoring.model_version == version,
        own_baseline(Scoring.baseline_version),
    )


def _feature_version_of(version: str) -> sa.ScalarSelect[str]:
    return sa.select(ModelVersion.feature_version).where(ModelVersion.model_version == version).scalar_subquery()


def _pages(
    store: Store, scope: str, version: str, as_of: datetime, within: Stretch | None, only: Only, search: bool
) -> Iterator[tuple[list[Row[Any]], due.Marks]]:
    """Read due extractions, oldest first in a page, with their marks. The marks of what is not due are removed."""
    oldest_first = (Extraction.started_at, Extraction.recording_id)
    marks = due.NO_MARKS
    while True:
        with store.read() as connection:
            if search:
                page = _due_query(scope, version, as_of, within, only).order_by(*oldest_first).limit(PAGE)
                rows = list(connection.execute(page))
            else:
                if due.changed_bases(connection, due.SCORE, {scope: version}):
                    return  # the marks are another champion's by now
                queue = _queue(connection, scope, version)
                marks = due.take(connection, queue, as_of, within)
                # Only the ids are conditions: with the others a database may choose an index over all history.
                asked = extractions().where(Extraction.recording_id.in_(marks.causes), _unscored(version))
                found = connection.execute(asked.order_by(*oldest_first))
                rows = [row for row in found if (row.scope, row.feature_version) == (scope, queue.version)]
        due.drop_others(store, marks, {row.recording_id for row in rows})
        if rows:
            yield rows, marks
        if marks.is_last if not search else not rows:
            return


def score_rows(model: Model, version: str, chunk: Chunk, as_of: datetime) -> list[dict[str, Any]]:
    """Score a chunk and return database rows. A window with a bad verdict or a non-finite score has no figures."""
    if not len(chunk.x):
        return []
    from models.threads import one_thread

    with one_thread():
        scores = model.score(chunk.x)
    n_samples = scores.n_samples if scores.n_samples > 1 else None
    windows = chunk.windows
    rows = []
    for extraction, start, length, turns, missing, figures in zip(
        windows["row"],
        windows["start_sample"],
        windows["n_window_samples"],
        windows["turns_covered"],
        scores.n_missing.tolist(),
        figures_of(scores, model.classes, windows["quality"], windows["evidence"]),
        strict=True,
    ):
        usable = figures["quality"] == Quality.OK
        rows.append(
            {
                "started_at": extraction.started_at,
                "recording_id": extraction.recording_id,
                "start_sample": start,
                "feature_version": extraction.feature_version,
                "geometry_version": extraction.geometry_version,
                "baseline_version": chunk.baseline_version(extraction.recording_id),
                "model_version": version,
                "axis_id": extraction.axis_id,
                "channel": extraction.channel,
                "unit_serial": extraction.unit_serial,
                "n_window_samples": length,
                "turns_covered": finite_or_none(turns),
                "n_mc_samples": n_samples if usable else None,
                "fault_prior": model.fault_prior if usable else None,
                "n_missing_features": missing,
                "regime": extraction.regime,
                "known_at": as_of,
                **figures,
            }
        )
    return rows


def windows_in_memory(
    connection: Connection, lake: Lake, model: Model, version: str, rows: Sequence[Row[Any]], as_of: datetime
) -> list[tuple[datetime, ScoredWindow]]:
    """Score extractions without storing anything; return each window as advise reads it, with its recording's start.

    Each recording is compared with the newest baseline of its unit known at `as_of`, as in `score_scope`.
    """
    baselines = Baselines(connection, as_of).of_all(rows)
    scored = score_rows(model, version, read_chunk(lake, rows, model.feature_names, baselines), as_of)
    windows = windows_of(
        scored,
        channel=[row["channel"] for row in scored],
        program=[program_of(row["regime"]) or "" for row in scored],
        model_version=version,
    )
    return [(row["started_at"], window) for row, window in zip(scored, windows, strict=True)]


def figures_of(
    scores: Scores, classes: Sequence[str], quality: Sequence[str], evidence: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the verdict and the figures of each window, by column of the score table.

    Parameters
    ----------
    scores
        The scores of n windows.
    classes
        (C,) classes of the model.
    quality, evidence
        (n,) data-quality verdict of each window, and its evidence.

    Returns
    -------
    list of dict
        quality, evidence, class_probabilities and the columns of `STATISTICS`. A figure is None where the method does
        not define it. All figures are None where the verdict is bad or the score is not finite, which is then the
        verdict; only `blocked_probability`, the fault probability of a bad signal, is there with a bad verdict alone.
    """
    good = np.array([verdict == Quality.OK for verdict in quality], dtype=bool)
    usable = good & scores.finite
    columns = [getattr(scores, name) for name in STATISTICS.values()]
    nothing = np.array(None, dtype=object)
    figures = [np.where(usable & np.isfinite(values), values.astype(object), nothing).tolist() for values in columns]
    hidden = ~good & scores.finite & np.isfinite(scores.fault_probability)
    figures.append(np.where(hidden, scores.fault_probability.astype(object), nothing).tolist())
    shared = usable & np.isfinite(scores.class_probabilities).all(axis=1)
    shares = [
        dict(zip(classes, p, strict=True)) if known else None
        for p, known in zip(scores.class_probabilities.tolist(), shared.tolist(), strict=True)
    ]
    found = [bool(bad) for bad in good & ~scores.finite]
    verdicts = [str(Quality.NON_FINITE if bad else verdict) for verdict, bad in zip(quality, found, strict=True)]
    reasons = ["the score is not finite" if bad else rests_on for rests_on, bad in zip(evidence, found, strict=True)]
    names = (*STATISTICS, "blocked_probability", "class_probabilities", "quality", "evidence")
    return [dict(zip(names, row, strict=True)) for row in zip(*figures, shares, verdicts, reasons, strict=True)]


def _scoring(row: Row[Any], version: str, baseline: str, as_of: datetime) -> dict[str, Any]:
    return {
        "recording_id": row.recording_id,
        "feature_version": row.feature_version,
        "geometry_version": row.geometry_version,
        "baseline_version": baseline,
        "model_version": version,
        "axis_id": row.axis_id,
        "started_at": row.started_at,
        "known_at": as_of,
        "advised": False,
    }
