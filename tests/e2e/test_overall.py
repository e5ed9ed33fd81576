"""Overall values of wireless sensors: from a CSV to a baseline, a trend, and a case when one of them steps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from pipeline.base.settings import Settings
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from review.figures.case import case_changes, case_figures

START = datetime(2026, 1, 1, tzinfo=UTC)
AXES = tuple(f"A{number}" for number in range(1, 6))
DAYS, STEP_DAY, EVERY_H = 8, 7, 3
STEPPED = "A5"
MAPPING = """
version = 1
name = "wireless"
[files]
glob = "*.csv"
pattern = '(?P<axis>A\\d)\\.csv'
[signal]
format = "csv"
[signal.time]
column = "time"
kind = "text"
[recording]
site = { value = "p" }
robot_id = { value = "R1" }
axis = { column = "axis" }
sampling_rate_hz = { from_times = true }
rate_basis = { value = "declared" }
[time]
basis = "clock"
[[channel]]
column = { value = "vel" }
channel = { value = "velocity" }
quantity = { value = "overall_velocity" }
unit = { value = "in/s" }
[[channel]]
column = { value = "kurt" }
channel = { value = "kurtosis" }
quantity = { value = "overall_kurtosis" }
unit = { value = "1" }
[[channel]]
column = { value = "temp" }
channel = { value = "temperature" }
quantity = { value = "overall_temperature" }
unit = { value = "degF" }
"""


def write_archive(folder: Any) -> None:
    """A value every two hours of each axis; on the last day the velocity of one axis is four times as high."""
    rng = np.random.default_rng(7)
    folder.mkdir()
    n = DAYS * 24 // EVERY_H
    for number, axis in enumerate(AXES):
        lines = ["time,vel,kurt,temp"]
        for at in range(n):
            time = START + timedelta(hours=EVERY_H * at, seconds=float(rng.uniform(0, 60)))
            vel = (0.04 + 0.005 * number) * np.exp(0.05 * rng.normal())
            if axis == STEPPED and at * EVERY_H >= STEP_DAY * 24:
                vel *= 4
            kurt, temp = 3.0 * np.exp(0.02 * rng.normal()), 95 + 2 * rng.normal()
            lines.append(f"{time.isoformat()},{vel:.5f},{kurt:.4f},{temp:.2f}")
        (folder / f"{axis}.csv").write_text("\n".join(lines) + "\n")


def test_from_a_csv_of_values_to_a_case_when_one_steps(cli: Any) -> None:
    write_archive(cli.home / "archive")
    (cli.home / "m.toml").write_text(MAPPING)
    report = cli("import", "archive", "--mapping", "m.toml", "--json").json()
    per_channel = len(AXES) * DAYS * 24 // EVERY_H
    assert report["recordings"] == 3 * per_channel
    notes = [note for note in report["notes"] if not note.startswith("rate")]
    assert len(notes) == 2, notes
    assert all("is converted" in note for note in notes), notes

    def run(day: float) -> Any:
        return cli("run", "--as-of", (START + timedelta(days=day)).isoformat(), "--json", baseline_days=3).json()

    counts = run(6)
    assert counts["extract"]["by_quality"] == {"ok": counts["extract"]["recordings"]}
    assert counts["baseline"]["units"] >= len(AXES)
    trend = cli("trend", "R1", "A1", "--channel", "velocity", "--json").json()["trends"][0]
    assert trend["n_points"] >= 40
    assert abs(trend["health_index"]) < 3

    head = "site,cell,robot_id,axis,unit_serial,from_at,to_at,verdict,mode,evidence,known_at\n"
    times = ",".join((START + timedelta(days=day)).isoformat() for day in (0, 6))
    rows = [f"p,,R1,{axis},,{times},healthy,,inspected,{(START + timedelta(days=6)).isoformat()}\n" for axis in AXES]
    (cli.home / "labels.csv").write_text(head + "".join(rows))
    cli("labels", "import", "labels.csv")
    trained = cli("train", "--as-of", (START + timedelta(days=6)).isoformat(), "--json", baseline_days=3).json()
    assert {model["scope"] for model in trained} == {"overall_velocity", "overall_kurtosis", "overall_temperature"}
    assert {model["report"]["kind"] for model in trained} == {"baseline_only"}, "novelty alone, no fault probability"
    assert not any("same samples" in reason for model in trained for reason in model["left_out"])
    run(STEP_DAY)
    assert cli("queue", "--json").json() == []
    run(DAYS)
    (case,) = cli("queue", "--json").json()
    assert (case["axis"], case["fault_probability"]) == (STEPPED, None)
    assert [reason["code"] for reason in case["reasons"]] == ["novel"]
    assert case["first_at"].startswith("2026-01-08T0"), "in the first hours of the step"
    (trend,) = cli("trend", "R1", STEPPED, "--channel", "velocity", "--json").json()["trends"]
    assert trend["points"][0]["velocity_rms_mm_s"] == pytest.approx(25.4 * 0.06, rel=0.2), "from in/s"
    (change,) = trend["changes"]
    assert change["before"] < 1
    assert change["after"] > 8
    store, lake = Store.open(f"sqlite:///{cli.home / 'axiswatch.db'}"), Lake(str(cli.home / "lake"))
    as_of = START + timedelta(days=DAYS)
    settings = Settings(home=cli.home, workers=1)
    figures = case_figures(store, lake, settings, case["case_id"], "velocity", as_of=as_of)
    assert figures["recording"]["n_samples"] == 1, "the page of the case can be drawn"
    moved = case_changes(store, lake, settings, case["case_id"], "velocity", as_of=as_of)["moved"]
    store.dispose()
    assert [(row["name"], row["was_text"].split()[1]) for row in moved] == [("rms_log10", "mm/s")]
