"""advise: from scores to axis states and cases.

Each axis is one transaction with a lock on its row. Its new scores are read; the bins that they fall into are computed
again from all scores of the champions; its cases are updated from all its bins. So the result does not depend on how
many runs brought the scores, or how late they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from features.quality.quality import Quality
from pipeline.assets.events import replacement_times
from pipeline.base.settings import CaseSettings
from pipeline.cases.audit import open_audits
from pipeline.cases.axis_state import (
    SILENT,
    AxisFigures,
    Flag,
    ScoredWindow,
    Thresholds,
    bin_start,
    combine_channels,
    window_of_row,
    window_without_score,
)
from pipeline.cases.episodes import (
    CLOSED,
    FAMILIES,
    OPEN,
    UNIT_FAMILIES,
    CaseState,
    FlaggedBin,
    find_episodes,
    fold_cases,
    what_got_worse,
)
from pipeline.cases.history import SYSTEM, add_event
from pipeline.cases.queue import refresh_queue
from pipeline.cases.quiet import wake_snoozed
from pipeline.extraction.baselines import site_programs
from pipeline.registry.versions import champions
from pipeline.scoring.levels import read_thresholds, with_programs
from pipeline.scoring.silence import silent_axes, silent_row
from pipeline.store.attribution import extractions, own_baseline, scores
from pipeline.store.database import Store, upsert
from pipeline.store.tables import (
    Axis,
    AxisState,
    Case,
    Extraction,
    Score,
    Scoring,
)


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
    with store.read() as connection:
        named = champions(connection)
        thresholds = read_thresholds(connection, settings, named.values())
        programs = site_programs(connection, as_of=as_of)
        site_of = {row.axis_id: row.site for row in connection.execute(sa.select(Axis.axis_id, Axis.site))}
        pending = connection.scalars(
            sa.select(Scoring.axis_id)
            .where(Scoring.advised.is_(False), Scoring.model_version.in_(named.values()))
            .distinct()
            .order_by(Scoring.axis_id)
        ).all()
        silent = silent_axes(connection, settings, as_of)
        known_silence = sa.select(AxisState.axis_id, AxisState.first_at).where(AxisState.state == SILENT)
        noted = {(row.axis_id, row.first_at) for row in connection.execute(known_silence)}
    report.silent = len(silent)
    silent = {axis: times for axis, times in silent.items() if (axis, times[1]) not in noted}
    axes = sorted({*pending, *silent})
    local = {site: with_programs(thresholds, known) for site, known in programs.items()}
    for done, axis_id in enumerate(axes):
        limits = local.get(site_of[axis_id], thresholds)
        with store.write() as connection:
            _advise_axis(connection, settings, axis_id, limits, silent.get(axis_id), as_of, cases_since, report)
        if on_progress:
            on_progress(done + 1, len(axes))
    report.woken = wake_snoozed(store, as_of=as_of, margin=settings.reopen_margin)
    refresh_queue(store, as_of=as_of)
    return report


def _advise_axis(
    connection: Connection,
    settings: CaseSettings,
    axis_id: str,
    thresholds: dict[str, Thresholds],
    silent: tuple[datetime, datetime] | None,
    as_of: datetime,
    cases_since: datetime | None,
    report: AdviseReport,
) -> None:
    connection.execute(sa.select(Axis.axis_id).where(Axis.axis_id == axis_id).with_for_update())
    pending = connection.execute(
        sa.select(Scoring).where(
            Scoring.axis_id == axis_id, Scoring.advised.is_(False), Scoring.model_version.in_(thresholds)
        )
    ).all()
    period = timedelta(hours=settings.state_period_hours)
    bins = sorted({bin_start(row.started_at, period) for row in pending})
    replaced = replacement_times(connection, axis_id)
    states = []
    for bin_at in bins:
        windows, times = _read_one_unit(connection, axis_id, bin_at, bin_at + period, set(thresholds), replaced)
        if windows:
            figures = combine_channels(windows, thresholds)
            states.append(_state_row(axis_id, bin_at, times, figures, windows, as_of))
    if silent is not None:
        states.append(silent_row(axis_id, silent, period, as_of))
    upsert(connection, AxisState, states)
    recent = [state for state in states if cases_since is None or state["last_at"] >= cases_since]
    report.audits += open_audits(connection, recent, rate=settings.audit_rate, seed=settings.audit_seed, as_of=as_of)
    if pending:
        connection.execute(
            sa.update(Scoring)
            .where(
                Scoring.axis_id == axis_id,
                Scoring.advised.is_(False),
                Scoring.recording_id.in_(sa.bindparam("ids", expanding=True)),
                Scoring.model_version.in_(list(thresholds)),
            )
            .values(advised=True),
            {"ids": sorted({row.recording_id for row in pending})},
        )
    report.axes += 1
    report.bins += len(states)
    _update_cases(connection, settings, axis_id, as_of, cases_since, report, replaced[-1] if replaced else None)


def _read_one_unit(
    connection: Connection,
    axis_id: str,
    start: datetime,
    end: datetime,
    versions: set[str],
    replaced: Sequence[datetime],
) -> tuple[list[ScoredWindow], list[datetime]]:
    """Read a bin. If the unit was replaced within the bin, return only what came from the last unit."""
    for begin in (*(at for at in reversed(replaced) if start < at < end), start):
        windows, times = read_windows(connection, axis_id, begin, end, versions)
        if windows:
            break
    return windows, times


def read_windows(
    connection: Connection, axis_id: str, start: datetime, end: datetime, versions: set[str]
) -> tuple[list[ScoredWindow], list[datetime]]:
    """Return the windows that the champions scored in a bin, and the start time of the recording of each.

    A recording that was too short to score is one window with that verdict. Where the geometry of an axis was
    corrected, only scores with the geometry in force count.
    """
    query = (
        scores(Score)
        .where(
            Score.axis_id == axis_id,
            Score.started_at >= start,
            Score.started_at < end,
            Score.model_version.in_(versions),
        )
        .order_by(Score.started_at, Score.recording_id, Score.start_sample)
    )
    scored = connection.execute(query).all()
    windows = [window_of_row(row) for row in scored]
    times = [row.started_at for row in scored]
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
            Extraction.axis_id == axis_id,
            Extraction.n_windows == 0,
            Scoring.model_version.in_(versions),
            own_baseline(Scoring.baseline_version),
        )
        .order_by(Extraction.started_at, Extraction.recording_id)
    )
    for row in connection.execute(short):
        windows.append(window_without_score(row, Quality.TOO_SHORT))
        times.append(row.started_at)
    return windows, times


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
        **{name: value for name, value in vars(figures).items() if name != "flags"},
        "quality": str(figures.quality),
        "flags": [asdict(flag) for flag in figures.flags],
        "model_versions": sorted({window.model_version for window in windows}),
        "known_at": as_of,
    }


def _update_cases(
    connection: Connection,
    settings: CaseSettings,
    axis_id: str,
    as_of: datetime,
    cases_since: datetime | None,
    report: AdviseReport,
    replaced_at: datetime | None,
) -> None:
    """Update the cases of an axis. Cases of the unit before the last replacement are not reopened."""
    states = connection.execute(
        sa.select(AxisState).where(AxisState.axis_id == axis_id).order_by(AxisState.bin_at)
    ).all()
    bins = [
        FlaggedBin(
            row.bin_at,
            row.first_at,
            row.last_at,
            row.fault_probability,
            row.mode,
            tuple(Flag(**flag) for flag in row.flags),
        )
        for row in states
    ]
    gap, recheck = timedelta(hours=settings.case_gap_hours), timedelta(hours=settings.recheck_after_hours)
    for family in FAMILIES:
        since = replaced_at if family in UNIT_FAMILIES else None
        stored = connection.execute(sa.select(Case).where(Case.axis_id == axis_id, Case.family == family)).all()
        before = {row.case_id: _case_state(row) for row in stored if since is None or row.first_at >= since}
        current = [item for item in bins if since is None or item.first_at >= since]
        episodes = find_episodes(current, family, hits=settings.debounce_hits, span=settings.debounce_span, gap=gap)
        after, happened = fold_cases(
            axis_id,
            family,
            list(before.values()),
            episodes,
            gap=gap,
            margin=settings.reopen_margin,
            recheck=recheck,
            since=since,
        )
        for case in after:
            if cases_since is not None and case.case_id in happened and case.last_at < cases_since:
                report.too_old += 1
                continue
            if case != before.get(case.case_id):
                _write_case(connection, axis_id, family, case, stored, happened.get(case.case_id), as_of)
            report.opened += happened.get(case.case_id) == "opened"
            report.reopened += happened.get(case.case_id) == "reopened"
            if case.state != CLOSED and _recordings_arrived_since(case, bins):
                _close_silence(connection, case, as_of)
                report.closed += 1


def _case_state(row: Row[Any]) -> CaseState:
    return CaseState(
        case_id=row.case_id,
        state=row.state,
        first_at=row.first_at,
        last_at=row.last_at,
        n_bins=row.n_bins,
        priority=row.priority,
        reasons=row.reasons,
        fault_probability=row.fault_probability,
        mode=row.mode,
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
    row = {"axis_id": axis_id, "family": family, **vars(case), "known_at": known_at, "changed_at": as_of}
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
