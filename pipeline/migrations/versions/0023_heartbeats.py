"""The monitor leaves a sign of life at the end of each whole run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "heartbeats",
        sa.Column("name", sa.Text(), primary_key=True, comment="monitor"),
        sa.Column("as_of", time, nullable=True, comment="of the last whole run; null: there was none yet"),
        sa.Column("at", time, nullable=False, comment="true time of its end; without one, when somebody first looked"),
        sa.Column("reported_at", time, nullable=True, comment="when its silence was reported; null: it is not"),
    )


def downgrade() -> None:
    """Undo."""
    op.drop_table("heartbeats")
