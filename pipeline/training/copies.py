"""Recordings with the very same samples: learned once, or not at all where their findings differ.

Real archives hold some, under two units or twice under one. A copy is no further example, and on the other side of a
split it is the answer itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy.engine import Row


@dataclass(frozen=True)
class Copies:
    """Two or more recordings with the same samples, by place. `differ`: their findings contradict each other."""

    members: tuple[int, ...]
    differ: bool

    @property
    def again(self) -> tuple[int, ...]:
        """Those that are not used: all but the first; all of them where the findings differ."""
        return self.members[0 if self.differ else 1 :]


def find_copies(contents: Sequence[Collection[Hashable]], findings: Sequence[str]) -> list[Copies]:
    """Find the recordings that are copies of each other.

    Parameters
    ----------
    contents
        (n,) what is known of the samples of each recording, such as a hash. Two recordings that share one of these are
        copies, and copies of a copy are, too. Empty: it has no copy.
    findings
        (n,) what each recording was found to be.

    Returns
    -------
    list of Copies
        In the order of their first members.
    """
    before = list(range(len(contents)))
    """Of each place one of its copies that comes before it; the first one has itself."""

    def first_of(place: int) -> int:
        while before[place] != place:
            place = before[place]
        return place

    known: dict[Hashable, int] = {}
    for place, own in enumerate(contents):
        for content in own:
            one, other = sorted((first_of(known.setdefault(content, place)), first_of(place)))
            before[other] = one
    groups: dict[int, list[int]] = {}
    for place in range(len(contents)):
        groups.setdefault(first_of(place), []).append(place)
    return [
        Copies(tuple(members), len({findings[place] for place in members}) > 1)
        for members in groups.values()
        if len(members) > 1
    ]


@dataclass(frozen=True)
class TrainingRecording:
    """A recording for training: its extraction, its unit, its class, the weight of the evidence, and the label's id."""

    row: Row[Any]
    unit: str
    target: str
    weight: float
    label_id: str


@dataclass(frozen=True)
class Twin:
    """A label whose recording has the very samples of another unit, which was found to be something else.

    `finding` and `other_finding` are classes; `axis_id` and `started_at` those of the recording.
    """

    label_id: str
    axis_id: str
    started_at: datetime
    finding: str
    other_unit: str
    other_finding: str


def each_once(
    labelled: Sequence[TrainingRecording], features: Sequence[npt.NDArray[np.float32]], left_out: Counter[str]
) -> tuple[list[npt.NDArray[np.float32]], list[Twin]]:
    """Leave out the windows of recordings with the same samples, whatever speed and geometry are declared.

    Units that have the same samples and different findings contradict each other: none of those recordings is learned,
    and their labels are returned, each once. Recordings without a good window are no copies: silence is alike
    everywhere. Of recordings without a hash of their samples, those with the same features, bit by bit, are copies.
    """
    contents = [
        {part.tobytes(), item.row.samples_hash} - {None}
        if len(part) and part.shape[1] > 1  # one value alone is often the same by chance
        else ()
        for item, part in zip(labelled, features, strict=True)
    ]
    once = list(features)
    twins: dict[str, Twin] = {}
    for copies in find_copies(contents, [item.target for item in labelled]):
        units = sorted({labelled[index].unit for index in copies.members})
        names = " and ".join(units[:3])
        end = "findings differ: which of them is right?" if copies.differ else "learned once"
        for index in copies.again:
            left_out[f"the same samples {'under ' if len(units) > 1 else 'twice under '}{names}, {end}"] += 1
            once[index] = features[index][:0]
            own = labelled[index]
            for other in (labelled[place] for place in copies.members if labelled[place].target != own.target):
                twin = Twin(
                    label_id=own.label_id,
                    axis_id=own.row.axis_id,
                    started_at=own.row.started_at,
                    finding=own.target,
                    other_unit=other.unit,
                    other_finding=other.target,
                )
                twins.setdefault(own.label_id, twin)
    return once, list(twins.values())
