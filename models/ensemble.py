"""Ensemble: networks that differ in nothing but their random seeds, all of them asked.

B. Lakshminarayanan, A. Pritzel and C. Blundell, "Simple and scalable predictive uncertainty estimation using deep
ensembles", NeurIPS 2017, section 2.4: members are trained on all data from other initial weights, and the predictive
distribution is their mean. Here each member is sampled with the same mask bank, so it is an ensemble of MC dropout
networks: the spread has both what masks and what seeds change.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.mc_dropout import BlockSampler, ThinnedNetworks


class JointSampler:
    """Asks several networks about a block; sample t of member m is row t * M + m.

    So M times a sub-bank are the same masks in every member: the variance between such groups is that of the masks,
    which is what a Monte Carlo standard error is about, and not that between members.
    """

    def __init__(self, networks: Sequence[ThinnedNetworks]) -> None:
        self.samplers = [BlockSampler(one) for one in networks]
        self.n_samples = sum(one.n_samples for one in self.samplers)

    def sample(self, x_block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (T * M, BLOCK, C) of one block of inputs (BLOCK, n_inputs)."""
        logits = np.stack([one.sample(x_block) for one in self.samplers], axis=1)
        return logits.reshape(self.n_samples, *logits.shape[2:])
