"""A rate that is declared 1.5 % wrong takes a bearing's line out of its search band; the rate of the times keeps it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from features.kinematics import Orders
from features.settings import feature_names
from features.spectra.evidence import DIAGNOSES, diagnose
from pipeline.base.settings import Settings
from pipeline.extraction.in_force import feature_settings
from pipeline.extraction.recording import Job, extract_recording

TRUE_HZ, DECLARED_HZ, RPM = 2030.0, 2000.0, 600.0
ORDERS = Orders(bpfo=3.5848, bpfi=5.4152, bsf=2.357, ftf=0.3983)
SLIP = 0.01
MAPPING = f"""
version = 1
name = "folder"
[files]
glob = "*.csv"
[signal]
format = "csv"
column = {{ value = "x" }}
[signal.time]
column = "t"
kind = "epoch"
unit = "us"
[recording]
site = {{ value = "p" }}
robot_id = {{ value = "R1" }}
axis = {{ value = "A1" }}
channel = {{ value = "x" }}
quantity = {{ value = "acceleration" }}
unit = {{ value = "g" }}
sampling_rate_hz = {{ value = {DECLARED_HZ} }}
rate_basis = {{ value = "declared" }}
shaft_speed_rpm = {{ value = {RPM} }}
speed_is_steady = {{ value = true }}
[time]
basis = "clock"
"""


def outer_race(n: int = 24_000) -> np.ndarray[Any, Any]:
    """A defect of the outer race that slips by 1 %: strokes on a resonance of 600 Hz, in noise."""
    rng = np.random.default_rng(14)
    at = np.arange(n) / TRUE_HZ
    line_hz = ORDERS.bpfo * (1 - SLIP) * RPM / 60
    since = (at * line_hz % 1) / line_hz
    return np.exp(-since * 600) * np.sin(2 * np.pi * 600 * since) + 0.15 * rng.normal(size=n)


def diagnosed(found: dict[str, float]) -> str:
    (index,), _ = diagnose(np.array([list(found.values())]), list(found))
    return DIAGNOSES[index]


def test_the_rate_of_the_times_gives_the_evidence_back(folder: Any) -> None:
    times = 1767225600000000 + np.arange(24_000) * 1_000_000 / TRUE_HZ
    rows = zip(times.astype(np.int64).tolist(), outer_race().round(4).tolist(), strict=True)
    folder.csv("t,x\n" + "".join(f"{at},{value}\n" for at, value in rows))
    settings = feature_settings(Settings(), "acceleration")
    names = feature_names(settings)

    def outer(mapping: str) -> tuple[float, dict[str, float], str]:
        (row,), report = folder.run(mapping)
        rate = row["sampling_rate_hz"]
        job = Job("r", "", 0, row["quantity"], row["unit"], rate, True, RPM, True, ORDERS)
        done = extract_recording(job, np.array(row["samples"], np.float32), settings)
        found = dict(zip(names, done.values.mean(axis=0).tolist(), strict=True))
        return rate, found, next(note for note in report.notes if note.startswith("rate"))

    rate, wrong, note = outer(MAPPING)
    assert rate == DECLARED_HZ
    assert "the times say 2030 Hz, 2000 Hz is used (+1.50%)" in note
    rate, right, note = outer(MAPPING.replace(f"value = {DECLARED_HZ}", "from_times = true"))
    assert rate == pytest.approx(TRUE_HZ, rel=1e-5)
    assert "2030 Hz is used" in note
    assert right["evidence_outer_offset_percent"] == pytest.approx(-100 * SLIP, abs=0.1)
    assert right["evidence_outer_mean_db"] > 10
    assert wrong["evidence_outer_mean_db"] < 3.5, "the line lies 2.5 % from its order, outside of the +-2 % searched"
    assert diagnosed(right) == "outer_race"
    assert diagnosed(wrong) != "outer_race"
