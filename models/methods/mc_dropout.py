"""``mc_dropout``: T thinned networks, one for each stored mask; everything is defined.

Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation", ICML 2016: each mask is one thinned network, and their
logits are samples. The masks are drawn once (`models.methods.mask_bank`) and folded into the weights once.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import torch

from models.methods.mask_bank import MaskBank
from models.methods.method import Method, Predictor, fit_once, network_alone
from models.network import FoldedNetwork
from models.sampling import BlockSampler, ThinnedNetworks


def thin(network: FoldedNetwork, bank: MaskBank) -> ThinnedNetworks:
    """Return the networks that the masks leave; kept units are scaled by 1/(1-p) as ``nn.Dropout`` does.

    Raises
    ------
    ValueError
        The bank was drawn for other layers than the network's, or for another rate.
    """
    if bank.hidden != network.hidden or bank.dropout != network.dropout:
        raise ValueError(
            f"The mask bank (units {bank.hidden}, p={bank.dropout}) does not fit the network "
            f"(units {network.hidden}, p={network.dropout})."
        )
    return ThinnedNetworks(network, [torch.from_numpy(kept) for kept in bank.unpack()], 1.0 / (1.0 - bank.dropout))


def sample(networks: tuple[FoldedNetwork, ...], bank: MaskBank) -> Predictor:
    """Sample the network with every mask of the bank."""
    (network,) = networks
    return Predictor(partial(BlockSampler, thin(network, bank)), network.n_classes, bank.n_samples, bank.sub_bank_size)


METHOD: Final = Method(fit=fit_once, parts=network_alone, sample=sample, committee=True)
