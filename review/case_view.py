"""The data of the page of a case: facts, similar cases, signal, course of the scores, changed features."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.settings import FeatureSettings
from pipeline.assets.geometry import characteristic_orders
from pipeline.assets.registry import orders_from
from pipeline.base.errors import PrerequisiteMissing
from pipeline.base.settings import Settings
from pipeline.cases.audit import is_blind
from pipeline.cases.axis_state import FAULT_FIGURES
from pipeline.cases.effects import disagreement, effect_of
from pipeline.cases.evidence import (
    channels_of,
    healthy_reference,
    loudest_recording,
    moved_by,
    newest_extraction,
)
from pipeline.cases.queue import evidence_of
from pipeline.cases.similar import look_alikes, similar_past
from pipeline.cases.verdicts import get_case, shown_of
from pipeline.cases.work import labels_of, work_of
from pipeline.extraction.baselines import Baselines
from pipeline.extraction.in_force import feature_names_of, feature_settings
from pipeline.extraction.reading import read_features
from pipeline.store.attribution import recordings, scores, unit_at
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, AxisState, Geometry, Recording, Score, Unit
from review.signals import envelope_of_points, markers, spectra

COURSE_DAYS = 14
MOST_SCORES = 5000
MOVED = 10


def case_facts(store: Store, case_id: str, *, as_of: datetime) -> dict[str, Any]:
    """Return a case with its history, findings, claim, unit, model versions, channels, and signal evidence.

    Parameters
    ----------
    as_of
        Time of the request; a claim that ended before it is left out.

    Raises
    ------
    PrerequisiteMissing
        There is no such case.
    """
    case = get_case(store, case_id)
    with store.read() as connection:
        work = dict(work_of(connection, case_id))
        if work["claimed_until"] is not None and work["claimed_until"] <= as_of:
            work["claimed_by"] = None
        state = _state_of(connection, case)
        return case | {
            "work": work,
            "labels": labels_of(connection, case_id),
            "unit_serial": unit_at(connection, case["axis_id"], case["last_at"]),
            "criticality": connection.scalar(sa.select(Axis.criticality).where(Axis.axis_id == case["axis_id"])),
            "quality": None if state is None else state.quality,
            "model_versions": [] if state is None else state.model_versions,
            "channels": channels_of(connection, case),
            "evidence": evidence_of(connection, [case_id]).get(case_id),
        }


def case_details(store: Store, case_id: str, *, weights: dict[str, float] | None, as_of: datetime) -> dict[str, Any]:
    """Return the facts of a case, past and open look-alikes, who disagrees on them, and what its finding changes.

    Parameters
    ----------
    weights
        Of findings in case memory, by evidence; None: it is off.
    """
    case = case_facts(store, case_id, as_of=as_of)
    with store.read() as connection:
        return case | {
            "similar": similar_past(connection, case_id),
            "look_alikes": look_alikes(connection, case_id) if case["state"] == "open" else [],
            "disagreement": disagreement(connection, case_id, as_of=as_of),
            "shown": shown_of(connection, [case_id])[case_id],
            "effect": effect_of(connection, case_id, weights=weights, as_of=as_of),
        }


def seen_of(case: dict[str, Any]) -> dict[str, Any]:
    """Return what the page showed of a case, for its history."""
    names = ("model_versions", "fault_probability", "priority", "n_bins")
    return {name: case[name] for name in names}


def blinded(case: dict[str, Any]) -> dict[str, Any]:
    """Return a case as its page shows it: without what the model says, if it is an audit without a verdict."""
    hidden = dict.fromkeys((*FAULT_FIGURES, "mode", "memory", "rests_on", "evidence"))
    return case | hidden if is_blind(case) else case


def case_figures(
    store: Store, lake: Lake, settings: Settings, case_id: str, channel: str = "", *, as_of: datetime
) -> dict[str, Any]:
    """Return the data of a case's plots: the most suspicious recording, its reference, the course of the scores.

    Parameters
    ----------
    channel
        Channel of the recordings and scores. '': the most suspicious recording of any channel, and scores of all.
    as_of
        Time of the request; baselines that became known later are not used.

    Raises
    ------
    PrerequisiteMissing
        There is no such case, or its axis has no such channel.
    """
    case = get_case(store, case_id)
    with store.read() as connection:
        if channel and channel not in channels_of(connection, case):
            raise PrerequisiteMissing(f"case {case_id} has no recordings of a channel {channel!r}")
        state = _state_of(connection, case)
        versions = [] if state is None else state.model_versions
        course = [] if is_blind(case) else _course(connection, case, channel, versions)
        figures: dict[str, Any] = {"recording": None, "reference": None, "markers": [], "course": course, "moved": []}
        figures |= {"case": {name: case[name] for name in ("first_at", "last_at")}, "baseline_regime": None}
        shown = loudest_recording(connection, case, channel)
        if shown is None:
            return figures
        extraction = newest_extraction(connection, shown.recording_id)
        orders = _orders(connection, shown)
        reference = baseline = None
        if extraction is not None:
            reference = healthy_reference(connection, extraction, case["first_at"])
            baseline = Baselines(connection, as_of).of(extraction)
    drawn = _drawn(lake, settings, shown)
    for name in ("regime", "quality", "evidence"):
        drawn[name] = None if extraction is None else getattr(extraction, name)
    return figures | {
        "recording": drawn,
        "reference": None if reference is None else _drawn(lake, settings, reference),
        "markers": markers(orders, shown.shaft_speed_rpm),
        "moved": _moved(lake, settings, extraction, baseline),
        "baseline_regime": None if baseline is None else baseline.regime,
    }


def stretch_of_signal(store: Store, lake: Lake, recording_id: str, start: int, stop: int) -> dict[str, Any]:
    """Return part of a recording's waveform for the screen; empty where there is no such recording.

    Parameters
    ----------
    start, stop
        First sample, and the sample after the last.
    """
    with store.read() as connection:
        row = connection.execute(sa.select(Recording).where(Recording.recording_id == recording_id)).one_or_none()
    if row is None:
        return {"s": [], "value": []}
    return _waveform(_samples(lake, row.lake_path, row.lake_row), row.sampling_rate_hz, start, stop)


def _state_of(connection: Connection, case: dict[str, Any]) -> Any:
    """Return the newest state of the axis up to the end of a case."""
    query = sa.select(AxisState).where(AxisState.axis_id == case["axis_id"], AxisState.bin_at <= case["last_at"])
    return connection.execute(query.order_by(AxisState.bin_at.desc()).limit(1)).one_or_none()


def _orders(connection: Connection, shown: Any) -> list[dict[str, Any]]:
    query = (
        recordings(Unit.characteristics, Geometry.orders, Geometry.source)
        .outerjoin(Geometry, Geometry.geometry_version == Unit.geometry_version)
        .where(Recording.recording_id == shown.recording_id)
    )
    row = connection.execute(query.limit(1)).one()
    if not row.characteristics and row.orders is not None:
        return [vars(order) for order in characteristic_orders(orders_from(row.orders), row.source)]
    return list(row.characteristics or ())


def _moved(lake: Lake, settings: Settings, extraction: Any, baseline: Any) -> list[dict[str, Any]]:
    """Return the features that changed most against the unit's own baseline, in robust standard deviations of it."""
    if extraction is None or baseline is None:
        return []
    names = feature_names_of(settings, extraction.scope)
    values = read_features(lake, settings, [extraction])[0]
    middle = baseline.reference.median
    if not len(values) or values.shape[1] != len(names) or len(middle) != len(names):
        return []
    now = np.median(values.astype(np.float64), axis=0)
    moved = moved_by(now, baseline.reference)
    order = [int(place) for place in np.argsort(-np.abs(np.nan_to_num(moved)), kind="stable")[:MOVED]]
    return [
        {"name": names[i], "now": float(now[i]), "baseline": float(middle[i]), "sigmas": float(moved[i])}
        for i in order
        if np.isfinite(moved[i])
    ]


