"""Roles of PostgreSQL: the application may add to the history, and neither change nor delete it.

The application's role owns the tables that it changes (partitions of scores are made while it works). The tables of
what people and models did belong to who administrates the database: the application may only read them and insert.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from pipeline.base.errors import AxiswatchError, PrerequisiteMissing
from pipeline.store.database import Store
from pipeline.store.tables import (
    AliasEvent,
    AxisMute,
    CaseAnswer,
    CaseRescore,
    Label,
    LabelWithdrawal,
    ModelVersion,
    PlannedStop,
    PlantLevel,
    Pruning,
    ReviewEvent,
)

APPEND_ONLY: Final = tuple(
    str(model.__tablename__)
    for model in (
        AliasEvent,
        AxisMute,
        CaseAnswer,
        CaseRescore,
        Label,
        LabelWithdrawal,
        ModelVersion,
        PlannedStop,
        PlantLevel,
        Pruning,
        ReviewEvent,
    )
)
"""Tables to which rows are only added. Retention deletes nothing from them."""


def separate(store: Store, app: str) -> list[str]:
    """Give the application's role what it needs and no more; call it again after each upgrade. One transaction.

    Parameters
    ----------
    store
        The database, opened as the role that will own the history: a superuser, or a member of `app` that owns it.
    app
        Role of the application, which exists and is another one.

    Returns
    -------
    list of str
        The statements that were executed.

    Raises
    ------
    PrerequisiteMissing
        The database has no tables, or there is no such role.
    AxiswatchError
        The database is SQLite's, this is the same role, or the role is a superuser, whom nothing is refused.
    """
    if store.is_sqlite:
        raise AxiswatchError("SQLite has no roles; keep its file from others by the rights of its folder")
    quote = store.engine.dialect.identifier_preparer.quote
    with store.write() as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            raise PrerequisiteMissing("the database has no tables; `axiswatch db create` makes them")
        role = sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = :app")
        is_super = connection.scalar(role, {"app": app})
        me, database = connection.execute(sa.text("SELECT current_user, current_database()")).one()
        if is_super is None:
            raise PrerequisiteMissing(f"there is no role {app}; CREATE ROLE {quote(app)} LOGIN PASSWORD '...' first")
        if is_super or me == app:
            raise AxiswatchError(f"role {app} is a superuser, or the one that this runs as; name another one")
        tables = connection.scalars(
            sa.text(
                "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
                "ORDER BY relname"
            )
        ).all()
        kept = (*APPEND_ONLY, "alembic_version")
        mine, its, history = quote(me), quote(app), ", ".join(kept)
        statements = [
            f"ALTER DATABASE {quote(database)} OWNER TO {mine}",  # an owner may drop what others own in it
            f"GRANT CONNECT, TEMPORARY ON DATABASE {quote(database)} TO {its}",
            f"GRANT USAGE, CREATE ON SCHEMA public TO {its}",
            *(f"ALTER TABLE {quote(name)} OWNER TO {mine if name in kept else its}" for name in tables),
            f"ALTER FUNCTION review_events_refuse() OWNER TO {mine}",
            f"REVOKE ALL ON {history} FROM PUBLIC, {its}",
            f"GRANT SELECT ON {history} TO {its}",
            f"GRANT INSERT ON {', '.join(APPEND_ONLY)} TO {its}",
        ]
        for statement in statements:
            connection.exec_driver_sql(statement)
    return statements
