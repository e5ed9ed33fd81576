"""Which features changed against the unit's own baseline: by group, the strongest of each kind, in words with units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from features.health.baseline import Reference, deviation
from features.health.health import LARGEST_DEVIATION, spread_floor
from features.spectra.time_domain import Vector
from review.figures.feature_words import GROUPS, FeatureWords, words_of

LEAST_SIGMAS: Final = 3.0
"""A feature that lies nearer to its baseline is as usual."""

MOST_A_GROUP: Final = 3

FLOORS: Final = {
    "_share": 0.03,
    "skewness": 0.1,
    "shape_factor": 0.02,
    "_log10_hz": 0.05,
    "_percent": 0.5,
    "_harmonics": 1.0,
    "_pairs": 1.0,
}
"""Smallest spread that is believed, by the end of a feature's name, where the health figures use no such feature."""

BAND_FLOORS: Final = {"best_band_center_hz": 0.5, "best_band_width_hz": 1.0}
"""The same for the best band, as a share of its median: it is chosen from a tree of bands that differ by such steps."""


def floors(names: Sequence[str], reference: Reference) -> Vector:
    """Return the smallest spread of each feature that is believed, in the unit of the feature; float64 (F,), > 0.

    A baseline in which a feature hardly varied (a width that was chosen from a few) must not make a small step look
    like a large one.
    """
    floor = spread_floor(names, reference).copy()
    for index, name in enumerate(names):
        if name in BAND_FLOORS:
            floor[index] = max(BAND_FLOORS[name] * abs(float(np.nan_to_num(reference.median[index]))), 1.0)
        for end, least in FLOORS.items():
            if name.endswith(end):
                floor[index] = least
    return floor


def moved_features(
    now: Vector, reference: Reference, names: Sequence[str], *, unit: str, language: str
) -> list[dict[str, Any]]:
    """Return what changed, groups with the largest change first; of features about the same thing only the strongest.

    Parameters
    ----------
    now : float64 array, shape (F,)
        Features of a recording.
    reference : Reference
        Median and spread of the unit's baseline.
    names : sequence of str, length F
    unit
        Of the signal, for amplitudes.
    language
        `en` or `ko`.

    Returns
    -------
    list of dict
        `name`, `group`, `text`, `now`, `baseline` (as stored), `was_text`, `now_text`, `change_text` (with units),
        `sigmas` (-30 to 30).
    """
    sigmas = deviation(now, reference, floor=floors(names, reference))
    found: dict[str, list[tuple[FeatureWords, int]]] = {group: [] for group in GROUPS}
    for index in (int(place) for place in np.argsort(-np.abs(np.nan_to_num(sigmas)), kind="stable")):
        if not abs(sigmas[index]) >= LEAST_SIGMAS:
            break
        if "_margin_" in names[index]:  # it moves where another part's line does
            continue
        words = words_of(names[index], language)
        members = found[words.group]
        if len(members) < MOST_A_GROUP and all(words.about != other.about for other, _ in members):
            members.append((words, index))
    groups = sorted((group for group in found if found[group]), key=lambda group: -abs(sigmas[found[group][0][1]]))
    return [
        _row(
            names[index], words, float(now[index]), float(reference.median[index]), float(sigmas[index]), unit, language
        )
        for group in groups
        for words, index in found[group]
    ]


def _row(
    name: str, words: FeatureWords, now: float, was: float, sigmas: float, unit: str, language: str
) -> dict[str, Any]:
    return {
        "name": name,
        "group": words.group,
        "text": words.name,
        "now": now,
        "baseline": was,
        "was_text": _value(was, words.form, unit),
        "now_text": _value(now, words.form, unit),
        "change_text": _change(now, was, words.form, language),
        "sigmas": min(max(sigmas, -LARGEST_DEVIATION), LARGEST_DEVIATION),
    }


def _value(value: float, form: str, unit: str) -> str:
    if form in ("amplitude", "power"):
        return f"{_digits(10 ** (value / 2 if form == 'power' else value))} {unit}"
    if form == "ratio":
        return _digits(10**value)
    if form in ("hz", "log_hz"):
        return f"{_digits(value if form == 'hz' else 10**value)} Hz"
    if form == "share":
        return f"{100 * value:.1f} %"
    return {"db": f"{value:.1f} dB", "percent": f"{value:.1f} %", "count": f"{value:.0f}"}.get(form, _digits(value))


def _change(now: float, was: float, form: str, language: str) -> str:
    if form in ("amplitude", "power", "ratio", "log_hz"):
        return f"× {_digits(10 ** ((now - was) / (2 if form == 'power' else 1)))}"
    by, sign = abs(now - was), "+" if now >= was else "−"
    if form == "share":
        return f"{sign}{100 * by:.1f} {'%p' if language == 'ko' else 'points'}"
    if form == "count":
        return f"{sign}{by:.0f}"
    end = {"db": " dB", "hz": " Hz", "percent": " %"}.get(form, "")
    return f"{sign}{by:.1f}{end}" if form == "db" else f"{sign}{_digits(by)}{end}"


def _digits(value: float) -> str:
    """Write a number with three digits that count, without an exponent where it is of everyday size."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:,.{max(0, 2 - int(np.floor(np.log10(abs(value) or 1))))}f}"
    return f"{value:.2e}"
