"""Recordings of vibrations have the rms of their velocity, for people."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; recordings that were extracted before have none."""
    comment = "rms of the vibration velocity, 10 to 1000 Hz; null where not known or where the signal is bad"
    op.add_column("extractions", sa.Column("velocity_rms_mm_s", sa.Double(), nullable=True, comment=comment))


def downgrade() -> None:
    """Undo."""
    op.drop_column("extractions", "velocity_rms_mm_s")
