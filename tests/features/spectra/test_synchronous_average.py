import numpy as np
import pytest

from features.kinematics import Orders
from features.spectra.synchronous_average import STATISTICS, synchronous_average, synchronous_statistics

PER_TURN = 400
GEAR = Orders(gear_mesh=(21.0,))


def angle(turns):
    return 2 * np.pi * np.arange(turns * PER_TURN) / PER_TURN


def statistics(x, orders=GEAR, per_turn=PER_TURN):
    return dict(zip(STATISTICS, synchronous_statistics(np.atleast_2d(x), per_turn, orders.gear_mesh)[0], strict=True))


@pytest.mark.parametrize("turns", [9, 36, 100])
def test_noise_falls_with_the_square_root_of_the_turns(turns):
    x = np.sin(21 * angle(turns)) + np.random.default_rng(0).standard_normal(turns * PER_TURN)
    average, residual = synchronous_average(x[None], PER_TURN)
    error = average[0] - np.sin(21 * angle(1))
    assert error.std() == pytest.approx(1 / np.sqrt(turns), rel=0.15)
    assert residual.std() == pytest.approx(np.sqrt(1 - 1 / turns), rel=0.03)
    np.testing.assert_allclose(residual.reshape(turns, PER_TURN).mean(axis=0), 0.0, atol=1e-12)


def test_share_of_what_repeats_in_closed_form():
    rng = np.random.default_rng(1)
    noise = rng.standard_normal(40 * PER_TURN)
    assert statistics(np.sin(21 * angle(40)))["share"] == pytest.approx(1.0)
    assert statistics(noise)["share"] == pytest.approx(0.0, abs=0.01)
    half = statistics(np.sqrt(2) * np.sin(21 * angle(40)) + noise)
    assert half["share"] == pytest.approx(0.5, abs=0.02)
    assert half["residual_ratio_log10"] == pytest.approx(0.5 * np.log10(0.5), abs=0.01)
    # A line that is no whole number of orders does not repeat.
    assert statistics(np.sin(3.585 * angle(40)))["share"] < 0.02


def test_a_bad_tooth_shows_in_the_average_and_a_slipping_bearing_in_the_residual():
    rng = np.random.default_rng(2)
    good = np.sin(21 * angle(40)) + 0.3 * rng.standard_normal(40 * PER_TURN)
    near = np.exp(-0.5 * (((np.arange(40 * PER_TURN) % PER_TURN) - 150) / 6.0) ** 2)
    tooth = statistics(good + 0.8 * near * np.sin(33 * angle(40)))
    clicks = np.zeros(40 * PER_TURN)
    clicks[np.cumsum(rng.normal(111.6, 1.0, 140)).astype(int)] = 6.0
    bearing = statistics(good + clicks)
    healthy = statistics(good)
    assert healthy["fm4_log10"] == pytest.approx(np.log10(3), abs=0.12)
    assert tooth["fm4_log10"] > 0.75 and bearing["fm4_log10"] < 0.65
    assert healthy["residual_kurtosis_log10"] == pytest.approx(np.log10(3), abs=0.02)
    assert bearing["residual_kurtosis_log10"] > 1.0 and tooth["residual_kurtosis_log10"] < 0.5


def test_what_cannot_be_told_is_missing():
    x = np.random.default_rng(0).standard_normal(10 * PER_TURN)
    assert np.isnan(list(statistics(x, per_turn=None).values())).all()
    assert np.isnan(list(statistics(x[: 7 * PER_TURN]).values())).all()
    assert np.isnan(statistics(x, Orders())["fm4_log10"])
    assert np.isnan(statistics(x, Orders(gear_mesh=(7.3,)))["fm4_log10"])
    assert np.isfinite(statistics(x)["fm4_log10"])
    assert np.isnan(statistics(np.sin(21 * angle(10)))["fm4_log10"])  # nothing is left of it
    with pytest.raises(ValueError, match="2 turns"):
        synchronous_average(x[None], 10 * PER_TURN)
