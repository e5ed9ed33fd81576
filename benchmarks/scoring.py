"""Scoring compared with the tutorial loop, with its own arithmetic, and with fewer samples.

    python benchmarks/scoring.py [--quick] [--json FILE]

A network of the shape of the product's default (264 features in 15 groups, 279-128-128-5, p = 0.1) is trained on
simulated windows. The loop is that of many tutorials at its best: BatchNorm in eval mode, dropout in train mode, T
passes under `no_grad` over batches of 512 scaled windows, softmax, mean and entropies. It neither scales nor measures
novelty; the product does. The floors are matrix products alone: those of T whole passes, and those of the product.

Equality comes before time: the scores are compared with float64 arithmetic on the same masks, the loop with the samples
within Monte Carlo error. Ways take turns, in one thread, by processor time;
medians of ratios over rounds and their range are given.
The error of T samples is the root mean square over windows against 4,000 independent ones.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import entr, log_softmax
from torch import Tensor, nn

from models.judging.calibration import Temperature
from models.judging.novelty import fit_novelty
from models.methods.mask_bank import draw_mask_bank
from models.model import Model
from models.network import FoldedNetwork
from models.sampling import BLOCK, BlockSampler, ThinnedNetworks, run_blocks
from models.settings import TrainingSettings
from models.threads import one_thread
from models.training.fit import Examples, fit_network
from models.training.scaler import fit_scaler

CLASSES = ("healthy", "inner", "outer", "ball", "imbalance")
N_FEATURES, N_GROUPS, N_TRAIN, REFERENCE, LOOP_BATCH, SUB_BANK = 264, 15, 4000, 4000, 512, 10
FEWER = (10, 20, 30, 50, 80, 100)
STOP_AT = (0.003, 0.005, 0.01)
SETTINGS = TrainingSettings()

FloatArray = np.ndarray[Any, np.dtype[np.float64]]


def made(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return simulated windows (n, 264) of five overlapping classes, some without a group of features, and classes."""
    y = rng.integers(0, len(CLASSES), n)
    factors = np.random.default_rng(99).normal(size=(30, N_FEATURES)) / 4
    x = rng.normal(size=(n, N_FEATURES)) + rng.normal(size=(n, 30)) @ factors
    for c in range(1, len(CLASSES)):
        x[:, 10 * c : 10 * c + 10] += 0.45 * (y == c)[:, None]
    x[rng.random(n) < 0.1, :18] = np.nan
    x[rng.random(n) < 0.05, 100:118] = np.nan
    return x.astype(np.float32), y.astype(np.int64)


def made_model() -> Model:
    """Return a model trained on simulated windows; its percentiles mean nothing."""
    x, y = made(np.random.default_rng(1), N_TRAIN)
    scaler = fit_scaler(x, tuple(f"g{i * N_GROUPS // N_FEATURES}" for i in range(N_FEATURES)))
    scaled = scaler.scale_features(x)
    examples = Examples(scaler.network_inputs(scaled), y, np.ones(len(y)))
    settings = dataclasses.replace(SETTINGS, length_scale=0.1)
    fitted = fit_network(
        examples, group=scaler.group, n_classes=len(CLASSES), healthy=0, settings=settings, epochs=12, seed=1
    )
    unit = np.array([f"u{i % 40:02d}" for i in range(len(y))])
    names = ("mutual_information", "predictive_entropy", "expected_entropy", "novelty_raw")
    return Model(
        kind="classification",
        classes=CLASSES,
        feature_names=tuple(f"f{i}" for i in range(N_FEATURES)),
        feature_version="none",
        scaler=scaler,
        network=fitted.network,
        bank=bank_of(fitted.network, 100, 0),
        temperature=Temperature(1.3, True, "made"),
        log_prior_correction=np.log([2.0, 0.75, 0.75, 0.75, 0.75]),
        fault_prior=0.05,
        novelty=fit_novelty(scaled.values, scaled.observed, unit),
        quantiles={name: np.linspace(0.0, 2.0, 101) for name in names},
    )


