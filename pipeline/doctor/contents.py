"""What the rows say: clock, champions, work that waits, quarantine, cases, and the last run."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from pipeline.doctor.finding import Patient, Said, ago
from pipeline.extraction.in_force import feature_version_of, feature_versions
from pipeline.handoff.heartbeat import silence
from pipeline.intake.acquire import AcquireReport, unseen_files, walk
from pipeline.registry.versions import champions
from pipeline.store import due
from pipeline.store.tables import (
    Axis,
    Case,
    CaseWork,
    DueWork,
    Extraction,
    Heartbeat,
    LandingEntry,
    LogFile,
    ModelVersion,
    QuarantineRow,
    Recording,
    TaskFailure,
)

CLOCK_S = 30.0
"""Difference between two clocks that is a fault, s."""

LATE = timedelta(hours=24)
"""Work that waits for longer is a fault."""

UNTAKEN = timedelta(hours=1)
"""A log file that waits for longer is a fault: the monitor runs every ten minutes."""

OLD_CASE = timedelta(days=30)
"""An open case for which nobody did anything for longer is a fault."""


def clock(patient: Patient) -> Said:
    """Compare this computer's clock with the database's, and look for times after it."""
    with patient.store.read() as connection:
        if not patient.is_sqlite:
            there = connection.scalar(sa.text("SELECT clock_timestamp()"))
            behind = (there - patient.true_time).total_seconds() if there is not None else 0.0
            if abs(behind) > CLOCK_S + patient.seconds:
                yield True, f"the database's clock is {behind:+.0f} s from this computer's; set both by NTP"
        newest = Recording.started_at.desc()
        by_clock = Recording.time_basis == "clock"
        columns = (Recording.started_at, Recording.axis_id, Recording.known_at)
        row = connection.execute(sa.select(*columns).where(by_clock).order_by(newest).limit(1)).one_or_none()
        known = connection.scalar(sa.select(sa.func.max(LogFile.known_at, type_=LogFile.known_at.type)))
    limit = patient.at + timedelta(seconds=CLOCK_S)
    late = [] if row is None else [("the newest recording starts", row.started_at)]
    late += [] if known is None else [("the newest log file was taken", known)]
    for what, moment in late:
        if moment > limit:
            yield (
                True,
                f"{what} at {moment:%Y-%m-%d %H:%M} UTC, which is after now ({patient.at:%Y-%m-%d %H:%M}); set this "
                "computer's clock by NTP",
            )
    yield (
        False,
        f"{patient.at:%Y-%m-%d %H:%M:%S} UTC"
        + ("" if row is None else f"; the newest recording is {ago(patient.at, row.started_at)} old"),
    )


def champion(patient: Patient) -> Said:
    """Say which model is in force for each scope, and why a scope is not scored."""
    versions = sorted(set(feature_versions(patient.settings).values()))
    with patient.store.read() as connection:
        seen = connection.scalars(
            sa.select(Extraction.scope).where(Extraction.feature_version.in_(versions)).distinct()
        )
        scopes = set(seen)
        named = champions(connection)
        rows = connection.execute(sa.select(ModelVersion.model_version, ModelVersion.feature_version))
        made_for = {row.model_version: row.feature_version for row in rows}
    for scope in sorted(scopes | set(named)):
        version = named.get(scope)
        if version is None:
            yield True, f"scope {scope} has features and no champion, so nothing of it is scored; `axiswatch train`"
        elif version not in made_for:
            yield True, f"the champion of scope {scope} is {version}, which is no model; `axiswatch models promote`"
        elif made_for[version] != feature_version_of(patient.settings, scope):
            yield (
                True,
                f"the champion of scope {scope}, {version}, needs other features than the settings extract, so "
                "nothing new is scored; set them back, or `axiswatch train` and promote",
            )
        else:
            yield False, f"{scope}: {version}"


def backlog(patient: Patient) -> Said:
    """Count what waits for each step, and name the oldest; marks that no step takes (no champion) are left out."""
    with patient.store.read() as connection:
        models = sa.select(ModelVersion.scope, ModelVersion.feature_version).where(
            ModelVersion.model_version.in_(champions(connection).values())
        )
        scored = {(row.scope, row.feature_version) for row in connection.execute(models)}
        columns = (DueWork.step, DueWork.scope, DueWork.version)
        oldest = sa.func.min(DueWork.at, type_=DueWork.at.type)
        query = sa.select(*columns, sa.func.count(), oldest).where(DueWork.at <= patient.at).group_by(*columns)
        marks = connection.execute(query).all()
    for step, scope, version, count, at in sorted(marks, key=lambda row: row[:3]):
        if step == due.SCORE and (scope, version) not in scored:
            continue
        text = f"{step}: {count} wait, the oldest of {at:%Y-%m-%d %H:%M} UTC"
        if patient.at - at > LATE:
            yield True, f"{text}; `axiswatch run`, or see why the schedule does not"
        else:
            yield False, text
    if not marks:
        yield False, "nothing waits"


def landing(patient: Patient) -> Said:
    """Count the log files that no run has taken."""
    folder = patient.settings.landing_zone
    if not folder.is_dir():
        yield True, f"there is no landing zone {folder}; make it, mount it, or set `landing`"
        return
    files, problems = walk(folder)
    waiting = unseen_files(patient.store, files, AcquireReport())
    if waiting:
        oldest = min(file.modified_ns for file in waiting) / 1e9
        age = timedelta(seconds=patient.true_time.timestamp() - oldest)
        text = f"{len(waiting)} of {len(files)} log files were not taken, the oldest is of"
        text = f"{text} {patient.true_time - age:%Y-%m-%d %H:%M} UTC"
        yield age > UNTAKEN, f"{text}; `axiswatch run`, or see why the schedule does not" if age > UNTAKEN else text
    else:
        yield False, f"all {len(files)} log files were taken"
    if problems:
        more = f" (and {len(problems) - 1} more like it)" if len(problems) > 1 else ""
        yield True, problems[0] + more
    with patient.store.read() as connection:
        killers = connection.scalars(sa.select(LandingEntry.path).where(LandingEntry.tries > 0).limit(1)).first()
    if killers is not None:
        yield True, f"a run ended while it read {killers}; look at that file, and run `axiswatch acquire`"


def quarantine(patient: Patient) -> Said:
    """Count what is in quarantine, and what should have been judged again by now."""
    is_open = QuarantineRow.state == "open"
    late = (is_open, QuarantineRow.due_at <= patient.at - LATE)
    count = sa.select(sa.func.count()).select_from(QuarantineRow)
    with patient.store.read() as connection:
        total = connection.scalar(count.where(is_open)) or 0
        waits = connection.scalar(count.where(is_open, QuarantineRow.due_at > patient.at)) or 0
        overdue = connection.scalar(count.where(*late)) or 0
    yield False, f"{total} rows or files" + (f", {waits} of them judged again later" if waits else "")
    if overdue:
        yield True, f"{overdue} rows should have been judged again a day ago; `axiswatch acquire`"


def cases(patient: Patient) -> Said:
    """Name the open case that has waited longest."""
    touched = sa.func.max(CaseWork.known_at, type_=CaseWork.known_at.type)
    worked = sa.select(touched).where(CaseWork.case_id == Case.case_id).scalar_subquery()
    columns = (Case.case_id, Case.known_at, worked.label("worked"), Axis.robot_id, Axis.axis)
    query = sa.select(*columns).join(Axis, Axis.axis_id == Case.axis_id).where(Case.state == "open")
    with patient.store.read() as connection:
        rows = connection.execute(query.order_by(Case.known_at)).all()
    if not rows:
        yield False, "no case is open"
        return
    old = [row for row in rows if patient.at - max(row.known_at, row.worked or row.known_at) > OLD_CASE]
    first = (old or rows)[0]
    text = f"{len(rows)} are open, the oldest ({first.case_id}, {first.robot_id}/{first.axis}) for"
    text = f"{text} {ago(patient.at, first.known_at)}"
    if old:
        yield True, f"{text}; {len(old)} had no answer for {OLD_CASE.days} days: `axiswatch queue`"
    else:
        yield False, text


def runs(patient: Patient) -> Said:
    """Say when a run of the schedule last ended well and took something, and which task failed after that."""
    with patient.store.read() as connection:
        taken = connection.scalar(sa.select(sa.func.max(LogFile.known_at, type_=LogFile.known_at.type)))
        query = sa.select(TaskFailure).order_by(TaskFailure.known_at.desc(), TaskFailure.task_id).limit(1)
        failed = connection.execute(query).one_or_none()
        last = connection.execute(sa.select(Heartbeat).where(Heartbeat.as_of.is_not(None))).one_or_none()
    minutes = patient.settings.monitor_silent_minutes
    if last is not None and (quiet := silence(dict(last._mapping), minutes, at=patient.true_time)):
        yield True, quiet
    if taken is None:
        yield True, "no run has taken a log file yet; `axiswatch run`"
    elif patient.at - taken > LATE:
        yield (
            True,
            f"no log file was taken for {ago(patient.at, taken)}; see whether the robots write, and whether the "
            "schedule runs",
        )
    else:
        yield False, f"a log file was last taken {ago(patient.at, taken)} ago"
    if failed is not None and (taken is None or failed.known_at >= taken):
        yield (
            True,
            f"task {failed.dag_id}.{failed.task_id} failed for good at {failed.known_at:%Y-%m-%d %H:%M} UTC and "
            "nothing was taken since; `axiswatch failures`",
        )
