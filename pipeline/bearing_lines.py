"""Which line of the squared envelope spectrum speaks for which bearing fault."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.taxonomy import Mode

LINES: Final = {
    Mode.OUTER_RACE: "ses_white_bpfo_h1_db",
    Mode.INNER_RACE: "ses_white_bpfi_h1_db",
    Mode.BALL: "ses_white_bsf2x_h1_db",
    Mode.CAGE: "ses_white_ftf_h1_db",
}
"""The line of each bearing fault in the squared envelope spectrum of the prewhitened signal. Source: R. B. Randall and
J. Antoni, "Rolling element bearing diagnostics - a tutorial", Mechanical Systems and Signal Processing 25 (2011)."""


def mode_of(word: str | None) -> Mode:
    """Read a failure mode from the name of a class; `Mode.OTHER` where it is none."""
    return Mode(word) if word in set(Mode) else Mode.OTHER


def unmodelled_modes(modes: Sequence[str | None]) -> tuple[Mode, ...]:
    """Name the faults that have a line and that none of some classes (or failure modes) stands for."""
    known = {mode_of(mode) for mode in modes}
    return tuple(mode for mode in LINES if mode not in known)
