"""From one recording to the features of its windows: cut by time, or by shaft angle where a speed trace allows it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from features.angular_windows import AngularWindows, angular_windows
from features.extract import RecordingWindows, WindowFeatures, extract_angular, extract_together
from features.kinematics import Orders
from features.long_lines import long_windows, with_long_lines
from features.overall import overall_value
from features.quality.quality import Quality, QualitySettings, assess, spread
from features.quality.speed_check import judged_windows, shown_speed
from features.recording_lines import average_lines
from features.settings import FeatureSettings, feature_names
from features.spectra.combs import comb_bins
from features.vibration_velocity import velocity_rms
from features.windows import WindowPlan, cut, plan_windows
from pipeline.base.figures import finite_or_none
from pipeline.base.quantities import RAW_UNIT, in_own_unit, own_unit, unit_of

TOO_LARGE = "too large to be held in "


@dataclass(frozen=True)
class Job:
    """One recording to extract, with everything that its features depend on."""

    recording_id: str
    lake_path: str
    lake_row: int
    quantity: str
    unit: str
    sampling_rate_hz: float
    rate_is_declared: bool
    shaft_speed_rpm: float | None
    speed_is_steady: bool
    orders: Orders | None


@dataclass(frozen=True, eq=False)
class Trace:
    """Shaft speed over a recording, from its first sample on."""

    speed_rpm: npt.NDArray[np.float32]
    rate_hz: float


@dataclass
class Extracted:
    """Windows of one recording: position, features and data quality. Starts and lengths are in samples.

    `velocity_rms_mm_s` is of the whole recording (`features.vibration_velocity`, or what the sensor says), for people:
    no model reads it. `measured_speed_rpm` is the speed that features are read at where it is not the declared one.
    """

    recording_id: str
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    turns_covered: npt.NDArray[np.float64]
    values: npt.NDArray[np.float32]
    quality: list[Quality]
    evidence: list[str]
    velocity_rms_mm_s: float | None = None
    measured_speed_rpm: float | None = None


@dataclass(frozen=True, eq=False)
class Recorded:
    """A recording to extract: its samples as logged, and its speed trace where it has one."""

    job: Job
    samples: npt.NDArray[np.float32]
    trace: Trace | None = None


def extract_recording(
    job: Job, samples: npt.NDArray[np.float32], settings: FeatureSettings, trace: Trace | None = None
) -> Extracted:
    """Extract one recording: `extract_recordings` of it alone."""
    return extract_recordings([Recorded(job, samples, trace)], settings)[0]


def extract_recordings(recorded: Sequence[Recorded], settings: FeatureSettings) -> list[Extracted]:
    """Cut recordings into windows and extract their features, in the unit of their quantity.

    Line heights are averaged over the good windows of a recording (`features.recording_lines`), and those over long
    windows are put beside them (`features.long_lines`).

    All windows are worked on together, and each result is bit by bit what its recording gives alone.

    Where the shaft's own lines show another speed than the declared one, but too near it for a wrong speed, everything
    at a shaft order is read at that speed.

    A speed trace is used where the speed is not declared steady and the sampling rate is declared. The recording is
    then cut by shaft angle, in parts of constant speed if there are parts long enough for a window.
    """
    results: dict[int, Extracted] = {}
    planned: list[tuple[int, Job, WindowPlan, npt.NDArray[np.float32]]] = []
    for place, (job, samples, trace) in enumerate((own.job, own.samples, own.trace) for own in recorded):
        if settings.overall:
            results[place] = _extract_overall(job, samples, settings)
            continue
        parts = [] if trace is None else _parts_by_angle(job, samples, settings, trace)
        if parts:
            results[place] = _extract_by_angle(job, samples, settings, parts)
            continue
        plan = plan_windows(
            len(samples),
            sampling_rate_hz=job.sampling_rate_hz,
            shaft_speed_rpm=job.shaft_speed_rpm,
            speed_is_steady=job.speed_is_steady,
            settings=settings.windows,
        )
        if len(plan.starts):
            planned.append((place, job, plan, cut(samples, plan)))
        else:
            empty = np.empty((0, len(feature_names(settings))), np.float32)
            results[place] = Extracted(job.recording_id, plan.starts, plan.starts, np.empty(0), empty, [], [])
    asked = {place: _to_extract(job, windows, settings) for place, job, _, windows in planned}
    together = dict(zip(asked, extract_together(list(asked.values()), settings), strict=True))
    for place, job, plan, windows in planned:
        done = together[place]
        quality, evidence, speed = _judge(job, windows, done, settings)
        n = len(plan.starts)
        lengths, turns = np.full(n, plan.length), np.full(n, plan.turns_covered)
        results[place] = Extracted(
            job.recording_id, plan.starts, lengths, turns, done.values, quality, evidence, measured_speed_rpm=speed
        )
    _read_at_measured_speed(asked, results, settings)
    good = {
        place: np.array([not quality.blocks for quality in result.quality], dtype=np.bool_)
        for place, result in results.items()
    }
    for place, result in results.items():
        result.values = average_lines(result.values, good[place], settings)
    with_long_lines(
        [results[place].values for place in asked],
        [good[place] for place in asked],
        [long_windows(own, good[place], settings) for place, own in asked.items()],
        settings,
    )
    if not settings.overall:
        for place, own in enumerate(recorded):
            results[place].velocity_rms_mm_s = _velocity_rms(own.job, own.samples)
    return [results[place] for place in range(len(recorded))]


def _extract_overall(job: Job, samples: npt.NDArray[np.float32], settings: FeatureSettings) -> Extracted:
    """Take a recording of values that a sensor computed itself as one window with one feature."""
    value = overall_value(in_own_unit(samples, job.quantity, job.unit), settings.overall)
    known = math.isfinite(value)
    is_velocity = known and job.quantity == "overall_velocity" and job.unit != RAW_UNIT
    return Extracted(
        job.recording_id,
        np.zeros(1, np.int64),
        np.array([len(samples)], np.int64),
        np.full(1, np.nan),
        np.array([[value]], np.float32),
        [Quality.OK if known else Quality.FLATLINE],
        ["" if known else f"the value is {samples[0]:g}, and no level"],
        10.0**value if is_velocity else None,
    )


def _velocity_rms(job: Job, samples: npt.NDArray[np.float32]) -> float | None:
    if job.quantity not in ("acceleration", "velocity") or job.unit == RAW_UNIT or not job.rate_is_declared:
        return None
    own = in_own_unit(samples, job.quantity, job.unit)
    return finite_or_none(velocity_rms(own, job.sampling_rate_hz, quantity=job.quantity))


def _to_extract(job: Job, windows: npt.NDArray[np.float32], settings: FeatureSettings) -> RecordingWindows:
    """Ask for the spectra that the speed check needs, too."""
    bins = 0
    if job.rate_is_declared and job.speed_is_steady:
        bins = comb_bins(
            windows.shape[1],
            sampling_rate_hz=job.sampling_rate_hz,
            declared_rpm=job.shaft_speed_rpm or 0.0,
            highest_ratio=settings.speed_check.highest,
            orders=job.orders,
            settings=settings.speed_check.comb,
        )
    return RecordingWindows(
        windows=in_own_unit(windows, job.quantity, job.unit),
        sampling_rate_hz=job.sampling_rate_hz,
        rate_is_declared=job.rate_is_declared,
        shaft_speed_rpm=job.shaft_speed_rpm,
        speed_is_steady=job.speed_is_steady,
        orders=job.orders,
        kept=tuple(judged_windows(len(windows))) if bins else (),
        kept_bins=bins,
    )


def _read_at_measured_speed(
    asked: dict[int, RecordingWindows], results: dict[int, Extracted], settings: FeatureSettings
) -> None:
    """Extract those recordings again whose shaft turns with another speed than the declared one, in place."""
    for place, own in asked.items():
        speed = results[place].measured_speed_rpm
        if speed is not None:
            asked[place] = replace(own, shaft_speed_rpm=speed, kept=(), kept_bins=0)
            results[place].turns_covered = np.full(len(own.windows), asked[place].turns)
    again = [place for place in asked if results[place].measured_speed_rpm is not None]
    for place, done in zip(again, extract_together([asked[place] for place in again], settings), strict=True):
        results[place].values = done.values


def _judge(
    job: Job, windows: npt.NDArray[np.float32], done: WindowFeatures, settings: FeatureSettings
) -> tuple[list[Quality], list[str], float | None]:
    """Judge the windows of a recording, and whether it contradicts the declared speed; return another one it shows."""
    speed = None
    quality, evidence = spread(*_assess(job, windows, job.shaft_speed_rpm, settings, done.mains))
    if done.power.size and not any(code.blocks for code in quality):
        shown = shown_speed(
            windows,
            sampling_rate_hz=job.sampling_rate_hz,
            declared_rpm=job.shaft_speed_rpm or 0.0,
            orders=job.orders,
            settings=settings.speed_check,
            power=done.power,
        )
        speed = shown.rpm
        if shown.verdict is not None:
            quality, evidence = [shown.verdict[0]] * len(quality), [shown.verdict[1]] * len(quality)
    if not unit_of(job.quantity, job.unit).is_own:
        for index in np.flatnonzero(~done.finite):
            quality[index], evidence[index] = Quality.NON_FINITE, TOO_LARGE + own_unit(job.quantity, job.unit)
    return quality, evidence, speed


def _parts_by_angle(
    job: Job, samples: npt.NDArray[np.float32], settings: FeatureSettings, trace: Trace
) -> list[AngularWindows]:
    """Cut a recording by its speed trace, where it is to be used."""
    if job.speed_is_steady or not job.rate_is_declared or settings.windows.mode != "turns":
        return []
    return angular_windows(
        samples,
        trace.speed_rpm,
        trace.rate_hz,
        sampling_rate_hz=job.sampling_rate_hz,
        tolerance=settings.segment_tolerance,
        settings=settings.windows,
    )


def _extract_by_angle(
    job: Job, samples: npt.NDArray[np.float32], settings: FeatureSettings, parts: list[AngularWindows]
) -> Extracted:
    quality: list[Quality] = []
    evidence: list[str] = []
    values = []
    scaled = in_own_unit(samples, job.quantity, job.unit)
    for part in parts:
        for start, length in zip(part.starts, part.lengths, strict=True):
            window = samples[None, start : start + length]
            # The speed varies, so it is not passed: its harmonics must not explain a line at the mains frequency.
            codes, phrases = _assess(job, window, None, settings)
            if not np.isfinite(scaled[start : start + length]).all():
                codes, phrases = [Quality.NON_FINITE], [TOO_LARGE + own_unit(job.quantity, job.unit)]
            quality += codes
            evidence += phrases
        part = replace(part, angular=in_own_unit(part.angular, job.quantity, job.unit))
        values.append(
            extract_angular(scaled, part, sampling_rate_hz=job.sampling_rate_hz, orders=job.orders, settings=settings)
        )
    return Extracted(
        job.recording_id,
        np.concatenate([part.starts for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([np.full(len(part.starts), part.turns) for part in parts]),
        np.concatenate(values),
        quality,
        evidence,
    )


def _assess(
    job: Job,
    windows: npt.NDArray[np.float32],
    shaft_speed_rpm: float | None,
    settings: FeatureSettings,
    mains: npt.NDArray[np.float64] | None = None,
) -> tuple[list[Quality], list[str]]:
    """Judge the data quality of windows; a constant window of a slow quantity is too short to judge, not a flatline."""
    quality, evidence = assess(
        windows,
        sampling_rate_hz=job.sampling_rate_hz,
        rate_is_declared=job.rate_is_declared,
        shaft_speed_rpm=shaft_speed_rpm,
        settings=_judging_flatlines(settings.quality),
        mains=mains,
    )
    seconds = windows.shape[1] / job.sampling_rate_hz if job.rate_is_declared else 0.0
    if seconds < settings.quality.flat_min_seconds:
        for index in [index for index, code in enumerate(quality) if code == Quality.FLATLINE]:
            quality[index] = Quality.TOO_SHORT
            evidence[index] = f"{windows.shape[1]} samples, in which a slow quantity did not move: {evidence[index]}"
    return quality, evidence


@lru_cache(maxsize=64)
def _judging_flatlines(settings: QualitySettings) -> QualitySettings:
    return replace(settings, flat_min_seconds=0.0)
