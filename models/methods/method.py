"""The interface of a scoring method: three functions and two facts. One method is one file of this folder.

- ``fit`` trains: it asks for one network or several, and may go on training one (`Trained`).
- ``parts`` picks the networks to sample from those that an artifact keeps, and refuses what is not the method's.
- ``sample`` makes of them what turns inputs into samples of logits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.methods import check_name
from models.methods.mask_bank import MaskBank
from models.network import DropoutMLP, FoldedNetwork
from models.sampling import BlockSampler, Sampler, point, run_blocks
from models.settings import TrainingSettings


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a method's training gives, BatchNorm folded.

    Attributes
    ----------
    network
        Weights after the best epoch; the first member of an ensemble.
    epochs
        Number of epochs that led to them.
    members
        Further networks that the artifact keeps; empty for most methods.
    """

    network: FoldedNetwork
    epochs: int
    members: tuple[FoldedNetwork, ...] = ()


@dataclass(frozen=True, eq=False)
class Trained:
    """A network right after its training, for a method that goes on.

    Attributes
    ----------
    network
        May be changed: its weights after the best epoch are kept already.
    run_epoch
        Runs one more epoch of the same training with an optimiser.
    batches
        Draws training inputs, (b, n_inputs) each, as an epoch shows them: in the balanced mix, groups hidden.
    generator
        Source of everything random.
    settings
        Of the training.
    """

    network: DropoutMLP
    run_epoch: Callable[[torch.optim.Optimizer], object]
    batches: Callable[[], Sequence[Tensor]]
    generator: torch.Generator
    settings: TrainingSettings


GoOn = Callable[[Trained], tuple[FoldedNetwork, ...]]
"""Goes on from a trained network; returns the members of `Fitted`."""


class TrainOne(Protocol):
    """Trains one network on the rows at hand."""

    def __call__(self, number: int, go_on: GoOn | None = None) -> Fitted:
        """Train network `number` (another number, another seed), then go on with it where asked to."""
        ...


@dataclass(frozen=True, eq=False)
class Predictor:
    """The networks of a method, ready to run; read-only, may be shared between threads.

    Attributes
    ----------
    sampler
        Makes a sampler with buffers of its own, for one thread.
    n_classes
        Number of logits.
    n_samples
        Samples of each window.
    group
        Samples that belong together (`sub_bank_size` of `models.predictive.summarise`).
    """

    sampler: Callable[[], Sampler]
    n_classes: int
    n_samples: int
    group: int

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (T, n, C) of inputs x (n, n_inputs): bit-equal whatever other windows are in x."""
        return run_blocks(self.sampler(), x, self.n_classes)


@dataclass(frozen=True, eq=False)
class Method:
    """A scoring method.

    Attributes
    ----------
    fit
        Trains its networks.
    parts
        From the network and the members that an artifact keeps to the networks that are sampled; ValueError where
        they are not what the method keeps.
    sample
        From those networks and the masks to what samples logits.
    spread
        Whether the samples are a posterior. False: a probability without a split of its uncertainty; what the method
        does not define is null.
    calibrated
        Whether a temperature, and a share beside the rule, are fitted on held-out units.
    committee
        Whether the networks of the folds are kept beside the final one, see `models.refits`.
    """

    fit: Callable[[TrainOne, TrainingSettings], Fitted]
    parts: Callable[[FoldedNetwork, tuple[FoldedNetwork, ...]], tuple[FoldedNetwork, ...]]
    sample: Callable[[tuple[FoldedNetwork, ...], MaskBank], Predictor]
    spread: bool = True
    calibrated: bool = True
    committee: bool = False


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


def fit_once(train_one: TrainOne, settings: TrainingSettings) -> Fitted:
    """Train one network: the `fit` of a method that differs from others in how it samples alone."""
    return train_one(0)


def network_alone(network: FoldedNetwork, members: tuple[FoldedNetwork, ...]) -> tuple[FoldedNetwork, ...]:
    """Return the one network: the `parts` of a method without members; ValueError where there are some."""
    if members:
        raise ValueError(f"the method has one network, and there are {len(members)} members beside it")
    return (network,)


def sample_point(networks: tuple[FoldedNetwork, ...], bank: MaskBank | None = None) -> Predictor:
    """Return the logits of the whole network, T = 1: the `sample` of a point estimate; the bank is not used."""
    (network,) = networks
    return Predictor(partial(BlockSampler, point(network)), network.n_classes, 1, 1)
