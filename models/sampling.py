"""Networks over blocks of windows of fixed size: what every scoring method samples with.

Every block has the same shape: the last one is padded with zeros, and so are the columns of every layer. So the same
kernels run in the same order for a window whatever else is in the run. BatchNorm is folded beforehand, hence always in
eval mode.

Columns are padded because a matrix product whose rows are no whole number of vector registers wide is finished by other
instructions in some rows than in others, depending on where in memory the row begins: with 5 outputs MKL gave two
results for the same input within one batch (torch 2.13 on an AVX-512 processor). With outputs padded by zeros to a
multiple of `WIDTH` every row takes the same path. Padded units have no weights in or out, so they add exact zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from models.network import FoldedNetwork

BLOCK = 256
"""Windows per block. Part of the arithmetic: another size may round differently."""

_FOLDED_AT_ONCE = 1 << 26
"""Masked weights kept in memory, at most (float32: 256 MiB); beyond, they are folded anew for every sub-bank."""

WIDTH: Final = 16
"""float32 values of a 512-bit register."""

FloatArray = NDArray[np.float32]


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
    masks
        Per hidden layer float32 (T, units): 0, or the scale of a kept unit.
    chunk
        Samples computed together (the sub-bank size); divides T.
    """

    def __init__(self, network: FoldedNetwork, masks: list[Tensor], chunk: int) -> None:
        wide = aligned(network)
        masks = [aligned_masks(one) for one in masks]
        self.first_weight = wide.weights[0].T.contiguous()
        self.first_bias = wide.biases[0]
        self.biases = wide.biases[1:]
        self.chunk = chunk
        self.n_samples = int(masks[0].shape[0])
        self.n_classes = network.n_classes
        self._masks = masks
        self._weights = [weight.T.contiguous() for weight in wide.weights[1:]]
        size = sum(self.n_samples * weight.numel() for weight in self._weights)
        everything = slice(0, self.n_samples)
        self._folded = (
            [self._fold(layer, everything) for layer in range(len(masks))] if size <= _FOLDED_AT_ONCE else None
        )

    def widths(self) -> list[int]:
        """Return the units of the hidden layers after the first, padded."""
        return [int(weight.shape[1]) for weight in self._weights[:-1]]

    def weight(self, layer: int, part: slice) -> Tensor:
        """Return the masked weights (samples, in, out) of the layer after hidden layer `layer`."""
        return self._fold(layer, part) if self._folded is None else self._folded[layer][part]

    def _fold(self, layer: int, part: slice) -> Tensor:
        return self._masks[layer][part][:, :, None] * self._weights[layer][None]


def point(network: FoldedNetwork) -> ThinnedNetworks:
    """Return the single deterministic network (nothing dropped): the point estimate, T = 1."""
    return ThinnedNetworks(network, [torch.ones(1, units) for units in network.hidden], 1)


class BlockSampler:
    """Runs thinned networks over one block at a time, reusing its buffers. One per thread of the caller.

    Parameters
    ----------
    networks
        From `point` or `models.methods.mc_dropout.thin`.
    """

    def __init__(self, networks: ThinnedNetworks) -> None:
        self.networks = networks
        self.n_samples = networks.n_samples
        chunk = networks.chunk
        self._first = torch.empty(BLOCK, networks.first_weight.shape[1])
        self._hidden = [torch.empty(chunk, BLOCK, width) for width in networks.widths()]
        self._logits = torch.empty(networks.n_samples, BLOCK, networks.biases[-1].shape[0])

    def sample(self, x_block: FloatArray) -> FloatArray:
        """Return the logits (T, BLOCK, C) of one block of inputs (BLOCK, n_inputs), float32.

        The returned array is a view of a buffer that the next call overwrites.
        """
        nets = self.networks
        with torch.inference_mode():
            torch.addmm(nets.first_bias, torch.from_numpy(x_block), nets.first_weight, out=self._first)
            self._first.relu_()
            for start in range(0, nets.n_samples, nets.chunk):
                part = slice(start, start + nets.chunk)
                below = self._first.expand(nets.chunk, *self._first.shape)
                for layer, buffer in enumerate(self._hidden):
                    torch.baddbmm(nets.biases[layer], below, nets.weight(layer, part), out=buffer)
                    below = buffer.relu_()
                last = len(self._hidden)
                torch.baddbmm(nets.biases[last], below, nets.weight(last, part), out=self._logits[part])
        logits: FloatArray = self._logits[:, :, : nets.n_classes].numpy()
        return logits


class JointSampler:
    """Samples several networks over a block; sample t of member m is row t * M + m.

    So M times a sub-bank are the same masks in every member: the variance between such groups is that of the masks,
    which is what a Monte Carlo standard error is about, and not that between members.
    """

    def __init__(self, networks: Sequence[ThinnedNetworks]) -> None:
        self.samplers = [BlockSampler(one) for one in networks]
        self.n_samples = sum(one.n_samples for one in self.samplers)

    def sample(self, x_block: FloatArray) -> FloatArray:
        """Return logits (T * M, BLOCK, C) of one block of inputs (BLOCK, n_inputs)."""
        logits = np.stack([one.sample(x_block) for one in self.samplers], axis=1)
        return logits.reshape(self.n_samples, *logits.shape[2:])


def blocks(n: int) -> list[slice]:
    """Return the slices of BLOCK windows (the last may be shorter) that cover `n` windows.

    >>> [(rows.start, rows.stop) for rows in blocks(300)]
    [(0, 256), (256, 300)]
    """
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def padded(x: FloatArray, rows: slice) -> FloatArray:
    """Return rows of x (n, F) as a fresh C-ordered (BLOCK, F) float32 array, padded with zeros.

    >>> padded(np.ones((3, 2), dtype=np.float32), slice(1, 3)).shape
    (256, 2)
    """
    block = np.zeros((BLOCK, x.shape[1]), dtype=np.float32)
    block[: rows.stop - rows.start] = x[rows]
    return block


def run_blocks(sampler: Sampler, x: FloatArray, n_classes: int) -> FloatArray:
    """Return the logits (T, n, C) of inputs x (n, n_inputs): bit-equal whatever other windows are in x."""
    out = np.empty((sampler.n_samples, x.shape[0], n_classes), dtype=np.float32)
    for rows in blocks(x.shape[0]):
        out[:, rows] = sampler.sample(padded(x, rows))[:, : rows.stop - rows.start]
    return out


def padded_size(n: int) -> int:
    """Return n rounded up to a multiple of `WIDTH`.

    >>> padded_size(5), padded_size(16)
    (16, 16)
    """
    return -(-n // WIDTH) * WIDTH


def aligned(network: FoldedNetwork) -> FoldedNetwork:
    """Return the network with the outputs of every layer padded by zeros to a multiple of `WIDTH`."""
    weights: list[Tensor] = []
    biases: list[Tensor] = []
    extra_inputs = 0
    for weight, bias in zip(network.weights, network.biases, strict=True):
        extra = padded_size(weight.shape[0]) - int(weight.shape[0])
        weights.append(pad(weight, (0, extra_inputs, 0, extra)))
        biases.append(pad(bias, (0, extra)))
        extra_inputs = extra
    return FoldedNetwork(tuple(weights), tuple(biases), network.dropout)


def aligned_masks(masks: Tensor) -> Tensor:
    """Return masks (T, units) with zeros for padded units.

    >>> aligned_masks(torch.ones(2, 5)).shape
    torch.Size([2, 16])
    """
    return pad(masks, (0, padded_size(masks.shape[1]) - int(masks.shape[1])))
