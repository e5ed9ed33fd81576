"""The queue asks how unsure it is whether an axis is faulty; the entropy over all classes is no longer kept."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.drop_column("case_tallies", "doubt_nats")


def downgrade() -> None:
    """Undo; the tallies are made anew, because their entropies are gone."""
    comment = "highest predictive entropy of a bin in the time of the case, flagged or not, nats"
    op.execute("DELETE FROM case_tallies")
    op.add_column("case_tallies", sa.Column("doubt_nats", sa.Double(), nullable=True, comment=comment))
