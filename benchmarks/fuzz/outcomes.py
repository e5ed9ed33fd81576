"""What became of a damaged input, and how that is judged: exceptions, sentences, seconds, memory."""

from __future__ import annotations

import ctypes
import os
import resource
import traceback
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from pipeline.base.errors import AxiswatchError, readable

ROOT: Final = Path(__file__).resolve().parents[2]
LONGEST_S: Final = 10.0
MOST_MIB: Final = 1024
LONGEST_LINE: Final = 3_000
"""Letters of one line of a message; a longer one repeats the input, and nobody reads it."""
KEPT_KIB: Final = 600 * 1024
"""Where a process holds more than this before an input, it gives back what is free, so that inputs do not add up."""


class Outcome(StrEnum):
    """What became of an input. The first three are as they should be."""

    TAKEN = "taken"
    PARTLY = "partly taken"
    REFUSED = "refused with a sentence"
    POOR = "refused in poor words"
    MACHINE = "blamed on the machine"
    CRASH = "crash"
    HANG = "hang"
    MEMORY = "over 1 GiB"
    WRONG = "silently wrong"

    @property
    def is_fault(self) -> bool:
        """Whether it must not happen."""
        return self not in (Outcome.TAKEN, Outcome.PARTLY, Outcome.REFUSED)


@dataclass(frozen=True)
class Given:
    """A damaged input: the name of the damage, and whatever the target makes of it."""

    damage: str
    what: Any


@dataclass(frozen=True)
class Result:
    """What became of input `number` of a target."""

    target: str
    number: int
    damage: str
    outcome: Outcome
    detail: str
    seconds: float
    peak_mib: int

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


class Target(Protocol):
    """A reader of outside data.

    Attributes
    ----------
    refusals : tuple of classes
        Its own errors; `wrapped`: those of them that reach people within an `AxiswatchError` only.
    calls : int
        How often one input is read.
    """

    name: str
    refusals: tuple[type[Exception], ...]
    wrapped: tuple[type[Exception], ...]
    calls: int

    def prepare(self, folder: Path) -> None:
        """Make what all inputs share, in an empty folder."""

    def damaged(self, rng: np.random.Generator) -> Given:
        """Make one input."""

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Read it as the product does."""


def poor_words(text: str, *, is_json: bool = False) -> str:
    """Return what is wrong with a message; '' where nothing is. Within JSON every letter is written safely."""
    if len(text.strip()) < 15:
        return "no sentence"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "cannot be printed (half of a surrogate pair)"
    if not is_json and any(not letter.isprintable() for letter in text if letter not in "\n\t"):
        return "has characters that cannot be printed"
    if not is_json and max(map(len, text.splitlines())) > LONGEST_LINE:
        return f"a line of {max(map(len, text.splitlines()))} letters"
    return "tells of the code" if "Traceback" in text or "object at 0x" in text else ""


def judged(text: str, *, is_json: bool = False) -> tuple[Outcome, str]:
    """Return the outcome of a refusal by its words."""
    poor = poor_words(text, is_json=is_json)
    return (Outcome.POOR, f"{poor}: {shown(text)}") if poor else (Outcome.REFUSED, text[:300])


def shown(text: str) -> str:
    """Return the beginning of a text in ASCII."""
    return text[:300].encode("ascii", "backslashreplace").decode()


def outcome_of(target: Target, given: Given) -> tuple[Outcome, str]:
    """Read one input and judge what came of it by its words; its cost is not judged."""
    try:
        return target.run(given)
    except (*target.refusals, AxiswatchError) as error:
        return judged(readable(str(error)) if type(error) in target.wrapped else str(error))
    except (OSError, MemoryError) as error:
        return Outcome.MACHINE, _said(error)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 (a panic of Rust code is no Exception)
        return Outcome.CRASH, _said(error)


def attempt(target: Target, given: Given, number: int) -> Result:
    """Read one input and judge what came of it, in a process that does nothing else: its memory counts."""
    children = _forget_peak()
    began = _cpu_s()
    outcome, detail = outcome_of(target, given)
    seconds, peak = _cpu_s() - began, _peak_mib(children)
    if outcome.is_fault:
        pass
    elif peak > MOST_MIB:
        outcome, detail = Outcome.MEMORY, f"{peak} MiB; {outcome}: {detail}"
    elif seconds > LONGEST_S * target.calls:
        outcome, detail = Outcome.HANG, f"{seconds:.1f} s; {outcome}: {detail}"
    return Result(target.name, number, given.damage, outcome, shown(detail), round(seconds, 3), peak)


def _cpu_s() -> float:
    """Return the processor time of this process and its children: the machine may be busy with other things."""
    return sum(os.times()[:4])


def _said(error: BaseException) -> str:
    """Return an exception with the last place of the product that it passed."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "/benchmarks/" not in frame.filename]
    product = [frame for frame in own if frame.filename.startswith(str(ROOT))]
    at = (product or own or [None])[-1]
    place = f" at {Path(at.filename).name}:{at.lineno}" if at else ""
    return f"{type(error).__name__}{place}: {error}"


def _forget_peak() -> int:
    """Let the peak of memory of this process begin anew (Linux); return the peak of its children so far, KiB."""
    if _kib("VmRSS") > KEPT_KIB:
        pa.default_memory_pool().release_unused()
        ctypes.CDLL(None).malloc_trim(0)
    with Path("/proc/self/clear_refs").open("w") as file:
        file.write("5")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def _peak_mib(children_kib: int) -> int:
    """Return the most memory of this process since `_forget_peak`, or of a child that needed more than any before."""
    now = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(_kib("VmHWM"), now if now > children_kib else 0) // 1024


def _kib(name: str) -> int:
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0
