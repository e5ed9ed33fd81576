"""Performance of change points and the alarm rule on simulated series: the figures of docs/trend.md.

    python benchmarks/trend_rules.py

The parameters of the rule were chosen on these series alone, without real data.
"""

from __future__ import annotations

import math

import numpy as np

from features.health.alarm import alarm_onset, frozen_threshold
from features.health.trend import change_points, running_median

N, REFERENCE, WIDTH, HORIZON, RATE, MIN_RISE = 1000, 200, 6, 1000, 0.01, 3.0


def correlated(rng: np.random.Generator, n: int, r: float) -> np.ndarray:
    """Return AR(1) noise of unit variance and correlation r, for three groups of features; shape (n, 3)."""
    noise = rng.standard_normal((n + 50, 3))
    for index in range(1, n + 50):
        noise[index] = r * noise[index - 1] + math.sqrt(1 - r * r) * noise[index]
    return noise[50:]


def index_of(z: np.ndarray) -> np.ndarray:
    """Return the root mean square of the positive parts of z (n, 3): the health index of three one-sided groups."""
    return np.sqrt((np.maximum(z, 0.0) ** 2).mean(axis=1))


def life(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return the health index of a run with run-in, slow drifts, bursts and a fault; and the index of its start."""
    t = np.arange(N) / N
    z = correlated(rng, N, rng.uniform(0, 0.6))
    for group in range(3):
        z[:, group] += rng.uniform(0, 1) * np.sin(2 * np.pi * (t * rng.uniform(0.5, 6) + rng.uniform()))
    z += (rng.uniform(0, 3) * np.exp(-t / 0.02))[:, None]
    for _ in range(rng.poisson(4)):
        start = rng.integers(0, N)
        z[start : start + int(rng.geometric(1 / 8))] += rng.exponential(5, 3)
    onset = rng.uniform(0.3, 0.95)
    x, bend = np.clip((t - onset) / (1 - onset), 0, 1), rng.uniform(2, 5)
    severity = np.expm1(bend * x) / np.expm1(bend) if rng.uniform() < 0.7 else (x > 0).astype(float)
    return index_of(z + severity[:, None] * rng.uniform(8, 25) * rng.uniform(0.2, 1, 3)), int(onset * N)


def threshold(reference: np.ndarray, kind: str) -> float:
    """Return a threshold by an exponential tail, its scale estimated in one of several ways."""
    if kind == "lower quartile":
        return frozen_threshold(reference, false_alarm_rate=RATE, horizon=HORIZON, min_rise=MIN_RISE)
    middle = float(np.median(reference))
    if kind == "upper quartile":
        scale = (np.quantile(reference, 0.75) - middle) / math.log(2)
        return middle + max(float(scale) * math.log(HORIZON / (2 * RATE)), MIN_RISE)
    if kind == "median + 6 MAD":
        return middle + max(6 * float(np.median(np.abs(reference - middle))), MIN_RISE)
    high = float(np.quantile(reference, 0.9))
    excess = float(np.mean(reference[reference > high] - high))
    return max(high + excess * math.log(0.1 * HORIZON / RATE), middle + MIN_RISE)


def main() -> None:
    """Run and print."""
    print("scale, persistence: on before the fault, missed, median delay as a share of the fault's life (300 runs)")
    for kind in ("mean excess over 90 %", "upper quartile", "median + 6 MAD", "lower quartile"):
        for persistence in (6, 12):
            rng, early, missed, delays = np.random.default_rng(6), 0, 0, []
            for _ in range(300):
                values, onset = life(rng)
                level = threshold(running_median(values, width=WIDTH)[WIDTH - 1 : REFERENCE], kind)
                alarm = alarm_onset(
                    values, baseline_count=REFERENCE, threshold=level, width=WIDTH, persistence=persistence
                )
                early += bool(alarm.on[:onset].any())
                missed += alarm.lasting is None
                if alarm.lasting is not None:
                    delays.append(max(alarm.lasting - onset, 0) / (N - onset))
            print(f"{kind:24} {persistence:2}  {early / 300:.2f}  {missed / 300:.2f}  {np.median(delays):.2f}")
    print("healthy runs of 1,000 values after 250, tail alone: share with an alarm (100 runs), by correlation")
    for r in (0.0, 0.5, 0.8, 0.95):
        rng = np.random.default_rng(1)
        runs = [index_of(correlated(rng, 1250, r)) for _ in range(100)]
        first = [alarm_onset(run, baseline_count=250, min_rise=0.0).first for run in runs]
        print(f"{r:4}  {np.mean([place is not None for place in first]):.2f}")
    print("pure noise: share of series with any change point, by correlation and length")
    for r in (0.0, 0.5, 0.8):
        rng, shares = np.random.default_rng(2), []
        for n, runs_of in ((30, 200), (100, 200), (300, 200), (1000, 60)):
            hits = [bool(change_points(np.arange(n), correlated(rng, n, r)[:, 0])) for _ in range(runs_of)]
            shares.append(f"{n}: {np.mean(hits):.3f}")
        print(f"{r:4}  {', '.join(shares)}")


if __name__ == "__main__":
    main()
