"""The raw log contract: every kind of bad row with exactly its reasons, and every honest way to write a good one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.log_schema import LOG_SCHEMA, QUANTITY_UNITS, REQUIRED_COLUMNS
from pipeline.intake.contract import BadRow, GoodRow, Limits, judge_columns, judge_rows, printable

MakeRow = Callable[..., dict[str, Any]]
MakeTable = Callable[..., pa.Table]
Judge = Callable[[pa.Table], list[GoodRow | BadRow]]

LONG = "x" * 201
NAN, INF = float("nan"), float("inf")


@pytest.fixture
def judge(limits: Limits) -> Judge:
    def run(table: pa.Table) -> list[GoodRow | BadRow]:
        assert judge_columns(table.schema)[0] == []
        return [row for batch in table.to_batches() for row in judge_rows(batch, 0, limits)]

    return run


def invalid_utf8(values: list[bytes], kind: pa.DataType) -> pa.Array:
    offset_type = pa.large_binary() if kind == pa.large_string() else pa.binary()
    raw = pa.array(values, offset_type)
    text = pa.Array.from_buffers(kind if kind == pa.large_string() else pa.string(), len(values), raw.buffers())
    return text.cast(kind, safe=False) if kind == pa.string_view() else text


BAD = [
    ({"robot_id": None}, ["key_missing"]),
    ({"robot_id": ""}, ["key_missing"]),
    ({"axis": None}, ["key_missing"]),
    ({"channel": ""}, ["key_missing"]),
    ({"site": None}, ["key_missing"]),
    ({"cell": None}, ["key_missing"]),
    ({"robot_id": " R01"}, ["key_malformed"]),
    ({"axis": "A1\n"}, ["key_malformed"]),
    ({"channel": "acc\x00x"}, ["key_malformed"]),
    ({"site": "\x1b[31mred"}, ["key_malformed"]),
    ({"cell": LONG}, ["key_malformed"]),
    ({"unit_serial": "SN\t1"}, ["key_malformed"]),
    ({"program": "pick "}, ["key_malformed"]),
    ({"schema_version": 2}, ["schema_version"]),
    ({"schema_version": None}, ["schema_version"]),
    ({"quantity": "loudness"}, ["quantity_unknown"]),
    ({"quantity": None}, ["quantity_unknown"]),
    ({"unit": None}, ["unit_missing"]),
    ({"unit": ""}, ["unit_missing"]),
    ({"unit": "mm/s"}, ["unit_unknown"]),
    ({"quantity": "force", "unit": "g"}, ["unit_unknown"]),
    ({"time_basis": "guess"}, ["time_basis_unknown"]),
    ({"time_basis": None}, ["time_basis_unknown"]),
    ({"rate_basis": "measured"}, ["rate_basis_unknown"]),
    ({"started_at": None}, ["time_missing"]),
    ({"started_at": datetime(2026, 3, 1, 0, 0, 1, tzinfo=UTC)}, ["time_in_future"]),
    ({"started_at": datetime(1970, 1, 1, tzinfo=UTC)}, ["time_absurd"]),
    ({"sampling_rate_hz": None}, ["rate_missing"]),
    ({"sampling_rate_hz": 0.0}, ["rate_absurd"]),
    ({"sampling_rate_hz": -12_800.0}, ["rate_absurd"]),
    ({"sampling_rate_hz": NAN}, ["rate_absurd"]),
    ({"sampling_rate_hz": INF}, ["rate_absurd"]),
    ({"sampling_rate_hz": 1.1e6}, ["rate_absurd"]),
    ({"shaft_speed_rpm": -1.0}, ["speed_absurd"]),
    ({"shaft_speed_rpm": NAN}, ["speed_absurd"]),
    ({"shaft_speed_rpm": 3e5}, ["speed_absurd"]),
    ({"load": INF}, ["not_finite"]),
    ({"payload_kg": NAN}, ["not_finite"]),
    ({"temperature_c": -INF}, ["not_finite"]),
    ({"speed_trace_rpm": [], "speed_trace_rate_hz": 10.0}, ["speed_trace_invalid"]),
    ({"speed_trace_rpm": [1.0, None], "speed_trace_rate_hz": 10.0}, ["speed_trace_invalid"]),
    ({"speed_trace_rpm": [1.0, 3e5], "speed_trace_rate_hz": 10.0}, ["speed_trace_invalid"]),
    ({"speed_trace_rpm": [1.0, 2.0]}, ["speed_trace_invalid"]),
    ({"speed_trace_rpm": [1.0, 2.0], "speed_trace_rate_hz": 0.0}, ["speed_trace_invalid"]),
    ({"samples": None}, ["samples_missing"]),
    ({"samples": []}, ["samples_empty"]),
    ({"samples": [0.0] * 100_001}, ["samples_too_long"]),
    ({"samples": [0.0, NAN, 1.0]}, ["samples_not_finite"]),
    ({"samples": [0.0, None, 1.0]}, ["samples_not_finite"]),
    ({"samples": [0.0, INF]}, ["samples_not_finite"]),
]


@pytest.mark.parametrize(("changes", "codes"), BAD, ids=lambda value: str(value)[:60].replace("\x00", "NUL"))
def test_bad_row_gives_its_reason_and_spares_its_neighbours(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, changes: dict[str, Any], codes: list[str]
) -> None:
    before, bad, after = judge(make_table([make_row(1), make_row(2, **changes), make_row(3)]))
    assert isinstance(before, GoodRow)
    assert isinstance(after, GoodRow)
    assert isinstance(bad, BadRow)
    assert [reason.code for reason in bad.reasons] == codes
    assert bad.row_number == 1
    for reason in bad.reasons:
        assert reason.text.isprintable()
        assert ";" in reason.text or ":" in reason.text, "what is wrong, and what to do"
        named = next(iter(changes)) if "speed_trace_rpm" not in changes else "speed_trace"
        assert named in reason.text or "samples" in reason.text or changes.get("quantity") == "force"


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"robot_id": None}, "name it"),
        ({"cell": None}, "write '' where it is not known"),
        ({"unit": None}, "write 'raw' where nobody knows"),
        (
            {"unit": "mm/s"},
            "'mm/s' is not a unit of acceleration (allowed: m/s2, g, mg, mm/s2, raw): it is one of velocity",
        ),
        ({"quantity": "loudness"}, "known are acceleration, velocity"),
        ({"time_basis": "guess"}, "write clock or synthetic"),
        ({"started_at": datetime(1970, 1, 1, tzinfo=UTC)}, "declare time_basis 'synthetic'"),
        ({"started_at": datetime(2027, 1, 1, tzinfo=UTC)}, "set the logger's clock"),
        ({"sampling_rate_hz": 1.1e6}, "at most 1e+06"),
        ({"load": NAN}, "write null where it is not known"),
        ({"samples": [0.0, NAN, NAN]}, "2 of 3 samples are NaN, null or infinite, first at 1; cut the recording there"),
        ({"samples": [0.0] * 100_001}, "at most 100000 are accepted"),
    ],
    ids=str,
)
def test_sentence_says_what_to_do(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, changes: dict[str, Any], advice: str
) -> None:
    (bad,) = judge(make_table([make_row(1, **changes)]))
    assert isinstance(bad, BadRow)
    assert advice in bad.reasons[0].text


def test_every_unit_of_a_quantity_is_read_and_samples_stay_as_logged(
    judge: Judge, make_row: MakeRow, make_table: MakeTable
) -> None:
    pairs = [(quantity, unit) for quantity, units in QUANTITY_UNITS.items() for unit in units]
    rows = [make_row(at, quantity=quantity, unit=unit) for at, (quantity, unit) in enumerate(pairs)]
    found = judge(make_table(rows))
    assert all(isinstance(row, GoodRow) for row in found)
    assert [(row.values["quantity"], row.values["unit"]) for row in found] == pairs
    assert all(row.samples.tolist() == pytest.approx(made["samples"]) for row, made in zip(found, rows, strict=True))
    (bad,) = judge(make_table([make_row(1, quantity="sound_pressure", unit="dB")]))
    assert [reason.code for reason in bad.reasons] == ["unit_unknown"]
    assert "a level in dB is a logarithm, and no signal" in bad.reasons[0].text


def test_everything_wrong_with_a_row_is_listed_at_once(judge: Judge, make_row: MakeRow, make_table: MakeTable) -> None:
    changes = {
        "robot_id": None,
        "axis": " A1",
        "schema_version": 9,
        "quantity": "noise",
        "unit": "",
        "time_basis": "x",
        "rate_basis": "y",
        "started_at": None,
        "sampling_rate_hz": -1.0,
        "shaft_speed_rpm": INF,
        "load": NAN,
        "temperature_c": INF,
        "speed_trace_rpm": [NAN],
        "speed_trace_rate_hz": None,
        "samples": [],
    }
    (bad,) = judge(make_table([make_row(1, **changes)]))
    assert isinstance(bad, BadRow)
    assert [reason.code for reason in bad.reasons] == [
        "key_missing",
        "key_malformed",
        "schema_version",
        "quantity_unknown",
        "unit_missing",
        "time_basis_unknown",
        "rate_basis_unknown",
        "time_missing",
        "rate_absurd",
        "speed_absurd",
        "not_finite",
        "not_finite",
        "speed_trace_invalid",
        "speed_trace_invalid",
        "samples_empty",
    ]


def test_limits_are_inclusive(limits: Limits, judge: Judge, make_row: MakeRow, make_table: MakeTable) -> None:
    edge = make_row(
        1,
        started_at=limits.as_of,
        sampling_rate_hz=limits.max_sampling_rate_hz,
        shaft_speed_rpm=limits.max_shaft_speed_rpm,
        samples=[0.0] * limits.max_samples,
        program="p" * 200,
    )
    still = make_row(2, shaft_speed_rpm=0.0, site="", cell="", unit_serial=None, program=None, load=None)
    assert [type(row) for row in judge(make_table([edge, still]))] == [GoodRow, GoodRow]


def test_old_times_are_fine_where_they_are_declared_synthetic(
    judge: Judge, make_row: MakeRow, make_table: MakeTable
) -> None:
    (row,) = judge(make_table([make_row(1, started_at=datetime(1970, 1, 1, tzinfo=UTC), time_basis="synthetic")]))
    assert isinstance(row, GoodRow)


# ------------------------------------------------------------------------------------------------ text, decoded


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("name", ["robot_id", "program", "quantity", "unit", "started_at"])
def test_text_that_is_no_utf8_is_a_bad_row(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, name: str, kind: pa.DataType
) -> None:
    good = {"started_at": "2026-01-05T00:00:00Z", "quantity": "acceleration", "unit": "g"}.get(name, "R01")
    column = invalid_utf8([b"\xff\xfe\x00R", good.encode()], kind)
    bad, neighbour = judge(make_table([make_row(1), make_row(2)], **{name: column}))
    assert isinstance(bad, BadRow), "text that cannot be decoded was taken for a name"
    assert isinstance(neighbour, GoodRow)
    wanted = {"quantity": "quantity_unknown", "unit": "unit_missing", "started_at": "time_unreadable"}
    assert [reason.code for reason in bad.reasons] == [wanted.get(name, "key_malformed")]


def test_dictionary_encoded_text_that_is_no_utf8(judge: Judge, make_row: MakeRow, make_table: MakeTable) -> None:
    column = invalid_utf8([b"\xff", b"R01"], pa.string()).dictionary_encode()
    bad, good = judge(make_table([make_row(1), make_row(2)], robot_id=column))
    assert isinstance(bad, BadRow)
    assert isinstance(good, GoodRow)


def test_what_is_shown_of_a_bad_row_is_printable_and_short(
    judge: Judge, make_row: MakeRow, make_table: MakeTable
) -> None:
    (bad,) = judge(make_table([make_row(1, site="\x1b]0;x\x07", robot_id="R\x00", axis="a" * 10**6, unit="u" * 10**6)]))
    assert isinstance(bad, BadRow)
    assert bad.what.isprintable()
    assert len(bad.what) < 1_100
    assert all(len(reason.text) < 300 for reason in bad.reasons)
    assert printable("R01 Ä 機") == "R01 Ä 機"


# ------------------------------------------------------------------------------------------------- accepted variants


def variants(rows: list[dict[str, Any]]) -> dict[str, dict[str, pa.Array]]:
    """Columns that hold the same content as `rows` in other Arrow types."""

    def column(name: str, kind: pa.DataType) -> pa.Array:
        return pa.array([row[name] for row in rows], kind)

    starts = column("started_at", pa.timestamp("us", tz="UTC"))
    tokyo = timezone(timedelta(hours=9))
    return {
        "dictionary": {
            name: column(name, pa.string()).dictionary_encode() for name in ("site", "robot_id", "quantity", "program")
        },
        "large_string": {name: column(name, pa.large_string()) for name in ("axis", "unit", "time_basis")},
        "string_view": {name: column(name, pa.string_view()) for name in ("axis", "unit", "time_basis")},
        "large_list": {"samples": column("samples", pa.large_list(pa.float32()))},
        "fixed_size_list": {"samples": column("samples", pa.list_(pa.float32(), len(rows[0]["samples"])))},
        "float64 samples": {"samples": column("samples", pa.list_(pa.float64()))},
        "float32 rates": {
            name: column(name, pa.float32()) for name in ("sampling_rate_hz", "shaft_speed_rpm", "load", "payload_kg")
        },
        "int rates": {name: column(name, pa.int64()) for name in ("sampling_rate_hz", "shaft_speed_rpm", "payload_kg")},
        "int8 version": {"schema_version": column("schema_version", pa.int8())},
        "other zone": {"started_at": starts.cast(pa.timestamp("us", tz="Asia/Tokyo"))},
        "offset as zone": {"started_at": starts.cast(pa.timestamp("us", tz="+05:30"))},
        "zone that nobody knows": {"started_at": starts.cast(pa.timestamp("us", tz="Mars/Phobos"))},
        "ms": {"started_at": starts.cast(pa.timestamp("ms", tz="UTC"))},
        "s": {"started_at": starts.cast(pa.timestamp("s", tz="UTC"))},
        "ns": {"started_at": starts.cast(pa.timestamp("ns", tz="UTC"))},
        "text times": {"started_at": pa.array([row["started_at"].astimezone(tokyo).isoformat() for row in rows])},
        "text times with Z": {
            "started_at": pa.array([f"{row['started_at']:%Y-%m-%dT%H:%M:%S}Z" for row in rows], pa.large_string())
        },
    }


EMPTY = dict.fromkeys(LOG_SCHEMA.names) | {"samples": [0.0], "started_at": datetime(2026, 1, 5, tzinfo=UTC)}


@pytest.mark.parametrize("variant", variants([EMPTY]))
def test_equal_content_in_other_types_is_the_same_recording(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, variant: str
) -> None:
    rows = [make_row(1), make_row(2)]
    plain = judge(make_table(rows))
    other = judge(make_table(rows, **variants(rows)[variant]))
    for one, two in zip(plain, other, strict=True):
        assert isinstance(one, GoodRow)
        assert isinstance(two, GoodRow)
        assert two.recording_id == one.recording_id
        assert two.content_hash == one.content_hash
        assert two.values["started_at"] == one.values["started_at"]
        assert two.samples.dtype == np.float32
        np.testing.assert_array_equal(two.samples, one.samples)


@pytest.mark.parametrize("kind", [pa.int8(), pa.int16(), pa.int32(), pa.uint16(), pa.int64(), pa.float16()], ids=str)
def test_samples_of_other_numbers_are_read(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, kind: pa.DataType
) -> None:
    values = [3, 1, 4, 1, 5, 92]
    (row,) = judge(
        make_table([make_row(1)], samples=pa.array([np.array(values, kind.to_pandas_dtype())], pa.list_(kind)))
    )
    assert isinstance(row, GoodRow)
    assert row.samples.tolist() == values


def test_null_among_integer_samples_is_not_read_as_a_number(
    judge: Judge, make_row: MakeRow, make_table: MakeTable
) -> None:
    (bad,) = judge(make_table([make_row(1)], samples=pa.array([[1, None, 3]], pa.list_(pa.int16()))))
    assert isinstance(bad, BadRow)
    assert [reason.code for reason in bad.reasons] == ["samples_not_finite"]


def test_float64_that_does_not_fit_is_refused(judge: Judge, make_row: MakeRow, make_table: MakeTable) -> None:
    (bad,) = judge(make_table([make_row(1)], samples=pa.array([[1.0, 1e300]], pa.list_(pa.float64()))))
    assert isinstance(bad, BadRow)
    assert [reason.code for reason in bad.reasons] == ["samples_not_finite"]


TIMES = [
    ("2026-01-05T10:00:00", "time_without_offset"),
    ("2026-01-05", "time_without_offset"),
    ("yesterday", "time_unreadable"),
    ("", "time_missing"),
    ("9999-12-31T23:59:59-05:00", "time_unreadable"),
    ("0001-01-01T00:00:00+05:00", "time_unreadable"),
    ("2026-13-05T00:00:00Z", "time_unreadable"),
    (None, "time_missing"),
]


@pytest.mark.parametrize(("text", "code"), TIMES)
def test_text_times_are_judged_row_by_row(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, text: str | None, code: str
) -> None:
    column = pa.array(["2026-01-05T10:00:00+01:00", text, "2026-01-05T10:00:00.5Z"], pa.string())
    first, bad, last = judge(make_table([make_row(1), make_row(2), make_row(3)], started_at=column))
    assert isinstance(first, GoodRow)
    assert first.values["started_at"] == datetime(2026, 1, 5, 9, tzinfo=UTC)
    assert isinstance(last, GoodRow)
    assert last.values["started_at"] == datetime(2026, 1, 5, 10, microsecond=500_000, tzinfo=UTC)
    assert isinstance(bad, BadRow)
    assert [reason.code for reason in bad.reasons] == [code]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_timestamps_without_zone_are_refused(judge: Judge, make_row: MakeRow, make_table: MakeTable, unit: str) -> None:
    column = pa.array([datetime(2026, 1, 5)], pa.timestamp(unit))  # noqa: DTZ001
    (bad,) = judge(make_table([make_row(1)], started_at=column))
    assert isinstance(bad, BadRow)
    assert [reason.code for reason in bad.reasons] == ["time_without_offset"]


@pytest.mark.parametrize(("value", "unit"), [(2**62, "us"), (2**62, "ms"), (2**62, "s"), (-(2**62), "us")])
def test_times_beyond_the_calendar_do_not_come_back_as_plausible_ones(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, value: int, unit: str
) -> None:
    column = pa.array([value], pa.int64()).cast(pa.timestamp(unit, tz="UTC"))
    (bad,) = judge(make_table([make_row(1)], started_at=column))
    assert isinstance(bad, BadRow)
    assert [reason.code for reason in bad.reasons] == ["time_unreadable"]


def test_nanoseconds_are_cut_to_microseconds(judge: Judge, make_row: MakeRow, make_table: MakeTable) -> None:
    base = int(datetime(2026, 1, 5, tzinfo=UTC).timestamp()) * 10**9
    column = pa.array([base + 1_999], pa.int64()).cast(pa.timestamp("ns", tz="UTC"))
    (row,) = judge(make_table([make_row(1)], started_at=column))
    assert isinstance(row, GoodRow)
    assert row.values["started_at"] == datetime(2026, 1, 5, microsecond=1, tzinfo=UTC)


def test_nullable_columns_may_be_absent_or_of_type_null(judge: Judge, make_row: MakeRow, make_table: MakeTable) -> None:
    nullable = [field.name for field in LOG_SCHEMA if field.nullable]
    bare = make_row(1, **dict.fromkeys(nullable))
    (written,) = judge(make_table([bare]))
    (absent,) = judge(make_table([bare]).drop_columns(nullable))
    (null,) = judge(make_table([bare], **{name: pa.nulls(1) for name in nullable}))
    assert isinstance(written, GoodRow)
    for other in (absent, null):
        assert isinstance(other, GoodRow)
        assert other.content_hash == written.content_hash


# -------------------------------------------------------------------------------------------------------- columns


def test_all_missing_columns_are_listed() -> None:
    reasons, _ = judge_columns(pa.schema([]))
    assert [reason.code for reason in reasons] == ["missing_column"] * len(REQUIRED_COLUMNS)
    assert all(
        f"column {name} is missing" in reason.text for name, reason in zip(REQUIRED_COLUMNS, reasons, strict=True)
    )


WRONG_TYPES = [
    ("robot_id", pa.int64()),
    ("robot_id", pa.binary()),
    ("schema_version", pa.string()),
    ("schema_version", pa.float64()),
    ("started_at", pa.int64()),
    ("started_at", pa.float64()),
    ("started_at", pa.date32()),
    ("sampling_rate_hz", pa.string()),
    ("sampling_rate_hz", pa.decimal128(10, 2)),
    ("speed_is_steady", pa.int8()),
    ("samples", pa.float32()),
    ("samples", pa.list_(pa.string())),
    ("samples", pa.list_(pa.list_(pa.float32()))),
    ("samples", pa.binary()),
    ("speed_trace_rpm", pa.float64()),
]


@pytest.mark.parametrize(("name", "kind"), WRONG_TYPES, ids=str)
def test_wrong_type_is_a_reason_with_both_types(name: str, kind: pa.DataType) -> None:
    index = LOG_SCHEMA.get_field_index(name)
    reasons, _ = judge_columns(LOG_SCHEMA.set(index, pa.field(name, kind)))
    assert [reason.code for reason in reasons] == ["wrong_type"]
    assert reasons[0].text == f"column {name} has type {kind}; write it as {LOG_SCHEMA.field(name).type}"


def test_duplicate_and_extra_columns() -> None:
    schema = LOG_SCHEMA.append(pa.field("axis", pa.string())).append(pa.field("operator", pa.string()))
    reasons, ignored = judge_columns(schema)
    assert [reason.code for reason in reasons] == ["duplicate_column"]
    assert "axis" in reasons[0].text
    assert ignored == ["operator"]


# --------------------------------------------------------------------------------------------------- content hash

OTHER = {
    "quantity": ("force", {"unit": "raw"}),
    "unit": ("m/s2", {}),
    "time_basis": ("synthetic", {}),
    "sampling_rate_hz": (12_800.000_001, {}),
    "rate_basis": ("assumed", {}),
    "shaft_speed_rpm": (1_500.5, {}),
    "speed_is_steady": (False, {}),
    "speed_trace_rpm": ([1.0, 2.0], {"speed_trace_rate_hz": 1.0}),
    "speed_trace_rate_hz": (2.0, {}),
    "load": (None, {}),
    "payload_kg": (0.0, {}),
    "temperature_c": (-3.0, {}),
    "program": ("place", {}),
    "unit_serial": ("SN-2", {}),
}


@pytest.mark.parametrize("name", OTHER)
def test_any_changed_value_changes_the_content_hash_and_not_the_id(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, name: str
) -> None:
    value, also = OTHER[name]
    (one,), (two,) = judge(make_table([make_row(1, **also)])), judge(make_table([make_row(1, **also | {name: value})]))
    if name == "quantity":
        (one,) = judge(make_table([make_row(1, unit="raw")]))
    assert isinstance(one, GoodRow)
    assert isinstance(two, GoodRow)
    assert one.content_hash != two.content_hash
    assert one.recording_id == two.recording_id
    assert one.samples_hash == two.samples_hash, "whatever is declared, the samples are the same"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 2_047), longer=st.booleans())
def test_any_changed_sample_changes_the_content_hash(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, position: int, longer: bool
) -> None:
    samples = list(make_row(1)["samples"])
    if longer:
        samples.append(0.0)
    else:
        samples[position] = float(np.nextafter(np.float32(samples[position]), np.float32(np.inf)))
    (one,), (two,) = judge(make_table([make_row(1)])), judge(make_table([make_row(1, samples=samples)]))
    assert isinstance(one, GoodRow)
    assert isinstance(two, GoodRow)
    assert one.content_hash != two.content_hash
    assert one.samples_hash != two.samples_hash


@pytest.mark.parametrize("name", ["site", "cell", "robot_id", "axis", "channel", "started_at"])
def test_any_part_of_the_key_changes_the_id_and_not_the_content_hash(
    judge: Judge, make_row: MakeRow, make_table: MakeTable, name: str
) -> None:
    other = datetime(2026, 1, 6, tzinfo=UTC) if name == "started_at" else "other"
    one, two = judge(make_table([make_row(1), make_row(1, **{name: other})]))
    assert isinstance(one, GoodRow)
    assert isinstance(two, GoodRow)
    assert one.recording_id != two.recording_id
    assert one.content_hash == two.content_hash
