"""A model as plain JSON values and arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from models.checks import ModelInvalid
from models.judging.calibration import Temperature
from models.judging.novelty import NoveltyReference
from models.methods.mask_bank import MaskBank
from models.model import Model
from models.network import FoldedNetwork
from models.refits import Refit
from models.training.rule_prior import Lines, RulePrior
from models.training.scaler import RobustScaler

Arrays = dict[str, NDArray[Any]]
T = TypeVar("T")

MEMBERS = "members.safetensors"
REFITS = "refits.safetensors"
MOST_MEMBERS = 10_000


def field_of(manifest: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """Return a value of a manifest that must be there and of a type; `ModelInvalid` where it is not.

    >>> field_of({"members": 3}, "members", int)
    3
    """
    value = manifest.get(key)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise ModelInvalid(f"'{key}' in the manifest is missing or not a {kind.__name__}.")
    return value


def _names(manifest: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = field_of(manifest, key, list)
    if not all(isinstance(value, str) for value in values):
        raise ModelInvalid(f"'{key}' in the manifest must be a list of strings.")
    return tuple(values)


def described(model: Model) -> dict[str, Any]:
    """Return everything about a model that is not an array, as JSON values."""
    network, bank = model.network, model.bank
    return {
        "kind": model.kind,
        "classes": list(model.classes),
        "feature_names": list(model.feature_names),
        "feature_version": model.feature_version,
        "temperature": {
            "value": model.temperature.value,
            "identifiable": model.temperature.identifiable,
            "reason": model.temperature.reason,
        },
        "fault_prior": model.fault_prior,
        "network": None if network is None else {"hidden": list(network.hidden), "dropout": float(network.dropout)},
        "rule": None if model.rule is None else asdict(model.rule),
        "method": model.method,
        "members": len(model.members),
        "refits": [
            {} if one.rule is None else {"weights": list(one.rule.weights), "default_nats": one.rule.default_nats}
            for one in model.refits
        ],
        "sub_bank_size": None if bank is None else bank.sub_bank_size,
        "n_samples": None if bank is None else bank.n_samples,
        "novelty_neighbours": model.novelty.k,
        "training_data_hash": model.training_data_hash,
        "settings": dict(model.settings),
        "metrics": dict(model.metrics),
    }


def arrays_of(model: Model) -> dict[str, Arrays]:
    """Return the arrays of a model by file."""
    scaler, novelty = model.scaler, model.novelty
    out: dict[str, Arrays] = {
        "scaler.safetensors": {
            name: getattr(scaler, name) for name in ("center", "scale", "known", "ever_missing", "group")
        },
        "novelty.safetensors": {name: getattr(novelty, name) for name in ("mean", "components", "shrink", "rows")},
        "calibration.safetensors": {
            "log_prior_correction": model.log_prior_correction,
            **{f"quantiles.{name}": values for name, values in model.quantiles.items()},
        },
    }
    if model.network is not None and model.bank is not None:
        out["weights.safetensors"] = _of_network(model.network)
        if model.members:
            out[MEMBERS] = _numbered([_of_network(one) for one in model.members])
        if model.refits:
            out[REFITS] = _numbered([_of_network(one.network) for one in model.refits])
        out["masks.safetensors"] = {f"layer.{i}": masks for i, masks in enumerate(model.bank.packed)}
    return {name: {key: np.ascontiguousarray(a) for key, a in arrays.items()} for name, arrays in out.items()}


def _of_network(network: FoldedNetwork) -> Arrays:
    weights = {f"weight.{i}": w.numpy() for i, w in enumerate(network.weights)}
    return {**weights, **{f"bias.{i}": b.numpy() for i, b in enumerate(network.biases)}}


def _numbered(parts: list[Arrays]) -> Arrays:
    return {f"{number}.{name}": array for number, part in enumerate(parts) for name, array in part.items()}


def rebuilt(manifest: dict[str, Any], files: dict[str, Arrays]) -> Model:
    """Build a model from what `described` and `arrays_of` returned.

    `Model` itself checks that its parts fit one another.

    Raises
    ------
    ModelInvalid
        Something is missing, superfluous, of another type, or does not fit.
    """
    temperature = field_of(manifest, "temperature", dict)
    calibration = files["calibration.safetensors"]
    network, bank = _rebuild_network(manifest, files)
    rule = _rebuild_rule(manifest)
    fault_prior = None if manifest.get("fault_prior") is None else field_of(manifest, "fault_prior", float)
    kind: Any = field_of(manifest, "kind", str)
    scaler, novelty = files["scaler.safetensors"], files["novelty.safetensors"]
    f64 = np.dtype(np.float64)
    model = Model(
        kind=kind,
        classes=_names(manifest, "classes"),
        feature_names=_names(manifest, "feature_names"),
        feature_version=field_of(manifest, "feature_version", str),
        scaler=RobustScaler(
            _typed(scaler, "center", f64),
            _typed(scaler, "scale", f64),
            _typed(scaler, "known", np.dtype(bool)),
            _typed(scaler, "ever_missing", np.dtype(bool)),
            _typed(scaler, "group", np.dtype(np.int64)),
        ),
        network=network,
        bank=bank,
        temperature=Temperature(
            field_of(temperature, "value", float),
            field_of(temperature, "identifiable", bool),
            field_of(temperature, "reason", str),
        ),
        log_prior_correction=_typed(calibration, "log_prior_correction", f64),
        fault_prior=fault_prior,
        novelty=NoveltyReference(
            _typed(novelty, "mean", f64),
            _typed(novelty, "components", f64),
            _typed(novelty, "shrink", f64),
            _typed(novelty, "rows", f64),
            field_of(manifest, "novelty_neighbours", int),
        ),
        quantiles={
            name.removeprefix("quantiles."): _typed(calibration, name, f64)
            for name in calibration
            if name != "log_prior_correction"
        },
        rule=rule,
        method=field_of(manifest, "method", str),
        members=_rebuild_members(manifest, files, network),
        refits=_rebuild_refits(manifest, files, network, rule),
        training_data_hash=field_of(manifest, "training_data_hash", str),
        settings=field_of(manifest, "settings", dict),
        metrics=field_of(manifest, "metrics", dict),
    )
    if {n: set(a) for n, a in arrays_of(model).items()} != {n: set(a) for n, a in files.items()}:
        raise ModelInvalid("A file of the artifact holds arrays that no model has.")
    return model


def _rebuild_network(
    manifest: dict[str, Any], files: dict[str, Arrays]
) -> tuple[FoldedNetwork | None, MaskBank | None]:
    if manifest.get("network") is None:
        return None, None
    shape = field_of(manifest, "network", dict)
    hidden, dropout = tuple(field_of(shape, "hidden", list)), field_of(shape, "dropout", float)
    masks = files["masks.safetensors"]
    network = _rebuild_layers(files["weights.safetensors"], "", len(hidden) + 1, dropout)
    if network.hidden != hidden:
        raise ModelInvalid(f"The weights have hidden layers {network.hidden}, the manifest says {hidden}.")
    packed = tuple(_typed(masks, f"layer.{i}", np.dtype(np.uint8)) for i in range(len(hidden)))
    bank = MaskBank(packed, network.hidden, dropout, field_of(manifest, "sub_bank_size", int))
    if bank.n_samples != field_of(manifest, "n_samples", int):
        raise ModelInvalid(f"There are {bank.n_samples} masks, the manifest says {manifest['n_samples']}.")
    return network, bank


def _rebuild_members(
    manifest: dict[str, Any], files: dict[str, Arrays], network: FoldedNetwork | None
) -> tuple[FoldedNetwork, ...]:
    n = field_of(manifest, "members", int)
    if not 0 <= n <= MOST_MEMBERS or (n > 0 and network is None):
        raise ModelInvalid(f"A model cannot have {n} members.")
    if n == 0 or network is None:
        return ()
    layers = len(network.weights)
    return tuple(_rebuild_layers(files[MEMBERS], f"{m}.", layers, network.dropout) for m in range(n))


def _rebuild_refits(
    manifest: dict[str, Any], files: dict[str, Arrays], network: FoldedNetwork | None, rule: RulePrior | None
) -> tuple[Refit, ...]:
    listed = field_of(manifest, "refits", list)
    if len(listed) > MOST_MEMBERS or (listed and network is None):
        raise ModelInvalid(f"A model cannot have {len(listed)} refits.")
    refits = []
    for number, entry in enumerate(listed):
        assert network is not None
        if not isinstance(entry, dict) or set(entry) != (set() if rule is None else {"weights", "default_nats"}):
            raise ModelInvalid("An entry of 'refits' in the manifest is not what the rule needs.")
        own = None if rule is None else replace(rule, **_rebuild_weights(entry))
        layers = _rebuild_layers(files[REFITS], f"{number}.", len(network.weights), network.dropout)
        refits.append(Refit(layers, own))
    return tuple(refits)


def _rebuild_layers(arrays: Arrays, prefix: str, layers: int, dropout: float) -> FoldedNetwork:
    weights, biases = (
        tuple(torch.from_numpy(_typed(arrays, f"{prefix}{name}.{i}", np.dtype(np.float32))) for i in range(layers))
        for name in ("weight", "bias")
    )
    return FoldedNetwork(weights, biases, dropout)


def _rebuild_rule(manifest: dict[str, Any]) -> RulePrior | None:
    if manifest.get("rule") is None:
        return None
    rule = field_of(manifest, "rule", dict)
    return RulePrior(
        lines=_rebuild_lines(rule),
        **_rebuild_weights(rule),
        evidence=_rebuild_words(rule, "evidence"),
        others=_rebuild_words(rule, "others"),
        default_db=field_of(rule, "default_db", float),
        db_per_nat=field_of(rule, "db_per_nat", float),
        change_prefix=field_of(rule, "change_prefix", str),
    )


def _rebuild_weights(rule: dict[str, Any]) -> dict[str, Any]:
    weights = field_of(rule, "weights", list)
    if not all(isinstance(weight, float) for weight in weights):
        raise ModelInvalid("'weights' of the rule in the manifest must be a list of numbers.")
    return {"weights": tuple(weights), "default_nats": field_of(rule, "default_nats", float)}


def _rebuild_words(rule: dict[str, Any], name: str) -> tuple[str, ...]:
    words = field_of(rule, name, list)
    if not all(isinstance(word, str) for word in words):
        raise ModelInvalid(f"'{name}' of the rule in the manifest must be a list of strings.")
    return tuple(words)


def _rebuild_lines(rule: dict[str, Any]) -> tuple[Lines, ...]:
    lines = field_of(rule, "lines", list)
    terms = [term for own in lines if isinstance(own, list) for term in own]
    words = [word for term in terms if isinstance(term, list) for word in term]
    if not all(isinstance(one, list) for one in (*lines, *terms)) or not all(isinstance(one, str) for one in words):
        raise ModelInvalid("'lines' of the rule in the manifest must be lists of lists of lists of strings.")
    return tuple(tuple(tuple(term) for term in own) for own in lines)


def _typed(arrays: Arrays, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a writable array of the expected type."""
    if name not in arrays or arrays[name].dtype != dtype:
        raise ModelInvalid(f"The array '{name}' is missing or not of type {dtype}.")
    return arrays[name].copy()
