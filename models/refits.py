"""Networks that each did without some of the units: a committee, and how far few units leave a score open.

The folds of a training fit such networks anyway (`models.training.crossfit`); here they are kept. Their mean is better
than any of them (A. Krogh and J. Vedelsby, "Neural network ensembles, cross validation, and active learning", NeurIPS
1994), and how much they differ is how much another fleet of this size would change the score, the idea of jackknife+
and CV+ (R. F. Barber et al., "Predictive inference with the jackknife+", Annals of Statistics 49, 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.network import FoldedNetwork
from models.sampling import BlockSampler, point
from models.training.rule_prior import RulePrior
from models.training.scaler import RobustScaler

Logits = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Refit:
    """What a fold fitted: scaler, network (at its share beside the rule), and rule."""

    scaler: RobustScaler
    network: FoldedNetwork
    rule: RulePrior | None


class Committee:
    """A network and its refits over one block of windows at a time, reusing their buffers. One per thread.

    Parameters
    ----------
    network
        The one that is sampled.
    refits
        K of them, at least 1.
    names
        Of the features.
    """

    def __init__(self, network: FoldedNetwork, refits: Sequence[Refit], names: Sequence[str]) -> None:
        self._refits, self._names = refits, names
        self._own = BlockSampler(point(network))
        self._samplers = [BlockSampler(point(one.network)) for one in refits]
        self._values = np.empty(0)

    def join(self, logits: Logits, inputs: Logits, rule: Logits | float, block: Logits) -> Logits:
        """Shift sampled logits, in place, to the mean of the whole committee.

        Parameters
        ----------
        logits
            (T, BLOCK, C) samples of the network, with the rule's logits.
        inputs
            (BLOCK, n_inputs) of the network.
        rule
            (BLOCK, C) the rule's logits; 0 without a rule.
        block
            (BLOCK, F) features.

        Returns
        -------
        numpy.ndarray
            float32 (K, BLOCK, C): logits of each refit, nothing dropped.
        """
        if self._values.shape != block.shape:
            self._values = np.empty(block.shape)
        own = self._own.sample(inputs)[0] + rule
        refits = np.stack([self._logits(*one, block) for one in zip(self._refits, self._samplers, strict=True)])
        logits += (refits - own).sum(axis=0) / np.float32(len(refits) + 1)
        return refits

    def _logits(self, refit: Refit, sampler: BlockSampler, block: Logits) -> Logits:
        logits: Logits = sampler.sample(refit.scaler.network_inputs(refit.scaler.scale_features(block, self._values)))[
            0
        ]
        if refit.rule is not None:
            logits = logits + refit.rule.logits(block, self._names)
        return logits
