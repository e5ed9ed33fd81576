"""What the signal of a case shows without the model: regime, strongest bearing line, and which features changed.

It is computed from stored features after advise, so the queue can show it in words and cases can be compared without
reading the lake. The model has no part in it: the line is what a reader of the spectrum sees
(`features.spectra.evidence`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.health.baseline import Reference, known_median
from features.quality.quality import Quality
from features.spectra.evidence import DIAGNOSES, diagnose
from pipeline.base.settings import ExtractionSettings
from pipeline.cases.memory import DATA, evidence_noted
from pipeline.extraction.baselines import Baselines
from pipeline.extraction.in_force import feature_names_of
from pipeline.extraction.reading import read_features
from pipeline.labels.words import Mode
from pipeline.store.attribution import attributed_unit, extractions, scores, unit_at
from pipeline.store.database import Store, upsert
from pipeline.store.lake import Lake
from pipeline.store.tables import AxisState, Case, CaseEvidence, Extraction, Geometry, Recording, Score, Unit

Numbers = npt.NDArray[np.float64]


def channels_of(connection: Connection, case: Any) -> list[str]:
    """Return the channels with recordings in the time of a case, by name."""
    query = (
        sa.select(Recording.channel)
        .where(
            Recording.axis_id == case["axis_id"],
            Recording.started_at >= case["first_at"],
            Recording.started_at <= case["last_at"],
        )
        .distinct()
        .order_by(Recording.channel)
    )
    return list(connection.scalars(query))


def loudest_recording(connection: Connection, case: Any, channel: str = "") -> Any:
    """Return the recording of a case (of one channel) with the highest fault probability, else the newest one.

    For a case about data it is the newest recording with a bad verdict. None where nothing was recorded, or the
    recordings were deleted.
    """
    if case["family"] == DATA and (bad := _newest_bad(connection, case, channel)) is not None:
        return bad
    inside = [
        Score.axis_id == case["axis_id"],
        Score.started_at >= case["first_at"],
        Score.started_at <= case["last_at"],
        Score.fault_probability.is_not(None),
    ]
    of_axis = [Recording.axis_id == case["axis_id"], Recording.started_at <= case["last_at"]]
    if channel:
        inside.append(Score.channel == channel)
        of_axis.append(Recording.channel == channel)
    best = scores(Score.recording_id, Score.fault_probability, Score.started_at).where(*inside)
    best = best.order_by(Score.fault_probability.desc(), Score.started_at.desc(), Score.recording_id).limit(1)
    found: list[Row[Any]] = []
    if (earlier := case.get("shown_before")) is not None:
        for part in _may_be_louder(connection, case, earlier):
            found += connection.execute(best.where(part))
    found = found or [*connection.execute(best)]
    found.sort(key=lambda row: row.recording_id)
    found.sort(key=lambda row: (row.fault_probability, row.started_at), reverse=True)
    recording_id = found[0].recording_id if found else None
    if recording_id is not None:
        return connection.execute(sa.select(Recording).where(Recording.recording_id == recording_id)).one_or_none()
    newest = sa.select(Recording).where(*of_axis)
    newest = newest.order_by(Recording.started_at.desc(), Recording.recording_id).limit(1)
    return connection.execute(newest).one_or_none()


def unit_of(connection: Connection, case: Any) -> str | None:
    """Return the unit that a case is about: the one of its most suspicious recording; None: it is not known.

    The unit may be replaced before the case ends, and the next one has nothing to do with what was seen.
    """
    shown = loudest_recording(connection, case)
    moment = case["last_at"] if shown is None else max(shown.started_at, case["first_at"])
    return unit_at(connection, case["axis_id"], moment)


def _may_be_louder(connection: Connection, case: Any, earlier: str) -> list[sa.ColumnElement[bool]]:
    """SQL, to be asked one by one: scores of the loudest recording before, and those from the first changed bin on.

    Of a long case few recordings are new; the others were compared when the evidence was made. An axis state that was
    written since then names the bins.
    """
    changed = sa.select(AxisState.bin_at).where(
        AxisState.axis_id == case["axis_id"], AxisState.known_at >= case["shown_until"]
    )
    since = min(connection.scalars(changed), default=None)
    at = connection.scalar(sa.select(Recording.started_at).where(Recording.recording_id == earlier))
    if at is None:  # it was deleted
        return []
    newer = [] if since is None else [Score.started_at >= since]
    return [sa.and_(Score.started_at == at, Score.recording_id == earlier), *newer]


def _newest_bad(connection: Connection, case: Any, channel: str) -> Any:
    query = (
        sa.select(Recording)
        .join(Extraction, Extraction.recording_id == Recording.recording_id)
        .where(
            Extraction.axis_id == case["axis_id"],
            Extraction.started_at >= case["first_at"],
            Extraction.started_at <= case["last_at"],
            Extraction.quality != Quality.OK,
            *([Extraction.channel == channel] if channel else []),
        )
    )
    return connection.execute(query.order_by(Extraction.started_at.desc(), Recording.recording_id).limit(1)).first()


def newest_extraction(connection: Connection, recording_id: str) -> Any:
    """Return the newest extraction of a recording, with the unit that it belongs to now; None where there is none."""
    query = extractions(any_geometry=True).where(Extraction.recording_id == recording_id)
    return connection.execute(query.order_by(Extraction.known_at.desc()).limit(1)).one_or_none()


def healthy_reference(connection: Connection, extraction: Any, before: datetime) -> Any:
    """Return the first good recording of the same channel, unit and regime before a time; None where there is none."""
    query = extractions(Recording, any_geometry=True).where(
        Recording.axis_id == extraction.axis_id,
        Recording.channel == extraction.channel,
        Extraction.regime == extraction.regime,
        Extraction.quality == Quality.OK,
        attributed_unit().is_not_distinct_from(extraction.unit_serial),
        Recording.started_at < before,
    )
    return connection.execute(query.order_by(Recording.started_at).limit(1)).one_or_none()


def moved_by(now: Numbers, reference: Reference) -> Numbers:
    """Return how far features lie from a baseline, in spreads; NaN where either is not known or does not vary.

    Parameters
    ----------
    now : float64 array, shape (F,)
        Features.
    reference : Reference of F features
        Median and spread of the baseline.
    """
    moved: Numbers = (now - reference.median) / np.where(reference.spread == 0.0, np.nan, reference.spread)
    return np.where(np.isfinite(moved), moved, np.nan)


LINES: Final = {
    Mode.OUTER_RACE: ("bpfo", "bpfo", 1.0, "evidence_outer_h1_db", "evidence_outer_offset_percent", "outer_ring"),
    Mode.INNER_RACE: ("bpfi", "bpfi", 1.0, "evidence_inner_h1_db", "evidence_inner_offset_percent", "inner_ring"),
    Mode.BALL: ("bsf2x", "bsf", 2.0, "evidence_ball_h1_db", "evidence_ball_offset_percent", "ftf"),
    Mode.CAGE: ("ftf", "ftf", 1.0, "ses_white_ftf_mean13_db", None, None),
}
"""For each bearing part its line; the order of the geometry, and its factor (a ball strikes twice a turn); the
features of height and place, where peaks of shafts and meshes are left out; and what turns it through the load, so that
sidebands stand at its distance. A cage counts with its harmonics: one line alone is the modulation of a ball fault."""

LEAST_DB: Final = 6.0
"""A line of twice the floor's amplitude, dB; a lower line is no peak, even if its harmonics are high."""

