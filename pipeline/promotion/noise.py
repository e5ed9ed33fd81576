"""How much a training with another seed changes the gate's measures, estimated once for a scope and its settings.

Refits on the labels of the challenger, each with its own seed, are judged on the same held-out rows
(`pipeline.promotion.gate.noise_of`). The decision stores the result, and later decisions of the scope use it, as long
as the training settings are the same.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from pipeline.base.ids import stable_id
from pipeline.base.settings import GateSettings, TrainSettings
from pipeline.promotion.gate import Noise
from pipeline.promotion.judge import noise_between
from pipeline.promotion.rows import labelled_recordings
from pipeline.registry.held_out import read_predictions
from pipeline.registry.versions import set_aside_by
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import RetrainingDecision
from pipeline.training.train import refit, training_settings

NOISE: Final = "noise"
"""Name of the noise in a decision's figures."""

LOOK_BACK: Final = 200
"""Newest decisions of a scope that are searched for a stored noise."""


def training_id(settings: TrainSettings) -> str:
    """Return an id of the settings that a training depends on; its seed does not count."""
    values = training_settings(settings).as_dict() | {"seed": None}
    return stable_id(json.dumps(values, sort_keys=True, default=str), length=16)


def as_figures(noise: Noise | None, settings: TrainSettings) -> dict[str, Any] | None:
    """Return the noise as the decision stores it, with the training settings that it holds for."""
    return None if noise is None else {**vars(noise), "training": training_id(settings)}


def stored_noise(store: Store, settings: TrainSettings, scope: str, *, as_of: datetime) -> Noise | None:
    """Return the newest noise that decisions before `as_of` stored for a scope and these settings; None: none did."""
    query = (
        sa.select(RetrainingDecision.figures)
        .where(RetrainingDecision.scope == scope, RetrainingDecision.decided_at < as_of)
        .order_by(RetrainingDecision.decided_at.desc())
        .limit(LOOK_BACK)
    )
    wanted = training_id(settings)
    with store.read() as connection:
        for figures in connection.scalars(query):
            kept = (figures or {}).get(NOISE)
            if kept is not None and kept["training"] == wanted:
                return Noise(**{name: kept[name] for name in Noise.__dataclass_fields__})
    return None


def noise_for(
    store: Store, lake: Lake, settings: GateSettings, challenger: dict[str, Any], *, as_of: datetime
) -> Noise | None:
    """Return the stored noise, or estimate it by refits on the labels of a challenger (a row of `model_versions`).

    Returns
    -------
    Noise or None
        None where the challenger has no held-out predictions.

    Raises
    ------
    PrerequisiteMissing
        A refit gave no model.
    """
    scope = challenger["scope"]
    stored = stored_noise(store, settings, scope, as_of=as_of)
    said = read_predictions(lake, challenger)
    if stored is not None or said is None:
        return stored
    aside = set_aside_by(challenger)
    with store.read() as connection:
        recordings = labelled_recordings(
            connection, settings, scope, said.recording.tolist(), cutoff=as_of, as_of=as_of, set_aside=aside
        )
    seeds = [settings.seed + number for number in range(1, settings.gate_refits)]
    others = refit(store, lake, settings, scope, as_of=as_of, set_aside=aside, seeds=seeds)
    return noise_between(recordings, [said, *others], settings)
