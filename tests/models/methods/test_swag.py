"""SWAG: the distribution that is fitted to a path, and the networks drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

import models.methods.swag
from models.methods.swag import Path, draw_networks, go_on, walk
from models.network import DropoutMLP, NetworkSettings, fold
from models.settings import TrainingSettings
from models.training.fit import Examples, fit_network


def test_draws_have_the_covariance_of_the_formula() -> None:
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    iterates = torch.randn(400, 4, generator=generator, dtype=torch.float64) @ mixing.T + 5.0
    path = Path(rank=12)
    for theta in iterates:
        path.add(theta)
    np.testing.assert_allclose(path.mean, iterates.mean(dim=0))
    diagonal = iterates.var(dim=0, unbiased=False)
    deviations = torch.stack(path.deviations, dim=1)
    assert deviations.shape == (4, 12)
    expected = 0.5 * torch.diag(diagonal) + deviations @ deviations.T / (2 * 11)
    draws = torch.stack([path.draw(generator) for _ in range(20_000)])
    scale = float(expected.abs().max())
    np.testing.assert_allclose(np.cov(draws.T.numpy()), expected, atol=0.04 * scale)
    np.testing.assert_allclose(draws.mean(dim=0), path.mean, atol=0.04 * np.sqrt(scale))


def test_a_path_that_stands_still_draws_its_point() -> None:
    path = Path(rank=3)
    for _ in range(5):
        path.add(torch.tensor([1.0, -2.0]))
    np.testing.assert_allclose(path.draw(torch.Generator().manual_seed(0)), [1.0, -2.0], atol=1e-12)


def small(seed: int = 0) -> DropoutMLP:
    return DropoutMLP(3, 2, NetworkSettings(hidden=(8,), dropout=0.1), generator=torch.Generator().manual_seed(seed))


def test_batch_norm_statistics_are_gathered_for_each_draw() -> None:
    """Statistics of the training windows, whatever the network had before: a drawn network is folded with its own."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(200, 3, generator=generator) * 4.0 + 7.0
    network, path = small(), Path(rank=2)
    for _ in range(3):
        path.add(torch.nn.utils.parameters_to_vector(network.parameters()))
    network.norms[0].running_mean.fill_(100.0)  # type: ignore[union-attr, operator]
    (drawn,) = draw_networks(network, path, [x], n=1, generator=generator)
    hidden = x @ drawn.weights[0].T + drawn.biases[0]  # normed: gain 1 and shift 0 at birth
    np.testing.assert_allclose(hidden.mean(dim=0), 0.0, atol=1e-3)
    np.testing.assert_allclose(hidden.var(dim=0), 1.0, rtol=1e-2)


def test_walk_takes_an_iterate_after_every_epoch() -> None:
    network = small()
    target = torch.nn.utils.parameters_to_vector(network.parameters()).detach() + 1.0

    def run_epoch(optimiser: torch.optim.Optimizer) -> None:
        loss = (torch.nn.utils.parameters_to_vector(network.parameters()) - target).square().sum()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    path = walk(network, run_epoch, epochs=6, learning_rate=0.05, rank=4)
    assert (path.n, len(path.deviations)) == (6, 4)
    assert float((path.mean - target.double()).abs().mean()) < 0.9, "it moved towards the optimum"
    assert fold(network).n_classes == 2


def test_statistics_are_gathered_on_inputs_as_training_shows_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where training hides groups of features, so do the windows that BatchNorm statistics come from."""
    seen: list[torch.Tensor] = []
    real = models.methods.swag.draw_networks

    def spy(network: DropoutMLP, path: Path, batches: Sequence[torch.Tensor], **more: Any) -> Any:
        seen.extend(batches)
        return real(network, path, batches, **more)

    monkeypatch.setattr(models.methods.swag, "draw_networks", spy)
    rng = np.random.default_rng(0)
    inputs = np.concatenate([rng.normal(1.0, 0.1, (600, 3)), np.zeros((600, 3))], axis=1).astype(np.float32)
    for hidden in (0.0, 1.0):
        seen.clear()
        fit_network(
            Examples(inputs, (np.arange(600) % 2).astype(np.int64), np.ones(600)),
            group=np.arange(3),
            n_classes=2,
            healthy=0,
            settings=TrainingSettings(
                method="swag",
                group_dropout=hidden,
                swag_epochs=2,
                swag_samples=2,
                network=NetworkSettings(hidden=(8,)),
            ),
            epochs=1,
            seed=0,
            go_on=go_on,
        )
        shown = torch.cat(seen)
        # Each group is hidden at a rate uniform on 0 .. 1/2 in every window.
        assert float(shown[:, 3:].mean()) == pytest.approx(0.25 * hidden, abs=0.05)
        assert torch.equal(shown[:, :3] == 0.0, shown[:, 3:] == 1.0)
