"""SWAG: a normal distribution fitted to the path of SGD, and networks drawn from it.

W. J. Maddox et al., "A simple baseline for Bayesian uncertainty in deep learning", NeurIPS 2019, section 3: after
training, SGD with a constant learning rate goes on; the mean of its iterates (SWA), their diagonal variance and the
last R deviations from the running mean give N(mean, (diagonal + D D^T / (R - 1)) / 2). K networks are drawn, and the
BatchNorm statistics of each are gathered anew on the training windows (algorithm 1), or they would be another
network's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim.swa_utils import update_bn

from models.network import DropoutMLP, FoldedNetwork, fold

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
    found = []
    for _ in range(n):
        vector_to_parameters(path.draw(generator).float(), network.parameters())
        if len(network.norms):
            update_bn(batches, network)
        found.append(fold(network))
    return tuple(found)
