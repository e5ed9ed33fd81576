"""Baselines: each unit's own first days."""

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
        sa.Column("unit_serial", sa.Text(), nullable=True, comment="as in its recordings; null where none is known"),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("regime", sa.Text(), nullable=False, comment="program, speed bin and load bin; * is any"),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("geometry_version", sa.String(length=16), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False, comment="first recording of the unit"),
        sa.Column(
            "to_at", sa.DateTime(timezone=True), nullable=False, comment="end of the baseline period, not included"
        ),
        sa.Column("n_recordings", sa.Integer(), nullable=False),
        sa.Column("n_windows", sa.Integer(), nullable=False),
        sa.Column(
            "median",
            sa.JSON(),
            nullable=False,
            comment="of each feature, in the order of the feature version; null: none",
        ),
        sa.Column("spread", sa.JSON(), nullable=False, comment="1.4826 x median absolute deviation; null: none"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["axis_id"], ["axes.axis_id"], name=op.f("fk_baselines_axis_id_axes")),
        sa.PrimaryKeyConstraint("baseline_version", name=op.f("pk_baselines")),
    )
    op.create_index(op.f("ix_baselines_axis_id_feature_version"), "baselines", ["axis_id", "feature_version"])
    op.create_index(
        op.f("ix_recordings_axis_id_unit_serial_started_at"), "recordings", ["axis_id", "unit_serial", "started_at"]
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_recordings_axis_id_unit_serial_started_at"), table_name="recordings")
    op.drop_index(op.f("ix_baselines_axis_id_feature_version"), table_name="baselines")
    op.drop_table("baselines")
