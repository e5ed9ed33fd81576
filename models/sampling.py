"""Networks over blocks of windows of fixed size: what every scoring method samples with.

Every block has the same shape: the last one is padded with zeros. So the same kernels run in the same order for a
window whatever else is in the run. BatchNorm is folded beforehand, hence always in eval mode.

Inside, windows lie along the contiguous axis. Each is a lane of its own through products, activations and statistics,
and `BLOCK` is a whole number of vector registers and of the tiles of matrix kernels (12, 24, 48), so no lane is
finished by other instructions than its neighbours. With windows as rows and 5 outputs, and with 256 windows as columns
in float64, MKL gave two results for the same input within one batch (torch 2.13).

A mask drops few units. So the second layer is computed whole once, and for each mask the columns of the dropped units
alone are taken from it: with p = 0.1 a tenth of the products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.network import FoldedNetwork

BLOCK: Final = 384
"""Windows per block. Part of the arithmetic: another size may round differently."""

_FOLDED_AT_ONCE = 1 << 26
"""Masked weights kept in memory, at most (float32: 256 MiB); beyond, they are folded anew for every block."""

FloatArray = NDArray[np.float32]
T = TypeVar("T", bound=np.generic)


class Workspace:
    """Tensors by name that are made once and used again for every block: fresh ones cost page faults. One per thread.

    >>> space = Workspace()
    >>> space("z", 2, 3) is space("z", 2, 3)
    True
    """

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def __call__(self, name: str, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Return the tensor of a name, with whatever it holds; made anew where the shape is another."""
        held = self._held.get(name)
        if held is None or held.shape != shape:
            held = self._held[name] = torch.empty(shape, dtype=dtype)
        return held


class Sampler(Protocol):
    """Samples the logits of one block of windows; may reuse its buffers from call to call."""

    n_samples: int

    def sample(self, x_block: FloatArray) -> FloatArray:
        """Return logits (n_samples, BLOCK, C) of inputs (BLOCK, n_inputs)."""
        ...


