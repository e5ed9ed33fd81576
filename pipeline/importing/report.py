"""What an import did: counts, paths, and everything that was left out, with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from pipeline.importing.samples import Asked, SampleReader
from pipeline.importing.signals import Cuts, Piece


@dataclass(frozen=True)
class Skipped:
    """A part of a manifest row that was left out, and the reason."""

    row: int | str
    file: str
    reason: str


@dataclass
class SampleBalance:
    """Samples of all signals that were read: `there` is the sum of all others.

    `other_rows` belong to another signal of the file (`rows`), or lie between the readings of a slow one (`every`);
    `edges` were used up by filters.
    """

    there: int = 0
    taken: int = 0
    missing: int = 0
    too_short: int = 0
    edges: int = 0
    other_rows: int = 0
    dropped_lines: int = 0

    def add(self, read: SampleReader, cuts: Cuts, dropped: int) -> None:
        """Add a signal that was read to its end."""
        self.there += read.n_file + dropped
        self.taken += cuts.taken
        self.missing += cuts.missing
        self.too_short += cuts.short_samples
        self.edges += cuts.edges
        self.other_rows += read.n_file - read.n_used
        self.dropped_lines += dropped

    def line(self) -> str:
        """Return the sum as a sentence."""
        names = ("taken", "missing", "too_short", "edges", "other_rows", "dropped_lines")
        parts = [f"{getattr(self, name)} {name.replace('_', ' ')}" for name in names if getattr(self, name)]
        return f"{self.there} samples = {' + '.join(parts)}"


@dataclass
class ShortRecordings:
    """Recordings of each quantity, and those among them that are too short to be scored."""

    all: Counter[str] = field(default_factory=Counter)
    short: Counter[str] = field(default_factory=Counter)
    needed: dict[str, int] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Return a sentence for each quantity with short recordings."""
        return [
            f"no recording of {quantity} is as long as a window ({self.needed[quantity]} samples): none gets a score"
            if number == self.all[quantity]
            else f"{number} of {self.all[quantity]} recordings of {quantity} are shorter than a window "
            f"({self.needed[quantity]} samples): they get no score"
            for quantity, number in self.short.items()
        ]


SEVERAL_PROGRAMS: Final = (
    'have more than one program in column {!r}, so theirs is not known: process kind "cut_at_changes" cuts there'
)
UNKNOWN_SPEED: Final = "have no value of the speed column, so their speed is not known"
MOVING_SPEED: Final = 'have a speed that leaves its mean by more than 2 %: signal.speed.use = "trace" keeps it'


def states_of(piece: Piece, asked: Asked) -> Iterator[tuple[str, str]]:
    """Yield what speed and regime of a recording from the file are worth: kind, and a word about it or ''."""
    if asked.speed is not None:
        if piece.speed is None:
            yield "speed", UNKNOWN_SPEED
        else:
            yield "speed", MOVING_SPEED if piece.speed.moves and asked.speed.use == "mean" else ""
    for key, source in asked.regime:
        if key == "program" and piece.n_programs > 1:
            yield key, SEVERAL_PROGRAMS.format(source.column)
        else:
            yield key, "" if piece.regime.get(key) is not None else f"have no {key} in column {source.column!r}"


def state_notes(states: Counter[tuple[str, str]]) -> list[str]:
    """Return a sentence for each state of recordings that is worth a word."""
    whole: Counter[str] = Counter()
    for (kind, _), number in states.items():
        whole[kind] += number
    return [
        f"{number} of {whole[kind]} recordings {state}" for (kind, state), number in sorted(states.items()) if state
    ]


@dataclass(frozen=True)
class ImportReport:
    """The result of an import: counts, paths and notes."""

    name: str
    dry_run: bool
    files: dict[str, int]
    files_read: int
    recordings: int
    samples: dict[str, int]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    log_files: tuple[Path, ...]
    written: int
    unchanged: int
    labels: int
    labels_path: Path
    units: int
    assets_path: Path

    def lines(self) -> list[str]:
        """Return the report as sentences for the command line."""
        verb = "would be written" if self.dry_run else "written"
        lines = [
            f"{self.name}: {self.files_read} signal files read, {self.recordings} recordings in "
            f"{len(self.log_files)} log files ({self.written} {verb}, {self.unchanged} unchanged)",
            f"{self.labels} labels in {self.labels_path}",
            f"{self.units} units in {self.assets_path}",
            " + ".join(f"{number} {name.replace('_', ' ')}" for name, number in self.files.items()),
            SampleBalance(**self.samples).line(),
        ]
        if self.dry_run:
            lines.insert(0, "dry run: nothing was written")
        lines += [f"note: {note}" for note in self.notes]
        return lines + [f"left out: {_place(item)}: {item.reason}" for item in self.skipped]


def _place(item: Skipped) -> str:
    return f"row {item.row} ({item.file})" if isinstance(item.row, int) else item.file
