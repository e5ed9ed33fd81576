"""Whether the parts of a model fit one another: what an artifact must pass before it may score.

Every check raises `ModelInvalid` with the first thing that is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.judging.calibration import Temperature
from models.judging.novelty import NoveltyReference
from models.kinds import Kind, TrainingRefused, kind_of
from models.methods.mask_bank import MaskBank
from models.methods.method import method_of
from models.network import FoldedNetwork
from models.refits import Refit
from models.training.rule_prior import RulePrior
from models.training.scaler import RobustScaler


class ModelInvalid(ValueError):
    """Parts of a model do not fit one another, or are not finite."""


def check_names(kind: Kind, classes: tuple[str, ...], feature_names: tuple[str, ...]) -> None:
    """Check that classes and kind agree, and that there are features, each by a name of its own."""
    try:
        allowed = kind_of(classes)
    except TrainingRefused as error:
        raise ModelInvalid(str(error)) from error
    _require(allowed == kind, f"kind '{kind}' does not fit the classes {list(classes)}")
    _require(
        len(feature_names) > 0 and len(set(feature_names)) == len(feature_names),
        "feature names are missing or repeated",
    )


def check_scaler(scaler: RobustScaler, *, n_features: int) -> None:
    """Check shapes, positive scales and the numbers of the groups."""
    for name in ("center", "scale", "known", "ever_missing", "group"):
        _array(f"scaler {name}", getattr(scaler, name), (n_features,))
    _require(bool((scaler.scale > 0).all()), "a scale is not positive")
    used = np.unique(scaler.group)
    _require(used[0] == 0 and used[-1] == used.size - 1, "feature groups are not numbered 0 .. G-1")


def check_network(
    kind: Kind, network: FoldedNetwork | None, bank: MaskBank | None, *, n_inputs: int, n_classes: int
) -> None:
    """Check that network and masks are there if the kind has them, and that they fit one another."""
    if kind == "baseline_only":
        _require(network is None and bank is None, "a baseline-only model has a network")
        return
    if network is None or bank is None:
        raise ModelInvalid("The model does not fit together: the network or its masks are missing.")
    _require(len(network.weights) == len(network.biases) >= 2, "the network has no hidden layer, or a bias is missing")
    width = n_inputs
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        _require(weight.dim() == 2 and int(weight.shape[1]) == width, f"layer {i} does not take {width} inputs")
        width = int(weight.shape[0])
        _array(f"weights of layer {i}", weight.numpy(), tuple(weight.shape))
        _array(f"biases of layer {i}", bias.numpy(), (width,))
    _require(width == n_classes, f"{width} outputs for {n_classes} classes")
    _require(
        bank.hidden == network.hidden and bank.dropout == network.dropout, "the mask bank was drawn for another network"
    )


def check_members(method: str, network: FoldedNetwork, members: tuple[FoldedNetwork, ...]) -> None:
    """Check that the method is known and has the members that it samples, each of the network's shape."""
    try:
        method_of(method).parts(network, members)
    except ValueError as error:
        raise ModelInvalid(f"The model does not fit together: {error}") from error
    for number, member in enumerate(members):
        _same_layers(network, member, f"member {number}")


def check_refits(refits: tuple[Refit, ...], method: str, network: FoldedNetwork | None, rule: RulePrior | None) -> None:
    """Check that only a method with a committee has refits, and that each fits the network and the rule."""
    _require(not refits or (network is not None and method_of(method).committee), f"method '{method}' has refits")
    for number, one in enumerate(refits):
        assert network is not None
        _same_layers(network, one.network, f"refit {number}")
        same = (one.rule is None) == (rule is None)
        same &= (
            one.rule is None
            or rule is None
            or replace(one.rule, weights=rule.weights, default_nats=rule.default_nats) == rule
        )
        _require(same, f"refit {number} has another rule")


def check_rule(
    rule: RulePrior, network: FoldedNetwork | None, *, feature_names: tuple[str, ...], n_classes: int
) -> None:
    """Check that the rule has an entry a class and reads features that are there."""
    _require(network is not None, "a model without a network has a rule")
    _require(len(rule.lines) == n_classes, "the rule has not one entry a class")
    _require(rule.features <= set(feature_names), "the rule reads a feature that the model does not know")


def check_calibration(
    kind: Kind,
    temperature: Temperature,
    log_prior_correction: NDArray[np.float64],
    fault_prior: float | None,
    *,
    n_classes: int,
) -> None:
    """Check temperature and priors."""
    _array("log_prior_correction", log_prior_correction, (n_classes,))
    _require(0.0 < temperature.value < float("inf"), "the temperature is not positive and finite")
    if kind == "classification":
        _require(fault_prior is not None and 0.0 < fault_prior < 1.0, "fault_prior is not in (0, 1)")
    else:
        _require(fault_prior is None, f"a '{kind}' model has a fault_prior")


def check_novelty(reference: NoveltyReference, *, n_features: int) -> None:
    """Check the shapes of the novelty reference and its number of neighbours."""
    _require(reference.components.ndim == 2 and reference.rows.ndim == 2, "the novelty reference is not a matrix")
    d = reference.components.shape[0]
    _array("novelty mean", reference.mean, (n_features,))
    _array("novelty components", reference.components, (d, n_features))
    _array("novelty shrink", reference.shrink, (d,))
    _array("novelty rows", reference.rows, (len(reference.rows), d + 1))
    _require(d >= 1 and bool((reference.shrink > 0).all()), "novelty shrink is not positive")
    _require(1 <= reference.k <= len(reference.rows), "novelty has fewer reference rows than neighbours")


def check_quantiles(kind: Kind, method: str, quantiles: Mapping[str, NDArray[np.float64]]) -> None:
    """Check that there are quantiles of just the scores that kind and method define, and that none falls."""
    expected, spread = {"novelty_raw"}, method_of(method).spread
    if kind != "baseline_only":
        expected |= {"predictive_entropy"}
        expected |= {"mutual_information", "expected_entropy"} if spread else set()
    # Models that were trained before the two questions were kept apart have no quantiles of faulty or not.
    of_fault = {"fault_mutual_information", "fault_expected_entropy"} if kind == "classification" and spread else set()
    _require(set(quantiles) - of_fault == expected, f"held-out quantiles are of {sorted(quantiles)}")
    for name, values in quantiles.items():
        _array(f"quantiles of {name}", values, (101,))
        _require(bool((np.diff(values) >= 0).all()), f"quantiles of {name} fall")


def _same_layers(network: FoldedNetwork, other: FoldedNetwork, who: str) -> None:
    _require(other.dropout == network.dropout, f"{who} has another dropout rate")
    for name in ("weights", "biases"):
        ours, theirs = getattr(network, name), getattr(other, name)
        _require(len(ours) == len(theirs), f"{who} has other layers")
        for layer, (own, its) in enumerate(zip(ours, theirs, strict=True)):
            _array(f"{name} of layer {layer} of {who}", its.numpy(), tuple(own.shape))


def _array(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    _require(array.shape == shape, f"{name} has shape {array.shape}, expected {shape}")
    _require(bool(np.isfinite(array).all()), f"{name} is not finite")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ModelInvalid(f"The model does not fit together: {otherwise}.")
