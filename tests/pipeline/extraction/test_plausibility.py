"""Scoring gives the verdict that the unit's own baseline speaks; a coarser regime's baseline speaks none."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from features.extract import extract
from features.health.baseline import fit_reference
from features.kinematics import bearing_orders
from features.settings import FeatureSettings, feature_names
from pipeline.extraction.baselines import UnitBaseline
from pipeline.extraction.reading import judge_plausibility

SETTINGS = FeatureSettings()
NAMES = feature_names(SETTINGS)
ROW: Any = SimpleNamespace(scope="acceleration", regime="pick")


def features_of(seed: int, *, factor: float = 1.0, n: int = 12) -> np.ndarray:
    """Features of windows of a machine that hums along: a shaft line, its harmonic, and a resonance in noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(12_000) / 12_000.0
    rows = []
    for _ in range(n):
        noise = np.convolve(rng.normal(0, 1, t.size), np.exp(-0.05 * np.arange(60)) * np.sin(0.9 * np.arange(60)))
        rows.append(noise[: t.size] + 3 * np.sin(2 * np.pi * 30 * t + rng.uniform(0, 6)) + np.sin(2 * np.pi * 60 * t))
    return extract(
        (factor * np.array(rows)).astype(np.float32),
        sampling_rate_hz=12_000.0,
        rate_is_declared=True,
        shaft_speed_rpm=1_800.0,
        speed_is_steady=True,
        orders=bearing_orders(9, 7.94, 39.04),
        settings=SETTINGS,
    )


@pytest.fixture(scope="module")
def found() -> UnitBaseline:
    return UnitBaseline("v1", "pick", fit_reference(features_of(1, n=40)), datetime(2026, 1, 4, tzinfo=UTC))


def judged(x: np.ndarray, found: UnitBaseline | None, quality: str = "ok") -> dict[str, list[Any]]:
    windows: dict[str, list[Any]] = {"quality": [quality, *["ok"] * (len(x) - 1)], "evidence": [""] * len(x)}
    judge_plausibility(windows, x, NAMES, ROW, found)
    return windows


def test_a_wrong_gain_is_a_data_fault_with_its_evidence_and_health_is_none(found: UnitBaseline) -> None:
    assert judged(features_of(2), found)["quality"] == ["ok"] * 12
    windows = judged(features_of(2, factor=9.80665), found)
    assert windows["quality"] == ["gain_mismatch"] * 12
    assert "g where m/s2 was declared" in windows["evidence"][0]


def test_a_window_keeps_the_verdict_that_it_has(found: UnitBaseline) -> None:
    windows = judged(features_of(2, factor=1000.0), found, quality="clipping")
    assert windows["quality"] == ["clipping", *["gain_mismatch"] * 11]
    assert windows["evidence"][0] == ""


def test_nothing_is_said_without_a_baseline_of_the_same_regime(found: UnitBaseline) -> None:
    x = features_of(2, factor=1000.0)
    assert judged(x, None)["quality"] == ["ok"] * 12
    assert judged(x, UnitBaseline("v1", "", found.reference, found.until))["quality"] == ["ok"] * 12
