"""The weight term of the loss, derived from a length scale.

Gal & Ghahramani 2016 ("Dropout as a Bayesian approximation", eq. 7 and appendix section 4.2): a network trained
with dropout minimises an approximation of the variational objective of a deep Gaussian process when

    loss = mean negative log likelihood + sum over layers of  lambda_W ||W||^2 + lambda_b ||b||^2

    lambda_W = (1 - p) l^2 / (2 N tau)        lambda_b = l^2 / (2 N tau)

with p the rate at which the *inputs* of that layer are dropped (0 for the first layer, whose inputs never are), l the
prior length scale (small l: weak pull, wiggly functions; large l: strong pull to zero), N the number of training
windows, and tau the model precision, which is 1 for classification. N stands in the denominator because the likelihood
is a mean and not a sum: with more data the same prior weighs less. The weight decay is therefore not a free knob: it
follows from l, p and N, and changes with each training set.
"""

from __future__ import annotations

from torch import Tensor, nn

from models.network import DropoutMLP


def prior_strengths(*, length_scale: float, dropout: float, n: int) -> tuple[float, float]:
    """Return (lambda_W, lambda_b) of one layer.

    Parameters
    ----------
    length_scale
        Prior length scale l, at least 0.
    dropout
        Rate p at which the inputs of the layer are dropped, in [0, 1).
    n
        Number of training windows N, at least 1.

    Returns
    -------
    tuple of float
        lambda_W = (1 - p) l^2 / (2 N) and lambda_b = l^2 / (2 N).

    Examples
    --------
    >>> prior_strengths(length_scale=2.0, dropout=0.25, n=100)
    (0.015, 0.02)
    """
    bias = length_scale**2 / (2.0 * n)
    return (1.0 - dropout) * bias, bias


def weight_term(network: DropoutMLP, *, length_scale: float, n: int) -> Tensor:
    """Return the weight term of the loss (scalar tensor) for N = `n` training windows.

    BatchNorm's own gain and shift are left free: they carry the scale that the prior would otherwise pull on.
    """
    first, *rest = [*network.linears, network.head]
    total = _layer_term(first, length_scale=length_scale, dropout=0.0, n=n)
    for layer in rest:
        total = total + _layer_term(layer, length_scale=length_scale, dropout=network.dropout.p, n=n)
    return total


def _layer_term(layer: nn.Module, *, length_scale: float, dropout: float, n: int) -> Tensor:
    assert isinstance(layer, nn.Linear)
    on_weights, on_biases = prior_strengths(length_scale=length_scale, dropout=dropout, n=n)
    return on_weights * layer.weight.square().sum() + on_biases * layer.bias.square().sum()
