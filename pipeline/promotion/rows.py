"""The rows that the gate judges: labelled recordings, and the held-out predictions of both models for them.

Each recording has two findings. `then` is what the champion knew: labels known at its cut-off and not withdrawn since,
or corrected by stronger evidence since. `now` is what all labels say today. Wrong labels in a new batch can change
`now`, but never `then`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.engine import Connection

from models.kinds import HEALTHY
from models.model import Model
from models.threads import one_thread
from pipeline.base.settings import ExtractionSettings, TrainSettings
from pipeline.extraction.baselines import Baselines, with_change
from pipeline.extraction.in_force import feature_version_of
from pipeline.extraction.reading import read_features
from pipeline.labels.findings import Finding, Findings, answered
from pipeline.labels.labels import known_labels
from pipeline.labels.words import STRENGTH
from pipeline.promotion.gate import FloatArray, ModelOnRows, Rows
from pipeline.registry.held_out import ARRAYS, Predictions, by_recording
from pipeline.store.attribution import extractions, unit_name
from pipeline.store.lake import Lake
from pipeline.store.tables import Extraction


@dataclass(frozen=True)
class JudgedRecording:
    """A recording that the challenger is judged on: its extraction, its unit, and both findings.

    `confirmed`: whether somebody has confirmed today's finding when asked about it.
    """

    row: Any
    unit: str
    then: Finding | None
    now: Finding | None
    confirmed: bool = False

    @property
    def is_new(self) -> bool:
        """Whether today's finding differs from the one that the champion knew."""
        return self.now is not None and (self.then is None or self.then.label.label_id != self.now.label.label_id)


def labelled_recordings(
    connection: Connection,
    settings: TrainSettings,
    scope: str,
    recording_ids: Iterable[str],
    *,
    cutoff: datetime,
    as_of: datetime,
    unlearned: Collection[str] = (),
    set_aside: Collection[str] = (),
) -> list[JudgedRecording]:
    """Return those of the given recordings that have a finding then (`cutoff`) or now (`as_of`).

    Parameters
    ----------
    recording_ids
        Ids of recordings of the scope.
    cutoff
        Label cut-off of the champion.
    unlearned, set_aside
        Ids of labels that were set aside in the champion's training (it did not know them then), and of those that the
        challenger's training has set aside (they count for nothing now).
    """
    today = answered(known_labels(connection, known_by=as_of))
    standing = {label.label_id for label in today.standing}
    before_now = [label for label in known_labels(connection, known_by=cutoff) if label.label_id in standing]
    then = [label for label in before_now if label.label_id not in unlearned]
    now = [label for label in today.standing if label.label_id not in set_aside]
    sides = [Findings(labels, settings.evidence_weights) for labels in (now, then)]
    rows = []
    for row in _extracted(connection, settings, scope, recording_ids):
        found, before = (findings.of(row) for findings in sides)
        if found is not None and before is not None and _corrected(before, found):
            before = replace(found, label=before.label)
        if found is not None or before is not None:
            confirmed = found is not None and found.label.label_id in today.confirmed
            rows.append(JudgedRecording(row, unit_name(row.unit_serial, row.axis_id), before, found, confirmed))
    return rows


def withdrawn_findings(
    connection: Connection,
    settings: TrainSettings,
    scope: str,
    recording_ids: Iterable[str],
    *,
    cutoff: datetime,
    as_of: datetime,
) -> int:
    """Count the findings (unit and class) of the given recordings whose label was withdrawn between the two times."""
    known = known_labels(connection, known_by=cutoff)
    gone = {label.label_id for label in known} - {label.label_id for label in known_labels(connection, known_by=as_of)}
    if not gone:
        return 0
    findings = Findings(known, settings.evidence_weights)
    said = ((row, findings.of(row)) for row in _extracted(connection, settings, scope, recording_ids))
    lost = {
        (unit_name(row.unit_serial, row.axis_id), finding.target)
        for row, finding in said
        if finding is not None and finding.label.label_id in gone
    }
    return len(lost)


def _extracted(
    connection: Connection, settings: TrainSettings, scope: str, recording_ids: Iterable[str]
) -> Iterator[Any]:
    query = (
        extractions(scope=scope, feature_version=feature_version_of(settings, scope))
        .where(Extraction.n_windows > 0)
        .order_by(Extraction.started_at, Extraction.recording_id)
    )
    names = set(recording_ids)
    return (row for row in connection.execute(query) if row.recording_id in names)


def _corrected(before: Finding, today: Finding) -> bool:
    """Return whether stronger evidence has corrected the finding since; then the correction holds for `then`, too."""
    stronger = STRENGTH[today.label.evidence] > STRENGTH[before.label.evidence]
    return stronger and today.target != before.target


