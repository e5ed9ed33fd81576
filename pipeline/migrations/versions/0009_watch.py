"""What triggers of a retraining said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "trigger_decisions",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("trigger", sa.String(length=32), nullable=False, comment="its name, or decision"),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False, comment="as_of of the run"),
        sa.Column("position", sa.Integer(), nullable=False, comment="place in the list that is shown"),
        sa.Column("fired", sa.Boolean(), nullable=False, comment="asks for a retraining; of a guard: holds one back"),
        sa.Column("reason", sa.Text(), nullable=False, comment="a sentence"),
        sa.Column("figures", sa.JSON(), nullable=False, comment="all that it looked at, and its thresholds"),
        sa.Column("champion", sa.String(length=16), nullable=True, comment="the champion at decided_at"),
        sa.Column(
            "by_schedule", sa.Boolean(), nullable=False, comment="a run of the schedule, which starts what it decides"
        ),
        sa.Column(
            "n_labels", sa.Integer(), nullable=False, comment="labels known at decided_at and not taken back by then"
        ),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "trigger", "decided_at", name=op.f("pk_trigger_decisions")),
    )
    op.create_index(op.f("ix_trigger_decisions_decided_at"), "trigger_decisions", ["decided_at"])


def downgrade() -> None:
    """Take back."""
    op.drop_table("trigger_decisions")
