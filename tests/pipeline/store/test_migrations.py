"""Migrations: they give what the schema says, go back to nothing, and wait for each other."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from pipeline.store.database import Store, alembic_config, ensure_partitions, head_revision
from pipeline.store.tables import Axis, Base, Case, CaseEvidence, Trend, TrendPoint


def tables(store: Store) -> set[str]:
    with store.read() as connection:
        return set(sa.inspect(connection).get_table_names())


def test_migrated_database_is_what_the_schema_says(store: Store) -> None:
    with store.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, Base.metadata) == []


def test_a_difference_would_be_seen(store: Store) -> None:
    with store.write() as connection:
        connection.execute(sa.text("ALTER TABLE labels DROP COLUMN note"))
        found = compare_metadata(MigrationContext.configure(connection), Base.metadata)
    assert [entry[0] for entry in found] == ["add_column"]


def test_there_and_back(store: Store) -> None:
    ensure_partitions(store, [datetime(2026, 1, 1, tzinfo=UTC)])
    config = alembic_config()
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert tables(store) == {"alembic_version"}
    assert store.revision() is None
    store.upgrade()
    assert set(Base.metadata.tables) <= tables(store)


def test_a_migration_that_fails_leaves_nothing(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the tables would be worse than none."""
    from alembic.operations import Operations

    create = Operations.create_table

    def fail_late(self: Operations, name: str, *args: object, **kw: object) -> object:
        if name == "scorings":
            raise RuntimeError("the power went")
        return create(self, name, *args, **kw)

    store = Store(store_url)
    with monkeypatch.context() as patch:
        patch.setattr(Operations, "create_table", fail_late)
        with pytest.raises(RuntimeError):
            store.upgrade()
    assert tables(store) <= {"alembic_version"}
    store.upgrade()
    assert store.revision() == head_revision()
    store.dispose()


AT_ONCE = """
import sys, time
from pipeline.store.database import Store
time.sleep(max(0.0, float(sys.argv[2]) - time.time()))
store = Store(sys.argv[1])
store.upgrade() if sys.argv[3] == "upgrade" else Store.open(sys.argv[1]).dispose()
print(store.revision())
"""


@pytest.mark.parametrize("way", ["upgrade", "open"])
def test_an_empty_database_met_by_many_processes_at_once(store_url: str, way: str) -> None:
    start = str(time.time() + 2.0)
    arguments = [sys.executable, "-c", AT_ONCE, store_url, start, way]
    many = [subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    for process in many:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out.strip()) == (0, head_revision()), err


def test_one_line_of_revisions() -> None:
    script = ScriptDirectory.from_config(alembic_config())
    assert len(script.get_heads()) == 1
    assert len(script.get_bases()) == 1


def test_a_registry_of_before_keeps_its_units_and_gets_names(store_url: str) -> None:
    store = Store(store_url)
    config = alembic_config()
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in (
            "INSERT INTO axes VALUES ('a', '', '', 'R1', 'A1', 60.0, '2026-01-01 00:00:00')",
            "INSERT INTO geometries VALUES ('old', 'main', '{}', 'x', '2026-01-01 00:00:00')",
            "INSERT INTO geometries VALUES ('new', 'main', '{}', 'y', '2026-02-01 00:00:00')",
            "INSERT INTO units VALUES ('a', 'S1', '2026-01-01 00:00:00', NULL, 'old', '2026-01-01 00:00:00')",
            "INSERT INTO units VALUES ('a', 'S0', '2025-01-01 00:00:00', NULL, NULL, '2026-01-01 00:00:00')",
        ):
            connection.exec_driver_sql(statement)
    store.upgrade()
    with store.read() as connection:
        names = connection.execute(sa.text("SELECT name, geometry_version, source FROM geometry_names")).all()
        units = "SELECT unit_serial, geometry_name, geometry_version FROM units ORDER BY unit_serial"
        assert names == [("main", "new", "y")]
        assert connection.execute(sa.text(units)).all() == [("S0", None, None), ("S1", "main", "old")]
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
        assert connection.execute(sa.text("SELECT COUNT(*) FROM units JOIN axes USING (axis_id)")).scalar() == 2
    store.dispose()


def test_the_line_of_older_evidence_is_kept(store: Store) -> None:
    """0020 puts it among the lines, and takes it out again."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    measured = {"part": "inner_race", "expected": 5.43, "order": 5.42, "db": 14.0, "found": True, "belongs_to": None}
    case = {"case_id": "c", "axis_id": "a", "family": "machine", "state": "open", "n_bins": 1, "priority": 0.5}
    with store.write() as connection:
        names = {"site": "", "cell": "", "robot_id": "R1", "axis": "A1"}
        connection.execute(sa.insert(Axis), {"axis_id": "a", "known_at": at, **names})
        times = {"first_at": at, "last_at": at, "known_at": at, "changed_at": at}
        connection.execute(sa.insert(Case), case | times | {"reasons": []})
        told = {"case_id": "c", "line": "bpfi", "lines": [{**measured, "part": "ball"}, measured]}
        connection.execute(sa.insert(CaseEvidence), told | {"case_changed_at": at, "known_at": at})
    config = alembic_config()
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0019")
        old = connection.execute(sa.text("SELECT line, line_order, line_db FROM case_evidence")).one()
        assert tuple(old) == ("bpfi", 5.42, 14.0)
        command.upgrade(config, "0020")
        (lines,) = connection.scalars(sa.select(CaseEvidence.lines))
    assert lines == [{"part": "inner_race", "expected": None, "order": 5.42, "db": 14.0, "found": True}]


def test_trends_of_other_sigmas_are_due_again(store: Store) -> None:
    """0031: their points have seen no baseline, and nothing of what was there is lost until they are computed."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    series = {"axis_id": "a", "unit_serial": "", "channel": "x", "feature_version": "v", "baselines_at": at}
    config = alembic_config()
    with store.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0029")
        point = series | {"recording_id": "r", "geometry_version": "none", "started_at": at, "regime": "*"}
        point |= {"baseline_version": "b", "n_windows": 1, "health_index": 4.0, "known_at": at}
        trend = series | {
            "from_at": at,
            "to_at": at,
            "n_recordings": 1,
            "n_points": 1,
            "threshold": 4.0,
            "known_at": at,
        }
        for name, row in (("trend_points", point), ("trends", trend)):
            table = sa.table(name, *(sa.column(key, Base.metadata.tables[name].c[key].type) for key in row))
            connection.execute(sa.insert(table), row)
    store.upgrade()
    with store.read() as connection:
        for model in (TrendPoint, Trend):
            (row,) = connection.execute(sa.select(model))
            assert row.baselines_at < datetime(1971, 1, 1, tzinfo=UTC)
        assert (row.threshold, row.alarm_evidence) == (4.0, None)
