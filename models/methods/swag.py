"""``swag``: a normal distribution fitted to the path of SGD, and networks drawn from it.

W. J. Maddox et al., "A simple baseline for Bayesian uncertainty in deep learning", NeurIPS 2019, section 3: after
training, SGD with a constant learning rate goes on; the mean of its iterates (SWA), their diagonal variance and the
last R deviations from the running mean give N(mean, (diagonal + D D^T / (R - 1)) / 2). K networks are drawn, and the
BatchNorm statistics of each are gathered anew on the training windows (algorithm 1), or they would be another
network's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.swa_utils import update_bn

from models.methods.mask_bank import MaskBank
from models.methods.method import Fitted, Method, Predictor, Trained, TrainOne
from models.network import DropoutMLP, FoldedNetwork, fold
from models.sampling import JointSampler, point
from models.settings import TrainingSettings

MOMENTUM = 0.9
LEAST_VARIANCE = 1e-30


@dataclass
class Path:
    """What is kept of the iterates of SGD.

    Attributes
    ----------
    rank
        Deviations that are kept, the last ones, at least 2.
    n
        Iterates so far.
    mean, square
        Means of the parameters and of their squares, float64 (P,).
    deviations
        Newest `rank` deviations of an iterate from the mean at its time, (P,) each.
    """

    rank: int
    n: int = 0
    mean: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    square: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    deviations: list[Tensor] = field(default_factory=list)

    def add(self, parameters: Tensor) -> None:
        """Take in one iterate (P,)."""
        theta = parameters.detach().double()
        if self.n == 0:
            self.mean, self.square = theta.clone(), theta * theta
        else:
            self.mean = (self.n * self.mean + theta) / (self.n + 1)
            self.square = (self.n * self.square + theta * theta) / (self.n + 1)
        self.n += 1
        self.deviations = [*self.deviations, theta - self.mean][-self.rank :]

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draw parameters (P,), float64: mean + diagonal^(1/2) z1 / sqrt 2 + D z2 / sqrt(2 (R - 1))."""
        variance = (self.square - self.mean * self.mean).clamp_min(LEAST_VARIANCE)
        z1 = torch.randn(self.mean.shape, generator=generator, dtype=torch.float64)
        drawn = self.mean + (0.5 * variance).sqrt() * z1
        r = len(self.deviations)
        if r > 1:
            z2 = torch.randn(r, generator=generator, dtype=torch.float64)
            drawn = drawn + torch.stack(self.deviations, dim=1) @ z2 / (2.0 * (r - 1)) ** 0.5
        return drawn


def walk(
    network: DropoutMLP,
    run_epoch: Callable[[torch.optim.Optimizer], object],
    *,
    epochs: int,
    learning_rate: float,
    rank: int,
) -> Path:
    """Go on with SGD from a trained network, which is changed; an iterate is taken after every epoch."""
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=MOMENTUM)
    path = Path(rank)
    for _ in range(epochs):
        run_epoch(optimiser)
        path.add(parameters_to_vector(network.parameters()))
    return path


def draw_networks(
    network: DropoutMLP, path: Path, batches: Iterable[Tensor], *, n: int, generator: torch.Generator
) -> tuple[FoldedNetwork, ...]:
    """Draw n networks, each with BatchNorm statistics of its own.

    Parameters
    ----------
    network
        Gives the shape; its parameters and statistics are overwritten.
    path
        Where the parameters come from.
    batches
        Training inputs, (b, n_inputs) each, that the statistics are gathered on.
    n
        Networks, at least 2.
    generator
        Source of the draws.
    """
    batches = list(batches)
    drawn = []
    for _ in range(n):
        vector_to_parameters(path.draw(generator).float(), network.parameters())
        if len(network.norms):
            update_bn(batches, network)
        drawn.append(fold(network))
    return tuple(drawn)


def go_on(trained: Trained) -> tuple[FoldedNetwork, ...]:
    """Walk on from a trained network by SGD and draw `swag_samples` networks from the path."""
    settings = trained.settings
    path = walk(
        trained.network,
        trained.run_epoch,
        epochs=settings.swag_epochs,
        learning_rate=settings.swag_learning_rate,
        rank=settings.swag_rank,
    )
    # As training shows them, groups hidden: statistics of whole inputs would be of another distribution.
    batches = trained.batches()
    return draw_networks(trained.network, path, batches, n=settings.swag_samples, generator=trained.generator)


def fit(train_one: TrainOne, settings: TrainingSettings) -> Fitted:
    """Train one network, and go on with it."""
    return train_one(0, go_on)


def parts(network: FoldedNetwork, members: tuple[FoldedNetwork, ...]) -> tuple[FoldedNetwork, ...]:
    """Return the networks that were drawn; the one they began from is not sampled. ValueError without any."""
    if not members:
        raise ValueError("swag needs the members that were drawn")
    return members


def sample(networks: tuple[FoldedNetwork, ...], bank: MaskBank) -> Predictor:
    """Return one sample from each network, nothing dropped; the bank is not used."""
    return Predictor(partial(JointSampler, [point(one) for one in networks]), networks[0].n_classes, len(networks), 1)


METHOD: Final = Method(fit=fit, parts=parts, sample=sample)
