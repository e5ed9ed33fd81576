"""Figures as a database column and JSON hold them."""

from __future__ import annotations

import math


def finite_or_none(value: float | None) -> float | None:
    """Return a number as a plain float; None where it is not finite, or is None already.

    A column and JSON have no NaN and no infinity.
    """
    return float(value) if value is not None and math.isfinite(value) else None
