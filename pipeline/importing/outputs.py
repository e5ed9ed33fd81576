"""The text of labels.csv and assets.toml of an import. Pure functions of the rows that were written."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

from pipeline.importing.mapping import MappedGeometry, MappedLabel
from pipeline.importing.signals import PlannedRow
from pipeline.labels.words import LABEL_CSV_COLUMNS


@dataclass(frozen=True)
class RowSpan:
    """The time range of all recordings of one manifest row: start of the first sample, end of the last."""

    planned: PlannedRow
    started_at: datetime
    ends_at: datetime


def stamp(moment: datetime) -> str:
    """Return a time as ISO 8601 in UTC, the form of TOML and labels.csv."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def grouped(spans: list[RowSpan], key: Callable[[PlannedRow], Hashable]) -> list[list[RowSpan]]:
    """Return groups of spans with the same key; groups in manifest order, spans in order of time."""
    groups: dict[Hashable, list[RowSpan]] = {}
    for span in spans:
        groups.setdefault(key(span.planned), []).append(span)
    return [sorted(group, key=lambda span: span.started_at) for group in groups.values()]


def label_rows(spans: list[RowSpan], label: MappedLabel | None) -> list[dict[str, str]]:
    """Return rows of labels.csv: one for each unit and each run of recordings with the same label in the manifest.

    The range is [start of the first recording, end of the last). known_at is the declared time, else the end of the
    range.
    """
    if label is None:
        return []
    rows = []
    for group in grouped(spans, lambda planned: (*planned.axis, planned.fields["unit_serial"])):
        for _, run in groupby(group, key=lambda span: span.planned.label_text):
            members = list(run)
            first = members[0].planned
            if first.label is None:
                continue
            to_at = max(span.ends_at for span in members)
            words = first.label.model_dump(mode="json")
            notes = dict.fromkeys(span.planned.note for span in members if span.planned.note)
            row = dict(zip(("site", "cell", "robot_id", "axis"), first.axis, strict=True))
            row |= {name: "" if value is None else str(value) for name, value in words.items()}
            row |= {
                "channel": "",
                "unit_serial": first.fields["unit_serial"] or "",
                "from_at": stamp(members[0].started_at),
                "to_at": stamp(to_at),
                "known_at": stamp(label.known_at or to_at),
                "note": "; ".join(notes),
            }
            rows.append(row)
    return rows


def labels_csv(rows: list[dict[str, str]]) -> str:
    """Return rows as the text of a labels.csv."""
    text = io.StringIO()
    writer = csv.DictWriter(text, LABEL_CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def assets_toml(spans: list[RowSpan], geometries: dict[str, MappedGeometry]) -> tuple[str, int]:
    """Return the text of an assets.toml and its number of units.

    A unit is installed at the declared time, else with its first recording. It is removed when the next unit of its
    axis is installed. Only geometries that a unit uses are written.
    """
    entries = [
        entry
        for axis in grouped([span for span in spans if span.planned.fields["unit_serial"]], lambda one: one.axis)
        for entry in _axis_entries(axis)
    ]
    lines = ["version = 1"]
    used = {geometry for _, geometry in entries}
    for name, geometry in geometries.items():
        if name in used:
            lines += ["", f"[geometry.{_key(name)}]"]
            for order in ("bpfo", "bpfi", "bsf", "ftf", "inner_ring", "outer_ring"):
                if getattr(geometry, order) is not None:
                    lines.append(f"{order} = {float(getattr(geometry, order))!r}")
            for several in ("gear_mesh", "shafts"):
                if getattr(geometry, several):
                    lines.append(f"{several} = {[float(order) for order in getattr(geometry, several)]!r}")
            lines.append(f"source = {_text(geometry.source)}")
    for entry_lines, _ in entries:
        lines += ["", "[[unit]]", *entry_lines]
    return "\n".join(lines) + "\n", len(entries)


def _axis_entries(axis: list[RowSpan]) -> list[tuple[list[str], str | None]]:
    units = [next(run) for _, run in groupby(axis, key=lambda span: span.planned.fields["unit_serial"])]
    installed = [span.planned.installed_at or span.started_at for span in units]
    entries = []
    for span, start, end in zip(units, installed, [*installed[1:], None], strict=True):
        planned = span.planned
        lines = [
            f"{name} = {_text(value)}"
            for name, value in zip(("site", "cell", "robot_id", "axis"), planned.axis, strict=True)
        ]
        lines.append(f"unit_serial = {_text(planned.fields['unit_serial'])}")
        if planned.geometry is not None:
            lines.append(f"geometry = {_text(planned.geometry)}")
        lines.append(f"installed_at = {stamp(start)}")
        if end is not None:
            lines.append(f"removed_at = {stamp(end)}")
        entries.append((lines, planned.geometry))
    return entries


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)
