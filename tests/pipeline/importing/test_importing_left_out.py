"""What an import leaves out is said: gaps, bad files, excluded files, cut-off lines; and the sum is what was there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.importing import import_archive
from pipeline.intake.contract import Limits

MAPPING = """
version = 1
name = "folder"
[files]
glob = "*.csv"
[signal]
format = "csv"
column = { value = "acc" }
[signal.time]
column = "t"
kind = "epoch"
unit = "ms"
[recording]
site = { value = "lab" }
robot_id = { column = "file" }
axis = { value = "A" }
channel = { value = "x" }
quantity = { value = "acceleration" }
unit = { value = "g" }
sampling_rate_hz = { value = 100 }
rate_basis = { value = "declared" }
[time]
basis = "clock"
"""
START_MS = 1_767_225_600_000


def rows(keep: np.ndarray[Any, Any], end: str = "\n") -> str:
    """Lines of a file at 100 Hz, of the samples with these numbers."""
    lines = [f"{START_MS + 10 * number},{number % 7}" for number in keep.tolist()]
    return "t,acc\n" + "\n".join(lines) + end


def test_gaps_are_counted_and_pieces_too_short_to_score_are_named(folder: Any) -> None:
    number = np.arange(700)
    folder.csv(rows(number[number % 7 != 6]))
    found, report = folder.run(shortest=lambda quantity: {"acceleration": 512}[quantity])
    assert len(found) == 100
    assert [item.reason for item in report.skipped] == [
        "99 gaps in the times; cut there, the longest piece has 6 samples"
    ]
    said = "no recording of acceleration is as long as a window (512 samples): none gets a score"
    assert said in report.notes
    folder.csv(rows(np.r_[0:20, 30:630]))
    _, report = folder.run(shortest=lambda quantity: 512)
    assert any("1 of 2 recordings of acceleration are shorter than a window" in note for note in report.notes)


def test_whole_files_have_no_word_about_gaps(folder: Any) -> None:
    folder.csv(rows(np.arange(600)))
    _, report = folder.run(shortest=lambda quantity: 512)
    assert report.skipped == ()
    assert not any("window" in note or "gap" in note for note in report.notes)


def leave_out(mapping: str = MAPPING) -> str:
    return mapping.replace('format = "csv"', 'format = "csv"\non_bad_file = "leave out"')


def test_one_bad_file_refuses_everything_unless_the_mapping_leaves_it_out(folder: Any) -> None:
    folder.csv(rows(np.arange(30)), "good.csv")
    folder.csv(rows(np.arange(30)).replace("\n1767225600100,", "\n1767225600100"), "ragged.csv")
    folder.csv(rows(np.arange(30)).replace(",3\n", ",three\n"), "words.csv")
    folder.csv("", "empty.csv")
    folder.csv(rows(np.arange(30)).replace(",3\n", ",1e99\n"), "huge.csv")
    assert len(folder.problems()) >= 3
    found, report = folder.run(leave_out())
    assert {row["robot_id"] for row in found} == {"good.csv"}
    reasons = {item.file: item.reason for item in report.skipped}
    assert set(reasons) == {"ragged.csv", "words.csv", "empty.csv", "huge.csv"}
    assert "row 12: has 1 cells where the header names 2" in reasons["ragged.csv"]
    assert "'three' is not a number" in reasons["words.csv"]
    assert "does not fit 32-bit floats" in reasons["huge.csv"]
    assert report.files == {"files_read": 1, "bad_files_left_out": 4, "excluded": 0, "rows_not_selected": 0}
    assert [path.name for path in report.log_files] == ["good.parquet"]
    assert sum(report.files.values()) == 5


def test_where_every_file_is_bad_nothing_is_written(folder: Any) -> None:
    folder.csv("t,acc\n1,2,3\n", "a.csv")
    assert any(
        "no recording is left" in problem and "has 3 cells" in problem for problem in folder.problems(leave_out())
    )


def test_a_bad_mapping_is_refused_though_bad_files_are_left_out(folder: Any) -> None:
    folder.csv(rows(np.arange(30)))
    assert any("recording.unit" in problem for problem in folder.problems(leave_out().replace('"g"', '"bananas"')))


def test_files_are_excluded_by_name_and_counted(folder: Any) -> None:
    for name in ("a.csv", "b.csv", "b_copy.csv"):
        folder.csv(rows(np.arange(30)), name)
    exclude = MAPPING.replace('glob = "*.csv"', 'glob = "*.csv"\nexclude = ["*_copy.csv"]')
    found, report = folder.run(exclude)
    assert {row["robot_id"] for row in found} == {"a.csv", "b.csv"}
    assert (report.files["files_read"], report.files["excluded"]) == (2, 1)
    assert any("1 excluded" in line for line in report.lines())
    folder.landing = folder.landing.parent.parent / "second" / "landing"
    assert "no file matches 'z*'" in folder.problems(exclude.replace("*_copy.csv", "z*"))[0]
    assert "no file is left" in folder.problems(exclude.replace("*_copy.csv", "*"))[0]


@pytest.mark.parametrize("cut", ["\n17672256", "\n1767225600300,", "\n1767225600300,-0"])
def test_a_line_without_an_end_is_dropped_with_a_word(folder: Any, cut: str) -> None:
    """The third one could be read: nobody sees that a digit is missing."""
    folder.csv(rows(np.arange(30), end=cut))
    mapping = MAPPING + "[signal.csv]\ndrop_cut_off_end = true\n"
    (row,), report = folder.run(mapping)
    assert len(row["samples"]) == 30
    said = "row 32, at the end of the file, is cut off or has no line end; dropped"
    assert [item.reason for item in report.skipped] == [said]
    assert report.samples["dropped_lines"] == 1
    if not cut.endswith("-0"):
        folder.landing = folder.landing.parent / "second" / "landing"
        assert "row 32" in folder.problems()[0]


def test_a_logger_that_lost_power_twice_leaves_two_bad_lines_at_the_end_and_only_those_are_dropped(folder: Any) -> None:
    mapping = MAPPING + "[signal.csv]\ndrop_cut_off_end = true\n"
    folder.csv(rows(np.arange(30), end="\n17672256\n17"))
    (row,), report = folder.run(mapping)
    assert (len(row["samples"]), report.samples["dropped_lines"]) == (30, 2)
    folder.landing = folder.landing.parent / "second" / "landing"
    folder.csv(rows(np.arange(30)).replace("\n1767225600100,", "\n1767225600100"))
    assert "row 12: has 1 cells" in folder.problems(mapping)[0]


def test_a_recording_that_would_not_be_taken_in_is_refused_with_what_to_do(folder: Any) -> None:
    folder.csv(rows(np.arange(600)))
    least = Limits(datetime(2026, 3, 1, tzinfo=UTC), 500, 1e6, 1e5)
    assert "more than 500 samples (setting max_samples); cut it" in folder.problems(limits=least)[0]
    cut = MAPPING + '[[process]]\nkind = "cut_to_length"\nseconds = 5\n'
    assert folder.run(cut, limits=least)[1].recordings == 2


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ("sampling_rate_hz = { value = 3e6 }", "recording.sampling_rate_hz: 3e+06 Hz is above 1e+06"),
        ("shaft_speed_rpm = { value = 2e5 }", "recording.shaft_speed_rpm: 200000 rpm is above 100000"),
        ("sampling_rate_hz = { value = 1e-300 }", "at 1e-300 Hz a recording of"),
        ("sampling_rate_hz = { value = 1e-9 }", "ends beyond the calendar; correct it"),
    ],
)
def test_a_rate_or_speed_that_intake_would_refuse_is_refused_before_anything_is_written(
    folder: Any, declared: str, said: str
) -> None:
    folder.csv(rows(np.arange(600)))
    name = declared.split(" ")[0]
    lines = [line for line in MAPPING.splitlines() if not line.startswith(name)]
    synthetic = (
        '[time]\nbasis = "synthetic"\nstart = 2000-01-01T00:00:00Z\nspacing_s = 9e9\nrecording = { column = "file" }\n'
    )
    mapping = (
        "\n".join(lines)
        .replace('[time]\nbasis = "clock"', synthetic)
        .replace("[recording]", f"[recording]\n{declared}")
    )
    mapping = mapping.replace('[signal.time]\ncolumn = "t"\nkind = "epoch"\nunit = "ms"\n', "")
    limits = Limits(datetime(2026, 3, 1, tzinfo=UTC), 10**6, 1e6, 1e5)
    assert any(said in problem for problem in folder.problems(mapping, limits=limits))


def test_a_dry_run_says_the_same_and_writes_nothing(folder: Any) -> None:
    folder.csv(rows(np.r_[0:20, 30:630]))
    folder.mapping.write_text(MAPPING)
    dry = import_archive(folder.path, folder.mapping, folder.landing, dry_run=True)
    assert not folder.landing.parent.exists()
    wet = import_archive(folder.path, folder.mapping, folder.landing)
    assert dry.lines()[0] == "dry run: nothing was written"
    same = ("recordings", "samples", "files", "skipped", "notes", "log_files", "labels", "units", "written")
    assert [getattr(dry, name) for name in same] == [getattr(wet, name) for name in same]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_taken_and_left_out_are_what_was_there(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever is missing, cut, decimated, too short or of another signal, and wherever clocks jump."""
    n = data.draw(st.integers(1, 400), label="rows")
    random = np.random.default_rng(data.draw(st.integers(0, 2**16), label="seed"))
    columns = {
        "acc": np.where(random.random(n) < data.draw(st.sampled_from([0.0, 0.01, 0.2])), np.nan, random.random(n)),
        "t": START_MS + 10 * np.cumsum(1 + 3 * (random.random(n) < data.draw(st.sampled_from([0.0, 0.02])))),
        "motor": np.arange(n) // 50 % 2,
    }
    steps = data.draw(st.lists(st.sampled_from(["decimate", "cut_to_length", "resample"]), unique=True, max_size=3))
    steps.sort(key=["resample", "decimate", "cut_to_length"].index)
    keys = {"decimate": "factor = 2\n", "cut_to_length": "seconds = 0.5\n", "resample": ""}
    text = MAPPING.replace("*.csv", "*.parquet").replace('"csv"', '"parquet"')
    if data.draw(st.booleans(), label="one motor"):
        text = text.replace("[signal.time]", 'rows = { motor = ["1"] }\n[signal.time]')
    text += "".join(f'[[process]]\nkind = "{step}"\n{keys[step]}' for step in steps)
    text += f"[pieces]\nmin_samples = {data.draw(st.sampled_from([1, 5, 60]))}\n"
    source = tmp_path / "in"
    source.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), source / "a.parquet")
    (tmp_path / "m.toml").write_text(
        text.replace('rate_basis = { value = "declared" }', 'rate_basis = { value = "assumed" }')
    )
    try:
        report = import_archive(source, tmp_path / "m.toml", tmp_path / "out" / "landing", dry_run=True)
    except ValueError as error:
        assert "no recording is left" in str(error) or "no row of" in str(error) or "Hz is declared" in str(error), (
            error
        )
        return
    samples = dict(report.samples)
    assert samples["there"] == n
    assert samples.pop("there") == sum(samples.values())
    assert min(samples.values()) >= 0
