"""Baselines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "baselines",
        sa.Column("baseline_version", sa.String(length=16), nullable=False),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("unit_serial", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("regime", sa.Text(), nullable=False, comment="as of recordings; coarser ones are the fallback"),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("geometry_version", sa.String(length=16), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("n_recordings", sa.Integer(), nullable=False),
        sa.Column("n_windows", sa.Integer(), nullable=False),
        sa.Column("median", sa.JSON(), nullable=False, comment="of each feature, null where it has none"),
        sa.Column("spread", sa.JSON(), nullable=False, comment="of each feature, null where it has none"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("baseline_version", name=op.f("pk_baselines")),
    )
    op.create_index(op.f("ix_baselines_axis_id"), "baselines", ["axis_id"], unique=False)


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_baselines_axis_id"), table_name="baselines")
    op.drop_table("baselines")
