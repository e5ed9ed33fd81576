"""Bearings by their catalogue designation. The catalogue in this package names the source of every entry."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from features.kinematics import Orders, bearing_orders
from pipeline.base.errors import AxiswatchError

CATALOGUE = Path(__file__).with_name("bearings.toml")
BY_HAND = "write n_balls, ball_diameter, pitch_diameter and source by hand in [bearing.NAME] of an assets.toml"


@dataclass(frozen=True)
class CatalogueBearing:
    """One published bearing. Lengths are in mm, the angle is in degrees."""

    designation: str
    makers: tuple[str, ...]
    n_balls: int
    ball_diameter: float
    pitch_diameter: float
    contact_angle_deg: float
    source: str
    preferred: bool = False

    def orders(self) -> Orders:
        """Return its orders (multiples of the inner ring's speed) with the outer ring at rest."""
        return bearing_orders(self.n_balls, self.ball_diameter, self.pitch_diameter, self.contact_angle_deg)


@cache
def catalogue() -> tuple[tuple[CatalogueBearing, ...], tuple[str, ...]]:
    """Read the catalogue of this package: its bearings, and the suffixes that may be ignored."""
    document = tomllib.loads(CATALOGUE.read_text(encoding="utf-8"))
    bearings = tuple(CatalogueBearing(**{**entry, "makers": tuple(entry["makers"])}) for entry in document["bearing"])
    return bearings, tuple(document["safe_suffixes"])


def find_bearing(text: str) -> CatalogueBearing:
    """Find a bearing by its designation, such as `6205`, `SKF 6205-2RS` or `nsk 6804 DD`.

    Raises
    ------
    AxiswatchError
        The bearing is not in the catalogue, or only from other makers, or its suffix may stand for another geometry.
        The message names similar bearings and says how to enter a geometry by hand.
    """
    bearings, suffixes = catalogue()
    maker, rest = _maker_and_rest(text, {name for bearing in bearings for name in bearing.makers})
    matching: list[CatalogueBearing] = []
    unsafe = ""
    for bearing in bearings:
        key = _compact(bearing.designation)
        tail = rest.removeprefix(key)
        if tail == rest or not key:
            continue
        if _is_safe(tail, suffixes):
            matching.append(bearing)
        elif not tail[0].isdigit():
            unsafe = f"{bearing.designation} is in the catalogue, but the suffix {tail} may stand for another geometry"
    if not matching:
        raise AxiswatchError(f"bearing {text!r}: {unsafe or _nothing_like(rest, bearings)}; {BY_HAND}")
    if maker is None:
        return next((bearing for bearing in matching if bearing.preferred), matching[0])
    of_maker = [bearing for bearing in matching if maker in bearing.makers]
    if not of_maker:
        makers = ", ".join(name for bearing in matching for name in bearing.makers)
        raise AxiswatchError(
            f"bearing {text!r}: the catalogue has {matching[0].designation} of {makers} only, and makers differ in "
            f"their balls; leave out the maker to use it anyway, or {BY_HAND}"
        )
    return of_maker[0]


def _maker_and_rest(text: str, makers: set[str]) -> tuple[str | None, str]:
    """Separate the maker's name from the designation. A maker is a first word of letters only."""
    words = text.upper().split()
    if len(words) > 1 and (words[0] in makers or (words[0].isalpha() and len(words[0]) > 2)):
        return words[0], _compact("".join(words[1:]))
    return None, _compact(text.upper())


def _compact(text: str) -> str:
    return re.sub(r"[\s\-/._]", "", text)


def _is_safe(tail: str, suffixes: tuple[str, ...]) -> bool:
    return re.fullmatch(f"(?:{'|'.join(map(re.escape, suffixes))})*", tail) is not None


def _nothing_like(rest: str, bearings: tuple[CatalogueBearing, ...]) -> str:
    names = {_compact(bearing.designation): bearing.designation for bearing in bearings}
    near = [names[name] for name in difflib.get_close_matches(rest, names, n=3, cutoff=0.6)]
    if near:
        return f"it is not in the catalogue; close to it are {', '.join(near)}"
    return f"it is not in the catalogue, which has {', '.join(sorted(set(names.values())))}"
