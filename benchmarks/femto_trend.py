"""FEMTO runs to failure: the health index with its frozen alarm rule, compared with plain RMS thresholds.

    python benchmarks/femto_trend.py --data FOLDER_WITH_FEMTO

Reference and threshold of every rule are computed from the first 20 % of each run and do not change after that. Of the
two channels the higher value counts. A snapshot of 2,560 samples is one window of three turns, too few for a bearing
line.

lead: share of the run that is left when the lasting alarm starts, which is on to the end; 0 without one. 20-50 %:
number of snapshots with the alarm on in that part of the run, where no fault is known. review: share of the snapshots
after the reference part with the alarm on before the lasting alarm; a check there would probably find nothing.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from features.extract import FeatureSettings, extract, feature_names
from features.health.alarm import alarm_onset
from features.health.baseline import fit_reference
from features.health.health import health_index
from features.health.trend import change_points, running_median
from pipeline.base.quantities import STANDARD_GRAVITY_M_S2

RATE_HZ = 25_600.0
SNAPSHOT = 2_560
RPM = {"Bearing1_1": 1_800.0, "Bearing1_2": 1_800.0, "Bearing2_2": 1_650.0}
CHANNELS = ("h_acc", "v_acc")
REFERENCE_SHARE = 0.2


@dataclass(frozen=True)
class Run:
    """One bearing: times of the n snapshots in s, and the higher RMS and health index of both channels; all (n,)."""

    name: str
    times: np.ndarray
    rms: np.ndarray
    health: np.ndarray

    @property
    def reference(self) -> int:
        """Number of snapshots in the reference part."""
        return int(REFERENCE_SHARE * len(self.times))


def read(path: Path) -> Run:
    """Read a run and compute its RMS and health index."""
    table = pq.read_table(path)
    settings = FeatureSettings()
    names = feature_names(settings)
    health, rms = [], []
    for channel in CHANNELS:
        windows = table[channel].to_numpy().reshape(-1, SNAPSHOT) * np.float32(STANDARD_GRAVITY_M_S2)
        values = extract(
            windows,
            sampling_rate_hz=RATE_HZ,
            rate_is_declared=True,
            shaft_speed_rpm=RPM[path.stem],
            speed_is_steady=True,
            orders=None,
            settings=settings,
        )
        first = int(REFERENCE_SHARE * len(values))
        health.append(health_index(values, names, fit_reference(values[:first])))
        level = 10.0 ** values[:, names.index("rms_log10")].astype(np.float64)
        rms.append(level / np.median(level[:first]))
    times = table["t_start_s"].to_numpy()[::SNAPSHOT].astype(np.float64)
    return Run(path.stem, times, np.max(rms, axis=0), np.max(health, axis=0))


def judge(run: Run, rule: str, on: np.ndarray) -> dict[str, object]:
    """Return the figures of a rule whose alarm is on at some snapshots, `on` (n,)."""
    n, first = len(on), run.reference
    off = np.flatnonzero(~on)
    onset = int(off[-1]) + 1 if off.size else 0
    end = run.times[-1]
    stretch = on[first : n // 2]
    return {
        "run": run.name,
        "rule": rule,
        "lead": 0.0 if onset >= n else (end - run.times[onset]) / (end - run.times[0]),
        "20-50 %": int(stretch.sum()),
        "of": len(stretch),
        "review": float(on[first:onset].sum() / (n - first)),
    }


def rules(run: Run) -> list[dict[str, object]]:
    """Judge the product's rule and the two plain ones."""
    first = run.reference
    smooth = running_median(run.rms, width=6)
    median = float(np.median(run.rms[:first]))
    mad = float(np.median(np.abs(run.rms[:first] - median)))
    later = np.arange(len(smooth)) >= first
    alarm = alarm_onset(run.health, baseline_count=first)
    return [
        judge(run, f"health index over {alarm.threshold:.1f}", alarm.on),
        judge(run, "RMS over 2 x median", later & (smooth > 2 * median)),
        judge(run, "RMS over median + 6 MAD", later & (smooth > median + 6 * mad)),
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    rows = []
    for name in sorted(RPM):
        run = read(data / "femto" / f"{name}.parquet")
        rows += rules(run)
        changes = change_points(run.times, run.health, min_shift=1.0)
        print(f"{name}: {len(run.times)} snapshots, {run.times[-1] / 3600:.1f} h; change points of the health index:")
        for change in changes:
            share = change.latest / run.times[-1]
            print(f"  {change.latest / 3600:5.2f} h ({share:.0%})  {change.before:5.1f} -> {change.after:5.1f}")
    pd.set_option("display.width", 200)
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