SAME: Final = 0.003
"""Two lines nearer than this share of their order are one."""

MOST_A_RUN: Final = 2000
BATCH: Final = 200
FARTHEST: Final = 100.0
"""In spreads; larger distances are stored as this."""


def bearing_lines(
    values: npt.NDArray[Any], names: Sequence[str], orders: Mapping[str, Any], *, least_db: float = LEAST_DB
) -> list[dict[str, Any]]:
    """Return what the envelope spectra show of the line of each bearing part.

    Parameters
    ----------
    values : float array, shape (n, F)
        Features of the windows of one recording; their median is used.
    names : sequence of str, length F
    orders : mapping
        Orders of the geometry: bpfo, bpfi, bsf, ftf, inner_ring, outer_ring (multiples of the shaft's speed).
    least_db
        A line is found where it is at least this high over the floor, mean over the envelopes, dB.

    Returns
    -------
    list of dict
        For each part whose order is known: `part`; `expected` and measured `order` (None where it is not measured), in
        multiples of the shaft's speed; `db`, its height (None where it is not resolved, as beside a line of the shaft);
        `belongs_to`, the part that explains this line better (None: none does): it is a sideband of that part's line,
        which lies nearer to its own order, or a multiple of the cage's, which stand higher; `found`: it is high enough
        and belongs to no other part. Empty without windows.
    """
    place = {name: number for number, name in enumerate(names)}
    middle = known_median(values)
    lines: list[dict[str, Any]] = []
    for part, (_, base, times, height, off, _) in LINES.items() if len(values) else ():
        if height not in place or orders.get(base) is None:
            continue
        db, expected = float(middle[place[height]]), times * float(orders[base])
        percent = math.nan if off is None else float(middle[place[off]])
        order = expected * (1.0 + percent / 100.0) if math.isfinite(percent) else None
        row = {"part": str(part), "expected": expected, "order": order, "db": db if math.isfinite(db) else None}
        lines.append(row | {"found": math.isfinite(db) and db >= least_db, "belongs_to": None})
    peaks = {own["part"]: own["order"] for own in lines if own["found"] and own["order"] is not None}
    away = {own["part"]: abs(peaks[own["part"]] / own["expected"] - 1.0) for own in lines if own["part"] in peaks}
    for line in [own for own in lines if own["part"] in peaks]:
        for part, order in peaks.items():
            apart = orders.get(LINES[Mode(part)][5] or "")
            if apart and away[part] < away[line["part"]] and abs(abs(order - line["order"]) - apart) <= SAME * order:
                line |= {"found": False, "belongs_to": part}
    for cage in [own for own in lines if own["part"] == Mode.CAGE and own["found"]]:
        for line in [own for own in lines if own["found"] and (own["db"] or 0.0) < cage["db"]]:
            times = line["expected"] / cage["expected"]  # bpfo is a multiple of ftf by its geometry
            if abs(times - round(times)) < SAME * times:
                line |= {"found": False, "belongs_to": str(Mode.CAGE)}
    return lines


