"""FEMTO runs to failure: the rules of `axiswatch evaluate --protocol femto-trend`, on each channel alone as well.

    python benchmarks/femto_trend.py --data FOLDER_WITH_FEMTO

Reference and threshold of every rule are computed from the first 20 % of each run and do not change after that. A rule
is on where it is on any channel. A snapshot of 2,560 samples is one window of three turns, too few for a bearing line.

lead, first: share of the run that is left when the lasting alarm starts, which is on to the end (0 without one), and
when the first one starts. 20-50 %: number of snapshots with the alarm on in that part of the run, where no fault is
known. The change points are those of the health index.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from features.extract import FeatureSettings, extract, feature_names
from features.health.baseline import fit_reference
from features.health.health import health_index
from features.health.trend import change_points
from pipeline.base.quantities import STANDARD_GRAVITY_M_S2
from pipeline.evaluation.trend import EARLY_UNTIL, RULES, Run, judge_run

RATE_HZ = 25_600.0
SNAPSHOT = 2_560
RUNS = {
    "femto/Bearing1_1": 1_800.0,
    "femto/Bearing1_2": 1_800.0,
    "femto/Bearing2_2": 1_650.0,
    "femto_more/Bearing2_6_whole": 1_650.0,
}
"""Speed of each run, rpm."""

CHANNELS = ("h_acc", "v_acc")
REFERENCE_SHARE = 0.2


def read(path: Path, rpm: float) -> Run:
    """Read a run and compute its features."""
    table = pq.read_table(path)
    settings = FeatureSettings()
    channels = {
        channel: extract(
            table[channel].to_numpy().reshape(-1, SNAPSHOT) * np.float32(STANDARD_GRAVITY_M_S2),
            sampling_rate_hz=RATE_HZ,
            rate_is_declared=True,
            shaft_speed_rpm=rpm,
            speed_is_steady=True,
            orders=None,
            settings=settings,
        )
        for channel in CHANNELS
    }
    n = len(channels[CHANNELS[0]])
    return Run(path.stem, feature_names(settings), channels, n, int(REFERENCE_SHARE * n))


def judge(run: Run, name: str) -> dict[str, object]:
    """Return the figures of a rule on a run."""
    on = RULES[name](run)
    assert on is not None, "the reference part is long enough"
    figures = judge_run(on, run.n_baseline)
    early = on[run.n_baseline : int(EARLY_UNTIL * run.n)]
    row = {"run": run.unit, "channels": " ".join(run.channels), "rule": name}
    return row | {
        "lead": figures["lead_time"],
        "first": figures["first_alarm"],
        "20-50 %": int(early.sum()),
        "of": early.size,
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    rows = []
    for name, rpm in RUNS.items():
        run = read(data / f"{name}.parquet", rpm)
        alone = [replace(run, channels={channel: values}) for channel, values in run.channels.items()]
        rows += [judge(some, rule) for some in (run, *alone) for rule in RULES]
        for channel, values in run.channels.items():
            index = health_index(values, run.names, fit_reference(values[: run.n_baseline]))
            changes = change_points(np.arange(run.n), index, min_shift=1.0)
            steps = [f"{c.latest / run.n:.0%} {c.before:.1f} -> {c.after:.1f}" for c in changes]
            print(f"{run.unit} {channel}, {run.n} snapshots: {'; '.join(steps)}")
    pd.set_option("display.width", 200)
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
