"""Old files of the lake of which few rows are still needed are written anew with these rows alone.

A file holds what came together: the axes of a robot, the features of a batch. One label would keep the day of a whole
plant.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from pipeline.store.database import Store, insert_ignore
from pipeline.store.lake import Kind, Lake
from pipeline.store.tables import Extraction, LakeFile, Recording

Named = tuple[Any, Kind, Any]
"""A table that names files, what kind of file, and how many of its rows each row of the table names."""

NAMED: Final[tuple[Named, ...]] = (
    (Recording, "recordings", sa.literal(1)),
    (Extraction, "features", Extraction.n_windows),
)
NEEDED_SHARE: Final = 0.5
"""A file is written anew where no more than this share of its rows is needed."""


def repack(store: Store, lake: Lake, limit: datetime, *, as_of: datetime) -> tuple[int, int]:
    """Write files anew that hold rows of before `limit`, and of which at most half the rows are named.

    The new file first, then all rows in one transaction, then the old file goes. Whoever has read a row before does not
    find the old file after that, as after retention itself.

    Returns
    -------
    int, int
        Files written anew, and the bytes that this has freed.
    """
    files = freed = 0
    for table, kind, length in NAMED:
        old = sa.select(table.lake_path).where(table.started_at < limit)
        query = (
            sa.select(LakeFile.path, LakeFile.size_bytes)
            .join(table, table.lake_path == LakeFile.path)
            .where(LakeFile.path.in_(old))
            .group_by(LakeFile.path, LakeFile.size_bytes, LakeFile.n_rows)
            .having(sa.func.sum(length) <= NEEDED_SHARE * LakeFile.n_rows)
        )
        with store.read() as connection:
            found = connection.execute(query.order_by(LakeFile.path)).all()
        for path, size in found:
            left = _write_anew(store, lake, (table, kind, length), path, as_of)
            files, freed = files + 1, freed + size - left
    return files, freed


def _write_anew(store: Store, lake: Lake, named: Named, path: str, as_of: datetime) -> int:
    """Replace one file; return the size of the new one, bytes."""
    table, kind, length = named
    keys = list(table.__table__.primary_key.columns)
    query = sa.select(*keys, table.lake_row, length.label("length")).where(table.lake_path == path)
    with store.read() as connection:
        rows = connection.execute(query.order_by(table.lake_row)).all()
    kept = lake.table(path).take([row.lake_row + number for row in rows for number in range(row.length)])
    new, size = lake.put_table(kind, kept)
    first = 0
    moves: list[dict[str, Any]] = []
    for row in rows:
        moves.append({f"of_{key.name}": row._mapping[key.name] for key in keys} | {"first": first})
        first += row.length
    mine = [key == sa.bindparam(f"of_{key.name}") for key in keys]
    move = sa.update(table).where(*mine, table.lake_path == path).values(lake_path=new, lake_row=sa.bindparam("first"))
    about = {"path": new, "kind": kind, "size_bytes": size, "n_rows": kept.num_rows, "known_at": as_of}
    with store.write() as connection:
        insert_ignore(connection, LakeFile, [about])
        connection.execute(move, moves)
        connection.execute(sa.delete(LakeFile).where(LakeFile.path == path))
    lake.remove(path)
    return size
