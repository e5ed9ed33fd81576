"""Check log files against the raw log contract: which rows are recordings, and what is wrong with the others.

Pure functions of Arrow data: no file is opened and nothing is stored here.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.ids import axis_id, recording_id, samples_hash
from pipeline.base.log_schema import (
    LOG_SCHEMA,
    QUANTITY_UNITS,
    RATE_BASES,
    REQUIRED_COLUMNS,
    SCHEMA_VERSION,
    TIME_BASES,
)
from pipeline.base.quantities import why_not

TEXT_LIMIT: Final = 200
KEPT_LETTERS: Final = 1_000
"""Letters of a text that quarantine keeps."""
EARLIEST_CLOCK: Final = datetime(2000, 1, 1, tzinfo=UTC)
SIGNAL_COLUMNS: Final = ("samples", "speed_trace_rpm")
NAME_COLUMNS: Final = ("site", "cell", "robot_id", "axis", "channel")


@dataclass(frozen=True)
class Limits:
    """Limits of a plausible recording, and the time of the run (`as_of`)."""

    as_of: datetime
    max_samples: int
    max_sampling_rate_hz: float
    max_shaft_speed_rpm: float


@dataclass(frozen=True)
class Reason:
    """One thing that is wrong: a code for programs, and a sentence for people."""

    code: str
    text: str

    def as_dict(self) -> dict[str, str]:
        """Return code and text as they are stored."""
        return {"code": self.code, "text": self.text}


@dataclass(frozen=True)
class GoodRow:
    """A row that is a recording."""

    row_number: int
    axis_id: str
    recording_id: str
    content_hash: str
    samples_hash: str
    values: Mapping[str, Any]
    samples: npt.NDArray[np.float32]
    speed_trace_rpm: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class BadRow:
    """A row that is not a recording, with all reasons. From `due_at` on it may be one; None: not by waiting."""

    row_number: int
    what: str
    reasons: tuple[Reason, ...]
    due_at: datetime | None = None


def judge_columns(schema: pa.Schema) -> tuple[list[Reason], list[str]]:
    """Check the columns of a log file; return everything wrong with them, and the names of the ignored columns."""
    reasons = []
    names = list(schema.names)
    for name in sorted({name for name in names if names.count(name) > 1 and name in LOG_SCHEMA.names}):
        reasons.append(Reason("duplicate_column", f"column {name} is there more than once; keep one"))
    for name in REQUIRED_COLUMNS:
        if name not in names:
            reasons.append(Reason("missing_column", f"column {name} is missing; contract version 1 needs it"))
    for field in LOG_SCHEMA:
        if names.count(field.name) == 1 and not _readable_as(schema.field(field.name).type, field):
            column_type = schema.field(field.name).type
            reasons.append(
                Reason("wrong_type", f"column {field.name} has type {column_type}; write it as {field.type}")
            )
    ignored = [name for name in names if name not in LOG_SCHEMA.names]
    return reasons, ignored


def judge_rows(batch: pa.RecordBatch, first_row: int, limits: Limits) -> Iterator[GoodRow | BadRow]:
    """Check each row of a batch whose columns passed `judge_columns`; yield the rows in order.

    Parameters
    ----------
    batch
        Rows with at least the required columns.
    first_row
        Number of the batch's first row in its file, counted from 0.
    """
    columns = {name: _values(batch, name) for name in LOG_SCHEMA.names if name not in SIGNAL_COLUMNS}
    signals = {name: _signals(batch, name) for name in SIGNAL_COLUMNS}
    for index in range(batch.num_rows):
        row = {name: column[index] for name, column in columns.items()}
        arrays = {name: column[index] for name, column in signals.items()}
        yield _judge_row(row, arrays, first_row + index, limits)


def _judge_row(
    row: dict[str, Any], arrays: dict[str, npt.NDArray[Any] | None], number: int, limits: Limits
) -> GoodRow | BadRow:
    reasons = [
        *_name_reasons(row),
        *_declaration_reasons(row),
        *_time_reasons(row, limits.as_of),
        *_number_reasons(row, limits),
        *_trace_reasons(row, arrays["speed_trace_rpm"], limits.max_shaft_speed_rpm),
        *_sample_reasons(arrays["samples"], limits.max_samples),
    ]
    if reasons:
        names = (row[name] for name in NAME_COLUMNS)
        what = "/".join(printable(name) if isinstance(name, str) else "?" for name in names)
        waits = any(reason.code == "time_in_future" for reason in reasons)
        return BadRow(number, what, tuple(reasons), _instant(row["started_at"]) if waits else None)
    samples = np.ascontiguousarray(arrays["samples"], dtype=np.float32)
    trace = arrays["speed_trace_rpm"]
    trace = None if trace is None else np.ascontiguousarray(trace, dtype=np.float32)
    row["started_at"] = _instant(row["started_at"])
    axis = axis_id(row["site"], row["cell"], row["robot_id"], row["axis"])
    return GoodRow(
        row_number=number,
        axis_id=axis,
        recording_id=recording_id(axis, row["channel"], row["started_at"]),
        content_hash=_content_hash(row, samples, trace),
        samples_hash=samples_hash(samples),
        values=row,
        samples=samples,
        speed_trace_rpm=trace,
    )


def _name_reasons(row: Mapping[str, Any]) -> Iterator[Reason]:
    for name in (*NAME_COLUMNS, "unit_serial", "program"):
        value = row[name]
        required = name in ("robot_id", "axis", "channel")
        if value is None:
            if name in NAME_COLUMNS:
                hint = "name it" if required else "write '' where it is not known"
                yield Reason("key_missing", f"{name} is null; {hint}")
        elif not isinstance(value, str):
            yield Reason("key_malformed", f"{name} is not text that can be decoded; write UTF-8")
        elif required and not value:
            yield Reason("key_missing", f"{name} is empty; name it")
        elif len(value) > TEXT_LIMIT or value != value.strip() or not value.isprintable():
            yield Reason(
                "key_malformed",
                f"{name} {value[:40]!r} has spaces at an end, characters that cannot be printed, or more than "
                f"{TEXT_LIMIT} characters; clean it",
            )


def _declaration_reasons(row: Mapping[str, Any]) -> Iterator[Reason]:
    if row["schema_version"] != SCHEMA_VERSION:
        yield Reason(
            "schema_version", f"schema_version is {row['schema_version']}; this axiswatch reads {SCHEMA_VERSION}"
        )
    quantity, unit = row["quantity"], row["unit"]
    if quantity not in QUANTITY_UNITS:
        yield Reason("quantity_unknown", f"quantity is {_shown(quantity)}; known are {', '.join(QUANTITY_UNITS)}")
    if not unit:
        yield Reason("unit_missing", "unit is missing; declare it, or write 'raw' where nobody knows")
    elif quantity in QUANTITY_UNITS and unit not in QUANTITY_UNITS[quantity]:
        yield Reason("unit_unknown", f"unit {why_not(quantity, unit if isinstance(unit, str) else repr(unit))}")
    if row["time_basis"] not in TIME_BASES:
        yield Reason(
            "time_basis_unknown", f"time_basis is {_shown(row['time_basis'])}; write {' or '.join(TIME_BASES)}"
        )
    if row["rate_basis"] not in RATE_BASES:
        yield Reason(
            "rate_basis_unknown", f"rate_basis is {_shown(row['rate_basis'])}; write {' or '.join(RATE_BASES)}"
        )


def _time_reasons(row: Mapping[str, Any], as_of: datetime) -> Iterator[Reason]:
    value = row["started_at"]
    if value is None or value == "":
        yield Reason("time_missing", "started_at is missing; write when the recording began")
        return
    moment = _instant(value)
    if moment is None:
        yield Reason("time_unreadable", f"started_at {str(value)[:40]!r} is no time; write ISO 8601 with an offset")
    elif moment.tzinfo is None:
        yield Reason(
            "time_without_offset", f"started_at {value} has no offset; write UTC, or the offset of the local time"
        )
    elif moment > as_of:
        yield Reason(
            "time_in_future",
            f"started_at {moment.isoformat()} is after this run, {as_of.isoformat()}; set the logger's clock",
        )
    elif row["time_basis"] == "clock" and moment < EARLIEST_CLOCK:
        yield Reason(
            "time_absurd",
            f"started_at {moment.isoformat()} is before {EARLIEST_CLOCK:%Y}: a clock that was reset? Set it, or "
            "declare time_basis 'synthetic'",
        )


def _number_reasons(row: Mapping[str, Any], limits: Limits) -> Iterator[Reason]:
    rate = row["sampling_rate_hz"]
    if rate is None:
        yield Reason("rate_missing", "sampling_rate_hz is null; declare it (rate_basis 'assumed' where nobody knows)")
    elif not (math.isfinite(rate) and 0 < rate <= limits.max_sampling_rate_hz):
        yield Reason(
            "rate_absurd", f"sampling_rate_hz is {rate}; it must be above 0 and at most {limits.max_sampling_rate_hz:g}"
        )
    speed = row["shaft_speed_rpm"]
    if speed is not None and not (math.isfinite(speed) and 0 <= speed <= limits.max_shaft_speed_rpm):
        yield Reason(
            "speed_absurd",
            f"shaft_speed_rpm is {speed}; it must be 0 to {limits.max_shaft_speed_rpm:g}, or null if not known",
        )
    for name in ("load", "payload_kg", "temperature_c"):
        if row[name] is not None and not math.isfinite(row[name]):
            yield Reason("not_finite", f"{name} is {row[name]}; write null where it is not known")


def _trace_reasons(row: Mapping[str, Any], trace: npt.NDArray[Any] | None, max_rpm: float) -> Iterator[Reason]:
    rate = row["speed_trace_rate_hz"]
    if trace is None:
        return
    if len(trace) == 0 or not np.isfinite(trace).all() or float(np.abs(trace).max()) > max_rpm:
        yield Reason(
            "speed_trace_invalid", f"speed_trace_rpm is empty, not finite or above {max_rpm:g}; write null instead"
        )
    if rate is None or not (math.isfinite(rate) and rate > 0):
        yield Reason("speed_trace_invalid", f"speed_trace_rate_hz is {rate}; a speed trace needs its rate")


def _sample_reasons(samples: npt.NDArray[Any] | None, max_samples: int) -> Iterator[Reason]:
    if samples is None:
        yield Reason("samples_missing", "samples is null; a recording without a signal is none")
    elif len(samples) == 0:
        yield Reason("samples_empty", "samples is empty; a recording without a signal is none")
    elif len(samples) > max_samples:
        yield Reason(
            "samples_too_long", f"{len(samples)} samples; at most {max_samples} are accepted: cut the recording"
        )
    else:
        with np.errstate(over="ignore"):
            bad = np.flatnonzero(~np.isfinite(samples.astype(np.float32, copy=False)))
        if len(bad):
            yield Reason(
                "samples_not_finite",
                f"{len(bad)} of {len(samples)} samples are NaN, null or infinite, first at {bad[0]}; "
                "cut the recording there",
            )


def shortened(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with plain texts, those beyond `KEPT_LETTERS` cut: they are refused, whatever follows."""
    for index, field in enumerate(batch.schema):
        column = batch.column(index)
        texts = column.dictionary if pa.types.is_dictionary(field.type) else column
        if not _is_text(texts.type):
            continue
        if (pc.max(pc.binary_length(texts)).as_py() or 0) > KEPT_LETTERS:
            kept = [_single(text) for text in texts]
            kept = [text[:KEPT_LETTERS] if isinstance(text, str) else None for text in kept]
            texts = pa.array(kept, texts.type)
        elif texts is column:
            continue
        column = texts if texts.type == column.type else texts.take(column.indices)
        batch = batch.set_column(index, pa.field(field.name, column.type), column)
    return batch


