"""Monte Carlo error of T samples: balanced sub-banks compared with independent masks, and dropout in train mode.

`python benchmarks/monte_carlo_error.py`: a network (64-256-256-128-2, p = 0.1) is trained on simulated windows of two
overlapping classes. 500 new windows are scored with 20,000 independent samples (the reference) and with banks of 10,
30, 100 and 300 samples, twenty banks of each kind. Prints root mean squared errors of the mean probability and of the
mutual information, the share of windows on the other side of probability 1/2, and the error of the mean of all windows.

Then the whole network runs in train mode with 100 passes, as in many tutorials: BatchNorm then uses the statistics of
the batch. The same 128 windows are scored in a mixed batch and in a batch of one class.
"""

from __future__ import annotations

import numpy as np
import torch

from models.methods.mask_bank import draw_mask_bank
from models.methods.mc_dropout import thin
from models.network import DropoutMLP, FoldedNetwork, NetworkSettings
from models.sampling import BlockSampler, ThinnedNetworks, run_blocks
from models.settings import TrainingSettings
from models.training.fit import Examples, fit_network

SHAPE = NetworkSettings(hidden=(256, 256, 128), dropout=0.1)
N_FEATURES, N_TRAIN, N_WINDOWS, REFERENCE, BANKS, SUB_BANK = 64, 2000, 500, 20_000, 20, 10


def made(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return simulated windows of two overlapping classes, (n, 64), and their classes (n,)."""
    y = rng.integers(0, 2, n)
    x = rng.standard_normal((n, N_FEATURES))
    x[:, :8] += 0.45 * (2 * y[:, None] - 1)
    x[:, 8] *= 1.0 + y
    return x.astype(np.float32), y.astype(np.int64)


def moments_of(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of class 1 and the entropy in nats, both summed over the samples; (n,) each."""
    z = logits[..., 1].astype(np.float64) - logits[..., 0]
    p = 1.0 / (1.0 + np.exp(-z))
    return p.sum(axis=0), entropy(p).sum(axis=0)


def entropy(p: np.ndarray) -> np.ndarray:
    """Return the entropy in nats of two classes, p being the probability of one of them."""
    q = np.clip(p, 1e-15, 1 - 1e-15)
    nats: np.ndarray = -(q * np.log(q) + (1 - q) * np.log(1 - q))
    return nats


def independent(network: FoldedNetwork, n_samples: int, rng: np.random.Generator) -> ThinnedNetworks:
    """Return networks thinned by independent masks."""
    kept = [torch.from_numpy(rng.uniform(size=(n_samples, units)) >= network.dropout) for units in network.hidden]
    return ThinnedNetworks(network, kept, 1.0 / (1.0 - network.dropout))


def sampled(networks: ThinnedNetworks, x: np.ndarray) -> np.ndarray:
    """Return the logits (T, n, C) of n windows."""
    return run_blocks(BlockSampler(networks), x, networks.n_classes)


def scored(networks: ThinnedNetworks, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean probability and the mutual information (nats) of each window."""
    total, expected = moments_of(sampled(networks, x))
    p = total / networks.n_samples
    return p, entropy(p) - expected / networks.n_samples


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    x, y = made(rng, N_TRAIN)
    settings = TrainingSettings(network=SHAPE, group_dropout=0.0, length_scale=0.1)
    trained = fit_network(
        Examples(x, y, np.ones(N_TRAIN)),
        group=np.zeros(0, dtype=np.int64),
        n_classes=2,
        healthy=None,
        settings=settings,
        epochs=12,
        seed=1,
    )
    network = trained.network
    windows, truth = made(rng, N_WINDOWS)
    total, expected = np.zeros(N_WINDOWS), np.zeros(N_WINDOWS)
    for _ in range(REFERENCE // 200):
        for sums, part in zip(
            (total, expected), moments_of(sampled(independent(network, 200, rng), windows)), strict=True
        ):
            sums += part
    p0 = total / REFERENCE
    mi0 = entropy(p0) - expected / REFERENCE
    print(
        f"reference: {REFERENCE} samples, accuracy {((p0 > 0.5) == truth).mean():.3f}, mean MI {mi0.mean():.4f} nats",
        flush=True,
    )
    print(
        "| T | masks | RMSE of probability | RMSE of MI | bias of MI | other side of 1/2 | error of the mean of all |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for n_samples in (10, 30, 100, 300):
        for kind in ("independent", "balanced"):
            errors = []
            for bank in range(BANKS):
                if kind == "balanced":
                    masks = draw_mask_bank(
                        SHAPE.hidden, SHAPE.dropout, n_samples=n_samples, sub_bank_size=SUB_BANK, seed=bank
                    )
                    networks = thin(network, masks)
                else:
                    networks = independent(network, n_samples, rng)
                p, mi = scored(networks, windows)
                errors.append(
                    (
                        np.mean((p - p0) ** 2),
                        np.mean((mi - mi0) ** 2),
                        np.mean(mi - mi0),
                        np.mean((p > 0.5) != (p0 > 0.5)),
                        (p - p0).mean() ** 2,
                    )
                )
            a, b, c, d, e = np.mean(errors, axis=0)
            print(
                f"| {n_samples} | {kind} | {a**0.5:.4f} | {b**0.5:.4f} | {c:+.4f} | {d:.2%} | {e**0.5:.4f} |",
                flush=True,
            )
    _train_mode(x, y, settings, windows, truth)


def _train_mode(
    x: np.ndarray, y: np.ndarray, settings: TrainingSettings, windows: np.ndarray, truth: np.ndarray
) -> None:
    """Print how scores change when BatchNorm uses the statistics of the batch."""
    generator = torch.Generator().manual_seed(1)
    network = DropoutMLP(N_FEATURES, 2, SHAPE, generator=generator)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(12):
        network.train()
        for rows in torch.randperm(len(x), generator=generator).split(256):
            loss = torch.nn.functional.cross_entropy(network(inputs[rows]), targets[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    state = {name: value.clone() for name, value in network.state_dict().items()}

    def loop(batch: np.ndarray, *, whole: bool) -> np.ndarray:
        """Return the mean probability over 100 passes; `whole`: BatchNorm in train mode too."""
        network.load_state_dict(state)
        network.train()
        if not whole:
            for norm in network.norms:
                norm.eval()
        with torch.inference_mode():
            p = torch.stack([network(torch.from_numpy(batch)).softmax(-1)[:, 1] for _ in range(100)])
        mean: np.ndarray = p.mean(dim=0).numpy()
        return mean

    own = windows[:128]
    others, rest = windows[128:], truth[128:]
    print("| BatchNorm | accuracy, mixed batch | accuracy, rest of class 1 | RMS change | other side of 1/2 |")
    print("| --- | --- | --- | --- | --- |")
    for whole in (True, False):
        mixed = loop(np.concatenate([own, others[:128]]), whole=whole)[:128]
        alike = loop(np.concatenate([own[:64], others[rest == 1][:192]]), whole=whole)[:64]
        change, flips = alike - mixed[:64], ((alike > 0.5) != (mixed[:64] > 0.5)).mean()
        right = [((p > 0.5) == truth[: len(p)]).mean() for p in (mixed, alike)]
        name = "train mode (as in tutorials)" if whole else "eval mode"
        print(f"| {name} | {right[0]:.2f} | {right[1]:.2f} | {np.sqrt(np.mean(change**2)):.3f} | {flips:.0%} |")


if __name__ == "__main__":
    main()
