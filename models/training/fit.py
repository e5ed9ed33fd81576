"""Fitting one dropout MLP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.judging.calibration import target_mask
from models.kinds import TrainingRefused
from models.methods.method import Fitted, GoOn, Trained
from models.network import DropoutMLP, fold
from models.settings import TrainingSettings
from models.training.prior import weight_term

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Examples:
    """Windows to fit, or to decide when to stop.

    Attributes
    ----------
    inputs
        float32 (n, F + G): scaled features, then the missing share of each group.
    y
        int64 (n,) class index, or UNKNOWN_MODE.
    weight
        float64 (n,) balanced weights, > 0.
    offset
        float32 (n, C) added to the network's logits (`models.training.rule_prior`), or None.
    """

    inputs: NDArray[np.float32]
    y: NDArray[np.int64]
    weight: FloatArray
    offset: NDArray[np.float32] | None = None


STOPPING_TEMPERATURES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6, 8.0)
"""A temperature is fitted after training, so training must not stop because of what the temperature corrects: on
units not seen, the plain NLL rises with overconfidence long before the network stops learning to separate the
classes."""


def nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log likelihood (n,), nats, of targets (n, C), bool: the classes that may be the truth.

    One True is the usual cross entropy; all fault classes True is "fault, mode unknown": -log of their summed
    probability.

    >>> logits, fault = torch.zeros(1, 3), torch.tensor([[False, True, True]])
    >>> round(float(nll(logits, fault)), 6)  # -log(2 / 3)
    0.405465
    """
    return logits.logsumexp(-1) - logits.masked_fill(~targets, -torch.inf).logsumexp(-1)


def fit_network(
    examples: Examples,
    *,
    group: NDArray[np.int64],
    n_classes: int,
    healthy: int | None,
    settings: TrainingSettings,
    epochs: int,
    seed: int,
    stop: Examples | None = None,
    go_on: GoOn | None = None,
    on_epoch: Callable[[float], None] | None = None,
) -> Fitted:
    """Fit a network by Adam on mean NLL + weight term (`models.training.prior`).

    Each epoch draws windows in proportion to their weight (systematic resampling), so batches show the balanced mix.

    Parameters
    ----------
    examples
        Windows to fit; at least two.
    group
        int64 (F,) group of each feature, for hiding whole groups.
    n_classes, healthy
        Number of classes; index of the healthy one, or None.
    settings
        Learning rate, batch size, patience, length scale, group dropout, network.
    epochs
        Epochs at most.
    seed
        Seed of initial weights, batches, dropout and hidden groups.
    stop
        Windows of *other units* that decide when to stop; the best epoch on them is restored. Without them all
        `epochs` are run.
    go_on
        Goes on from the trained network, for a method that keeps members.
    on_epoch
        Called with the share of `epochs` done.

    Raises
    ------
    TrainingRefused
        The loss became non-finite.
    """
    generator = torch.Generator().manual_seed(seed)
    n = examples.y.size
    network = DropoutMLP(examples.inputs.shape[1], n_classes, settings.network, generator=generator)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    inputs, targets, offset = _tensors(examples, n_classes, healthy)
    groups = torch.from_numpy(group)
    mass = torch.from_numpy(np.cumsum(examples.weight) / examples.weight.sum())
    # At least eight steps an epoch where there are windows for it, or a small set would hardly move in an epoch.
    n_steps = max(1, round(n / settings.batch_size), min(8, n // 16))

    def run_epoch(stepper: torch.optim.Optimizer) -> None:
        network.train()
        for rows in torch.tensor_split(_draw(mass, n, generator), n_steps):
            batch = _hide_groups(inputs[rows], groups, settings.group_dropout, generator)
            loss = nll(network(batch) + offset[rows], targets[rows]).mean()
            loss = loss + weight_term(network, length_scale=settings.length_scale, n=n)
            stepper.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            stepper.step()
        if not bool(torch.isfinite(loss)):
            raise TrainingRefused(f"The training loss became {float(loss.detach())}; lower the learning rate.")

    def draw_batches() -> Sequence[Tensor]:
        shown = _hide_groups(inputs[_draw(mass, n, generator)], groups, settings.group_dropout, generator)
        return torch.tensor_split(shown, n_steps)

    best, best_loss, best_epoch = _copy(network), float("inf"), 0
    for epoch in range(1, epochs + 1):
        run_epoch(optimiser)
        if on_epoch is not None:
            on_epoch(epoch / epochs)
        if stop is None:
            continue
        held_out = _loss(network, stop, n_classes, healthy)
        if held_out < best_loss:
            best, best_loss, best_epoch = _copy(network), held_out, epoch
        elif epoch - best_epoch >= settings.patience:
            break
    if stop is not None:
        network.load_state_dict(best)
    folded = fold(network)
    members = () if go_on is None else go_on(Trained(network, run_epoch, draw_batches, generator, settings))
    if not all(bool(torch.isfinite(t).all()) for one in (folded, *members) for t in (*one.weights, *one.biases)):
        raise TrainingRefused("The trained weights are not finite; lower the learning rate.")
    return Fitted(folded, best_epoch if stop is not None else epochs, members)


def _tensors(examples: Examples, n_classes: int, healthy: int | None) -> tuple[Tensor, Tensor, Tensor]:
    offset = np.zeros((examples.y.size, n_classes), np.float32) if examples.offset is None else examples.offset
    targets = target_mask(examples.y, n_classes, healthy)
    return torch.from_numpy(examples.inputs), torch.from_numpy(targets), torch.from_numpy(offset)


def _draw(mass: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Draw n row indices in proportion to weight, in random order: systematic resampling of the cumulative mass."""
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    rows = torch.searchsorted(mass, (torch.arange(n) + start) / n).clamp_(max=n - 1)
    return rows[torch.randperm(n, generator=generator)]


def _hide_groups(batch: Tensor, group: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Hide random feature groups in a `share` of the windows: up to half of the groups, each with its indicator set."""
    n_features = group.numel()
    n_groups = batch.shape[1] - n_features
    if share == 0.0 or n_groups < 2:
        return batch
    chosen = torch.rand(batch.shape[0], 1, generator=generator) < share
    rate = 0.5 * torch.rand(batch.shape[0], 1, generator=generator)
    hidden = (torch.rand(batch.shape[0], n_groups, generator=generator) < rate) & chosen
    values = batch[:, :n_features].masked_fill(hidden[:, group], 0.0)
    return torch.cat([values, batch[:, n_features:].masked_fill(hidden, 1.0)], dim=1)


def _loss(network: DropoutMLP, examples: Examples, n_classes: int, healthy: int | None) -> float:
    """Return the weighted mean NLL of the network in eval mode, at the best of `STOPPING_TEMPERATURES`."""
    network.eval()
    inputs, targets, offset = _tensors(examples, n_classes, healthy)
    with torch.inference_mode():
        logits = (network(inputs) + offset).double()
        losses = torch.stack([nll(logits / temperature, targets) for temperature in STOPPING_TEMPERATURES])
    weight = torch.from_numpy(examples.weight)
    value = float((losses @ weight).min() / weight.sum())
    if not np.isfinite(value):
        raise TrainingRefused(f"The loss on the stopping units became {value}; lower the learning rate.")
    return value


def _copy(network: DropoutMLP) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
