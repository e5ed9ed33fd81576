"""Recordings of an archive with the very same samples: learned once, judged once, and never on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from pipeline.evaluation.windows import OK, Windows
from pipeline.training.copies import find_copies

SHOWN = 3


class _Recording(NamedTuple):
    name: str
    samples: str
    side: str
    row: int
    label: str
    unit: str

    @property
    def told(self) -> str:
        """The recording in a sentence."""
        return f"row {self.row} ({self.side}, {self.unit}: {self.label})"


def each_once(
    sides: Mapping[str, Windows], label: str, unit: str
) -> tuple[dict[str, Windows], dict[str, int], list[str]]:
    """Leave out recordings whose samples another recording has.

    Of copies with one label the first is kept, in the order of the sides. Copies with different labels contradict each
    other: none is kept. A recording that is on two sides itself is no copy, nor is one with a bad data-quality verdict:
    silence is alike everywhere.

    Parameters
    ----------
    sides
        Windows by side, in the order in which they are kept.
    label, unit
        Manifest columns of the label and of the physical unit.

    Returns
    -------
    sides : dict of str to Windows
    left_out : dict of str to int
        Number of windows left out, by reason.
    notes : list of str
        Sentences that name the rows.
    """
    recordings: dict[str, _Recording] = {}
    for side, every in sides.items():
        windows = every.take(every.quality == OK)
        cells = zip(
            windows.recording.tolist(),
            windows.samples_hash.tolist(),
            windows.row.tolist(),
            windows.cells(label).tolist(),
            windows.cells(unit).tolist(),
            strict=True,
        )
        for name, samples, *place in dict.fromkeys(cells):
            recordings.setdefault(name, _Recording(name, samples, side, *place))
    listed = list(recordings.values())
    dropped: dict[str, str] = {}
    notes: list[str] = []
    for copies in find_copies([(one.samples,) for one in listed], [one.label for one in listed]):
        reason = f"the same samples as another recording, {'labels differ' if copies.differ else 'used once'}"
        dropped |= {listed[place].name: reason for place in copies.again}
        shown = [listed[place].told for place in copies.members[:SHOWN]]
        more = f" and {len(copies.members) - SHOWN} more" if len(copies.members) > SHOWN else ""
        end = "which label is right? None is learned or judged" if copies.differ else "only the first is used"
        notes.append(f"the same samples in {', '.join(shown)}{more}: {end}")
    if not dropped:
        return dict(sides), {}, []
    kept, left_out = {}, dict[str, int]()
    for side, windows in sides.items():
        reasons = [dropped.get(recording) for recording in windows.recording.tolist()]
        kept[side] = windows.take(np.array([reason is None for reason in reasons], dtype=np.bool_))
        for reason in filter(None, reasons):
            left_out[f"windows with {reason}"] = left_out.get(f"windows with {reason}", 0) + 1
    return kept, left_out, notes
