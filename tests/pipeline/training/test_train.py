"""Which of the product's settings reach a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from models.network import NetworkSettings
from models.settings import TrainingSettings
from pipeline.base.settings import Settings
from pipeline.training.train import training_settings

NOT_SET = {"fixed_epochs", "batch_size", "patience", "novelty_rows", "novelty_neighbours"}
"""Settings of a training that nobody should have to choose; they keep the default of `models`."""

OF_NETWORK: dict[str, Any] = {"hidden": (8, 9), "dropout": 0.21, "batch_norm": False}
OF_TRAINING: dict[str, Any] = {
    "epochs": 77,
    "learning_rate": 0.7,
    "length_scale": 0.9,
    "group_dropout": 0.33,
    "folds": 7,
    "seed": 9,
    "n_samples": 60,
    "sub_bank_size": 12,
    "fault_prior": 0.11,
    "prior_temperature": 1.9,
    "min_calibration_units": 13,
    "prior_units": 14.0,
    "method": "swag",
    "ensemble_size": 6,
    "swag_samples": 17,
    "swag_epochs": 18,
    "swag_rank": 4,
    "swag_learning_rate": 0.5,
    "tuning_budget": 3,
    "tuning_min_units": 8,
}
"""None of them a default."""


def test_every_setting_reaches_the_training_but_those_left_out_on_purpose(
    make_settings: Callable[..., Settings],
) -> None:
    made = training_settings(make_settings(**OF_TRAINING, **OF_NETWORK))
    assert {name: getattr(made, name) for name in OF_TRAINING} == OF_TRAINING
    assert {name: getattr(made.network, name) for name in OF_NETWORK} == OF_NETWORK
    defaults = TrainingSettings()
    assert {name: getattr(made, name) for name in NOT_SET} == {name: getattr(defaults, name) for name in NOT_SET}


def test_each_setting_of_a_training_is_set_or_left_out_on_purpose() -> None:
    assert {item.name for item in fields(TrainingSettings)} == {*OF_TRAINING, *NOT_SET, "network"}
    assert {item.name for item in fields(NetworkSettings)} == set(OF_NETWORK)
    assert not NOT_SET & set(Settings.model_fields)
