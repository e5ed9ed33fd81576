"""Is a recording one that this sensor, on this unit, could have made: compared with the unit's own healthy reference.

Each data fault leaves something unchanged that a fault of the machine does change, and the verdict rests on that:

- a wrong gain or unit moves every level by one factor and leaves the shape of waveform and spectrum as it was;
- a wrong sampling rate moves every frequency by one factor and leaves level and waveform as they were;
- a wrong declared speed takes away the lines of shaft and gears and leaves level and spectrum as they were;
- a loose sensor loses high frequencies: no fault makes a machine quieter there while it is as loud below.

Where level and shape both change, there is no verdict: that may be the machine, and the model judges it. Physics of
the mount: ISO 5348 (mechanical mounting of accelerometers), clause 5: the mounted resonance falls with the stiffness
of the joint, and above it little is transmitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from features.health.baseline import Reference, known_median
from features.quality.quality import Quality
from features.spectra.profile import QUANTILES
from features.spectra.time_domain import Vector

Finding = tuple[Quality, str]

KNOWN_FACTORS: Final = (
    (9.80665, "g where m/s2 was declared, or the reverse"),
    (1000.0, "a thousand: milli or kilo"),
)

_QUANTILE_NAMES: Final = tuple(f"spectrum_q{q}_log10_hz" for q in QUANTILES)
_MOST_SLACK: Final = 0.08
"""Decades by which quantiles may differ in how far they moved and still have moved by one factor."""

_WAVEFORM: Final = {"kurtosis_log10": 0.08, "shape_factor": 0.05, "crest_factor_log10": 0.1}
_LINES: Final = ("raw_shaft_mean14_db", "raw_gear_mesh_h1_db", "raw_gear_mesh_h2_db")


@dataclass(frozen=True)
class PlausibilitySettings:
    """What counts as unchanged, and how far a recording has to be off.

    Attributes
    ----------
    gain_factor : float
        A level changed by less than this factor may be load or wear.
    absurd_factor : float
        From this factor on it is a wrong gain whatever else changed: no machine does that.
    rate_factor : float
        Smallest wrong rate that is reported.
    quantile_decades, entropy, band_decades : float
        Changes of a spectral quantile (log10 of Hz), of the spectral entropy, and of a band's share (log10) that are no
        change, however steady the reference; the floors of the waveform's figures are fixed.
    spreads : float
        Nor is a change of less than so many spreads of the reference.
    loose_fall_db, loose_tilt_db : float
        Least fall of the upper bands, and least fall against the lower ones, of a loose sensor.
    lines_lost_db : float
        Least fall of lines that the reference had, of a wrong speed.
    judge_shape : bool
        False where the signal is no vibration (a temperature, a position): then only an absurd level is reported.

    Raises
    ------
    ValueError
        A value is out of range; the message names it.
    """

    gain_factor: float = 4.0
    absurd_factor: float = 200.0
    rate_factor: float = 1.2
    quantile_decades: float = 0.04
    entropy: float = 0.03
    band_decades: float = 0.2
    spreads: float = 3.0
    loose_fall_db: float = 8.0
    loose_tilt_db: float = 10.0
    lines_lost_db: float = 6.0
    judge_shape: bool = True

    def __post_init__(self) -> None:
        for name in ("gain_factor", "absurd_factor", "rate_factor"):
            if not 1 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number above 1, got {getattr(self, name)!r}.")
        for name in (
            "quantile_decades",
            "entropy",
            "band_decades",
            "spreads",
            "loose_fall_db",
            "loose_tilt_db",
            "lines_lost_db",
        ):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a finite number above 0, got {getattr(self, name)!r}.")


def plausibility_settings(quantity: str) -> PlausibilitySettings:
    """Return the settings for a quantity of the log contract: only vibrations have a shape that may be judged.

    Examples
    --------
    >>> plausibility_settings("temperature").judge_shape
    False
    """
    return PlausibilitySettings(judge_shape=quantity in ("acceleration", "velocity", "sound_pressure", "raw"))


@dataclass(frozen=True, eq=False)
class _Case:
    """One recording beside one reference: medians by name, and their changes over what counts as no change."""

    value: Mapping[str, float]
    normal: Mapping[str, float]
    spread: Mapping[str, float]
    settings: PlausibilitySettings

    def change(self, name: str) -> float:
        """Return value less reference, NaN where one is missing."""
        return self.value.get(name, math.nan) - self.normal.get(name, math.nan)

    def relative(self, name: str, floor: float) -> float:
        """Return the change over `max(floor, spreads x spread)`."""
        return self.change(name) / max(floor, self.settings.spreads * self.spread.get(name, 0.0))

    @property
    def bands(self) -> list[str]:
        """Return the names of the bands' powers that both have, from low to high."""
        names = [name for name in self.value if name.startswith("band_") and name.endswith("_log_power")]
        return [name for name in names if math.isfinite(self.change(name))]


