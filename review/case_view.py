"""Everything that the page of one case shows: signal, course, moved features, similar cases."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.settings import feature_names
from pipeline.assets.geometry import characteristic_orders
from pipeline.assets.registry import orders_from
from pipeline.case_work import labels_of, work_of
from pipeline.cases import get_case, unit_of
from pipeline.config import Settings
from pipeline.extract import feature_settings
from pipeline.feature_rows import read_features
from pipeline.lake import Lake
from pipeline.regime import coarser
from pipeline.schema import AxisState, Case, Extraction, Geometry, Label, Recording, Score, Unit
from pipeline.schema_history import Baseline
from pipeline.store import Store
from review.signals import envelope_of_points, markers, spectra

COURSE_DAYS = 14
MOST_SCORES = 5000
MOVED = 8


def case_details(store: Store, case_id: str, *, as_of: datetime) -> dict[str, Any]:
    """Give a case with its history, findings, claim, unit, versions and similar closed cases."""
    case = get_case(store, case_id)
    with store.read() as connection:
        work = dict(work_of(connection, case_id))
        if work["claimed_until"] is not None and work["claimed_until"] <= as_of:
            work["claimed_by"] = None
        state = connection.execute(
            sa.select(AxisState)
            .where(AxisState.axis_id == case["axis_id"], AxisState.bin_at <= case["last_at"])
            .order_by(AxisState.bin_at.desc())
            .limit(1)
        ).one_or_none()
        return case | {
            "work": work,
            "labels": labels_of(connection, case_id),
            "unit_serial": unit_of(connection, case["axis_id"], case["last_at"]),
            "quality": None if state is None else state.quality,
            "model_versions": [] if state is None else state.model_versions,
            "similar": _similar(connection, case),
        }


def seen_of(case: dict[str, Any]) -> dict[str, Any]:
    """Say what the page showed of a case, for the history."""
    names = ("model_versions", "fault_probability", "priority", "n_bins")
    return {name: case[name] for name in names}


def _similar(connection: Connection, case: dict[str, Any]) -> list[dict[str, Any]]:
    same = Case.mode.is_(None) if case["mode"] is None else Case.mode == case["mode"]
    query = (
        sa.select(Case.case_id, Case.first_at, Label.verdict, Label.mode, Label.evidence, Label.note)
        .join(Label, Label.case_id == Case.case_id)
        .where(Case.family == case["family"], same, Case.case_id != case["case_id"])
        .order_by(sa.func.abs(Case.priority - case["priority"]), Label.known_at.desc(), Label.label_id)
        .limit(5)
    )
    return [dict(row._mapping) for row in connection.execute(query)]


def case_figures(store: Store, lake: Lake, settings: Settings, case_id: str) -> dict[str, Any]:
    """Give what is drawn of a case: the most suspicious recording, its reference, the course of the scores."""
    case = get_case(store, case_id)
    with store.read() as connection:
        course = _course(connection, case)
        shown = _loudest(connection, case)
        if shown is None:
            return {"recording": None, "reference": None, "markers": [], "course": course, "moved": []}
        extraction = _extraction(connection, shown.recording_id)
        reference = None if extraction is None else _reference(connection, shown, extraction, case["first_at"])
        orders = _orders(connection, shown)
        baseline = None if extraction is None else _baseline(connection, extraction)
    return {
        "recording": _drawn(lake, settings, shown),
        "reference": None if reference is None else _drawn(lake, settings, reference),
        "markers": markers(orders, shown.shaft_speed_rpm),
        "course": course,
        "moved": _moved(lake, settings, extraction, baseline),
    }


def stretch_of_signal(store: Store, lake: Lake, recording_id: str, start: int, stop: int) -> dict[str, Any]:
    """Give a stretch of a recording's waveform, thinned out for the screen; empty where there is no such recording."""
    with store.read() as connection:
        row = connection.execute(sa.select(Recording).where(Recording.recording_id == recording_id)).one_or_none()
    if row is None:
        return {"s": [], "value": []}
    return _waveform(_samples(lake, row), row.sampling_rate_hz, start, stop)


def _loudest(connection: Connection, case: dict[str, Any]) -> Any:
    """Give the recording of the case with the highest fault probability; where there is none, the newest one."""
    inside = (
        Score.axis_id == case["axis_id"],
        Score.started_at >= case["first_at"],
        Score.started_at <= case["last_at"],
    )
    found = connection.scalar(
        sa.select(Score.recording_id)
        .where(*inside, Score.fault_probability.is_not(None))
        .order_by(Score.fault_probability.desc(), Score.started_at.desc())
        .limit(1)
    )
    query = sa.select(Recording)
    if found is not None:
        return connection.execute(query.where(Recording.recording_id == found)).one_or_none()
    query = query.where(Recording.axis_id == case["axis_id"], Recording.started_at <= case["last_at"])
    return connection.execute(query.order_by(Recording.started_at.desc()).limit(1)).one_or_none()


def _extraction(connection: Connection, recording_id: str) -> Any:
    query = sa.select(Extraction).where(Extraction.recording_id == recording_id).order_by(Extraction.known_at.desc())
    return connection.execute(query.limit(1)).one_or_none()


