"""Trends."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "trend_changes",
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("unit_serial", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, comment="first recording of the new level"),
        sa.Column("after_at", sa.DateTime(timezone=True), nullable=False, comment="last recording of the old level"),
        sa.Column("before", sa.Double(), nullable=False, comment="median before, sigmas"),
        sa.Column("after", sa.Double(), nullable=False, comment="median after, sigmas"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False, comment="when it was first told"),
        sa.PrimaryKeyConstraint(
            "axis_id", "unit_serial", "channel", "feature_version", "changed_at", name=op.f("pk_trend_changes")
        ),
    )
    op.create_table(
        "trend_points",
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("geometry_version", sa.String(length=16), nullable=False),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("unit_serial", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("regime", sa.Text(), nullable=False),
        sa.Column(
            "baseline_version", sa.String(length=16), nullable=False, comment="'' where no baseline fits the regime"
        ),
        sa.Column(
            "baselines_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="known_at of the newest baseline of unit and channel",
        ),
        sa.Column("n_windows", sa.Integer(), nullable=False, comment="windows with a good verdict"),
        sa.Column("level", sa.Double(), nullable=True),
        sa.Column("impulsiveness", sa.Double(), nullable=True),
        sa.Column("bearing_lines", sa.Double(), nullable=True),
        sa.Column("gear_lines", sa.Double(), nullable=True),
        sa.Column("shape", sa.Double(), nullable=True),
        sa.Column("health_index", sa.Double(), nullable=True, comment="0 = as the baseline, sigmas"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "feature_version", name=op.f("pk_trend_points")),
    )
    op.create_index(
        "ix_trend_points_series",
        "trend_points",
        ["axis_id", "unit_serial", "channel", "feature_version", "started_at"],
        unique=False,
    )
    op.create_table(
        "trends",
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("unit_serial", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False, comment="first recording"),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False, comment="last recording"),
        sa.Column("n_recordings", sa.Integer(), nullable=False, comment="rows of trend_points it rests on"),
        sa.Column("n_points", sa.Integer(), nullable=False, comment="those of them with a health index"),
        sa.Column(
            "baselines_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="all of its points have seen the baselines up to then",
        ),
        sa.Column("health_index", sa.Double(), nullable=True, comment="running median at the end, sigmas"),
        sa.Column("reference_low", sa.Double(), nullable=True, comment="5 % point in the time of the baseline, sigmas"),
        sa.Column(
            "reference_high", sa.Double(), nullable=True, comment="95 % point in the time of the baseline, sigmas"
        ),
        sa.Column(
            "threshold",
            sa.Double(),
            nullable=True,
            comment="of the frozen alarm rule, sigmas; null: short reference",
        ),
        sa.Column(
            "alarm_since", sa.DateTime(timezone=True), nullable=True, comment="from when the alarm is on until to_at"
        ),
        sa.Column("slope_per_day", sa.Double(), nullable=True, comment="of the newest stretch, sigmas a day"),
        sa.Column("slope_low", sa.Double(), nullable=True, comment="lower end of its 95 % interval"),
        sa.Column("slope_high", sa.Double(), nullable=True, comment="upper end of its 95 % interval"),
        sa.Column(
            "slope_from_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="start of the stretch that the slope rests on",
        ),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("axis_id", "unit_serial", "channel", "feature_version", name=op.f("pk_trends")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("trends")
    op.drop_index("ix_trend_points_series", table_name="trend_points")
    op.drop_table("trend_points")
    op.drop_table("trend_changes")
