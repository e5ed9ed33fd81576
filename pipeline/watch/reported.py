"""Changes that were reported already, so that a change is reported once, and again only when it goes on.

After a trigger has reported a change, the days after that report are what all of them compare with: the level at which
it fired. So one change fires once, whatever it moves; a further one is seen when those days are over and the last days
begin after them. With a new champion this starts anew, unless the change came so shortly before its label cut-off that
the days before the cut-off show both levels.

A report that started nothing (no label, cooldown, budget) waits: the first retraining that may start answers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Firing:
    """A trigger that reported a change, when, and of which champion."""

    trigger: str
    at: datetime
    champion: str | None


@dataclass(frozen=True)
class Reported:
    """What was reported of a champion so far.

    Attributes
    ----------
    changed_at : datetime or None
        Time of the newest report, not before the label cut-off; None: there was none.
    waiting : mapping of str to datetime
        Triggers whose report no retraining has answered, each with the time of its newest report.
    """

    changed_at: datetime | None = None
    waiting: Mapping[str, datetime] = field(default_factory=dict)


def reported(
    firings: Iterable[Firing],
    *,
    champion: str,
    label_cutoff: datetime,
    promoted_at: datetime,
    last_attempt: datetime | None,
    days: float,
) -> Reported:
    """Return what earlier looks have reported of a champion.

    Parameters
    ----------
    firings
        Earlier reports of a change, of this champion and of others, in any order.
    champion, label_cutoff, promoted_at
        The present champion.
    last_attempt
        Time of the newest retraining that came to an outcome, or was started just now; None: there was none.
    days
        Length of the periods that are compared, days: reports so shortly before the label cut-off count as made at it.
    """
    known = list(firings)
    own = [one for one in known if one.champion == champion and one.at > promoted_at]
    length = timedelta(days=days)
    before = [label_cutoff for one in known if label_cutoff - length < one.at <= label_cutoff]
    waiting = [one for one in own if last_attempt is None or one.at > last_attempt]
    return Reported(
        changed_at=max([one.at for one in own] + before, default=None),
        waiting={one.trigger: one.at for one in sorted(waiting, key=lambda one: (one.at, one.trigger))},
    )
