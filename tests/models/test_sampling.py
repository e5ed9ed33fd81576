"""A row's result must not depend on where in the batch it stands."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from models.judging.novelty import NoveltyReference
from models.methods.mask_bank import draw_mask_bank
from models.methods.mc_dropout import thin
from models.methods.moments import MomentSampler
from models.network import FoldedNetwork
from models.sampling import BLOCK, BlockSampler, point

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


@pytest.mark.parametrize(("m", "k"), [(999, 5), (999, 20), (2000, 1), (441, 131), (3, 7)])
def test_one_window_in_every_place_of_a_block_has_one_distance(m: int, k: int) -> None:
    rng = np.random.default_rng(0)
    n_features = k + 9
    components = np.linalg.qr(rng.normal(size=(n_features, k)))[0].T
    reference = NoveltyReference(
        rng.normal(size=n_features), components, np.full(k, 0.1), rng.normal(size=(m, k + 1)), min(m, 5)
    )
    window, seen = rng.normal(size=(1, n_features)), rng.random((1, n_features)) < 0.8
    found = reference.distance(np.repeat(window, BLOCK, axis=0), np.repeat(seen, BLOCK, axis=0))
    assert len(np.unique(found)) == 1
