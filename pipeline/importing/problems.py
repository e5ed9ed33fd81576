"""Collect everything that is wrong with an import, and report it at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipeline.base.errors import AxiswatchError

SHOWN_PROBLEMS: Final = 20
SHOWN_ROWS: Final = 5


class ImportRefused(AxiswatchError, ValueError):
    """An import that was refused before anything was written.

    Attributes
    ----------
    problems : list of str
        One sentence each: where (file, row, key, column), what was wrong, what to do. `str()` shows the first 20.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = list(problems)
        shown = self.problems[:SHOWN_PROBLEMS]
        more = len(self.problems) - len(shown)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        lines = [f"import refused, {count}, nothing was written:", *(f"- {problem}" for problem in shown)]
        if more:
            lines.append(f"- and {more} more")
        super().__init__("\n".join(lines))


@dataclass(frozen=True)
class Complaint:
    """One thing wrong with a signal file: a sentence, and the rows of the file it is about (none: the whole file)."""

    what: str
    rows: tuple[int, ...] = ()


class SignalUnreadable(ValueError):
    """A signal whose samples cannot be used; `complaints` has all reasons."""

    def __init__(self, *complaints: Complaint | str) -> None:
        self.complaints = tuple(Complaint(item) if isinstance(item, str) else item for item in complaints)
        super().__init__("; ".join(complaint.what for complaint in self.complaints))

    def sentences(self) -> list[str]:
        """Return each reason with its rows."""
        return [f"{_name_rows(list(one.rows)).lstrip(', ')}: {one.what}".lstrip(": ") for one in self.complaints]


class Problems:
    """A list of problems. The same problem in many rows of the manifest is one entry that names the rows."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], list[int | str]] = {}

    def add(self, where: str, what: str, *, row: int | str | None = None) -> None:
        """Add a problem of the file `where`; `row` is a line in it or a file of a folder, None for all of it."""
        rows = self._rows.setdefault((where, what), [])
        if row is not None and row not in rows[-1:]:
            rows.append(row)

    def __bool__(self) -> bool:
        return bool(self._rows)

    def sentences(self) -> list[str]:
        """Return all problems as sentences, in the order in which they were added."""
        return [f"{where}{_name_rows(rows)}: {what}" for (where, what), rows in self._rows.items()]

    def refuse_if_any(self) -> None:
        """Raise ImportRefused with all problems so far; do nothing where there are none."""
        if self:
            raise ImportRefused(self.sentences())


def _name_rows(rows: list[int | str]) -> str:
    if not rows:
        return ""
    shown = ", ".join(str(row) for row in rows[:SHOWN_ROWS])
    more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
    kind = "file" if isinstance(rows[0], str) else "row"
    return f", {kind}{'s' if len(rows) > 1 else ''} {shown}{more}"
