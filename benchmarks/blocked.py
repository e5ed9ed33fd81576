"""What a model makes of recordings with a bad signal, with and without a fault behind it: docs/results/cases.md.

    axiswatch demo --folder FOLDER --seed 0
    python benchmarks/blocked.py FOLDER [--axes 20] [--seed 5]

Recordings of the demonstration from the end of the findings on are spoiled: of healthy axes and of axes with a visible
fault, up to `--axes` each, the last nine recordings. Each goes through extraction, the data-quality verdicts, the
comparison with its unit's own baseline, and the champion.

First table: shares of the blocked recordings from a level on, spoiled as in `damage_kinds.py`. Second: shares of axes
that reach it twice within three recordings, with a lasting fault of the sensor as the simulation makes it, or a wrong
speed.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from damage_kinds import KINDS, damage
from damage_kinds import Recording as Signal

from features.quality.quality import Quality
from models.model import Model
from pipeline.assets import known_orders
from pipeline.base.settings import Settings
from pipeline.cases.axis_state import NO_SIGNAL
from pipeline.demo import demo_settings
from pipeline.evaluation.fleet_truth import read_recording_truth
from pipeline.extraction.baselines import Baselines, UnitBaseline, with_change
from pipeline.extraction.extract import _job, _read_recordings
from pipeline.extraction.in_force import feature_names_of, feature_settings
from pipeline.extraction.reading import judge_plausibility
from pipeline.extraction.recording import Job, Recorded, extract_recordings
from pipeline.registry.registry import load_model
from pipeline.registry.versions import champions
from pipeline.simulation.sensors import SENSOR_FAULTS, apply_sensor_fault
from pipeline.store.attribution import attributed_extraction, extractions
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Label, Recording

SCOPE = "acceleration"
LEVELS = {"1/7": 1 / 7, "0.5": 0.5, "0.9": 0.9}
LAST = 9
RAW = (
    *(Recording.quantity, Recording.unit, Recording.sampling_rate_hz, Recording.rate_basis, Recording.shaft_speed_rpm),
    *(Recording.speed_is_steady, Recording.lake_path.label("raw_path"), Recording.lake_row.label("raw_row")),
)


def spoiled(job: Job, good: np.ndarray, kind: str, rng: np.random.Generator, factor: float) -> Recorded | None:
    """Return a recording with the damage of a kind, or with a lasting fault of its sensor ("lasting ...")."""
    if kind == "lasting wrong_speed":
        return Recorded(replace(job, shaft_speed_rpm=job.shaft_speed_rpm and job.shaft_speed_rpm * factor), good)
    if kind.startswith("lasting "):
        bad = apply_sensor_fault(good.astype(np.float64), kind[8:], rng, sampling_rate_hz=job.sampling_rate_hz)
        return Recorded(job, bad.astype(np.float32))
    made = damage(Signal(good, job.sampling_rate_hz, job.shaft_speed_rpm), kind, rng)
    if made is None:
        return None
    return Recorded(replace(job, sampling_rate_hz=made.rate_hz, shaft_speed_rpm=made.rpm), made.samples)


def judged(
    recorded: Sequence[Recorded], rows: Sequence[Any], baselines: dict[str, UnitBaseline | None], model: Model
) -> Iterator[tuple[str, float]]:
    """Yield the verdict and the mean fault probability of each recording that is blocked."""
    names = feature_names_of(Settings(), SCOPE)
    for row, done in zip(rows, extract_recordings(recorded, feature_settings(Settings(), SCOPE)), strict=True):
        windows = {"quality": [str(code) for code in done.quality], "evidence": list(done.evidence)}
        baseline = baselines[row.recording_id]
        judge_plausibility(windows, done.values, names, row, baseline)
        bad = np.array([code != Quality.OK for code in windows["quality"]], dtype=bool)
        if 2 * bad.sum() > bad.size:
            p = model.score(with_change(done.values, baseline)).fault_probability[bad]
            known = p[np.isfinite(p)]
            yield max(windows["quality"], key=windows["quality"].count), float(known.mean()) if known.size else 0.0


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--axes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=5)
    asked = parser.parse_args()
    settings = demo_settings(Settings(), asked.folder)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    truth, rng = read_recording_truth(asked.folder), np.random.default_rng(asked.seed)
    axes: dict[tuple[str, str], list[Any]] = defaultdict(list)
    with store.read() as connection:
        until = connection.scalar(sa.select(sa.func.max(Label.to_at, type_=Label.to_at.type)))
        query = extractions(*attributed_extraction(), *RAW, scope=SCOPE).where(Recording.started_at >= until)
        for row in connection.execute(query.order_by(Recording.started_at)):
            known = truth[row.recording_id]
            if not known.sensor_fault and not known.unseen_program and (known.visible or not known.mode):
                axes["a fault" if known.mode else "no fault", row.axis_id].append(row)
        model = load_model(store, lake, champions(connection)[SCOPE])
        orders = known_orders(connection)
        every = [row for rows in axes.values() for row in rows]
        baselines = Baselines(connection, max(row.started_at for row in every) + timedelta(days=1)).of_all(every)
    found: list[tuple[str, str, str, float]] = []
    twice: list[tuple[str, str, *tuple[bool, ...]]] = []
    for behind in ("a fault", "no fault"):
        keys = sorted(key for key, rows in axes.items() if key[0] == behind and len(rows) >= LAST)
        for place in rng.permutation(len(keys))[: asked.axes]:
            rows = axes[keys[place]][-LAST:]
            raw = [
                SimpleNamespace(**{**row._mapping, "lake_path": row.raw_path, "lake_row": row.raw_row}) for row in rows
            ]
            read = {one.job.recording_id: one for one in _read_recordings(lake, [_job(row, orders) for row in raw])}
            for kind in (*KINDS, *(f"lasting {kind}" for kind in (*SENSOR_FAULTS, "wrong_speed"))):
                factor = float(rng.choice([0.6, 0.75, 1.3, 1.6]))
                signals = [(read[row.recording_id].job, np.array(read[row.recording_id].samples)) for row in rows]
                made = [spoiled(job, good, kind, rng, factor) for job, good in signals]
                kept = [one for one in made if one is not None]
                got = list(judged(kept, rows[: len(kept)], baselines, model))
                if not kind.startswith("lasting "):
                    found += [(kind, behind, verdict, p) for verdict, p in got]
                elif len(got) > 2 and got[0][0] not in NO_SIGNAL:
                    high = [[p >= level for _, p in got] for level in LEVELS.values()]
                    reached = (any(sum(one[n : n + 3]) > 1 for n in range(len(one) - 2)) for one in high)
                    twice.append((kind, behind, *reached))
    table = pd.DataFrame(found, columns=["kind", "behind", "verdict", "p"])
    for name, level in LEVELS.items():
        table[name] = table.p >= level
    group = table.assign(n=1.0).groupby(["verdict", "behind"])[list(LEVELS)]
    print(group.mean().round(3).assign(n=group.size()).to_string())
    group = pd.DataFrame(twice, columns=["kind", "behind", *LEVELS]).groupby(["kind", "behind"])
    print(group.mean().round(3).assign(n=group.size()).to_string())


if __name__ == "__main__":
    main()
