"""The data of a case's plots: recordings and their spectra, scores, levels, health index, changed features, sound."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.health.baseline import known_median
from features.settings import FeatureSettings
from pipeline.assets.geometry import characteristic_orders
from pipeline.assets.registry import orders_from
from pipeline.base.errors import PrerequisiteMissing
from pipeline.base.log_schema import quantity_of
from pipeline.base.quantities import own_unit
from pipeline.base.settings import Settings
from pipeline.cases.audit import is_blind
from pipeline.cases.evidence import channels_of, healthy_reference, loudest_recording, newest_extraction
from pipeline.cases.verdicts import get_case
from pipeline.extraction.baselines import Baselines
from pipeline.extraction.in_force import feature_names_of, feature_settings
from pipeline.extraction.reading import read_features
from pipeline.store.attribution import recordings, scores
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import AxisState, Geometry, Recording, Score, Unit
from review.case_view import state_of
from review.figures.levels import levels_of
from review.figures.moved import moved_features
from review.figures.signals import envelope_of_points, markers, rounded, spectra
from review.figures.sound import LONGEST_S, wav_of
from review.figures.trend import trends_of_axis
from review.figures.waterfall import MOST_RECORDINGS, waterfall

COURSE_DAYS = 14
MOST_SCORES = 5000
MOST_DATES = 48
"""Recordings that can be chosen to be laid over each other."""


def case_figures(
    store: Store,
    lake: Lake,
    settings: Settings,
    case_id: str,
    channel: str = "",
    *,
    as_of: datetime,
    recording: str = "",
    other: str = "",
) -> dict[str, Any]:
    """Return what is drawn of a case first: a recording, another under it, its classes, the course of the scores.

    An audit without a verdict has neither classes nor scores.

    Parameters
    ----------
    channel
        Channel of the recordings and scores. '': the most suspicious recording of any channel, and scores of all.
    as_of
        Time of the request: the levels of then.
    recording, other
        Ids of the recording shown and of the one under it. '': the most suspicious one, and a healthy reference.

    Raises
    ------
    PrerequisiteMissing
        There is no such case, or its axis has no such channel or recording.
    """
    case = get_case(store, case_id)
    with store.read() as connection:
        shown = _shown(connection, case, channel, recording)
        state = state_of(connection, case)
        versions = [] if state is None else state.model_versions
        levels = levels_of(connection, settings, [case["axis_id"]], as_of=as_of, versions=versions)
        blind = is_blind(case)
        figures: dict[str, Any] = {
            "blind": blind,
            "case": {name: case[name] for name in ("first_at", "last_at")},
            "course": [] if blind else _course(connection, case, channel, versions),
            "recent": [] if blind else _recent(connection, case),
            "levels": vars(levels[case["axis_id"]]),
        }
        if shown is None:
            return figures | {"recording": None, "reference": None, "markers": [], "classes": []}
        figures["classes"] = [] if blind else _classes(connection, shown.recording_id, versions)
        extraction = newest_extraction(connection, shown.recording_id)
        orders = _orders(connection, shown)
        reference = None
        if other:
            reference = _recording_of(connection, case, other)
        elif extraction is not None:
            reference = healthy_reference(connection, extraction, case["first_at"])
    drawn = _drawn(lake, settings, shown)
    for name in ("regime", "quality", "evidence"):
        drawn[name] = None if extraction is None else getattr(extraction, name)
    if extraction is not None and extraction.measured_speed_rpm is not None:
        drawn |= {"shaft_speed_rpm": extraction.measured_speed_rpm, "declared_speed_rpm": shown.shaft_speed_rpm}
    return figures | {
        "recording": drawn,
        "reference": None if reference is None else _drawn(lake, settings, reference),
        "markers": markers(orders, drawn["shaft_speed_rpm"]),
    }


def case_changes(
    store: Store,
    lake: Lake,
    settings: Settings,
    case_id: str,
    channel: str = "",
    *,
    as_of: datetime,
    recording: str = "",
    language: str = "en",
) -> dict[str, Any]:
    """Return what is drawn of a case next: the health index, what changed against the baseline, dates to choose from.

    Parameters
    ----------
    channel, recording
        As for `case_figures`.
    as_of
        Time of the request; baselines that became known later are not used.
    language
        Of the names of changed features: `en` or `ko`.

    Raises
    ------
    PrerequisiteMissing
        As for `case_figures`.
    """
    case = get_case(store, case_id)
    baseline = None
    with store.read() as connection:
        shown = _shown(connection, case, channel, recording)
        if shown is None:
            return {"trends": [], "dates": [], "moved": [], "baseline_regime": None}
        trends = trends_of_axis(
            connection, case["axis_id"], until=_end(case), channel=shown.channel, group=settings.iso_20816_3
        )
        dates = [dict(row._mapping) for row in _dates(connection, case, shown.channel, MOST_DATES)]
        extraction = newest_extraction(connection, shown.recording_id)
        if extraction is not None:
            baseline = Baselines(connection, as_of).of(extraction)
    return {
        "trends": trends,
        "dates": dates,
        "moved": _moved(lake, settings, extraction, baseline, shown.unit, language),
        "baseline_regime": None if baseline is None else baseline.regime,
    }


def stretch_of_signal(store: Store, lake: Lake, recording_id: str, start: int, stop: int) -> dict[str, Any]:
    """Return part of a recording's waveform for the screen; empty where there is no such recording.

    Parameters
    ----------
    start, stop
        First sample, and the sample after the last.
    """
    row = _any_recording(store, recording_id)
    if row is None:
        return {"s": [], "value": []}
    return _waveform(_samples(lake, row.lake_path, row.lake_row), row.sampling_rate_hz, start, stop)


def sound_of(store: Store, lake: Lake, recording_id: str) -> tuple[bytes, float]:
    """Return a recording as a WAV file of at most 30 s, and the value of its full scale (`review.figures.sound`).

    Raises
    ------
    PrerequisiteMissing
        There is no such recording.
    """
    row = _any_recording(store, recording_id)
    if row is None:
        raise PrerequisiteMissing(f"there is no recording {recording_id}")
    samples = _samples(lake, row.lake_path, row.lake_row)
    return wav_of(samples[: int(LONGEST_S * row.sampling_rate_hz) + 1], row.sampling_rate_hz)


def case_waterfall(
    store: Store, lake: Lake, settings: Settings, case_id: str, channel: str, kind: str
) -> dict[str, Any]:
    """Return spectra of at most 40 recordings of a channel around a case's time (`review.figures.waterfall`).

    Raises
    ------
    PrerequisiteMissing
        There is no such case, or it has no such channel.
    """
    case = get_case(store, case_id)
    with store.read() as connection:
        if channel not in channels_of(connection, case):
            raise PrerequisiteMissing(f"case {case_id} has no recordings of a channel {channel!r}")
        rows = _dates(connection, case, channel, MOST_RECORDINGS, Recording)
    if not rows:
        return waterfall([], kind, feature_settings(settings, "acceleration"))
    samples = _samples_of(lake, rows)
    read = [(row, samples[row.recording_id]) for row in rows if row.recording_id in samples]
    return waterfall(read, kind, feature_settings(settings, rows[0].quantity))


def _shown(connection: Connection, case: dict[str, Any], channel: str, recording: str) -> Any:
    """Return the recording that is asked for, else the most suspicious one; None where there is none."""
    if channel and channel not in channels_of(connection, case):
        raise PrerequisiteMissing(f"case {case['case_id']} has no recordings of a channel {channel!r}")
    if recording:
        return _recording_of(connection, case, recording)
    return loudest_recording(connection, case, channel)


def _end(case: dict[str, Any]) -> datetime:
    end: datetime = case["last_at"] + timedelta(days=1)
    return end


def _any_recording(store: Store, recording_id: str) -> Any:
    with store.read() as connection:
        return connection.execute(sa.select(Recording).where(Recording.recording_id == recording_id)).one_or_none()


def _recording_of(connection: Connection, case: dict[str, Any], recording_id: str) -> Any:
    query = sa.select(Recording).where(Recording.recording_id == recording_id, Recording.axis_id == case["axis_id"])
    row = connection.execute(query).one_or_none()
    if row is None:
        raise PrerequisiteMissing(f"the axis of case {case['case_id']} has no recording {recording_id}")
    return row


def _dates(connection: Connection, case: dict[str, Any], channel: str, most: int, *columns: Any) -> Sequence[Any]:
    """Return recordings of a channel from 14 days before a case to its end, oldest first; of many an even choice."""
    query = sa.select(*(columns or (Recording.recording_id, Recording.started_at, Recording.shaft_speed_rpm))).where(
        Recording.axis_id == case["axis_id"],
        Recording.channel == channel,
        Recording.started_at >= case["first_at"] - timedelta(days=COURSE_DAYS),
        Recording.started_at <= _end(case),
    )
    rows = connection.execute(query.order_by(Recording.started_at, Recording.recording_id).limit(MOST_SCORES)).all()
    kept = {round(place) for place in np.linspace(0, len(rows) - 1, min(most, len(rows)))}
    return [rows[place] for place in sorted(kept)]


def _classes(connection: Connection, recording_id: str, versions: list[str]) -> list[dict[str, Any]]:
    """Return the mean probability of each class over a recording's windows, highest first."""
    query = scores(Score.class_probabilities).where(
        Score.recording_id == recording_id, Score.class_probabilities.is_not(None)
    )
    if versions:
        query = query.where(Score.model_version.in_(versions))
    told = list(connection.scalars(query))
    names = sorted({name for one in told for name in one})
    means = {name: float(np.mean([one.get(name, 0.0) for one in told])) for name in names}
    return [{"name": name, "share": share} for name, share in sorted(means.items(), key=lambda one: -one[1])]


