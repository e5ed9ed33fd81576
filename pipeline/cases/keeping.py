"""Bring the cases of axes up to date with their states, reading only the states that a change can reach.

The result is that of folding all states of the axis. A bin decides only about the `debounce_span` - 1 bins before and
after it, and every flagged bin that counts lies in the time of its case; so episodes before the first changed bin stay
with their cases, unless a case near a changed bin, an open one, or one that somebody has acted on since also claims
them. With no such case only the last bins are read, with one such case also its own bins, with several all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from pipeline.assets.events import NOTE
from pipeline.base.settings import CaseSettings
from pipeline.cases.axis_state import FAULT_FIGURES, SILENT, FaultFigures, bin_start, flag_of
from pipeline.cases.episodes import (
    CLOSED,
    FAMILIES,
    OPEN,
    UNIT_FAMILIES,
    CaseState,
    Episode,
    FlaggedBin,
    Folded,
    Sums,
    add_up,
    find_episodes,
    fold_cases,
    what_got_worse,
)
from pipeline.cases.history import SYSTEM, add_event
from pipeline.store.database import upsert
from pipeline.store.tables import Axis, AxisEvent, AxisState, Case, CaseTally

TALLY_BINS: Final = 32
"""A tally ends at a multiple of this many bins, at least so many before the end of its case: late bins may come."""

_Stretches = list[tuple[list[FlaggedBin], datetime | None]]
"""Bins without a hole between them, and from which one on they are put into episodes; None: from the first."""

LONGEST_BIN: Final = timedelta(hours=24)
LONG_AGO: Final = datetime(1900, 1, 1, tzinfo=UTC)
_BIN = ("axis_id", "bin_at", "first_at", "last_at", *FAULT_FIGURES, "flags", "known_at")
_BIN_COLUMNS = [getattr(AxisState, name) for name in _BIN]


@dataclass(frozen=True)
class _Tail:
    """The last bins of an axis: from some bins before the first changed one on. `whole`: there are none before them."""

    bins: list[FlaggedBin]
    first_changed: datetime
    whole: bool
    updated_at: datetime
    """When cases were brought up to date before, or earlier."""


@dataclass
class CaseKeeper:
    """Brings cases up to date in the caller's transaction, which holds the locks on the axes.

    `told` counts what happened: opened, reopened, closed, too_old.
    """

    connection: Connection
    settings: CaseSettings
    as_of: datetime
    cases_since: datetime | None
    told: Counter[str] = field(default_factory=Counter)

    def update(self, changed: Mapping[str, datetime], replaced: Mapping[str, datetime]) -> None:
        """Update the cases of axes whose states have changed.

        Parameters
        ----------
        changed
            Axis id -> start of its first bin that is new or has changed.
        replaced
            Axis id -> time of its last replacement. Cases of the unit before it are not reopened.
        """
        tails = self._tails(changed)
        cases: dict[tuple[str, str], list[Row[Any]]] = {}
        columns = (Case.case_id, Case.axis_id, Case.family, Case.state, Case.first_at, Case.last_at, Case.changed_at)
        query = sa.select(*columns).where(Case.axis_id.in_(changed), Case.family.in_(FAMILIES))
        rows: Sequence[Any] = self.connection.execute(query).all()
        for case in rows:
            cases.setdefault((case.axis_id, case.family), []).append(case)
        learnt = sa.func.max(AxisEvent.known_at, type_=AxisEvent.known_at.type).label("at")
        of_axes = sa.select(AxisEvent.axis_id, learnt).where(AxisEvent.axis_id.in_(changed), AxisEvent.kind != NOTE)
        registered = {row.axis_id: row.at for row in self.connection.execute(of_axes.group_by(AxisEvent.axis_id))}
        for axis_id, tail in sorted(tails.items()):
            corrected = axis_id in registered and registered[axis_id] > tail.updated_at
            for family in FAMILIES:
                since = replaced.get(axis_id) if family in UNIT_FAMILIES else None
                self._update(axis_id, family, tail, cases.get((axis_id, family), []), since, corrected)

    def _update(
        self, axis_id: str, family: str, tail: _Tail, cases: Sequence[Row[Any]], since: datetime | None, corrected: bool
    ) -> None:
        settings = self.settings
        gap = timedelta(hours=settings.case_gap_hours)
        cases = [case for case in cases if since is None or case.first_at >= since]
        bins = [item for item in tail.bins if since is None or item.first_at >= since]
        whole = tail.whole or len(bins) < len(tail.bins)
        reached: Sequence[Row[Any]] = cases
        stretches: _Stretches = [(bins, None)]
        tallies: dict[str, Row[Any]] = {}
        used: dict[str, Row[Any]] = {}
        if not whole:
            place = next(index for index, item in enumerate(bins) if item.bin_at >= tail.first_changed)
            start = place - (settings.debounce_span - 1)
            reached = _reached(cases, bins[start:], tail.updated_at, gap)
            flagged = any(flag.code in FAMILIES[family] for item in bins[start:] for flag in item.flags)
            if not reached and not flagged and not corrected:
                return
            whole = corrected or len(reached) > 1 or (flagged and self._may_have_passed_over(axis_id, reached))
            if whole:
                reached, stretches = cases, [(self._read(axis_id, LONG_AGO, since=since), None)]
            else:
                stretches = [(bins, bins[start].bin_at)]
        elif not reached and not any(item.flags for item in bins):
            return
        if reached:
            tallies = self._tallies(reached)
        if reached and not whole:
            used = {name: row for name, row in tallies.items() if row.until_at <= bins[start].bin_at}
            stretches = self._with_case(axis_id, bins, bins[start], reached[0], used, since)
        episodes = [
            episode
            for some, from_bin in stretches
            for episode in find_episodes(
                some, family, hits=settings.debounce_hits, span=settings.debounce_span, gap=gap, from_bin=from_bin
            )
        ]
        self._fold(axis_id, family, tail, cases, reached, episodes, tallies, used, since)

    def _may_have_passed_over(self, axis_id: str, reached: Sequence[Row[Any]]) -> bool:
        """Return whether an episode that was too old for a case would be the open one that a new episode goes to."""
        if self.cases_since is None or any(case.state != CLOSED for case in reached):
            return False
        old = sa.exists().where(AxisState.axis_id == axis_id, AxisState.bin_at < self.cases_since)
        return bool(self.connection.scalar(sa.select(old)))

    def _with_case(
        self,
        axis_id: str,
        bins: list[FlaggedBin],
        start: FlaggedBin,
        case: Row[Any],
        used: Mapping[str, Row[Any]],
        since: datetime | None,
    ) -> _Stretches:
        """Return the bins from `start` on together with those of a case; what lies between them is of other cases."""
        tally = used.get(case.case_id)
        if tally is None and case.first_at >= start.first_at:
            return [(bins, start.bin_at)]
        low = case.first_at - LONGEST_BIN if tally is None else self._before(axis_id, tally.until_at)
        own = self._read(axis_id, low, min(bins[0].bin_at, case.last_at + LONGEST_BIN), since=since)
        if tally is None:
            from_bin = min(item.bin_at for item in (*own, *bins) if item.first_at >= case.first_at)
        else:
            from_bin = tally.until_at
        if case.last_at >= start.first_at:
            return [([*own, *bins], min(from_bin, start.bin_at))]
        early = [item for item in (*own, *bins) if item.first_at <= case.last_at]
        return [(early, from_bin), (bins, start.bin_at)]

    def _fold(
        self,
        axis_id: str,
        family: str,
        tail: _Tail,
        cases: Sequence[Row[Any]],
        reached: Sequence[Row[Any]],
        episodes: Sequence[Episode],
        tallies: Mapping[str, Row[Any]],
        used: Mapping[str, Row[Any]],
        since: datetime | None,
    ) -> None:
        ids = [case.case_id for case in reached]
        query = sa.select(Case).where(Case.case_id.in_(ids)).order_by(Case.first_at, Case.case_id)
        stored = self.connection.execute(query).all() if ids else []
        before = {row.case_id: _case_state(row) for row in stored}
        folded = fold_cases(
            axis_id,
            family,
            list(before.values()),
            episodes,
            gap=timedelta(hours=self.settings.case_gap_hours),
            margin=self.settings.reopen_margin,
            recheck=timedelta(hours=self.settings.recheck_after_hours),
            since=since,
            before={case_id: _sums(tally) for case_id, tally in used.items()},
        )
        for case in folded.cases:
            happened = folded.happened.get(case.case_id)
            if self.cases_since is not None and happened and case.last_at < self.cases_since:
                self.told["too_old"] += 1
                continue
            if case != before.get(case.case_id):
                _write_case(self.connection, axis_id, family, case, stored, happened, self.as_of)
            if happened:
                self.told[happened] += 1
            if case.state != CLOSED and _recordings_arrived_since(case, tail.bins):
                _close_silence(self.connection, case, self.as_of)
                self.told["closed"] += 1
            others: list[Any] = [*cases, *folded.cases]
            others = [other for other in others if other.case_id != case.case_id]
            if self._may_have_tally(case, others):
                self._keep_tally(case, folded, used.get(case.case_id))
            elif case.case_id in tallies:
                self.connection.execute(sa.delete(CaseTally).where(CaseTally.case_id == case.case_id))

    def _may_have_tally(self, case: CaseState, others: Iterable[Any]) -> bool:
        """Return whether a case is long, and no other one is so near that an episode could change hands."""
        gap = timedelta(hours=self.settings.case_gap_hours)
        return self._tally_end(case) > case.first_at and not any(
            case.first_at - gap <= other.last_at and other.first_at <= case.last_at + gap for other in others
        )

    def _tally_end(self, case: CaseState) -> datetime:
        """Return the end of a tally: it follows from the end of the case alone, so it does not tell of single runs."""
        block = TALLY_BINS * timedelta(hours=self.settings.state_period_hours)
        return bin_start(case.last_at, block) - block

    def _keep_tally(self, case: CaseState, folded: Folded, tally: Row[Any] | None) -> None:
        until = self._tally_end(case)
        if tally is not None and tally.until_at == until:
            return
        early = [item for item in folded.bins.get(case.case_id, []) if item.bin_at < until]
        sums = add_up(early, Sums() if tally is None else _sums(tally))
        upsert(self.connection, CaseTally, [{"case_id": case.case_id, "until_at": until, **_columns(sums)}])

    def _tallies(self, cases: Sequence[Row[Any]]) -> dict[str, Row[Any]]:
        query = sa.select(CaseTally).where(CaseTally.case_id.in_([case.case_id for case in cases]))
        return {row.case_id: row for row in self.connection.execute(query)}

    def _tails(self, changed: Mapping[str, datetime]) -> dict[str, _Tail]:
        """Read the last bins of axes, those that begin on the same day together."""
        back = max(2 * (self.settings.debounce_span - 1), 1)
        together: dict[datetime, list[str]] = {}
        for axis_id, first in changed.items():
            together.setdefault(first, []).append(axis_id)
        low: dict[str, datetime] = {}
        for first, axes in together.items():
            query = sa.select(Axis.axis_id, _bins_before(Axis.axis_id, first, back).label("low"))
            low |= {row.axis_id: row.low for row in self.connection.execute(query.where(Axis.axis_id.in_(axes)))}
        by_day: dict[datetime, list[str]] = {}
        for axis_id, at in low.items():
            by_day.setdefault(bin_start(at, LONGEST_BIN), []).append(axis_id)
        rows: dict[str, list[Row[Any]]] = {}
        for axes in by_day.values():
            query = sa.select(*_BIN_COLUMNS).where(
                AxisState.axis_id.in_(axes), AxisState.bin_at >= min(low[axis_id] for axis_id in axes)
            )
            found: Sequence[Any] = self.connection.execute(query.order_by(AxisState.axis_id, AxisState.bin_at)).all()
            for row in found:
                if row.bin_at >= low[row.axis_id]:
                    rows.setdefault(row.axis_id, []).append(row)
        tails = {}
        for axis_id, own in rows.items():
            first = changed[axis_id]
            updated_at = max((row.known_at for row in own if row.bin_at < first), default=LONG_AGO)
            tails[axis_id] = _Tail([_flagged(row) for row in own], first, low[axis_id] == LONG_AGO, updated_at)
        return tails

    def _before(self, axis_id: str, bin_at: datetime) -> datetime:
        """Return the start of the bin from which on it can be decided which bins from `bin_at` on count."""
        back = self.settings.debounce_span - 1
        found = self.connection.scalar(sa.select(_bins_before(axis_id, bin_at, back))) if back else bin_at
        assert found is not None
        return found

    def _read(
        self, axis_id: str, low: datetime, high: datetime | None = None, *, since: datetime | None
    ) -> list[FlaggedBin]:
        query = sa.select(*_BIN_COLUMNS).where(AxisState.axis_id == axis_id, AxisState.bin_at >= low)
        query = query if high is None else query.where(AxisState.bin_at < high)
        bins = [_flagged(row) for row in self.connection.execute(query.order_by(AxisState.bin_at))]
        return [item for item in bins if since is None or item.first_at >= since]


def _bins_before(axis_id: Any, bin_at: datetime, back: int) -> sa.ColumnElement[datetime]:
    """SQL: the start of the bin that is `back` bins before a time; long ago where there are not so many."""
    earlier = sa.orm.aliased(AxisState)
    query = sa.select(earlier.bin_at).where(earlier.axis_id == axis_id, earlier.bin_at < bin_at)
    query = query.order_by(earlier.bin_at.desc()).limit(1).offset(back - 1)
    return sa.func.coalesce(
        query.scalar_subquery(), sa.literal(LONG_AGO, AxisState.bin_at.type), type_=earlier.bin_at.type
    )


def _reached(
    cases: Sequence[Row[Any]], bins: Sequence[FlaggedBin], updated_at: datetime, gap: timedelta
) -> list[Row[Any]]:
    """Return the cases that bins may go to, and those whose bins may change hands, with all cases near to these.

    The latter are near to each other, and have changed since the last time or in it: closed or open decides.
    """

    def near(case: Row[Any]) -> list[Row[Any]]:
        low, high = case.first_at - gap, case.last_at + gap
        return [other for other in cases if other is not case and low <= other.last_at and other.first_at <= high]

    first = min(item.first_at for item in bins)
    reached = [
        case
        for case in cases
        if case.state != CLOSED or case.last_at + gap >= first or (case.changed_at >= updated_at and near(case))
    ]
    for case in reached:
        reached += [other for other in near(case) if other not in reached]
    return reached


def _flagged(row: Row[Any]) -> FlaggedBin:
    flags = tuple(flag_of(flag) for flag in row.flags)
    return FlaggedBin(row.bin_at, row.first_at, row.last_at, _fault(row), flags)


def _fault(row: Row[Any]) -> FaultFigures:
    return FaultFigures(*(getattr(row, name) for name in FAULT_FIGURES))


def _columns(sums: Sums | CaseState) -> dict[str, Any]:
    """Return the columns of a case or a tally."""
    return {name: value for name, value in vars(sums).items() if name != "fault"} | vars(sums.fault)


def _sums(row: Row[Any]) -> Sums:
    return Sums(row.n_bins, row.priority, row.reasons, _fault(row))


def _case_state(row: Row[Any]) -> CaseState:
    return CaseState(
        case_id=row.case_id,
        state=row.state,
        first_at=row.first_at,
        last_at=row.last_at,
        n_bins=row.n_bins,
        priority=row.priority,
        reasons=row.reasons,
        fault=_fault(row),
        closed_priority=row.closed_priority,
        closed_at=row.closed_at,
    )


def _write_case(
    connection: Connection,
    axis_id: str,
    family: str,
    case: CaseState,
    stored: Iterable[Row[Any]],
    happened: str | None,
    as_of: datetime,
) -> None:
    known_at = next((row.known_at for row in stored if row.case_id == case.case_id), as_of)
    row = {"axis_id": axis_id, "family": family, **_columns(case), "known_at": known_at, "changed_at": as_of}
    row |= {"closed_by": None, "snoozed_until": None}
    if case.state == OPEN:
        row |= {"closed_at": None, "closed_priority": None} if happened == "opened" else {}
    kept = ("queue_priority",) if happened else ("queue_priority", "closed_by", "snoozed_until")
    upsert(connection, Case, [row], keep=kept)
    if happened:
        codes = [reason["code"] for reason in case.reasons]
        add_event(connection, case.case_id, SYSTEM, happened, {"reasons": codes, "priority": case.priority}, as_of)
    elif worse := next((what_got_worse(_case_state(old), case) for old in stored if old.case_id == case.case_id), {}):
        add_event(connection, case.case_id, SYSTEM, "changed", worse, as_of)


def _recordings_arrived_since(case: CaseState, bins: list[FlaggedBin]) -> bool:
    """Return whether recordings have arrived since for a case that is only about silence."""
    only_silence = {reason["code"] for reason in case.reasons} == {SILENT}
    return only_silence and any(item.first_at > case.last_at for item in bins)


def _close_silence(connection: Connection, case: CaseState, as_of: datetime) -> None:
    connection.execute(
        sa.update(Case)
        .where(Case.case_id == case.case_id)
        .values(state=CLOSED, closed_at=case.last_at, closed_by=SYSTEM, closed_priority=0.0, changed_at=as_of)
    )
    add_event(connection, case.case_id, SYSTEM, "closed", {"why": "recordings arrive again"}, as_of)
