"""From a manifest and a protocol to the rows of each side. Whatever would make the figures wrong is refused here."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

from models.kinds import HEALTHY
from pipeline.evaluation.protocol import EvaluationRefused, Protocol
from pipeline.importing.manifest import Manifest, ManifestRow, read_manifest
from pipeline.importing.problems import Problems

EMPTY_WORDS: Final = frozenset({"", "nan", "na", "n/a", "null"})
"""Cells that count as empty; upper and lower case make no difference."""

SHOWN: Final = 5


@dataclass(frozen=True)
class Selection:
    """Rows by side.

    Attributes
    ----------
    where : str
        Name of the manifest.
    train, test, unseen, baseline : tuple of ManifestRow
        No row is in two of train, test and unseen, except rows of shared units, which are cut in time.
    leaked : frozenset of str
        Units that are on both sides; `shared_units` allows it.
    """

    where: str
    train: tuple[ManifestRow, ...]
    test: tuple[ManifestRow, ...]
    unseen: tuple[ManifestRow, ...]
    baseline: tuple[ManifestRow, ...]
    leaked: frozenset[str]

    @property
    def rows(self) -> tuple[ManifestRow, ...]:
        """Every row that is used, once each, in the order of the manifest."""
        by_line = {row.line: row for side in (self.train, self.test, self.unseen, self.baseline) for row in side}
        return tuple(by_line[number] for number in sorted(by_line))


def select(manifest: Path, protocol: Protocol) -> Selection:
    """Choose the rows of every side.

    Raises
    ------
    EvaluationRefused
        The manifest cannot be read, or does not fit the protocol; the message lists every problem.
    """
    reading = Problems()
    if manifest.is_dir():
        raise EvaluationRefused(f"manifest {manifest}", ["is a folder; give the path of a CSV file"])
    table = read_manifest(manifest, reading)
    if table is None or reading:
        raise EvaluationRefused(f"manifest {manifest.name}", reading.sentences())
    where = f"protocol {protocol.name} on {table.where}"
    problems = _column_problems(table, protocol)
    if problems:
        raise EvaluationRefused(where, problems)
    sides = {
        name: tuple(row for row in table.rows if any(map(row.matches, tables)))
        for name, tables in protocol.filters().items()
    }
    problems = [
        f"[{name}]: no row matches all filters of one table together; correct the patterns"
        for name, tables in protocol.filters().items()
        if not all(any(row.matches(filters) for row in table.rows) for filters in tables)
    ]
    chosen = {name: sides.get(name, ()) for name in ("train", "test", "unseen", "baseline")}
    unseen = {row.line for row in chosen["unseen"]}
    chosen["test"] = tuple(row for row in chosen["test"] if row.line not in unseen)
    if sides.get("test") and not chosen["test"]:
        problems.append("[test]: every row of it is in [unseen] too, so nothing is left to judge")
    leaked = _leaks(protocol, chosen, problems)
    selection = Selection(table.where, chosen["train"], chosen["test"], chosen["unseen"], chosen["baseline"], leaked)
    problems += _cell_problems(protocol, selection) + _duplicates(selection)
    if protocol.kind == "classification":
        problems += _class_problems(protocol, selection)
    if protocol.kind == "healthy" and protocol.healthy is not None and protocol.label is not None:
        problems += _not_healthy("healthy kind", selection.rows, protocol)
    if problems:
        raise EvaluationRefused(where, problems)
    return selection


def unit_of(row: ManifestRow, protocol: Protocol) -> str:
    """Return the physical unit of a row."""
    assert protocol.unit is not None
    return row.cells[protocol.unit]


def _column_problems(table: Manifest, protocol: Protocol) -> list[str]:
    there = ", ".join(table.columns)
    problems = [
        f"key {key}: the manifest has no column {column!r}; its columns are: {there}"
        for key, column in protocol.columns()
        if column not in table.columns
    ]
    for name, tables in protocol.filters().items():
        for column, patterns in ((column, patterns) for filters in tables for column, patterns in filters.items()):
            if column not in table.columns:
                continue
            cells = {row.cells[column] for row in table.rows}
            problems += [
                f"key {name}.{column}: pattern {pattern!r} matches no row; correct or remove it"
                for pattern in patterns
                if not any(fnmatchcase(cell, pattern) for cell in cells)
            ]
    return problems


def _leaks(protocol: Protocol, sides: dict[str, tuple[ManifestRow, ...]], problems: list[str]) -> frozenset[str]:
    """Return the units that are on both sides and may be; add a problem for each that may not."""
    if protocol.unit is None:
        return frozenset()
    units = {name: {unit_of(row, protocol) for row in rows} for name, rows in sides.items()}
    allowed = set(protocol.shared_units)
    both = set()
    for name in ("test", "unseen"):
        common = units["train"] & units[name]
        both |= common
        if refused := sorted(common - allowed):
            shown = ", ".join(map(repr, refused[:SHOWN])) + (
                f" and {len(refused) - SHOWN} more" if refused[SHOWN:] else ""
            )
            problems.append(
                f"unit {shown} (column {protocol.unit!r}) is in [train] and in [{name}]: a unit that was trained on "
                "cannot be judged. Move it, or name it in shared_units to have it reported as leaked"
            )
    problems += [
        f"key shared_units: {unit!r} is not on both sides; correct or remove it" for unit in sorted(allowed - both)
    ]
    test, train = {row.line for row in sides["test"]}, {row.line for row in sides["train"]}
    judged = test | {row.line for row in sides["unseen"]}
    for name, numbers in (("[test] or [unseen]", judged),):
        if bad := sorted(row.line for row in sides["baseline"] if row.line in numbers):
            problems.append(
                f"[baseline]: row {_numbers(bad)} is in {name} too; a baseline is never made of judged rows"
            )
    if bad := sorted({row.line for row in sides["unseen"]} & train):
        problems.append(f"[unseen]: row {_numbers(bad)} is in [train] too")
    return frozenset(both & allowed)


def _cell_problems(protocol: Protocol, selection: Selection) -> list[str]:
    """Return where a used row has no label, unit or vote."""
    problems = []
    for key in ("label", "unit", "vote"):
        column = getattr(protocol, key)
        if column is None or (key == "label" and protocol.kind == "trend"):
            continue
        empty = [row.line for row in selection.rows if row.cells[column].strip().casefold() in EMPTY_WORDS]
        if empty:
            problems.append(
                f"row {_numbers(empty)}: column {column!r} ({key}) is empty; fill it in or filter the row out"
            )
    return problems


def _duplicates(selection: Selection) -> list[str]:
    seen: dict[tuple[str, ...], int] = {}
    problems = []
    for row in selection.rows:
        first = seen.setdefault(tuple(row.cells.values()), row.line)
        if first != row.line:
            problems.append(f"row {row.line} is the same as row {first}; remove the copy")
    return problems


def _class_problems(protocol: Protocol, selection: Selection) -> list[str]:
    assert protocol.label is not None
    label = protocol.label
    trained, judged = ({row.cells[label] for row in side} for side in (selection.train, selection.test))
    problems = []
    if unknown := sorted(judged - trained):
        problems.append(
            f"[test]: class {', '.join(map(repr, unknown))} is not in [train]; move a class that is not trained to "
            "[unseen]"
        )
    if selection.train and len(trained) < 2:
        problems.append(
            f"[train]: has only class {', '.join(map(repr, sorted(trained)))}; at least two classes are needed"
        )
    if protocol.healthy != HEALTHY and HEALTHY in trained | judged:
        problems.append(
            f"the manifest has label {HEALTHY!r}, but key healthy does not name it; set healthy = {HEALTHY!r}"
        )
    problems += _not_healthy("[baseline]", selection.baseline, protocol)
    if protocol.vote is not None:
        problems += _split_votes(protocol, selection.test, label)
    return problems


def _not_healthy(what: str, rows: tuple[ManifestRow, ...], protocol: Protocol) -> list[str]:
    assert protocol.label is not None
    bad = [row.line for row in rows if row.cells[protocol.label] != protocol.healthy]
    return [f"{what}: row {_numbers(bad)} is not {protocol.healthy!r} but must be"] if bad else []


def _split_votes(protocol: Protocol, rows: tuple[ManifestRow, ...], label: str) -> list[str]:
    assert protocol.vote is not None
    labels_of: dict[str, set[str]] = {}
    for row in rows:
        labels_of.setdefault(row.cells[protocol.vote], set()).add(row.cells[label])
    mixed = sorted(name for name, labels in labels_of.items() if len(labels) > 1)
    if not mixed:
        return []
    shown = ", ".join(map(repr, mixed[:SHOWN]))
    return [f"vote {shown} (column {protocol.vote!r}) has rows with different labels; correct the labels or the votes"]


def _numbers(rows: list[int]) -> str:
    more = f" and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return ", ".join(map(str, rows[:SHOWN])) + more
