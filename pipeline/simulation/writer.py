"""Write the files: a robot's log of a day, assets.toml, labels.csv, truth.csv."""

from __future__ import annotations

import csv
import io
import os
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.base.log_schema import LOG_SCHEMA, SCHEMA_VERSION
from pipeline.labels.words import LABEL_CSV_COLUMNS
from pipeline.simulation.findings import findings, stamp
from pipeline.simulation.fleet import AxisPlan, draw_fleet
from pipeline.simulation.schedule import Appointment, appointments, operate
from pipeline.simulation.seeds import Stream, generator
from pipeline.simulation.sensors import apply_sensor_fault, convert
from pipeline.simulation.settings import FleetSettings
from pipeline.simulation.signals import excite, receive
from pipeline.simulation.structure import Structure, seen_by
from pipeline.simulation.units import SimulatedUnit, draw_unit
from pipeline.simulation.worlds import WORLDS

TRUTH_COLUMNS: Final = (
    "site",
    "cell",
    "robot_id",
    "axis",
    "channel",
    "started_at",
    "unit_serial",
    "program",
    "condition",
    "mode",
    "severity",
    "visible",
    "unseen_class",
    "unseen_program",
    "sensor_fault",
)


@lru_cache(maxsize=256)
def unit_of(settings: FleetSettings, index: int, generation: int) -> tuple[SimulatedUnit, tuple[Structure, ...]]:
    """Return the physical unit on an axis, and its structure as each channel sees it."""
    rng = generator(settings.seed, settings.world, Stream.UNIT, index, generation)
    unit = draw_unit(rng, WORLDS[settings.world], draw_fleet(settings)[index].bearing)
    views = [unit.structure]
    for channel in range(1, len(settings.channels)):
        path = generator(settings.seed, settings.world, Stream.PATH, index, generation, channel)
        views.append(seen_by(unit.structure, path))
    return unit, tuple(views)


def record(settings: FleetSettings, plan: AxisPlan, what: Appointment) -> list[dict[str, Any]]:
    """Return one recording of every channel of an axis, as rows of the log."""
    unit, views = unit_of(settings, plan.index, what.installation.generation)
    operation, logged_rpm = operate(settings, plan, unit, what)
    keys = (plan.index, what.day, what.slot)
    rate, samples = settings.sampling_rate_hz, settings.samples
    moving = generator(settings.seed, settings.world, Stream.WAVEFORM, *keys)
    excitation = excite(moving, unit, operation, sampling_rate_hz=rate, samples=samples)
    rows = []
    for number, (channel, view) in enumerate(zip(settings.channels, views, strict=True)):
        hearing = generator(settings.seed, settings.world, Stream.CHANNEL, *keys, number)
        signal = receive(hearing, unit, view, operation, excitation, sampling_rate_hz=rate, samples=samples)
        sensing = generator(settings.seed, settings.world, Stream.SENSOR, *keys, number)
        signal = apply_sensor_fault(signal, what.sensor_fault, sensing, sampling_rate_hz=rate)
        rows.append(
            {
                "schema_version": SCHEMA_VERSION,
                "site": settings.site,
                "cell": plan.cell,
                "robot_id": plan.robot_id,
                "axis": plan.axis,
                "channel": channel,
                "quantity": "acceleration",
                "unit": "g",
                "started_at": what.started_at,
                "time_basis": "clock",
                "sampling_rate_hz": rate,
                "rate_basis": "declared",
                "shaft_speed_rpm": logged_rpm,
                "speed_is_steady": True,
                "load": round(operation.load, 4),
                "temperature_c": round(operation.temperature_c, 2),
                "program": what.program.name,
                "unit_serial": what.installation.unit_serial,
                "samples": convert(signal, step_g=WORLDS[settings.world].adc_step_g),
            }
        )
    return rows


def log_path(settings: FleetSettings, plan: AxisPlan, day: int) -> Path:
    """Return the path of a robot's log of a day, relative to the output folder."""
    date = (settings.start + timedelta(days=day)).date().isoformat()
    return Path("landing", settings.site, plan.cell, plan.robot_id, f"{date}_{plan.robot_id}.parquet")


def write_robot_day(out: Path, settings: FleetSettings, robot: int, day: int) -> int:
    """Write a robot's log of a day; no file where nothing was recorded.

    The file is written under another name and renamed. Its modification time is the end of that day.

    Returns
    -------
    int
        Recordings written.
    """
    plans = [plan for plan in draw_fleet(settings) if plan.robot == robot]
    due = [(what, plan) for plan in plans for what in appointments(settings, plan, day)]
    due.sort(key=lambda pair: (pair[0].started_at, pair[1].index))
    rows = [row for what, plan in due for row in record(settings, plan, what)]
    if not rows:
        return 0
    target = out / log_path(settings, plans[0], day)
    write_log(target, rows, settings.samples)
    end = (settings.start + timedelta(days=day + 1)).timestamp()
    os.utime(target, (end, end))
    return len(rows)


