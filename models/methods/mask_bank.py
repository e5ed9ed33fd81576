"""The dropout masks of a model: drawn once, balanced, stored with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MaskBank:
    """T dropout masks per hidden layer, in balanced sub-banks, bit-packed.

    Attributes
    ----------
    packed
        Per hidden layer uint8 (T, ceil(units / 8)), `numpy.packbits` along the units; bit 1 = kept.
    hidden
        Units of each hidden layer.
    dropout
        Rate p for which the masks were drawn.
    sub_bank_size
        Masks per sub-bank S; T is a multiple of it. Sub-banks are independent of one another, masks within one are
        not, so a standard error comes from the variance between sub-bank means.
    """

    packed: tuple[NDArray[np.uint8], ...]
    hidden: tuple[int, ...]
    dropout: float
    sub_bank_size: int

    def __post_init__(self) -> None:
        if len(self.packed) != len(self.hidden) or not self.packed:
            raise ValueError(f"{len(self.packed)} mask arrays for {len(self.hidden)} hidden layers.")
        n = self.packed[0].shape[0]
        for masks, units in zip(self.packed, self.hidden, strict=True):
            if masks.dtype != np.uint8 or masks.shape != (n, (units + 7) // 8):
                raise ValueError(f"Masks of shape {masks.shape} ({masks.dtype}) do not fit {n} samples, {units} units.")
        _check_sizes(n, self.sub_bank_size, self.dropout)

    @property
    def n_samples(self) -> int:
        """Number of masks T per layer."""
        return int(self.packed[0].shape[0])

    @property
    def n_sub_banks(self) -> int:
        """Number of balanced sub-banks, T / S."""
        return self.n_samples // self.sub_bank_size

    def unpack(self) -> tuple[NDArray[np.bool_], ...]:
        """Return per hidden layer the masks as bool (T, units), True = kept."""
        return tuple(
            np.unpackbits(masks, axis=1, count=units).astype(bool)
            for masks, units in zip(self.packed, self.hidden, strict=True)
        )


def draw_mask_bank(
    hidden: tuple[int, ...], dropout: float, *, n_samples: int, sub_bank_size: int, seed: int
) -> MaskBank:
    """Draw a balanced bank.

    In every sub-bank of S masks each unit is dropped floor(p S) or ceil(p S) times (exactly p S where that is an
    integer), at positions drawn at random; over the whole bank each unit is dropped p T times up to one. Where p S is
    not an integer, which units get the extra drop rotates systematically over the sub-banks.

    Parameters
    ----------
    hidden
        Units of each hidden layer.
    dropout
        Rate p in [0, 1).
    n_samples
        Number of masks T, a multiple of `sub_bank_size`.
    sub_bank_size
        Masks per sub-bank S.
    seed
        Seed of the draw, at least 0; the same seed gives the same bank.

    Raises
    ------
    ValueError
        T is not a positive multiple of S, or p outside [0, 1).

    Examples
    --------
    >>> bank = draw_mask_bank((4,), 0.25, n_samples=8, sub_bank_size=4, seed=0)
    >>> (masks,) = bank.unpack()
    >>> (~masks).sum(axis=0).tolist()  # every unit is dropped p T times
    [2, 2, 2, 2]
    """
    _check_sizes(n_samples, sub_bank_size, dropout)
    rng = np.random.default_rng(seed)
    packed = []
    for units in hidden:
        kept = np.concatenate(
            [
                _draw_sub_bank(drops, sub_bank_size, rng)
                for drops in _drops_per_sub_bank(units, dropout, n_samples // sub_bank_size, sub_bank_size, rng)
            ]
        )
        packed.append(np.packbits(kept, axis=1))
    return MaskBank(tuple(packed), tuple(hidden), float(dropout), int(sub_bank_size))


def _drops_per_sub_bank(
    units: int, dropout: float, n_sub_banks: int, size: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return how often each unit is dropped in each sub-bank, (n_sub_banks, units): systematic rounding of p S."""
    offset = (rng.permutation(units) + 0.5) / units
    # Rounding guards against p S = 0.1 * 30 = 3.0000000000000004.
    edges = np.round(np.arange(n_sub_banks + 1) * dropout * size, 9)
    counts = np.floor(edges[:, None] + offset[None, :]).astype(np.int64)
    return np.diff(counts, axis=0)


def _draw_sub_bank(drops: NDArray[np.int64], size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw the masks (size, units) of one sub-bank: unit j is dropped in `drops[j]` positions chosen at random."""
    rank = np.argsort(rng.random((size, drops.size)), axis=0).argsort(axis=0)
    return rank >= drops[None, :]


def _check_sizes(n_samples: int, sub_bank_size: int, dropout: float) -> None:
    if sub_bank_size < 1 or n_samples < 1 or n_samples % sub_bank_size:
        raise ValueError(f"n_samples ({n_samples}) must be a positive multiple of sub_bank_size ({sub_bank_size}).")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"dropout must lie in [0, 1), got {dropout}.")
