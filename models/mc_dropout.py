"""Monte Carlo dropout with stored masks, in blocks of fixed size.

Each mask is one thinned network (Gal & Ghahramani 2016). The masks are folded into the weights once, the first layer
is computed once per block, and every block has the same shape: the last one is padded with zeros, and so are the
columns of every layer (`models.training.aligned`). So the same kernels run in the same order for a window whatever
else is in the run. BatchNorm is folded beforehand, hence always in eval mode.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.mask_bank import MaskBank
from models.network import FoldedNetwork
from models.training.aligned import aligned, aligned_masks

BLOCK = 256
"""Windows per block. Part of the arithmetic: another size may round differently."""

_FOLDED_AT_ONCE = 1 << 26
"""Masked weights kept in memory, at most (float32: 256 MiB); beyond, they are folded anew for every sub-bank."""

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


def thin(network: FoldedNetwork, bank: MaskBank) -> ThinnedNetworks:
    """Fold the masks, scaled by 1/(1-p) as ``nn.Dropout`` does, into the layer that follows them.

    Raises
    ------
    ValueError
        The bank was drawn for other layers than the network's, or for another rate.
    """
    if bank.hidden != network.hidden or bank.dropout != network.dropout:
        raise ValueError(
            f"The mask bank (units {bank.hidden}, p={bank.dropout}) does not fit the network "
            f"(units {network.hidden}, p={network.dropout})."
        )
    scale = 1.0 / (1.0 - bank.dropout)
    masks = [torch.from_numpy(kept.astype(np.float32)) * scale for kept in bank.unpack()]
    return ThinnedNetworks(network, masks, bank.sub_bank_size)


def point(network: FoldedNetwork) -> ThinnedNetworks:
    """Return the single deterministic network (nothing dropped): the point estimate, T = 1."""
    return ThinnedNetworks(network, [torch.ones(1, units) for units in network.hidden], 1)


class BlockSampler:
    """Runs thinned networks over one block at a time, reusing its buffers. One per thread of the caller.

    Parameters
    ----------
    networks
        What `thin` or `point` returned.
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


def blocks(n: int) -> list[slice]:
    """Return the slices of BLOCK windows (the last may be shorter) that cover `n` windows."""
    return [slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK)]


def padded(x: FloatArray, rows: slice) -> FloatArray:
    """Return rows of x (n, F) as a fresh C-ordered (BLOCK, F) float32 array, padded with zeros."""
    block = np.zeros((BLOCK, x.shape[1]), dtype=np.float32)
    block[: rows.stop - rows.start] = x[rows]
    return block


def run_blocks(sampler: Sampler, x: FloatArray, n_classes: int) -> FloatArray:
    """Return the logits (T, n, C) of inputs x (n, n_inputs): bit-equal whatever other windows are in x."""
    out = np.empty((sampler.n_samples, x.shape[0], n_classes), dtype=np.float32)
    for rows in blocks(x.shape[0]):
        out[:, rows] = sampler.sample(padded(x, rows))[:, : rows.stop - rows.start]
    return out
