"""Clocks of loggers: other zeros, two columns, whole seconds, clocks that go back, rates that are not as declared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipeline.importing.clocks.resample import EDGE, resample

MAPPING = """
version = 1
name = "folder"
[files]
glob = "*.*"
[signal]
format = "csv"
column = { value = "acc" }
[recording]
site = { value = "lab" }
robot_id = { value = "R" }
axis = { value = "A" }
channel = { value = "x" }
quantity = { value = "acceleration" }
unit = { value = "g" }
sampling_rate_hz = { value = 10 }
rate_basis = { value = "declared" }
[time]
basis = "clock"
"""
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def timed(*lines: str, mapping: str = MAPPING) -> str:
    return mapping + '[signal.time]\ncolumn = "t"\n' + "\n".join(lines) + "\n"


def table(cells: list[str]) -> str:
    return "t,acc\n" + "".join(f"{cell},{number}\n" for number, cell in enumerate(cells))


def seconds_since(zero: datetime, n: int = 20) -> list[float]:
    return [(START - zero).total_seconds() + number / 10 for number in range(n)]


ZEROS = {
    "1904": (datetime(1904, 1, 1, tzinfo=UTC), "s", 1.0),
    "1601": (datetime(1601, 1, 1, tzinfo=UTC), "100ns", 1e7),
    "excel": (datetime(1899, 12, 30, tzinfo=UTC), "d", 1 / 86_400),
    "matlab": (datetime(1, 1, 1, tzinfo=UTC), "d", 1 / 86_400),
    "1970": (datetime(1970, 1, 1, tzinfo=UTC), "min", 1 / 60),
}


@pytest.mark.parametrize("since", ZEROS)
def test_numbers_count_from_a_declared_zero(folder: Any, since: str) -> None:
    zero, unit, per = ZEROS[since]
    extra = 367 if since == "matlab" else 0  # datenum(1, 1, 1) is 367
    folder.csv(table([repr((second + extra * 86_400) * per) for second in seconds_since(zero)]))
    (row,), _ = folder.run(timed('kind = "epoch"', f'unit = "{unit}"', f'since = "{since}"'), as_of=NOW)
    assert abs(row["started_at"] - START) < timedelta(microseconds=50)
    assert len(row["samples"]) == 20


def test_excel_counts_days_of_the_clock_on_the_wall(folder: Any) -> None:
    wall = START.astimezone(BERLIN).replace(tzinfo=UTC)
    days = [(wall - datetime(1899, 12, 30, tzinfo=UTC)) / timedelta(days=1) + n / 864_000 for n in range(9)]
    folder.csv(table([f"{day:.10f}" for day in days]))
    keys = ('kind = "epoch"', 'unit = "d"', 'since = "excel"', 'zone = "Europe/Berlin"')
    (row,), _ = folder.run(timed(*keys), as_of=NOW)
    assert abs(row["started_at"] - START) < timedelta(microseconds=50)


@pytest.mark.parametrize(
    ("since", "said"),
    [("1904", 'since = "1904" and unit = "s" would be 2026-03-02'), ("excel", "would be"), ("1970", "")],
)
def test_times_that_cannot_be_are_refused_with_the_zero_that_would_fit(folder: Any, since: str, said: str) -> None:
    zero, _, _ = ZEROS[since]
    folder.csv(table([f"{second:.1f}" for second in seconds_since(zero)]))
    mapping = timed('kind = "epoch"', 'unit = "s"')
    if since == "1970":
        folder.run(mapping, as_of=NOW)
        assert "is in the future" in folder_problem(folder, mapping, START - timedelta(days=3))
    else:
        assert said in folder_problem(folder, mapping, NOW)


def folder_problem(folder: Any, mapping: str, as_of: datetime) -> str:
    folder.landing = folder.landing.parent.parent / "again" / "landing"
    (problem,) = folder.problems(mapping, as_of=as_of)
    return str(problem)


def test_excel_days_taken_for_seconds_are_refused_with_excel_days(folder: Any) -> None:
    days = [(START - datetime(1899, 12, 30, tzinfo=UTC)) / timedelta(days=1) + n / 10 for n in range(20)]
    folder.csv(table([f"{day:.1f}" for day in days]))
    (problem,) = folder.problems(timed('kind = "epoch"', 'unit = "s"'), as_of=NOW)
    assert "is before 2000" in problem
    assert 'since = "excel" and unit = "d" would be 2026-03-02' in problem


def test_a_wrong_unit_is_refused_with_the_right_one(folder: Any) -> None:
    folder.csv(table([str(round(second * 1e6)) for second in seconds_since(datetime(1970, 1, 1, tzinfo=UTC))]))
    (problem,) = folder.problems(timed('kind = "epoch"', 'unit = "ms"'), as_of=NOW)
    assert "is no time in ms" in problem
    assert 'since = "1970" and unit = "us" would be 2026-03-02' in problem


def test_a_future_start_of_a_file_name_is_refused(folder: Any) -> None:
    folder.csv("acc\n1\n2\n", "2026-09-01T00:00:00Z.csv")
    mapping = MAPPING.replace('"*.*"', '"*.*"\npattern = "(?P<start>.*)[.]csv"') + 'start = { column = "start" }\n'
    folder.run(mapping, as_of=NOW)
    assert "is in the future" in folder_problem(folder, mapping, datetime(2026, 8, 1, tzinfo=UTC))


def test_date_and_time_of_day_stand_in_two_columns(folder: Any) -> None:
    lines = [f"02.03.2026;06:00:00,{tenth}00;{tenth}" for tenth in range(9)]
    folder.csv("t;clock;acc\n" + "\n".join(lines) + "\n")
    keys = ('kind = "text"', 'time_of_day_column = "clock"', 'format = "%d.%m.%Y %H:%M:%S,%f"', 'zone = "UTC"')
    text = timed(*keys) + '[signal.csv]\ndelimiter = ";"\n'
    (row,), _ = folder.run(text, as_of=NOW)
    assert (row["started_at"], len(row["samples"])) == (START, 9)
    assert "has no column 'hour'" in folder_problem(folder, text.replace('"clock"\nformat', '"hour"\nformat'), NOW)


AUTUMN = datetime(2026, 10, 25, tzinfo=UTC)


def local_cells(begin: datetime, n: int) -> list[str]:
    moments = [begin + timedelta(seconds=second) for second in range(n)]
    return [moment.astimezone(BERLIN).strftime("%Y-%m-%d %H:%M:%S") for moment in moments]


SLOW = MAPPING.replace("{ value = 10 }", "{ value = 1 }")
INFER = timed('kind = "text"', 'zone = "Europe/Berlin"', 'ambiguous = "infer"', mapping=SLOW)


@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ("23:50", "00:10"),  # into the first of the two hours, and it ends there
        ("00:50", "01:10"),  # from the first hour into the second
        ("23:50", "02:10"),  # all of it
        ("01:50", "02:10"),  # begins in the second hour, and comes out of it
    ],
)
def test_the_order_of_rows_tells_the_two_hours_apart(folder: Any, begins: str, ends: str) -> None:
    hour, minute = map(int, begins.split(":"))
    begin = AUTUMN.replace(hour=hour, minute=minute) - timedelta(days=hour == 23)
    hour, minute = map(int, ends.split(":"))
    n = int((AUTUMN.replace(hour=hour, minute=minute) - begin).total_seconds())
    folder.csv(table(local_cells(begin, n)))
    (row,), _ = folder.run(INFER, as_of=NOW)
    assert (row["started_at"], len(row["samples"])) == (begin, n)


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        (local_cells(AUTUMN.replace(hour=0, minute=10), 60), "all of it in the hour that comes twice"),
        (local_cells(AUTUMN - timedelta(minutes=20), 60) + local_cells(AUTUMN.replace(minute=30), 60), "after a gap"),
        (["2026-03-29 02:30:00", "2026-03-29 02:30:01"], "the hour that never is"),
    ],
)
def test_what_the_order_does_not_tell_is_refused(folder: Any, cells: list[str], why: str) -> None:
    folder.csv(table(cells))
    assert any("comes twice or never" in problem for problem in folder.problems(INFER, as_of=NOW)), why


def test_repeated_whole_seconds_are_spread(folder: Any) -> None:
    """Rows of 10 Hz with stamps of whole seconds; the file begins and ends in the middle of one."""
    moments = [START + timedelta(seconds=0.3 + number / 10) for number in range(97)]
    folder.csv(table([f"{moment:%Y-%m-%dT%H:%M:%S}Z" for moment in moments]))
    rows, report = folder.run(timed('kind = "text"', 'repeated = "spread"'), as_of=NOW)
    assert [(row["started_at"], len(row["samples"])) for row in rows] == [(moments[0], 97)]
    assert report.skipped == ()
    assert "signal.time.repeated" in folder_problem(folder, timed('kind = "text"'), NOW)


def test_a_gap_between_repeated_seconds_is_not_spread_over(folder: Any) -> None:
    moments = [START + timedelta(seconds=number / 10 + 30 * (number >= 50)) for number in range(100)]
    folder.csv(table([f"{moment:%Y-%m-%dT%H:%M:%S}Z" for moment in moments]))
    rows, _ = folder.run(timed('kind = "text"', 'repeated = "spread"'), as_of=NOW)
    assert [(row["started_at"], len(row["samples"])) for row in rows] == [(START, 50), (moments[50], 50)]


def test_one_stamp_for_everything_says_nothing(folder: Any) -> None:
    folder.csv(table(["2026-03-02T06:00:00Z"] * 30))
    assert "nothing says how dense" in folder_problem(folder, timed('kind = "text"', 'repeated = "spread"'), NOW)


EPOCH_US = ('kind = "epoch"', 'unit = "us"')


def stamps(rate_hz: float, n: int = 500, jitter: float = 0.0) -> list[str]:
    off = np.random.default_rng(3).uniform(-jitter / 2, jitter / 2, n)
    micro = np.rint(START.timestamp() * 1e6 + 1e6 * (np.arange(n) + off) / rate_hz).astype(int)
    return [str(one) for one in micro]


def test_the_measured_rate_is_named_and_used_on_request(folder: Any) -> None:
    folder.csv(table(stamps(10.13)))
    (row,), report = folder.run(timed(*EPOCH_US), as_of=NOW)
    (note,) = report.notes
    assert "the times say 10.13 Hz, 10 Hz is used (+1.30%)" in note
    assert "from_times" in note
    assert row["sampling_rate_hz"] == 10
    measured = MAPPING.replace("sampling_rate_hz = { value = 10 }", "sampling_rate_hz = { from_times = true }")
    (row,), report = folder.run(timed(*EPOCH_US, mapping=measured), as_of=NOW)
    assert row["sampling_rate_hz"] == pytest.approx(10.13, rel=1e-6)
    assert "10.13 Hz is used (+0.00%)" in report.notes[0]
    assert "from_times is for recording.sampling_rate_hz only" in folder_problem(
        folder, timed(*EPOCH_US).replace('axis = { value = "A" }', "axis = { from_times = true }"), NOW
    )


@pytest.mark.parametrize("rate_hz", [700.0, 333.0, 90.0])
def test_coarse_stamps_measure_the_mean_rate(folder: Any, rate_hz: float) -> None:
    """Stamps of whole milliseconds: intervals of 1 and 2 ms are 1.43 ms."""
    cells = [f"{int(START.timestamp() * 1000 + 1000 * number / rate_hz)}" for number in range(2000)]
    folder.csv(table(cells))
    measured = MAPPING.replace("sampling_rate_hz = { value = 10 }", "sampling_rate_hz = { from_times = true }")
    rows, report = folder.run(timed('kind = "epoch"', 'unit = "ms"', mapping=measured), as_of=NOW)
    assert rows[0]["sampling_rate_hz"] == pytest.approx(rate_hz, rel=1e-3)
    assert not any("uneven" in note for note in report.notes)


def test_lost_rows_do_not_change_the_measured_rate(folder: Any) -> None:
    cells = stamps(10.0)
    folder.csv(table([cell for number, cell in enumerate(cells) if number % 5]))
    measured = MAPPING.replace("sampling_rate_hz = { value = 10 }", "sampling_rate_hz = { from_times = true }")
    rows, _ = folder.run(timed(*EPOCH_US, mapping=measured), as_of=NOW)
    assert {row["sampling_rate_hz"] for row in rows} == {10.0}
    assert {len(row["samples"]) for row in rows} == {4}


def test_jitter_is_told_with_its_size(folder: Any) -> None:
    folder.csv(table(stamps(10.0, jitter=0.4)))
    _, report = folder.run(timed(*EPOCH_US), as_of=NOW)
    (note,) = [note for note in report.notes if note.startswith("uneven")]
    assert "rms 16%" in note, note
    assert 'process kind "resample"' in note
    folder.csv(table(stamps(10.0, jitter=0.02)))
    _, report = folder.run(timed(*EPOCH_US), as_of=NOW)
    assert not any("uneven" in note for note in report.notes)


@pytest.mark.parametrize(("share", "below_db"), [(0.1, -60), (0.4, -60), (0.8, -45)])
def test_a_tone_at_uneven_times_is_found_at_even_ones(share: float, below_db: float) -> None:
    """Of the Nyquist frequency; taken as even, it is wrong by -20 dB and more."""
    n = 20_000
    random = np.random.default_rng(1)
    at = np.arange(n) + random.uniform(-0.225, 0.225, n)
    at -= at[0]
    even, first = resample(np.sin(np.pi * share * at + 1), at)
    wanted = np.sin(np.pi * share * (np.arange(len(even)) + first) + 1)
    taken_as_even = np.sin(np.pi * share * at + 1)[first : first + len(even)]
    assert 10 * np.log10(2 * np.mean((even - wanted) ** 2)) < below_db
    assert 10 * np.log10(2 * np.mean((taken_as_even - wanted) ** 2)) > -32
    assert (first, len(resample(np.ones(50), np.arange(50.0))[0])) == (EDGE, 0)


def test_recordings_are_resampled_on_request(folder: Any) -> None:
    off = np.random.default_rng(3).uniform(-0.2, 0.2, 600)
    micro = np.rint(START.timestamp() * 1e6 + 1e5 * (np.arange(600) + off)).astype(np.int64)
    x = np.sin(2 * np.pi * 2.5 * (micro - micro[0]) / 1e6)
    folder.csv("t,acc\n" + "".join(f"{t},{value:.9f}\n" for t, value in zip(micro.tolist(), x.tolist(), strict=True)))
    (row,), report = folder.run(timed(*EPOCH_US) + '[[process]]\nkind = "resample"\n', as_of=NOW)
    began = (row["started_at"] - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1) - micro[0]
    at = began / 1e6 + np.arange(len(row["samples"])) / 10
    np.testing.assert_allclose(row["samples"], np.sin(2 * np.pi * 2.5 * at), atol=2e-3)
    assert report.samples["edges"] == 600 - len(row["samples"]) > 0
    assert any("resampled at equal steps" in note for note in report.notes)
    elapsed = MAPPING.replace('"clock"', '"synthetic"\nstart = 2026-01-01T00:00:00Z\nspacing_s = 60\n')
    elapsed += 'recording = { column = "file" }\n[[process]]\nkind = "resample"\n'
    assert "declare [signal.time]" in folder_problem(folder, elapsed, NOW)


PREAMBLE = """# Exported by LoggerSoft; build=12
# Start time: 02.03.2026 07:00:00,250
# Sampling rate = {rate} Hz
# Channels;2
t;acc
1;2,5
2;3,5
"""


def test_start_and_rate_stand_before_the_samples_of_each_file(folder: Any) -> None:
    folder.csv(PREAMBLE.format(rate="25600,5"), "a.csv")
    folder.csv(PREAMBLE.format(rate="12800").replace("07:00", "08:00"), "b.csv")
    mapping = MAPPING.replace("{ value = 10 }", '{ variable = "Sampling rate", suffix = " Hz" }')
    mapping = mapping.replace(
        'basis = "clock"', 'basis = "clock"\nstart = { variable = "Start*" }\nzone = "Europe/Berlin"'
    )
    mapping += 'format = "%d.%m.%Y %H:%M:%S,%f"\n[signal.csv]\ndelimiter = ";"\ndecimal = ","\ncomment = "#"\n'
    rows, _ = folder.run(mapping, as_of=NOW)
    quarter = timedelta(seconds=0.25)
    assert [(row["sampling_rate_hz"], row["started_at"]) for row in rows] == [
        (25600.5, START + quarter), (12800, START + quarter + timedelta(hours=1)),
    ]  # fmt: skip
    folder.landing = folder.landing.parent / "third" / "landing"
    found = folder.problems(mapping.replace("Sampling rate", "Sample*"), as_of=NOW)
    assert "no line before the samples of 'a.csv' has that name" in found[0]
    assert "'Start time', 'Sampling rate', 'Channels'" in found[0]
