"""Damage of Parquet files: of their footers and page headers, odd values and types, and files that unfold to much."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.fuzz.bytes_damage import Rng
from benchmarks.fuzz.text_damage import TEXTS
from benchmarks.fuzz.thrift import Node, Reader, changed, child, written
from pipeline.base.log_schema import LOG_SCHEMA

FIRST: Final = datetime(2026, 1, 5, tzinfo=UTC)
CODECS: Final = ("snappy", "zstd", "gzip", "brotli", "lz4", "none")
ROWS_FIELD, GROUPS_FIELD, GROUP_ROWS_FIELD = 3, 4, 3


def rows(rng: Rng, count: int, longest: int) -> list[dict[str, Any]]:
    """Return good rows of the contract, one an hour."""
    made = []
    for hour in range(count):
        trace = rng.normal(1000, 1, 8).astype(np.float32) if hour % 3 == 0 else None
        made.append(
            {
                "schema_version": 1,
                "site": "plant",
                "cell": "C1",
                "robot_id": f"R{hour % 4}",
                "axis": "A1",
                "channel": "acc_x",
                "quantity": "acceleration",
                "unit": "g",
                "started_at": FIRST + timedelta(hours=hour),
                "time_basis": "clock",
                "sampling_rate_hz": 1000.0,
                "rate_basis": "declared",
                "shaft_speed_rpm": 1000.0,
                "speed_is_steady": True,
                "speed_trace_rpm": trace,
                "speed_trace_rate_hz": None if trace is None else 10.0,
                "load": None if hour % 2 else 0.5,
                "payload_kg": None,
                "temperature_c": 20.0 + hour % 7,
                "program": f"P{hour % 2}",
                "unit_serial": "S1",
                "samples": rng.normal(0, 1, int(rng.integers(8, longest))).astype(np.float32),
            }
        )
    return made


def table_of(made: Sequence[dict[str, Any]]) -> pa.Table:
    """Return rows as a table in the contract's types."""
    return pa.Table.from_pylist(list(made), schema=LOG_SCHEMA)