def compare(
    values: NDArray[Any],
    names: Sequence[str],
    reference: Reference,
    *,
    siblings: Mapping[str, Reference] | None = None,
    settings: PlausibilitySettings | None = None,
) -> list[Finding]:
    """Compare one recording with the unit's own reference.

    Parameters
    ----------
    values : float array, shape (n, F)
        Features of all windows of one recording (combined by their median); NaN = missing.
    names : sequence of str, length F
        Names of the columns, as `features.extract.feature_names` returns them.
    reference : Reference
        Healthy features of the same unit, channel and regime.
    siblings : mapping of str to Reference, optional
        References of the unit's other channels, by channel: for `swapped_channels`.
    settings : PlausibilitySettings, optional

    Returns
    -------
    list of (Quality, str)
        The verdicts, each with its evidence; empty where there is none. At most one of them blocks
        (`Quality.blocks`), and it comes first.

    Raises
    ------
    ValueError
        Shapes do not fit.

    Examples
    --------
    >>> healthy = Reference(np.array([0.0]), np.array([0.02]))
    >>> [(code, evidence)] = compare(np.array([[3.0]]), ("rms_log10",), healthy)
    >>> str(code)
    'gain_mismatch'
    """
    settings = settings or PlausibilitySettings()
    case = _case(values, names, reference, settings)
    finding = _gain(case)
    if finding is None and settings.judge_shape:
        finding = _rate(case) or _loose_mount(case) or _lost_lines(case)
    findings = [] if finding is None else [finding]
    if settings.judge_shape:
        swapped = None
        if siblings and finding is None:
            swapped = _swapped(
                case, {name: _case(values, names, sibling, settings) for name, sibling in siblings.items()}
            )
        findings += [other for other in (swapped, _polarity(case)) if other is not None]
    return findings


def _case(values: NDArray[Any], names: Sequence[str], reference: Reference, settings: PlausibilitySettings) -> _Case:
    if values.ndim != 2 or values.shape[1] != len(names) or reference.median.shape != (len(names),):
        raise ValueError(
            f"Wanted {len(names)} features in windows and reference, got shapes {values.shape} and "
            f"{reference.median.shape}."
        )
    median = known_median(values.astype(np.float64))
    spread = np.nan_to_num(reference.spread)
    return _Case(
        dict(zip(names, median.tolist(), strict=True)),
        dict(zip(names, reference.median.tolist(), strict=True)),
        dict(zip(names, spread.tolist(), strict=True)),
        settings,
    )


def _waveform(case: _Case) -> Vector:
    """Changes of the waveform's figures, which depend on neither gain nor rate."""
    return _finite([case.relative(name, floor) for name, floor in _WAVEFORM.items()])


def _spectrum(case: _Case) -> Vector:
    """Changes of the spectrum's shape, which does not depend on the gain."""
    s = case.settings
    level = case.change("rms_log10")
    changes = [case.relative(name, s.quantile_decades) for name in _QUANTILE_NAMES]
    changes.append(case.relative("spectral_entropy", s.entropy))
    for name in case.bands:
        # A band 30 dB below the whole may be the converter's noise, which no gain scales.
        if case.normal[name] - 2 * case.normal["rms_log10"] > -3.0:
            tolerance = max(s.band_decades, s.spreads * case.spread[name])
            changes.append((case.change(name) - 2 * level) / tolerance)
    return _finite(changes)


def _finite(changes: list[float]) -> Vector:
    finite = np.array([change for change in changes if math.isfinite(change)])
    return finite if finite.size else np.array([np.inf])


def _same(changes: Vector, most: float = 1.0) -> bool:
    """Return whether changes, each over what counts as none, are together no change."""
    return bool(np.sqrt(np.mean(changes**2)) <= most and np.abs(changes).max() <= 2.5 * most)


def _gain(case: _Case) -> Finding | None:
    s = case.settings
    decades = case.change("rms_log10")
    if not math.isfinite(decades) or abs(decades) < math.log10(s.gain_factor):
        return None
    factor = 10.0 ** abs(decades)
    words = (
        f"the level is {factor:.3g} times {'higher' if decades > 0 else 'lower'} than in the unit's healthy reference"
    )
    if factor >= s.absurd_factor:
        return Quality.GAIN_MISMATCH, f"{words}, more than a machine changes{_hint(factor)}"
    # The spread of the level is that of the machine at work: within a few of it, it is the machine.
    if not s.judge_shape or abs(decades) <= 2 * s.spreads * case.spread["rms_log10"]:
        return None
    # A known factor is evidence by itself, so that the shape may have drifted a little more.
    hint = _hint(factor)
    most = 2.0 if hint else 1.0
    if not (_same(_waveform(case), most) and _same(_spectrum(case), most)):
        return None
    return Quality.GAIN_MISMATCH, f"{words} and the shape of waveform and spectrum is the same{hint}"


