"""The extraction of many recordings compared with a loop over windows that computes the same features with scipy.

    OMP_NUM_THREADS=1 python benchmarks/features.py [--quick] [--json]

The loop is what a careful engineer would write: one window at a time, float64, one Fourier transform for each window,
analytic signals of each band as in scipy.signal.hilbert, scipy.stats for moments, numpy's median for noise floors.
The results of both are compared before the timing, and recordings that are extracted together with those that are
extracted one by one, bit by bit. The floor is the least possible work: three real Fourier transforms of the windows and
a sum, in chunks.

Recordings of 1, 2, 10 and 60 windows turn at four speeds, each a little off, so that they have three lengths. `step` is
the whole step with data quality and speed checks, `features` the features alone. All is processor time of one thread;
rounds alternate, and medians and the range of the ratios over the rounds are given.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import lru_cache, partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

# The folder of a script is first on the path, so this file hides the package `features` from itself and from other
# scripts of this folder. The folder is removed from the path; a script that imports this file gets the package.
sys.path[:] = [place for place in sys.path if Path(place).resolve() != Path(__file__).resolve().parent]
if __name__ != "__main__":
    del sys.modules[__name__]
    importlib.import_module(__name__)

import numpy as np  # noqa: E402
from scipy import fft, signal, stats  # noqa: E402

from features.extract import FeatureSettings, RecordingWindows, extract_together, feature_names  # noqa: E402
from features.kinematics import Orders, bearing_orders  # noqa: E402
from features.settings import LONG_LINES  # noqa: E402
from features.spectra.lines import expected_noise_db, noise_threshold_db  # noqa: E402
from features.windows import cut, plan_windows  # noqa: E402
from pipeline.extraction.recording import Job, Recorded, extract_recordings  # noqa: E402

SETTINGS = FeatureSettings()
RATE = 12_000.0
ORDERS = dataclasses.replace(bearing_orders(9, 7.94, 39.04), gear_mesh=(21.0,))


@lru_cache(maxsize=64)
def hann(length: int) -> np.ndarray:
    return signal.get_window("hann", length)


DEFECTS = ("bpfo", "bpfi", "bsf2x")


def peak_at(power: np.ndarray, peak: int) -> float:
    """Return where the top of a peak is, between bins."""
    left, centre, right = np.sqrt(power[peak - 1 : peak + 2])
    beside = max(left, right)
    return peak + (1 if right >= left else -1) * float(np.clip((2 * beside - centre) / (centre + beside), -0.5, 0.5))


def flank(power: np.ndarray, bins: list[int], position: float, half: float) -> set[int]:
    """Return which bins of a search band, from one end inwards, fall from a peak more than half a bin beside it."""
    step = bins[1] - bins[0]
    outside = bins[0] - step
    if power[outside] >= power[outside - step] and abs(peak_at(power, outside) - position) <= half + 0.5:
        return set()
    falling = set()
    for bin_ in bins:
        if power[bin_] >= power[bin_ - step]:
            break
        falling.add(bin_)
    return falling


def main_lobe(power: np.ndarray, position: float) -> set[int]:
    """Return the bins of a peak at a place; none where no peak is there."""
    near = round(position)
    peak = max((near - 1, near, near + 1), key=lambda k: power[k])
    is_peak = power[peak] >= max(power[peak - 1], power[peak + 1])
    there = is_peak and abs(peak_at(power, peak) - position) <= 0.5 + 0.003 * position
    return set(range(peak - 2, peak + 3)) if there else set()


def line(power: np.ndarray, position: float, usable: int, apart: tuple[float, ...] = ()) -> tuple[float, float, float]:
    """Return the height of a line over its floor, the height that noise exceeds in 1 % of cases (dB), and its bin.

    Flanks of peaks beside its search band, and the peaks that stand at the bins `apart`, are no such line.
    """
    half = max(0.02 * position, 1.0)
    first, stop = int(np.ceil(position - half)), int(position + half) + 1
    if position < 3 or first < 2 or stop > usable:
        return np.nan, np.nan, np.nan
    reach = max(round(0.25 * position), 16)
    floor = np.concatenate(
        (power[max(first - 2 - reach, 2) : max(first - 2, 2)], power[stop + 2 : min(stop + 2 + reach, usable)])
    )

    def over_noise(bins: list[int]) -> tuple[float, float, int]:
        peak = max(bins, key=lambda k: power[k])
        many = 1 + 0.72 * (len(bins) - 1)
        height = 10 * np.log10(power[peak] / np.median(floor)) - expected_noise_db(many)
        return height, noise_threshold_db(many, 0.01), peak

    band = list(range(first, stop))
    height, limit, peak = over_noise(band)
    if height > limit:
        gone = flank(power, band, position, half) | flank(power, band[::-1], position, half)
        gone = set() if len(gone) == len(band) else gone
        gone = gone.union(*(main_lobe(power, other) for other in apart if first - 2 < other < stop + 1))
        if peak in gone:
            left = [k for k in band if k not in gone]
            if not left:
                return 0.0, limit, np.nan
            height, limit, peak = over_noise(left)
    return height, limit, peak_at(power, peak)


def envelope(
    spectrum: np.ndarray,
    length: int,
    first: int,
    stop: int,
    turns: float,
    orders: Orders,
    out: dict[str, float],
    version: str,
) -> list[float]:
    one_sided = np.zeros(length, dtype=complex)
    one_sided[first:stop] = 2 * spectrum[first:stop]
    square = np.abs(fft.ifft(one_sided)) ** 2
    power = np.abs(fft.rfft((square - square.mean()) * hann(length))) ** 2
    usable = int(0.9 * (stop - first))
    base = {"bpfo": orders.bpfo, "bpfi": orders.bpfi, "bsf": orders.bsf, "bsf2x": 2 * orders.bsf, "ftf": orders.ftf}
    seen: dict[float, tuple[float, float, float]] = {}

    def at(order: float) -> tuple[float, float, float]:
        if order not in seen:
            seen[order] = line(power, order * turns, usable)
        return seen[order]

    shafts = tuple(k * turns for k in range(1, 11))
    firsts = {key: line(power, base[key] * turns, usable, shafts) for key in DEFECTS}
    stand = {key: first for key, first in firsts.items() if first[0] > first[1]}
    strongest = max(stand, key=lambda key: stand[key][0], default="")
    step = orders.ftf if strongest == "bsf2x" else 1.0
    sides = tuple(stand[strongest][2] + k * step * turns for k in (-3, -2, -1, 1, 2, 3)) if strongest else ()

    def height_of(key: str, k: int) -> float:
        known = key == strongest or key not in DEFECTS
        return at(k * base[key])[0] if known else line(power, k * base[key] * turns, usable, sides)[0]

    name = f"ses_{version}_"
    three = {key: [height_of(key, k) for k in (1, 2, 3)] for key in base}
    for key, heights in three.items():
        out[f"{name}{key}_h1_db"] = heights[0]
        resolved = [height for height in heights if not np.isnan(height)]
        out[f"{name}{key}_mean13_db"] = np.mean(resolved) if len(resolved) >= 2 else np.nan
    out[f"{name}shaft_1x_db"], out[f"{name}shaft_2x_db"] = at(1.0)[0], at(2.0)[0]
    beside = {}
    for key, step in (("bpfi", 1.0), ("bsf2x", orders.ftf)):
        beside[key] = (at(base[key] - step)[0] + at(base[key] + step)[0]) / 2
        out[f"{name}{key}_sidebands_db"] = beside[key]
    if version in ("white", "best"):
        for key in ("bpfo", "bpfi", "bsf2x", "ftf"):
            lines = [at(k * base[key]) for k in range(1, 9)]
            out[f"{name}{key}_harmonics"] = sum(height > limit for height, limit, _ in lines)
        for key, step in (("bpfi", 1.0), ("bsf2x", orders.ftf)):
            pairs = [(at(base[key] - k * step), at(base[key] + k * step)) for k in (1, 2, 3)]
            out[f"{name}{key}_sideband_pairs"] = sum(a[0] > a[1] and b[0] > b[1] for a, b in pairs)
    scores = [np.nanmean([max(height, 0) for height in three[key]]) for key in DEFECTS]
    return [scores[0], scores[1] + max(beside["bpfi"], 0) / 4, scores[2] + max(beside["bsf2x"], 0) / 4]


def waveform_and_spectrum(window: np.ndarray, out: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x = window.astype(np.float64)
    d = x - x.mean()
    size = np.abs(d)
    rms, peak = d.std(), size.max()
    out["rms_log10"], out["peak_log10"], out["peak_to_peak_log10"] = np.log10([rms, peak, np.ptp(d)])
    out["crest_factor_log10"] = np.log10(peak / rms)
    out["kurtosis_log10"], out["skewness"] = np.log10(stats.kurtosis(d, fisher=False)), stats.skew(d)
    out["shape_factor"], out["impulse_factor_log10"] = rms / size.mean(), np.log10(peak / size.mean())
    out["clearance_factor_log10"] = np.log10(peak / np.sqrt(size).mean() ** 2)
    frequency, power = signal.periodogram(d, RATE, window="hann", detrend=False, scaling="density")
    power *= RATE / len(d)
    total = power[1:].sum()
    share = power[1:] / total
    out["spectral_centroid_hz"] = (frequency[1:] * share).sum()
    out["rms_frequency_hz"] = np.sqrt((frequency[1:] ** 2 * share).sum())
    out["spectral_entropy"] = stats.entropy(share) / np.log(len(share))
    for low, high in pairwise(SETTINGS.band_edges_hz):
        first, stop = np.searchsorted(frequency, (low, high))
        held = power[first:stop].sum()
        out[f"band_{low:g}_{high:g}_log_power"], out[f"band_{low:g}_{high:g}_share"] = np.log10(held), held / total
    ends = max(len(d) // 100, 1)
    rise = (d[-ends:].mean() - d[:ends].mean()) * len(d) / (len(d) - ends)
    ramp = np.arange(len(d)) / len(d)
    return d, fft.rfft(d - rise * (ramp - ramp.mean())), power


def impulses(d: np.ndarray, spectrum: np.ndarray, out: dict[str, float]) -> tuple[int, int]:
    _, _, z = signal.stft(d, nperseg=128, noverlap=64, boundary=None, padded=False)
    power = np.abs(z) ** 2
    bursts = ((power.shape[1] + 1) * (power**2).sum(axis=1) / power.sum(axis=1) ** 2 - 2)[2:60]
    out["spectral_kurtosis_max_log10"], out["spectral_kurtosis_mean_log10"] = np.log10(
        [bursts.max() + 2, bursts.mean() + 2]
    )
    best = (0.0, 0, 0)
    for parts in SETTINGS.best_band_parts:
        width = (int(0.95 * len(d) / 2) - 2) // parts
        for first in range(2, 2 + parts * width, width):
            square = np.abs(fft.ifft(spectrum[first : first + width], fft.next_fast_len(width))) ** 2
            best = max(best, ((square**2).mean() / square.mean() ** 2, first, first + width))
    bin_hz = RATE / len(d)
    out["best_band_kurtosis_log10"] = np.log10(best[0])
    out["best_band_center_hz"], out["best_band_width_hz"] = (
        (best[1] + best[2] - 1) / 2 * bin_hz,
        (best[2] - best[1]) * bin_hz,
    )
    return best[1], best[2]


def gear_mesh(power: np.ndarray, turns: float, mesh: float, out: dict[str, float]) -> None:
    usable = int(0.98 * (len(power) - 1))
    for k in (1, 2, 3):
        out[f"raw_gear_mesh_h{k}_db"] = line(power, k * mesh * turns, usable)[0]
    sides = [line(power, (mesh + step) * turns, usable)[0] for step in (-1, 1)]
    out["raw_gear_mesh_sidebands_db"] = np.mean(sides)
    half = max(min(0.02 * mesh, 0.4) * turns, 1.0)
    first, stop = int(np.ceil(mesh * turns - half)), int(mesh * turns + half) + 1
    centre = first + int(power[first:stop].argmax())
    at = [power[centre + round(k * turns) - 1 : centre + round(k * turns) + 2].sum() for k in range(-3, 4)]
    out["raw_gear_mesh_sideband_ratio_log10"] = np.log10((sum(at) - at[3]) / at[3])


def profile(power: np.ndarray, length: int, turns: float, out: dict[str, float]) -> None:
    total = np.concatenate(([0.0], np.cumsum(np.sqrt(power[2:]))))
    edges = (np.arange(len(total)) + 1.5) * RATE / length
    tenths = np.arange(10, 100, 10)
    for q, hz in zip(tenths, np.interp(tenths / 100 * total[-1], total, edges), strict=True):
        out[f"spectrum_q{q}_log10_hz"] = np.log10(hz)
    usable = int(0.98 * length / 2)
    out["raw_shaft_mean14_db"] = np.mean([line(power, k * turns, usable)[0] for k in (1, 2, 3, 4)])


def one_window(window: np.ndarray, turns: float) -> dict[str, float]:
    out: dict[str, float] = {}
    d, spectrum, power = waveform_and_spectrum(window, out)
    n, bin_hz = len(d), RATE / len(d)
    high = (int(np.ceil(2000 / bin_hz)), int(min(5000, 0.95 * RATE / 2) / bin_hz) + 1)
    best = impulses(d, spectrum, out)
    low = (int(np.ceil(500 / bin_hz)), int(2000 / bin_hz) + 1)
    size = np.abs(spectrum)
    white = spectrum / np.where(size > 0, size, 1.0)
    scores = [
        envelope(spectrum, n, *low, turns, ORDERS, out, "low"),
        envelope(spectrum, n, *high, turns, ORDERS, out, "high"),
        envelope(white, n, 2, int(0.98 * n / 2), turns, ORDERS, out, "white"),
        envelope(spectrum, n, *best, turns, ORDERS, out, "best"),
    ]
    for kind, values in (("max", np.max(scores, axis=0)), ("mean", np.mean(scores, axis=0))):
        for k, name in enumerate(("outer", "inner", "ball")):
            out[f"evidence_{name}_{kind}_db"] = values[k]
            out[f"evidence_{name}_{kind}_margin_db"] = values[k] - np.delete(values, k).max()
    gear_mesh(power, turns, ORDERS.gear_mesh[0], out)
    profile(power, n, turns, out)
    return out | {f"long_{name}": out[name] for name in LONG_LINES}


def make_recordings(per_recording: int, windows: int) -> list[Recorded]:
    """Make recordings of so many windows each, noise with bursts, at the four speeds of a test rig, each 0.2 % off."""
    rng = np.random.default_rng(per_recording)
    made = []
    for number in range(max(windows // per_recording, 1)):
        rpm = (1797.0, 1772.0, 1750.0, 1730.0)[number % 4] * (1 + rng.uniform(-0.002, 0.002))
        length = round(30 * 60 * RATE / rpm / 256) * 256
        samples = rng.standard_normal(per_recording * length).astype(np.float32)
        samples[:: int(RATE * 60 / rpm / 3.6)] += 5.0
        job = Job(str(number), "", number, "acceleration", "m/s2", RATE, True, rpm, True, ORDERS)
        made.append(Recorded(job, samples))
    return made


def windows_of(recorded: Recorded) -> tuple[np.ndarray, float]:
    """Return the windows of a recording and the shaft turns in each."""
    speed = recorded.job.shaft_speed_rpm
    plan = plan_windows(
        len(recorded.samples),
        sampling_rate_hz=RATE,
        shaft_speed_rpm=speed,
        speed_is_steady=True,
        settings=SETTINGS.windows,
    )
    return cut(recorded.samples, plan), plan.turns_covered


def features_of(recordings: list[Recorded]) -> list[np.ndarray]:
    """Extract the features alone."""
    asked = [
        RecordingWindows(windows_of(own)[0], RATE, True, own.job.shaft_speed_rpm, True, ORDERS) for own in recordings
    ]
    return [done.values for done in extract_together(asked, SETTINGS)]


def loop(recordings: list[Recorded]) -> list[dict[str, float]]:
    return [
        one_window(window, turns) for own in recordings for windows, turns in [windows_of(own)] for window in windows
    ]


def floor(recordings: list[Recorded]) -> float:
    total = 0.0
    windows = [window for own in recordings for window in windows_of(own)[0]]
    for _, alike in groupby(sorted(windows, key=len), key=len):
        same = np.stack(list(alike))
        step = max(131_072 // same.shape[1], 1)
        for start in range(0, len(same), step):
            chunk = same[start : start + step]
            for _ in range(3):
                total += float(np.abs(fft.rfft(chunk, axis=-1)[:, 0]).sum())
            total += float(chunk.sum())
    return total


def agree(recordings: list[Recorded]) -> float:
    """Return the largest difference to the loop (absolute for dB, else relative to 1 or more); fail above 0.02.

    Fails too where a recording depends on those it is extracted with.
    """
    together = features_of(recordings)
    worst = 0.0
    for own, rows in zip(recordings, together, strict=True):
        assert features_of([own])[0].tobytes() == rows.tobytes(), own.job.recording_id
        windows, turns = windows_of(own)
        for row, window in zip(rows, windows, strict=True):
            theirs = one_window(window, turns)
            for name, value in zip(feature_names(SETTINGS), row.tolist(), strict=True):
                # The loop has no average over turns, and takes a shaft's line in a bearing's search band for its own.
                if name.startswith(("tsa_", "evidence_")) or name.endswith(("_harmonics", "_pairs")):
                    continue
                scale = 1.0 if name.endswith("_db") else max(abs(theirs[name]), 1.0)
                error = 0.0 if np.isnan(value) and np.isnan(theirs[name]) else abs(value - theirs[name]) / scale
                assert error < 0.02, (name, value, theirs[name])
                worst = max(worst, error)
    return worst


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def measure(quick: bool) -> dict[str, Any]:
    """Return, by windows a recording, microseconds a window and the ratios [median, lowest, highest] over rounds."""
    rounds, windows = (3, 60) if quick else (7, 240)
    result: dict[str, Any] = {
        "features": len(feature_names(SETTINGS)),
        "largest_difference_to_the_loop": agree(make_recordings(1, 6)),
    }
    for per_recording in (1, 2, 10, 60):
        recordings = make_recordings(per_recording, windows)
        few = make_recordings(1, 12)
        parts: dict[str, tuple[Callable[[], object], int]] = {
            "step": (partial(extract_recordings, recordings, SETTINGS), windows),
            "features": (partial(features_of, recordings), windows),
            "floor": (partial(floor, recordings), windows),
            "loop": (partial(loop, few), len(few)),
        }
        times: dict[str, list[float]] = {name: [] for name in parts}
        for work, _ in parts.values():
            work()
        for _ in range(rounds):
            for name, (work, n) in parts.items():
                times[name].append(1e6 * seconds(work) / n)
        found: dict[str, Any] = {f"{name}_us": statistics.median(own) for name, own in times.items()}
        for name, above, below in (
            ("step_over_floor", "step", "floor"),
            ("features_over_floor", "features", "floor"),
            ("loop_over_features", "loop", "features"),
        ):
            ratios = [a / b for a, b in zip(times[above], times[below], strict=True)]
            found[name] = [statistics.median(ratios), min(ratios), max(ratios)]
        result[f"{per_recording} windows a recording"] = found
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    result = measure(arguments.quick)
    if arguments.json:
        print(json.dumps(result))
        return
    for name, found in result.items():
        if not isinstance(found, dict):
            print(f"{name}: {found:.2g}" if isinstance(found, float) else f"{name}: {found}")
            continue
        times = ", ".join(f"{key[:-3]} {value:.0f}" for key, value in found.items() if key.endswith("_us"))
        ratios = (f"{key} {m:.1f} ({low:.1f} to {high:.1f})" for key, (m, low, high) in list(found.items())[4:])
        print(f"{name}: us a window: {times}; {', '.join(ratios)}")


if __name__ == "__main__":
    main()
