"""Shares of damaged, good and faulty recordings that get a data-quality verdict; the damage is made on purpose.

    python benchmarks/damage.py --data FOLDER [--per-group 12]

`FOLDER` has the folders cwru, uestc, femto and robot_rv_reducer; two simulated fleets are always judged too. Healthy
recordings of one unit, channel and regime are cut in half by time: the first half is the reference, the second half is
judged as it is and damaged. `alone`: share with a verdict that needs no reference. `with`: the same with the unit's
reference. Kind `machine fault`: recordings of real (or simulated) faults of the machine, which should get no verdict.
`caught`: a verdict, or review by a model trained on the reference halves of the whole rig (median novelty of the
windows above the default of `novelty_percentile`). A fault of the machine is new to that model, so it should be caught.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from damage_kinds import KINDS, Recording, damage
from scipy import signal

from features.extract import FeatureSettings, extract, feature_names
from features.health.baseline import Reference, change, fit_reference
from features.kinematics import Orders, bearing_orders
from features.quality.plausibility import PlausibilitySettings, _case, _distance, compare
from features.quality.quality import Quality, assess, spread
from features.quality.speed_check import shown_speed
from features.settings import feature_groups
from features.windows import WindowSettings, cut, plan_windows
from models.model import Model
from models.training.train import train
from pipeline.base.settings import Settings
from pipeline.extraction.baselines import RELATIVE_GROUP, relative_names
from pipeline.simulation.fleet import draw_fleet
from pipeline.simulation.schedule import appointments
from pipeline.simulation.settings import FleetSettings
from pipeline.simulation.writer import record

NOVELTY_PERCENTILE = Settings.model_fields["novelty_percentile"].default
SKF_6205 = bearing_orders(9, 7.94, 39.04)


@dataclass(frozen=True, eq=False)
class Group:
    """Recordings of one channel of one unit in one regime, healthy ones in order of time."""

    rig: str
    name: str
    channel: str
    healthy: list[Recording]
    faulty: list[Recording]
    orders: Orders | None
    settings: FeatureSettings
    split: float = 0.5


def features_of(recording: Recording, group: Group) -> tuple[np.ndarray, list[Quality]]:
    """Return the features of a recording, and its verdicts that need no reference."""
    samples, rate, rpm = np.ascontiguousarray(recording.samples, np.float32), recording.rate_hz, recording.rpm
    plan = plan_windows(
        samples.size,
        sampling_rate_hz=rate,
        shaft_speed_rpm=rpm,
        speed_is_steady=True,
        settings=group.settings.windows,
    )
    windows = cut(samples, plan)
    common = {"sampling_rate_hz": rate, "rate_is_declared": True, "shaft_speed_rpm": rpm}
    codes, texts = assess(windows, settings=group.settings.quality, **common)
    bad = [code for code in spread(codes, texts)[0] if code.blocks]
    verdicts = [Counter(bad).most_common(1)[0][0]] if 2 * len(bad) > len(codes) else []
    if rpm is not None and len(windows) and not verdicts:
        verdict = shown_speed(windows, sampling_rate_hz=rate, declared_rpm=rpm, orders=group.orders).verdict
        verdicts += [verdict[0]] if verdict else []
    values = extract(windows, speed_is_steady=True, orders=group.orders, settings=group.settings, **common)
    return values, verdicts


def judge_group(
    group: Group,
    siblings: dict[str, Reference],
    reference: Reference,
    model: Model,
    per_group: int,
    rng: np.random.Generator,
) -> Iterator[dict[str, object]]:
    """Judge undamaged, damaged and faulty recordings of one group."""
    names = feature_names(group.settings)

    def row(kind: str, recording: Recording) -> dict[str, object]:
        values, alone = features_of(recording, group)
        more = compare(values, names, reference, siblings=siblings) if len(values) else []
        verdicts = [*alone, *(code for code, _ in more)]
        blocking = next((str(code) for code in verdicts if code.blocks), "")
        reported = next((str(code) for code in verdicts if not code.blocks), "")
        return {
            "rig": group.rig,
            "kind": kind,
            "alone": bool(alone),
            "with": bool(blocking),
            "caught": bool(blocking) or len(values) == 0 or is_new(model, values, reference),
            "changed": bool(blocking) or (len(values) > 0 and change_size(values, names, reference) > 1.5),
            "verdict": blocking,
            "reported": reported,
            "group": group.name,
        }

    judged = group.healthy[round(group.split * len(group.healthy)) :]
    for recording in judged:
        yield row("undamaged", recording)
    for kind in KINDS:
        picks = rng.choice(len(judged), size=min(per_group, 3 * len(judged)), replace=len(judged) < per_group)
        for pick in picks:
            spoilt = damage(judged[int(pick)], kind, rng)
            if spoilt is not None:
                yield row(kind, spoilt)
    for recording in group.faulty:
        yield row("machine fault", recording)


def change_size(values: np.ndarray, names: tuple[str, ...], reference: Reference) -> float:
    """Return the RMS change of level, waveform and spectrum, in units of the allowed change: below 1 if healthy."""
    return _distance(_case(values, names, reference, PlausibilitySettings()))


def with_changes(values: np.ndarray, reference: Reference) -> np.ndarray:
    """Add the changes against the reference to the features, as scoring does."""
    return np.concatenate([values, change(values, reference)], axis=1).astype(np.float32)


def learn(groups: list[Group], values: list[np.ndarray], references: list[Reference]) -> Model:
    """Train on the reference halves of a rig; five parts in time of each group are used as units."""
    settings = groups[0].settings
    names = feature_names(settings)
    units = [f"{k} part {5 * i // len(x)}" for k, x in enumerate(values) for i in range(len(x))]
    x = np.concatenate([with_changes(x, reference) for x, reference in zip(values, references, strict=True)])
    model, _ = train(
        x,
        np.zeros(len(x), np.int64),
        np.array(units),
        classes=("healthy",),
        feature_names=names + relative_names(names),
        feature_version="benchmark",
        feature_groups=tuple(g for g, own in feature_groups(settings).items() for _ in own)
        + (RELATIVE_GROUP,) * len(names),
    )
    return model


def is_new(model: Model, values: np.ndarray, reference: Reference) -> bool:
    """Return whether a recording would go to review as novel, or has no finite score."""
    scores = model.score(with_changes(values, reference))
    percentile = np.where(scores.finite, scores.novelty_percentile, 100.0)
    return bool(np.median(percentile) > NOVELTY_PERCENTILE)


def judge_all(groups: list[Group], per_group: int, seed: int = 1) -> pd.DataFrame:
    """Judge all groups; groups with the same name are channels of one unit and are siblings of each other."""
    references, learnt = {}, []
    for group in groups:
        first = group.healthy[: round(group.split * len(group.healthy))]
        rows = [features_of(recording, group)[0] for recording in first]
        learnt.append(np.concatenate(rows))
        references[group.name, group.channel] = fit_reference(learnt[-1])
    model = learn(groups, learnt, [references[group.name, group.channel] for group in groups])
    rows = []
    for number, group in enumerate(groups):
        siblings = {c: r for (n, c), r in references.items() if n == group.name and c != group.channel}
        rng = np.random.default_rng([seed, number])
        rows += list(judge_group(group, siblings, references[group.name, group.channel], model, per_group, rng))
    return pd.DataFrame(rows)


def pieces(samples: np.ndarray, size: int, rate: float, rpm: float | None, other: np.ndarray | None) -> list[Recording]:
    """Cut a long recording into short ones."""
    return [
        Recording(samples[i : i + size], rate, rpm, None if other is None else other[i : i + size])
        for i in range(0, samples.size - size + 1, size)
    ]


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Read channels and metadata of a file."""
    table = pq.read_table(path)
    about = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
    return {name: table[name].to_numpy() for name in table.column_names}, about


