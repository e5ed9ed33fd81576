"""Small drawings for a report, as SVG text without scripts or linked files."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.judging.metrics import BINS, entropy

POINTS: Final = 50
"""Number of coverages at which a risk-coverage curve is computed."""

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def curves(predicted: Sequence[FloatArray], y: IntArray, *, healthy: int | None) -> dict[str, Any]:
    """Return the reliability and the risk-coverage curve of a method.

    Parameters
    ----------
    predicted
        Class probabilities (n, C) of each seed. A row with a value that is not finite counts as wrong, with uniform
        probabilities.
    y
        (n,) class index.
    healthy
        Index of the healthy class, or None: as in `models.judging.metrics.classification_figures`.

    Returns
    -------
    dict
        reliability: for each of 15 bins of equal width that has windows, over all seeds: mean confidence, frequency,
        number of windows. risk_coverage: coverage, and error of the most certain windows (mean over seeds).
    """
    if not y.size:
        return {"reliability": [], "risk_coverage": []}
    confidences, outcomes, risks = [], [], []
    covered = np.unique(np.maximum(1, np.linspace(0.0, 1.0, POINTS + 1)[1:] * y.size).round().astype(np.int64))
    for p in predicted:
        scored: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
        p = np.where(scored[:, None], p, 1.0 / p.shape[1])
        wrong: NDArray[np.bool_] = np.asarray((p.argmax(axis=1) != y) | ~scored)
        confidences.append(p.max(axis=1) if healthy is None else 1.0 - p[:, healthy])
        outcomes.append(~wrong if healthy is None else y != healthy)
        order = np.argsort(entropy(p), kind="stable")
        risks.append((np.cumsum(wrong[order]) / np.arange(1, y.size + 1))[covered - 1])
    risk = np.mean(risks, axis=0)
    return {
        "reliability": _reliability(np.concatenate(confidences), np.concatenate(outcomes)),
        "risk_coverage": [
            {"coverage": float(k / y.size), "error": float(value)} for k, value in zip(covered, risk, strict=True)
        ],
    }


def _reliability(confidence: FloatArray, happened: NDArray[np.bool_]) -> list[dict[str, float | int]]:
    bin_of = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    bins: list[dict[str, float | int]] = []
    for number in np.unique(bin_of).tolist():
        own = bin_of == number
        bins.append(
            {
                "confidence": float(confidence[own].mean()),
                "frequency": float(happened[own].mean()),
                "windows": int(own.sum()),
            }
        )
    return bins


COLOURS: Final = ("#1f5fa8", "#c4541c", "#2e7d4f", "#8b3f8f", "#8a6d00", "#4a4a4a", "#b3261e", "#00838f")
"""One for each method, in order; they differ in lightness too, for readers who see less colour."""

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 420, 320, 52, 44, 12, 14

Points = Sequence[tuple[float, float]]


def reliability(curves: Mapping[str, Any], *, x: str) -> str:
    """Draw a reliability diagram: on the diagonal, stated probability and observed frequency are equal."""
    lines = {name: [(p["confidence"], p["frequency"]) for p in curve["reliability"]] for name, curve in curves.items()}
    sizes = {name: [p["windows"] for p in curve["reliability"]] for name, curve in curves.items()}
    diagonal = f'<path d="{_path([(0.0, 0.0), (1.0, 1.0)], 1.0)}" class="ideal"/>'
    return _figure(lines, x=x, y="observed frequency", top=1.0, before=diagonal, sizes=sizes)


def risk_coverage(curves: Mapping[str, Any]) -> str:
    """Draw the error against the coverage: the share of windows that are answered, the most certain ones first."""
    lines = {name: [(p["coverage"], p["error"]) for p in curve["risk_coverage"]] for name, curve in curves.items()}
    highest = max((value for points in lines.values() for _, value in points), default=0.0)
    top = next((limit for limit in (0.05, 0.1, 0.2, 0.3, 0.5) if highest <= limit), 1.0)
    return _figure(lines, x="share of windows answered", y="error among them", top=top)


def legend(names: Sequence[str]) -> str:
    """Return the legend as HTML: the colour and name of each method."""
    items = "".join(
        f'<span><i style="background:{_colour(index)}"></i>{html.escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{items}</p>'


def _figure(
    lines: Mapping[str, Points],
    *,
    x: str,
    y: str,
    top: float,
    before: str = "",
    sizes: Mapping[str, Sequence[int]] | None = None,
) -> str:
    drawn = [_axes(x, y, top), before]
    for index, (name, points) in enumerate(lines.items()):
        if not points:
            continue
        colour = _colour(index)
        drawn.append(
            f'<path d="{_path(points, top)}" style="stroke:{colour}"><title>{html.escape(name)}</title></path>'
        )
        if sizes is not None:
            most = max(sizes[name])
            drawn += [
                f'<circle cx="{_x(a):.1f}" cy="{_y(b, top):.1f}" r="{2.0 + 5.0 * (n / most) ** 0.5:.1f}" '
                f'style="fill:{colour}"><title>{html.escape(name)}: {n} windows</title></circle>'
                for (a, b), n in zip(points, sizes[name], strict=True)
            ]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(drawn)}</svg>'


def _axes(x: str, y: str, top: float) -> str:
    parts = []
    for step in range(6):
        share = step / 5
        across, up = _x(share), _y(share * top, top)
        parts += [
            f'<path d="M{across:.1f},{_y(0.0, top):.1f}V{TOP}M{LEFT},{up:.1f}H{WIDTH - RIGHT}" class="grid"/>',
            f'<text x="{across:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{share:g}</text>',
            f'<text x="{LEFT - 6}" y="{up + 4:.1f}" text-anchor="end">{share * top:.3g}</text>',
        ]
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts += [
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x)}</text>',
        f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{html.escape(y)}</text>',
    ]
    return "".join(parts)


def _path(points: Points, top: float) -> str:
    return "M" + "L".join(f"{_x(a):.1f},{_y(b, top):.1f}" for a, b in points)


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]
