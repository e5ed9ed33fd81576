"""Retention records how far it has deleted, so that an `as_of` before that is refused."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "prunings",
        sa.Column("what", sa.String(8), primary_key=True, comment="data or scores"),
        sa.Column("name", sa.String(16), primary_key=True, comment="of scores the model version; else ''"),
        sa.Column(
            "before_at",
            time,
            primary_key=True,
            comment="what is older is gone; of scores when the model was no champion any more",
        ),
        sa.Column("known_at", time, nullable=False, comment="as_of of the first run that deleted it"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("prunings")
