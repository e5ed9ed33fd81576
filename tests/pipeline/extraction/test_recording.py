"""Recordings that are extracted together: each as if it were alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from features.kinematics import Orders, bearing_orders
from features.settings import FeatureSettings
from pipeline.extraction.recording import TOO_LARGE, Job, Recorded, Trace, extract_recording, extract_recordings

SETTINGS = FeatureSettings()
BEARING = bearing_orders(9, 7.94, 39.04)
JOB = Job("r", "", 0, "acceleration", "m/s2", 12_000.0, True, 1797.0, True, BEARING)


def made(number: int) -> Recorded:
    """Recordings of many kinds: lengths, rates, units, speeds, geometries, traces, and faults of the sensor."""
    rng = np.random.default_rng(number)
    rate = (12_000.0, 25_600.0)[number % 2]
    rpm = float(rng.uniform(1700, 1800)) if number % 3 else float(rng.uniform(900, 3000))
    n = int(rng.choice([300, 4000, 30_000]) * rng.uniform(0.8, 1.2))
    t = np.arange(n) / rate
    samples = rng.standard_normal(n) + 0.4 * sum(np.sin(2 * np.pi * k * rpm / 60 * t + k) for k in range(1, 7))
    if number % 5 == 1:
        samples[n // 3 : n // 3 + 200] = 0.0
    if number % 5 == 2:
        samples = np.clip(samples, -1.5, 1.5)
    if number % 10 == 3:
        samples += 30 * np.sin(2 * np.pi * 50 * t)
    if number % 17 == 9:
        samples[0] = np.nan
    trace = None
    if number % 8 == 6:
        trace = Trace(np.linspace(1500.0, 1700.0, 200, dtype=np.float32), 200 / (n / rate))
    job = replace(
        JOB,
        recording_id=str(number),
        unit="g" if number % 4 else "m/s2",
        sampling_rate_hz=rate,
        rate_is_declared=number % 9 != 0,
        shaft_speed_rpm=None if number % 11 == 5 else rpm * (1.6 if number % 13 == 4 else 1.0),
        speed_is_steady=trace is None,
        orders=(BEARING, None, replace(BEARING, gear_mesh=(21.0,)), Orders(bpfo=3.1))[int(rng.integers(4))],
    )
    return Recorded(job, samples.astype(np.float32), trace)


def same(one: Any, other: Any) -> bool:
    return all(
        value.tobytes() == getattr(other, name).tobytes()
        if isinstance(value, np.ndarray)
        else value == getattr(other, name)
        for name, value in vars(one).items()
    )


def test_a_recording_is_the_same_whatever_recordings_are_extracted_with_it() -> None:
    recorded = [made(number) for number in range(60)]
    together = extract_recordings(recorded, SETTINGS)
    assert [done.recording_id for done in together] == [own.job.recording_id for own in recorded]
    for own, done in zip(recorded, together, strict=True):
        assert same(extract_recording(own.job, own.samples, SETTINGS, own.trace), done), own.job
    for part, expected in ((recorded[::-1], together[::-1]), (recorded[7:31], together[7:31])):
        assert all(map(same, extract_recordings(part, SETTINGS), expected))
    verdicts = Counter(str(code) for done in together for code in done.quality)
    assert {"ok", "non_finite", "dropout", "clipping", "mains_hum", "wrong_speed"} <= set(verdicts), verdicts
    assert any(not len(done.starts) for done in together), "one is too short for a window"


def test_nothing_comes_of_nothing() -> None:
    assert extract_recordings([], SETTINGS) == []


def test_what_is_too_large_in_m_s2_is_told_window_by_window() -> None:
    samples = np.random.default_rng(0).standard_normal(3 * 12_032).astype(np.float32)
    samples[12_100] = 3e38
    done = extract_recording(replace(JOB, unit="g"), samples, SETTINGS)
    assert [text == TOO_LARGE + "m/s2" for text in done.evidence] == [False, True, False]
    assert np.isnan(done.values[1]).all() and np.isfinite(done.values[[0, 2], 0]).all()


@pytest.mark.parametrize("unit", ["g", "m/s2"])
def test_samples_are_never_written_to(unit: str) -> None:
    samples = np.random.default_rng(0).standard_normal(30_000).astype(np.float32)
    before = samples.copy()
    samples.flags.writeable = False
    extract_recording(replace(JOB, unit=unit), samples, SETTINGS)
    assert samples.tobytes() == before.tobytes()
