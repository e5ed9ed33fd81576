"""Balance, determinism and storage of the mask bank."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.methods.mask_bank import MaskBank, draw_mask_bank


@settings(max_examples=60, deadline=None)
@given(
    units=st.integers(1, 70),
    dropout=st.floats(0.0, 0.9),
    size=st.integers(1, 12),
    n_sub_banks=st.integers(1, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_sub_bank_is_balanced(units: int, dropout: float, size: int, n_sub_banks: int, seed: int) -> None:
    bank = draw_mask_bank((units,), dropout, n_samples=size * n_sub_banks, sub_bank_size=size, seed=seed)
    dropped = ~bank.unpack()[0]
    per_sub_bank = dropped.reshape(n_sub_banks, size, units).sum(axis=1)
    assert (per_sub_bank.max(axis=1) - per_sub_bank.min(axis=1) <= 1).all()
    assert (np.abs(per_sub_bank - dropout * size) < 1 + 1e-6).all()
    # Over units the systematic rounding keeps the mean rate too.
    assert (np.abs(per_sub_bank.mean(axis=1) - dropout * size) <= 1 / units + 1e-6).all()
    total = dropped.sum(axis=0)
    assert total.max() - total.min() <= 1
    assert (np.abs(total - dropout * size * n_sub_banks) < 1 + 1e-6).all()


def test_whole_numbers_of_drops_are_exact() -> None:
    bank = draw_mask_bank((128, 64), 0.1, n_samples=300, sub_bank_size=30, seed=0)
    for masks in bank.unpack():
        assert ((~masks).reshape(10, 30, -1).sum(axis=1) == 3).all()


def test_positions_are_random_and_layers_differ() -> None:
    first, second = draw_mask_bank((64, 64), 0.5, n_samples=10, sub_bank_size=10, seed=0).unpack()
    assert not np.array_equal(first, second)
    assert np.unique(first, axis=1).shape[1] > 50


def test_the_seed_decides() -> None:
    one, same, other = (
        draw_mask_bank((40,), 0.2, n_samples=20, sub_bank_size=10, seed=seed).packed[0] for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_masks_are_bit_packed() -> None:
    bank = draw_mask_bank((130,), 0.1, n_samples=20, sub_bank_size=10, seed=1)
    assert bank.packed[0].shape == (20, 17)
    assert bank.packed[0].dtype == np.uint8
    assert bank.unpack()[0].shape == (20, 130)
    assert (bank.n_samples, bank.n_sub_banks, bank.sub_bank_size) == (20, 2, 10)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        draw_mask_bank((8,), 0.1, n_samples=15, sub_bank_size=10, seed=0)
    with pytest.raises(ValueError, match="dropout"):
        draw_mask_bank((8,), 1.0, n_samples=10, sub_bank_size=10, seed=0)
    with pytest.raises(ValueError, match="do not fit"):
        MaskBank((np.zeros((10, 2), dtype=np.uint8),), (8,), 0.1, 10)
