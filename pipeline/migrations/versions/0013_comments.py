"""Comments of columns name every value that the code writes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COMMENTS = (
    (
        "alias_events",
        "action",
        "first, promoted, rolled_back; of a challenger trained, kept, waiting, promoted or refused",
        "first, promoted, rolled_back, trained, kept, waiting or refused; the last four of a challenger only",
    ),
    (
        "quarantine",
        "state",
        "open, or replayed once it was accepted",
        "open or replayed; replayed once the row was accepted",
    ),
    (
        "retraining_decisions",
        "trigger",
        "schedule, labels or by hand",
        "what it was done for: the reasons of the triggers, or the text of --trigger",
    ),
    (
        "retraining_decisions",
        "outcome",
        "first, promoted, kept, unchanged or refused",
        "first, promoted, kept, unchanged, waiting, refused or failed",
    ),
    ("scores", "unit_serial", None, "as known when scored"),
    (
        "scores",
        "unmodelled_probability",
        "of the textbook rule, for faults that the model has no class for",
        "of the textbook rule, for faults that the model has no class for; null: no such line",
    ),
    ("scores", "n_mc_samples", None, "samples of the mean; null: the method takes one pass"),
    (
        "task_failures",
        "webhook",
        "'' without a webhook, sent, or why it could not be told",
        "'' without a webhook, sent, or why the message was not delivered",
    ),
    ("trend_changes", "known_at", "when it was first told", "when it was first found"),
    (
        "trigger_decisions",
        "n_labels",
        "labels known at decided_at and not taken back by then",
        "labels known at decided_at and not withdrawn by then",
    ),
    ("users", "password_hash", "argon2id", "argon2id; outside: the user comes through Airflow and has none"),
    (
        "axis_events",
        "details",
        "unit_serial; of a replacement also old_unit_serial, reason",
        "unit_serial; of a replacement also the old serial, the geometry, the reason and the cases it closed",
    ),
    (
        "axis_states",
        "state",
        "healthy, watch, alarm, data_fault, silent or unknown (unsure)",
        "healthy, watch, alarm, data_fault, silent or unknown; unknown: the model is unsure",
    ),
    (
        "cases",
        "family",
        "machine or data; one open case of a family an axis",
        "machine, data or audit; an axis has one open case of machine and one of data at most",
    ),
    (
        "geometry_names",
        "characteristics",
        "all characteristic orders: name, formula, source",
        "all characteristic orders: name, order, formula, source",
    ),
    (
        "units",
        "characteristics",
        "all characteristic orders: name, formula, source",
        "all characteristic orders: name, order, formula, source",
    ),
    (
        "case_evidence",
        "line",
        "bpfo, bpfi or bsf2x: the defect that the envelope speaks for; null: none",
        "bpfo, bpfi or bsf2x; the bearing line that stands out in the envelope; null: none",
    ),
    (
        "case_rescores",
        "state",
        "what the case would have been, as of an axis state",
        "what the case would have been; words as in axis_states",
    ),
    (
        "extractions",
        "unit_serial",
        "from the log, else from the asset registry",
        "from the log, else from the asset registry as it was when extracted",
    ),
    ("review_events", "who", "'axiswatch' for what the advise step did", "'axiswatch' for what a step did"),
    (
        "review_events",
        "action",
        "opened, reopened, closed, verdict",
        "opened, reopened, changed, closed, verdict, claimed, released, handed_over, snoozed, woken, comment, "
        "work_order or undone",
    ),
    (
        "review_events",
        "details",
        None,
        "of the action; of a person's also `seen`: what was on the screen, else what was on record",
    ),
)
"""Table, column, the comment before and the comment now."""


def upgrade() -> None:
    """Apply."""
    for table, column, _, now in COMMENTS:
        _explain(table, column, now)


def downgrade() -> None:
    """Take back."""
    for table, column, before, _ in COMMENTS:
        _explain(table, column, before)


def _explain(table: str, column: str, comment: str | None) -> None:
    """Set the comment of a column; SQLite keeps none."""
    if op.get_bind().dialect.name == "postgresql":
        of = sa.Table(table, sa.MetaData(), sa.Column(column, sa.Text(), comment=comment)).c[column]
        op.execute(sa.schema.SetColumnComment(of) if comment else sa.schema.DropColumnComment(of))
