"""A model's life: lineage and held-out predictions of versions, what an alias event was, closed cases scored again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
VERSION = "null: the alias names nothing any more"

COMMENTS = (
    ("lake_files", "kind", "recordings, features or quarantine", "recordings, features, quarantine or models"),
    ("model_aliases", "alias", "champion", "champion or challenger"),
)


def upgrade() -> None:
    """Apply. Events of before were promotions, the first of a scope its first version."""
    op.add_column(
        "model_versions",
        sa.Column(
            "held_out_path",
            sa.Text(),
            nullable=True,
            comment="lake file of its out-of-fold class probabilities by recording; null: none kept",
        ),
    )
    op.add_column(
        "model_versions",
        sa.Column(
            "lineage",
            sa.JSON(),
            nullable=True,
            comment="code, libraries, seeds, labels, champion when it was trained; null: not kept",
        ),
    )
    told = "first, promoted, rolled_back; of a challenger trained, kept, waiting, promoted or refused"
    with op.batch_alter_table("alias_events") as batch:
        batch.add_column(sa.Column("action", sa.String(16), nullable=False, server_default="promoted", comment=told))
        batch.add_column(
            sa.Column("figures", sa.JSON(), nullable=True, comment="of the gate; null where none was asked")
        )
        batch.alter_column("model_version", existing_type=sa.String(16), nullable=True, comment=VERSION)
    op.execute("UPDATE alias_events SET action = 'first' WHERE previous_version IS NULL")
    with op.batch_alter_table("alias_events") as batch:
        batch.alter_column("action", existing_type=sa.String(16), existing_nullable=False, server_default=None)
    if op.get_bind().dialect.name == "postgresql":  # SQLite keeps no comments
        for table, column, _, told in COMMENTS:
            op.alter_column(table, column, existing_type=sa.String(16), existing_nullable=False, comment=told)
    op.create_table(
        "case_rescores",
        sa.Column("case_id", sa.String(12), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("model_version", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False, comment="what the case would have been, as of an axis state"),
        sa.Column("flags", sa.JSON(), nullable=False, comment="codes of its reasons for review"),
        sa.Column("n_windows", sa.Integer(), nullable=False, comment="good windows of this scope"),
        sa.Column("fault_probability", sa.Double(), nullable=True, comment="mean over windows, highest channel"),
        sa.Column("mode", sa.Text(), nullable=True, comment="most probable fault class of that channel"),
        sa.Column("mutual_information", sa.Double(), nullable=True, comment="mean over windows, highest channel, nats"),
        sa.Column("expected_entropy", sa.Double(), nullable=True, comment="mean over windows, highest channel, nats"),
        sa.Column("novelty_percentile", sa.Double(), nullable=True, comment="median over windows, highest channel"),
        sa.Column("known_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name=op.f("fk_case_rescores_case_id")),
        sa.ForeignKeyConstraint(
            ["model_version"], ["model_versions.model_version"], name=op.f("fk_case_rescores_model_version")
        ),
        sa.PrimaryKeyConstraint("case_id", "scope", "model_version", name=op.f("pk_case_rescores")),
    )


def downgrade() -> None:
    """Take back; events of an alias that names nothing go."""
    op.drop_table("case_rescores")
    if op.get_bind().dialect.name == "postgresql":
        for table, column, told, _ in COMMENTS:
            op.alter_column(table, column, existing_type=sa.String(16), existing_nullable=False, comment=told)
    op.execute("DELETE FROM alias_events WHERE model_version IS NULL")
    with op.batch_alter_table("alias_events") as batch:
        batch.alter_column("model_version", existing_type=sa.String(16), nullable=False)
        batch.drop_column("figures")
        batch.drop_column("action")
    op.drop_column("model_versions", "lineage")
    op.drop_column("model_versions", "held_out_path")
