"""The settings of all features, the names of the columns, and the version that names both."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from features.quality.quality import QualitySettings
from features.quality.speed_check import SpeedCheckSettings
from features.spectra import envelope, evidence, gear_mesh, line_counts, synchronous_average
from features.spectra.lines import LineSettings
from features.spectra.profile import PROFILE_NAMES, SHAFT_NAMES
from features.windows import WindowSettings

FORMULA_VERSION: Final = 5
"""Raised by hand whenever a formula changes, so that features of different formulas are never mixed."""

LONG_VERSIONS: Final = ("low", "white")
"""The envelopes that are taken over long windows as well."""

LONG_LINES: Final = tuple(f"ses_{v}_{line}_h1_db" for v in LONG_VERSIONS for line in ("bpfo", "bpfi", "bsf2x"))
"""The lines that are read from them; of a window by itself they are these very features."""

COUNTED_VERSIONS: Final = ("white", "best")
"""The envelopes in which harmonics and sideband pairs are counted."""

_TIME_NAMES: Final = (
    "rms_log10",
    "peak_log10",
    "peak_to_peak_log10",
    "crest_factor_log10",
    "kurtosis_log10",
    "skewness",
    "shape_factor",
    "impulse_factor_log10",
    "clearance_factor_log10",
)

_SPECTRUM_NAMES: Final = ("spectral_centroid_hz", "rms_frequency_hz", "spectral_entropy")

_IMPULSE_NAMES: Final = (
    "spectral_kurtosis_max_log10",
    "spectral_kurtosis_mean_log10",
    "best_band_center_hz",
    "best_band_width_hz",
    "best_band_kurtosis_log10",
)


@dataclass(frozen=True)
class FeatureSettings:
    """Everything that decides what a feature means.

    Attributes
    ----------
    windows : WindowSettings
    lines : LineSettings
    quality : QualitySettings
    speed_check : SpeedCheckSettings
        When the signal contradicts the declared speed: a verdict that is stored with the features.
    high_pass_hz : float
        Slower motion is no vibration: waveform, spectral shape and shares are taken without it, where a window is long
        enough (`features.high_pass`). 0 for quantities that are no vibration. Lines at shaft orders are not touched.
    band_edges_hz : tuple of float
        Ascending edges of the energy bands.
    envelope_low_hz, envelope_high_hz : (float, float)
        The two demodulation bands. An upper edge above 0.95 of the Nyquist frequency is moved there.
    envelope_min_width_hz : float
        A demodulation band of which less is left is missing.
    best_band_parts : tuple of int
        The band tree: the axis is cut into so many bands of one width, for each number.
    best_band_min_width_hz : float
        Narrower bands are left out of the tree.
    spectral_kurtosis_samples : int
        Length of a frame for the spectral kurtosis, even.
    overall : str
        For values that a sensor computed itself: their one column (`features.overall`). '': of signals.
    segment_tolerance : float
        Where a speed trace stays within so large a share of one value, the speed is constant.

    Raises
    ------
    ValueError
        A value is out of range; the message names it.
    """

    windows: WindowSettings = field(default_factory=WindowSettings)
    lines: LineSettings = field(default_factory=LineSettings)
    quality: QualitySettings = field(default_factory=QualitySettings)
    speed_check: SpeedCheckSettings = field(default_factory=SpeedCheckSettings)
    high_pass_hz: float = 0.0
    band_edges_hz: tuple[float, ...] = (10.0, 100.0, 250.0, 500.0, 1000.0, 2000.0, 3000.0, 4000.0, 5000.0)
    envelope_low_hz: tuple[float, float] = (500.0, 2000.0)
    envelope_high_hz: tuple[float, float] = (2000.0, 5000.0)
    envelope_min_width_hz: float = 1500.0
    best_band_parts: tuple[int, ...] = (1, 2, 3, 4, 6, 8)
    best_band_min_width_hz: float = 500.0
    spectral_kurtosis_samples: int = 128
    segment_tolerance: float = 0.01
    overall: str = ""

    def __post_init__(self) -> None:
        edges = self.band_edges_hz
        ascending = all(low < high for low, high in pairwise(edges))
        if len(edges) < 2 or not ascending or not all(math.isfinite(e) and e > 0 for e in edges):
            raise ValueError(f"band_edges_hz must be at least two ascending frequencies above 0, got {edges!r}.")
        if len(set(_band_names(edges))) < len(edges) - 1:
            raise ValueError(f"band_edges_hz must differ in their first six digits, got {edges!r}.")
        if not 0 <= self.high_pass_hz < math.inf:
            raise ValueError(f"high_pass_hz must be a finite frequency of at least 0, got {self.high_pass_hz!r}.")
        for name in ("envelope_low_hz", "envelope_high_hz"):
            low, high = getattr(self, name)
            if not 0 < low < high < math.inf:
                raise ValueError(f"{name} must be two ascending frequencies above 0, got {(low, high)!r}.")
        for name in ("envelope_min_width_hz", "best_band_min_width_hz"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)!r}.")
        parts = self.best_band_parts
        if not parts or len(set(parts)) < len(parts) or not all(isinstance(p, int) and p >= 1 for p in parts):
            raise ValueError(f"best_band_parts must be different whole numbers of at least 1, got {parts!r}.")
        if not 0 <= self.segment_tolerance < 1:
            raise ValueError(f"segment_tolerance must be from 0 to below 1, got {self.segment_tolerance!r}.")
        if self.spectral_kurtosis_samples < 16 or self.spectral_kurtosis_samples % 2:
            raise ValueError(
                f"spectral_kurtosis_samples must be even and at least 16, got {self.spectral_kurtosis_samples!r}."
            )


def _band_names(edges: tuple[float, ...]) -> list[str]:
    text = [f"{edge:g}".replace(".", "p").replace("+", "") for edge in edges]
    return [f"band_{low}_{high}" for low, high in pairwise(text)]


def feature_groups(settings: FeatureSettings) -> dict[str, tuple[str, ...]]:
    """Return the names of the features by group, in the order of the columns.

    Examples
    --------
    >>> feature_groups(FeatureSettings())["spectrum"]
    ('spectral_centroid_hz', 'rms_frequency_hz', 'spectral_entropy')
    """
    if settings.overall:
        return {"overall": (settings.overall,)}
    bands = _band_names(settings.band_edges_hz)
    return {
        "time": _TIME_NAMES,
        "spectrum": _SPECTRUM_NAMES,
        "bands": (*(f"{b}_log_power" for b in bands), *(f"{b}_share" for b in bands)),
        "impulses": _IMPULSE_NAMES,
        **{
            f"envelope_{version}": tuple(f"ses_{version}_{name}" for name in envelope.STATISTICS)
            for version in envelope.VERSIONS
        },
        "line_counts": tuple(f"ses_{v}_{name}" for v in COUNTED_VERSIONS for name in line_counts.STATISTICS),
        "evidence": tuple(f"evidence_{name}" for name in evidence.STATISTICS),
        "gear_mesh": tuple(f"raw_gear_mesh_{name}" for name in gear_mesh.STATISTICS),
        "synchronous": tuple(f"tsa_{name}" for name in synchronous_average.STATISTICS),
        "profile": PROFILE_NAMES,
        "shaft": SHAFT_NAMES,
        "long_lines": tuple(f"long_{name}" for name in LONG_LINES),
    }


ANGLE_GROUPS: Final = (
    *(f"envelope_{version}" for version in envelope.VERSIONS),
    "line_counts",
    "evidence",
    "gear_mesh",
    "synchronous",
    "shaft",
    "long_lines",
)
"""Groups at shaft orders: of a recording with a speed trace they come from the signal over the shaft's angle."""


def feature_names(settings: FeatureSettings) -> tuple[str, ...]:
    """Return the names of the columns that `extract` makes, in order.

    Examples
    --------
    >>> feature_names(FeatureSettings())[:2]
    ('rms_log10', 'peak_log10')
    """
    return tuple(name for names in feature_groups(settings).values() for name in names)


def feature_version(settings: FeatureSettings) -> str:
    """Name formulas and settings by their content: the first 16 hexadecimal digits of a SHA-256.

    30 and 30.0 are the same setting; any other difference in any setting gives another version.

    Examples
    --------
    >>> len(feature_version(FeatureSettings()))
    16
    >>> feature_version(FeatureSettings()) == feature_version(FeatureSettings(segment_tolerance=0.02))
    False
    """
    values = _canonical(dataclasses.asdict(settings))
    if not settings.overall:
        del values["overall"]  # it came later, and changes nothing of signals
    content = {"formula": FORMULA_VERSION, "names": feature_names(settings), "settings": values}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
