"""What the statements of a run read: plans that go through a whole table of history, and work counted by the database.

Counts do not depend on the load of the machine. On SQLite they are instructions of its virtual machine, which Python
can count; on PostgreSQL rows that its own statistics say were read.

    with recorded() as statements:
        ...                                      # a run
    scans_of_history(store, statements)          # its statements that have to read a whole table
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

HISTORY = (
    "recordings",
    "extractions",
    "scorings",
    "scores",
    "trend_points",
    "axis_states",
    "lake_files",
    "log_files",
    "landing_entries",
)
"""Tables that get rows with every recording, or every log file."""

EVERY = 200
"""Instructions of SQLite between two counts."""

EXPLAINED = re.compile(r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE)\b", re.IGNORECASE)


@dataclass
class Statement:
    """One statement of a run: its text, the values of its first execution, and what all of them cost.

    Attributes
    ----------
    instructions : int
        Of SQLite's virtual machine, in steps of `EVERY`; 0 on PostgreSQL.
    """

    text: str
    values: Any
    executions: int = 0
    instructions: int = 0


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Record what all engines of this process execute in this block; each text once."""
    found: dict[str, Statement] = {}
    statements: list[Statement] = []
    running: dict[int, Statement] = {}

    def count(connection: int) -> int:
        if connection in running:
            running[connection].instructions += EVERY
        return 0

    def before(connection: Connection, cursor: Any, text: str, values: Any, context: Any, many: bool) -> None:
        del cursor, context
        # An INSERT of many rows that returns something is one statement with the values of all of them.
        rows = values if many and isinstance(values, list) else [values]
        if text not in found:
            found[text] = Statement(text, rows[0])
            statements.append(found[text])
        found[text].executions += len(rows)
        driver = connection.connection.driver_connection
        running[id(driver)] = found[text]
        if connection.dialect.name == "sqlite" and driver is not None:
            driver.set_progress_handler(partial(count, id(driver)), EVERY)

    sa.event.listen(Engine, "before_cursor_execute", before)
    try:
        yield statements
    finally:
        sa.event.remove(Engine, "before_cursor_execute", before)


def scans_of_history(store: Any, statements: list[Statement]) -> list[dict[str, str]]:
    """Return the statements whose plan reads a whole table of history, or a whole index of one.

    PostgreSQL is asked with rows counted, and with whole scans and the joins that read whole tables off: so it scans
    only where no index helps, as with much history. A search that is bounded by the time of the run alone
    (`started_at <= as_of`) counts as a scan, because all of history lies before it.

    Parameters
    ----------
    store
        The database (`pipeline.store.database.Store`) that the statements were executed on, with its tables.
    statements
        From `recorded`.

    Returns
    -------
    list of dict
        `table`, `plan` (the line of the plan that scans) and `statement`; empty where nothing is scanned.
    """
    found = []
    with store.engine.connect() as connection:
        if not store.is_sqlite:
            connection.exec_driver_sql("ANALYZE")
            for way in ("seqscan", "hashjoin", "mergejoin"):
                connection.exec_driver_sql(f"SET enable_{way} = off")
            connection.commit()
        for statement in statements:
            if EXPLAINED.match(statement.text):
                look = _sqlite_scans if store.is_sqlite else _postgresql_scans
                for table, line in look(connection, statement):
                    found.append({"table": table, "plan": line, "statement": statement.text})
    return found


def _sqlite_scans(connection: Connection, statement: Statement) -> Iterator[tuple[str, str]]:
    named = dict((alias, table) for table, alias in re.findall(r"(\w+) AS (\w+)", statement.text))
    for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.text}", statement.values):
        line = str(row[3])
        read = re.match(r"(SCAN|SEARCH) (\w+)(.*)", line)
        if read:
            table = named.get(read[2], read[2])
            bounds = re.search(r"\((.*)\)", read[3])
            only_until = bounds is not None and set(bounds[1].split(" AND ")) <= {"started_at<?", "known_at<?"}
            if table in HISTORY and (read[1] == "SCAN" or only_until):
                yield table, line


def _postgresql_scans(connection: Connection, statement: Statement) -> Iterator[tuple[str, str]]:
    try:
        plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.values).scalar()
    except sa.exc.ProgrammingError:  # it reads a temporary table, which has gone with its connection
        plan = [{"Plan": {}}]
    finally:
        connection.rollback()
    plans = [(json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]]
    while plans:
        node = plans.pop()
        plans += node.get("Plans", [])
        table = re.sub(r"_y\d{4}m\d{2}$", "", str(node.get("Relation Name", "")))
        bounds = str(node.get("Index Cond") or node.get("Recheck Cond") or "")
        equal = re.search(r" = |= ANY|IS NULL", bounds)
        only_until = "<=" in bounds and ">" not in bounds and not equal
        if table in HISTORY and "Scan" in str(node.get("Node Type")) and (not bounds or only_until):
            by = f" using {node['Index Name']}" if "Index Name" in node else ""
            yield table, f"{node['Node Type']}{by} {bounds}".strip()


def rows_read(store: Any) -> dict[str, int]:
    """Return how many rows of each table of history PostgreSQL has read so far, by itself and through indexes.

    A server process reports when it ends, so dispose of the engine that was measured before.
    """
    query = """
        SELECT t.relname, t.seq_tup_read + coalesce(sum(i.idx_tup_read), 0)
        FROM pg_stat_user_tables t LEFT JOIN pg_stat_user_indexes i USING (relid)
        GROUP BY t.relname, t.seq_tup_read
    """
    found = dict.fromkeys(HISTORY, 0)
    with store.engine.connect() as connection:
        for name, rows in connection.exec_driver_sql(query):
            table = re.sub(r"_y\d{4}m\d{2}$", "", name)
            if table in found:
                found[table] += int(rows)
    return found
