"""Everything that decides how a model is trained and how it samples."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from models.methods import check_name
from models.network import NetworkSettings


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one training; frozen into the artifact.

    Attributes
    ----------
    epochs
        Most passes over the training windows.
    fixed_epochs
        Passes where there are too few units to stop early (at most `epochs`).
    learning_rate, batch_size
        Of the Adam optimiser; windows per step (fewer where that would leave an epoch less than eight steps).
    patience
        Epochs without improvement on the stopping units after which training stops.
    length_scale
        Prior length scale l, see `models.training.prior`.
    group_dropout
        Share of training windows, in [0, 1], in which some feature groups are hidden, so that the network learns to
        do without them.
    folds
        Folds of units held out in turn.
    seed
        Seed of everything random, the mask bank included.
    n_samples, sub_bank_size
        Masks T and masks per balanced sub-bank S; T is a multiple of S.
    fault_prior
        Declared share of faulty windows where scores are used, in (0, 1).
    prior_temperature
        Temperature used where the data do not identify one.
    min_calibration_units
        Held-out units needed to fit a temperature.
    prior_units
        Units of a class at which network and rule count the same where no share can be fitted, see
        `models.training.network_share`.
    method
        Scoring method, see `models.methods`.
    ensemble_size
        Members M of ``ensemble``, at least 2.
    swag_samples, swag_epochs, swag_rank, swag_learning_rate
        Of ``swag``: networks drawn K, epochs of SGD after training, deviations kept R, its learning rate.
    tuning_budget, tuning_min_units
        Candidates of `models.training.tune` tried before training, these settings among them (0 or 1: none); fewest
        units that may choose.
    novelty_rows, novelty_neighbours
        Most reference windows, and k of the k-nearest-neighbour distance.
    network
        Shape of the network.
    """

    epochs: int = 60
    fixed_epochs: int = 30
    learning_rate: float = 1e-3
    batch_size: int = 256
    patience: int = 10
    length_scale: float = 1.0
    group_dropout: float = 0.2
    folds: int = 5
    seed: int = 0
    n_samples: int = 100
    sub_bank_size: int = 10
    fault_prior: float = 0.05
    prior_temperature: float = 1.5
    min_calibration_units: int = 10
    prior_units: float = 10.0
    method: str = "mc_dropout"
    ensemble_size: int = 5
    swag_samples: int = 30
    swag_epochs: int = 20
    swag_rank: int = 10
    swag_learning_rate: float = 0.01
    tuning_budget: int = 0
    tuning_min_units: int = 10
    novelty_rows: int = 2000
    novelty_neighbours: int = 5
    network: NetworkSettings = field(default_factory=NetworkSettings)

    def __post_init__(self) -> None:
        at_least = {"epochs": 1, "fixed_epochs": 1, "batch_size": 2, "patience": 1, "folds": 2, "seed": 0}
        at_least |= {"n_samples": 2, "sub_bank_size": 1, "novelty_rows": 1, "novelty_neighbours": 1}
        at_least |= {"min_calibration_units": 2, "ensemble_size": 2}
        at_least |= {"swag_samples": 2, "swag_epochs": 2, "swag_rank": 2}
        at_least |= {"tuning_budget": 0, "tuning_min_units": 2}
        for name, least in at_least.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}.")
        if self.n_samples % self.sub_bank_size:
            raise ValueError(f"n_samples ({self.n_samples}) must be a multiple of sub_bank_size {self.sub_bank_size}.")
        check_name(self.method)
        if not 0.0 < self.fault_prior < 1.0:
            raise ValueError(f"fault_prior must lie strictly between 0 and 1, got {self.fault_prior}.")
        if not 0.0 <= self.group_dropout <= 1.0:
            raise ValueError(f"group_dropout must lie in [0, 1], got {self.group_dropout}.")
        for name in ("learning_rate", "prior_temperature", "swag_learning_rate"):
            if not 0.0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}.")
        if not 0.0 <= self.prior_units < float("inf"):
            raise ValueError(f"prior_units must be finite and not negative, got {self.prior_units}.")
        if not 0.0 <= self.length_scale < float("inf"):
            raise ValueError(f"length_scale must be finite and not negative, got {self.length_scale}.")

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        values = asdict(self)
        values["network"]["hidden"] = list(self.network.hidden)
        return values
