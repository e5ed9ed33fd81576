"""Small seeded data sets and models shared by the tests of `models`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from models.model import Model
from models.network import NetworkSettings
from models.settings import TrainingSettings
from models.training.report import TrainingReport
from models.training.train import train

Made = dict[str, Any]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small() -> TrainingSettings:
    return TrainingSettings(
        epochs=30,
        fixed_epochs=20,
        learning_rate=4e-3,
        n_samples=20,
        sub_bank_size=5,
        folds=3,
        seed=3,
        network=NetworkSettings(hidden=(24, 16)),
    )


def made(classes: tuple[str, ...] = ("healthy", "inner", "outer"), *, units: int = 12, windows: int = 20) -> Made:
    """Arguments of `train`: `units` units dealt out to the classes, each with an offset of its own."""
    rng = np.random.default_rng(7)
    n_features = 12
    of_unit = np.arange(units) % len(classes)
    unit = np.repeat(np.arange(units), windows)
    centre = rng.normal(0, 1.5, (len(classes), n_features))
    x = centre[of_unit[unit]] + rng.normal(0, 0.7, (units, n_features))[unit] + rng.normal(size=(unit.size, n_features))
    x[rng.random(unit.size) < 0.2, :4] = np.nan
    return {
        "x": x.astype(np.float32),
        "y": of_unit[unit].astype(np.int64),
        "unit": np.array([f"serial-{i:02d}" for i in unit]),
        "classes": classes,
        "feature_names": tuple(f"f{i}" for i in range(n_features)),
        "feature_version": "fv1",
        "feature_groups": tuple("abc"[i // 4] for i in range(n_features)),
    }


@pytest.fixture(scope="session")
def make() -> Callable[..., Made]:
    return made


@pytest.fixture(scope="session")
def trained(small: TrainingSettings) -> tuple[Model, TrainingReport, Made]:
    data = made()
    model, report = train(**data, settings=small)
    return model, report, data


@pytest.fixture(scope="session")
def baseline_only(small: TrainingSettings) -> tuple[Model, TrainingReport, Made]:
    data = made(("healthy",))
    model, report = train(**data, settings=small)
    return model, report, data
