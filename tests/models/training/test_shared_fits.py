"""Methods that train alike are trained once, and nothing but the time changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import pytest

from models.artifact import model_version, pack
from models.methods import METHODS
from models.methods.method import Fitted
from models.methods.swag import go_on
from models.network import FoldedNetwork
from models.settings import TrainingSettings
from models.training.fit import Examples
from models.training.shared_fits import SharedFits, key_of
from models.training.train import train

Make = Callable[..., dict[str, Any]]


def ticking() -> Callable[[], float]:
    """A clock by which every fit takes ten seconds."""
    ticks: Iterator[int] = count(0, 10)
    return lambda: float(next(ticks))


def test_methods_that_train_alike_are_trained_once_and_come_out_the_same(make: Make, small: TrainingSettings) -> None:
    few = dataclasses.replace(small, epochs=3, ensemble_size=2, swag_samples=2, swag_epochs=2, swag_rank=2)
    fits = SharedFits(ticking())
    made, spared = {}, {}
    for method in METHODS:
        settings, before = dataclasses.replace(few, method=method), fits.made
        fits.begin()
        shared, report = train(**make(), settings=settings, fits=fits)
        made[method], spared[method] = fits.made - before, fits.spared
        alone, other = train(**make(), settings=settings)
        assert model_version(pack(shared)) == model_version(pack(alone)), method
        assert report == other
    # Three folds and the final network; the second member of the ensemble, and swag which goes on, have their own.
    assert made == {"mle": 4, "temperature": 0, "mc_dropout": 0, "moments": 0, "swag": 4, "ensemble": 4}
    assert spared == {"mle": 0, "temperature": 40, "mc_dropout": 40, "moments": 40, "swag": 0, "ensemble": 40}


def test_what_a_training_made_itself_it_was_not_spared() -> None:
    fits, nothing = SharedFits(ticking()), Fitted(FoldedNetwork((), (), 0.0), 1)
    for _ in range(2):
        assert fits.fit("a", lambda: nothing) is nothing
    assert (fits.made, fits.spared) == (1, 0.0)
    fits.begin()
    for _ in range(2):
        fits.fit("a", lambda: nothing)
    assert (fits.made, fits.spared) == (1, 10.0), "alone it would have made it, once"


@pytest.mark.parametrize("change", ["inputs", "weight", "offset", "stop", "seed", "epochs", "settings", "group"])
def test_whatever_a_fit_reads_is_in_its_key(change: str) -> None:
    one = Examples(np.ones((3, 2), np.float32), np.zeros(3, np.int64), np.ones(3))
    more: dict[str, Any] = {"group": np.zeros(1, np.int64), "n_classes": 2, "healthy": 0, "epochs": 4, "seed": 1}
    more["settings"] = TrainingSettings()
    before = key_of(one, None, **more)
    assert key_of(one, None, **more | {"settings": TrainingSettings(method="mle")}) == before
    gone_on = {"settings": TrainingSettings(method="swag"), "go_on": go_on}
    assert key_of(one, None, **more | gone_on) != before
    changed: dict[str, Callable[[], str]] = {
        "inputs": lambda: key_of(dataclasses.replace(one, inputs=2 * one.inputs), None, **more),
        "weight": lambda: key_of(dataclasses.replace(one, weight=2 * one.weight), None, **more),
        "offset": lambda: key_of(dataclasses.replace(one, offset=one.inputs), None, **more),
        "stop": lambda: key_of(one, one, **more),
        "seed": lambda: key_of(one, None, **more | {"seed": 2}),
        "epochs": lambda: key_of(one, None, **more | {"epochs": 5}),
        "settings": lambda: key_of(one, None, **more | {"settings": TrainingSettings(length_scale=2.0)}),
        "group": lambda: key_of(one, None, **more | {"group": np.ones(1, np.int64)}),
    }
    assert changed[change]() != before
