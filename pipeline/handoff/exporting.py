"""Export labels and cases as CSV or Parquet, for the command line and for the interface."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError
from pipeline.base.spreadsheet import guarded
from pipeline.store.database import Store
from pipeline.store.tables import Axis, Case, CaseWork, Label, LabelWithdrawal, UtcDateTime

MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "parquet": "application/vnd.apache.parquet"}


def export(store: Store, what: str, form: str) -> tuple[bytes, int]:
    """Return all `labels` or all `cases` as the bytes of a `csv` (UTF-8) or `parquet` file, and the number of rows.

    The first columns are the names of the axis. A withdrawn label has `withdrawn_at`; a case has its work order. The
    types of the columns do not depend on the rows.
    """
    columns, query = _labels() if what == "labels" else _cases()
    with store.read() as connection:
        rows = [tuple(map(_flat, row)) for row in connection.execute(query)]
    names = [column.name for column in columns]
    if form == "csv":
        return _csv(names, rows), len(rows)
    fields = [pa.field(column.name, _arrow_type(column)) for column in columns]
    return _parquet(pa.schema(fields), rows), len(rows)


def write_export(store: Store, what: str, form: str, out: Path) -> int:
    """Write an export to a file, all of it or nothing; return the number of rows.

    Raises
    ------
    AxiswatchError
        The file cannot be written.
    """
    body, count = export(store, what, form)
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        temporary.write_bytes(body)
        temporary.replace(out)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise AxiswatchError(f"cannot write {out}: {error.strerror}") from error
    return count


def _labels() -> tuple[list[Any], sa.Select[Any]]:
    columns = [*_names(), *Label.__table__.columns, LabelWithdrawal.known_at.label("withdrawn_at")]
    query: Any = sa.select(*columns).select_from(Label)
    query = query.outerjoin(Axis, Axis.axis_id == Label.axis_id)
    query = query.outerjoin(LabelWithdrawal, LabelWithdrawal.label_id == Label.label_id)
    return columns, query.order_by(Label.known_at, Label.label_id)


def _cases() -> tuple[list[Any], sa.Select[Any]]:
    columns = [*_names(), *Case.__table__.columns, CaseWork.__table__.c.work_order]
    query: Any = sa.select(*columns).select_from(Case).join(Axis, Axis.axis_id == Case.axis_id)
    query = query.outerjoin(CaseWork, CaseWork.case_id == Case.case_id)
    return columns, query.order_by(Case.case_id)


def _names() -> list[Any]:
    return [Axis.__table__.c[name] for name in ("site", "cell", "robot_id", "axis")]


def _flat(value: Any) -> Any:
    """Return the reasons of a case as their codes, separated by spaces; any other value unchanged."""
    return " ".join(reason["code"] for reason in value) if isinstance(value, list) else value


def _arrow_type(column: Any) -> pa.DataType:
    kind = column.type
    if isinstance(kind, UtcDateTime):
        return pa.timestamp("us", tz="UTC")
    if isinstance(kind, sa.Integer):
        return pa.int64()
    return pa.float64() if isinstance(kind, sa.Float) else pa.string()


def _csv(header: list[str], rows: Sequence[Sequence[Any]]) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink)
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return sink.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return guarded(value) if isinstance(value, str) else value


def _parquet(schema: pa.Schema, rows: Sequence[Sequence[Any]]) -> bytes:
    columns = [pa.array([row[place] for row in rows], field.type) for place, field in enumerate(schema)]
    sink = io.BytesIO()
    pq.write_table(pa.table(columns, schema=schema), sink)
    return sink.getvalue()