def _recent(connection: Connection, case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figure that the levels are compared with, of each bin."""
    query = sa.select(AxisState.bin_at, AxisState.recent_probability).where(
        AxisState.axis_id == case["axis_id"],
        AxisState.bin_at >= case["first_at"] - timedelta(days=COURSE_DAYS),
        AxisState.bin_at <= _end(case),
    )
    return [dict(row._mapping) for row in connection.execute(query.order_by(AxisState.bin_at).limit(MOST_SCORES))]


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


def _moved(
    lake: Lake, settings: Settings, extraction: Any, baseline: Any, unit: str, language: str
) -> list[dict[str, Any]]:
    """Return the features that changed against the unit's own baseline; none without one."""
    if extraction is None or baseline is None:
        return []
    names = feature_names_of(settings, extraction.scope)
    values = read_features(lake, settings, [extraction])[0]
    if not len(values) or values.shape[1] != len(names) or len(baseline.reference.median) != len(names):
        return []
    now = known_median(values.astype(np.float64))
    return moved_features(
        now, baseline.reference, names, unit=own_unit(quantity_of(extraction.scope), unit), language=language
    )


def _course(connection: Connection, case: dict[str, Any], channel: str, versions: list[str]) -> list[dict[str, Any]]:
    figures = ("fault_probability", "fault_q05", "fault_q95", "mutual_information", "expected_entropy")
    conditions = [
        Score.axis_id == case["axis_id"],
        Score.started_at >= case["first_at"] - timedelta(days=COURSE_DAYS),
        Score.started_at <= _end(case),
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


def _samples_of(lake: Lake, rows: Sequence[Any]) -> dict[str, Any]:
    """Return the samples of recordings by id; each file is opened once."""
    by_path: dict[str, dict[int, str]] = {}
    for row in rows:
        by_path.setdefault(row.lake_path, {})[row.lake_row] = row.recording_id
    return {
        ids[number]: np.asarray(values["samples"].values.to_numpy(zero_copy_only=False), dtype=np.float32)
        for path, ids in by_path.items()
        for number, values in lake.rows(path, ids, columns=["samples"])
    }


def _waveform(samples: Any, rate_hz: float, start: int, stop: int) -> dict[str, Any]:
    places, values = envelope_of_points(samples, start, stop)
    return {"s": rounded(np.array(places) / rate_hz, digits=7), "value": values}


def _drawn(lake: Lake, settings: Settings, row: Any) -> dict[str, Any]:
    names = ("recording_id", "channel", "started_at", "unit", "sampling_rate_hz", "shaft_speed_rpm", "program", "load")
    facts = {name: getattr(row, name) for name in names}
    return facts | _pictures(
        lake, row.lake_path, row.lake_row, row.sampling_rate_hz, feature_settings(settings, row.quantity)
    )


@lru_cache(maxsize=128)
def _pictures(lake: Lake, path: str, lake_row: int, rate_hz: float, settings: FeatureSettings) -> dict[str, Any]:
    """Return waveform and spectra of a recording. Cached: a recording never changes, and its page is loaded often."""
    samples = _samples(lake, path, lake_row)
    waveform = _waveform(samples, rate_hz, 0, len(samples)) if len(samples) > 1 else None
    drawn = {"n_samples": len(samples), "overall": bool(settings.overall), "waveform": waveform}
    return drawn | spectra(samples, rate_hz, settings)