def printable(text: str) -> str:
    """Return text from a log in a form for database and screen: no control characters, at most 200 characters."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text[:TEXT_LIMIT])


def _shown(value: Any) -> str:
    return repr(value[:40] if isinstance(value, str | bytes) else value)


def _instant(value: Any) -> datetime | None:
    """Return a time in UTC; a naive time stays naive. None where the value is not a time."""
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if not isinstance(value, datetime):
            return None
        return value if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _content_hash(
    row: Mapping[str, Any], samples: npt.NDArray[np.float32], trace: npt.NDArray[np.float32] | None
) -> str:
    """Return the hash of all columns except the key. Numbers have the types of the contract."""
    values = {
        name: row[name] for name in LOG_SCHEMA.names if name not in (*SIGNAL_COLUMNS, *NAME_COLUMNS, "started_at")
    }
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode("utf-8"))
    for array in (samples, trace):
        digest.update(b"-" if array is None else len(array).to_bytes(8, "little"))
        if array is not None:
            digest.update(array.astype("<f4", copy=False).data)
    return digest.hexdigest()[:32]


def _readable_as(column_type: pa.DataType, field: pa.Field) -> bool:
    """Return whether a column's type can be read as the contract's type without guessing."""
    contract_type = field.type
    if pa.types.is_dictionary(column_type):
        column_type = column_type.value_type
    if pa.types.is_null(column_type):
        return True
    if pa.types.is_string(contract_type):
        return _is_text(column_type)
    if pa.types.is_timestamp(contract_type):
        return bool(pa.types.is_timestamp(column_type)) or _is_text(column_type)
    if pa.types.is_boolean(contract_type):
        return bool(pa.types.is_boolean(column_type))
    if pa.types.is_list(contract_type):
        lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(is_list(column_type) for is_list in lists) and _is_number(column_type.value_type)
    if pa.types.is_integer(contract_type):
        return bool(pa.types.is_integer(column_type))
    return _is_number(column_type)


def _is_text(column_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(column_type) or pa.types.is_large_string(column_type) or pa.types.is_string_view(column_type)
    )


def _is_number(column_type: pa.DataType) -> bool:
    return bool(pa.types.is_integer(column_type) or pa.types.is_floating(column_type) or pa.types.is_null(column_type))


def _values(batch: pa.RecordBatch, name: str) -> list[Any]:
    """Return a column as Python values; bytes where text is not UTF-8, None for an absent column."""
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        if _is_text(column.type.value_type):  # each text once: decoded, a long one would be there in every row
            texts = [*map(_single, column.dictionary), None]
            return [texts[-1 if index is None else index] for index in column.indices.to_pylist()]
        column = column.dictionary_decode()
    contract_type = LOG_SCHEMA.field(name).type
    if pa.types.is_timestamp(column.type):
        column = _plain_times(column)
    elif pa.types.is_floating(contract_type) and not pa.types.is_null(column.type):
        column = column.cast(contract_type, safe=False)
    try:
        return list(column.to_pylist())
    except (UnicodeDecodeError, OverflowError, ValueError):
        return [_single(item) for item in column]


def _plain_times(column: pa.Array) -> pa.Array:
    """Return times in UTC; nanoseconds are cut to microseconds.

    Coarser units stay: converted to microseconds, a time far out of range would become a plausible one.
    """
    unit = "us" if column.type.unit == "ns" else column.type.unit
    return column.cast(pa.timestamp(unit, tz=None if column.type.tz is None else "UTC"), safe=False)


def _single(item: pa.Scalar) -> Any:
    try:
        return item.as_py()
    except (UnicodeDecodeError, OverflowError, ValueError):
        return "not representable" if pa.types.is_timestamp(item.type) else b""


def _signals(batch: pa.RecordBatch, name: str) -> list[npt.NDArray[Any] | None]:
    """Return a list column as one array for each row (null in a list becomes NaN); None where the list is null."""
    if name not in batch.schema.names or pa.types.is_null(batch.column(name).type):
        return [None] * batch.num_rows
    column = batch.column(name)
    present = column.is_valid().to_pylist()
    arrays: list[npt.NDArray[Any] | None] = []
    for index, here in enumerate(present):
        if not here:
            arrays.append(None)
            continue
        values = column[index].values
        if pa.types.is_null(values.type) or values.null_count:
            values = pc.fill_null(values.cast(pa.float64()), float("nan"))
        elif pa.types.is_float16(values.type):
            values = values.cast(pa.float32())
        arrays.append(values.to_numpy(zero_copy_only=False))
    return arrays
