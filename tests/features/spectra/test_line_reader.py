"""What is a line of a defect, and what is a flank or a sideband of something else."""

import numpy as np
import pytest

from features.kinematics import Orders
from features.spectra.line_reader import LineReader, order_columns
from features.spectra.lines import LineSettings

SETTINGS, TURNS, BINS, ROWS = LineSettings(), 30.0, 1200, 40
BEARING = Orders(bpfo=3.05, bpfi=4.95, bsf=1.99, ftf=0.381)
"""The line of the inner race less a turn is at 3.95 orders, that of the outer race and a turn at 4.05, twice the ball's
spin at 3.98: within its search band, whose half width is 2 %, both."""


def reader(*lines, turns=TURNS, orders=BEARING, seed=0):
    """Over Hann power spectra of noise with steady lines, each an order and an amplitude over that of noise."""
    rng = np.random.default_rng(seed)
    n = 2 * BINS + 4
    x = rng.standard_normal((ROWS, n)) * np.sqrt(2.0 / n)
    for order, amplitude in lines:
        phase = 2 * np.pi * (order * turns * np.arange(n) / n + rng.uniform(size=(ROWS, 1)))
        x += 2 * amplitude / n * np.cos(phase)
    power = np.abs(np.fft.rfft(x * np.hanning(n + 1)[:-1]))[:, : BINS + 1] ** 2
    columns = order_columns([orders], [turns], SETTINGS).take(np.zeros(ROWS, dtype=int))
    return LineReader(power, turns=turns, usable=np.full(ROWS, BINS), settings=SETTINGS, orders=columns)


def firsts(lines):
    """Medians of the first lines of outer race, inner race and ball, dB."""
    heights, _ = lines.of_defects([BEARING.bpfo], [BEARING.bpfi], [2 * BEARING.bsf])
    return [float(np.median(own[0])) for own in heights]


def test_a_flank_of_a_peak_beside_the_search_band_is_no_line():
    at, end = 20.0, 20.4  # orders; 2 % above it the search band ends
    outside = reader((end + 1.3 / TURNS, 60.0)).at(at)[0]
    assert np.median(outside) < 5.0
    assert np.median(reader((end + 0.3 / TURNS, 60.0)).at(at)[0]) > 15.0, "its place is known to half a bin"
    assert np.median(reader((end - 0.5 / TURNS, 60.0)).at(at)[0]) > 15.0
    both = reader((end + 1.3 / TURNS, 60.0), (at, 20.0)).at(at)[0]
    assert np.median(both) > 12.0, "a line in the middle of the band is read beside it"


@pytest.mark.parametrize("strong, side, name", [(4.95, 3.95, 1), (3.05, 4.05, 0)])
def test_a_sideband_of_a_race_is_no_ball(strong, side, name):
    lines = reader((strong, 100.0), (side, 30.0))
    assert np.median(lines.at(2 * BEARING.bsf)[0]) > 15.0
    heights = firsts(lines)
    assert heights[name] > 25.0 and heights[2] < 5.0


def test_a_ball_beside_a_sideband_of_a_race_is_read():
    turns = 100.0  # three bins apart
    clear = reader((4.95, 100.0), (3.95, 30.0), (3.98, 20.0), turns=turns)
    assert firsts(clear)[2] > 12.0
    _, offsets = clear.of_defects([BEARING.bpfo], [BEARING.bpfi], [2 * BEARING.bsf])
    assert np.median(offsets[2]) == pytest.approx(0.0, abs=1e-3)


def test_what_stands_highest_is_explained_by_nothing():
    """A ball's line at the place of a weaker inner race's sideband."""
    heights = firsts(reader((3.95, 100.0), (4.95, 30.0)))
    assert heights[2] > 25.0 and heights[1] > 15.0


def test_a_sideband_of_a_ball_at_the_cage_is_no_race():
    orders = Orders(bpfo=3.585, bpfi=5.415, bsf=2.357, ftf=0.398)
    side = 2 * orders.bsf - 3 * orders.ftf  # 1.8 % below bpfo
    lines = reader((2 * orders.bsf, 100.0), (side, 30.0), orders=orders)
    (outer, _, ball), _ = lines.of_defects([orders.bpfo], [orders.bpfi], [2 * orders.bsf])
    assert np.median(lines.at(orders.bpfo)[0]) > 15.0
    assert np.median(outer[0]) < 5.0 and np.median(ball[0]) > 25.0


def test_noise_is_read_as_before():
    lines = reader()
    assert [abs(height) < 1.0 for height in firsts(lines)] == [True] * 3


def test_a_shafts_comb_explains_no_line_of_a_bearing():
    """A bad tooth gives lines at all multiples of the shaft: three of them lie where a 6203 has its defects."""
    heights = firsts(reader((3.0, 100.0), (4.0, 60.0), (5.0, 40.0)))
    assert min(heights) > 15.0, "none is a sideband of a bearing"