def to_bytes(table: pa.Table, **options: Any) -> bytes:
    """Return a table as a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


def seeds(rng: Rng) -> list[bytes]:
    """Return good log files, written in many ways, all with checksums of their pages."""
    made = []
    for number, codec in enumerate(CODECS * 2):
        table = table_of(rows(rng, int(rng.choice([4, 7, 24])), 200))
        if number % 3 == 0:
            table = table.append_column("remark", pa.array(["seen by nobody"] * table.num_rows))
        made.append(
            to_bytes(
                table,
                compression=codec,
                use_dictionary=bool(number % 2),
                row_group_size=[3, 1000][number % 2],
                data_page_version=["1.0", "2.0"][number // 6],
                data_page_size=[200, 2**20][number % 3 == 0],
                write_page_checksum=True,
                store_schema=number % 4 != 0,
            )
        )
    made.append(to_bytes(table_of(rows(rng, 300, 20)), compression="zstd", row_group_size=64, write_page_checksum=True))
    return made


def footer_of(data: bytes) -> Node:
    """Return the footer of a whole file as a tree."""
    (size,) = struct.unpack("<I", data[-8:-4])
    return Reader(data, len(data) - 8 - size).node(12)


def with_footer(data: bytes, footer: Node) -> bytes:
    """Return a whole file with another footer."""
    (size,) = struct.unpack("<I", data[-8:-4])
    content = written(footer)
    return data[: len(data) - 8 - size] + content + struct.pack("<I", len(content)) + b"PAR1"


def promised(data: bytes) -> int:
    """Return how many rows a footer promises: the most of what file, row groups and columns say; -1 if unreadable."""
    try:
        footer = footer_of(data)
        groups = child(footer, GROUPS_FIELD)
        total = child(footer, ROWS_FIELD)
        own = [_rows_of(group) for group in groups.value[1]] if groups is not None else []
    except (LookupError, ValueError, TypeError, AttributeError, struct.error, RecursionError, MemoryError):
        return -1
    return max(int(total.value) if total is not None else 0, sum(own))


def _rows_of(group: Node) -> int:
    """Return the most rows of a row group: as it says, or as a column with a value in each row has values."""
    most = int(child(group, GROUP_ROWS_FIELD).value)  # type: ignore[union-attr]
    for column in child(group, 1).value[1]:  # type: ignore[union-attr]
        about = child(column, 3)
        path = [part.value.decode("utf-8", "replace") for part in child(about, 3).value[1]]
        if len(path) == 1 and path[0] in LOG_SCHEMA.names:
            most = max(most, int(child(about, 5).value))
    return most


def damage_footer(rng: Rng, data: bytes) -> bytes:
    """Change values of the footer: counts, sizes, places, types, names, codecs, encodings, groups, columns."""
    return with_footer(data, changed(rng, footer_of(data)))


def damage_counts(rng: Rng, data: bytes) -> bytes:
    """Change the number of rows of the file, of a row group, or both alike."""
    footer = footer_of(data)
    total, groups = child(footer, ROWS_FIELD), child(footer, GROUPS_FIELD)
    assert total is not None and groups is not None
    group = groups.value[1][int(rng.integers(len(groups.value[1])))]
    own = child(group, GROUP_ROWS_FIELD)
    assert own is not None
    step = int(rng.choice([-1, 1, -own.value, own.value, 1000, 2**31, 2**62]))
    which = int(rng.integers(3))
    if which != 1:
        total.value += step
    if which != 0:
        own.value += step
    return with_footer(data, footer)


def damage_page(rng: Rng, data: bytes) -> bytes:
    """Change the header of a page: sizes, counts, encodings, checksum."""
    metadata = pq.read_metadata(io.BytesIO(data))
    group = metadata.row_group(int(rng.integers(metadata.num_row_groups)))
    column = group.column(int(rng.integers(group.num_columns)))
    at = column.data_page_offset
    if column.has_dictionary_page and rng.random() < 0.5:
        at = column.dictionary_page_offset
    reader = Reader(data, at)
    content = written(changed(rng, reader.node(12)))
    return data[:at] + content + data[reader.at :]


def damage_types(rng: Rng, data: bytes) -> bytes:
    """Change physical types and annotations of the schema, by single fields."""
    footer = footer_of(data)
    schema = child(footer, 2)
    assert schema is not None
    element = schema.value[1][int(rng.integers(len(schema.value[1])))]
    return with_footer(data, _replaced(footer, element, changed(rng, element)))


def _replaced(tree: Node, old: Node, new: Node) -> Node:
    old.kind, old.value = new.kind, new.value
    return tree


# ----------------------------------------------------------------------------------------------- odd values and types


def odd_table(rng: Rng) -> bytes:
    """Return a well-formed Parquet file whose columns have odd values, types, names or numbers."""
    table = table_of(rows(rng, int(rng.choice([0, 1, 5, 12])), 60))
    for _ in range(int(rng.choice([1, 1, 2, 4]))):
        if not table.num_columns:
            break
        table = _odd_column(rng, table)
    codec = str(rng.choice(CODECS))
    options = {"compression": codec, "row_group_size": int(rng.choice([1, 3, 1000]))}
    try:
        return to_bytes(table, use_dictionary=bool(rng.integers(2)), write_page_checksum=True, **options)
    except (pa.ArrowException, ValueError, UnicodeError):
        return to_bytes(table_of(rows(rng, 2, 20)), **options)


def _odd_column(rng: Rng, table: pa.Table) -> pa.Table:
    at = int(rng.integers(table.num_columns))
    name, n = table.schema.names[at], table.num_rows
    how = int(rng.integers(8))
    if how == 0:
        return table.remove_column(at)
    if how == 1:
        return table.append_column(name, table.column(at))
    if how == 2:
        others = (f"{name} ", name.upper(), name.replace("a", "а"), "", "a.b", f"{name}\0", name[:-1], "x" * 100_000)
        return table.rename_columns(
            [others[int(rng.integers(8))] if n == at else one for n, one in enumerate(table.schema.names)]
        )
    try:
        column = _odd_array(rng, n) if how < 7 else table.column(at).cast(_odd_type(rng), safe=False)
        return table.set_column(at, name, column)
    except (pa.ArrowException, ValueError, OverflowError):
        return table.remove_column(at)


def _odd_type(rng: Rng) -> pa.DataType:
    types = (
        *(pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.string(), pa.large_string()),
        *(pa.binary(), pa.timestamp("s"), pa.timestamp("ms", "Asia/Seoul"), pa.timestamp("ns", "UTC"), pa.date32()),
        *(pa.dictionary(pa.int32(), pa.string()), pa.decimal128(20, 3), pa.large_list(pa.float64())),
        *(pa.list_(pa.float64()), pa.list_(pa.int64()), pa.duration("us"), pa.time64("us"), pa.null(), pa.bool_()),
    )
    return types[int(rng.integers(len(types)))]


def _odd_array(rng: Rng, n: int) -> pa.Array:
    """Return a column of odd values of some type, `n` long."""

    def pick(*values: Any) -> list[Any]:
        return [values[int(rng.integers(len(values)))] for _ in range(n)]

    texts = [text for text in TEXTS if len(text) < 10_000 or rng.random() < 0.1]
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    edge = (0, -1, 1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
    floats = (float("nan"), float("inf"), -float("inf"), -1.0, -0.0, 5e-324, 1e308, 1e39, 0.0, 3.0, None)
    makers: tuple[Callable[[], pa.Array], ...] = (
        lambda: pa.array(pick(*texts, None), pa.string()),
        lambda: pa.array(pick(*texts, None), pa.large_string()),
        lambda: pa.array(pick(*texts, None)).dictionary_encode(),
        lambda: _no_utf8(pick(b"\xff\xfe", b"ok", b"\xed\xa0\x80", b"\xf8" * 300)),
        lambda: pa.array(pick(*floats), pa.float64()),
        lambda: pa.array(pick(1.0, 2.0, 70000.0), pa.float64()).cast(pa.float16(), safe=False),
        lambda: pa.array(pick(*edge), pa.int64()),
        lambda: pa.array(pick(0, 2**64 - 1), pa.uint64()),
        lambda: pa.array(pick(*edge, None), pa.int64()).cast(
            pa.timestamp(str(rng.choice(["s", "ms", "us", "ns"])), "UTC")
        ),
        lambda: pa.array(pick(*edge), pa.int64()).cast(
            pa.timestamp("us", str(rng.choice(["Asia/Kathmandu", "+14:00", "-23:59"])))
        ),
        lambda: pa.array(pick(*edge), pa.int64()).cast(pa.timestamp("ns")),
        lambda: pa.array([FIRST.isoformat()] * n, pa.string()),
        lambda: pa.nulls(n),
        lambda: pa.array(pick([], [1.0], [None], [float("nan")], [1e300], None, [1.0] * 50), pa.list_(pa.float64())),
        lambda: pa.array(pick([], [1], [None], [2**63 - 1], None), pa.large_list(pa.int64())),
        lambda: pa.array(pick([1.0, 2.0], None), pa.list_(pa.float32(), 2)),
        lambda: pa.array(pick([[1.0]], [[]], None), pa.list_(pa.list_(pa.float32()))),
        lambda: pa.array(pick(["a"], [None]), pa.list_(pa.string())),
        lambda: pa.array(pick({"a": 1}, None), pa.struct([("a", pa.int64())])),
        lambda: pa.array(pick([("a", 1)], []), pa.map_(pa.string(), pa.int64())),
        lambda: pa.array(pick(True, False, None), pa.bool_()),
        lambda: pa.array(pick([True], [None], None), pa.list_(pa.bool_())),
    )
    return makers[int(rng.integers(len(makers)))]()


def _no_utf8(values: list[bytes]) -> pa.Array:
    """Return bytes that are no UTF-8 as a column that calls itself text."""
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in values])]).astype(np.int32)
    buffers = [None, pa.py_buffer(offsets.tobytes()), pa.py_buffer(b"".join(values))]
    return pa.Array.from_buffers(pa.string(), len(values), buffers)


# ------------------------------------------------------------------------------------------------------------- bombs

BOMB: Final = """
import sys
import pyarrow as pa, pyarrow.parquet as pq, numpy as np
sys.path.insert(0, {root!r})
from benchmarks.fuzz.parquet_damage import rows, table_of
kind, codec, path = {kind!r}, {codec!r}, {path!r}
base = table_of(rows(np.random.default_rng(1), 1, 20))
def put(name, array):
    return base.set_column(base.schema.get_field_index(name), base.schema.field(name), array)