def _course(connection: Connection, case: dict[str, Any], channel: str, versions: list[str]) -> list[dict[str, Any]]:
    figures = ("fault_probability", "fault_q05", "fault_q95", "mutual_information", "expected_entropy")
    conditions = [
        Score.axis_id == case["axis_id"],
        Score.started_at >= case["first_at"] - timedelta(days=COURSE_DAYS),
        Score.started_at <= case["last_at"] + timedelta(days=1),
    ]
    if channel:
        conditions.append(Score.channel == channel)
    if versions:
        conditions.append(Score.model_version.in_(versions))
    query = (
        scores(
            Score.started_at,
            *(sa.func.avg(getattr(Score, name)).label(name) for name in figures),
            sa.func.max(Score.novelty_percentile).label("novelty_percentile"),
        )
        .where(*conditions)
        .group_by(Score.started_at)
        .order_by(Score.started_at.desc())
        .limit(MOST_SCORES)
    )
    return [dict(row._mapping) for row in reversed(connection.execute(query).all())]


def _samples(lake: Lake, path: str, lake_row: int) -> Any:
    for _, values in lake.rows(path, [lake_row], columns=["samples"]):
        return np.asarray(values["samples"].values.to_numpy(zero_copy_only=False), dtype=np.float32)
    return np.empty(0, np.float32)


def _waveform(samples: Any, rate_hz: float, start: int, stop: int) -> dict[str, Any]:
    places, values = envelope_of_points(samples, start, stop)
    return {"s": [place / rate_hz for place in places], "value": values}


def _drawn(lake: Lake, settings: Settings, row: Any) -> dict[str, Any]:
    names = ("recording_id", "channel", "started_at", "unit", "sampling_rate_hz", "shaft_speed_rpm", "program", "load")
    facts = {name: getattr(row, name) for name in names}
    return facts | _pictures(
        lake, row.lake_path, row.lake_row, row.sampling_rate_hz, feature_settings(settings, row.quantity)
    )


@lru_cache(maxsize=64)
def _pictures(lake: Lake, path: str, lake_row: int, rate_hz: float, settings: FeatureSettings) -> dict[str, Any]:
    """Return waveform and spectra of a recording. Cached: a recording never changes, and its page is loaded often."""
    samples = _samples(lake, path, lake_row)
    waveform = _waveform(samples, rate_hz, 0, len(samples))
    return {"n_samples": len(samples), "waveform": waveform} | spectra(samples, rate_hz, settings)
