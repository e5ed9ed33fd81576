"""A recording for the screen: waveform, spectrum and squared envelope spectrum, with fewer points but all peaks."""

from __future__ import annotations

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
    places = np.union1d(_first_of_pieces(piece, np.minimum), _first_of_pieces(piece, np.maximum))
    return (start + places).tolist(), piece[places].astype(float).tolist()


def highest_of_pieces(values: npt.NDArray[Any], step: float) -> tuple[list[float], list[float]]:
    """Reduce a spectrum (n,) to the highest line of each of 1,500 pieces; return places (bin x step) and values."""
    if not len(values):
        return [], []
    places = _first_of_pieces(values, np.maximum)
    return (places * step).tolist(), values[places].astype(float).tolist()


def _first_of_pieces(values: npt.NDArray[Any], extreme: np.ufunc) -> npt.NDArray[np.int64]:
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
        spectrum: hz, rms (in the signal's unit). envelope: hz, power, band_hz; None where the recording is too short.
    """
    part = samples[:LONGEST_SPECTRUM][None, :].astype(np.float32)
    part = part - part.mean(dtype=np.float64).astype(np.float32)
    length, bin_hz = part.shape[1], rate_hz / part.shape[1]
    at, power = highest_of_pieces(power_spectrum(part)[0], bin_hz)
    drawn: dict[str, Any] = {"spectrum": {"hz": at, "rms": np.sqrt(power).tolist()}, "envelope": None}
    transform = real_transform(part)
    best = find_best_band(transform, bin_hz, length, settings)
    band = best.bands[int(best.index[0])] if best.bands and best.index[0] >= 0 else whole_band_bins(length)
    if band is not None:
        lines = squared_envelope_spectrum(transform, band)[0]
        usable = min(len(lines), max(1, int(0.9 * len(lines))))
        hz, values = highest_of_pieces(lines[:usable], bin_hz)
        drawn["envelope"] = {"hz": hz, "power": values, "band_hz": [band[0] * bin_hz, band[1] * bin_hz]}
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
