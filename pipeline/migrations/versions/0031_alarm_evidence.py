"""The alarm of a trend goes by evidence, and health figures have other sigmas: all trends are computed again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None

COMMENT = "for an alarm; it starts at 12 and ends at 0, sigmas"


def upgrade() -> None:
    """Apply. Points and trends that have seen no baseline are due: the next run computes them from their features."""
    op.add_column("trends", sa.Column("alarm_evidence", sa.Double(), nullable=True, comment=COMMENT))
    _compute_again()


def downgrade() -> None:
    """Undo. An older version computes its own figures again."""
    op.drop_column("trends", "alarm_evidence")
    _compute_again()


def _compute_again() -> None:
    op.execute("UPDATE trend_points SET baselines_at = '1970-01-01 00:00:00'")
    op.execute("UPDATE trends SET baselines_at = '1970-01-01 00:00:00'")
