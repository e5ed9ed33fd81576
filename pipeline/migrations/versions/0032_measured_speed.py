"""Extractions name the speed that the signal shows, where the declared one is off by a few percent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    comment = "by the shaft's own lines, which features are read at; null where the declared speed is used"
    op.add_column("extractions", sa.Column("measured_speed_rpm", sa.Double(), nullable=True, comment=comment))


def downgrade() -> None:
    """Undo."""
    op.drop_column("extractions", "measured_speed_rpm")
