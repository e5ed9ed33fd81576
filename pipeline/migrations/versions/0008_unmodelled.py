"""What the textbook rule gives to faults without a class, and the programs of a baseline's period."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column(
        "scores",
        sa.Column(
            "unmodelled_probability",
            sa.Float(),
            nullable=True,
            comment="of the textbook rule, for faults that the model has no class for",
        ),
    )
    op.add_column(
        "baselines",
        sa.Column(
            "programs",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="programs recorded in the period; only where the regime is * throughout",
        ),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_column("baselines", "programs")
    op.drop_column("scores", "unmodelled_probability")
