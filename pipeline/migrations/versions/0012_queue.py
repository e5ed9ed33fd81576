"""A case's place in the queue, and what its signal shows by itself."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
PLACE = "highest first in the queue: priority, uncertainty, age and criticality, see pipeline.cases.queue"


WAS = "0 to 1, highest first in the queue"
IS = "how bad, 0 to 1; a rise reopens and wakes"


def upgrade() -> None:
    """Apply. Until advise has run, the place of a case is its priority, as before."""
    op.drop_index("ix_cases_queue", "cases")
    column: sa.Column[float] = sa.Column(
        "queue_priority", sa.Double(), nullable=False, server_default="0", comment=PLACE
    )
    op.add_column("cases", column)
    op.execute("UPDATE cases SET queue_priority = priority")
    op.create_index("ix_cases_queue", "cases", ["state", "queue_priority", "first_at", "case_id"])
    _explain_priority(WAS, IS)
    op.create_table(
        "case_evidence",
        sa.Column("case_id", sa.String(length=12), nullable=False),
        sa.Column(
            "recording_id", sa.String(length=32), nullable=True, comment="the most suspicious one; null: none is left"
        ),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("program", sa.Text(), nullable=True),
        sa.Column("shaft_speed_rpm", sa.Double(), nullable=True),
        sa.Column(
            "line",
            sa.String(length=8),
            nullable=True,
            comment="bpfo, bpfi or bsf2x: the defect that the envelope speaks for; null: none",
        ),
        sa.Column("line_order", sa.Double(), nullable=True, comment="of that line, multiples of the shaft's speed"),
        sa.Column("line_db", sa.Double(), nullable=True, comment="height of its first harmonic over the floor, dB"),
        sa.Column("feature_version", sa.String(length=16), nullable=True),
        sa.Column(
            "moved",
            sa.LargeBinary(),
            nullable=True,
            comment="float32, little endian: each feature's distance from the unit's baseline in its spreads",
        ),
        sa.Column("case_changed_at", TIME, nullable=False, comment="changed_at of the case that it was made from"),
        sa.Column("known_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name=op.f("fk_case_evidence_case_id")),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_case_evidence")),
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("case_evidence")
    op.drop_index("ix_cases_queue", "cases")
    op.drop_column("cases", "queue_priority")
    _explain_priority(IS, WAS)
    op.create_index("ix_cases_queue", "cases", ["state", "priority", "first_at", "case_id"])


def _explain_priority(before: str, after: str) -> None:
    """SQLite keeps no comments on columns."""
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column(
            "cases",
            "priority",
            existing_type=sa.Double(),
            existing_nullable=False,
            existing_comment=before,
            comment=after,
        )
