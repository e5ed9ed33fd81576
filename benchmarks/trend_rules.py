"""Performance of change points and the alarm rule on simulated series: the figures of docs/results/trend.md.

    python benchmarks/trend_rules.py

How the tail is read was chosen on these series alone. Size and duration of an alarm were weighed against FEMTO as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from features.health.alarm import DOUBLING, alarm_onset, alarm_resumed, frozen_threshold
from features.health.trend import change_points, running_median

N, REFERENCE, WIDTH, EXCEEDED, RUNS = 1000, 200, 6, 0.01, 300


def correlated(rng: np.random.Generator, n: int, r: float) -> np.ndarray:
    """Return AR(1) noise of unit variance and correlation r, for three groups of features; shape (n, 3)."""
    noise = rng.standard_normal((n + 50, 3))
    for index in range(1, n + 50):
        noise[index] = r * noise[index - 1] + math.sqrt(1 - r * r) * noise[index]
    return noise[50:]


def highest(z: np.ndarray) -> np.ndarray:
    """Return the highest of one-sided groups z (n, groups): the health index."""
    return np.maximum(z, 0.0).max(axis=1)


def root_mean_square(z: np.ndarray) -> np.ndarray:
    """Return the root mean square of the same: the health index of before."""
    return np.sqrt((np.maximum(z, 0.0) ** 2).mean(axis=1))


def healthy(rng: np.random.Generator) -> np.ndarray:
    """Return three groups of a run with run-in, slow drifts and bursts; shape (n, 3)."""
    t = np.arange(N) / N
    z = correlated(rng, N, rng.uniform(0, 0.6))
    for group in range(3):
        z[:, group] += rng.uniform(0, 1) * np.sin(2 * np.pi * (t * rng.uniform(0.5, 6) + rng.uniform()))
    z += (rng.uniform(0, 3) * np.exp(-t / 0.02))[:, None]
    for _ in range(rng.poisson(4)):
        start = rng.integers(0, N)
        z[start : start + int(rng.geometric(1 / 8))] += rng.exponential(5, 3)
    return z


def growing(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return how far a fault has grown, 0 to 1, slowly or at once; shape (n,), and its start."""
    t = np.arange(N) / N
    onset = rng.uniform(0.3, 0.95)
    x, bend = np.clip((t - onset) / (1 - onset), 0, 1), rng.uniform(2, 5)
    severity = np.expm1(bend * x) / np.expm1(bend) if rng.uniform() < 0.7 else (x > 0).astype(float)
    return severity, int(onset * N)