def loudest_line(values: npt.NDArray[Any], names: Sequence[str], lines: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the strongest bearing line in the envelope spectra: `bpfo`, `bpfi` or `bsf2x`.

    Parameters
    ----------
    values : float array, shape (n, F)
        Features of the windows of one recording; their median is used.
    names : sequence of str, length F
    lines
        Of the same windows, from `bearing_lines`.

    Returns
    -------
    str or None
        None where `features.spectra.evidence.diagnose` names no defect, or its line was not found at a measured order.
    """
    if not len(values) or not any(name.startswith("evidence_") for name in names):
        return None
    index, _ = diagnose(known_median(values)[None, :], names)
    part = DIAGNOSES[int(index[0])] if index[0] >= 0 else "none"
    shown = {own["part"] for own in lines if own["found"] and own["order"] is not None}
    return LINES[Mode(part)][0] if part in shown else None


def note_evidence(store: Store, lake: Lake, settings: ExtractionSettings, *, as_of: datetime) -> int:
    """Store the evidence of cases that are new or have changed, newest first, 2,000 a run at most; return how many."""
    # When the registry last changed a unit on the axis: older evidence may be compared with another unit's baseline.
    # What is known only after `as_of` does not count, or a run for the past would make it again and again.
    known = (Unit.axis_id == Case.axis_id, Unit.known_at <= as_of)
    learnt = sa.select(sa.func.max(Unit.known_at)).where(*known).scalar_subquery()
    is_valid = CaseEvidence.known_at >= sa.func.coalesce(learnt, CaseEvidence.known_at)
    before = sa.case((is_valid, CaseEvidence.recording_id)).label("shown_before")
    with store.read() as connection:
        query = (
            sa.select(Case, before, CaseEvidence.case_changed_at.label("shown_until"))
            .outerjoin(CaseEvidence, CaseEvidence.case_id == Case.case_id)
            .where(
                sa.or_(
                    CaseEvidence.case_id.is_(None),
                    CaseEvidence.case_changed_at != Case.changed_at,
                    CaseEvidence.known_at < learnt,
                )
            )
            .order_by(Case.changed_at.desc(), Case.case_id)
            .limit(MOST_A_RUN)
        )
        due = [dict(row._mapping) for row in connection.execute(query)]
    for first in range(0, len(due), BATCH):
        rows = _evidence_of(store, lake, settings, due[first : first + BATCH], as_of)
        with store.write() as connection:
            upsert(connection, CaseEvidence, rows)
            evidence_noted(connection, [row["case_id"] for row in rows], at=as_of)
    return len(due)


def _evidence_of(
    store: Store, lake: Lake, settings: ExtractionSettings, cases: list[dict[str, Any]], as_of: datetime
) -> list[dict[str, Any]]:
    inputs = []
    with store.read() as connection:
        known = Baselines(connection, as_of)
        for case in cases:
            shown = loudest_recording(connection, case)
            extraction = None if shown is None else newest_extraction(connection, shown.recording_id)
            baseline = orders = None
            if extraction is not None:
                baseline = known.of(extraction)
                geometry = sa.select(Geometry.orders).where(Geometry.geometry_version == extraction.geometry_version)
                orders = connection.scalar(geometry)
            inputs.append((case, shown, extraction, baseline, orders or {}))
    extracted = [item[2] for item in inputs if item[2] is not None]
    features = iter(read_features(lake, settings, extracted))
    rows = []
    for case, shown, extraction, baseline, orders in inputs:
        values = np.empty((0, 0)) if extraction is None else next(features).astype(np.float64)
        row = {"case_id": case["case_id"], "case_changed_at": case["changed_at"], "known_at": as_of}
        for name in ("recording_id", "channel", "program", "shaft_speed_rpm"):
            row[name] = None if shown is None else getattr(shown, name)
        for name in ("scope", "feature_version"):
            row[name] = None if extraction is None else getattr(extraction, name)
        if extraction is not None and extraction.measured_speed_rpm is not None:
            row["shaft_speed_rpm"] = extraction.measured_speed_rpm
        rows.append(row | _read(values, settings, extraction, baseline, orders))
    return rows


def _read(
    values: Numbers, settings: ExtractionSettings, extraction: Any, baseline: Any, orders: Mapping[str, Any]
) -> dict[str, Any]:
    names = () if extraction is None else feature_names_of(settings, extraction.scope)
    line, lines, moved = None, None, None
    if len(values) and values.shape[1] == len(names):
        lines = bearing_lines(values, names, orders)
        line = loudest_line(values, names, lines)
        if baseline is not None and len(baseline.reference.median) == len(names):
            moved = np.clip(moved_by(known_median(values), baseline.reference), -FARTHEST, FARTHEST)
    return {"line": line, "lines": lines, "moved": None if moved is None else moved.astype("<f4").tobytes()}
