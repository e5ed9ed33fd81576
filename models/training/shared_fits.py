"""Networks fitted once for all trainings that would fit the very same: methods of one seed differ in how they sample.

Most methods train one network and nothing more, and it is the first of those that train several; a method that goes on
with training has fits of its own. A key covers every number that a fit reads, so what is shared is what would have come
out anyway.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.methods.method import Fitted, GoOn
from models.settings import TrainingSettings
from models.training.fit import Examples


class SharedFits:
    """Fitted networks by what they were fitted to, kept for as long as this object is.

    Parameters
    ----------
    clock
        Seconds, monotonic; to measure how long each fit took.

    Attributes
    ----------
    made, spared
        Fits carried out; seconds of the fits that were used since `begin` and made before it, each counted once: how
        much longer the training would have taken alone.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.made = 0
        self.spared = 0.0
        self._clock = clock
        self._fits: dict[str, tuple[Fitted, float]] = {}
        self._own: set[str] = set()

    def begin(self) -> None:
        """Mark the start of another training: all fits so far were made by others."""
        self.spared = 0.0
        self._own = set()

    def fit(self, key: str, make: Callable[[], Fitted]) -> Fitted:
        """Return the fit of a key; make it where there is none."""
        if key in self._fits:
            fitted, seconds = self._fits[key]
            self.spared += 0.0 if key in self._own else seconds
            self._own.add(key)
            return fitted
        started = self._clock()
        fitted = make()
        self._fits[key] = fitted, self._clock() - started
        self._own.add(key)
        self.made += 1
        return fitted


def key_of(
    examples: Examples,
    stop: Examples | None,
    *,
    group: NDArray[np.int64],
    n_classes: int,
    healthy: int | None,
    settings: TrainingSettings,
    epochs: int,
    seed: int,
    go_on: GoOn | None = None,
) -> str:
    """Digest the arguments of `models.training.fit.fit_network`, hex; methods whose training is the same have one
    key."""
    values = {**settings.as_dict(), "method": None if go_on is None else settings.method}
    digest = hashlib.sha256(repr((n_classes, healthy, epochs, seed, values)).encode())
    arrays: list[NDArray[Any]] = [group]
    for some in (examples, stop):
        arrays += [] if some is None else [some.inputs, some.y, some.weight]
        arrays += [] if some is None or some.offset is None else [some.offset]
        digest.update(b"no more" if some is None or some.offset is None else b"offset")
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
