"""Wrong passwords are counted by source, and a token has a role of its own; what the band of a score is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
BAND_BEFORE = {"fault_q05": "5 % quantile over the samples", "fault_q95": "95 % quantile over the samples"}
BAND_NOW = {"fault_q05": "low end of its 5-95 % band", "fault_q95": "high end of its 5-95 % band"}


def upgrade() -> None:
    """Apply. Counts of wrong passwords are worth five minutes and begin anew; tokens keep their user's rights."""
    op.drop_table("login_failures")
    op.create_table(
        "login_failures",
        sa.Column("source", sa.String(length=64), nullable=False, comment="address that the request came from"),
        sa.Column("name", sa.String(length=100), nullable=False, comment="empty: what cannot be a name"),
        sa.Column("failures", sa.Integer(), nullable=False, comment="in a row"),
        sa.Column("known_at", TIME, nullable=False, comment="of the newest one"),
        sa.PrimaryKeyConstraint("source", "name", name=op.f("pk_login_failures")),
    )
    comment = "the most it may do; null: as much as its user"
    op.add_column("api_tokens", sa.Column("role", sa.String(length=16), nullable=True, comment=comment))
    _explain(BAND_NOW)


def downgrade() -> None:
    """Undo. A token with less than its user's rights would get them all, so it ends."""
    _explain(BAND_BEFORE)
    op.execute("DELETE FROM api_tokens WHERE role IS NOT NULL")
    op.drop_column("api_tokens", "role")
    op.drop_table("login_failures")
    op.create_table(
        "login_failures",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False, comment="since the last success or the last quiet time"),
        sa.Column("known_at", TIME, nullable=False, comment="of the newest one"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_login_failures")),
    )


def _explain(comments: dict[str, str]) -> None:
    """Set comments of `scores`; SQLite keeps none."""
    if op.get_bind().dialect.name == "postgresql":
        for name, comment in comments.items():
            op.alter_column("scores", name, existing_type=sa.Double(), comment=comment)
