"""Retention deletes models too: what a row of `prunings` says."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

COMMENTS = {
    "what": ("data or scores", "data, scores or model", 8),
    "name": ("of scores the model version; else ''", "of scores and models the version; else ''", 16),
}


def upgrade() -> None:
    """Apply. SQLite keeps no comments, so nothing changes there."""
    _explain(1)


def downgrade() -> None:
    """Undo. Models whose files are deleted cannot be used by an older version either."""
    op.execute("DELETE FROM prunings WHERE what = 'model'")
    _explain(0)


def _explain(new: int) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for column, (*texts, length) in COMMENTS.items():
            op.alter_column("prunings", column, existing_type=sa.String(length), comment=texts[new])
