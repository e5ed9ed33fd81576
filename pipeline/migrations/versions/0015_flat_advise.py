"""What advise needs to cost the same however long the history is: sums of long cases, and indexes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

PARTIAL = (
    ("ix_recordings_archive", "recordings", ["axis_id"], "time_basis <> 'clock'"),
    ("ix_cases_to_place", "cases", ["case_id"], "(state <> 'closed' OR queue_priority <> priority)"),
    ("ix_baselines_programs", "baselines", ["axis_id", "from_at"], "programs IS NOT NULL"),
)


def upgrade() -> None:
    """Apply. Tallies are written by the next runs of advise."""
    op.create_index("ix_recordings_axis_id_started_at", "recordings", ["axis_id", "started_at"])
    op.create_index("ix_axis_states_axis_id_known_at", "axis_states", ["axis_id", "known_at"])
    for name, table, columns, where in PARTIAL:
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    op.create_table(
        "case_tallies",
        sa.Column("case_id", sa.String(length=12), nullable=False),
        sa.Column(
            "until_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="bins that start before it are in the row",
        ),
        sa.Column("n_bins", sa.Integer(), nullable=False, comment="flagged bins of the case"),
        sa.Column("priority", sa.Double(), nullable=False, comment="highest of those bins, as in cases"),
        sa.Column("reasons", sa.JSON(), nullable=False, comment="of those bins, as in cases"),
        sa.Column("fault_probability", sa.Double(), nullable=True, comment="highest of those bins"),
        sa.Column("mode", sa.Text(), nullable=True, comment="most probable fault class at that bin"),
        sa.Column(
            "doubt_nats",
            sa.Double(),
            nullable=True,
            comment="highest predictive entropy of a bin in the time of the case, flagged or not, nats",
        ),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.case_id"], name=op.f("fk_case_tallies_case_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_case_tallies")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("case_tallies")
    for name, table, _, _ in reversed(PARTIAL):
        op.drop_index(name, table)
    op.drop_index("ix_axis_states_axis_id_known_at", "axis_states")
    op.drop_index("ix_recordings_axis_id_started_at", "recordings")
