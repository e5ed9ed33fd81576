"""Network, folding, prior and the equality of stored masks with nn.Dropout's semantics."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from models.methods.mask_bank import draw_mask_bank
from models.methods.mc_dropout import thin
from models.network import DropoutMLP, FoldedNetwork, NetworkSettings, SeededDropout, fold
from models.sampling import BlockSampler, ThinnedNetworks, point, run_blocks
from models.training.prior import prior_strengths, weight_term


def network(*, batch_norm: bool = True, dropout: float = 0.2, seed: int = 0) -> DropoutMLP:
    settings = NetworkSettings(hidden=(16, 12), dropout=dropout, batch_norm=batch_norm)
    net = DropoutMLP(6, 3, settings, generator=torch.Generator().manual_seed(seed))
    g = torch.Generator().manual_seed(seed + 1)
    for norm in net.norms:
        assert isinstance(norm, nn.BatchNorm1d) and norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.normal_(generator=g)
        norm.running_var.uniform_(0.5, 3.0, generator=g)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 2.0, generator=g)
            norm.bias.normal_(generator=g)
    return net


def inputs(n: int = 40) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(n, 6)).astype(np.float32)


def sampled(networks: ThinnedNetworks, x: np.ndarray) -> np.ndarray:
    return run_blocks(BlockSampler(networks), x, networks.n_classes)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_folded_network_equals_eval_mode(batch_norm: bool) -> None:
    net = network(batch_norm=batch_norm).eval()
    with torch.inference_mode():
        expected = net(torch.from_numpy(inputs())).numpy()
    np.testing.assert_allclose(sampled(point(fold(net)), inputs())[0], expected, rtol=1e-4, atol=1e-5)


def test_folding_matters() -> None:
    """The test above would be empty if BatchNorm did nothing."""
    net = network().eval()
    with torch.inference_mode():
        before = net(torch.from_numpy(inputs())).numpy()
        net.norms = nn.ModuleList()
        assert np.abs(net(torch.from_numpy(inputs())).numpy() - before).max() > 0.1


def test_masks_mean_what_nn_dropout_means() -> None:
    """With a stored mask in place of nn.Dropout's own draw, the network in train mode gives the same logits."""
    net = network(batch_norm=False)
    bank = draw_mask_bank((16, 12), 0.2, n_samples=10, sub_bank_size=5, seed=4)
    masks = [torch.from_numpy(m.astype(np.float32)) for m in bank.unpack()]
    drawn = sampled(thin(fold(net), bank), inputs())
    x = torch.from_numpy(inputs())
    first, second = net.linears
    with torch.inference_mode():
        for t in range(10):
            h = torch.relu(first(x)) * masks[0][t] / (1 - 0.2)
            h = torch.relu(second(h)) * masks[1][t] / (1 - 0.2)
            np.testing.assert_allclose(drawn[t], net.head(h).numpy(), rtol=1e-4, atol=1e-5)
    assert np.ptp(drawn, axis=0).max() > 0.01


def test_seeded_dropout_scales_like_nn_dropout_and_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    layer = SeededDropout(0.25, torch.Generator().manual_seed(1)).train()
    out = layer(torch.ones(200, 500))
    assert out.unique().tolist() == [0.0, pytest.approx(1 / 0.75)]
    assert float((out == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert torch.equal(layer.eval()(torch.ones(3)), torch.ones(3))
    network()
    assert torch.equal(before, torch.random.get_rng_state())


def test_prior_strengths_are_those_of_gal_and_ghahramani() -> None:
    on_weights, on_biases = prior_strengths(length_scale=2.0, dropout=0.25, n=100)
    assert on_weights == pytest.approx(0.75 * 4 / 200)
    assert on_biases == pytest.approx(4 / 200)


def test_weight_term_takes_the_first_layers_inputs_as_not_dropped() -> None:
    net = network(batch_norm=False, dropout=0.5)
    with torch.no_grad():
        for layer in (*net.linears, net.head):
            layer.weight.zero_()
            layer.bias.zero_()
        first, second = net.linears
        first.weight[0, 0] = 1.0
        assert float(weight_term(net, length_scale=1.0, n=10)) == pytest.approx(1 / 20)
        second.weight[0, 0] = 1.0
        assert float(weight_term(net, length_scale=1.0, n=10)) == pytest.approx(1 / 20 + 0.5 / 20)


def test_mc_mean_of_a_linear_network_is_the_deterministic_output() -> None:
    """With one hidden layer the logits are linear in the mask, and a balanced bank has exactly the mean mask."""
    net = fold(
        DropoutMLP(
            6,
            3,
            NetworkSettings(hidden=(32,), dropout=0.2, batch_norm=False),
            generator=torch.Generator().manual_seed(5),
        )
    )
    bank = draw_mask_bank((32,), 0.2, n_samples=10, sub_bank_size=5, seed=4)
    drawn = sampled(thin(net, bank), inputs())
    assert drawn.std(axis=0).max() > 0.05
    np.testing.assert_allclose(drawn.mean(axis=0), sampled(point(net), inputs())[0], atol=2e-5)


def test_a_bank_of_another_network_is_refused() -> None:
    net = fold(network())
    with pytest.raises(ValueError, match="does not fit"):
        thin(net, draw_mask_bank((16, 11), 0.2, n_samples=10, sub_bank_size=5, seed=4))
    with pytest.raises(ValueError, match="does not fit"):
        thin(net, draw_mask_bank((16, 12), 0.1, n_samples=10, sub_bank_size=5, seed=4))


def test_masked_weights_folded_anew_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    net, bank = fold(network()), draw_mask_bank((16, 12), 0.2, n_samples=10, sub_bank_size=5, seed=4)
    at_once = sampled(thin(net, bank), inputs())
    monkeypatch.setattr("models.sampling._FOLDED_AT_ONCE", 0)
    np.testing.assert_array_equal(at_once, sampled(thin(net, bank), inputs()))


def test_folded_network_describes_itself() -> None:
    net: FoldedNetwork = fold(network())
    assert (net.hidden, net.n_inputs, net.n_classes, net.dropout) == ((16, 12), 6, 3, 0.2)


@pytest.mark.parametrize("wrong", [{"hidden": ()}, {"hidden": (0,)}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_impossible_networks_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        NetworkSettings(**wrong)  # type: ignore[arg-type]