def cwru(data: Path) -> list[Group]:
    """Return the only normal recording, decimated from 48 to 12 kHz, and every faulty one; windows of 10 turns."""
    settings = FeatureSettings(windows=WindowSettings(turns=10))
    normal, about = read(data / "cwru" / "normal_load0_97_partA.parquet")
    slow = {name: signal.decimate(x.astype(float), 4, ftype="fir").astype(np.float32) for name, x in normal.items()}
    groups = []
    for channel, other in (("DE", "FE"), ("FE", "DE")):
        healthy = pieces(slow[channel], 4096, 12_000.0, float(about["rpm"]), slow[other])
        faulty = []
        for path in sorted((data / "cwru").glob("*.parquet")):
            if path.name.startswith("normal"):
                continue
            channels, more = read(path)
            if channel in channels:
                faulty += pieces(channels[channel][:48_000], 24_000, 12_000.0, float(more["rpm"]), None)
        groups.append(Group("cwru", "cwru", channel, healthy, faulty, SKF_6205, settings))
    return groups


def uestc(data: Path) -> list[Group]:
    """Return the healthy bearing at two speeds and the three faulty ones, in recordings of 4 s."""
    groups = []
    for rpm in (1000, 1200):
        by_unit = {
            unit: pieces(
                read(data / "uestc" / f"{unit}_{rpm}rpm_seg123.parquet")[0]["acc"], 80_000, 20_000.0, float(rpm), None
            )
            for unit in "NBIO"
        }
        faulty = by_unit["B"] + by_unit["I"] + by_unit["O"]
        groups.append(Group("uestc", f"uestc_{rpm}", "acc", by_unit["N"], faulty, None, FeatureSettings()))
    return groups


