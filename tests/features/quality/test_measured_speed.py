"""The speed that a recording's own lines show, where a nominal one is declared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from features.kinematics import Orders
from features.quality.speed_check import shown_speed
from features.settings import FeatureSettings, feature_names
from pipeline.extraction.recording import Job, Recorded, extract_recordings

SETTINGS = FeatureSettings()
NAMES = feature_names(SETTINGS)
RATE, DECLARED = 12_800.0, 1200.0
ORDERS = Orders(bpfo=3.585, bpfi=5.415, bsf=2.357, ftf=0.3983)
JOB = Job("r", "", 0, "acceleration", "m/s2", RATE, True, DECLARED, True, ORDERS)


def signal(ratio: float, *, shaft: float = 0.4, defect: float = 1.0, seed: int = 1) -> NDArray[np.float32]:
    """Return 10 s of a machine at `ratio` times the declared speed: shaft lines, strikes of an outer race, noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(10 * RATE)) / RATE
    turns = ratio * DECLARED / 60.0 * time
    samples = rng.normal(size=len(time))
    for k in range(1, 6):
        samples += shaft * np.cos(2 * np.pi * (k * turns + rng.random())) / k**0.5
    strikes = np.exp(-400.0 * ((turns * 3.585) % 1.0) / (3.585 * ratio * DECLARED / 60.0))
    return (samples + 4.0 * defect * strikes * np.sin(2 * np.pi * 1500.0 * time)).astype(np.float32)


def speed_of(samples: NDArray[np.float32], orders: Orders | None = ORDERS) -> float | None:
    windows = samples[: len(samples) // 19_200 * 19_200].reshape(-1, 19_200)
    return shown_speed(windows, sampling_rate_hz=RATE, declared_rpm=DECLARED, orders=orders).rpm


@pytest.mark.parametrize("ratio", [0.93, 0.96, 0.97, 1.03, 1.04, 1.07])
@pytest.mark.parametrize("defect", [0.0, 1.0])
def test_the_speed_of_the_shaft_lines_is_measured(ratio: float, defect: float) -> None:
    assert speed_of(signal(ratio, defect=defect)) == pytest.approx(ratio * DECLARED, rel=0.004)


@pytest.mark.parametrize("ratio", [1.0, 0.997, 1.004])
def test_a_declared_speed_that_is_right_stays(ratio: float) -> None:
    assert speed_of(signal(ratio)) is None


@pytest.mark.parametrize("orders", [ORDERS, None, Orders(bpfo=3.052, bpfi=4.948, bsf=1.994, ftf=0.3815)])
def test_a_machine_without_shaft_lines_says_nothing(orders: Orders | None) -> None:
    found = [speed_of(signal(1.0, shaft=0.0, defect=defect, seed=s), orders) for s in range(5) for defect in (0.0, 2.0)]
    assert found == [None] * 10


def test_lines_are_read_at_the_measured_speed_and_the_declared_one_is_kept_beside_it() -> None:
    samples = signal(1.06, defect=2.0)
    nominal, told = extract_recordings([Recorded(JOB, samples), Recorded(JOB, signal(1.0))], SETTINGS)
    assert told.measured_speed_rpm is None
    assert nominal.measured_speed_rpm == pytest.approx(1.06 * DECLARED, rel=0.004)
    np.testing.assert_allclose(nominal.turns_covered, 1.06 * told.turns_covered, rtol=0.004)
    line = NAMES.index("ses_low_bpfo_h1_db")
    right = extract_recordings([Recorded(replace(JOB, shaft_speed_rpm=1.06 * DECLARED), samples)], SETTINGS)[0]
    assert right.values[0, line] > 8.0
    assert nominal.values[0, line] == pytest.approx(right.values[0, line], abs=2.0)
    alone = extract_recordings([Recorded(JOB, samples)], SETTINGS)[0]
    assert alone.values.tobytes() == nominal.values.tobytes()