def in_all(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return three groups of a run whose fault shows in all of them, and its start."""
    z = healthy(rng)
    severity, onset = growing(rng)
    return z + severity[:, None] * rng.uniform(8, 25) * rng.uniform(0.2, 1, 3), onset


def in_one(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return five groups of a run whose fault shows in one, as a bearing line does; and its start."""
    z = np.column_stack((healthy(rng), correlated(rng, N, 0.3)[:, :2]))
    severity, onset = growing(rng)
    z[:, 0] += severity * rng.uniform(6, 20)
    return z, onset


def in_a_row(values: np.ndarray, threshold: float, count: int) -> np.ndarray:
    """Return where an alarm is on that `count` running medians in a row start and end: the rule of before (12)."""
    on, is_on, against = np.zeros(len(values), dtype=np.bool_), False, 0
    for index, median in enumerate(running_median(values, width=WIDTH)):
        against = against + 1 if (median > threshold) != is_on else 0
        if against == count:
            is_on, against = not is_on, 0
        on[index] = is_on and index >= REFERENCE
    return on


def evidence(values: np.ndarray, threshold: float) -> np.ndarray:
    """Return where the product's alarm is on."""
    return alarm_onset(values, baseline_count=REFERENCE, threshold=threshold).on


def threshold(reference: np.ndarray, kind: str) -> float:
    """Return a threshold by an exponential tail, its scale estimated in one of several ways."""
    middle = float(np.median(reference))
    if kind == "3 above the median":  # as it was before
        return max(frozen_threshold(reference, exceeded=EXCEEDED / 1000, least=0.0), middle + 3.0)
    if kind == "lower quartile":
        return frozen_threshold(reference, exceeded=EXCEEDED)
    if kind == "1,000 times rarer":
        return frozen_threshold(reference, exceeded=EXCEEDED / 1000)
    if kind == "upper quartile":
        scale = (float(np.quantile(reference, 0.75)) - middle) / math.log(2)
        return max(middle + scale * math.log(1 / (2 * EXCEEDED)), DOUBLING)
    if kind == "median + 6 MAD":
        return max(middle + 6 * float(np.median(np.abs(reference - middle))), DOUBLING)
    high = float(np.quantile(reference, 0.9))
    excess = float(np.mean(reference[reference > high] - high))
    return max(high + excess * math.log(0.1 / EXCEEDED), DOUBLING)


Life = Callable[[np.random.Generator], tuple[np.ndarray, int]]
Index = Callable[[np.ndarray], np.ndarray]
Rule = Callable[[np.ndarray, float], np.ndarray]


def judge(life: Life, index: Index, kind: str, rule: Rule) -> str:
    """Return how often a rule is on before the fault and misses it, and its median delay as a share of what is left."""
    rng, early, missed, delays = np.random.default_rng(6), 0, 0, []
    for _ in range(RUNS):
        z, onset = life(rng)
        values = index(z)
        on = rule(values, threshold(running_median(values, width=WIDTH)[WIDTH - 1 : REFERENCE], kind))
        early += bool(on[:onset].any())
        missed += not on[-1]
        if on[-1]:
            off = np.flatnonzero(~on)
            delays.append(max(int(off[-1]) + 1 - onset, 0) / (N - onset))
    return f"{early / RUNS:.2f}  {missed / RUNS:.2f}  {np.median(delays):.2f}"


def main() -> None:
    """Run and print."""
    print(f"on before the fault, missed, median delay as a share of the fault's life ({RUNS} runs each)")
    print("rule: index, threshold, persistence".ljust(62), "fault in all groups   in one of five")
    for index, kind, name, rule in (
        (root_mean_square, "3 above the median", "12 in a row", lambda x, level: in_a_row(x, level, 12)),
        (highest, "lower quartile", "12 in a row", lambda x, level: in_a_row(x, level, 12)),
        (highest, "lower quartile", "6 in a row", lambda x, level: in_a_row(x, level, 6)),
        (highest, "lower quartile", "at once", lambda x, level: in_a_row(x, level, 1)),
        (highest, "mean excess over 90 %", "evidence", evidence),
        (highest, "upper quartile", "evidence", evidence),
        (highest, "median + 6 MAD", "evidence", evidence),
        (highest, "1,000 times rarer", "evidence", evidence),
        (highest, "lower quartile", "evidence", evidence),
    ):
        row = f"{index.__name__}, {kind}, {name}"
        print(f"{row:62} {judge(in_all, index, kind, rule)}      {judge(in_one, index, kind, rule)}")
    print("values from a jump of all groups to the alarm (median of 200), by the size of the jump in sigmas")
    for size in (7.5, 9.0, 12.0, 20.0):
        waits: dict[str, list[int]] = {"12 in a row": [], "evidence": []}
        rng = np.random.default_rng(3)
        for _ in range(200):
            values = np.full(100, size) + rng.standard_normal(100) * 0.3
            values[:50] -= size
            waits["12 in a row"].append(int(np.argmax(in_a_row(np.r_[np.zeros(REFERENCE), values], DOUBLING, 12))))
            waits["evidence"].append(int(np.argmax(alarm_resumed(values, threshold=DOUBLING)[0])) + REFERENCE)
        medians = (f"{name}: {np.median(places) - REFERENCE - 49:.0f}" for name, places in waits.items())
        print(f"{size:4}  {', '.join(medians)}")
    print("healthy runs of 1,000 values after 250, tail alone: share with an alarm (100 runs), by correlation")
    for r in (0.0, 0.5, 0.8, 0.95):
        rng = np.random.default_rng(1)
        runs = [highest(correlated(rng, 1250, r)) for _ in range(100)]
        first = [alarm_onset(run, baseline_count=250, least=0.0).first for run in runs]
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
