"""A file that is being read is noted, and a row refused for its time is judged again once that has come."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

DUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    """Apply; what was refused as `time_in_future` is due at once."""
    comment = "1: a run began to read it; 0: taken"
    op.add_column(
        "landing_entries", sa.Column("tries", sa.Integer(), nullable=False, server_default="0", comment=comment)
    )
    comment = "judged again then; null: only when asked"
    op.add_column("quarantine", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True, comment=comment))
    where = "state = 'open' AND CAST(reasons AS TEXT) LIKE '%\"time_in_future\"%'"
    op.execute(f"UPDATE quarantine SET due_at = known_at WHERE {where}")  # noqa: S608  # nosec B608
    op.create_index("ix_quarantine_due_at", "quarantine", ["due_at"], sqlite_where=DUE, postgresql_where=DUE)


def downgrade() -> None:
    """Undo; notes of files that are being read go."""
    op.drop_index("ix_quarantine_due_at", "quarantine")
    op.drop_column("quarantine", "due_at")
    op.execute("DELETE FROM landing_entries WHERE tries > 0")
    op.drop_column("landing_entries", "tries")
