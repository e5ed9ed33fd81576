"""Footers and headers of pages that contradict themselves: told before Arrow decodes anything, and no row is lost."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.fuzz.bytes_damage import damage_bytes
from benchmarks.fuzz.parquet_damage import footer_of, with_footer
from benchmarks.fuzz.thrift import Node, Reader, child, written
from pipeline.importing.formats.parquet import ParquetSignals
from pipeline.importing.problems import SignalUnreadable
from pipeline.intake.contract import Limits
from pipeline.intake.footer import read_footer, read_pages
from pipeline.intake.reading import Unread, begun_by, read_log

MakeRow = Callable[..., dict[str, Any]]
READ = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from pipeline.intake.contract import Limits
from pipeline.intake.reading import Unread, begun_by, read_log
path, limits = Path(sys.argv[1]), Limits(datetime(2026, 3, 1, tzinfo=UTC), 10**6, 1e6, 1e5)
begun_by(path, limits.as_of)
print(sum(part.count if isinstance(part, Unread) else part[1].num_rows for part in read_log(path, limits, [])))
"""


@pytest.fixture
def data(make_row: MakeRow, make_table: Callable[..., pa.Table]) -> bytes:
    sink = io.BytesIO()
    rows = [make_row(number, samples=[0.5] * 50) for number in range(6)]
    pq.write_table(make_table(rows), sink, row_group_size=3, write_page_checksum=True)
    return sink.getvalue()


def fields(node: Node | None, *numbers: int) -> Node:
    """Return what is in structs in one another, by the numbers of their fields; of a list the first."""
    for number in numbers:
        assert node is not None
        node = node.value[1][number] if node.kind == 9 else child(node, number)
    assert node is not None
    return node


def read(path: Path, data: bytes, limits: Limits) -> tuple[int, list[Unread]]:
    path.write_bytes(data)
    parts = list(read_log(path, limits, []))
    unread = [part for part in parts if isinstance(part, Unread)]
    return sum(part[1].num_rows for part in parts if not isinstance(part, Unread)), unread


def test_the_numbers_are_those_of_arrow(data: bytes) -> None:
    groups, metadata = read_footer(io.BytesIO(data)), pq.read_metadata(io.BytesIO(data))
    assert len(groups) == metadata.num_row_groups == 2
    for number, group in enumerate(groups):
        theirs = metadata.row_group(number)
        assert group.rows == theirs.num_rows
        for index, chunk in enumerate(group.chunks):
            column = theirs.column(index)
            assert ".".join(chunk.path) == column.path_in_schema
            assert (chunk.values, chunk.unfolded_bytes) == (column.num_values, column.total_uncompressed_size)
            assert sum(page.values for page in read_pages(io.BytesIO(data), chunk)) == column.num_values


def test_statistics_that_do_not_fit_their_column_end_no_process(data: bytes, tmp_path: Path) -> None:
    """Arrow calls `terminate` where a histogram of levels is longer than the levels of its column."""
    footer = footer_of(data)
    leaf = fields(footer, 2).value[1][-1]  # samples.list.element
    fields(leaf, 3).value = 0  # required in place of optional: one level less
    path = tmp_path / "a.parquet"
    path.write_bytes(with_footer(data, footer))
    done = subprocess.run([sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 6


def test_rows_beyond_the_promise_of_their_group_are_told(data: bytes, tmp_path: Path, limits: Limits) -> None:
    footer = footer_of(data)
    fields(footer, 3).value = 5
    fields(footer, 4, 0, 3).value = 2
    count, (unread,) = read(tmp_path / "a.parquet", with_footer(data, footer), limits)
    assert (count, unread.first_row, unread.count, unread.reason.code) == (5, 2, 1, "unreadable_rows")
    assert "row group 0 promises 2 rows and holds 3" in unread.reason.text


def test_a_file_that_promises_fewer_rows_than_its_groups_is_refused(
    data: bytes, tmp_path: Path, limits: Limits
) -> None:
    footer = footer_of(data)
    fields(footer, 3).value = 4
    with pytest.raises(ValueError, match="4 rows are promised, its row groups have 6"):
        read(tmp_path / "a.parquet", with_footer(data, footer), limits)


def test_a_page_that_claims_too_much_costs_no_memory_and_no_neighbour(
    data: bytes, tmp_path: Path, limits: Limits
) -> None:
    at = pq.read_metadata(io.BytesIO(data)).row_group(1).column(21).data_page_offset
    reader = Reader(data, at)
    header = reader.node(12)
    fields(header, 2).value = 2**31 - 1
    changed = written(header)
    moved = len(changed) - (reader.at - at)
    footer = footer_of(data)
    fields(footer, 4, 1, 1).value[1] = fields(footer, 4, 1, 1).value[1][:22]
    fields(footer, 4, 1, 1, 21, 3, 7).value += moved
    longer = with_footer(data, footer)
    count, (unread,) = read(tmp_path / "a.parquet", longer[:at] + changed + longer[reader.at :], limits)
    assert (count, unread.first_row, unread.count) == (3, 3, 3)
    assert "its pages are damaged" in unread.reason.text


def test_many_damaged_groups_are_not_all_tried(
    make_row: MakeRow, make_table: Callable[..., pa.Table], tmp_path: Path, limits: Limits
) -> None:
    sink = io.BytesIO()
    pq.write_table(make_table([make_row(number, samples=[0.5] * 5) for number in range(9)]), sink, row_group_size=1)
    data = bytearray(sink.getvalue())
    metadata = pq.read_metadata(io.BytesIO(bytes(data)))
    for number in range(9):
        at = metadata.row_group(number).column(0).data_page_offset
        data[at : at + 12] = b"\xff" * 12
    count, unread = read(tmp_path / "a.parquet", bytes(data), limits)
    assert (count, sum(part.count for part in unread)) == (0, 9)
    assert sum("not tried" in part.reason.text for part in unread) == 6


def damaged_footers(data: bytes, count: int) -> Iterator[bytes]:
    rng = np.random.default_rng(3)
    length = int.from_bytes(data[-8:-4], "little")
    for _ in range(count):
        footer = damage_bytes(rng, data[-8 - length : -8])[1]
        yield data[: -8 - length] + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_every_damage_of_a_footer_is_one_kind_of_error(data: bytes) -> None:
    for damaged in damaged_footers(data, 300):
        file = io.BytesIO(damaged)
        try:
            for group in read_footer(file):
                for chunk in group.chunks:
                    for page in read_pages(file, chunk):
                        assert page.unfolded_bytes >= 0
        except ValueError:
            pass


@pytest.mark.parametrize("kind", [b"\x19", b"\x1c"], ids=["lists", "structs"])
def test_what_is_nested_without_end_is_damage(data: bytes, kind: bytes) -> None:
    footer = kind * 5000
    damaged = data[:-8] + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(ValueError, match="nested too deeply"):
        read_footer(io.BytesIO(damaged))


def test_a_footer_of_a_hundred_mebibytes_is_not_read(data: bytes, tmp_path: Path, limits: Limits) -> None:
    """A name of a column without end: Arrow would take a gibibyte for it. Intake and import say so."""
    length = 100 * 2**20
    path = tmp_path / "a.parquet"
    path.write_bytes(data[:4] + bytes(length) + length.to_bytes(4, "little") + b"PAR1")
    for use in (lambda: list(read_log(path, limits, [])), lambda: ParquetSignals(path, "a")):
        with pytest.raises(
            (ValueError, SignalUnreadable), match="footer has 104857600 bytes; at most 16777216 are read"
        ):
            use()
    assert begun_by(path, limits.as_of) is False
