"""The plots of docs/features.md, drawn from real recordings (CWRU) and from a simulated run-up.

    python benchmarks/plot_features.py --data FOLDER_WITH_MANIFEST [--out docs/images]

The recordings are read from the folder and are not copied; the plots show curves of a few seconds of them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from features.extract import FeatureSettings, extract, feature_names
from features.kinematics import bearing_orders
from features.spectra import band_tree, envelope
from features.spectra.evidence import DIAGNOSES, diagnose
from features.spectra.order_tracking import resample_by_angle, shaft_turns
from features.spectra.spectrum import power_spectrum, real_transform
from features.windows import cut, plan_windows

SETTINGS = FeatureSettings()
SKF_6205 = bearing_orders(9, 7.94, 39.04)
RATE = 12_000.0
LINES = (
    ("BPFO", SKF_6205.bpfo, "tab:red"),
    ("BPFI", SKF_6205.bpfi, "tab:green"),
    ("2 BSF", 2 * SKF_6205.bsf, "tab:purple"),
)
KINDS = (("outer", "tab:red"), ("inner", "tab:green"), ("ball", "tab:purple"))


def read(path: Path) -> tuple[np.ndarray, float]:
    """Return the first window of the drive-end channel, and the shaft speed in rpm."""
    table = pq.read_table(path)
    rpm = float(table.schema.metadata[b"rpm"])
    samples = np.ascontiguousarray(table["DE"].to_numpy(), dtype=np.float32)
    plan = plan_windows(
        samples.size, sampling_rate_hz=RATE, shaft_speed_rpm=rpm, speed_is_steady=True, settings=SETTINGS.windows
    )
    return cut(samples, plan)[:1], rpm


def transform_of(window: np.ndarray) -> np.ndarray:
    wide = window.astype(np.float64)
    return real_transform(((wide - wide.mean()) / wide.std()).astype(np.float32))


def waveform_and_spectrum(window: np.ndarray, name: str) -> Figure:
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.5, 4.6), layout="constrained")
    shown = 1800
    top.plot(1000 * np.arange(shown) / RATE, window[0, :shown], lw=0.6)
    top.set(xlabel="time, ms", ylabel="acceleration, g", title=f"{name}: waveform")
    power = power_spectrum(window)[0]
    frequency = np.arange(power.size) * RATE / window.shape[1]
    bottom.semilogy(frequency[4:], power[4:], lw=0.5)
    for edge in SETTINGS.band_edges_hz:
        bottom.axvline(edge, color="0.8", lw=0.7, zorder=0)
    bottom.set(xlabel="frequency, Hz", ylabel="mean square a bin, g²", ylim=(power[4:].max() * 1e-7, None))
    bottom.set_title("power spectrum; grey: edges of the bands")
    return figure


def kurtogram(window: np.ndarray, name: str) -> tuple[Figure, tuple[int, int]]:
    length = window.shape[1]
    bin_hz = RATE / length
    bands = band_tree.tree_bands(
        length, bin_hz=bin_hz, parts=SETTINGS.best_band_parts, min_width_hz=SETTINGS.best_band_min_width_hz
    )
    kurtosis = band_tree.band_kurtosis(transform_of(window), bands)
    best = bands[int(band_tree.best_bands(kurtosis)[0])]
    figure, axes = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    colours = plt.get_cmap("viridis")
    scale = matplotlib.colors.Normalize(1.0, float(kurtosis.max()))
    widths = sorted({stop - first for first, stop in bands}, reverse=True)
    for (first, stop), value in zip(bands, kurtosis[0], strict=True):
        row = widths.index(stop - first)
        place = (first * bin_hz, row), (stop - first) * bin_hz
        edge = "red" if (first, stop) == best else "white"
        axes.add_patch(
            Rectangle(*place, 1.0, facecolor=colours(scale(value)), edgecolor=edge, lw=2.5 if edge == "red" else 0.6,
                      zorder=3 if edge == "red" else 2)
        )  # fmt: skip
        middle = (place[0][0] + place[1] / 2, row + 0.5)
        tone = "black" if scale(value) > 0.6 else "white"
        axes.text(*middle, f"{value:.1f}", ha="center", va="center", fontsize=7, color=tone, zorder=4)
    axes.set(xlim=(0, RATE / 2), ylim=(len(widths), 0), xlabel="frequency, Hz", ylabel="bands in a row")
    axes.set_yticks(np.arange(len(widths)) + 0.5, [str(k) for k in SETTINGS.best_band_parts[: len(widths)]])
    axes.set_title(f"{name}: kurtosis of the envelope over the band tree; red: the best band")
    return figure, best


def mark_lines(axes: Axes, top: float) -> None:
    for label, order, colour in LINES:
        for k in (1, 2, 3):
            axes.axvline(k * order, color=colour, lw=1.0, ls="--", alpha=0.6, label=label if k == 1 else None, zorder=0)
    axes.set_xlim(0, 17)
    axes.set_ylim(0, top * 1.1)


def envelopes(window: np.ndarray, rpm: float, best: tuple[int, int], name: str) -> Figure:
    length = window.shape[1]
    turns = length * rpm / 60 / RATE
    transform = transform_of(window)
    versions = {
        "best band": (transform, best),
        "cepstrum-prewhitened signal": (envelope.prewhiten(transform), envelope.whole_band_bins(length)),
    }
    figure, rows = plt.subplots(2, 1, figsize=(7.5, 4.8), layout="constrained", sharex=True)
    for axes, (label, (source, band)) in zip(rows, versions.items(), strict=True):
        ses = envelope.squared_envelope_spectrum(source, band)[0]
        orders = np.arange(ses.size) / turns
        seen = (orders > 0.15) & (orders < 17)
        axes.plot(orders[seen], ses[seen], lw=0.8, color="black")
        mark_lines(axes, float(ses[seen].max()))
        axes.set(ylabel="power, no unit", title=f"{name}: squared envelope spectrum, {label}")
    rows[0].legend(loc="upper right", fontsize=8)
    rows[1].set_xlabel("order of the shaft")
    return figure


def evidence(files: dict[str, Path]) -> Figure:
    figure, axes = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    names = feature_names(SETTINGS)
    labels: list[str] = []
    for place, (label, path) in enumerate(files.items()):
        window, rpm = read(path)
        row = extract(
            window,
            sampling_rate_hz=RATE,
            rate_is_declared=True,
            shaft_speed_rpm=rpm,
            speed_is_steady=True,
            orders=SKF_6205,
            settings=SETTINGS,
        )
        diagnosis = DIAGNOSES[diagnose(row, names)[0][0]]
        for k, (kind, colour) in enumerate(KINDS):
            height = row[0, names.index(f"evidence_{kind}_mean_db")]
            axes.bar(place + 0.25 * (k - 1), height, 0.23, color=colour, label=kind if place == 0 else None)
        labels.append(f"{label}\nthe rule says: {diagnosis.replace('_', ' ')}")
    axes.axhline(3.5, color="0.4", lw=1, ls=":", label="threshold")
    axes.set_xticks(range(len(files)), labels)
    axes.set(ylabel="mean evidence, dB", title="evidence in the first window of real recordings (CWRU, drive end)")
    axes.set_ylim(0, None)
    axes.legend(fontsize=8)
    return figure


def order_tracking() -> Figure:
    """Draw a simulated run-up, because CWRU has no speed traces."""
    n = 60_000
    trace = np.array([1200.0, 2400.0])
    turns = shaft_turns(trace, RATE / n, n_samples=n, sampling_rate_hz=RATE)
    rng = np.random.default_rng(0)
    x = np.sin(2 * np.pi * 21 * turns) * (1 + 0.4 * np.cos(2 * np.pi * turns)) + 0.5 * rng.standard_normal(n)
    resampled = resample_by_angle(x.astype(np.float32), turns, sampling_rate_hz=RATE)
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(7.5, 4.6), layout="constrained", sharex=True)
    mean_hz = resampled.mean_speed_rpm / 60
    before, after = power_spectrum(x[None])[0], power_spectrum(resampled.samples[None])[0]
    orders = np.arange(before.size) * RATE / n / mean_hz
    top.semilogy(orders, before, lw=0.6)
    top.set(title="run-up from 1200 to 2400 rpm: spectrum over frequency / mean shaft frequency", ylim=(1e-6, 2))
    orders = np.arange(after.size) * resampled.samples_per_turn / resampled.samples.size
    bottom.semilogy(orders, after, lw=0.6)
    bottom.set(title="the same after angular resampling: mesh at order 21 and its sidebands", ylim=(1e-6, 2))
    bottom.set(xlim=(10, 32), xlabel="order of the shaft")
    for axes in (top, bottom):
        axes.set_ylabel("mean square a bin")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    matplotlib.rcParams.update({"axes.titlesize": 9, "axes.labelsize": 9, "xtick.labelsize": 8, "ytick.labelsize": 8})
    cwru = arguments.data / "cwru"
    files = {
        label: sorted(cwru.glob(pattern))[0]
        for label, pattern in (("outer race", "OR007at6*"), ("inner race", "IR007*"), ("ball", "B007*"))
    }
    name = f"inner race, {files['inner race'].stem}"
    window, rpm = read(files["inner race"])
    tree, best = kurtogram(window, name)
    pictures = {
        "waveform-spectrum": waveform_and_spectrum(window, name),
        "kurtogram": tree,
        "envelope-spectrum": envelopes(window, rpm, best, name),
        "evidence": evidence(files),
        "order-tracking": order_tracking(),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    for title, figure in pictures.items():
        path = arguments.out / f"features-{title}.png"
        figure.savefig(path, dpi=90, metadata={"Software": None})
        print(f"{path}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
