"""Alembic's entry: migrates over the connection that `pipeline.store.database` hands over."""

from __future__ import annotations

from alembic import context

from pipeline.store.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
