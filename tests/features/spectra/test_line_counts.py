"""Counts of harmonics and sideband pairs, in made spectra whose lines are known."""

import numpy as np

from features.kinematics import Orders
from features.spectra.line_counts import STATISTICS, line_counts
from features.spectra.lines import LineReader, LineSettings

TURNS = 50.0
ORDERS = Orders(bpfo=3.5, bpfi=5.4, bsf=2.3, ftf=0.4)


def counts(*lines, orders=ORDERS):
    """Count in a flat spectrum with lines at these orders."""
    power = np.ones((1, 3000))
    power[0, [round(line * TURNS) for line in lines]] = 1000.0
    reader = LineReader(power, turns=TURNS, usable=np.array([2900]), settings=LineSettings())
    return dict(zip(STATISTICS, line_counts(reader, orders)[0].tolist(), strict=True))


def test_sidebands_of_the_ball_are_a_cage_order_apart_and_of_the_inner_race_a_shaft_order():
    cage = counts(4.2, 5.0, 3.8)
    assert (cage["bsf2x_sideband_pairs"], cage["bpfi_sideband_pairs"]) == (1.0, 0.0), "3.8 has no partner at 5.4"
    shaft = counts(4.4, 6.4, 3.4, 7.4)
    assert (shaft["bpfi_sideband_pairs"], shaft["bsf2x_sideband_pairs"]) == (2.0, 0.0)


def test_harmonics_are_counted_up_to_the_eighth():
    assert counts(*(3.5 * k for k in range(1, 11)))["bpfo_harmonics"] == 8.0
    assert counts(3.5, 10.5)["bpfo_harmonics"] == 2.0
    assert np.isnan(counts(3.5, orders=Orders(bpfi=5.4))["bpfo_harmonics"])
