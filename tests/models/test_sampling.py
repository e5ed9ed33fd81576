"""A row's result must not depend on where in the batch it stands."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from models.judging.novelty import product
from models.methods.mask_bank import draw_mask_bank
from models.methods.mc_dropout import thin
from models.methods.moments import MomentSampler
from models.network import FoldedNetwork
from models.sampling import BLOCK, BlockSampler, aligned, padded_size, point

SHAPES = [((128, 128), 5), ((50,), 7), ((17, 33), 2), ((64, 64, 64), 3)]


def network(hidden: tuple[int, ...], n_classes: int) -> FoldedNetwork:
    generator = torch.Generator().manual_seed(3)
    sizes = (29, *hidden, n_classes)
    weights = tuple(torch.randn(out, into, generator=generator) / into**0.5 for into, out in pairwise(sizes))
    return FoldedNetwork(weights, tuple(torch.randn(out, generator=generator) for out in sizes[1:]), 0.1)


@pytest.mark.parametrize(("hidden", "n_classes"), SHAPES)
def test_one_window_in_every_place_of_a_block_gives_one_result(hidden: tuple[int, ...], n_classes: int) -> None:
    net = network(hidden, n_classes)
    bank = draw_mask_bank(hidden, dropout=0.1, n_samples=20, sub_bank_size=10, seed=1)
    block = np.tile(np.random.default_rng(2).normal(size=(1, 29)).astype(np.float32), (BLOCK, 1))
    for sampler in (BlockSampler(thin(net, bank)), BlockSampler(point(net)), MomentSampler(net)):
        found = sampler.sample(block)
        assert found.shape == (sampler.n_samples, BLOCK, n_classes)
        assert len(np.unique(found, axis=1).transpose(1, 0, 2)) == 1


@pytest.mark.parametrize(("hidden", "n_classes"), SHAPES)
def test_padding_changes_nothing_but_the_shape(hidden: tuple[int, ...], n_classes: int) -> None:
    net = network(hidden, n_classes)
    wide = aligned(net)
    x = torch.from_numpy(np.random.default_rng(2).normal(size=(5, 29)).astype(np.float32))
    plain, padded = x, x
    for layer in range(len(hidden) + 1):
        plain = plain @ net.weights[layer].T + net.biases[layer]
        padded = padded @ wide.weights[layer].T + wide.biases[layer]
        assert padded.shape[1] == padded_size(plain.shape[1])
        if layer < len(hidden):
            plain, padded = plain.relu(), padded.relu()
    torch.testing.assert_close(padded[:, :n_classes], plain)
    assert not padded[:, n_classes:].any()


@pytest.mark.parametrize(("n", "k"), [(999, 5), (999, 21), (1057, 20), (441, 132), (3, 7)])
def test_one_row_in_every_place_of_a_product_gives_one_result(n: int, k: int) -> None:
    rng = np.random.default_rng(0)
    row, other = rng.normal(size=(1, k)), rng.normal(size=(n, k))
    found = product(np.repeat(row, BLOCK, axis=0), other)
    np.testing.assert_allclose(found[:1], row @ other.T, rtol=1e-12, atol=1e-12)
    assert len(np.unique(found, axis=0)) == 1
