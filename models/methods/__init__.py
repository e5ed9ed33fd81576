"""The scoring methods, one file each behind one interface (`models.methods.method`), by name.

This file imports nothing heavy, so that a name can be checked without torch. A new method is its own file and its name
here.
"""

from __future__ import annotations

from typing import Final

METHODS: Final = ("mle", "temperature", "mc_dropout", "moments", "swag", "ensemble")
"""Every name is that of a file of this folder, in the order of the tables."""


def check_name(name: str) -> None:
    """Raise ValueError, listing the names, unless a scoring method has this name.

    >>> check_name("magic")
    Traceback (most recent call last):
    ...
    ValueError: method must be one of mle, temperature, mc_dropout, moments, swag, ensemble, got 'magic'.
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}.")
