"""Upgrades with rows: from every earlier schema to the newest, on both databases; no row is lost or changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from pipeline.store.database import Store, alembic_config, ensure_partitions
from pipeline.store.tables import Base

PARTITION = "_y2026"
AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
JSONS = {"reasons": [], "flags": [], "orders": {}, "settings": {"files": []}, "metrics": {}, "lines": []}
CHANGED: dict[str, set[str]] = {"0021": {"login_failures"}, "0031": {"trend_points", "trends"}}
"""Tables of which a migration changes rows, or drops them: failed log-ins of some minutes ago, what is computed again.
"""


def revisions() -> list[str]:
    """All of them, the oldest first."""
    script = ScriptDirectory.from_config(alembic_config())
    return [one.revision for one in reversed(list(script.walk_revisions()))]


def schema_of(connection: Connection) -> sa.MetaData:
    """The present schema, partitions left out."""
    schema = sa.MetaData()
    schema.reflect(connection, only=lambda name, _: name != "alembic_version" and PARTITION not in name)
    return schema


def fill(connection: Connection, tables: list[sa.Table], mark: str) -> dict[str, int]:
    """Put a row into every table, whatever its columns are; count the rows of each table."""
    known: dict[str, dict[str, Any]] = {}
    for table in tables:
        row = {column.name: value(column, mark, connection) for column in table.columns}
        for constraint in table.foreign_key_constraints:
            for element in constraint.elements:
                row[element.parent.name] = known[element.column.table.name][element.column.name]
        connection.execute(sa.insert(table), row)
        known[table.name] = row
    count = sa.select(sa.func.count())
    return {table.name: connection.scalar(count.select_from(table)) or 0 for table in tables}


def value(column: sa.Column[Any], mark: str, connection: Connection) -> Any:
    """A value that the column takes; texts and numbers of keys are other ones at each revision."""
    kind, number = column.type, int(mark)
    if isinstance(kind, sa.JSON):
        return JSONS.get(column.name, {} if "list" not in column.name else [])
    if isinstance(kind, sa.DateTime):
        moment = AT.replace(minute=number)
        return moment.replace(tzinfo=None) if connection.dialect.name == "sqlite" else moment
    if isinstance(kind, sa.Boolean):
        return False
    if isinstance(kind, sa.LargeBinary):
        return b"\0" * 8
    if isinstance(kind, sa.Integer):
        return number
    if isinstance(kind, sa.Numeric | sa.Float):
        return float(number)
    return f"{column.name[:1]}{mark}"


Contents = dict[str, list[dict[str, Any]]]


def contents(connection: Connection, tables: list[sa.Table]) -> Contents:
    """Every row of every table."""
    return {table.name: [dict(row._mapping) for row in connection.execute(sa.select(table))] for table in tables}


def same(before: Contents, after: Contents, name: str) -> bool:
    """Whether all rows of a table are still there, with the same values in the columns that are still there."""
    texts = []
    for rows in (before[name], after.get(name, [])):
        kept = set(before[name][0]) & set(after[name][0]) if before[name] and after.get(name) else set()
        texts.append(sorted(repr(sorted((key, row[key]) for key in kept)) for row in rows))
    return texts[0] == texts[1]


def test_rows_of_every_earlier_schema_reach_the_newest(store_url: str) -> None:
    """One way up, which adds a row to every table at every revision: so the rows of each one go all the way."""
    store, config = Store(store_url), alembic_config()
    differs, before = {}, Contents()
    for revision in revisions():
        with store.write() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
        if revision == "0001":
            ensure_partitions(store, [AT])
        with store.write() as connection:
            tables = schema_of(connection).sorted_tables
            after = contents(connection, tables)
            differs[revision] = {name for name in before if not same(before, after, name)}
            counts = fill(connection, tables, revision)
            before = contents(connection, tables)
    assert {revision: names for revision, names in differs.items() if names} == CHANGED
    with store.read() as connection:
        options: dict[str, Any] = {"compare_type": True, "compare_server_default": True}
        options["include_name"] = lambda name, _kind, _parents: name is None or PARTITION not in name
        assert compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata) == []
        assert set(counts) == set(Base.metadata.tables)
        for table in Base.metadata.sorted_tables:
            assert len(connection.execute(sa.select(table)).all()) == counts[table.name], table.name
    store.dispose()