def femto(data: Path) -> list[Group]:
    """Return runs to failure: first tenth reference, second tenth damaged; last tenth and 1 in 7 before it faulty."""
    groups = []
    for path in sorted((data / "femto").glob("*.parquet")):
        channels, _ = read(path)
        rpm = 1650.0 if "2_2" in path.name else 1800.0
        for channel, other in (("h_acc", "v_acc"), ("v_acc", "h_acc")):
            all_of_it = pieces(channels[channel], 2560, 25_600.0, rpm, channels[other])
            fifth, late = round(0.2 * len(all_of_it)), round(0.9 * len(all_of_it))
            groups.append(
                Group(
                    "femto",
                    path.stem,
                    channel,
                    all_of_it[:fifth],
                    all_of_it[fifth:late:7] + all_of_it[late:],
                    None,
                    FeatureSettings(),
                )
            )
    return groups


def rv_reducer(data: Path) -> list[Group]:
    """Return recordings of 1024 samples of a healthy robot at two speeds; the speed is not declared."""
    groups = []
    for path in sorted((data / "robot_rv_reducer").glob("*.parquet")):
        channels, _ = read(path)
        for channel, other in (("ch0", "ch1"), ("ch1", "ch0")):
            healthy = pieces(channels[channel], 1024, 100_000.0, None, channels[other])
            groups.append(Group("rv_reducer", path.stem, channel, healthy, [], None, FeatureSettings()))
    return groups


def simulated(world: str, seed: int) -> list[Group]:
    """Return a simulated fleet: every axis in every program, two channels; faults from severity 0.5 on."""
    settings = FleetSettings(
        robots=3, axes=4, days=14, recordings_per_day=6, world=world, seed=seed, channels=("acc_x", "acc_y")
    )
    kept: dict[tuple[str, str], tuple[list[Recording], list[Recording], Orders]] = defaultdict(
        lambda: ([], [], Orders())
    )
    for plan in draw_fleet(settings):
        bearing = plan.bearing
        orders = Orders(bearing.bpfo, bearing.bpfi, bearing.bsf, bearing.ftf, (float(bearing.pinion_teeth),))
        for day in range(settings.days):
            for what in appointments(settings, plan, day):
                if what.sensor_fault or 0 < what.severity < 0.5 or what.unseen_program:
                    continue
                rows = record(settings, plan, what)
                for row, other in zip(rows, rows[::-1], strict=True):
                    recording = Recording(
                        np.asarray(row["samples"], np.float32),
                        row["sampling_rate_hz"],
                        row["shaft_speed_rpm"],
                        np.asarray(other["samples"], np.float32),
                    )
                    key = (f"{what.installation.unit_serial} {what.program.name}", row["channel"])
                    old = kept[key]
                    (old[1] if what.severity else old[0]).append(recording)
                    kept[key] = (old[0], old[1], orders)
    return [
        Group(f"simulated {world}", name, channel, healthy, faulty, orders, FeatureSettings())
        for (name, channel), (healthy, faulty, orders) in kept.items()
        if len(healthy) >= 8
    ]


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the shares by rig and kind, in percent."""
    rows = rows.assign(reported=rows["reported"] != "")
    shares = 100 * rows.groupby(["kind", "rig"], sort=False)[["alone", "with", "caught", "changed", "reported"]].mean()
    return shares.assign(n=rows.groupby(["kind", "rig"], sort=False).size()).unstack("rig").round(1)


def main() -> None:
    """Judge and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--per-group", type=int, default=12)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    pd.set_option("display.width", 250)
    pd.set_option("display.max_columns", 50)
    pd.set_option("display.max_rows", 500)
    makers = {
        "cwru": lambda: cwru(arguments.data),
        "uestc": lambda: uestc(arguments.data),
        "femto": lambda: femto(arguments.data),
        "rv_reducer": lambda: rv_reducer(arguments.data),
        "simulated_A": lambda: simulated("A", arguments.seed),
        "simulated_B": lambda: simulated("B", arguments.seed),
    }
    parts = []
    for name in arguments.only or makers:
        groups = makers[name]()
        few = max(1, arguments.per_group // 4) if len(groups) > 8 else arguments.per_group
        parts.append(judge_all(groups, few, arguments.seed))
    rows = pd.concat(parts)
    print(table(rows).to_string())
    print("\nVerdicts\n", rows[rows["with"]].groupby(["kind", "rig", "verdict"]).size().to_string())


if __name__ == "__main__":
    main()
