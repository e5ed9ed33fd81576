"""Networks that each did without some of the units: a committee, and how far few units leave a score open.

The folds of a training fit such networks anyway (`models.training.crossfit`); here they are kept. Their mean is better
than any of them (A. Krogh and J. Vedelsby, "Neural network ensembles, cross validation, and active learning", NeurIPS
1994), and how much they differ is how much another fleet of this size would change the score, the idea of jackknife+
and CV+ (R. F. Barber et al., "Predictive inference with the jackknife+", Annals of Statistics 49, 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from models.network import FoldedNetwork
from models.sampling import BLOCK
from models.training.rule_prior import RulePrior, logits_of
from models.training.scaler import RobustScaler

Logits = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Refit:
    """What a fold fitted: a network that takes the inputs of the model's own scaler, and the weights of its rule."""

    network: FoldedNetwork
    rule: RulePrior | None

    def scaled(self, share: float) -> Refit:
        """Return the refit with `share` times the network's logits."""
        return replace(self, network=self.network.scaled(share))


def rescaled(network: FoldedNetwork, own: RobustScaler, other: RobustScaler) -> FoldedNetwork:
    """Return a network for inputs of another scaler than its own, with the same logits but where values were clipped,
    are missing, or are of a feature that its own scaler does not know: that one is ignored.
    """
    weight, n = network.weights[0].double(), own.n_features
    of_features = weight[:, :n] * torch.from_numpy(np.where(own.known, 1.0 / own.scale, 0.0))
    bias = network.biases[0].double() + of_features @ torch.from_numpy(other.center - own.center)
    first = torch.cat([of_features * torch.from_numpy(other.scale), weight[:, n:]], dim=1)
    return replace(network, weights=(first.float(), *network.weights[1:]), biases=(bias.float(), *network.biases[1:]))


class Committee:
    """A network and its refits over one block of windows at a time, reusing their buffers. One per thread.

    Parameters
    ----------
    first
        The one that is sampled, with its rule.
    refits
        K of them, at least 1.
    names
        Of the features.
    """

    def __init__(self, first: Refit, refits: Sequence[Refit], names: Sequence[str]) -> None:
        all_of_them = (first, *refits)
        self._rules, self._names = [one.rule for one in all_of_them if one.rule is not None], names
        layers = range(len(first.network.weights))
        self._weights = [torch.stack([one.network.weights[i] for one in all_of_them]) for i in layers]
        self._biases = [torch.stack([one.network.biases[i] for one in all_of_them])[:, :, None] for i in layers]
        self._outs = [torch.empty(len(all_of_them), int(bias.shape[1]), BLOCK) for bias in self._biases]

    def join(self, logits: Logits, inputs: Logits, block: Logits) -> Logits:
        """Add the rule to sampled logits and shift them to the mean of the whole committee, in place.

        Parameters
        ----------
        logits
            (T, BLOCK, C) samples of the first network alone.
        inputs
            (BLOCK, n_inputs) of the networks.
        block
            (BLOCK, F) features.

        Returns
        -------
        numpy.ndarray
            float32 (K, BLOCK, C): logits of each refit with its rule, nothing dropped.
        """
        with torch.inference_mode():
            below = torch.from_numpy(inputs).T.expand(len(self._outs[0]), -1, -1)
            for weight, bias, out in zip(self._weights, self._biases, self._outs, strict=True):
                torch.baddbmm(bias, weight, below, out=out)
                below = out if out is self._outs[-1] else out.relu_()
        each: Logits = below.numpy().transpose(0, 2, 1)
        alone = each[0].copy()
        if self._rules:
            each = each + logits_of(self._rules, block, self._names)
        with np.errstate(invalid="ignore"):  # what is not finite here is told as such: `Scores.finite`
            logits += each.mean(axis=0) - alone
        return each[1:]
