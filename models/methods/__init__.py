"""The scoring methods, one file each behind one interface (`models.methods.method`), by name.

This file imports nothing heavy, so that a name can be checked without torch. A new method is its own file and its name
here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from models.methods.method import Method

METHODS: Final = ("mle", "temperature", "mc_dropout", "moments", "swag", "ensemble")
"""Every name is that of a file of this folder, in the order of the tables."""


def method_of(name: str) -> Method:
    """Return the scoring method of a name.

    Raises
    ------
    ValueError
        There is none; the message lists those that there are.

    >>> method_of("mle").calibrated, method_of("temperature").calibrated
    (False, True)
    """
    check_name(name)
    method: Method = import_module(f"models.methods.{name}").METHOD
    return method


def check_name(name: str) -> None:
    """Raise ValueError, listing the names, unless a scoring method has this name.

    >>> check_name("magic")
    Traceback (most recent call last):
    ...
    ValueError: method must be one of mle, temperature, mc_dropout, moments, swag, ensemble, got 'magic'.
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {name!r}.")
