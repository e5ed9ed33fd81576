"""Faults made from physics: each has its own lines in the squared envelope spectrum, on average over many draws."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from features.kinematics import Orders, bearing_orders
from features.spectra import envelope as env
from features.spectra.line_reader import LineReader
from features.spectra.lines import LineSettings
from features.spectra.spectrum import real_transform
from features.synthetic_faults import (
    FAULT_TO_BACKGROUND_DB,
    MIN_LENGTH,
    MODES,
    can_make,
    synthesise,
)

RATE, LENGTH, SHAFT = 12_000.0, 12_032, 29.95
ORDERS = bearing_orders(9, 7.94, 39.04)
OWN_LINE = {"outer_race": "bpfo", "inner_race": "bpfi", "ball": "bsf2x"}
DRAWS = 60


def make(mode: str | None, seed: int, **changes: Any) -> np.ndarray:
    given = {"length": LENGTH, "sampling_rate_hz": RATE, "shaft_hz": SHAFT, "orders": ORDERS} | changes
    return synthesise(np.random.default_rng(seed), mode, **given)


@cache
def lines(mode: str | None) -> dict[str, float]:
    """Mean height in dB of every envelope line over many made windows, in the whole band, whitened."""
    windows = np.stack([make(mode, seed) for seed in range(DRAWS)])
    spectrum = env.prewhiten(real_transform((windows - windows.mean(axis=1, keepdims=True)).astype(np.float32)))
    band = env.whole_band_bins(LENGTH)
    assert band is not None
    ses = env.squared_envelope_spectrum(spectrum, band)
    usable = np.full(len(ses), env.usable_bins(band))
    reader = LineReader(ses, turns=LENGTH * SHAFT / RATE, usable=usable, settings=LineSettings())
    values = env.line_statistics(reader, ORDERS)
    return dict(zip(env.STATISTICS, values.mean(axis=0), strict=True))


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_has_its_line_at_its_order_and_less_at_the_others(mode: str) -> None:
    found, quiet = lines(mode), lines(None)
    own = f"{OWN_LINE[mode]}_h1_db"
    assert found[own] > quiet[own] + 4.0
    for other in set(OWN_LINE.values()) - {OWN_LINE[mode]}:
        assert found[own] > found[f"{other}_h1_db"] + 3.0, other


def test_the_background_has_no_bearing_line() -> None:
    quiet = lines(None)
    assert max(quiet[f"{line}_h1_db"] for line in OWN_LINE.values()) < min(
        lines(mode)[f"{line}_h1_db"] for mode, line in OWN_LINE.items()
    )


def test_an_inner_race_passes_the_load_zone_once_a_turn_and_has_shaft_sidebands() -> None:
    assert lines("inner_race")["bpfi_sidebands_db"] > lines("outer_race")["bpfi_sidebands_db"] + 2.0
    assert lines("inner_race")["bpfi_sidebands_db"] > lines(None)["bpfi_sidebands_db"] + 2.0


def test_a_ball_passes_the_load_zone_with_the_cage() -> None:
    assert lines("ball")["bsf2x_sidebands_db"] > lines("outer_race")["bsf2x_sidebands_db"] + 1.0


@pytest.mark.parametrize("mode", [None, *MODES])
def test_the_same_stream_gives_the_same_window(mode: str | None) -> None:
    first = make(mode, 3)
    assert first.shape == (LENGTH,)
    assert first.dtype == np.float64
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, make(mode, 3))
    assert not np.array_equal(first, make(mode, 4))


def test_a_made_background_has_rms_one() -> None:
    rms = [np.sqrt(np.mean(make(None, seed) ** 2)) for seed in range(10)]
    assert rms == pytest.approx([1.0] * 10)


@pytest.mark.parametrize("mode", MODES)
def test_a_measured_background_is_kept_and_the_fault_added_at_a_level_within_the_range(mode: str) -> None:
    background = np.random.default_rng(9).normal(7.0, 3.0, LENGTH).astype(np.float32)
    quiet = background.astype(np.float64) - float(background.mean())
    np.testing.assert_array_equal(make(None, 1, background=background), quiet)
    kept = background.copy()
    levels = []
    for seed in range(20):
        fault = make(mode, seed, background=background) - quiet
        levels.append(20.0 * np.log10(np.sqrt(np.mean(fault**2)) / np.sqrt(np.mean(quiet**2))))
    assert FAULT_TO_BACKGROUND_DB[0] - 1e-6 <= min(levels)
    assert max(levels) <= FAULT_TO_BACKGROUND_DB[1] + 1e-6
    assert max(levels) - min(levels) > 6.0
    np.testing.assert_array_equal(background, kept)


def test_what_the_geometry_does_not_tell_cannot_be_made() -> None:
    assert [can_make(mode, None) for mode in MODES] == [False] * 3
    for mode, name in (("outer_race", "bpfo"), ("inner_race", "bpfi"), ("ball", "bsf")):
        only = Orders(**{name: 3.3})
        assert [can_make(other, only) for other in MODES] == [other == mode for other in MODES]
        assert np.isfinite(make(mode, 1, orders=only)).all()
    assert not can_make("cage", ORDERS)
    for mode, orders in (("cage", ORDERS), ("", ORDERS), ("ball", Orders(bpfo=3.0))):
        with pytest.raises(ValueError, match="Cannot make a fault of mode"):
            make(mode, 1, orders=orders)


@pytest.mark.parametrize(
    "bad",
    [{"length": MIN_LENGTH - 1}, {"length": 0}]
    + [{name: value} for name in ("sampling_rate_hz", "shaft_hz") for value in (0.0, -1.0, np.nan, np.inf)],
)
def test_a_window_that_cannot_be_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="A window needs at least 64 samples"):
        make("outer_race", 1, **bad)


def test_a_background_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="must have shape"):
        make("outer_race", 1, background=np.zeros(5, np.float32))


@pytest.mark.parametrize("mode", [None, *MODES])
@pytest.mark.parametrize("rate, shaft", [(8.0, 0.01), (12_800.0, 0.5), (1e6, 3_000.0), (25_600.0, 400.0)])
def test_short_slow_and_fast_windows_are_finite(mode: str | None, rate: float, shaft: float) -> None:
    """Among them windows that end before the first strike."""
    for seed in range(12):
        assert np.isfinite(make(mode, seed, length=MIN_LENGTH, sampling_rate_hz=rate, shaft_hz=shaft)).all()


def test_a_dead_background_stays_dead() -> None:
    assert not make("ball", 1, background=np.zeros(LENGTH, np.float32)).any()