def bank_of(network: FoldedNetwork, n_samples: int, seed: int) -> Any:
    """Return a balanced bank of the network."""
    return draw_mask_bank(
        network.hidden, network.dropout, n_samples=n_samples, sub_bank_size=min(SUB_BANK, n_samples), seed=seed
    )


def with_samples(model: Model, n_samples: int, seed: int = 0) -> Model:
    """Return the model with another balanced bank."""
    assert model.network is not None
    return dataclasses.replace(model, bank=bank_of(model.network, n_samples, seed))


class Loop:
    """The tutorial loop over a network whose BatchNorm does nothing but cost its time."""

    def __init__(self, network: FoldedNetwork) -> None:
        layers: list[nn.Module] = []
        for weight, bias in zip(network.weights, network.biases, strict=True):
            linear = nn.Linear(weight.shape[1], weight.shape[0])
            linear.weight, linear.bias = nn.Parameter(weight), nn.Parameter(bias)
            layers += [linear, nn.BatchNorm1d(weight.shape[0], eps=0.0), nn.ReLU(), nn.Dropout(network.dropout)]
        self.net = nn.Sequential(*layers[:-3]).eval()
        for layer in self.net:
            if isinstance(layer, nn.Dropout):
                layer.train()

    def __call__(self, inputs: np.ndarray, n_samples: int = 100) -> dict[str, np.ndarray]:
        """Return mean probabilities and the split of their entropy."""
        parts = []
        for batch in torch.from_numpy(inputs).split(LOOP_BATCH):
            with torch.no_grad():
                p = torch.stack([self.net(batch).softmax(-1) for _ in range(n_samples)])
            mean = p.mean(0)
            total = -(mean * mean.log()).sum(-1)
            parts.append((mean, p[..., 1:].sum(-1).std(0), total, total + (p * p.log()).sum(-1).mean(0)))
        names = ("class_probabilities", "fault_std", "predictive_entropy", "mutual_information")
        return {name: torch.cat(columns).numpy() for name, columns in zip(names, zip(*parts, strict=True), strict=True)}


def exact(model: Model, x: np.ndarray) -> dict[str, FloatArray]:
    """Return scores in float64 by the formulas, mask by mask."""
    assert model.network is not None and model.bank is not None
    h = model.scaler.network_inputs(model.scaler.scale_features(x)).astype(np.float64)
    weights = [
        (w.double().numpy(), b.double().numpy())
        for w, b in zip(model.network.weights, model.network.biases, strict=True)
    ]
    log_p = []
    for kept in zip(*model.bank.unpack(), strict=True):
        below = h
        for (w, b), mask in zip(weights, kept, strict=False):
            below = np.maximum(below @ w.T + b, 0.0) * mask / (1.0 - model.network.dropout)
        w, b = weights[-1]
        z = (below @ w.T + b) / model.temperature.value + model.log_prior_correction
        log_p.append(log_softmax(z, axis=-1))
    logs = np.array(log_p)
    p = np.exp(logs)
    mean, fault = p.mean(axis=0), p[..., 1:].sum(axis=-1)
    total, expected = entr(mean).sum(axis=-1), -(p * logs).sum(axis=-1).mean(axis=0)
    return {
        "class_probabilities": mean,
        "fault_probability": fault.mean(axis=0),
        "fault_std": fault.std(axis=0, ddof=1),
        "fault_q05": np.quantile(fault, 0.05, axis=0),
        "fault_q95": np.quantile(fault, 0.95, axis=0),
        "predictive_entropy": total,
        "expected_entropy": expected,
        "mutual_information": total - expected,
    }


def samples_of(model: Model, n_samples: int, rng: np.random.Generator, inputs: np.ndarray) -> FloatArray:
    """Return probabilities (T, n, C) under independent masks."""
    network = model.network
    assert network is not None
    kept = [torch.from_numpy(rng.random((n_samples, units)) >= network.dropout) for units in network.hidden]
    networks = ThinnedNetworks(network, kept, 1.0 / (1.0 - network.dropout))
    logits = run_blocks(BlockSampler(networks), inputs, network.n_classes)
    return probabilities(model, logits)


