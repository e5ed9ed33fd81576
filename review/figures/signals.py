"""A recording for the screen: waveform, spectrum and squared envelope spectrum, with fewer points but all peaks."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from features.settings import FeatureSettings
from features.spectra.bearing_lines import find_best_band
from features.spectra.envelope import squared_envelope_spectrum, whole_band_bins
from features.spectra.spectrum import power_spectrum, real_transform

SCREEN_POINTS = 1500
LONGEST_SPECTRUM = 1 << 18
"""Most samples for a spectrum; its lines are then already finer than a screen can show."""

FLOOR_LINES, FLOOR_RATIO = 32, 1.2
HARMONICS = 3
KINDS = ("shaft", "bpfo", "bpfi", "bsf", "ftf", "gear mesh")


def envelope_of_points(values: npt.NDArray[Any], start: int, stop: int) -> tuple[list[int], list[float]]:
    """Reduce part of a signal to the lowest and the highest sample of each of 1,500 pieces, in order of time.

    Parameters
    ----------
    values
        (n,) the whole signal.
    start, stop
        First sample of the part, and the sample after its last; outside the signal they are cut.

    Returns
    -------
    list, list
        Sample numbers and values; the lowest and the highest value of the part are among them.
    """
    start, stop = max(0, start), min(len(values), stop)
    piece = values[start:stop]
    if not len(piece):
        return [], []
    places = np.union1d(first_of_pieces(piece, np.minimum), first_of_pieces(piece, np.maximum))
    return (start + places).tolist(), rounded(piece[places])


def highest_of_pieces(values: npt.NDArray[Any], step: float) -> tuple[list[float], list[float]]:
    """Reduce a spectrum (n,) to the highest line of each of 1,500 pieces; return places (bin x step) and values."""
    if not len(values):
        return [], []
    places = first_of_pieces(values, np.maximum)
    return rounded(places * step, digits=7), values[places].astype(float).tolist()


def rounded(values: npt.NDArray[Any], *, digits: int = 4) -> list[float]:
    """Return numbers with so many digits that count: a screen shows no more, and they travel in half the bytes."""
    wide = np.asarray(values, dtype=np.float64)
    with np.errstate(divide="ignore"):
        lead = np.floor(np.log10(np.abs(wide)))
    power = digits - 1 - np.where(np.isfinite(lead), np.clip(lead, -280.0, 280.0), 0.0)
    up, down = 10.0 ** np.maximum(power, 0.0), 10.0 ** np.maximum(-power, 0.0)  # whole numbers, so decimals stay short
    tidy: list[float] = (np.round(wide * up / down) * down / up).tolist()
    return tidy


def floor_of(power: npt.NDArray[Any], step: float) -> dict[str, list[float]]:
    """Return the usual power over frequency: the median of the lines in bands that each are a fifth higher.

    A line's height in dB is told over this floor. A band has at least 32 lines.

    Parameters
    ----------
    power
        (n,) power of every line.
    step
        Distance of two lines, Hz.

    Returns
    -------
    dict
        hz, power: middle and median of each band, with rising frequency; empty for fewer than 3 lines.
    """
    edges, last = [1], len(power)
    while edges[-1] + FLOOR_LINES < last:
        edges.append(max(edges[-1] + FLOOR_LINES, int(FLOOR_RATIO * edges[-1])))
    if len(edges) > 1 or last < 3:
        edges = edges[:-1]
    bands = list(pairwise([*edges, last])) if last >= 3 else []
    middle = np.array([(low + high - 1) / 2 for low, high in bands])
    usual = np.array([np.median(power[low:high]) for low, high in bands])
    return {"hz": rounded(middle * step, digits=6), "power": rounded(usual, digits=3)}


def first_of_pieces(values: npt.NDArray[Any], extreme: np.ufunc) -> npt.NDArray[np.int64]:
    """Return the index of the first lowest or highest value of each of 1,500 pieces."""
    starts = np.unique(np.linspace(0, len(values), SCREEN_POINTS + 1).astype(np.int64))[:-1]
    reached = extreme.reduceat(values, starts)
    places = np.flatnonzero(values == np.repeat(reached, np.diff(starts, append=len(values))))
    pieces = np.searchsorted(starts, places, side="right")
    return places[np.unique(pieces, return_index=True)[1]]


def spectra(samples: npt.NDArray[np.float32], rate_hz: float, settings: FeatureSettings) -> dict[str, Any]:
    """Compute the amplitude spectrum, and the squared envelope spectrum of the best band (else of the whole band).

    Parameters
    ----------
    samples
        (n,) signal in its unit; only the first `LONGEST_SPECTRUM` samples are used.
    rate_hz
        Sampling rate.
    settings
        Where the best band is searched.

    Returns
    -------
    dict
        spectrum: hz, rms (in the signal's unit), floor. envelope: hz, power, floor, band_hz. None where the recording
        is too short, or holds values that a sensor computed. floor: hz, power (`floor_of`).
    """
    if settings.overall or len(samples) < 2:
        return {"spectrum": None, "envelope": None}
    part = samples[:LONGEST_SPECTRUM][None, :].astype(np.float32)
    part = part - part.mean(dtype=np.float64).astype(np.float32)
    length, bin_hz = part.shape[1], rate_hz / part.shape[1]
    whole = power_spectrum(part)[0]
    at, power = highest_of_pieces(whole, bin_hz)
    shown = {"hz": at, "rms": rounded(np.sqrt(power)), "floor": floor_of(whole, bin_hz)}
    drawn: dict[str, Any] = {"spectrum": shown, "envelope": None}
    transform = real_transform(part)
    best = find_best_band(transform, bin_hz, length, settings)
    band = best.bands[int(best.index[0])] if best.bands and best.index[0] >= 0 else whole_band_bins(length)
    if band is not None:
        lines = squared_envelope_spectrum(transform, band)[0]
        usable = min(len(lines), max(1, int(0.9 * len(lines))))
        hz, values = highest_of_pieces(lines[:usable], bin_hz)
        floor, limits = floor_of(lines[:usable], bin_hz), [band[0] * bin_hz, band[1] * bin_hz]
        drawn["envelope"] = {"hz": hz, "power": rounded(np.array(values)), "floor": floor, "band_hz": limits}
    return drawn


def markers(orders: list[dict[str, Any]], shaft_speed_rpm: float | None) -> list[dict[str, Any]]:
    """Return name, kind, order, harmonic and frequency (Hz) of the characteristic lines; none without a speed.

    The kind is `shaft`, `bpfo`, `bpfi`, `bsf`, `ftf`, `gear mesh`, or '' for any other. It is the whole name, or the
    text in brackets at its end.
    """
    if shaft_speed_rpm is None:
        return []
    shaft_hz = shaft_speed_rpm / 60.0
    return [
        {
            "name": order["name"],
            "kind": _kind(order["name"]),
            "order": order["order"],
            "harmonic": k,
            "hz": k * order["order"] * shaft_hz,
        }
        for order in [{"name": "shaft", "order": 1.0}, *orders]
        for k in range(1, HARMONICS + 1)
    ]


def _kind(name: str) -> str:
    inside = name.rpartition("(")[2].rstrip(")")
    return next((kind for kind in KINDS if kind in (name, inside)), "")
