"""Axes that are off for an announced time."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "planned_stops",
        sa.Column("axis_id", sa.String(16), primary_key=True),
        sa.Column("from_at", time, primary_key=True),
        sa.Column("known_at", time, primary_key=True),
        sa.Column("until_at", time, nullable=False, comment="its end, not included"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["axis_id"], ["axes.axis_id"], name=op.f("fk_planned_stops_axis_id")),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("planned_stops")
