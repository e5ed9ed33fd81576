"""The application's role on a real PostgreSQL: the whole product works under it, and the history cannot be changed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import Store
from pipeline.store.roles import APPEND_ONLY, separate


@pytest.fixture
def both(postgres: Any) -> Iterator[tuple[str, str, str]]:
    """URL of the administrator, URL of the application's role, its name; all tables are the application's at first."""
    app, name = f"app_{uuid.uuid4().hex}", postgres.create()
    postgres.execute(f"CREATE ROLE {app} LOGIN")
    postgres.execute(f"ALTER DATABASE {name} OWNER TO {app}")
    postgres.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
    admin = postgres.url(name)
    its = make_url(admin).set(username=app).render_as_string()
    Store.open(its).dispose()
    yield admin, its, app
    postgres.drop(name)
    postgres.execute(f"DROP ROLE {app}")


def test_all_of_the_product_works_and_the_history_stays(both: tuple[str, str, str], cli: Any, small_fleet: Any) -> None:
    admin, its, app = both
    assert cli("db", "roles", "--app", app, "--json", database_url=admin).code == 0

    def run(*words: str | Path) -> Any:
        return cli(*words, "--json", timeout_s=600, database_url=its, landing=small_fleet.landing, epochs=5).json()

    end = ("--as-of", small_fleet.end.isoformat())
    run("assets", "import", small_fleet.assets)
    run("labels", "import", small_fleet.labels)
    run("run", *end)
    run("train", *end)
    assert run("run", *end)["score"]["windows"] > 0
    run("retrain", *end)
    run("levels", "estimate", *end)
    run("watch", *end)
    case = run("queue", "--limit", "1")[0]["case_id"]
    run("label", case, "fault", "--mode", "ball", "--evidence", "inspected")
    later = ("--as-of", small_fleet.end.replace(year=2027).isoformat())
    assert cli("retention", *later, "--json", database_url=its, retention_months=1).json()["data"]["partitions"] > 0

    store = Store.open(its)
    with store.read() as connection:
        full = [name for name in APPEND_ONLY if connection.exec_driver_sql(f"SELECT 1 FROM {name}").first()]
    assert {"review_events", "labels", "alias_events", "model_versions", "plant_levels", "case_answers"} <= set(full)
    forbidden = ["CREATE OR REPLACE FUNCTION review_events_refuse() RETURNS trigger LANGUAGE sql AS ''"]
    forbidden += ["UPDATE alembic_version SET version_num = '0001'", "DROP SCHEMA public CASCADE"]
    for name in APPEND_ONLY:
        column = "who" if name in ("labels", "review_events") else "known_at"
        column = "at" if name == "alias_events" else column
        forbidden += [f"UPDATE {name} SET {column} = {column}", f"DELETE FROM {name}", f"TRUNCATE {name} CASCADE"]
        forbidden += [f"DROP TABLE {name} CASCADE", f"ALTER TABLE {name} DISABLE TRIGGER ALL"]
    for statement in forbidden:
        with pytest.raises(ProgrammingError, match=r"permission denied|must be owner"), store.write() as connection:
            connection.exec_driver_sql(statement)
    store.dispose()


def test_again_after_an_upgrade(both: tuple[str, str, str]) -> None:
    admin, its, app = both
    store = Store.open(admin)
    separate(store, app)
    with store.write() as connection:
        connection.exec_driver_sql("CREATE TABLE later (a int)")
    with pytest.raises(ProgrammingError), (mine := Store.open(its)).write() as connection:
        connection.exec_driver_sql("INSERT INTO later VALUES (1)")
    separate(store, app)
    with mine.write() as connection:
        connection.exec_driver_sql("INSERT INTO later VALUES (1)")
    mine.dispose()
    store.dispose()


def test_what_is_refused(both: tuple[str, str, str], sqlite_store: Store) -> None:
    admin, its, app = both
    with pytest.raises(AxiswatchError, match="SQLite has no roles"):
        separate(sqlite_store, app)
    for url, role, error in (
        (admin, "nobody_is_called_so", PrerequisiteMissing),
        (admin, "postgres", AxiswatchError),
        (its, app, AxiswatchError),
    ):
        store = Store(url)
        with pytest.raises(error, match="role"):
            separate(store, role)
        store.dispose()


def test_sqlite_keeps_a_verdict_through_a_power_cut(sqlite_store: Store) -> None:
    """A commit is on the disk when it returns: 2 is FULL."""
    with sqlite_store.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
