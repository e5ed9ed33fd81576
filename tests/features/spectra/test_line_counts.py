"""Counts of harmonics and sideband pairs, in made spectra whose lines are known."""

import numpy as np

from features.kinematics import Orders
from features.spectra.line_counts import STATISTICS, line_counts
from features.spectra.line_reader import LineReader, order_columns
from features.spectra.lines import LineSettings

TURNS = 50.0
ORDERS = Orders(bpfo=3.53, bpfi=5.4, bsf=2.33, ftf=0.4)


def counts(*lines, orders=ORDERS):
    """Count in a flat spectrum with lines at these orders."""
    power = np.ones((1, 3000))
    power[0, [round(line * TURNS) for line in lines]] = 1000.0
    known = order_columns([orders], [TURNS])
    reader = LineReader(power, turns=TURNS, usable=np.array([2900]), settings=LineSettings(), orders=known)
    return dict(zip(STATISTICS, line_counts(reader, orders)[0].tolist(), strict=True))


def test_sidebands_of_the_ball_are_a_cage_order_apart_and_of_the_inner_race_a_shaft_order():
    cage = counts(4.26, 5.06, 3.86)
    assert (cage["bsf2x_sideband_pairs"], cage["bpfi_sideband_pairs"]) == (1.0, 0.0), "3.86 has no partner at 5.4"
    shaft = counts(4.4, 6.4, 3.4, 7.4)
    assert (shaft["bpfi_sideband_pairs"], shaft["bsf2x_sideband_pairs"]) == (2.0, 0.0)


def test_harmonics_are_counted_up_to_the_eighth():
    assert counts(*(3.53 * k for k in range(1, 11)))["bpfo_harmonics"] == 8.0
    assert counts(3.53, 10.59)["bpfo_harmonics"] == 2.0
    assert np.isnan(counts(3.53, orders=Orders(bpfi=5.4))["bpfo_harmonics"])


def test_lines_of_shafts_are_not_counted():
    second = Orders(bpfo=3.53, shafts=(0.505,))
    assert counts(3.53, 7.07, orders=second)["bpfo_harmonics"] == 1.0, "7.07 is the other shaft's fourteenth"
    assert counts(3.53, 7.07, orders=Orders(bpfo=3.53))["bpfo_harmonics"] == 2.0
    assert counts(3.0, orders=Orders(bpfo=3.04))["bpfo_harmonics"] == 0.0


def test_pairs_of_the_inner_race_stand_at_the_speed_of_its_ring():
    behind = Orders(bpfi=2.166, inner_ring=0.4, shafts=(0.4,))
    assert counts(1.766, 2.566, 1.366, 2.966, orders=behind)["bpfi_sideband_pairs"] == 2.0
    assert counts(1.166, 3.166, orders=behind)["bpfi_sideband_pairs"] == 0.0
    assert np.isnan(counts(2.166, orders=Orders(bpfi=2.166, inner_ring=0.01))["bpfi_sideband_pairs"]), "not resolved"