def _hint(factor: float) -> str:
    for known, words in KNOWN_FACTORS:
        if abs(math.log(factor / known)) < math.log(1.25):
            return f" (near {known:.4g}: {words})"
    return ""


def _rate(case: _Case) -> Finding | None:
    s = case.settings
    moves = _finite([case.change(name) for name in _QUANTILE_NAMES])
    move = float(np.median(moves))
    if not math.isfinite(move) or abs(move) < math.log10(s.rate_factor):
        return None
    tolerance = max(s.quantile_decades, s.spreads * float(np.median([case.spread[q] for q in _QUANTILE_NAMES])))
    # All move alike, and far more than they ever do in health.
    slack = max(0.5 * tolerance, min(0.15 * abs(move), _MOST_SLACK))
    together = np.sqrt(np.mean((moves - move) ** 2)) <= slack
    if not together or abs(move) <= 1.5 * tolerance or not _same(_waveform(case), 1.5):
        return None
    if abs(case.relative("rms_log10", 0.15)) > 1.0:
        return None
    return Quality.RATE_MISMATCH, (
        f"the whole spectrum lies {10**move:.3g} times as high as in the unit's healthy reference, all of it by one "
        f"factor (+- {100 * (10 ** float(np.std(moves)) - 1):.0f} %), at the same level and waveform: the sampling "
        "rate is not the declared one"
    )


def _loose_mount(case: _Case) -> Finding | None:
    s = case.settings
    bands = case.bands
    if len(bands) < 4:
        return None
    changes = np.array([10.0 * case.change(name) for name in bands])
    upper = len(bands) - max(len(bands) // 3, 2)
    spread = 10.0 * s.spreads * np.array([case.spread[name] for name in bands])
    high, low = float(np.median(changes[upper:])), float(changes[:upper].max())
    most = max(s.loose_fall_db, float(np.median(spread[upper:])))
    fallen = case.change(_QUANTILE_NAMES[-2])
    # As loud as ever somewhere below; a fall too steep for any machine will do where nothing below is seen.
    kept = low > -s.loose_fall_db / 2 or high < -2.5 * s.loose_fall_db
    if high > -most or low - high < s.loose_tilt_db or fallen > -2 * s.quantile_decades or not kept:
        return None
    edges = [name.removeprefix("band_").removesuffix("_log_power").split("_") for name in bands]
    return Quality.LOOSE_MOUNT, (
        f"{-high:.0f} dB less than in the unit's healthy reference from {edges[upper][0]} to {edges[-1][1]} Hz, "
        f"against {low:+.0f} dB at best below: the sensor has come loose, or a filter was changed"
    )


def _lost_lines(case: _Case) -> Finding | None:
    s = case.settings
    had = [name for name in _LINES if case.normal.get(name, math.nan) >= s.lines_lost_db + 2.0]
    had = [name for name in had if math.isfinite(case.value[name])]
    falls = {name: -case.change(name) for name in had}
    lost = [name for name in had if falls[name] >= max(s.lines_lost_db, s.spreads * case.spread[name])]
    if not had or len(lost) < len(had):
        return None
    if not (_same(_waveform(case), 1.5) and _same(_spectrum(case), 1.5) and abs(case.relative("rms_log10", 0.15)) <= 1):
        return None
    strongest = max(lost, key=lambda name: case.normal[name])
    return Quality.WRONG_SPEED, (
        f"the lines of shaft and gears at the declared speed are gone ({case.normal[strongest]:.0f} dB in the unit's "
        f"healthy reference, now {case.value[strongest]:.0f} dB) while level and spectrum are the same: the declared "
        "speed is wrong"
    )


def _distance(case: _Case) -> float:
    """Return the RMS change of level, waveform and spectrum, in what counts as no change."""
    changes = np.concatenate((_waveform(case), _spectrum(case), _finite([case.relative("rms_log10", 0.1)])))
    return float(np.sqrt(np.mean(changes**2)))


def _swapped(own: _Case, siblings: Mapping[str, _Case]) -> Finding | None:
    distance = _distance(own)
    others = {name: _distance(case) for name, case in siblings.items()}
    nearest = min(others, key=lambda name: (others[name], name))
    if not (distance > 2.0 and others[nearest] < 1.0 and others[nearest] < distance / 3.0):
        return None
    return Quality.SWAPPED_CHANNELS, (
        f"the recording fits the reference of channel {nearest} (distance {others[nearest]:.1f}) and not its own "
        f"({distance:.1f}): two channels may be swapped"
    )


def _polarity(case: _Case) -> Finding | None:
    normal, value, spread = (x.get("skewness", math.nan) for x in (case.normal, case.value, case.spread))
    if not (abs(normal) > max(0.15, 2 * case.settings.spreads * spread) and math.isfinite(value)):
        return None
    if value * normal < 0 and abs(value + normal) < max(abs(normal) / 3.0, case.settings.spreads * spread):
        return Quality.POLARITY, f"the skewness is {value:.2f} and was {normal:.2f} in health: the sign may be reversed"
    return None
