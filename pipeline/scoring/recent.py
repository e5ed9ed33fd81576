"""The bins around those that a run computes: which ones come before, and which ones look back at them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.settings import CaseSettings
from pipeline.cases.keeping import LONG_AGO
from pipeline.store.tables import Axis, AxisState

LONGEST_LOOK: Final = timedelta(days=30)
"""A bin that is older than this is not looked back at."""


class RecentBins:
    """The fault probabilities of the bins of some axes, from `alarm_bins` before the first changed one on."""

    def __init__(
        self,
        connection: Connection,
        settings: CaseSettings,
        changed: Mapping[str, Collection[datetime]],
        replaced: Mapping[str, Sequence[datetime]],
    ) -> None:
        """Read the bins.

        Parameters
        ----------
        changed
            By axis, the starts of the bins that have new scores; at least one axis.
        replaced
            By axis, the times at which its unit was replaced, ascending. A bin does not look back at another unit.
        """
        self._bins = settings.alarm_bins
        self._replaced = replaced
        self._due = {axis: set(starts) for axis, starts in changed.items()}
        first = min(min(starts) for starts in changed.values())
        older = sa.orm.aliased(AxisState)
        begin = (
            sa.select(older.bin_at)
            .where(older.axis_id == Axis.axis_id, older.bin_at < first, older.fault_probability.is_not(None))
            .order_by(older.bin_at.desc())
            .offset(max(self._bins - 2, 0))
            .limit(1)
            .correlate(Axis)
            .scalar_subquery()
        )
        query = (
            sa.select(AxisState.axis_id, AxisState.bin_at, AxisState.fault_probability)
            .join(Axis, Axis.axis_id == AxisState.axis_id)
            .where(
                Axis.axis_id.in_(changed),
                AxisState.bin_at >= sa.func.coalesce(begin, LONG_AGO),
                AxisState.fault_probability.is_not(None),
            )
            .order_by(AxisState.axis_id, AxisState.bin_at)
        )
        self._known: dict[str, dict[datetime, float]] = {axis: {} for axis in changed}
        for row in connection.execute(query):
            self._known[row.axis_id][row.bin_at] = row.fault_probability
        self._times = {axis: sorted(known) for axis, known in self._known.items()}

    def looking_back(self, axis: str, starts: Collection[datetime]) -> set[datetime]:
        """Return the bins of an axis to be computed: those given, and the known ones that look back at them."""
        times = self._times[axis]
        for start in starts:
            after = bisect_right(times, start)
            self._due[axis].update(at for at in times[after : after + self._bins - 1] if at - start <= LONGEST_LOOK)
        return self._due[axis]

    def is_due(self, axis: str, bin_at: datetime) -> bool:
        """Return whether a bin is to be computed."""
        return bin_at in self._due[axis]

    def before(self, axis: str, bin_at: datetime) -> list[float]:
        """Return the fault probabilities that a bin looks back at, newest last."""
        times = self._times[axis]
        begin = bin_at - LONGEST_LOOK
        for at in self._replaced.get(axis, ()):
            if at <= bin_at:
                begin = max(begin, at)
        place = bisect_left(times, bin_at)
        return [self._known[axis][at] for at in times[max(place - self._bins + 1, 0) : place] if at >= begin]

    def add(self, axis: str, bin_at: datetime, fault_probability: float | None) -> None:
        """Take in the fault probability of a bin that was computed."""
        known, times = self._known[axis], self._times[axis]
        if fault_probability is None:
            if known.pop(bin_at, None) is not None:
                times.remove(bin_at)
            return
        if bin_at not in known:
            insort(times, bin_at)
        known[bin_at] = fault_probability
