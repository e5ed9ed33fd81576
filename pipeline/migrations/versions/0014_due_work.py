"""Marks of work that is due, in place of searches through everything that is stored."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
TREND_COLUMNS = {
    "reference_to_at": "end of the baselines' time; null: none",
    "course_at": "slope and change points rest on recordings before it; null: on all",
}
BASELINES_SERIES = ["axis_id", "feature_version", "unit_serial", "channel", "known_at"]

DELETED = (
    (
        "extractions",
        "extract",
        "SELECT OLD.recording_id AS subject, '' AS scope, '' AS version, started_at, n_samples * 4 AS size "
        "FROM recordings WHERE recording_id = OLD.recording_id",
    ),
    ("baselines", "baseline", "SELECT OLD.axis_id AS subject, '' AS scope, '' AS version, OLD.from_at, 1 AS size"),
    (
        "scorings",
        "score",
        "SELECT OLD.recording_id AS subject, scope, feature_version, started_at, n_windows AS size FROM extractions "
        "WHERE recording_id = OLD.recording_id AND feature_version = OLD.feature_version "
        "AND geometry_version = OLD.geometry_version",
    ),
)
"""Results that are due again when somebody deletes them: table, step, and subject to size of the mark."""


def upgrade() -> None:
    """Apply. The tables start empty: a step that finds no basis here searches once and marks all that is due."""
    op.create_table(
        "due_work",
        sa.Column(
            "subject",
            sa.Text(),
            nullable=False,
            comment="recording_id; of baseline an axis_id; of course axis, unit and channel as JSON",
        ),
        sa.Column("step", sa.String(length=16), nullable=False, comment="extract, baseline, trend, course or score"),
        sa.Column("scope", sa.Text(), nullable=False, comment="model scope of score; else ''"),
        sa.Column(
            "version",
            sa.String(length=16),
            nullable=False,
            comment="feature version of score, trend and course; else ''",
        ),
        sa.Column("at", TIME, nullable=False, comment="start of the recording; the newest is taken first"),
        sa.Column(
            "size",
            sa.BigInteger(),
            nullable=False,
            comment="of extract bytes of samples, of score windows, of other steps 1",
        ),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=False,
            comment="what it was marked for: a hash or a version; '' for a new recording",
        ),
        sa.PrimaryKeyConstraint("subject", "step", "scope", "version", name=op.f("pk_due_work")),
    )
    op.create_index("ix_due_work_order", "due_work", ["step", "scope", "version", "at", "subject"])
    op.create_table(
        "due_bases",
        sa.Column("step", sa.String(length=16), nullable=False),
        sa.Column(
            "name",
            sa.Text(),
            nullable=False,
            comment="of extract a quantity, of score a model scope, of trend a feature version; else ''",
        ),
        sa.Column(
            "basis",
            sa.Text(),
            nullable=False,
            comment="of extract the feature version, of score the champion, of baseline a hash of settings; else ''",
        ),
        sa.PrimaryKeyConstraint("step", "name", name=op.f("pk_due_bases")),
    )
    for table, step, found in DELETED:
        _mark_deleted(table, step, found)
    for name, comment in TREND_COLUMNS.items():
        op.add_column("trends", sa.Column(name, TIME, nullable=True, comment=comment))
    op.drop_index("ix_baselines_axis_id_feature_version", "baselines")
    op.create_index("ix_baselines_series", "baselines", BASELINES_SERIES)


def downgrade() -> None:
    """Take back."""
    for table, *_ in DELETED:
        _forget_deleted(table)
    op.drop_index("ix_baselines_series", "baselines")
    op.create_index("ix_baselines_axis_id_feature_version", "baselines", ["axis_id", "feature_version"])
    for name in reversed(TREND_COLUMNS):
        op.drop_column("trends", name)
    op.drop_table("due_bases")
    op.drop_index("ix_due_work_order", "due_work")
    op.drop_table("due_work")


def _mark_deleted(table: str, step: str, found: str) -> None:
    """Create a trigger: a deleted row is marked for the step that made it."""
    name = f"{table}_deleted"
    statement = (
        "INSERT INTO due_work (subject, scope, version, at, size, step, cause) "  # noqa: S608  # nosec B608
        f"SELECT found.*, '{step}', 'deleted' FROM ({found}) AS found WHERE true "
        "ON CONFLICT (subject, step, scope, version) DO UPDATE SET cause = excluded.cause, "
        "at = CASE WHEN excluded.at < due_work.at THEN excluded.at ELSE due_work.at END;"
    )
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER {name} AFTER DELETE ON {table} BEGIN {statement} END")
        return
    op.execute(f"CREATE FUNCTION {name}() RETURNS trigger AS $$ BEGIN {statement} RETURN NULL; END $$ LANGUAGE plpgsql")
    op.execute(f"CREATE TRIGGER {name} AFTER DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {name}()")


def _forget_deleted(table: str) -> None:
    """Drop the trigger of a table."""
    postgresql = op.get_bind().dialect.name == "postgresql"
    op.execute(f"DROP TRIGGER {table}_deleted" + (f" ON {table}" if postgresql else ""))
    if postgresql:
        op.execute(f"DROP FUNCTION {table}_deleted()")
