"""Is a window fit to be judged: verdicts about the sensor, the cable and the converter, never about the machine.

The verdicts use the raw samples, before anything is removed or scaled. Real converters repeat values (a coarse step),
and real faults make peaks, so each verdict asks for what neither of them does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincc

from features.quality.mains import HumSettings, mains_shares, unexplained_mains
from features.quality.verdict import Quality as Quality
from features.spectra.spectrum import power_spectrum

_CHUNK_SAMPLES = 131_072

_COMPARED, _WATCHED = 512, 256
"""Stays beside held stretches are compared with those at so many other places, for so many samples at most."""


@dataclass(frozen=True)
class QualitySettings:
    """Thresholds of the verdicts.

    Attributes
    ----------
    min_samples : int
        A shorter window is `too_short`.
    flat_relative_std : float
        `flatline` where the standard deviation is at most this share of the largest magnitude (the step of float32 is
        6e-8 of it).
    flat_share : float
        `flatline` too where at least this share of the samples has one and the same value.
    dropout_share, dropout_min_samples : float, int
        `dropout` where one value is held for at least `max(dropout_share * length, dropout_min_samples)` samples.
    rest_chance : float
        Held stretches are no dropouts but pauses of a machine, logged in coarse steps, where a signal that froze
        anywhere would come back to their values with at most this chance.
    rest_steps : float
        Steps are coarse where the standard deviation is at most so many of them.
    live_share : float
        Dropouts and clipping are judged only in a window where, outside the stretch in question, at least this share
        of the samples differs from the one before: a slow signal with a coarse step (a temperature) stands still by
        nature;
    min_levels : int
        and only where the window has at least so many different values.
    clip_min_samples, clip_min_share : int, float
        `clipping` needs at least `max(clip_min_samples, clip_min_share * length)` samples at the highest or the
        lowest value,
    clip_pile_up : float
        and at least so many times as many as at the next value inwards.
    flat_min_seconds : float
        A window that is shorter, or of unknown duration where this is above 0, is no `flatline`: a temperature stands
        still for hours.
    judge_dropout, judge_clipping, judge_hum : bool
        False where the signal does by nature what the verdict looks for.
    hum : HumSettings
        Thresholds of `mains_hum`.

    Raises
    ------
    ValueError
        A value is out of range; the message names it.
    """

    min_samples: int = 64
    flat_relative_std: float = 1e-7
    flat_share: float = 0.995
    dropout_share: float = 0.005
    dropout_min_samples: int = 24
    rest_chance: float = 0.01
    rest_steps: float = 100.0
    live_share: float = 0.5
    min_levels: int = 16
    clip_min_samples: int = 8
    clip_min_share: float = 0.0005
    clip_pile_up: float = 4.0
    flat_min_seconds: float = 0.0
    judge_dropout: bool = True
    judge_clipping: bool = True
    judge_hum: bool = True
    hum: HumSettings = field(default_factory=HumSettings)

    def __post_init__(self) -> None:
        for name in ("flat_share", "dropout_share", "rest_chance", "live_share", "clip_min_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)!r}.")
        for name in ("min_samples", "dropout_min_samples", "clip_min_samples", "min_levels"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)!r}.")
        if not (self.flat_relative_std >= 0 and self.clip_pile_up >= 1):
            raise ValueError(
                "flat_relative_std must be at least 0 and clip_pile_up at least 1, got "
                f"{self.flat_relative_std!r} and {self.clip_pile_up!r}."
            )
        if not 0 <= self.flat_min_seconds < math.inf:
            raise ValueError(f"flat_min_seconds must be a finite number of at least 0, got {self.flat_min_seconds!r}.")


def quality_settings(quantity: str) -> QualitySettings:
    """Return the thresholds for a quantity of the log contract.

    Temperatures and voltages are slow and coarse: they may hold a value for hours. A drive's current and torque, and a
    joint's position and speed, rest at exactly one value while a brake holds, stop at the drive's own limit, and carry
    its mains. Vibrations, strains and forces never rest.

    Returns
    -------
    QualitySettings
        The strict ones for a quantity that is not known here.

    Examples
    --------
    >>> quality_settings("temperature").judge_hum
    False
    """
    if quantity in ("temperature", "voltage"):
        hours = 6.0 if quantity == "temperature" else 1.0
        return QualitySettings(
            flat_min_seconds=3600.0 * hours, judge_dropout=False, judge_clipping=False, judge_hum=False
        )
    if quantity in ("motor_current", "motor_torque", "position", "angle", "angular_velocity"):
        return QualitySettings(flat_min_seconds=600.0, judge_dropout=False, judge_clipping=False, judge_hum=False)
    return QualitySettings()


def assess(
    windows: NDArray[np.float32],
    *,
    sampling_rate_hz: float,
    rate_is_declared: bool,
    shaft_speed_rpm: float | None,
    settings: QualitySettings,
    mains: NDArray[np.float64] | None = None,
) -> tuple[list[Quality], list[str]]:
    """Judge every window by itself.

    Parameters
    ----------
    windows : float32 array, shape (n, length)
        Raw windows. Never written to.
    sampling_rate_hz : float
        Above 0.
    rate_is_declared : bool
        Where it is only assumed, no frequency is known and mains hum is not judged.
    shaft_speed_rpm : float or None
        Mean speed, steady or not; it only serves to excuse a line at 50 or 60 Hz.
    settings : QualitySettings
    mains : float64 array, shape (n, mains frequencies), optional
        `features.quality.mains.mains_shares` of the windows in any unit, where it is there already; rows that are NaN
        are worked out here.

    Returns
    -------
    codes : list of Quality, length n
    evidence : list of str, length n
        A short phrase with figures; '' where the verdict is `ok`.

    Raises
    ------
    ValueError
        The windows are not two-dimensional float32, or the rate is not a finite number above 0.

    Examples
    --------
    >>> codes, evidence = assess(
    ...     np.ones((1, 1024), dtype=np.float32),
    ...     sampling_rate_hz=1000.0,
    ...     rate_is_declared=True,
    ...     shaft_speed_rpm=None,
    ...     settings=QualitySettings(),
    ... )
    >>> str(codes[0]), evidence[0]
    ('flatline', 'standard deviation 0 at a magnitude of 1')
    """
    if windows.ndim != 2 or windows.dtype != np.float32:
        raise ValueError(f"Windows must be a 2-D float32 array, got {windows.ndim}-D {windows.dtype}.")
    if not (math.isfinite(sampling_rate_hz) and sampling_rate_hz > 0):
        raise ValueError(f"The sampling rate must be a finite number above 0 Hz, got {sampling_rate_hz!r}.")
    length = windows.shape[1]
    seconds = length / sampling_rate_hz if rate_is_declared else 0.0
    may_be_flat = seconds >= settings.flat_min_seconds
    verdicts = [_judge_samples(row, settings, may_be_flat=may_be_flat) for row in windows]
    if rate_is_declared and settings.judge_hum:
        rows = [i for i, verdict in enumerate(verdicts) if verdict is None]
        shares = _shares(windows, rows, mains, sampling_rate_hz / max(length, 1), settings.hum)
        if shares.max(initial=0.0) > min(settings.hum.share, settings.hum.share_unknown_speed):
            limits = _hum_limits(
                shaft_speed_rpm, sampling_rate_hz=sampling_rate_hz, length=length, settings=settings.hum
            )
            for i, own in zip(rows, shares, strict=True):
                verdicts[i] = _hum(own, limits, settings.hum)
    judged = [verdict or (Quality.OK, "") for verdict in verdicts]
    return [code for code, _ in judged], [phrase for _, phrase in judged]


def spread(codes: Sequence[Quality], evidence: Sequence[str], *, share: float = 0.1) -> tuple[list[Quality], list[str]]:
    """Carry what a sensor or cable did in some windows of a recording over to the others that are `ok`.

    A plug that was loose in one window was no better in the next (a signal that was too loud for its range may have
    been, so `clipping` stays where it is): where at least `share` of the windows (0 to 1) have a
    blocking verdict, the others get the most frequent one, with the first evidence of it and the number of windows.

    Examples
    --------
    >>> codes, evidence = spread([Quality.DROPOUT, Quality.OK], ["30 samples in a row are exactly 0", ""])
    >>> str(codes[1]), evidence[1]
    ('dropout', 'in 1 of 2 windows of the recording: 30 samples in a row are exactly 0')
    """
    bad = [index for index, code in enumerate(codes) if code.blocks and code != Quality.CLIPPING]
    if not bad or len(bad) < share * len(codes):
        return list(codes), list(evidence)
    worst = Counter(codes[index] for index in bad).most_common(1)[0][0]
    first = next(index for index in bad if codes[index] == worst)
    words = f"in {len(bad)} of {len(codes)} windows of the recording: {evidence[first]}"
    return (
        [code if code.blocks else worst for code in codes],
        [text if code.blocks else words for code, text in zip(codes, evidence, strict=True)],
    )


def _hum_limits(
    shaft_speed_rpm: float | None, *, sampling_rate_hz: float, length: int, settings: HumSettings
) -> dict[float, tuple[float, ...]]:
    """Return the mains frequencies to judge, by the share of the power that they have to exceed."""
    free, possible = (
        unexplained_mains(
            shaft_speed_rpm, sampling_rate_hz=sampling_rate_hz, length=length, harmonics=harmonics, settings=settings
        )
        for harmonics in (settings.shaft_harmonics, settings.strong_harmonics)
    )
    speed_known = shaft_speed_rpm is not None and math.isfinite(shaft_speed_rpm) and shaft_speed_rpm != 0
    if not speed_known:
        return {settings.share_unknown_speed: free}
    shared = tuple(mains for mains in possible if mains not in free)
    limits = {settings.share: free, settings.share_unknown_speed: shared}
    return {limit: mains_hz for limit, mains_hz in limits.items() if mains_hz}


def _shares(
    windows: NDArray[np.float32],
    rows: list[int],
    mains: NDArray[np.float64] | None,
    bin_hz: float,
    settings: HumSettings,
) -> NDArray[np.float64]:
    """Return the shares of the mains in some windows; those that are not known yet are worked out."""
    known = np.full((len(windows), len(settings.mains_hz)), np.nan) if mains is None else mains.copy()
    unknown = np.isnan(known.sum(axis=-1))
    missing = [row for row in rows if unknown[row]]
    length = windows.shape[1]
    step = max(1, _CHUNK_SAMPLES // max(length, 1))
    for first in range(0, len(missing), step):
        part = missing[first : first + step]
        # Scaled to its own peak, a window in any unit stays clear of float32's ends; the share does not change.
        peak = np.abs(windows[part]).max(axis=-1, keepdims=True)
        power = power_spectrum(windows[part] / np.where(peak > 0, peak, np.float32(1.0)))
        known[part] = mains_shares(power, bin_hz=bin_hz, length=length, settings=settings)
    return known[rows]


def _hum(
    shares: NDArray[np.float64], limits: dict[float, tuple[float, ...]], settings: HumSettings
) -> tuple[Quality, str] | None:
    """Judge one window by the shares of the mains; None where none is above its limit."""
    share_of = dict(zip(settings.mains_hz, shares.tolist(), strict=True))
    for limit, mains_hz in limits.items():
        mains = max(mains_hz, key=share_of.__getitem__, default=None)
        if mains is not None and share_of[mains] > limit:
            phrase = f"{100 * share_of[mains]:.0f} % of the power at {mains:.0f} Hz and its odd harmonics"
            return Quality.MAINS_HUM, phrase
    return None


def _judge_samples(
    row: NDArray[np.float32], settings: QualitySettings, *, may_be_flat: bool
) -> tuple[Quality, str] | None:
    """Judge what needs no frequency; None where nothing is wrong."""
    lowest, highest = (float(row.min()), float(row.max())) if row.size else (0.0, 0.0)
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return Quality.NON_FINITE, f"{row.size - int(np.isfinite(row).sum())} of {row.size} samples are not finite"
    if row.size < settings.min_samples:
        return Quality.TOO_SHORT, f"{row.size} samples, at least {settings.min_samples} wanted"
    if _is_lively(row, lowest, highest, settings):
        return None
    ordered = np.sort(row)
    flat = _flatline(row, ordered, settings)
    if flat is not None:
        return flat if may_be_flat else None
    if np.count_nonzero(ordered[1:] != ordered[:-1]) + 1 < settings.min_levels:
        return None
    lost = _dropout(row, settings) if settings.judge_dropout else None
    return lost or (_clipping(row, ordered, settings) if settings.judge_clipping else None)


def _is_lively(row: NDArray[np.float32], lowest: float, highest: float, settings: QualitySettings) -> bool:
    """Return whether bounds that cost little rule out every verdict that needs the samples in order of size."""
    largest = max(abs(lowest), abs(highest))
    # One sample at each end is the least that a range can add to the variance.
    if (highest - lowest) / math.sqrt(2.0 * row.size) <= 1.01 * settings.flat_relative_std * largest:
        return False
    held = int(np.count_nonzero(row[1:] == row[:-1]))
    # A sample of another value makes at most two changes.
    if row.size - 1 - held <= 2.0 * (1.0 - settings.flat_share) * row.size + 2.0:
        return False
    if settings.judge_dropout and held >= _dropout_samples(row, settings) - 1:
        return False
    if not settings.judge_clipping:
        return True
    near = 1.5 * _rail_slack(largest)
    at_ends = (np.count_nonzero(row >= np.float32(highest - near)), np.count_nonzero(row <= np.float32(lowest + near)))
    return int(max(at_ends)) < _clipped_samples(row, settings)


def _dropout_samples(row: NDArray[np.float32], settings: QualitySettings) -> int:
    return max(math.ceil(settings.dropout_share * row.size), settings.dropout_min_samples)


def _clipped_samples(row: NDArray[np.float32], settings: QualitySettings) -> int:
    return max(settings.clip_min_samples, math.ceil(settings.clip_min_share * row.size))


def _rail_slack(largest: float) -> float:
    """Values within a few float32 steps count as one: a scaled rail may differ in its last digit."""
    return 4.0 * float(np.finfo(np.float32).eps) * largest


def _flatline(
    row: NDArray[np.float32], ordered: NDArray[np.float32], settings: QualitySettings
) -> tuple[Quality, str] | None:
    wide = row.astype(np.float64)
    largest = max(abs(float(ordered[0])), abs(float(ordered[-1])))
    spread = float((wide - wide.mean()).std())
    # A value held by more than half of the samples is the median.
    held = float(ordered[row.size // 2])
    share = float(np.count_nonzero(row == np.float32(held))) / row.size
    if spread <= settings.flat_relative_std * largest:
        return Quality.FLATLINE, f"standard deviation {spread:.3g} at a magnitude of {largest:.3g}"
    if share >= settings.flat_share:
        return Quality.FLATLINE, f"{100 * share:.1f} % of the samples are exactly {held:.6g}"
    return None


def _dropout(row: NDArray[np.float32], settings: QualitySettings) -> tuple[Quality, str] | None:
    wanted = _dropout_samples(row, settings)
    same = row[1:] == row[:-1]
    if int(np.count_nonzero(same)) < wanted - 1:
        return None
    ends = np.append(np.flatnonzero(~same), row.size - 1)
    lengths = np.diff(ends, prepend=-1)
    held = row[ends]
    long = lengths >= wanted
    for value, n_short in _rails(row, held, long):
        # Clipping holds a rail too, but in many stretches of all lengths; a dropout does so only in long ones.
        if n_short:
            long &= held != value
    if not long.any() or _is_rest(row, ends[long], lengths[long], settings):
        return None
    lost = int(lengths[long].sum())
    rest = row.size - lost
    changes = int(np.count_nonzero(~long))
    if rest == 0 or changes < settings.live_share * rest:
        return None
    place = int(np.argmax(np.where(long, lengths, 0)))
    return Quality.DROPOUT, f"{lengths[place]} samples in a row are exactly {float(held[place]):.6g}"


def _is_rest(row: NDArray[np.float32], ends: NDArray[np.intp], lengths: NDArray[np.intp], s: QualitySettings) -> bool:
    """Return whether long held stretches are pauses: at rest, noise below half a step of a coarse log disappears.

    A machine slows down before it stops, or comes back to the same values, within a step; a plug that loses its contact
    does so in mid-motion, and holds any value, or an open input's. At 0, or at one value far from the mean of the
    motion, only a rhythm tells a pause: three stretches or more, alike in length and distance.
    """
    live = np.ones(row.size, dtype=bool)
    for end, length in zip(ends, lengths, strict=True):
        live[end - length + 1 : end + 1] = False
    moving, levels = row[live].astype(np.float64), np.unique(row).astype(np.float64)
    if moving.size < s.min_samples or levels.size < s.min_levels:
        return False
    step, spread = float(np.quantile(np.diff(levels), 0.1)), float(moving.std())
    if spread > s.rest_steps * step:
        return False
    if _slows_down(row, live, ends, lengths, reach=max(spread / 2.0, 1.5 * step), still=1.5 * step) <= s.rest_chance:
        return True
    chance, values = 1.0, row[ends].astype(np.float64)
    may_be_open = float(np.ptp(values)) <= 1.5 * step and abs(float(values[0] - moving.mean())) > spread / 2.0
    if may_be_open and not _is_rhythm(row.size, ends, lengths):
        return False
    while values.size:
        value, same = float(values[0]), np.abs(values - values[0]) <= 1.5 * step
        times = int(np.count_nonzero(same))
        if times < 2 or (abs(value) <= 0.5 * step and not _is_rhythm(row.size, ends, lengths)):
            return False
        chance *= float(np.mean(np.abs(moving - value) <= 1.5 * step)) ** (times - 1)
        values = values[~same]
    return chance <= s.rest_chance


def _slows_down(
    row: NDArray[np.float32],
    live: NDArray[np.bool_],
    ends: NDArray[np.intp],
    lengths: NDArray[np.intp],
    *,
    reach: float,
    still: float,
) -> float:
    """Return with what chance a signal that froze anywhere stays so long within `reach` of the held values beside them.

    Of each end of each stretch, how long the signal stays there is compared with how long the moving signal stays
    within `reach` of its own values, but where it is `still` for as long as it is held; the chances are put together by
    Fisher's method.
    """
    chances = []
    for way, edges in ((1, ends + 1), (-1, ends - lengths)):
        # Read backwards, what comes before a stretch comes behind it.
        wide, free = row[::way].astype(np.float64), live[::way]
        first = edges if way == 1 else row.size - 1 - edges
        places = np.flatnonzero(free[:-1] & free[1:])
        places = places[:: max(places.size // _COMPARED, 1)]
        held = min(int(lengths.min()), _WATCHED)
        places = places[_stays(wide, places, wide[places], still) < held]
        own = _stays(wide, places, wide[places], reach)
        for start, end in zip(first, ends, strict=True):
            if start < row.size:
                stay = _stays(wide, np.array([start]) - 1, np.array([float(row[end])]), reach)[0]
                chances.append((1.0 + np.count_nonzero(own >= stay)) / (1.0 + own.size))
    return float(gammaincc(len(chances), -np.log(chances).sum())) if chances else 1.0


def _stays(
    wide: NDArray[np.float64], places: NDArray[np.intp], values: NDArray[np.float64], reach: float
) -> NDArray[np.intp]:
    """Return for how many samples behind each place the signal stays within `reach` of a value, `_WATCHED` at most."""
    behind = places[:, None] + np.arange(1, _WATCHED + 1)
    away = np.abs(wide[np.minimum(behind, wide.size - 1)] - values[:, None]) > reach
    away |= behind >= wide.size
    return np.where(away.any(axis=1), away.argmax(axis=1), _WATCHED)


def _is_rhythm(size: int, ends: NDArray[np.intp], lengths: NDArray[np.intp]) -> bool:
    """Return whether stretches, those that the window cuts left out, are alike in length and distance within 10 %."""
    whole = (ends - lengths >= 0) & (ends < size - 1)
    inside, apart = lengths[whole], np.diff(ends[whole])
    return len(inside) >= 3 and all(float(np.ptp(part)) <= 0.1 * float(part.mean()) for part in (inside, apart))


def _rails(
    row: NDArray[np.float32], held: NDArray[np.float32], long: NDArray[np.bool_]
) -> list[tuple[np.float32, int]]:
    """Return the highest and the lowest value, each with the number of its shorter stretches. Zero is no rail."""
    rails = [value for value in (row.max(), row.min()) if value != 0]
    return [(value, int(np.count_nonzero((held == value) & ~long))) for value in rails]


def _clipping(
    row: NDArray[np.float32], ordered: NDArray[np.float32], settings: QualitySettings
) -> tuple[Quality, str] | None:
    wanted = _clipped_samples(row, settings)
    slack = _rail_slack(max(abs(float(ordered[0])), abs(float(ordered[-1]))))
    for name, inwards in (("highest", ordered[::-1]), ("lowest", ordered)):
        rail = float(inwards[0])
        away = np.abs(inwards.astype(np.float64) - rail) if abs(float(inwards[wanted - 1]) - rail) <= slack else None
        if away is None:
            continue
        at_rail = int(np.searchsorted(away, slack, side="right"))
        if at_rail == row.size:
            continue
        beside = int(np.searchsorted(away, float(away[at_rail]) + slack, side="right")) - at_rail
        if at_rail < settings.clip_pile_up * beside or not _is_live(row, rail, slack, settings):
            continue
        return Quality.CLIPPING, f"{at_rail} of {row.size} samples at the {name} value {rail:.6g}, {beside} at the next"
    return None


def _is_live(row: NDArray[np.float32], rail: float, slack: float, settings: QualitySettings) -> bool:
    """Return whether the signal moves from sample to sample where it is not at the rail."""
    inside = np.abs(row[1:].astype(np.float64) - rail) > slack
    moving = row[1:] != row[:-1]
    return bool(np.count_nonzero(moving & inside) >= settings.live_share * np.count_nonzero(inside))