def write_log(target: Path, rows: list[dict[str, Any]], samples: int) -> None:
    """Write rows of `samples` samples each as a log file, under another name that is then changed."""
    columns = []
    for field in LOG_SCHEMA:
        values = [row.get(field.name) for row in rows]
        if field.name == "samples":
            flat = pa.concat_arrays([pa.array(value) for value in values])
            offsets = pa.array(range(0, (len(rows) + 1) * samples, samples), pa.int32())
            columns.append(pa.ListArray.from_arrays(offsets, flat, type=field.type))
        else:
            columns.append(pa.array(values, field.type))
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    dictionary = [field.name for field in LOG_SCHEMA if pa.types.is_string(field.type)]
    pq.write_table(
        pa.Table.from_arrays(columns, schema=LOG_SCHEMA),
        aside,
        compression="zstd",
        compression_level=1,
        use_dictionary=dictionary,
        write_statistics=dictionary,
        use_byte_stream_split=["samples.list.element"],
    )
    aside.replace(target)


def _write_text(target: Path, text: str, modified_at: float) -> None:
    aside = target.with_name(f".{target.name}.part")
    aside.write_text(text, encoding="utf-8", newline="")
    aside.replace(target)
    os.utime(target, (modified_at, modified_at))


def assets_toml(settings: FleetSettings) -> str:
    """Return the text of assets.toml: geometries, and every unit with its time on its axis."""
    lines = ["version = 1"]
    for bearing in WORLDS[settings.world].bearings:
        lines += [
            "",
            f"[geometry.{bearing.name}]",
            f"bpfo = {bearing.bpfo:.6f}",
            f"bpfi = {bearing.bpfi:.6f}",
            f"bsf = {bearing.bsf:.6f}",
            f"ftf = {bearing.ftf:.6f}",
            f"gear_mesh = [{bearing.pinion_teeth:.1f}]",
            f'source = "{bearing.source}"',
        ]
    for plan in draw_fleet(settings):
        for unit in plan.installations:
            lines += [
                "",
                "[[unit]]",
                f'site = "{settings.site}"',
                f'cell = "{plan.cell}"',
                f'robot_id = "{plan.robot_id}"',
                f'axis = "{plan.axis}"',
                f'unit_serial = "{unit.unit_serial}"',
                f'geometry = "{plan.bearing.name}"',
                f"installed_at = {stamp(settings.at(unit.installed_day))}",
            ]
            if unit.removed_day is not None:
                lines.append(f"removed_at = {stamp(settings.at(unit.removed_day))}")
            lines.append(f"expected_every_s = {86_400.0 / settings.recordings_per_day:.1f}")
    return "\n".join(lines) + "\n"


def _csv(columns: tuple[str, ...], rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def truth_rows(settings: FleetSettings) -> list[dict[str, str]]:
    """Return the truth about each recording as rows of truth.csv, in the order of axes, days and slots."""
    rows = []
    for plan in draw_fleet(settings):
        for day in range(settings.days):
            for what in appointments(settings, plan, day):
                for channel in settings.channels:
                    values = (
                        settings.site,
                        plan.cell,
                        plan.robot_id,
                        plan.axis,
                        channel,
                        stamp(what.started_at),
                        what.installation.unit_serial,
                        what.program.name,
                        "fault" if what.mode else "healthy",
                        what.mode,
                        f"{what.severity:.6f}",
                        str(what.visible).lower(),
                        str(what.unseen_class).lower(),
                        str(what.unseen_program).lower(),
                        what.sensor_fault,
                    )
                    rows.append(dict(zip(TRUTH_COLUMNS, values, strict=True)))
    return rows


def write_tables(out: Path, settings: FleetSettings) -> tuple[int, int]:
    """Write assets.toml, labels.csv and truth.csv.

    Returns
    -------
    tuple of int
        Rows of labels.csv, and of truth.csv.
    """
    end = (settings.start + timedelta(days=settings.days)).timestamp()
    labels, truth = findings(settings), truth_rows(settings)
    _write_text(out / "assets.toml", assets_toml(settings), end)
    _write_text(out / "labels.csv", _csv(LABEL_CSV_COLUMNS, labels), end)
    _write_text(out / "truth.csv", _csv(TRUTH_COLUMNS, truth), end)
    return len(labels), len(truth)
