"""Check all planned rows together: keys, overlaps, units on axes, labels. Pure functions of the plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pipeline.base.log_schema import QUANTITY_UNITS, RATE_BASES
from pipeline.base.quantities import unit_of, why_not
from pipeline.importing.mapping import Mapping
from pipeline.importing.problems import Problems
from pipeline.intake.contract import EARLIEST_CLOCK, NAME_COLUMNS, TEXT_LIMIT, Limits

if TYPE_CHECKING:
    from pipeline.importing.signals import PlannedRow

AHEAD: Final = timedelta(days=1)
"""So far ahead of ours a logger's clock may be."""

RATE_OFF: Final = 0.001
"""A measured rate that differs by more is worth a word: a bearing's line is searched within 2 %."""


def check_recordings(
    where: str,
    mapping: Mapping,
    rows: list[PlannedRow],
    problems: Problems,
    as_of: datetime | None,
    limits: Limits | None,
) -> None:
    """Check the values of each row, and the rows together; add everything wrong to `problems`."""
    for planned in rows:
        for complaint in (*_complaints(planned, mapping, as_of), *_beyond(planned, limits)):
            problems.add(where, complaint, row=planned.row.number)
    _check_keys(where, rows, problems)
    _check_units(where, rows, problems)
    _check_labels(where, rows, problems)


def rate_notes(rows: list[PlannedRow]) -> tuple[str, ...]:
    """Return sentences about the rates that the time columns say, and about uneven intervals, each with its worst."""
    timed = [planned for planned in rows if planned.measured is not None]
    if not timed:
        return ()

    def off(planned: PlannedRow) -> float:
        used = planned.source_rate_hz
        return round(planned.measured.hz / used - 1, 4) + 0.0 if planned.measured and used > 0 else 0.0

    worst = max(timed, key=lambda planned: abs(off(planned)))
    assert worst.measured is not None
    rates = f"the times say {worst.measured.hz:.6g} Hz, {worst.source_rate_hz:.6g} Hz is used ({off(worst):+.2%})"
    notes = [f"rate: {rates} in {worst.file!r}, the farthest of {len(timed)} signals"]
    n_off = sum(abs(off(planned)) > RATE_OFF for planned in timed)
    if n_off:
        notes[0] += (
            f"; {n_off} are more than {RATE_OFF:.1%} off, and so is every line of a spectrum: "
            "sampling_rate_hz = { from_times = true } takes the rate of each file"
        )
    uneven = [planned for planned in timed if planned.measured is not None and planned.measured.is_uneven]
    if uneven:
        worst = max(uneven, key=lambda planned: planned.measured.jitter if planned.measured else 0)
        measured = worst.measured
        assert measured is not None
        low, high = measured.shortest_s * measured.hz - 1, measured.longest_s * measured.hz - 1
        resampled = any(step.kind == "resample" for step in worst.steps)
        then = "resampled at equal steps" if resampled else 'taken as even; process kind "resample" makes them so'
        notes.append(
            f"uneven: intervals differ by {low:+.0%} to {high:+.0%} from their mean (rms {measured.jitter:.0%}) in "
            f"{worst.file!r}, the worst of {len(uneven)} signals; {then}"
        )
    return tuple(notes)


def unit_notes(rows: list[PlannedRow]) -> tuple[str, ...]:
    """Return a sentence for each unit that is converted into the one of its quantity."""
    units = Counter((planned.fields["quantity"], planned.declared_unit, planned.fields["unit"]) for planned in rows)
    notes = []
    for (quantity, declared, own), number in units.items():
        if declared != own:
            how = unit_of(quantity, declared)
            shift = f" {how.offset:+.6g}" if how.offset else ""
            signals = f"{number} signal{'s' if number > 1 else ''}"
            notes.append(f"unit: {quantity} of {signals} is converted, {own} = {how.factor:.6g} x {declared}{shift}")
    return tuple(notes)


def _complaints(planned: PlannedRow, mapping: Mapping, as_of: datetime | None) -> list[str]:
    fields, complaints = planned.fields, []
    for name in (*NAME_COLUMNS, "unit_serial", "program"):
        text = fields[name] or ""
        if len(text) > TEXT_LIMIT or text != text.strip() or not text.isprintable():
            complaints.append(
                f"recording.{name}: {text[:40]!r} has spaces at an end, characters that cannot be printed, or more "
                f"than {TEXT_LIMIT} characters; clean or map it"
            )
    if planned.time_basis == "clock" and planned.started_at < EARLIEST_CLOCK:
        complaints.append(
            f"time.start: {planned.started_at.isoformat()} is before {EARLIEST_CLOCK:%Y}: a clock that was reset?"
        )
    if planned.time_basis == "clock" and as_of is not None and planned.started_at > as_of + AHEAD:
        complaints.append(f"time.start: {planned.started_at.isoformat()} is in the future: a clock that was set wrong?")
    quantity, unit = fields["quantity"], fields["unit"]
    if quantity not in QUANTITY_UNITS:
        complaints.append(f"recording.quantity: {quantity!r} is not one of {', '.join(QUANTITY_UNITS)}")
    elif unit not in QUANTITY_UNITS[quantity]:
        complaints.append(f"recording.unit: {why_not(quantity, unit)}")
    if fields["rate_basis"] not in RATE_BASES:
        complaints.append(f"recording.rate_basis: {fields['rate_basis']!r} is not one of {', '.join(RATE_BASES)}")
    if planned.source_rate_hz <= 0:
        complaints.append(f"recording.sampling_rate_hz: must be above 0, got {planned.source_rate_hz:g}")
    if (fields["shaft_speed_rpm"] or 0) < 0:
        complaints.append(f"recording.shaft_speed_rpm: must not be negative, got {fields['shaft_speed_rpm']:g}")
    rate = planned.source_rate_hz
    for number, step in enumerate(mapping.process, 1):
        if step not in planned.steps:
            continue
        if step.kind == "decimate":
            rate /= step.factor
        every = planned.asked.every
        if step.kind == "cut_every" and every is not None and (every == "filled" or step.samples % every):
            complaints.append(
                f"process.{number}.samples: {step.samples} rows are no multiple of channel.every, {every}"
            )
        if step.kind == "cut_to_length" and 0 < rate * step.seconds < 1:
            complaints.append(f"process.{number}.seconds: {step.seconds:g} s hold no sample at {rate:g} Hz")
    if planned.geometry is not None and planned.geometry not in mapping.geometry:
        complaints.append(f"asset.geometry: the mapping has no [geometry.{planned.geometry}]; add it")
    return complaints


