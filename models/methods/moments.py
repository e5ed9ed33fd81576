"""``moments``: mean and variance pushed through the network in one pass, in place of T samples (sampling-free).

Through a Linear: mean W m + b, variance (W * W) v. Through ReLU: the moments of a rectified normal variable (B. J. Frey
and G. E. Hinton, "Variational learning in nonlinear Gaussian belief networks", Neural Computation 11, 1999). Through
dropout of rate p: mean m, variance (v + m^2) / (1 - p) - m^2. J. Postels et al., "Sampling-free epistemic uncertainty
estimation using approximated variance propagation", ICCV 2019, section 3, use the same for dropout networks.

Units are taken as uncorrelated, which the samples' are not: good for the probability, and far too small as epistemic
uncertainty (about a sixth of the sampled mutual information). So the spread of these logits is used to average the
softmax and is not reported.
"""

from __future__ import annotations

import math
from functools import cache, partial
from statistics import NormalDist
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.methods.mask_bank import MaskBank
from models.methods.method import Method, Predictor, fit_once, network_alone
from models.network import FoldedNetwork

POINTS: Final = 256
"""Quasi-random points at which the softmax of normal logits is averaged: wrong by 0.001 to 0.002 (root mean square over
logits of 2 to 10 classes), where as many random ones are wrong by 0.01. Part of the arithmetic, as are the points: a
stored model does not hold them."""

_SQRT_2 = math.sqrt(2.0)
_DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


def rectified(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and variance of max(0, z) for normal z of a mean and a variance >= 0 (any shape, alike).

    >>> mean, variance = rectified(torch.zeros(1).double(), torch.ones(1).double())
    >>> round(float(mean), 6), round(float(variance), 6)  # 1 / sqrt(2 pi), 1 / 2 - 1 / (2 pi)
    (0.398942, 0.340845)
    """
    deviation = variance.sqrt()
    certain = deviation < 1e-12
    ratio = mean / torch.where(certain, torch.ones_like(deviation), deviation)
    below = 0.5 * (1.0 + torch.erf(ratio / _SQRT_2))
    density = _DENSITY * torch.exp(-0.5 * ratio * ratio)
    first = mean * below + deviation * density
    second = (mean * mean + variance) * below + mean * deviation * density
    spread = (second - first * first).clamp_min(0.0)
    return torch.where(certain, mean.clamp_min(0.0), first), torch.where(certain, torch.zeros_like(spread), spread)


def dropped(mean: Tensor, variance: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Return the moments after dropout of rate p in [0, 1), kept units scaled by 1 / (1 - p).

    >>> mean, variance = dropped(torch.tensor(2.0), torch.tensor(0.0), 0.5)
    >>> float(mean), float(variance)
    (2.0, 4.0)
    """
    return mean, (variance + mean * mean) / (1.0 - p) - mean * mean


def logit_moments(network: FoldedNetwork, x: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Return mean and variance (C, n), float64, of the logits of inputs x (n, n_inputs) under random dropout."""
    mean = torch.from_numpy(x).double().T.contiguous()
    variance = torch.zeros_like(mean)
    last = len(network.weights) - 1
    for layer, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        w = weight.double()
        mean, variance = w @ mean + bias.double()[:, None], (w * w) @ variance
        if layer < last:
            mean, variance = dropped(*rectified(mean, variance), network.dropout)
    return mean, variance


@cache
def normal_points(n_classes: int) -> NDArray[np.float64]:
    """Return (POINTS, n_classes) standard normal quasi-random points, of mean 0 and standard deviation 1 exactly.

    Point i, from 1, has the digits of i mirrored at the radix point in base 2, 3, 5, ... (J. H. Halton, "On the
    efficiency of certain quasi-random sequences of points", Numerische Mathematik 2, 1960) under the inverse of the
    normal distribution. By our own formula: a library may change its points, and with them the scores of a model whose
    version stays.

    >>> points = normal_points(3)
    >>> points.shape, points.std(axis=0).round(6).tolist()
    ((256, 3), [1.0, 1.0, 1.0])
    """
    quantile = NormalDist().inv_cdf
    points = np.array([[quantile(mirrored(i, b)) for b in primes(n_classes)] for i in range(1, POINTS + 1)])
    points -= points.mean(axis=0)
    points /= points.std(axis=0)
    return points


def mirrored(number: int, base: int) -> float:
    """Return the digits of a number above 0 mirrored at the radix point, in (0, 1): 6 = 110 in base 2 gives 0.011.

    >>> mirrored(6, 2)  # 110 in base 2
    0.375
    """
    value, unit = 0.0, 1.0
    while number:
        unit /= base
        number, digit = divmod(number, base)
        value += digit * unit
    return value


def primes(n: int) -> list[int]:
    """Return the first n primes.

    >>> primes(5)
    [2, 3, 5, 7, 11]
    """
    smallest: list[int] = []
    candidate = 2
    while len(smallest) < n:
        if all(candidate % prime for prime in smallest):
            smallest.append(candidate)
        candidate += 1
    return smallest


class MomentSampler:
    """Logits at fixed points of the normal distribution that the moments describe, a block at a time."""

    n_samples = POINTS

    def __init__(self, network: FoldedNetwork) -> None:
        self.network = network
        self._points = torch.from_numpy(normal_points(network.n_classes))

    def sample(self, x_block: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return logits (POINTS, n, C) of a block of inputs (n, n_inputs)."""
        with torch.inference_mode():
            mean, variance = logit_moments(self.network, x_block)
            logits = mean + variance.sqrt() * self._points[:, :, None]
        sampled: NDArray[np.float32] = logits.float().numpy().transpose(0, 2, 1)
        return sampled


def sample(networks: tuple[FoldedNetwork, ...], bank: MaskBank) -> Predictor:
    """Return logits at the fixed points of the network's moments; the bank is not used."""
    (network,) = networks
    return Predictor(partial(MomentSampler, network), network.n_classes, POINTS, 1)


METHOD: Final = Method(fit=fit_once, parts=network_alone, sample=sample, spread=False, committee=True)
