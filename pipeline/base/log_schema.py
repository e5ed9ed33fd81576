"""The raw log contract, version 1: the columns of a log file and the values they may take.

A log file is Parquet; one row is one *recording*: one contiguous burst of one channel of one robot axis.
`pipeline.intake.contract` checks rows against it; `pipeline.simulation` and `pipeline.importing` write it.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from pipeline.base.quantities import RAW_UNIT, UNITS

SCHEMA_VERSION: Final = 1

LOG_SCHEMA: Final = pa.schema(
    [
        pa.field("schema_version", pa.int32(), nullable=False),
        pa.field("site", pa.string(), nullable=False),
        pa.field("cell", pa.string(), nullable=False),
        pa.field("robot_id", pa.string(), nullable=False),
        pa.field("axis", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("quantity", pa.string(), nullable=False),
        pa.field("unit", pa.string(), nullable=False),
        pa.field("started_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("time_basis", pa.string(), nullable=False),
        pa.field("sampling_rate_hz", pa.float64(), nullable=False),
        pa.field("rate_basis", pa.string(), nullable=False),
        pa.field("shaft_speed_rpm", pa.float64()),
        pa.field("speed_is_steady", pa.bool_()),
        pa.field("speed_trace_rpm", pa.list_(pa.float32())),
        pa.field("speed_trace_rate_hz", pa.float64()),
        pa.field("load", pa.float64()),
        pa.field("payload_kg", pa.float64()),
        pa.field("temperature_c", pa.float64()),
        pa.field("program", pa.string()),
        pa.field("unit_serial", pa.string()),
        pa.field("samples", pa.list_(pa.float32()), nullable=False),
    ]
)
"""Columns, types and nullability. A nullable column may also be absent, which means null in every row."""

REQUIRED_COLUMNS: Final = tuple(field.name for field in LOG_SCHEMA if not field.nullable)

QUANTITY_UNITS: Final[dict[str, tuple[str, ...]]] = {quantity: (*units, RAW_UNIT) for quantity, units in UNITS.items()}
"""Quantities that axiswatch knows, each with its allowed units."""

TIME_BASES: Final = ("clock", "synthetic")
RATE_BASES: Final = ("declared", "assumed")


def quantity_of(scope: str) -> str:
    """Return the quantity of a model scope: `acceleration` of `acceleration:raw`."""
    return scope.split(":", 1)[0]


def scope_of(quantity: str, unit: str) -> str:
    """Return the model scope of a signal: the quantity, or `quantity:raw` where the unit is not declared."""
    return f"{quantity}:{RAW_UNIT}" if unit == RAW_UNIT else quantity


SCOPES: Final = tuple(
    dict.fromkeys(scope_of(quantity, unit) for quantity, units in QUANTITY_UNITS.items() for unit in units)
)
"""Every model scope."""