class ThinnedNetworks:
    """The sampled networks of one model, ready to run; read-only, may be shared between threads.

    Parameters
    ----------
    network
        The folded network.
    kept
        Per hidden layer bool (T, units), True = kept.
    scale
        Factor of a kept unit, 1 / (1 - p).
    """

    def __init__(self, network: FoldedNetwork, kept: Sequence[Tensor], scale: float) -> None:
        self.first_weight = network.weights[0]
        self.biases = [bias[:, None] for bias in network.biases]
        self.second_weight = network.weights[1] * scale
        self.n_samples = int(kept[0].shape[0])
        self.n_classes = network.n_classes
        self._kept = kept
        self._later = [weight * scale for weight in network.weights[2:]]
        size = self.n_samples * (self.second_weight.numel() + sum(weight.numel() for weight in self._later))
        self._folded = [self._fold(t) for t in range(self.n_samples)] if size <= _FOLDED_AT_ONCE else None

    def of_mask(self, t: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Return what mask t makes of the layers after the first.

        Dropped units of the first hidden layer int64 (k,), the second layer's columns of them with the sign turned
        (out, k), and the weights (out, in) of the layers after it, without the columns of dropped units.
        """
        return self._fold(t) if self._folded is None else self._folded[t]

    def _fold(self, t: int) -> tuple[Tensor, Tensor, list[Tensor]]:
        dropped = torch.nonzero(~self._kept[0][t])[:, 0]
        later = [weight * kept[t] for weight, kept in zip(self._later, self._kept[1:], strict=True)]
        return dropped, -self.second_weight[:, dropped], later


def point(network: FoldedNetwork) -> ThinnedNetworks:
    """Return the single deterministic network (nothing dropped): the point estimate, T = 1."""
    return ThinnedNetworks(network, [torch.ones(1, units, dtype=torch.bool) for units in network.hidden], 1.0)


class BlockSampler:
    """Runs thinned networks over one block at a time, reusing its buffers. One per thread of the caller.

    Parameters
    ----------
    networks
        From `point` or `models.methods.mc_dropout.thin`.
    logits
        Where the logits go, (T, C, BLOCK); None: a buffer of its own.
    """

    def __init__(self, networks: ThinnedNetworks, logits: Tensor | None = None) -> None:
        self.networks = networks
        self.n_samples = networks.n_samples
        first, *widths = (int(bias.shape[0]) for bias in networks.biases)
        self._first = torch.empty(first, BLOCK)
        self._second = torch.empty(widths[0], BLOCK)
        dropped = torch.empty(first, BLOCK)
        self._dropped = [dropped[:k] for k in range(first + 1)]
        hidden = [torch.empty(width, BLOCK) for width in widths[:-1]]
        self._logits = torch.empty(self.n_samples, networks.n_classes, BLOCK) if logits is None else logits
        self._outs = [[*hidden, one] for one in self._logits]

    def sample(self, x_block: FloatArray) -> FloatArray:
        """Return the logits (T, BLOCK, C) of one block of inputs (BLOCK, n_inputs), float32.

        The returned array is a view of a buffer that the next call overwrites.
        """
        nets, first, second = self.networks, self._first, self._second
        with torch.inference_mode():
            torch.addmm(nets.biases[0], nets.first_weight, torch.from_numpy(x_block).T, out=first)
            torch.addmm(nets.biases[1], nets.second_weight, first.relu_(), out=second)
            for t, outs in enumerate(self._outs):
                dropped, delta, later = nets.of_mask(t)
                units = torch.index_select(first, 0, dropped, out=self._dropped[len(dropped)])
                torch.addmm(second, delta, units, out=outs[0])
                for bias, weight, below, out in zip(nets.biases[2:], later, outs, outs[1:], strict=False):
                    torch.addmm(bias, weight, below.relu_(), out=out)
        sampled: FloatArray = self._logits.numpy().transpose(0, 2, 1)
        return sampled


class JointSampler:
    """Samples several networks over a block; sample t of member m is row t * M + m.

    So M times a sub-bank are the same masks in every member: the variance between such groups is that of the masks,
    which is what a Monte Carlo standard error is about, and not that between members.
    """

    def __init__(self, networks: Sequence[ThinnedNetworks]) -> None:
        m = len(networks)
        self.n_samples = m * networks[0].n_samples
        self._logits = torch.empty(self.n_samples, networks[0].n_classes, BLOCK)
        self.samplers = [BlockSampler(one, self._logits[number::m]) for number, one in enumerate(networks)]

    def sample(self, x_block: FloatArray) -> FloatArray:
        """Return logits (T * M, BLOCK, C) of one block of inputs (BLOCK, n_inputs)."""
        for one in self.samplers:
            one.sample(x_block)
        sampled: FloatArray = self._logits.numpy().transpose(0, 2, 1)
        return sampled


def blocks(n: int) -> list[slice]:
    """Return the slices of BLOCK windows (the last may be shorter) that cover `n` windows.

    >>> [(rows.start, rows.stop) for rows in blocks(500)]
    [(0, 384), (384, 500)]
    """
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def padded(x: NDArray[T], rows: slice) -> NDArray[T]:
    """Return rows of x (n, F) as a C-ordered (BLOCK, F) array, padded with zeros; x itself where that is all of it.

    >>> padded(np.ones((3, 2), dtype=np.float32), slice(1, 3)).shape
    (384, 2)
    """
    if rows.stop - rows.start == BLOCK:
        return np.ascontiguousarray(x[rows])
    block = np.zeros((BLOCK, x.shape[1]), dtype=x.dtype)
    block[: rows.stop - rows.start] = x[rows]
    return block


def run_blocks(sampler: Sampler, x: FloatArray, n_classes: int) -> FloatArray:
    """Return the logits (T, n, C) of inputs x (n, n_inputs): bit-equal whatever other windows are in x."""
    out = np.empty((sampler.n_samples, x.shape[0], n_classes), dtype=np.float32)
    for rows in blocks(x.shape[0]):
        out[:, rows] = sampler.sample(padded(x, rows))[:, : rows.stop - rows.start]
    return out
