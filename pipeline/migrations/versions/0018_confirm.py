"""Cases that ask about a label: the comment of cases.family names them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

BEFORE = "machine, data or audit; an axis has one open case of machine and one of data at most"
NOW = "machine, data, audit, confirm or model; an axis has one open case of machine and one of data at most"


def upgrade() -> None:
    """Apply. SQLite keeps no comments, so nothing changes there."""
    _explain(NOW)


def downgrade() -> None:
    """Undo."""
    _explain(BEFORE)


def _explain(comment: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("cases", "family", existing_type=sa.String(length=8), comment=comment)