def _beyond(planned: PlannedRow, limits: Limits | None) -> Iterator[str]:
    """Yield what intake would not take, in its words."""
    if limits is None:
        return
    rate, speed = planned.fields["sampling_rate_hz"], planned.fields["shaft_speed_rpm"] or 0
    if rate > limits.max_sampling_rate_hz:
        yield f"recording.sampling_rate_hz: {rate:g} Hz is above {limits.max_sampling_rate_hz:g} (max_sampling_rate_hz)"
    if speed > limits.max_shaft_speed_rpm:
        yield f"recording.shaft_speed_rpm: {speed:g} rpm is above {limits.max_shaft_speed_rpm:g} (max_shaft_speed_rpm)"


def _groups(rows: Iterable[PlannedRow], key: Callable[[PlannedRow], Hashable]) -> list[list[PlannedRow]]:
    """Return groups of rows with the same key, each group in order of time."""
    groups: dict[Hashable, list[PlannedRow]] = {}
    for planned in rows:
        groups.setdefault(key(planned), []).append(planned)
    return [sorted(group, key=lambda planned: planned.started_at) for group in groups.values()]


def _check_keys(where: str, rows: list[PlannedRow], problems: Problems) -> None:
    """Check that recording keys are unique, and that recordings at synthetic times do not overlap."""
    for group in _groups(rows, lambda planned: planned.point):
        for before, after in pairwise(group):
            key = " ".join(map(repr, before.point))
            if before.started_at == after.started_at:
                text = (
                    f"has the same recording key as {before.row.name} ({key} at "
                    f"{before.started_at.isoformat()}); give them different robot_id, axis, channel or time"
                )
                problems.add(where, text, row=after.row.number)
            elif after.time_basis == "synthetic" and before.source_rate_hz > 0 and before.ends_at > after.started_at:
                text = f"lasts {before.lasts_s:g} s and runs into the next recording of {key}; raise time.spacing_s"
                problems.add(where, text, row=before.row.number)


def _check_units(where: str, rows: list[PlannedRow], problems: Problems) -> None:
    """Check that the units of an axis follow one another in time, and that a unit has one geometry and one start."""
    for group in _groups((row for row in rows if row.fields["unit_serial"]), lambda planned: planned.axis):
        serials = [planned.fields["unit_serial"] for planned in group]
        changes = [serial for before, serial in pairwise([None, *serials]) if serial != before]
        if len(changes) != len(set(changes)):
            units = ", ".join(map(repr, dict.fromkeys(serials)))
            text = f"axis {' '.join(map(repr, group[0].axis))}: the recordings of units {units} interleave in time"
            problems.add(where, f"{text}; give each its own robot_id or axis", row=group[0].row.number)
        for unit in _groups(group, lambda planned: planned.fields["unit_serial"]):
            _check_unit(where, unit, group, problems)


def _check_unit(where: str, unit: list[PlannedRow], group: list[PlannedRow], problems: Problems) -> None:
    first = unit[0]
    for name in ("geometry", "installed_at"):
        values: set[Any] = {getattr(planned, name) for planned in unit}
        if len(values) > 1:
            text = f"asset.{name}: unit {first.fields['unit_serial']!r} has several: {', '.join(map(str, values))}"
            problems.add(where, text, row=first.row.number)
    installed = first.installed_at
    if installed is None:
        return
    if installed > first.started_at:
        text = f"asset.installed_at: {installed.isoformat()} is after the unit's first recording"
        problems.add(where, f"{text} ({first.started_at.isoformat()})", row=first.row.number)
    for other in group:
        same = other.fields["unit_serial"] == first.fields["unit_serial"]
        if not same and installed <= other.started_at < first.started_at:
            text = (
                f"asset.installed_at: {first.fields['unit_serial']!r} is installed before the recordings of "
                f"{other.fields['unit_serial']!r} on the same axis end; declare a time per unit, or leave it out"
            )
            problems.add(where, text, row=first.row.number)
            return


def _check_labels(where: str, rows: list[PlannedRow], problems: Problems) -> None:
    """Check that overlapping recordings of a unit have the same label: a label is for a unit and a time range."""
    for group in _groups(rows, lambda planned: (*planned.axis, planned.fields["unit_serial"])):
        for before, after in pairwise(group):
            if before.label_text == after.label_text:
                continue
            overlap = before.source_rate_hz > 0 and before.is_one_burst and before.ends_at > after.started_at
            if overlap or before.started_at == after.started_at:
                text = (
                    f"label {before.label_text!r} overlaps in time with label {after.label_text!r} of "
                    f"{after.row.name} on the same unit; a label is a unit and a time range"
                )
                problems.add(where, text, row=before.row.number)
