"""Recordings have a hash of their samples alone, by which training and evaluation find copies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply; recordings that were accepted before have none, and are compared by their features alone."""
    comment = "of the samples alone, as logged: copies have the same one; null where accepted before 0030"
    op.add_column("recordings", sa.Column("samples_hash", sa.String(length=16), nullable=True, comment=comment))


def downgrade() -> None:
    """Undo."""
    op.drop_column("recordings", "samples_hash")
