"""The newest findings are found without reading all of them."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_labels_newest", "labels", ["known_at", "label_id"])


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_labels_newest", table_name="labels")
