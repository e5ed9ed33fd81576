"""The dropout MLP, and its BatchNorm folded into the weights for sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class NetworkSettings:
    """Shape of the network.

    Attributes
    ----------
    hidden
        Units of each hidden layer; at least one layer.
    dropout
        Share of hidden units dropped, in [0, 1).
    batch_norm
        BatchNorm after every hidden Linear. A setting, because the weight prior of `models.training.prior` has
        little meaning for weights whose scale BatchNorm cancels.
    """

    hidden: tuple[int, ...] = (128, 128)
    dropout: float = 0.1
    batch_norm: bool = True

    def __post_init__(self) -> None:
        if not self.hidden or any(units < 1 for units in self.hidden):
            raise ValueError(f"hidden needs at least one layer of at least one unit, got {self.hidden}.")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must lie in [0, 1), got {self.dropout}.")


class SeededDropout(nn.Module):
    """Dropout whose masks come from a generator of its own, not from torch's global one.

    Same semantics as ``nn.Dropout``: in train mode a unit is kept with probability 1-p and scaled by 1/(1-p).
    """

    def __init__(self, p: float, generator: torch.Generator) -> None:
        super().__init__()
        self.p = p
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Drop units of x (any shape) in train mode; return it unchanged in eval mode."""
        if not self.training or self.p == 0.0:
            return x
        keep = torch.rand(x.shape, generator=self.generator) >= self.p
        return x * keep.to(x.dtype).div_(1.0 - self.p)


class DropoutMLP(nn.Module):
    """Blocks of Linear, BatchNorm, ReLU, Dropout and a last Linear to the class logits.

    Parameters
    ----------
    n_inputs, n_classes
        Widths at both ends.
    settings
        Hidden layers, dropout rate, BatchNorm or not.
    generator
        Source of the initial weights and of the dropout masks of training.
    """

    def __init__(self, n_inputs: int, n_classes: int, settings: NetworkSettings, *, generator: torch.Generator) -> None:
        super().__init__()
        widths = (n_inputs, *settings.hidden)
        self.linears = nn.ModuleList([_linear(a, b, generator) for a, b in pairwise(widths)])
        self.norms = nn.ModuleList([nn.BatchNorm1d(w) for w in settings.hidden] if settings.batch_norm else [])
        self.dropout = SeededDropout(settings.dropout, generator)
        self.head = _linear(widths[-1], n_classes, generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map inputs (n, n_inputs) to logits (n, n_classes)."""
        for i, linear in enumerate(self.linears):
            x = linear(x)
            if len(self.norms):
                x = self.norms[i](x)
            x = self.dropout(torch.relu(x))
        logits: Tensor = self.head(x)
        return logits


@dataclass(frozen=True, eq=False)
class FoldedNetwork:
    """Plain float32 layers of a trained network, BatchNorm already folded in.

    Attributes
    ----------
    weights
        One (out, in) matrix per layer, the head last.
    biases
        One (out,) vector per layer.
    dropout
        Share of units dropped after every hidden layer.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    dropout: float

    @property
    def hidden(self) -> tuple[int, ...]:
        """Units of each hidden layer."""
        return tuple(int(w.shape[0]) for w in self.weights[:-1])

    def scaled(self, share: float) -> FoldedNetwork:
        """Return the network whose logits are `share` times these."""
        weights, biases = list(self.weights), list(self.biases)
        weights[-1], biases[-1] = weights[-1] * share, biases[-1] * share
        return FoldedNetwork(tuple(weights), tuple(biases), self.dropout)

    @property
    def n_inputs(self) -> int:
        """Number of inputs of the first layer."""
        return int(self.weights[0].shape[1])

    @property
    def n_classes(self) -> int:
        """Number of logits."""
        return int(self.weights[-1].shape[0])


def fold(network: DropoutMLP) -> FoldedNetwork:
    """Fold BatchNorm in eval mode into the Linear before it.

    With running mean m, running variance v, gain g and shift s, BatchNorm(Wx + b) = W'x + b' where
    W' = W g / sqrt(v + eps) and b' = (b - m) g / sqrt(v + eps) + s (Ioffe & Szegedy 2015, algorithm 2). Computed
    in float64, stored in float32.

    Parameters
    ----------
    network
        A trained network; it is not changed.

    Returns
    -------
    FoldedNetwork
        Equal to ``network.eval()`` up to float32 rounding when nothing is dropped.
    """
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    for i, linear in enumerate(network.linears):
        weight, bias = _parameters(linear)
        if len(network.norms):
            norm = network.norms[i]
            assert isinstance(norm, nn.BatchNorm1d)
            assert norm.running_mean is not None and norm.running_var is not None
            gain = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
            weight = weight * gain[:, None]
            bias = (bias - norm.running_mean.double()) * gain + norm.bias.detach().double()
        weights.append(weight.float().contiguous())
        biases.append(bias.float().contiguous())
    weight, bias = _parameters(network.head)
    weights.append(weight.float().contiguous())
    biases.append(bias.float().contiguous())
    return FoldedNetwork(tuple(weights), tuple(biases), network.dropout.p)


def _linear(n_in: int, n_out: int, generator: torch.Generator) -> nn.Linear:
    """Build a Linear with He-uniform weights and zero bias, drawn from `generator` and not from global state."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, n_in, n_out)  # type: ignore[no-untyped-call]
    bound = math.sqrt(6.0 / n_in)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    return layer


def _parameters(layer: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, nn.Linear)
    return layer.weight.detach().double(), layer.bias.detach().double()
