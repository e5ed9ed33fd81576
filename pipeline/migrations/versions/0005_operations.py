"""What failed, and what retrainings came to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "task_failures",
        sa.Column("dag_id", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("map_index", sa.Integer(), autoincrement=False, nullable=False, comment="-1: not mapped"),
        sa.Column("try_number", sa.Integer(), autoincrement=False, nullable=False, comment="the last try"),
        sa.Column("message", sa.Text(), nullable=False, comment="type and text of the error"),
        sa.Column("log_url", sa.Text(), nullable=False, comment="page of the task in Airflow"),
        sa.Column(
            "webhook", sa.Text(), nullable=False, comment="'' without a webhook, sent, or why it could not be told"
        ),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False, comment="as_of of the run"),
        sa.PrimaryKeyConstraint(
            "dag_id", "run_id", "task_id", "map_index", "try_number", name=op.f("pk_task_failures")
        ),
    )
    op.create_table(
        "retraining_decisions",
        sa.Column("scope", sa.Text(), nullable=False, comment="'' where no scope could be trained"),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False, comment="as_of of the run"),
        sa.Column("trigger", sa.Text(), nullable=False, comment="schedule, labels or by hand"),
        sa.Column("n_labels", sa.Integer(), nullable=False, comment="labels known at decided_at"),
        sa.Column(
            "outcome", sa.String(length=16), nullable=False, comment="first, promoted, kept, unchanged or refused"
        ),
        sa.Column("reason", sa.Text(), nullable=False, comment="a sentence"),
        sa.Column("candidate", sa.String(length=16), nullable=True),
        sa.Column("champion", sa.String(length=16), nullable=True, comment="the champion before"),
        sa.Column("figures", sa.JSON(), nullable=False, comment="what was compared"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "decided_at", name=op.f("pk_retraining_decisions")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("retraining_decisions")
    op.drop_table("task_failures")
