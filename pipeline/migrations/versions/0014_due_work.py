"""Marks of work that is due, in place of searches through everything that is stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply. The tables start empty: a step that finds no basis here searches once and marks all that is due."""
    op.create_table(
        "due_work",
        sa.Column("mark_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("step", sa.String(length=16), nullable=False, comment="extract, baseline, trend, course or score"),
        sa.Column("scope", sa.Text(), nullable=False, comment="model scope of score; else ''"),
        sa.Column(
            "version",
            sa.String(length=16),
            nullable=False,
            comment="feature version of score, trend and course; else ''",
        ),
        sa.Column("at", TIME, nullable=False, comment="start of the recording; the newest is taken first"),
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="recording_id; of baseline an axis_id; of course axis, unit and channel as JSON",
        ),
        sa.Column(
            "size",
            sa.BigInteger(),
            nullable=False,
            comment="of extract bytes of samples, of score windows, of other steps 1",
        ),
        sa.PrimaryKeyConstraint("mark_id", name=op.f("pk_due_work")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_due_work_order", "due_work", ["step", "scope", "version", "at", "subject"])
    op.create_table(
        "due_bases",
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="of extract a quantity, of score a model scope"),
        sa.Column("basis", sa.Text(), nullable=False, comment="of extract the feature version, of score the champion"),
        sa.PrimaryKeyConstraint("step", "name", name=op.f("pk_due_bases")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("due_bases")
    op.drop_index("ix_due_work_order", "due_work")
    op.drop_table("due_work")