def probabilities(model: Model, logits: np.ndarray) -> FloatArray:
    """Return the probabilities of logits (T, n, C)."""
    p: FloatArray = np.exp(log_softmax(logits / model.temperature.value + model.log_prior_correction, axis=-1))
    return p


def moments(p: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return fault probability and mutual information (n,) of the samples' probabilities (T, n, C)."""
    mean = p.mean(axis=0)
    return mean[:, 1:].sum(axis=-1), entr(mean).sum(axis=-1) - entr(p).sum(axis=-1).mean(axis=0)


def floors(model: Model, inputs: np.ndarray, *, dropped_only: bool) -> Callable[[], None]:
    """Return what does the matrix products of 100 samples and nothing else, on blocks of the product's size."""
    network, predictor = model.network, model.predictor
    assert network is not None and predictor is not None
    first, second, head = network.weights
    x = torch.from_numpy(inputs)
    columns = round(network.dropout * second.shape[1])
    delta = second[:, :columns].contiguous()
    hidden = [torch.rand(layer.shape[0], BLOCK) for layer in (first, second)]
    out = torch.empty(head.shape[0], BLOCK)

    def run() -> None:
        with torch.inference_mode():
            for batch in x.split(BLOCK):
                block: Tensor = batch.T if len(batch) == BLOCK else torch.zeros(first.shape[1], BLOCK)
                for t in range(predictor.n_samples):
                    if not dropped_only or t == 0:
                        torch.mm(first, block, out=hidden[0])
                        torch.mm(second, hidden[0], out=hidden[1])
                    else:
                        torch.mm(delta, hidden[0][:columns], out=hidden[1])
                    torch.mm(head, hidden[1], out=out)

    return run


def timed(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the processor seconds of each way in each round; ways take turns."""
    for way in ways.values():
        way()
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way()
            seconds[name].append(time.process_time() - start)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> dict[str, float]:
    """Return median, lowest and highest of the ratio over the rounds."""
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def equality(model: Model, loop: Loop, x: np.ndarray) -> dict[str, float]:
    """Return the largest differences of the scores from float64 arithmetic; raise where they are too large."""
    found, wanted = model.score(x), exact(model, x)
    worst = {name: float(np.abs(getattr(found, name) - values).max()) for name, values in wanted.items()}
    if max(worst.values()) > 1e-5:
        raise SystemExit(f"scores differ from float64: {worst}")
    plain = dataclasses.replace(model, temperature=Temperature(1.0, True, "made"), log_prior_correction=np.zeros(5))
    p = loop(plain.scaler.network_inputs(plain.scaler.scale_features(x)))["class_probabilities"]
    apart = np.sqrt(np.mean((p - plain.score(x).class_probabilities) ** 2))
    if apart > 0.02:
        raise SystemExit(f"the loop is {apart:.3f} from the scores: more than Monte Carlo error")
    return worst


def stopped(p: FloatArray, allowed: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return fault probability, mutual information and samples (n,) where each window stops by itself.

    A window stops at the end of the first sub-bank, from the third on, at which the standard error of its fault
    probability (from the variance between sub-banks, as `monte_carlo_se`) is at most `allowed`.
    """
    fault, mi = moments(p)
    used = np.full(p.shape[1], float(len(p)))
    by_bank = p[..., 1:].sum(axis=-1).reshape(-1, SUB_BANK, p.shape[1]).mean(axis=1)
    for n in range(len(by_bank) - 1, 2, -1):
        done = by_bank[:n].std(axis=0, ddof=1) / np.sqrt(n) <= allowed
        less, information = moments(p[: n * SUB_BANK])
        fault, mi = np.where(done, less, fault), np.where(done, information, mi)
        used = np.where(done, float(n * SUB_BANK), used)
    return fault, mi, used


def flips(mi: FloatArray, truth: FloatArray) -> float:
    """Return the share of windows that move into or out of the highest tenth of mutual information."""
    level = np.quantile(truth, 0.9)
    return float(np.mean((mi > level) != (truth > level)))


def errors(model: Model, inputs: np.ndarray, banks: int) -> dict[str, Any]:
    """Return the error of T samples in fault probability and mutual information.

    Of balanced, independent and early stopped samples; with the samples used, and the windows that other mutual
    information moves into or out of the highest tenth (`flips`): what routing reads.
    """
    rng = np.random.default_rng(5)
    assert model.network is not None
    reference = np.concatenate([samples_of(model, 200, rng, inputs) for _ in range(REFERENCE // 200)])
    p0, mi0 = moments(reference)
    sums: dict[str, list[tuple[float, ...]]] = {}
    for bank in range(banks):
        taken = {"independent 100": (*moments(samples_of(model, 100, rng, inputs)), 100)}
        for n in FEWER:
            predictor = with_samples(model, n, bank).predictor
            assert predictor is not None
            p = probabilities(model, predictor.logits(inputs))
            taken[f"balanced {n}"] = (*moments(p), n)
        taken |= {f"stopped at {allowed}": stopped(p, allowed) for allowed in STOP_AT}
        for name, (found, mi, used) in taken.items():
            squares = (float(np.mean((found - p0) ** 2)), float(np.mean((mi - mi0) ** 2)))
            sums.setdefault(name, []).append((*squares, flips(mi, mi0), float(np.mean(used))))
    means = {name: np.mean(rows, axis=0).tolist() for name, rows in sums.items()}
    return {
        name: {"probability": p**0.5, "mutual_information": mi**0.5, "flips": share, "samples": used}
        for name, (p, mi, share, used) in means.items()
    }


def measure(quick: bool) -> dict[str, Any]:
    """Measure everything in one thread.

    Returns
    -------
    dict
        JSON values: differences from float64; microseconds a window of each way (median); how many times faster than
        the loop each way is; the errors of fewer samples, and how many times faster they are.
    """
    with one_thread():
        model = made_model()
        x, _ = made(np.random.default_rng(2), (8 if quick else 20) * BLOCK)
        inputs = model.scaler.network_inputs(model.scaler.scale_features(x))
        assert model.network is not None and model.predictor is not None
        loop, predictor = Loop(model.network), model.predictor
        worst = equality(model, loop, x[:500])
        ways: dict[str, Callable[[], object]] = {
            "loop": lambda: loop(inputs),
            "product": lambda: model.score(x),
            "logits alone": lambda: predictor.logits(inputs),
            "floor, dense": floors(model, inputs, dropped_only=False),
            "floor, dropped columns": floors(model, inputs, dropped_only=True),
            "product, one window": lambda: model.score(x[:1]),
        }
        fewer = {n: with_samples(model, n) for n in FEWER}
        ways |= {f"balanced {n}": lambda one=one: one.score(x) for n, one in fewer.items()}
        rounds = 3 if quick else 15
        seconds = timed(ways, rounds)
        return {
            "difference_from_float64": worst,
            "us_per_window": {name: 1e6 * statistics.median(s) / len(x) for name, s in seconds.items()},
            "times_faster_than_loop": {
                name: ratio(seconds["loop"], s) for name, s in seconds.items() if name != "loop"
            },
            "times_slower_than_dense_floor": ratio(seconds["product"], seconds["floor, dense"]),
            "error_against_4000": errors(model, inputs[:500], 3 if quick else 20),
            "n_windows": len(x),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Scoring compared with the tutorial loop and with its floors.")
    parser.add_argument("--quick", action="store_true", help="fewer windows, rounds and banks")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    found = json.dumps(measure(arguments.quick), indent=1)
    print(found)
    if arguments.json is not None:
        arguments.json.write_text(found + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
