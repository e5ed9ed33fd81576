"""Quantities and their units: what a signal may be, and how the units that logs hold become the usual one.

The first unit of a quantity is its own: features are computed in it. Sources of the factors: BIPM, The International
System of Units (9th ed.); NIST Special Publication 811 (2008), appendix B.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

RAW_UNIT: Final = "raw"
"""Unit of a signal whose scale is not declared. It has its own model scope and is never mixed with physical units."""

STANDARD_GRAVITY_M_S2: Final = 9.80665
"""Exact by definition (CGPM 1901)."""


@dataclass(frozen=True)
class Conversion:
    """How a unit becomes the one of its quantity: `value x factor + offset`.

    `stays` says that an import leaves it as it is.
    """

    factor: float = 1.0
    offset: float = 0.0
    stays: bool = False

    @property
    def is_own(self) -> bool:
        """Whether nothing has to be converted."""
        return self.factor == 1.0 and self.offset == 0.0


_SIGNALS: Final[dict[str, dict[str, Conversion]]] = {
    "acceleration": {
        "m/s2": Conversion(),
        "g": Conversion(STANDARD_GRAVITY_M_S2, stays=True),
        "mg": Conversion(STANDARD_GRAVITY_M_S2 / 1000),
        "mm/s2": Conversion(0.001),
    },
    "velocity": {"mm/s": Conversion(), "m/s": Conversion(1000.0), "in/s": Conversion(25.4)},
    "position": {
        "mm": Conversion(),
        "um": Conversion(0.001),
        "m": Conversion(1000.0),
        "in": Conversion(25.4),
        "mil": Conversion(0.0254),
    },
    "angle": {"deg": Conversion(), "rad": Conversion(180 / math.pi)},
    "angular_velocity": {"deg/s": Conversion(), "rad/s": Conversion(180 / math.pi), "rpm": Conversion(6.0)},
    "motor_current": {"A": Conversion(), "mA": Conversion(0.001)},
    "motor_torque": {
        "Nm": Conversion(),
        "mNm": Conversion(0.001),
        "kNm": Conversion(1000.0),
        "lbf.in": Conversion(0.1129848290276167),
    },
    "force": {"N": Conversion(), "kN": Conversion(1000.0), "lbf": Conversion(4.4482216152605)},
    "strain": {"um/m": Conversion(), "m/m": Conversion(1e6)},
    "sound_pressure": {"Pa": Conversion(), "mPa": Conversion(0.001), "uPa": Conversion(1e-6)},
    "temperature": {"degC": Conversion(), "K": Conversion(1.0, -273.15), "degF": Conversion(5 / 9, -160 / 9)},
    "voltage": {"V": Conversion(), "mV": Conversion(0.001)},
}
UNITS: Final = _SIGNALS | {
    "overall_acceleration": _SIGNALS["acceleration"],
    "overall_velocity": _SIGNALS["velocity"],
    "overall_kurtosis": {"1": Conversion()},
    "overall_crest_factor": {"1": Conversion()},
    "overall_temperature": _SIGNALS["temperature"],
}
"""Quantities that axiswatch knows, each with its units, its own first."""

OVERALL: Final = {
    "overall_acceleration": "rms_log10",
    "overall_velocity": "rms_log10",
    "overall_kurtosis": "kurtosis_log10",
    "overall_crest_factor": "crest_factor_log10",
    "overall_temperature": "temperature_c",
}
"""Values that a sensor computed itself, and the feature that each is: a recording is one value, without a spectrum."""

VIBRATIONS: Final = ("acceleration", "velocity", "sound_pressure")
"""Quantities that begin at 10 Hz: slower motion is none of them."""

_SPELLINGS: Final = {
    "m/s^2": "m/s2", "m/s²": "m/s2", "m/s/s": "m/s2", "mm/s²": "mm/s2", "mm/sec": "mm/s", "m/sec": "m/s",
    "in/sec": "in/s", "ips": "in/s", "µm": "um", "μm": "um", "micron": "um", "mils": "mil", "°": "deg", "°/s": "deg/s",
    "1/min": "rpm", "u/min": "rpm", "r/min": "rpm", "n.m": "Nm", "n·m": "Nm", "n*m": "Nm", "ustrain": "um/m",
    "µε": "um/m", "με": "um/m", "µm/m": "um/m", "μm/m": "um/m", "microstrain": "um/m", "°c": "degC", "c": "degC",
    "celsius": "degC", "°f": "degF", "f": "degF", "fahrenheit": "degF", "kelvin": "K",
}  # fmt: skip
"""How files write units, in small letters."""


def unit_named(text: str) -> tuple[str, str] | None:
    """Return the quantity and the unit that a text, such as a column's header, names; None where it names none.

    Examples
    --------
    >>> unit_named("°C"), unit_named("M/S2"), unit_named("furlong")
    (('temperature', 'degC'), ('acceleration', 'm/s2'), None)
    """
    text = _SPELLINGS.get(text.casefold(), text)
    units = [(quantity, unit) for quantity, known in UNITS.items() for unit in known]
    exact = [pair for pair in units if pair[1] == text]
    alike = [pair for pair in units if pair[1].casefold() == text.casefold()]
    return next(iter(exact or alike), None)


def own_unit(quantity: str, unit: str) -> str:
    """Return the unit in which the features of a signal are: that of its quantity, or `raw`.

    Examples
    --------
    >>> own_unit("acceleration", "g"), own_unit("acceleration", "raw")
    ('m/s2', 'raw')
    """
    return RAW_UNIT if unit == RAW_UNIT else next(iter(UNITS[quantity]))


def unit_of(quantity: str, unit: str) -> Conversion:
    """Return how a unit of a quantity is converted; nothing is for `raw`, or for what nobody knows."""
    return UNITS.get(quantity, {}).get(unit, Conversion())


def in_own_unit(samples: NDArray[np.float32], quantity: str, unit: str) -> NDArray[np.float32]:
    """Return samples in the unit of their quantity; infinite where float32 cannot hold them.

    Examples
    --------
    >>> in_own_unit(np.array([212.0], dtype=np.float32), "temperature", "degF").round(3).tolist()
    [100.0]
    """
    how = unit_of(quantity, unit)
    if how.is_own:
        return samples
    with np.errstate(over="ignore"):
        scaled: NDArray[np.float32] = samples * np.float32(how.factor)
        if how.offset:
            scaled += np.float32(how.offset)
    return scaled


def why_not(quantity: str, unit: str) -> str:
    """Return a sentence about a unit that a quantity does not have: what is wrong with it, and what there is.

    Examples
    --------
    >>> why_not("temperature", "°C")
    "'°C' is not a unit of temperature (allowed: degC, K, degF, raw); write 'degC'"
    """
    allowed = (*UNITS[quantity], RAW_UNIT)
    wrong = f"{unit[:40]!r} is not a unit of {quantity} (allowed: {', '.join(allowed)})"
    if unit.casefold().startswith("db"):
        return f"{wrong}: a level in dB is a logarithm, and no signal; log the values themselves, in {allowed[0]}"
    known = unit_named(unit)
    if known is not None and known[1] in allowed:
        return f"{wrong}; write {known[1]!r}"
    if known is not None:
        return f"{wrong}: it is one of {known[0]}; correct the quantity or the unit"
    return f"{wrong}; convert the samples, or declare 'raw'"