def _reference(connection: Connection, shown: Any, extraction: Any, before: datetime) -> Any:
    """Give the first good recording of the same channel, unit and regime before the case."""
    unit = extraction.unit_serial
    query = (
        sa.select(Recording)
        .join(Extraction, Extraction.recording_id == Recording.recording_id)
        .where(
            Recording.axis_id == shown.axis_id,
            Recording.channel == shown.channel,
            Extraction.regime == extraction.regime,
            Extraction.quality == "ok",
            Extraction.unit_serial.is_(None) if unit is None else Extraction.unit_serial == unit,
            Recording.started_at < before,
        )
    )
    return connection.execute(query.order_by(Recording.started_at).limit(1)).one_or_none()


def _orders(connection: Connection, shown: Any) -> list[dict[str, Any]]:
    query = (
        sa.select(Unit.characteristics, Geometry.orders, Geometry.source)
        .outerjoin(Geometry, Geometry.geometry_version == Unit.geometry_version)
        .where(
            Unit.axis_id == shown.axis_id,
            Unit.installed_at <= shown.started_at,
            sa.or_(Unit.removed_at.is_(None), Unit.removed_at > shown.started_at),
        )
    )
    row = connection.execute(query.limit(1)).one_or_none()
    if row is None:
        return []
    if not row.characteristics and row.orders is not None:
        return [vars(order) for order in characteristic_orders(orders_from(row.orders), row.source)]
    return list(row.characteristics)


def _baseline(connection: Connection, extraction: Any) -> Any:
    """Give the newest baseline of the unit and channel in the finest regime that has one."""
    query = sa.select(Baseline).where(
        Baseline.axis_id == extraction.axis_id,
        Baseline.channel == extraction.channel,
        Baseline.feature_version == extraction.feature_version,
        Baseline.geometry_version == extraction.geometry_version,
    )
    unit = extraction.unit_serial
    query = query.where(Baseline.unit_serial.is_(None) if unit is None else Baseline.unit_serial == unit)
    found = {row.regime: row for row in connection.execute(query.order_by(Baseline.known_at))}
    return next((found[regime] for regime in coarser(extraction.regime) if regime in found), None)


def _moved(lake: Lake, settings: Settings, extraction: Any, baseline: Any) -> list[dict[str, Any]]:
    """Give the features that moved most against the unit's own baseline, in its spreads."""
    if extraction is None or baseline is None:
        return []
    names = feature_names(feature_settings(settings, extraction.scope.split(":", 1)[0]))
    values = read_features(lake, settings, [extraction])[0]
    if not len(values) or values.shape[1] != len(names) or len(baseline.median) != len(names):
        return []
    now = np.median(values.astype(np.float64), axis=0)
    middle = np.array([np.nan if value is None else value for value in baseline.median], dtype=np.float64)
    spread = np.array([value or np.nan for value in baseline.spread], dtype=np.float64)
    moved = (now - middle) / spread
    order = [int(place) for place in np.argsort(-np.abs(np.nan_to_num(moved, posinf=0, neginf=0)))[:MOVED]]
    return [
        {"name": names[i], "now": float(now[i]), "baseline": float(middle[i]), "sigmas": float(moved[i])}
        for i in order
        if np.isfinite(moved[i])
    ]


def _course(connection: Connection, case: dict[str, Any]) -> list[dict[str, Any]]:
    figures = ("fault_probability", "fault_q05", "fault_q95", "mutual_information", "expected_entropy")
    query = (
        sa.select(
            Score.started_at,
            *(sa.func.avg(getattr(Score, name)).label(name) for name in figures),
            sa.func.max(Score.novelty_percentile).label("novelty_percentile"),
        )
        .where(
            Score.axis_id == case["axis_id"],
            Score.started_at >= case["first_at"] - timedelta(days=COURSE_DAYS),
            Score.started_at <= case["last_at"] + timedelta(days=1),
        )
        .group_by(Score.started_at)
        .order_by(Score.started_at.desc())
        .limit(MOST_SCORES)
    )
    return [dict(row._mapping) for row in reversed(connection.execute(query).all())]


def _samples(lake: Lake, row: Any) -> Any:
    for _, values in lake.rows(row.lake_path, [row.lake_row], columns=["samples"]):
        return np.asarray(values["samples"].values.to_numpy(zero_copy_only=False), dtype=np.float32)
    return np.empty(0, np.float32)


def _waveform(samples: Any, rate_hz: float, start: int, stop: int) -> dict[str, Any]:
    places, values = envelope_of_points(samples, start, stop)
    return {"s": [place / rate_hz for place in places], "value": values}


def _drawn(lake: Lake, settings: Settings, row: Any) -> dict[str, Any]:
    samples = _samples(lake, row)
    names = ("recording_id", "channel", "started_at", "unit", "sampling_rate_hz", "shaft_speed_rpm", "program")
    told = {name: getattr(row, name) for name in names}
    told |= {"n_samples": len(samples), "waveform": _waveform(samples, row.sampling_rate_hz, 0, len(samples))}
    return told | spectra(samples, row.sampling_rate_hz, feature_settings(settings, row.quantity))