if kind == "one long row":
    n = {size} * 2**18
    table = put("samples", pa.ListArray.from_arrays(pa.array([0, n], pa.int32()), pa.array(np.zeros(n, np.float32))))
elif kind == "many rows":
    n = {size}
    every = pa.concat_tables([base] * n)
    samples = pa.array(np.zeros(n * 2**18, np.float32))
    lists = pa.ListArray.from_arrays(pa.array(np.arange(n + 1) * 2**18, pa.int32()), samples)
    table = every.set_column(every.schema.get_field_index("samples"), every.schema.field("samples"), lists)
else:
    n = 2_000
    text = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["x" * {size} * 2**12]))
    every = pa.concat_tables([base] * n)
    table = every.set_column(every.schema.get_field_index("program"), "program", text)
pq.write_table(table, path, compression=codec, write_page_checksum=True, row_group_size=10**9)
"""


def bombs(folder: Path, sizes: Sequence[int] = (48, 600)) -> list[bytes]:
    """Return small files that unfold to `sizes` MiB; made once in processes of their own, and kept in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number, codec in enumerate(CODECS):
        for kind in ("one long row", "many rows", "long texts"):
            size = sizes[number % len(sizes)]
            path = folder / f"{kind.replace(' ', '-')}-{codec}-{size}.parquet"
            if codec == "none" and size > 100:
                continue
            if not path.exists():
                aside = str(path.with_suffix(f".{os.getpid()}.part"))
                values = {
                    "root": str(Path(__file__).parents[2]),
                    "kind": kind,
                    "codec": codec,
                    "path": aside,
                    "size": size,
                }
                subprocess.run([sys.executable, "-c", BOMB.format(**values)], check=True)
                Path(aside).replace(path)
            made.append(path.read_bytes())
    return [data for data in made if len(data) < 8 * 2**20]


def damaged_parquet(rng: Rng, whole: Sequence[bytes], heavy: Sequence[bytes] = ()) -> tuple[str, bytes]:
    """Return the name of a damage and a damaged log file; now and then one of `heavy`, whole or damaged."""
    from benchmarks.fuzz.bytes_damage import damage_bytes

    data = whole[int(rng.integers(len(whole)))]
    if heavy and rng.random() < 0.01:
        data = heavy[int(rng.integers(len(heavy)))]
        if rng.random() < 0.3:
            return "bomb", data
        name, damaged = _structural(rng, data)
        return f"bomb, {name}", damaged
    draw = rng.random()
    if draw < 0.45:
        return damage_bytes(rng, data, whole)
    if draw < 0.8:
        return _structural(rng, data)
    return "odd values, types or names", odd_table(rng)


def _structural(rng: Rng, data: bytes) -> tuple[str, bytes]:
    kinds = (
        ("values of the footer", damage_footer),
        ("values of the footer", damage_footer),
        ("numbers of rows", damage_counts),
        ("header of a page", damage_page),
        ("header of a page", damage_page),
        ("type of a column", damage_types),
    )
    name, damage = kinds[int(rng.integers(len(kinds)))]
    return name, damage(rng, data)
