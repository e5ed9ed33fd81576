"""Alembic's entry: migrates over the connection that `pipeline.store` hands over."""

from __future__ import annotations

from alembic import context

import pipeline.schema  # noqa: F401  (its tables)
from pipeline.schema_base import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
