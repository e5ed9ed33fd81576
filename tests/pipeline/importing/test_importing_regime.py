"""A robot's motion as regime: program, load, payload and speed of each recording, from columns of the signal file."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.base.regime import regime_of

N = 100
MAPPING = """
version = 1
name = "folder"
[files]
glob = "*.csv"
[signal]
format = "csv"
column = { value = "cur" }
[signal.csv]
missing_texts = [""]
[signal.speed]
column = "qd"
unit = "deg/s"
ratio = 100
[recording]
site = { value = "lab" }
robot_id = { value = "R" }
axis = { value = "A" }
channel = { value = "current" }
quantity = { value = "motor_current" }
unit = { value = "A" }
sampling_rate_hz = { value = 100 }
rate_basis = { value = "declared" }
program = { column = "prog" }
load = { column = "torque" }
payload_kg = { column = "tool" }
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 3600
recording = { column = "file" }
"""
CUT = '[[process]]\nkind = "cut_at_changes"\ncolumn = "prog"\n'
MOTION = [("pick", 90, 1.0, 0), ("place", 30, 0.5, 5), ("pick", 90, 0.8, 0)]


def write(folder: Any, motion: list[tuple[str, float, float, float]]) -> None:
    """Stretches of 100 rows: program, joint speed (deg/s), torque and tool."""
    rows = [
        f"{at % 7},{qd},{prog},{torque + 0.1 * (at % 2)},{tool}\n"
        for prog, qd, torque, tool in motion
        for at in range(N)
    ]
    folder.csv("cur,qd,prog,torque,tool\n" + "".join(rows))


def test_each_recording_has_the_regime_of_its_own_time(folder: Any) -> None:
    write(folder, MOTION)
    rows, report = folder.run(MAPPING + CUT)
    assert [row["program"] for row in rows] == ["pick", "place", "pick"]
    assert [row["shaft_speed_rpm"] for row in rows] == pytest.approx([1500, 500, 1500])
    assert [row["load"] for row in rows] == pytest.approx([1.05, 0.55, 0.85])
    assert [row["payload_kg"] for row in rows] == [0, 5, 0]
    regimes = [
        regime_of(row["program"], row["shaft_speed_rpm"], row["load"], speed_bin_rpm=100, load_bin=0.5) for row in rows
    ]
    assert regimes[0] != regimes[1]
    assert not [note for note in report.notes if "recordings have" in note]


def test_several_programs_in_a_recording_are_none_and_told(folder: Any) -> None:
    write(folder, MOTION)
    (row,), report = folder.run(MAPPING)
    assert row["program"] is None
    assert row["load"] == pytest.approx((1.05 + 0.55 + 0.85) / 3)
    (note,) = [note for note in report.notes if "program" in note]
    assert note.startswith("1 of 1 recordings have more than one program in column 'prog'")
    assert "cut_at_changes" in note


def test_pieces_of_a_length_have_their_own_regime(folder: Any) -> None:
    write(folder, MOTION[:2])
    rows, _ = folder.run(MAPPING + '[[process]]\nkind = "cut_to_length"\nseconds = 0.5\n')
    assert [row["program"] for row in rows] == ["pick", "pick", "place", "place"]
    assert [row["payload_kg"] for row in rows] == [0, 0, 5, 5]


def test_numbers_of_programs_are_translated(folder: Any) -> None:
    write(folder, [("7", 90, 1, 0), ("8", 90, 1, 0), ("", 90, 1, 0)])
    named = MAPPING.replace(
        '{ column = "prog" }', '{ column = "prog", map = { 7 = "weld", 8 = "glue" }, default = "none" }'
    )
    rows, _ = folder.run(named + CUT)
    assert [row["program"] for row in rows] == ["weld", "glue", "none"]
    rows, report = folder.run(MAPPING + CUT)
    assert [row["program"] for row in rows] == ["7", "8", None]
    assert any("1 of 3 recordings have no program in column 'prog'" in note for note in report.notes)
    folder.landing = folder.landing.parent.parent / "again" / "landing"
    assert (
        "value '8' is not in the map"
        in folder.problems(MAPPING.replace('{ column = "prog" }', '{ column = "prog", map = { 7 = "weld" } }') + CUT)[0]
    )


def test_a_column_that_is_not_there_is_refused(folder: Any) -> None:
    write(folder, MOTION)
    assert "has no column 'torq'" in folder.problems(MAPPING.replace('"torque"', '"torq"'))[0]
    template = MAPPING.replace('program = { column = "prog" }', 'program = { template = "p{prog}" }')
    assert any("has no column 'prog'" in problem for problem in folder.problems(template))


def test_a_load_that_is_text_is_refused_with_its_row(folder: Any) -> None:
    write(folder, [("pick", 90, 1, 0)])
    text = (folder.path / "a.csv").read_text().replace("pick,1.1,", "pick,much,", 1)
    folder.csv(text)
    assert any("row 3" in problem and "'much'" in problem for problem in folder.problems())
