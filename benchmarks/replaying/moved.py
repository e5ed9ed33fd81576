"""What moved in each recording of a plant, as `case_evidence.moved` has it: distances from the unit's own baseline.

The arrays of a plant keep changes in the units of the features. Their spreads follow from the recordings of the unit's
baseline period, by the product's rules: one reference a regime, with its fallbacks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from features.health.baseline import Reference, fit_reference, known_median
from pipeline.base.regime import coarser
from pipeline.base.settings import Settings
from pipeline.cases.evidence import FARTHEST, moved_by
from pipeline.extraction.baselines import RELATIVE
from replaying.fleet import Plant


def moved_of(plant: Plant, settings: Settings) -> npt.NDArray[np.float64]:
    """Return the distances of each recording from its baseline, shape (r, F); NaN in the baseline period itself.

    F counts the features that are not changes. `pipeline.cases.memory.remembered` takes rows of it.
    """
    absolute = np.array([not name.startswith(RELATIVE) for name in plant.names.tolist()])
    edges = np.searchsorted(plant.of, np.arange(len(plant.day) + 1))
    now = np.full((len(plant.day), int(absolute.sum())), np.nan)
    for row in range(len(plant.day)):
        windows = np.arange(edges[row], edges[row + 1])
        good = windows[plant.ok[windows]]
        if good.size:
            now[row] = known_median(plant.x[good][:, absolute].astype(np.float64))
    moved = np.full_like(now, np.nan)
    for unit in np.unique(plant.unit).tolist():
        own = np.flatnonzero(plant.unit == unit)
        over = float(plant.day[own].min()) + settings.baseline_days
        references = _references(plant, now, own[plant.day[own] < over], settings)
        for row in own[plant.day[own] >= over].tolist():
            reference = next((references[name] for name in coarser(str(plant.regime[row])) if name in references), None)
            if reference is not None:
                moved[row] = np.clip(moved_by(now[row], reference), -FARTHEST, FARTHEST)
    return moved


def _references(
    plant: Plant, now: npt.NDArray[np.float64], rows: npt.NDArray[np.int64], settings: Settings
) -> dict[str, Reference]:
    by_regime: dict[str, list[int]] = {}
    for row in rows.tolist():
        if np.isfinite(now[row]).any():
            for name in coarser(str(plant.regime[row])):
                by_regime.setdefault(name, []).append(row)
    enough = {name: own for name, own in by_regime.items() if len(own) >= settings.baseline_min_recordings}
    fitted = {name: fit_reference(now[own]) for name, own in enough.items()}
    return {name: reference for name, reference in fitted.items() if np.isfinite(reference.median).any()}