def champion_predictions(
    connection: Connection,
    lake: Lake,
    settings: ExtractionSettings,
    model: Model,
    kept: Predictions | None,
    known_units: frozenset[str],
    recordings: Sequence[JudgedRecording],
    *,
    as_of: datetime,
) -> Predictions | None:
    """Return the champion's predictions for recordings whose unit it was not trained on: stored ones, else new ones.

    A recording of a unit that it was trained on is left out, unless it was held out then: the prediction would be too
    good.
    """
    places = {} if kept is None else kept.place()
    strangers = [item for item in recordings if item.row.recording_id not in places and item.unit not in known_units]
    if model.kind == "baseline_only":
        return None
    if not strangers or model.feature_version != strangers[0].row.feature_version:
        return kept
    known = Baselines(connection, as_of)
    absolute = read_features(lake, settings, [item.row for item in strangers])
    parts, scored = [], []
    for item, part in zip(strangers, absolute, strict=True):
        if len(part):
            parts.append(with_change(part, known.of(item.row)))
            scored.append((str(item.row.recording_id), item.unit, len(part)))
    if not parts:
        return kept
    x = np.concatenate(parts)
    balanced = replace(model, log_prior_correction=np.zeros(len(model.classes)))
    with one_thread():
        scores = balanced.score(x)
    sizes = [size for _, _, size in scored]
    fresh = by_recording(
        scores.class_probabilities,
        np.repeat([name for name, _, _ in scored], sizes),
        np.repeat([unit for _, unit, _ in scored], sizes),
        model.classes,
    )
    return fresh if kept is None else joined(kept, fresh)


def joined(first: Predictions, second: Predictions) -> Predictions:
    """Return the predictions of two disjoint sets of recordings together."""
    return Predictions(
        first.classes,
        **{name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in ARRAYS},
    )


def only(predictions: Predictions, recordings: npt.NDArray[np.str_]) -> Predictions:
    """Return the predictions of some recordings."""
    kept = np.isin(predictions.recording, recordings)
    return Predictions(predictions.classes, **{name: getattr(predictions, name)[kept] for name in ARRAYS})


def make_rows(
    recordings: Sequence[JudgedRecording], challenger: Predictions, champion: Predictions, *, which: str
) -> Rows | None:
    """Group recordings that both models predicted by unit and finding; None where there is none.

    Parameters
    ----------
    which
        `then` or `now`: which findings to judge by.
    """
    of_challenger, of_champion = challenger.place(), champion.place()
    common = frozenset(challenger.classes) & frozenset(champion.classes)
    any_fault = HEALTHY in common
    groups: dict[tuple[str, str], list[tuple[int, int, float]]] = {}
    for item in recordings:
        finding: Finding | None = getattr(item, which)
        name = str(item.row.recording_id)
        if finding is None or name not in of_challenger or name not in of_champion:
            continue
        if finding.target not in common and not any_fault:
            continue
        place = of_challenger[name], of_champion[name], finding.weight
        groups.setdefault((item.unit, finding.target), []).append(place)
    if not groups:
        return None
    keys = sorted(groups)
    return Rows(
        unit=np.array([unit for unit, _ in keys]),
        finding=np.array([finding for _, finding in keys]),
        weight=np.array([np.mean([weight for _, _, weight in groups[key]]) for key in keys]),
        row_of=np.repeat(np.arange(len(keys)), [len(groups[key]) for key in keys]),
        challenger=_judged(challenger, [[place[0] for place in groups[key]] for key in keys], keys, common),
        champion=_judged(champion, [[place[1] for place in groups[key]] for key in keys], keys, common),
    )


def _judged(
    predicted: Predictions, members: list[list[int]], keys: list[tuple[str, str]], common: frozenset[str]
) -> ModelOnRows:
    nll = []
    for rows, (_, finding) in zip(members, keys, strict=True):
        own = (
            predicted.log_p[rows, predicted.classes.index(finding)] if finding in common else predicted.log_fault[rows]
        )
        nll.append(-float(own.mean()))
    p: FloatArray = np.array([predicted.p[rows].mean(axis=0) for rows in members])
    fault = np.full(sum(map(len, members)), np.nan)
    if HEALTHY in predicted.classes:
        fault = 1.0 - predicted.p[[row for rows in members for row in rows], predicted.classes.index(HEALTHY)]
    return ModelOnRows(predicted.classes, p, np.array(nll), fault)


def challenger_rows(
    recordings: Sequence[JudgedRecording], challenger: Predictions
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_], ModelOnRows, list[list[JudgedRecording]]]:
    """Group all recordings of the challenger by unit and today's finding, whether or not the champion predicted them.

    Returns
    -------
    units, findings, the challenger's probabilities, and the recordings of each row.
    """
    place = challenger.place()
    groups: dict[tuple[str, str], list[JudgedRecording]] = {}
    for item in recordings:
        if item.now is not None and str(item.row.recording_id) in place:
            groups.setdefault((item.unit, item.now.target), []).append(item)
    keys = sorted(groups)
    members = [[place[str(item.row.recording_id)] for item in groups[key]] for key in keys]
    judged = _judged(challenger, members, keys, frozenset(challenger.classes))
    return np.array([k[0] for k in keys]), np.array([k[1] for k in keys]), judged, [groups[key] for key in keys]
