"""The chance with which an audited bin was drawn."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "cases",
        sa.Column(
            "selection_probability",
            sa.Double(),
            nullable=True,
            comment="chance with which an audited bin was drawn; null: no audit",
        ),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("cases", "selection_probability")
