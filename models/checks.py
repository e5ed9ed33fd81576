"""Whether the parts of a model fit one another: what an artifact must pass before it may score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.kinds import TrainingRefused, kind_of
from models.methods import METHODS, WITH_MEMBERS, WITHOUT_SPREAD
from models.network import FoldedNetwork

if TYPE_CHECKING:
    from models.model import Model


class ModelInvalid(ValueError):
    """Parts of a model do not fit one another, or are not finite."""


def check_model(model: Model) -> None:
    """Check shapes, ranges and finiteness of every part.

    Raises
    ------
    ModelInvalid
        With the first thing found wrong.
    """
    _check_names(model)
    _check_scaler(model)
    _check_network(model)
    _check_rule(model)
    _check_calibration(model)
    _check_novelty(model)


def _check_names(model: Model) -> None:
    try:
        kind = kind_of(model.classes)
    except TrainingRefused as error:
        raise ModelInvalid(str(error)) from error
    _require(kind == model.kind, f"kind '{model.kind}' does not fit the classes {list(model.classes)}")
    names = model.feature_names
    _require(len(names) > 0 and len(set(names)) == len(names), "feature names are missing or repeated")


def _check_scaler(model: Model) -> None:
    scaler, shape = model.scaler, (len(model.feature_names),)
    for name in ("center", "scale", "known", "ever_missing", "group"):
        _array(f"scaler {name}", getattr(scaler, name), shape)
    _require(bool((scaler.scale > 0).all()), "a scale is not positive")
    used = np.unique(scaler.group)
    _require(used[0] == 0 and used[-1] == used.size - 1, "feature groups are not numbered 0 .. G-1")


def _check_network(model: Model) -> None:
    network, bank = model.network, model.bank
    if model.kind == "baseline_only":
        _require(network is None and bank is None, "a baseline-only model has a network")
        return
    if network is None or bank is None:
        raise ModelInvalid("The model does not fit together: the network or its masks are missing.")
    _require(len(network.weights) == len(network.biases) >= 2, "the network has no hidden layer, or a bias is missing")
    width = model.scaler.n_features + model.scaler.n_groups
    for i, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        _require(weight.dim() == 2 and int(weight.shape[1]) == width, f"layer {i} does not take {width} inputs")
        width = int(weight.shape[0])
        _array(f"weights of layer {i}", weight.numpy(), tuple(weight.shape))
        _array(f"biases of layer {i}", bias.numpy(), (width,))
    _require(width == len(model.classes), f"{width} outputs for {len(model.classes)} classes")
    _check_members(model, network)
    _require(
        bank.hidden == network.hidden and bank.dropout == network.dropout, "the mask bank was drawn for another network"
    )


def _check_members(model: Model, network: FoldedNetwork) -> None:
    _require(model.method in METHODS, f"'{model.method}' is no scoring method")
    _require(bool(model.members) == (model.method in WITH_MEMBERS), f"{len(model.members)} members for {model.method}")
    for number, member in enumerate(model.members):
        _require(member.dropout == network.dropout, f"member {number} has another dropout rate")
        for name in ("weights", "biases"):
            ours, theirs = getattr(network, name), getattr(member, name)
            _require(len(ours) == len(theirs), f"member {number} has other layers")
            for layer, (own, other) in enumerate(zip(ours, theirs, strict=True)):
                _array(f"{name} of layer {layer} of member {number}", other.numpy(), tuple(own.shape))


def _check_rule(model: Model) -> None:
    rule = model.rule
    if rule is None:
        return
    _require(model.network is not None, "a model without a network has a rule")
    _require(len(rule.features) == len(model.classes), "the rule has not one entry a class")
    known = set(model.feature_names) | {None}
    _require({*rule.features, *rule.others} <= known, "the rule reads a feature that the model does not know")


def _check_calibration(model: Model) -> None:
    _array("log_prior_correction", model.log_prior_correction, (len(model.classes),))
    _require(0.0 < model.temperature.value < float("inf"), "the temperature is not positive and finite")
    if model.kind == "classification":
        _require(model.fault_prior is not None and 0.0 < model.fault_prior < 1.0, "fault_prior is not in (0, 1)")
    else:
        _require(model.fault_prior is None, f"a '{model.kind}' model has a fault_prior")


def _check_novelty(model: Model) -> None:
    reference = model.novelty
    n_features = len(model.feature_names)
    _require(reference.components.ndim == 2 and reference.rows.ndim == 2, "the novelty reference is not a matrix")
    d = reference.components.shape[0]
    _array("novelty mean", reference.mean, (n_features,))
    _array("novelty components", reference.components, (d, n_features))
    _array("novelty shrink", reference.shrink, (d,))
    _array("novelty rows", reference.rows, (len(reference.rows), d + 1))
    _require(d >= 1 and bool((reference.shrink > 0).all()), "novelty shrink is not positive")
    _require(1 <= reference.k <= len(reference.rows), "novelty has fewer reference rows than neighbours")
    expected = {"novelty_raw"}
    if model.kind != "baseline_only":
        expected |= {"predictive_entropy"}
        expected |= set() if model.method in WITHOUT_SPREAD else {"mutual_information", "expected_entropy"}
    _require(set(model.quantiles) == expected, f"held-out quantiles are of {sorted(model.quantiles)}")
    for name, values in model.quantiles.items():
        _array(f"quantiles of {name}", values, (101,))
        _require(bool((np.diff(values) >= 0).all()), f"quantiles of {name} fall")


def _array(name: str, array: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    _require(array.shape == shape, f"{name} has shape {array.shape}, expected {shape}")
    _require(bool(np.isfinite(array).all()), f"{name} is not finite")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ModelInvalid(f"The model does not fit together: {otherwise}.")
