"""What is to be told to another system; what was on record when an axis was muted; a history that only grows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
REFUSAL = "review_events is append-only"


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "webhook_events",
        sa.Column("case_id", sa.String(length=12), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False, comment="of the act in review_events"),
        sa.Column(
            "kind",
            sa.String(length=16),
            nullable=False,
            comment="case.opened, case.reopened, case.changed or case.closed",
        ),
        sa.Column("body", sa.Text(), nullable=False, comment="JSON as it is sent, byte for byte, at every try"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="waiting, delivered, given_up or skipped"),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="tries so far"),
        sa.Column(
            "not_before", TIME, nullable=True, comment="next try; while one is under way, when it is taken as dead"
        ),
        sa.Column("answer", sa.Text(), nullable=False, comment="what came of the last try"),
        sa.Column("ended_at", TIME, nullable=True, comment="when it was delivered, given up or skipped"),
        sa.Column("known_at", TIME, nullable=False, comment="of the act"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name=op.f("fk_webhook_events_case_id")),
        sa.PrimaryKeyConstraint("case_id", "sequence", name=op.f("pk_webhook_events")),
    )
    op.create_index(
        op.f("ix_webhook_events_state_case_id_sequence"), "webhook_events", ["state", "case_id", "sequence"]
    )
    op.add_column(
        "axis_mutes",
        sa.Column(
            "seen",
            sa.JSON(none_as_null=True),
            nullable=True,
            comment="what was on record of the axis: state, figures, models",
        ),
    )
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER review_events_no_{act.lower()} BEFORE {act} ON review_events "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION review_events_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER review_events_append_only BEFORE UPDATE OR DELETE ON review_events "
        "FOR EACH ROW EXECUTE FUNCTION review_events_refuse()"
    )


def downgrade() -> None:
    """Take back."""
    if op.get_bind().dialect.name == "sqlite":
        for act in ("update", "delete"):
            op.execute(f"DROP TRIGGER review_events_no_{act}")
    else:
        op.execute("DROP TRIGGER review_events_append_only ON review_events")
        op.execute("DROP FUNCTION review_events_refuse()")
    op.drop_column("axis_mutes", "seen")
    op.drop_table("webhook_events")
