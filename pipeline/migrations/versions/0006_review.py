"""Who may do what, who is at which case, what was taken back."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "users",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False, comment="viewer, reviewer or admin"),
        sa.Column("password_hash", sa.Text(), nullable=False, comment="argon2id"),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("known_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
    )
    op.create_table(
        "user_sessions",
        sa.Column("session_hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("csrf", sa.Text(), nullable=False, comment="what every write of this browser has to bring along"),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("known_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["name"], ["users.name"], name=op.f("fk_user_sessions_name")),
        sa.PrimaryKeyConstraint("session_hash", name=op.f("pk_user_sessions")),
    )
    op.create_table(
        "api_tokens",
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.Column("known_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["name"], ["users.name"], name=op.f("fk_api_tokens_name")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_api_tokens")),
    )
    op.create_table(
        "login_failures",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False, comment="since the last success or the last quiet time"),
        sa.Column("known_at", TIME, nullable=False, comment="of the newest one"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_login_failures")),
    )
    op.create_table(
        "case_work",
        sa.Column("case_id", sa.String(length=12), nullable=False),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", TIME, nullable=True, comment="the claim holds before this time"),
        sa.Column(
            "snoozed_priority", sa.Double(), nullable=True, comment="priority when it was snoozed; a rise wakes it"
        ),
        sa.Column("work_order", sa.Text(), nullable=True, comment="number in the maintenance system"),
        sa.Column("known_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name=op.f("fk_case_work_case_id")),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_case_work")),
    )
    op.create_table(
        "label_withdrawals",
        sa.Column("label_id", sa.String(length=16), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("known_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["label_id"], ["labels.label_id"], name=op.f("fk_label_withdrawals_label_id")),
        sa.PrimaryKeyConstraint("label_id", name=op.f("pk_label_withdrawals")),
    )
    op.create_table(
        "axis_mutes",
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("known_at", TIME, nullable=False, comment="its start"),
        sa.Column("until_at", TIME, nullable=False, comment="its end, not included"),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["axis_id"], ["axes.axis_id"], name=op.f("fk_axis_mutes_axis_id")),
        sa.PrimaryKeyConstraint("axis_id", "known_at", name=op.f("pk_axis_mutes")),
    )
    op.create_index(op.f("ix_axis_mutes_until_at"), "axis_mutes", ["until_at"])
    op.create_index("ix_cases_queue", "cases", ["state", "priority", "first_at", "case_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_cases_queue", "cases")
    for table in (
        "axis_mutes",
        "label_withdrawals",
        "case_work",
        "login_failures",
        "api_tokens",
        "user_sessions",
        "users",
    ):
        op.drop_table(table)
