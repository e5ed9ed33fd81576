"""ask: which open cases to label next so that the next training learns most. Changes nothing, and reads no clock.

The order of the queue does not change: the queue shows where a machine may be at fault, `ask` shows where the model can
learn. Both list open cases. To care for machines use the queue, to collect labels use `ask`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.health.baseline import MAD_TO_SIGMA, known_median
from pipeline.base.errors import PrerequisiteMissing
from pipeline.base.settings import WatchSettings
from pipeline.cases.audit import AUDIT
from pipeline.cases.queue import Filters, queue_page
from pipeline.extraction.in_force import feature_names_of, feature_version_of
from pipeline.registry.versions import champions
from pipeline.store.attribution import unit_name
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import AxisState, Extraction, Recording
from pipeline.watch.observed import TimeSpan
from pipeline.watch.periods import feature_sample, units_on

Array = npt.NDArray[np.float64]
CLIP = 10.0
"""Robust standard deviations beyond which two cases are no further apart in one feature."""


def choose_random(n: int, *, most: int, seed: int) -> list[int]:
    """Choose `most` of n candidates at random; the same ones for the same seed."""
    return [int(index) for index in np.random.default_rng(seed).permutation(n)[:most]]


def choose_diverse(
    information: Array, features: npt.NDArray[Any], unit: npt.NDArray[np.str_], *, most: int
) -> list[int]:
    """Choose up to `most` candidates, in the order in which to ask.

    Parameters
    ----------
    information : float array, shape (n,)
        Mutual information of each case, nats. A value that is not finite counts as the highest.
    features : float array, shape (n, F)
        Features of each case; scaled here, NaN = missing.
    unit : str array, shape (n,)
        Physical unit.

    Raises
    ------
    ValueError
        No candidate has a finite mutual information, or one is negative.
    """
    if not len(information):
        return []
    finite = np.isfinite(information)
    if not finite.any() or (information[finite] < 0).any():
        raise ValueError("At least one case needs a finite mutual information, and none may be negative.")
    worth = np.where(finite, information, information[finite].max())
    scaled = _scaled(features)
    nearest = np.full(len(worth), np.inf)
    free = np.ones(len(worth), dtype=np.bool_)
    chosen: list[int] = []
    while free.any() and len(chosen) < most:
        allowed = free & ~np.isin(unit, unit[chosen])
        if not allowed.any():
            allowed = free
        value = worth if not chosen else worth * nearest
        index = int(np.argmax(np.where(allowed, value, -1.0)))
        chosen.append(index)
        free[index] = False
        nearest = np.minimum(nearest, _distance(scaled, scaled[index]))
    return chosen


def _scaled(features: npt.NDArray[Any]) -> Array:
    """Scale each feature by median and 1.4826 MAD over the candidates; features that do not vary are left out."""
    wide = np.where(np.isfinite(features), features, np.nan).astype(np.float64)
    wide = wide[:, np.isfinite(wide).sum(axis=0) >= 2]
    if not wide.shape[1]:
        return wide
    center = known_median(wide)
    spread = MAD_TO_SIGMA * known_median(np.abs(wide - center))
    spread = np.where(spread > 0, spread, np.nanstd(wide, axis=0))
    varies = spread > 0
    scaled: Array = np.clip((wide[:, varies] - center[varies]) / spread[varies], -CLIP, CLIP)
    return scaled


def _distance(scaled: Array, to: Array) -> Array:
    """Return the root mean square difference over the features that both have; without any, the greatest one."""
    both = np.isfinite(scaled) & np.isfinite(to)
    count = both.sum(axis=1)
    total = np.where(both, (scaled - np.where(np.isfinite(to), to, 0.0)) ** 2, 0.0).sum(axis=1)
    return np.where(count > 0, np.sqrt(total / np.maximum(count, 1)), 2.0 * CLIP)


MOST_CASES = 10_000
"""Open cases that are considered, highest priority first."""

SHOWN = ("case_id", "site", "cell", "robot_id", "axis", "family", "priority")


def ask(
    store: Store, lake: Lake, settings: WatchSettings, *, n: int, method: str, seed: int, as_of: datetime
) -> list[dict[str, Any]]:
    """Choose the open machine and audit cases to ask about next, in order.

    Parameters
    ----------
    method
        `bald` or `random`, see `pipeline.watch.ask`.

    Returns
    -------
    list of dict
        `rank`, the case and its axis, `unit`, `mutual_information` (nats, mean over its bins; None: not defined),
        `method` and `reason`.

    Raises
    ------
    PrerequisiteMissing
        `bald` was asked for and no case has a mutual information.
    """
    rows, _ = queue_page(store, Filters(), as_of=as_of, limit=MOST_CASES)
    cases = sorted((row for row in rows if row["family"] in ("machine", AUDIT)), key=lambda row: str(row["case_id"]))
    if not cases:
        return []
    with store.read() as connection:
        information = [_information(connection, case) for case in cases]
        units = [_unit(connection, case) for case in cases]
        if method == "random":
            chosen = choose_random(len(cases), most=n, seed=seed)
        else:
            values = np.array([np.nan if value is None else value for value in information], dtype=np.float64)
            if not np.isfinite(values).any():
                raise PrerequisiteMissing(
                    "no open case has a mutual information (the champion's method does not give one, or nothing was "
                    "scored yet); ask with --method random"
                )
            places = _features(connection, lake, settings, cases)
            chosen = choose_diverse(values, places, np.array(units, dtype=np.str_), most=n)
    return [
        {
            "rank": rank,
            **{name: cases[index][name] for name in SHOWN},
            "unit": units[index],
            "mutual_information": information[index],
            "method": method,
            "reason": _reason(method, rank, information[index]),
        }
        for rank, index in enumerate(chosen, start=1)
    ]


def _reason(method: str, rank: int, information: float | None) -> str:
    if method == "random":
        return "drawn at random"
    text = "no mutual information is known" if information is None else f"mutual information {information:.3f} nats"
    return text if rank == 1 else f"{text}, and unlike the cases before it"


def _information(connection: Connection, case: dict[str, Any]) -> float | None:
    """Return the mean mutual information over the bins of a case. No sum: its windows are near copies."""
    within = (
        AxisState.axis_id == case["axis_id"],
        AxisState.last_at >= case["first_at"],
        AxisState.first_at <= case["last_at"],
    )
    value = connection.scalar(sa.select(sa.func.avg(AxisState.mutual_information)).where(*within))
    return None if value is None else float(value)


def _unit(connection: Connection, case: dict[str, Any]) -> str:
    span = TimeSpan(case["last_at"], case["last_at"] + timedelta(microseconds=1))
    units = units_on(connection, case["axis_id"], span)
    return units[0] if units else unit_name(None, case["axis_id"])


def _features(connection: Connection, lake: Lake, settings: WatchSettings, cases: Sequence[dict[str, Any]]) -> Any:
    """Return the features of each case: medians over some of its recordings, scope by scope."""
    blocks = []
    for scope in sorted(champions(connection)):
        names = feature_names_of(settings, scope)
        block = np.full((len(cases), len(names)), np.nan)
        rows = [_recordings(connection, settings, scope, case) for case in cases]
        for index, members in enumerate(rows):
            values = feature_sample(lake, settings, members, names).values
            block[index] = known_median(values)
        blocks.append(block)
    return np.concatenate(blocks, axis=1) if blocks else np.empty((len(cases), 0))


def _recordings(connection: Connection, settings: WatchSettings, scope: str, case: dict[str, Any]) -> list[Any]:
    query = (
        sa.select(Extraction)
        .join(Recording, Recording.recording_id == Extraction.recording_id)
        .where(
            Extraction.axis_id == case["axis_id"],
            Extraction.scope == scope,
            Extraction.feature_version == feature_version_of(settings, scope),
            Extraction.started_at >= case["first_at"],
            Extraction.started_at <= case["last_at"],
            Extraction.n_windows > 0,
        )
        .order_by(Extraction.recording_id)
        .limit(settings.drift_recordings)
    )
    return list(connection.execute(query))
