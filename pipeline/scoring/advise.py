"""advise: from scores to axis states and cases.

Some axes are one transaction, with locks on their rows. Their new scores are read; the bins that they fall into are
computed again from all scores of the champions; their cases are brought up to date. The result does not depend on how
many runs brought the scores, or how late they came.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from features.quality.quality import Quality
from pipeline.assets.events import REPLACED, replacement_times
from pipeline.base.settings import CaseSettings
from pipeline.cases.audit import MODEL, model_case, open_audits, open_once
from pipeline.cases.axis_state import (
    WINDOW_COLUMNS,
    AxisFigures,
    ScoredWindow,
    bin_start,
    combine_channels,
    window_of_row,
    window_without_score,
)
from pipeline.cases.keeping import CaseKeeper
from pipeline.cases.ordering import refresh_queue
from pipeline.cases.quiet import wake_snoozed
from pipeline.registry.versions import champions
from pipeline.scoring.levels import PlantThresholds, read_plant_thresholds
from pipeline.scoring.recent import RecentBins
from pipeline.scoring.silence import not_noted, silent_axes, silent_row
from pipeline.store.attribution import extractions, own_baseline, scores
from pipeline.store.database import Store, upsert
from pipeline.store.tables import (
    Axis,
    AxisEvent,
    AxisState,
    Extraction,
    Score,
    Scoring,
)

MOST_AXES: Final = 250
MOST_RECORDINGS: Final = 2000
"""Of one transaction; an axis with more recordings is one by itself."""

MOST_BINS: Final = 200
LONGEST_HOLE: Final = timedelta(days=1)
"""Bins that are read together: at most so many in time, without a longer hole between two of them."""

Silence = tuple[datetime, datetime]
"""Time of the last recording, and when the axis became silent."""


@dataclass
class AdviseReport:
    """Counts of one run of advise."""

    axes: int = 0
    bins: int = 0
    opened: int = 0
    reopened: int = 0
    closed: int = 0
    silent: int = 0
    audits: int = 0
    too_old: int = 0
    woken: int = 0

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


def advise(
    store: Store,
    settings: CaseSettings,
    *,
    as_of: datetime,
    cases_since: datetime | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AdviseReport:
    """Turn the scores that no axis state contains yet into axis states and cases, and look for silent axes.

    Parameters
    ----------
    cases_since
        An axis that was last flagged before this time opens and reopens no case, but is counted; None: age does not
        matter, as when somebody imports an archive by hand.
    """
    report = AdviseReport()
    period = timedelta(hours=settings.state_period_hours)
    with store.read() as connection:
        named = champions(connection)
        first = sa.func.min(Scoring.started_at, type_=Scoring.started_at.type)
        waiting = sa.select(Scoring.axis_id, first.label("first_at"), sa.func.count().label("number"))
        waiting = waiting.where(Scoring.advised.is_(False), Scoring.model_version.in_(named.values()))
        pending = connection.execute(waiting.group_by(Scoring.axis_id)).all()
        thresholds = read_plant_thresholds(connection, settings, list(named.values()), as_of=as_of)
        silent = silent_axes(connection, settings, as_of)
        report.silent = len(silent)
        silent = not_noted(connection, silent)
    queue = {axis: (bin_start(times[1], period), 0) for axis, times in silent.items()}
    queue |= {row.axis_id: (bin_start(row.first_at, period), row.number) for row in pending}
    run = _Run(settings, thresholds, silent, as_of, cases_since, report)
    work = _together(queue)
    done = 0
    for axes in work:  # it grows: axes that another run holds are added, each alone
        with store.write() as connection:
            held = _hold(connection, axes)
            run.advise(connection, held)
        work += [[axis] for axis in axes if axis not in held]
        done += len(held)
        if on_progress:
            on_progress(done, len(queue))
    report.woken = wake_snoozed(store, as_of=as_of, margin=settings.reopen_margin)
    refresh_queue(store, as_of=as_of)
    return report


def _together(queue: Mapping[str, tuple[datetime, int]]) -> list[list[str]]:
    """Divide axes, each with its first bin and its number of recordings, into transactions; like bins together."""
    work: list[list[str]] = []
    room = 0
    for axis in sorted(queue, key=lambda axis: (queue[axis][0], axis)):
        room -= queue[axis][1]
        if not work or room < 0 or len(work[-1]) == MOST_AXES:
            work.append([])
            room = MOST_RECORDINGS - queue[axis][1]
        work[-1].append(axis)
    return work


def _hold(connection: Connection, axes: Sequence[str]) -> list[str]:
    """Lock axes until the transaction ends, and return them. One alone is waited for; of several, those that are free.

    Who holds several and waits for one more could wait for ever. What only refers to an axis is not kept waiting.
    """
    query = sa.select(Axis.axis_id).where(Axis.axis_id.in_(axes)).order_by(Axis.axis_id)
    return list(connection.scalars(query.with_for_update(key_share=True, skip_locked=len(axes) > 1)))


@dataclass(frozen=True)
class _Run:
    """A run of advise: what holds for all of its transactions."""

    settings: CaseSettings
    thresholds: PlantThresholds
    silent: Mapping[str, Silence]
    as_of: datetime
    cases_since: datetime | None
    report: AdviseReport

    def advise(self, connection: Connection, axes: Sequence[str]) -> None:
        """Bring the states and cases of axes up to date; the caller holds their locks and commits."""
        settings, report = self.settings, self.report
        period = timedelta(hours=settings.state_period_hours)
        pending = connection.execute(
            sa.select(*_MARK, Scoring.axis_id, Scoring.started_at).where(
                Scoring.axis_id.in_(axes), Scoring.advised.is_(False), Scoring.model_version.in_(self.thresholds.shared)
            )
        ).all()
        bins: dict[str, set[datetime]] = {}
        for row in pending:
            bins.setdefault(row.axis_id, set()).add(bin_start(row.started_at, period))
        replaced = _replacements(connection, axes)
        states = list(self._states(connection, bins, replaced))
        states += [silent_row(axis, self.silent[axis], period, self.as_of) for axis in axes if axis in self.silent]
        upsert(connection, AxisState, states)
        recent = [state for state in states if self.cases_since is None or state["last_at"] >= self.cases_since]
        report.audits += open_audits(
            connection, recent, rate=settings.audit_rate, seed=settings.audit_seed, as_of=self.as_of
        )
        self._report_models(connection, recent)
        if pending:
            marks = [{f"b_{column.name}": getattr(row, column.name) for column in _MARK} for row in pending]
            same = [column == sa.bindparam(f"b_{column.name}") for column in _MARK]
            connection.execute(sa.update(Scoring).where(*same).values(advised=True), marks)
        report.axes += len(axes)
        report.bins += len(states)
        changed: dict[str, datetime] = {}
        for state in states:
            changed[state["axis_id"]] = min(state["bin_at"], changed.get(state["axis_id"], state["bin_at"]))
        keeper = CaseKeeper(connection, settings, self.as_of, self.cases_since)
        keeper.update(changed, {axis: times[-1] for axis, times in replaced.items() if times})
        for name, number in keeper.told.items():
            setattr(report, name, getattr(report, name) + number)

    def _report_models(self, connection: Connection, states: Sequence[dict[str, Any]]) -> None:
        """Open one case for each model that tells nothing, on the first axis that it scores."""
        for version, limits in self.thresholds.shared.items():
            if not limits.tells_nothing:
                continue
            for state in states:
                if version in state["model_versions"]:
                    case = model_case(state, version, limits.tells_nothing, as_of=self.as_of)
                    self.report.opened += open_once(connection, case, {"reasons": [MODEL]}, as_of=self.as_of)
                    break

    def _states(
        self, connection: Connection, bins: Mapping[str, Collection[datetime]], replaced: Mapping[str, list[datetime]]
    ) -> Iterator[dict[str, Any]]:
        """Compute the states of bins and of those after them that look back at them.

        What lies at the same time on several axes is read at once.
        """
        if not bins:
            return
        period = timedelta(hours=self.settings.state_period_hours)
        recent = RecentBins(connection, self.settings, bins, replaced)
        limits = self.thresholds.of_axes(connection, list(bins))
        axes_of: dict[tuple[datetime, datetime], list[str]] = {}
        for axis, starts in bins.items():
            for stretch in _stretches(sorted(recent.looking_back(axis, starts)), period):
                axes_of.setdefault(stretch, []).append(axis)
        for (start, end), axes in sorted(axes_of.items()):
            found: dict[tuple[str, datetime], list[_At]] = {}
            for axis, at, window in _read(connection, axes, start, end, self.thresholds.shared):
                found.setdefault((axis, bin_start(at, period)), []).append((at, window))
            for (axis, bin_at), members in sorted(found.items(), key=lambda item: item[0]):
                if recent.is_due(axis, bin_at):
                    own = _of_last_unit(members, bin_at, replaced.get(axis, []))
                    times, windows = [at for at, _ in own], [window for _, window in own]
                    figures = combine_channels(windows, limits[axis].at(bin_at), recent.before(axis, bin_at))
                    recent.add(axis, bin_at, figures.fault_probability)
                    yield _state_row(axis, bin_at, times, figures, windows, self.as_of)


_MARK = list(Scoring.__table__.primary_key)
_At = tuple[datetime, ScoredWindow]


def _replacements(connection: Connection, axes: Sequence[str]) -> dict[str, list[datetime]]:
    """Return the times of replacements of those axes that have had any."""
    query = sa.select(AxisEvent.axis_id).where(AxisEvent.axis_id.in_(axes), AxisEvent.kind == REPLACED).distinct()
    return {axis: replacement_times(connection, axis) for axis in connection.scalars(query)}


def _stretches(bins: Sequence[datetime], period: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """Join bins that follow each other without a long hole: start of the first, end of the last."""
    start = last = None
    for at in bins:
        if start is not None and last is not None and (at - last > LONGEST_HOLE or at - start >= MOST_BINS * period):
            yield start, last + period
            start = None
        start, last = start or at, at
    if start is not None and last is not None:
        yield start, last + period


def _of_last_unit(members: list[_At], bin_at: datetime, replaced: Sequence[datetime]) -> list[_At]:
    """Return what is in a bin. If the unit was replaced within the bin, only what came from the last unit."""
    for begin in reversed(replaced):
        if begin > bin_at and (own := [member for member in members if member[0] >= begin]):
            return own
    return members


def read_windows(
    connection: Connection, axis_id: str, start: datetime, end: datetime, versions: Collection[str]
) -> list[ScoredWindow]:
    """Return the windows that the champions scored on an axis in a time."""
    return [window for _, _, window in _read(connection, [axis_id], start, end, versions)]


def _read(
    connection: Connection, axes: Sequence[str], start: datetime, end: datetime, versions: Collection[str]
) -> Iterator[tuple[str, datetime, ScoredWindow]]:
    """Read the windows that the champions scored on axes in a time: axis, start of the recording, window.

    A recording that was too short to score is one window with that verdict; such windows come last. Where the geometry
    of an axis was corrected, only scores with the geometry in force count.
    """
    query = (
        scores(Score.axis_id, Score.started_at, *(getattr(Score, name) for name in WINDOW_COLUMNS))
        .where(
            Score.axis_id.in_(axes),
            Score.started_at >= start,
            Score.started_at < end,
            Score.model_version.in_(versions),
        )
        .order_by(Score.started_at, Score.recording_id, Score.start_sample)
    )
    for row in connection.execute(query):
        yield row.axis_id, row.started_at, window_of_row(row)
    short = (
        extractions(Extraction, Scoring.model_version, span=(start, end))
        .join(
            Scoring,
            sa.and_(
                Scoring.recording_id == Extraction.recording_id,
                Scoring.feature_version == Extraction.feature_version,
                Scoring.geometry_version == Extraction.geometry_version,
            ),
        )
        .where(
            Extraction.axis_id.in_(axes),
            Extraction.n_windows == 0,
            Scoring.model_version.in_(versions),
            own_baseline(Scoring.baseline_version),
        )
        .order_by(Extraction.started_at, Extraction.recording_id)
    )
    for row in connection.execute(short):
        yield row.axis_id, row.started_at, window_without_score(row, Quality.TOO_SHORT)


def _state_row(
    axis_id: str,
    bin_at: datetime,
    times: list[datetime],
    figures: AxisFigures,
    windows: list[ScoredWindow],
    as_of: datetime,
) -> dict[str, Any]:
    return {
        "axis_id": axis_id,
        "bin_at": bin_at,
        "first_at": min(times),
        "last_at": max(times),
        **{name: value for name, value in vars(figures).items() if name != "fault"},
        **vars(figures.fault),
        "quality": str(figures.quality),
        "flags": [flag.row() for flag in figures.flags],
        "model_versions": sorted({window.model_version for window in windows}),
        "known_at": as_of,
    }
