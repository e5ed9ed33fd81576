"""The asset registry in full: criticality of axes, all orders of units, names of geometries, the timeline."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply. Units that are here get no list of orders until their file is imported again; their features stay."""
    op.create_table(
        "geometry_names",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("geometry_version", sa.String(length=16), nullable=False),
        sa.Column(
            "characteristics", sa.JSON(), nullable=False, comment="all characteristic orders: name, formula, source"
        ),
        sa.Column("source", sa.Text(), nullable=False, comment="where the numbers come from"),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["geometry_version"],
            ["geometries.geometry_version"],
            name=op.f("fk_geometry_names_geometry_version"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_geometry_names")),
    )
    op.create_table(
        "axis_events",
        sa.Column("event_id", sa.String(length=16), nullable=False),
        sa.Column("axis_id", sa.String(length=16), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="installed, replaced, removed or note"),
        sa.Column(
            "details", sa.JSON(), nullable=False, comment="unit_serial; of a replacement also old_unit_serial, reason"
        ),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("known_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["axis_id"], ["axes.axis_id"], name=op.f("fk_axis_events_axis_id")),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_axis_events")),
    )
    op.create_index(op.f("ix_axis_events_axis_id_at"), "axis_events", ["axis_id", "at"], unique=False)
    op.add_column(
        "axes",
        sa.Column("criticality", sa.Integer(), nullable=True, comment="1 (does not matter) to 5 (stops the plant)"),
    )
    op.add_column("units", sa.Column("geometry_name", sa.Text(), nullable=True, comment="as the asset file called it"))
    op.add_column(
        "units",
        sa.Column(
            "characteristics", sa.JSON(), nullable=True, comment="all characteristic orders: name, formula, source"
        ),
    )
    op.execute("UPDATE units SET characteristics = '[]'")
    with op.batch_alter_table("units", schema=None) as batch_op:
        batch_op.alter_column(
            "characteristics",
            existing_type=sa.JSON(),
            existing_comment="all characteristic orders: name, formula, source",
            nullable=False,
        )
    # The newest geometry of a name is the one that the name stands for.
    op.execute(
        "INSERT INTO geometry_names (name, geometry_version, characteristics, source, known_at) "
        "SELECT name, geometry_version, '[]', source, known_at FROM geometries AS one WHERE NOT EXISTS ("
        "SELECT 1 FROM geometries AS other WHERE other.name = one.name AND (other.known_at > one.known_at OR "
        "(other.known_at = one.known_at AND other.geometry_version > one.geometry_version)))"
    )
    op.execute(
        "UPDATE units SET geometry_name = (SELECT name FROM geometries "
        "WHERE geometries.geometry_version = units.geometry_version)"
    )


def downgrade() -> None:
    """Take back."""
    # Not in batches: SQLite would make the tables anew, and other tables refer to them.
    op.drop_column("units", "characteristics")
    op.drop_column("units", "geometry_name")
    op.drop_column("axes", "criticality")
    op.drop_index(op.f("ix_axis_events_axis_id_at"), table_name="axis_events")
    op.drop_table("axis_events")
    op.drop_table("geometry_names")
