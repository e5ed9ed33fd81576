"""The open cases of each axis, and the oldest ones, are found without reading the cases."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index("ix_cases_oldest", "cases", ["state", "axis_id", "first_at", "case_id"])


def downgrade() -> None:
    """Undo."""
    op.drop_index("ix_cases_oldest", table_name="cases")
