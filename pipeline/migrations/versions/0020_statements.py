"""Reasons are code and facts; states and cases hold the band and the shares of faults, case evidence all lines."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

FIGURES = ("fault_q05", "fault_q95")
COMMENTS_OF_STATES = (
    "mean of their 5 % quantiles",
    "mean of their 95 % quantiles",
    "of each fault class in their fault probability; they add up to 1",
)
TABLES = {"axis_states": COMMENTS_OF_STATES, "cases": (None,) * 3, "case_tallies": (None,) * 3}
LINES = "per bearing part: expected and measured order, height (dB), whether found, which part it belongs to"
COMMENTS = (
    ("axis_states", "flags", "reasons for review: code and %s of each"),
    ("cases", "reasons", "code, %s, first and last time and count of each"),
)
PARTS = {"bpfo": "outer_race", "bpfi": "inner_race", "bsf2x": "ball"}


def upgrade() -> None:
    """Apply. The line of a case that was stored alone becomes the only one of its lines."""
    for table, comments in TABLES.items():
        for name, comment in zip(FIGURES, comments, strict=False):
            op.add_column(table, sa.Column(name, sa.Double(), nullable=True, comment=comment))
        op.add_column(table, sa.Column("fault_shares", sa.JSON(), nullable=True, comment=comments[2]))
    op.add_column("case_evidence", sa.Column("lines", sa.JSON(), nullable=True, comment=LINES))
    evidence = _evidence()
    columns = [evidence.c[name] for name in ("case_id", "line", "line_order", "line_db")]
    for row in op.get_bind().execute(sa.select(*columns).where(evidence.c.line.in_(PARTS))).all():
        line = {"part": PARTS[row.line], "expected": None, "order": row.line_order, "db": row.line_db, "found": True}
        op.execute(sa.update(evidence).where(evidence.c.case_id == row.case_id).values(lines=[line]))
    for name in ("line_order", "line_db"):
        op.drop_column("case_evidence", name)
    _explain("facts")


def downgrade() -> None:
    """Undo."""
    _explain("sentence")
    order, db = "of that line, multiples of the shaft's speed", "height of its first harmonic over the floor, dB"
    op.add_column("case_evidence", sa.Column("line_order", sa.Double(), nullable=True, comment=order))
    op.add_column("case_evidence", sa.Column("line_db", sa.Double(), nullable=True, comment=db))
    evidence = _evidence()
    columns = [evidence.c[name] for name in ("case_id", "line", "lines")]
    for row in op.get_bind().execute(sa.select(*columns).where(evidence.c.line.in_(PARTS))).all():
        line = next(own for own in row.lines if own["part"] == PARTS[row.line])
        values = {"line_order": line["order"], "line_db": line["db"]}
        op.execute(sa.update(evidence).where(evidence.c.case_id == row.case_id).values(**values))
    op.drop_column("case_evidence", "lines")
    for table in TABLES:
        for name in (*FIGURES, "fault_shares"):
            op.drop_column(table, name)


def _evidence() -> sa.TableClause:
    names = ("case_id", "line", "line_order", "line_db")
    return sa.table("case_evidence", *(sa.column(name) for name in names), sa.column("lines", sa.JSON()))


def _explain(what: str) -> None:
    """Set the comments of the reasons; SQLite keeps none."""
    if op.get_bind().dialect.name == "postgresql":
        for table, column, comment in COMMENTS:
            of = sa.Table(table, sa.MetaData(), sa.Column(column, sa.JSON(), comment=comment % what)).c[column]
            op.execute(sa.schema.SetColumnComment(of))
