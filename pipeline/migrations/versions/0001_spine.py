"""The spine."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "alias_events",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("alias", sa.String(length=16), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False, comment="1, 2, 3 ..."),
        sa.Column("model_version", sa.String(length=16), nullable=False),
        sa.Column("previous_version", sa.String(length=16), nullable=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("scope", "alias", "sequence", name=op.f("pk_alias_events")),
    )
    op.create_table(
        "axes",
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("robot_id", sa.Text(), nullable=False),
        sa.Column("axis", sa.Text(), nullable=False),
        sa.Column("expected_every_s", sa.Double(), nullable=True, comment="declared usual time between recordings, s"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("axis_id", name=op.f("pk_axes")),
        sa.UniqueConstraint("site", "cell", "robot_id", "axis", name=op.f("uq_axes_site_cell_robot_id_axis")),
    )
    op.create_table(
        "geometries",
        sa.Column("geometry_version", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("orders", sa.JSON(), nullable=False, comment="bpfo, bpfi, bsf, ftf, gear_mesh; dimensionless"),
        sa.Column("source", sa.Text(), nullable=False, comment="where the numbers come from"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("geometry_version", name=op.f("pk_geometries")),
    )
    op.create_table(
        "labels",
        sa.Column("label_id", sa.String(length=16), nullable=False),
        sa.Column("axis_id", sa.String(length=16), nullable=True, comment="null where the label names only the unit"),
        sa.Column("unit_serial", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True, comment="null: all channels"),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False, comment="end of the range, not included"),
        sa.Column("verdict", sa.String(length=16), nullable=False),
        sa.Column("component", sa.String(length=16), nullable=True),
        sa.Column("mode", sa.String(length=16), nullable=True, comment="null: fault, mode unknown"),
        sa.Column("cause", sa.String(length=16), nullable=True),
        sa.Column("severity", sa.String(length=16), nullable=True),
        sa.Column("evidence", sa.String(length=16), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=True, comment="of the person, 0 to 1"),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("case_id", sa.String(length=12), nullable=True),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("label_id", name=op.f("pk_labels")),
    )
    with op.batch_alter_table("labels", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_labels_unit_serial"), ["unit_serial"], unique=False)

    op.create_table(
        "lake_files",
        sa.Column("path", sa.Text(), nullable=False, comment="relative to the lake, named by content hash"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="recordings, features or quarantine"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_lake_files")),
    )
    op.create_table(
        "landing_entries",
        sa.Column("path", sa.Text(), nullable=False, comment="relative to the landing zone"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("modified_ns", sa.BigInteger(), nullable=False, comment="modification time, ns since 1970"),
        sa.Column("file_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_landing_entries")),
    )
    op.create_table(
        "log_files",
        sa.Column("file_hash", sa.String(length=64), nullable=False, comment="SHA-256 of the file"),
        sa.Column("path", sa.Text(), nullable=False, comment="where it was first found, relative to the landing zone"),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("n_rows", sa.Integer(), nullable=False, comment="rows in the file; 0 where it cannot be read"),
        sa.Column("n_accepted", sa.Integer(), nullable=False, comment="recordings that were new"),
        sa.Column(
            "n_known", sa.Integer(), nullable=False, comment="recordings that were here already with the same content"
        ),
        sa.Column(
            "n_quarantined",
            sa.Integer(),
            nullable=False,
            comment="rows in quarantine; 1 for a file that cannot be read",
        ),
        sa.Column(
            "note", sa.Text(), nullable=False, comment="what a reader should know, such as columns that were ignored"
        ),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("file_hash", name=op.f("pk_log_files")),
    )
    op.create_table(
        "model_versions",
        sa.Column("model_version", sa.String(length=16), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="classification, fault_types or baseline_only"),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("lake_prefix", sa.Text(), nullable=False, comment="folder of the artifact in the lake"),
        sa.Column("label_cutoff", sa.DateTime(timezone=True), nullable=False, comment="labels known by then were used"),
        sa.Column("training_data_hash", sa.String(length=64), nullable=False),
        sa.Column("n_units", sa.Integer(), nullable=False),
        sa.Column("n_windows", sa.Integer(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False, comment="out of fold, overall and by unit"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("model_version", name=op.f("pk_model_versions")),
    )
    op.create_table(
        "quarantine",
        sa.Column("quarantine_id", sa.String(length=16), nullable=False),
        sa.Column("file_hash", sa.String(length=64), nullable=False),
        sa.Column("path", sa.Text(), nullable=False, comment="where the file was found"),
        sa.Column("row_number", sa.Integer(), nullable=False, comment="counted from 0; -1 is the whole file"),
        sa.Column("what", sa.Text(), nullable=False, comment="site/cell/robot/axis/channel as far as they can be read"),
        sa.Column("reasons", sa.JSON(), nullable=False, comment="all reasons: code and sentence of each"),
        sa.Column("lake_path", sa.Text(), nullable=False, comment="where the row or the file is kept"),
        sa.Column("lake_row", sa.Integer(), nullable=False, comment="row in that file; -1 is the whole file"),
        sa.Column("state", sa.String(length=16), nullable=False, comment="open, or replayed once it was accepted"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("quarantine_id", name=op.f("pk_quarantine")),
    )
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_quarantine_file_hash"), ["file_hash"], unique=False)

    op.create_table(
        "scores",
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="start of the recording"),
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("start_sample", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("geometry_version", sa.String(length=16), nullable=False),
        sa.Column("baseline_version", sa.String(length=16), nullable=False, comment="'' without a baseline"),
        sa.Column("model_version", sa.String(length=16), nullable=False),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("unit_serial", sa.Text(), nullable=True),
        sa.Column("n_window_samples", sa.Integer(), nullable=False),
        sa.Column("turns_covered", sa.Float(), nullable=True, comment="shaft turns in the window; null without speed"),
        sa.Column("fault_probability", sa.Float(), nullable=True, comment="calibrated, 1 - p(healthy), 0 to 1"),
        sa.Column("fault_std", sa.Float(), nullable=True, comment="standard deviation over the samples"),
        sa.Column("fault_q05", sa.Float(), nullable=True, comment="5 % quantile over the samples"),
        sa.Column("fault_q95", sa.Float(), nullable=True, comment="95 % quantile over the samples"),
        sa.Column("class_probabilities", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("predictive_entropy", sa.Float(), nullable=True, comment="total uncertainty, nats"),
        sa.Column("expected_entropy", sa.Float(), nullable=True, comment="aleatoric uncertainty, nats"),
        sa.Column("mutual_information", sa.Float(), nullable=True, comment="epistemic uncertainty (BALD), nats"),
        sa.Column("novelty", sa.Float(), nullable=True, comment="distance to the training set"),
        sa.Column("novelty_percentile", sa.Float(), nullable=True, comment="against held-out units, 0 to 100"),
        sa.Column("monte_carlo_se", sa.Float(), nullable=True, comment="standard error of fault_probability"),
        sa.Column("n_mc_samples", sa.Integer(), nullable=True),
        sa.Column("fault_prior", sa.Float(), nullable=True, comment="declared share of faults it is corrected to"),
        sa.Column("n_missing_features", sa.Integer(), nullable=False),
        sa.Column("regime", sa.Text(), nullable=False),
        sa.Column("quality", sa.String(length=16), nullable=False, comment="data-quality verdict of the window"),
        sa.Column("evidence", sa.Text(), nullable=False, comment="what the verdict rests on"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "started_at",
            "recording_id",
            "start_sample",
            "feature_version",
            "geometry_version",
            "baseline_version",
            "model_version",
            name=op.f("pk_scores"),
        ),
        postgresql_partition_by="RANGE (started_at)",
    )
    with op.batch_alter_table("scores", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_scores_axis_id_started_at"), ["axis_id", "started_at"], unique=False)

    op.create_table(
        "axis_states",
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("bin_at", sa.DateTime(timezone=True), nullable=False, comment="start of the bin"),
        sa.Column(
            "state",
            sa.String(length=16),
            nullable=False,
            comment="healthy, watch, alarm, data_fault, silent or unknown (unsure)",
        ),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False, comment="first recording in the bin"),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False, comment="last recording in the bin"),
        sa.Column("n_windows", sa.Integer(), nullable=False),
        sa.Column("fault_probability", sa.Double(), nullable=True, comment="mean over windows, highest channel"),
        sa.Column("mode", sa.Text(), nullable=True, comment="most probable fault class of that channel"),
        sa.Column("mutual_information", sa.Double(), nullable=True, comment="mean over windows, highest channel, nats"),
        sa.Column("expected_entropy", sa.Double(), nullable=True, comment="mean over windows, highest channel, nats"),
        sa.Column("novelty_percentile", sa.Double(), nullable=True, comment="median over windows, highest channel"),
        sa.Column("quality", sa.String(length=16), nullable=False, comment="worst verdict"),
        sa.Column("flags", sa.JSON(), nullable=False, comment="reasons for review: code and sentence of each"),
        sa.Column("model_versions", sa.JSON(), nullable=False, comment="models whose scores it rests on"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["axis_id"], ["axes.axis_id"], name=op.f("fk_axis_states_axis_id")),
        sa.PrimaryKeyConstraint("axis_id", "bin_at", name=op.f("pk_axis_states")),
    )
    op.create_table(
        "cases",
        sa.Column("case_id", sa.String(length=12), nullable=False),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column(
            "family", sa.String(length=8), nullable=False, comment="machine or data; one open case of a family an axis"
        ),
        sa.Column("state", sa.String(length=16), nullable=False, comment="open, snoozed or closed"),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False, comment="first flagged recording"),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False, comment="last flagged recording"),
        sa.Column("n_bins", sa.Integer(), nullable=False, comment="flagged bins"),
        sa.Column("priority", sa.Double(), nullable=False, comment="0 to 1, highest first in the queue"),
        sa.Column(
            "reasons", sa.JSON(), nullable=False, comment="code, sentence, first and last time and count of each"
        ),
        sa.Column("fault_probability", sa.Double(), nullable=True, comment="highest of its bins"),
        sa.Column("mode", sa.Text(), nullable=True, comment="most probable fault class at that bin"),
        sa.Column(
            "closed_priority", sa.Double(), nullable=True, comment="priority when it was closed; a rise reopens it"
        ),
        sa.Column(
            "closed_at", sa.DateTime(timezone=True), nullable=True, comment="time up to which a verdict has covered it"
        ),
        sa.Column("closed_by", sa.Text(), nullable=True),
        sa.Column("snoozed_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False, comment="when it was opened"),
        sa.Column(
            "changed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="as_of of the run or the act that changed it last",
        ),
        sa.ForeignKeyConstraint(["axis_id"], ["axes.axis_id"], name=op.f("fk_cases_axis_id")),
        sa.PrimaryKeyConstraint("case_id", name=op.f("pk_cases")),
    )
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cases_axis_id"), ["axis_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_cases_state"), ["state"], unique=False)

    op.create_table(
        "model_aliases",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("alias", sa.String(length=16), nullable=False, comment="champion"),
        sa.Column("model_version", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_version"], ["model_versions.model_version"], name=op.f("fk_model_aliases_model_version")
        ),
        sa.PrimaryKeyConstraint("scope", "alias", name=op.f("pk_model_aliases")),
    )
    op.create_table(
        "recordings",
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quantity", sa.Text(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False, comment="unit of the samples in the lake, as declared"),
        sa.Column("time_basis", sa.String(length=16), nullable=False, comment="clock or synthetic"),
        sa.Column("sampling_rate_hz", sa.Double(), nullable=False),
        sa.Column("rate_basis", sa.String(length=16), nullable=False, comment="declared or assumed"),
        sa.Column("shaft_speed_rpm", sa.Double(), nullable=True),
        sa.Column("speed_is_steady", sa.Boolean(), nullable=True),
        sa.Column("load", sa.Double(), nullable=True),
        sa.Column("payload_kg", sa.Double(), nullable=True),
        sa.Column("temperature_c", sa.Double(), nullable=True),
        sa.Column("program", sa.Text(), nullable=True),
        sa.Column("unit_serial", sa.Text(), nullable=True),
        sa.Column("n_samples", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=32), nullable=False, comment="of every contract column but the key"),
        sa.Column("file_hash", sa.String(length=64), nullable=False, comment="the log file it came in"),
        sa.Column("lake_path", sa.Text(), nullable=False),
        sa.Column("lake_row", sa.Integer(), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["axis_id"], ["axes.axis_id"], name=op.f("fk_recordings_axis_id")),
        sa.ForeignKeyConstraint(["lake_path"], ["lake_files.path"], name=op.f("fk_recordings_lake_path")),
        sa.PrimaryKeyConstraint("recording_id", name=op.f("pk_recordings")),
        sa.UniqueConstraint("axis_id", "channel", "started_at", name=op.f("uq_recordings_axis_id_channel_started_at")),
    )
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_recordings_started_at"), ["started_at"], unique=False)

    op.create_table(
        "units",
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("unit_serial", sa.Text(), nullable=False),
        sa.Column("installed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("geometry_version", sa.String(length=16), nullable=True),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["axis_id"], ["axes.axis_id"], name=op.f("fk_units_axis_id")),
        sa.ForeignKeyConstraint(
            ["geometry_version"], ["geometries.geometry_version"], name=op.f("fk_units_geometry_version")
        ),
        sa.PrimaryKeyConstraint("axis_id", "unit_serial", "installed_at", name=op.f("pk_units")),
    )
    op.create_table(
        "extractions",
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("geometry_version", sa.String(length=16), nullable=False, comment="'none' without geometry"),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False, comment="the model scope: the quantity, or quantity:raw"),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("unit_serial", sa.Text(), nullable=True, comment="from the log, else from the asset registry"),
        sa.Column("regime", sa.Text(), nullable=False, comment="program, speed bin and load bin"),
        sa.Column("quality", sa.String(length=16), nullable=False, comment="worst data-quality verdict of its windows"),
        sa.Column("evidence", sa.Text(), nullable=False, comment="what the verdict rests on"),
        sa.Column("n_windows", sa.Integer(), nullable=False),
        sa.Column("lake_path", sa.Text(), nullable=True, comment="null where no window fits"),
        sa.Column("lake_row", sa.Integer(), nullable=False, comment="first row of this recording in that file"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["lake_path"], ["lake_files.path"], name=op.f("fk_extractions_lake_path")),
        sa.ForeignKeyConstraint(
            ["recording_id"], ["recordings.recording_id"], name=op.f("fk_extractions_recording_id")
        ),
        sa.PrimaryKeyConstraint("recording_id", "feature_version", "geometry_version", name=op.f("pk_extractions")),
    )
    with op.batch_alter_table("extractions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_extractions_axis_id_started_at"), ["axis_id", "started_at"], unique=False)
        batch_op.create_index(
            batch_op.f("ix_extractions_feature_version_scope_started_at"),
            ["feature_version", "scope", "started_at"],
            unique=False,
        )

    op.create_table(
        "review_events",
        sa.Column("case_id", sa.String(length=12), nullable=False),
        sa.Column("sequence", sa.Integer(), autoincrement=False, nullable=False, comment="1, 2, 3 ..."),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False, comment="'axiswatch' for what the advise step did"),
        sa.Column("action", sa.String(length=16), nullable=False, comment="opened, reopened, closed, verdict"),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.case_id"], name=op.f("fk_review_events_case_id")),
        sa.PrimaryKeyConstraint("case_id", "sequence", name=op.f("pk_review_events")),
    )
    op.create_table(
        "scorings",
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("feature_version", sa.String(length=16), nullable=False),
        sa.Column("geometry_version", sa.String(length=16), nullable=False),
        sa.Column("baseline_version", sa.String(length=16), nullable=False),
        sa.Column("model_version", sa.String(length=16), nullable=False),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("advised", sa.Boolean(), nullable=False, comment="its axis state has taken it in"),
        sa.ForeignKeyConstraint(["recording_id"], ["recordings.recording_id"], name=op.f("fk_scorings_recording_id")),
        sa.PrimaryKeyConstraint(
            "recording_id",
            "feature_version",
            "geometry_version",
            "baseline_version",
            "model_version",
            name=op.f("pk_scorings"),
        ),
    )
    with op.batch_alter_table("scorings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_scorings_advised_axis_id"), ["advised", "axis_id"], unique=False)


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("scorings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_scorings_advised_axis_id"))

    op.drop_table("scorings")
    op.drop_table("review_events")
    with op.batch_alter_table("extractions", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_extractions_feature_version_scope_started_at"))
        batch_op.drop_index(batch_op.f("ix_extractions_axis_id_started_at"))

    op.drop_table("extractions")
    op.drop_table("units")
    with op.batch_alter_table("recordings", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_recordings_started_at"))

    op.drop_table("recordings")
    op.drop_table("model_aliases")
    with op.batch_alter_table("cases", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cases_state"))
        batch_op.drop_index(batch_op.f("ix_cases_axis_id"))

    op.drop_table("cases")
    op.drop_table("axis_states")
    with op.batch_alter_table("scores", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_scores_axis_id_started_at"))

    op.drop_table("scores")
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_quarantine_file_hash"))

    op.drop_table("quarantine")
    op.drop_table("model_versions")
    op.drop_table("log_files")
    op.drop_table("landing_entries")
    op.drop_table("lake_files")
    with op.batch_alter_table("labels", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_labels_unit_serial"))

    op.drop_table("labels")
    op.drop_table("geometries")
    op.drop_table("axes")
    op.drop_table("alias_events")
