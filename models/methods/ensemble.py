"""``ensemble``: M networks that differ in nothing but their random seeds, each sampled by dropout.

B. Lakshminarayanan, A. Pritzel and C. Blundell, "Simple and scalable predictive uncertainty estimation using deep
ensembles", NeurIPS 2017, section 2.4: members are trained on all data from other initial weights, and the predictive
distribution is their mean. Here each member is sampled with the same mask bank, so it is an ensemble of MC dropout
networks: the spread has both what masks and what seeds change.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Final

from models.methods.mask_bank import MaskBank
from models.methods.mc_dropout import thin
from models.methods.method import Fitted, Method, Predictor, TrainOne
from models.network import FoldedNetwork
from models.sampling import JointSampler
from models.settings import TrainingSettings


def fit(train_one: TrainOne, settings: TrainingSettings) -> Fitted:
    """Train `ensemble_size` networks; their number of epochs is the median."""
    first, *others = [train_one(number) for number in range(settings.ensemble_size)]
    epochs = max(1, round(median(one.epochs for one in (first, *others))))
    return Fitted(first.network, epochs, tuple(one.network for one in others))


def parts(network: FoldedNetwork, members: tuple[FoldedNetwork, ...]) -> tuple[FoldedNetwork, ...]:
    """Return all networks; ValueError where the artifact keeps one alone."""
    if not members:
        raise ValueError("an ensemble needs further members")
    return (network, *members)


def sample(networks: tuple[FoldedNetwork, ...], bank: MaskBank) -> Predictor:
    """Sample every network with every mask of the bank."""
    thinned = [thin(one, bank) for one in networks]
    m = len(networks)
    sampler = partial(JointSampler, thinned)
    return Predictor(sampler, networks[0].n_classes, bank.n_samples * m, bank.sub_bank_size * m)


METHOD: Final = Method(fit=fit, parts=parts, sample=sample)
