"""Layers padded to whole vectors, so that a row's result does not depend on where in the batch it stands.

A matrix product whose rows are no whole number of vector registers wide is finished by other instructions in some rows
than in others, depending on where in memory the row begins: with 5 outputs MKL gave two results for the same input
within one batch (torch 2.13 on an AVX-512 processor). With outputs padded by zeros to a multiple of `WIDTH` every row
takes the same path. Padded units have no weights in or out, so they add exact zeros.
"""

from __future__ import annotations

from typing import Final

from torch import Tensor
from torch.nn.functional import pad

from models.network import FoldedNetwork

WIDTH: Final = 16
"""float32 values of a 512-bit register."""


def padded_size(n: int) -> int:
    """Return n rounded up to a multiple of `WIDTH`."""
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
    """Return masks (T, units) with zeros for padded units."""
    return pad(masks, (0, padded_size(masks.shape[1]) - int(masks.shape[1])))
