"""All features against an independent, slow implementation: one window at a time, float64, textbook formulas."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import fft, signal, stats

from features.extract import FeatureSettings, extract, feature_names
from features.kinematics import Orders
from features.settings import LONG_LINES
from features.spectra.lines import expected_noise_db, noise_threshold_db

SETTINGS = FeatureSettings()
RATE, LENGTH, RPM = 12_800.0, 12_800, 1740.0
ORDERS = Orders(bpfo=3.585, bpfi=5.415, bsf=2.357, ftf=0.398, gear_mesh=(21.0, 33.5))


def make_windows():
    """Noise in a resonance, a gear mesh with sidebands, impulses at 3.6 orders, an offset: seeded."""
    rng = np.random.default_rng(20_240_601)
    t = np.arange(LENGTH) / RATE
    shaft = RPM / 60
    rows = []
    for k in range(3):
        x = signal.lfilter([1.0], [1.0, -0.4, 0.7], rng.standard_normal(LENGTH))
        x += (1 + 0.5 * np.cos(2 * np.pi * shaft * t)) * np.sin(2 * np.pi * 21 * shaft * t)
        x += 3 * k * signal.lfilter([1.0], [1.0, 0.1, 0.85], (np.arange(LENGTH) % 123 == 7) * 1.0)
        rows.append(x * 2.5 + 0.7)
    return np.array(rows, dtype=np.float32)


def line(power, positions, usable):
    best, bins = -np.inf, 0.0
    for position in positions:
        half = max(0.02 * position, 1.0)
        inside = [k for k in range(len(power)) if abs(k - position) <= half]
        if position < 3 or inside[0] < 2 or inside[-1] >= usable:
            continue
        reach = max(round(0.25 * position), 16)
        floor = [k for k in range(inside[0] - 2 - reach, inside[0] - 2) if k >= 2]
        floor += [k for k in range(inside[-1] + 3, inside[-1] + 3 + reach) if k < usable]
        best = max(best, 10 * np.log10(power[inside].max() / np.median(power[floor])))
        bins += 1 + 0.72 * (len(inside) - 1)
    return (best - expected_noise_db(bins), noise_threshold_db(bins, 0.01)) if bins else (np.nan, np.nan)


ORDER = {"bpfo": 3.585, "bpfi": 5.415, "bsf": 2.357, "bsf2x": 2 * 2.357, "ftf": 0.398}


def envelope_part(spectrum, first, last, turns, out, version):
    one_sided = np.zeros(LENGTH, dtype=complex)
    one_sided[first : last + 1] = spectrum[first : last + 1]
    square = np.abs(np.fft.ifft(one_sided)) ** 2
    power = np.abs(np.fft.rfft((square - square.mean()) * signal.get_window("hann", LENGTH))) ** 2
    usable = int(0.9 * (last + 1 - first))

    def at(order):
        return line(power, [order * turns], usable)[0]

    def out_of_noise(order):
        height, limit = line(power, [order * turns], usable)
        return height > limit

    for name, order in ORDER.items():
        out[f"ses_{version}_{name}_h1_db"] = at(order)
        out[f"ses_{version}_{name}_mean13_db"] = np.mean([at(order), at(2 * order), at(3 * order)])
    out[f"ses_{version}_shaft_1x_db"], out[f"ses_{version}_shaft_2x_db"] = at(1), at(2)
    sides = [(at(5.415 - 1) + at(5.415 + 1)) / 2, (at(4.714 - 0.398) + at(4.714 + 0.398)) / 2]
    out[f"ses_{version}_bpfi_sidebands_db"], out[f"ses_{version}_bsf2x_sidebands_db"] = sides
    if version in ("white", "best"):
        for name in ("bpfo", "bpfi", "bsf2x", "ftf"):
            count = sum(out_of_noise(k * ORDER[name]) for k in range(1, 9))
            out[f"ses_{version}_{name}_harmonics"] = count
        for name, step in (("bpfi", 1.0), ("bsf2x", 0.398)):
            pairs = [out_of_noise(ORDER[name] - k * step) and out_of_noise(ORDER[name] + k * step) for k in (1, 2, 3)]
            out[f"ses_{version}_{name}_sideband_pairs"] = sum(pairs)
    score = [np.mean([max(at(k * ORDER[name]), 0) for k in (1, 2, 3)]) for name in ("bpfo", "bpfi", "bsf2x")]
    first, offset = zip(
        *(measured(power, ORDER[name], turns, usable) for name in ("bpfo", "bpfi", "bsf2x")), strict=True
    )
    return [score[0], score[1] + max(sides[0], 0) / 4, score[2] + max(sides[1], 0) / 4], first, offset


def measured(power, order, turns, usable):
    """Height of a line, and how far it lies from its order in percent, from its peak and the higher neighbour."""
    half = max(0.02 * order * turns, 1.0)
    peak = max((k for k in range(len(power)) if abs(k - order * turns) <= half), key=lambda k: power[k])
    to = 1 if power[peak + 1] >= power[peak - 1] else -1
    a, b = np.sqrt(power[peak]), np.sqrt(power[peak + to])
    found = peak + to * np.clip((2 * b - a) / (a + b), -0.5, 0.5)
    return line(power, [order * turns], usable)[0], 100 * (found / (order * turns) - 1)


def best_band(spectrum):
    """Return the first and last bin of the band of highest envelope kurtosis, and that kurtosis."""
    found = []
    for parts in (1, 2, 3, 4, 6, 8):
        width = (int(0.95 * LENGTH / 2) - 2) // parts
        for k in range(parts):
            size = fft.next_fast_len(width)
            square = np.abs(np.fft.ifft(spectrum[2 + k * width : 2 + (k + 1) * width], size)) ** 2
            found.append(((square**2).mean() / square.mean() ** 2, 2 + k * width, 1 + (k + 1) * width))
    return max(found, key=lambda item: item[0])


def spectral_kurtosis(d):
    frames = [d[start : start + 128] * signal.get_window("hann", 128) for start in range(0, LENGTH - 127, 64)]
    power = np.abs(np.fft.rfft(frames)) ** 2
    return ((len(power) + 1) * (power**2).sum(axis=0) / power.sum(axis=0) ** 2 - 2)[2:60]


def sideband_ratio(power, mesh, turns):
    near = range(int(np.ceil((mesh - 0.4) * turns)), int((mesh + 0.4) * turns) + 1)
    centre = max(near, key=lambda k: power[k])
    at = [power[centre + round(k * turns) - 1 : centre + round(k * turns) + 2].sum() for k in range(-3, 4)]
    return at[3], (sum(at) - at[3]) / at[3]


def reference(window):
    x = window.astype(np.float64)
    d = x - x.mean()
    rms, peak, size = np.sqrt((d**2).mean()), np.abs(d).max(), np.abs(d)
    out = {
        "rms_log10": np.log10(rms),
        "peak_log10": np.log10(peak),
        "peak_to_peak_log10": np.log10(np.ptp(x)),
        "crest_factor_log10": np.log10(peak / rms),
        "kurtosis_log10": np.log10(stats.kurtosis(x, fisher=False)),
        "skewness": stats.skew(x),
        "shape_factor": rms / size.mean(),
        "impulse_factor_log10": np.log10(peak / size.mean()),
        "clearance_factor_log10": np.log10(peak / np.sqrt(size).mean() ** 2),
    }
    frequency, power = signal.periodogram(d, RATE, window="hann", detrend=False, scaling="density")
    power = power * RATE / LENGTH  # from a density to the mean square per bin
    share = power[1:] / power[1:].sum()
    out["spectral_centroid_hz"] = (frequency[1:] * share).sum()
    out["rms_frequency_hz"] = np.sqrt((frequency[1:] ** 2 * share).sum())
    out["spectral_entropy"] = -(share * np.log(share)).sum() / np.log(len(share))
    edges = SETTINGS.band_edges_hz
    for low, high in pairwise(edges):
        inside = (frequency >= low) & (frequency < high)
        out[f"band_{low:g}_{high:g}_log_power"] = np.log10(power[inside].sum())
        out[f"band_{low:g}_{high:g}_share"] = power[inside].sum() / power[1:].sum()
    turns = LENGTH / RATE * RPM / 60
    ends = [d[-128:].mean(), d[:128].mean()]
    spectrum = np.fft.rfft(d - (ends[0] - ends[1]) * LENGTH / (LENGTH - 128) * np.arange(LENGTH) / LENGTH)
    kurtosis, first, last = best_band(spectrum)
    out["best_band_kurtosis_log10"] = np.log10(kurtosis)
    out["best_band_center_hz"] = (first + last) / 2 * RATE / LENGTH
    out["best_band_width_hz"] = (last + 1 - first) * RATE / LENGTH
    bursts = spectral_kurtosis(d)
    out["spectral_kurtosis_max_log10"], out["spectral_kurtosis_mean_log10"] = (
        np.log10(bursts.max() + 2),
        np.log10(bursts.mean() + 2),
    )
    parts = [
        envelope_part(spectrum, 500, 2000, turns, out, "low"),
        envelope_part(spectrum, 2000, 5000, turns, out, "high"),
        envelope_part(spectrum / np.abs(spectrum), 2, 6271, turns, out, "white"),
        envelope_part(spectrum, first, last, turns, out, "best"),
    ]
    scores, first, offset = (np.array([part[k] for part in parts]) for k in range(3))
    for k, name in enumerate(("outer", "inner", "ball")):
        out[f"evidence_{name}_h1_db"] = first[:, k].mean()
        out[f"evidence_{name}_offset_percent"] = offset[first[:, k].argmax(), k]
    for kind, values in (("max", np.max(scores, axis=0)), ("mean", np.mean(scores, axis=0))):
        for k, name in enumerate(("outer", "inner", "ball")):
            out[f"evidence_{name}_{kind}_db"] = values[k]
            out[f"evidence_{name}_{kind}_margin_db"] = values[k] - np.delete(values, k).max()
    for k in (1, 2, 3):
        out[f"raw_gear_mesh_h{k}_db"] = line(power, [k * 21.0 * turns, k * 33.5 * turns], 6272)[0]
    sides = [line(power, [(21.0 + s) * turns, (33.5 + s) * turns], 6272)[0] for s in (-1, 1)]
    out["raw_gear_mesh_sidebands_db"] = np.mean(sides)
    out["raw_gear_mesh_sideband_ratio_log10"] = np.log10(
        max(sideband_ratio(power, mesh, turns) for mesh in (21.0, 33.5))[1]
    )
    amplitude = np.sqrt(power[2:])
    below = np.append(0, np.cumsum(amplitude)) / amplitude.sum()
    edges = (np.arange(amplitude.size + 1) + 1.5) * RATE / LENGTH
    for q in range(10, 100, 10):
        out[f"spectrum_q{q}_log10_hz"] = np.log10(np.interp(q / 100, below, edges))
    out["raw_shaft_mean14_db"] = np.mean([line(power, [k * turns], 6272)[0] for k in (1, 2, 3, 4)])
    return out


@pytest.fixture(scope="module")
def found():
    rows = extract(
        make_windows(),
        sampling_rate_hz=RATE,
        rate_is_declared=True,
        shaft_speed_rpm=RPM,
        speed_is_steady=True,
        orders=ORDERS,
        settings=SETTINGS,
    )
    return [dict(zip(feature_names(SETTINGS), row.tolist(), strict=True)) for row in rows]


@pytest.mark.parametrize("row", [0, 1, 2])
def test_every_feature_equals_the_reference(found, row):
    wanted = reference(make_windows()[row])
    # Of a window by itself the long lines are its own.
    wanted |= {f"long_{name}": wanted[name] for name in LONG_LINES}
    # A synchronous average needs samples over angle: it has tests of its own.
    assert wanted.keys() == {name for name in found[row] if not name.startswith("tsa_")}
    for name, value in wanted.items():
        # In dB, 0.01 is a share of 0.1 % of the amplitude.
        close = {"abs": 0.01} if name.endswith(("_db", "_percent")) else {"rel": 1e-4, "abs": 1e-6}
        assert found[row][name] == pytest.approx(value, **close), name


FROZEN = {
    "rms_log10": 0.680029,
    "peak_log10": 1.42218,
    "peak_to_peak_log10": 1.6872,
    "crest_factor_log10": 0.742156,
    "kurtosis_log10": 0.625036,
    "skewness": 0.144319,
    "shape_factor": 1.29915,
    "impulse_factor_log10": 0.855815,
    "clearance_factor_log10": 0.934179,
    "spectral_centroid_hz": 2546.15,
    "rms_frequency_hz": 2796.86,
    "spectral_entropy": 0.742984,
    "band_10_100_log_power": -1.22044,
    "band_100_250_log_power": -1.0381,
    "band_250_500_log_power": -0.775965,
    "band_500_1000_log_power": 0.585535,
    "band_1000_2000_log_power": 0.212424,
    "band_2000_3000_log_power": 0.914617,
    "band_3000_4000_log_power": 0.896704,
    "band_4000_5000_log_power": -0.0711459,
    "band_10_100_share": 0.00259068,
    "band_100_250_share": 0.00394232,
    "band_250_500_share": 0.00720926,
    "band_500_1000_share": 0.165726,
    "band_1000_2000_share": 0.0701906,
    "band_2000_3000_share": 0.353568,
    "band_3000_4000_share": 0.339281,
    "band_4000_5000_share": 0.036535,
    "ses_low_bpfo_h1_db": 5.29785,
    "ses_low_bpfi_mean13_db": 1.49234,
    "ses_low_shaft_1x_db": 20.8058,
    "ses_low_bsf2x_sidebands_db": 3.70434,
    "ses_high_bpfo_h1_db": 19.7144,
    "ses_high_bpfi_mean13_db": 5.65163,
    "ses_high_shaft_1x_db": 0.6839,
    "ses_high_bsf2x_sidebands_db": -2.74295,
    "ses_white_bpfo_h1_db": 2.05607,
    "ses_white_bpfi_mean13_db": 1.87824,
    "ses_white_shaft_1x_db": -3.93674,
    "ses_white_bsf2x_sidebands_db": -3.5271,
    "raw_gear_mesh_h1_db": 28.8454,
    "raw_gear_mesh_h2_db": 1.95953,
    "raw_gear_mesh_h3_db": 5.69737,
    "raw_gear_mesh_sidebands_db": 17.0708,
    "spectral_kurtosis_max_log10": 0.358547,
    "spectral_kurtosis_mean_log10": 0.292628,
    "best_band_center_hz": 4560,
    "best_band_width_hz": 3039,
    "best_band_kurtosis_log10": 0.54717,
    "ses_best_bpfo_h1_db": 25.9317,
    "ses_best_bpfi_mean13_db": 8.76516,
    "ses_best_shaft_1x_db": 0.412211,
    "ses_white_bpfo_harmonics": 0,
    "ses_best_bpfo_harmonics": 8,
    "ses_best_bsf2x_sideband_pairs": 0,
    "evidence_outer_max_db": 22.7455,
    "evidence_ball_mean_db": 3.36804,
    "evidence_inner_mean_margin_db": -6.84428,
    "raw_gear_mesh_sideband_ratio_log10": -0.880512,
}


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_values(found, name):
    # Whoever changes one of these on purpose also raises FORMULA_VERSION.
    assert found[2][name] == pytest.approx(FROZEN[name], rel=2e-3, abs=2e-3)
