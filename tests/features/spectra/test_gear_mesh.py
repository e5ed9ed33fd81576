import numpy as np
import pytest

from features.spectra.gear_mesh import STATISTICS, gear_mesh_statistics, sideband_ratio
from features.spectra.lines import LineSettings
from features.spectra.spectrum import power_spectrum

LENGTH, TURNS = 12_032, 30.0
ANGLE = 2 * np.pi * TURNS * np.arange(LENGTH) / LENGTH
SETTINGS = LineSettings()


def power_of(x):
    return power_spectrum(np.atleast_2d(x))


def ratio(x, mesh=21.0):
    one = {"mesh": np.array([mesh]), "turns": np.array([TURNS]), "usable": np.array([5800])}
    return sideband_ratio(power_of(x), **one, tolerance=0.02)[0][0]


@pytest.mark.parametrize("depth", [0.05, 0.3, 0.9])
def test_amplitude_modulation_in_closed_form(depth):
    # (1 + a cos s) cos m has two sidebands of a / 2: together a^2 / 2 of the carrier's power.
    x = (1 + depth * np.cos(ANGLE)) * np.cos(21 * ANGLE)
    assert ratio(x) == pytest.approx(depth**2 / 2, rel=1e-2)
    assert ratio(1000 * x) == pytest.approx(depth**2 / 2, rel=1e-2)


def test_a_speed_error_moves_the_mesh_and_its_sidebands_together():
    moved = 1.012 * ANGLE
    x = (1 + 0.3 * np.cos(moved)) * np.cos(21 * moved)
    assert ratio(x) == pytest.approx(0.045, rel=0.1)


def test_a_sideband_is_not_taken_for_the_mesh():
    # At order 80, 2 % is 1.6 orders: a search over all of it would find the sideband.
    x = 0.2 * np.cos(80 * ANGLE) + np.cos(81 * ANGLE)
    assert ratio(x, mesh=80.0) == pytest.approx(25.0, rel=0.01)


def test_of_several_meshes_the_strongest_counts_and_unresolved_ones_are_missing():
    x = np.cos(21 * ANGLE) + 2 * (1 + 0.5 * np.cos(ANGLE)) * np.cos(50 * ANGLE)
    x += 1e-3 * np.random.default_rng(0).standard_normal(LENGTH)

    def statistics(meshes, turns=TURNS):
        found = gear_mesh_statistics(
            power_of(x),
            meshes=np.array([meshes]),
            turns=np.array([turns]),
            usable=np.array([int(0.98 * LENGTH / 2)]),
            settings=SETTINGS,
        )
        return dict(zip(STATISTICS, found[0], strict=True))

    assert statistics((21.0, 50.0))["sideband_ratio_log10"] == pytest.approx(np.log10(0.125), abs=0.01)
    assert statistics((50.0, 33.5))["sideband_ratio_log10"] == pytest.approx(np.log10(0.125), abs=0.01)
    assert statistics((21.0, 900.0))["sideband_ratio_log10"] < -3
    assert np.isnan(statistics((2.5,))["sideband_ratio_log10"])
    for nothing in (statistics(()), statistics((21.0,), turns=7.0), statistics((21.0,), turns=float("nan"))):
        assert np.isnan(list(nothing.values())).all()
