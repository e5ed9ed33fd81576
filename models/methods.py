"""The scoring methods behind one interface: inputs of a block in, samples of its logits out.

- ``mle``: the maximum-likelihood point estimate, dropout off, no temperature: what a network says by itself.
- ``temperature``: the same, divided by a temperature fitted on held-out units (C. Guo et al., "On calibration of modern
  neural networks", ICML 2017, section 4.2).
- ``mc_dropout``: T thinned networks (Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation", ICML 2016), see
  `models.mc_dropout`.
- ``moments``: one pass with mean and variance, see `models.moments`.
- ``swag``: K networks drawn from the path of SGD, see `models.swag`.
- ``ensemble``: M networks of other seeds, each sampled by dropout, see `models.ensemble`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.ensemble import JointSampler
from models.mask_bank import MaskBank
from models.mc_dropout import BlockSampler, Sampler, ThinnedNetworks, point, run_blocks, thin
from models.moments import MomentSampler
from models.network import FoldedNetwork

Method = Literal["mle", "temperature", "mc_dropout", "moments", "swag", "ensemble"]

METHODS: Final[tuple[Method, ...]] = ("mle", "temperature", "mc_dropout", "moments", "swag", "ensemble")

WITHOUT_SPREAD: Final = frozenset({"mle", "temperature", "moments"})
"""Methods that define a probability and no split of its uncertainty: what they do not define is null."""

WITH_MEMBERS: Final = frozenset({"swag", "ensemble"})
"""Methods that keep more networks than one."""


@dataclass(frozen=True, eq=False)
class Predictor:
    """The networks of a method, ready to run; read-only, may be shared between threads.

    Attributes
    ----------
    networks
        Thinned or whole ones; empty for ``moments``.
    folded
        The one network of ``moments``.
    group
        Samples that belong together (`sub_bank_size` of `models.predictive.summarise`).
    """

    networks: tuple[ThinnedNetworks, ...]
    folded: FoldedNetwork
    group: int

    def sampler(self) -> Sampler:
        """Return a sampler with buffers of its own, for one thread."""
        if not self.networks:
            return MomentSampler(self.folded)
        return BlockSampler(self.networks[0]) if len(self.networks) == 1 else JointSampler(self.networks)

    def logits(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (T, n, C) of inputs x (n, n_inputs): bit-equal whatever other windows are in x."""
        return run_blocks(self.sampler(), x, self.folded.n_classes)


def predictor(method: Method, network: FoldedNetwork, members: tuple[FoldedNetwork, ...], bank: MaskBank) -> Predictor:
    """Prepare the networks of a method.

    Parameters
    ----------
    method
        One of `METHODS`.
    network
        The trained network; the first member of an ensemble. ``swag`` samples its members only.
    members
        The other members of an ensemble; the networks that ``swag`` drew. Empty for the others.
    bank
        Masks for those that sample by dropout.
    """
    if method == "moments":
        return Predictor((), network, 1)
    if method in ("mle", "temperature"):
        return Predictor((point(network),), network, 1)
    if method == "swag":
        return Predictor(tuple(point(one) for one in members), network, 1)
    networks = tuple(thin(one, bank) for one in (network, *members))
    return Predictor(networks, network, bank.sub_bank_size * len(networks))
