"""New programs: do axes run motion programs that nobody ran before, and that the model has not learned?

No test is made. Where a whole line changes over, no regime is left in which machines could be compared with
themselves; comparing them across programs would find a shift on every unit, and it would be the program's. That the
program is new is a fact, and it is what the model does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pipeline.watch.triggers.decision import Decision

NAME: Final = "new_program"
SHOWN: Final = 5
"""Number of programs that the reason names, those on most axes first."""


@dataclass(frozen=True)
class ProgramUse:
    """How many recordings an axis made with a program in a period, and when the first one."""

    recordings: int
    first_at: datetime


Programs = Mapping[str, Mapping[str, ProgramUse]]
"""By axis and program."""


def new_program(
    then: Programs, now: Programs, *, known: Collection[str], min_axes: int, min_recordings: int = 2
) -> Decision:
    """Fire when so many axes, or all of them, run programs that are new.

    Parameters
    ----------
    then, now
        Programs of the reference period and of the current one. Recordings without a known program are left out.
    known
        Programs that the model has learned, run in the reference period or not.
    min_axes
        Axes with a new program that are enough; where there are fewer axes, all of them (two at least).
    min_recordings
        Recordings with new programs that an axis needs. No figure is estimated from them, so two are enough: a changed
        line is told of before rates rise, which would be reported first and without a cause.
    """
    old = {program for programs in then.values() for program in programs} | set(known)
    axes: dict[str, list[str]] = {}
    first: dict[str, datetime] = {}
    for axis, programs in sorted(now.items()):
        new = {program: use for program, use in programs.items() if program not in old}
        if sum(use.recordings for use in new.values()) >= min_recordings:
            for program, use in new.items():
                axes.setdefault(program, []).append(axis)
                first[program] = min(first.get(program, use.first_at), use.first_at)
    on = {axis for members in axes.values() for axis in members}
    ordered = sorted(axes, key=lambda program: (-len(axes[program]), program))
    figures = {
        "programs": [{"program": name, "axes": len(axes[name]), "since": first[name].isoformat()} for name in ordered],
        "axes": len(on),
        "of_axes": len(now),
        "known": len(old),
        "min_axes": min_axes,
        "min_recordings": min_recordings,
    }
    if not then:
        return Decision(NAME, False, "no axis has a recording with a program in the reference period", figures)
    counted = f"on {len(on)} of {len(now)} axes"
    if len(now) < 2 or len(on) < min(min_axes, len(now)):
        return Decision(NAME, False, f"programs are new {counted}; {min_axes} axes, or all, are needed", figures)
    named = [f"{name} (on {len(axes[name])}, since {first[name]:%Y-%m-%d})" for name in ordered[:SHOWN]]
    named += [f"{len(ordered) - SHOWN} more"] * (len(ordered) > SHOWN)
    return Decision(NAME, True, f"new program {counted}: {', '.join(named)}", figures)
