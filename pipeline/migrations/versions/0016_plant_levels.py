"""Levels of the plant; faulty or not kept apart from which fault; the recent fault probability of an axis."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SCORES = (
    ("fault_expected_entropy", "aleatoric uncertainty of faulty or not alone, nats"),
    ("fault_mutual_information", "epistemic uncertainty of faulty or not alone, nats"),
    ("blocked_probability", "fault probability that the bad signal would have; null where the verdict is good"),
)
RECENT = "from the mean log odds of this bin and those before it; compared with the levels"


def upgrade() -> None:
    """Apply. Scores and states that exist keep null in the new columns."""
    for name, comment in SCORES:
        op.add_column("scores", sa.Column(name, sa.Float(), nullable=True, comment=comment))
    op.add_column("axis_states", sa.Column("recent_probability", sa.Double(), nullable=True, comment=RECENT))
    op.create_table(
        "plant_levels",
        sa.Column("model_version", sa.String(length=16), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column(
            "decided_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="as_of of the estimate, or time of the act",
        ),
        sa.Column("sequence", sa.Integer(), nullable=False, comment="among rows of one time"),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column(
            "alarm_probability", sa.Double(), nullable=False, comment="recent fault probability of an alarm, 0 to 1"
        ),
        sa.Column(
            "review_probability", sa.Double(), nullable=False, comment="recent fault probability of a review, 0 to 1"
        ),
        sa.Column("held", sa.Boolean(), nullable=False, comment="set by a person; the daily estimate leaves it alone"),
        sa.Column("reason", sa.Text(), nullable=False, comment="a sentence"),
        sa.Column("figures", sa.JSON(), nullable=False, comment="what it rests on: units, median, answers"),
        sa.Column("who", sa.Text(), nullable=False, comment="'axiswatch' for the estimate"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version"], ["model_versions.model_version"], name=op.f("fk_plant_levels_model_version")
        ),
        sa.PrimaryKeyConstraint("model_version", "site", "decided_at", "sequence", name=op.f("pk_plant_levels")),
    )
    op.create_table(
        "level_references",
        sa.Column("model_version", sa.String(length=16), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False, comment="serial number, or the axis where it is not known"),
        sa.Column(
            "source",
            sa.Text(),
            nullable=False,
            comment="first_days, held_out, or the id of the label that says what the unit was",
        ),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True, comment="nats; null: too few bins"),
        sa.Column("n_bins", sa.Integer(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False, comment="end of the time that was looked at"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version"], ["model_versions.model_version"], name=op.f("fk_level_references_model_version")
        ),
        sa.PrimaryKeyConstraint("model_version", "unit", "source", name=op.f("pk_level_references")),
    )
    op.create_index("ix_level_references_axis_id", "level_references", ["axis_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_level_references_axis_id", "level_references")
    op.drop_table("level_references")
    op.drop_table("plant_levels")
    with op.batch_alter_table("axis_states") as table:
        table.drop_column("recent_probability")
    with op.batch_alter_table("scores") as table:
        for name, _ in SCORES:
            table.drop_column(name)
