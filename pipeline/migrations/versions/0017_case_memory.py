"""Case memory: what answered cases showed, and what they say about open ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)

COMMENTS = (
    (
        "cases",
        "queue_priority",
        "highest first in the queue: priority, uncertainty, age and criticality, see pipeline.cases.queue",
        "highest first in the queue: priority, memory, uncertainty, age and criticality, see pipeline.cases.queue",
    ),
    (
        "due_work",
        "subject",
        "recording_id; of baseline an axis_id; of course axis, unit and channel as JSON",
        "recording_id; of baseline an axis_id; of course axis, unit and channel as JSON; of remember a case or a label",
    ),
    (
        "due_work",
        "step",
        "extract, baseline, trend, course or score",
        "extract, baseline, trend, course, score or remember",
    ),
    ("due_work", "scope", "model scope of score; else ''", "model scope of score; of remember case or label; else ''"),
    (
        "due_bases",
        "basis",
        "of extract the feature version, of score the champion, of baseline a hash of settings; else ''",
        "of extract the feature version, of score the champion, of baseline and remember a hash of settings; else ''",
    ),
)
"""Table, column, comment before and after. SQLite keeps none."""

ANSWERS = """
INSERT INTO case_answers (label_id, case_id, scope, feature_version, moved, known_at)
SELECT labels.label_id, labels.case_id, case_evidence.scope, case_evidence.feature_version, case_evidence.moved,
       labels.known_at
FROM labels
JOIN cases ON cases.case_id = labels.case_id AND cases.family <> 'data'
JOIN case_evidence ON case_evidence.case_id = labels.case_id
JOIN recordings ON recordings.recording_id = case_evidence.recording_id
WHERE case_evidence.moved IS NOT NULL AND case_evidence.scope IS NOT NULL
AND recordings.started_at >= labels.from_at AND recordings.started_at < labels.to_at
"""


def upgrade() -> None:
    """Apply. Findings that exist are remembered with what their cases show now; the next run computes the figures."""
    column: sa.Column[str] = sa.Column(
        "scope", sa.Text(), nullable=True, comment="model scope of its features; null: it has none"
    )
    op.add_column("case_evidence", column)
    op.execute(
        "UPDATE case_evidence SET scope = (SELECT min(extractions.scope) FROM extractions "
        "WHERE extractions.recording_id = case_evidence.recording_id)"
    )
    op.create_index("ix_labels_case_id", "labels", ["case_id"])
    op.create_table(
        "case_answers",
        sa.Column("label_id", sa.String(length=16), nullable=False),
        sa.Column("case_id", sa.String(length=12), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("moved", sa.LargeBinary(), nullable=False, comment="as in case_evidence"),
        sa.Column("known_at", TIME, nullable=False, comment="of the label"),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name=op.f("fk_case_answers_case_id")),
        sa.ForeignKeyConstraint(["label_id"], ["labels.label_id"], name=op.f("fk_case_answers_label_id")),
        sa.PrimaryKeyConstraint("label_id", name=op.f("pk_case_answers")),
    )
    op.create_index("ix_case_answers_case_id", "case_answers", ["case_id"])
    columns = ["scope", "feature_version", "known_at"]
    op.create_index("ix_case_answers_scope_feature_version_known_at", "case_answers", columns)
    op.execute(ANSWERS)
    op.create_table(
        "case_memory",
        sa.Column(
            "case_id",
            sa.String(length=12),
            nullable=False,
            comment="no foreign key: nobody waits for who holds the case",
        ),
        sa.Column(
            "figure",
            sa.Double(),
            nullable=False,
            comment="0 (look-alikes were healthy) to 1 (they were faulty)",
        ),
        sa.Column(
            "rests_on",
            sa.JSON(),
            nullable=False,
            comment="findings, nearest first, each with similarity and weight",
        ),
        sa.Column(
            "told",
            sa.Boolean(),
            nullable=False,
            comment="its history says that it looks like a fault",
        ),
        sa.Column("known_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_case_memory")),
    )
    _comment([(table, column, before, after) for table, column, before, after in COMMENTS])


def downgrade() -> None:
    """Take back."""
    _comment([(table, column, after, before) for table, column, before, after in COMMENTS])
    op.execute("DELETE FROM due_work WHERE step = 'remember'")
    op.execute("DELETE FROM due_bases WHERE step = 'remember'")
    op.drop_table("case_memory")
    op.drop_table("case_answers")
    op.drop_index("ix_labels_case_id", "labels")
    op.drop_column("case_evidence", "scope")


def _comment(changes: list[tuple[str, str, str, str]]) -> None:
    if op.get_bind().dialect.name == "postgresql":
        for table, column, _, after in changes:
            op.execute(f"COMMENT ON COLUMN {table}.{column} IS '{after.replace(chr(39), 2 * chr(39))}'")
