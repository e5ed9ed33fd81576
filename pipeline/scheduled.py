"""The functions that the tasks of a schedule call. Each opens the workplace, does one step of one batch, returns JSON.

`as_of` is the end of the interval that a run stands for. Batches come from a `plan_` function. What a killed task or a
second run has done since then is no longer due and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from functools import wraps
from inspect import signature
from typing import Any, ParamSpec, TypeVar

from pipeline import steps
from pipeline.base.errors import AxiswatchError, SettingsError
from pipeline.base.logs import logged
from pipeline.store.batches import Between, Stretch
from pipeline.workplace import Workplace, batch_workplace, limits_of, true_now

MIB = 1024 * 1024
Json = dict[str, Any]
P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def _open(as_of: datetime | None = None) -> Iterator[Workplace]:
    """Open the workplace for one task, which has a core of its own, and close its connections; in `interval` share one.

    Raises
    ------
    SettingsError
        Retention has deleted what a run for `as_of` needs.
    """
    from pipeline.store.horizon import refuse_pruned

    if (shared := _of_interval.get()) is not None:
        yield shared
        return
    place = batch_workplace()
    try:
        if as_of is not None:
            refuse_pruned(place.store, as_of)
        yield Workplace(place.settings.model_copy(update={"workers": 1}), place.store, place.lake)
    finally:
        place.store.dispose()


_of_interval: ContextVar[Workplace | None] = ContextVar("of_interval", default=None)
"""The workplace that all steps of a small interval share: to open one costs as much as an idle step."""


def _task(function: Callable[P, T]) -> Callable[P, T]:
    """Log the end of a task with its run and its batch (`log_format`)."""

    @wraps(function)
    def run(*given: P.args, **named: P.kwargs) -> T:
        asked = signature(function).bind(*given, **named).arguments
        batch = {name: value for name, value in asked.items() if name not in ("as_of", "started_at")}
        batch |= batch.pop("batch", {})
        with logged(function.__name__, run=asked.get("as_of"), batch=batch) as counted:
            result = function(*given, **named)
            counted |= result if isinstance(result, dict) else {"result": result}
        return result

    return run


@_task
def interval(as_of: datetime, started_at: datetime) -> Json:
    """Do the whole interval where no step has more than one batch of work.

    Parameters
    ----------
    started_at
        The true time, for the webhook.

    Returns
    -------
    dict
        Counts of each step by its name; empty where a step has more than one batch, and nothing was done.

    Raises
    ------
    AxiswatchError
        Several steps failed. The others were done. Where one failed, its own error is raised.
    """
    with _open(as_of) as place:
        token = _of_interval.set(place)
        try:
            return _whole_interval(as_of, started_at)
        finally:
            _of_interval.reset(token)


def _whole_interval(as_of: datetime, started_at: datetime) -> Json:
    files = plan_acquire(as_of)
    if any(len(plan["batches"]) > 1 for plan in (files, plan_extract(as_of), plan_score(as_of))):
        return {}
    reports: Json = {}
    failed: dict[str, Exception] = {}
    works: dict[str, Callable[[], Any]] = {
        "acquire": lambda: total(acquire_batch(names, as_of) for names in files["batches"]),
        "extract": lambda: total(extract_batch(batch, as_of) for batch in plan_extract(as_of)["batches"]),
        "baseline": lambda: baselines(as_of),
        "trend": lambda: trends(as_of),
        "score": lambda: total(score_batch(batch, as_of) for batch in plan_score(as_of)["batches"]),
        "advise": lambda: advise(as_of),
        "deliver": lambda: deliver(started_at),
        "labels": lambda: {"new_labels": new_labels(as_of)},
    }
    for name, work in works.items():
        try:
            reports[name] = work()
        except Exception as error:  # noqa: BLE001, all are raised below
            failed[name] = error
    if len(failed) > 1:
        text = "; ".join(f"{name}: {type(one).__name__}: {one}" for name, one in failed.items())
        raise AxiswatchError(text) from next(iter(failed.values()))
    for one in failed.values():
        raise one
    beat(as_of, started_at)
    return {**reports, "problems": files["problems"]}


@_task
def plan_acquire(as_of: datetime) -> Json:
    """Split the log files that are due into batches; first, rows of the quarantine whose time has come are judged."""
    from pipeline.intake.acquire import plan_landing
    from pipeline.intake.quarantine import judge_due

    with _open(as_of) as place:
        landing = place.settings.landing_zone
        landing.mkdir(parents=True, exist_ok=True)
        size = int(place.settings.batch_mib * MIB)
        _, problems = judge_due(place.store, place.lake, limits_of(place.settings, as_of))
        plan = plan_landing(place.store, landing, as_of=as_of, size=size, most=place.settings.max_batches)
        plan.problems += problems
        return plan.as_dict()


@_task
def acquire_batch(names: Sequence[str], as_of: datetime) -> Json:
    """Take the log files of a batch into the lake."""
    from pipeline.intake.acquire import acquire, decode_names

    with _open(as_of) as place:
        landing = place.settings.landing_zone
        report = acquire(
            place.store,
            place.lake,
            landing,
            limits=limits_of(place.settings, as_of),
            settled_before=as_of - timedelta(seconds=place.settings.settle_seconds),
            only=list(decode_names(names, landing)),
        ).as_dict()
    if report["problems"]:
        raise AxiswatchError("; ".join(report["problems"]))
    return report


@_task
def plan_extract(as_of: datetime, between: Json | None = None) -> Json:
    """Split the recordings without features into batches."""
    from pipeline.extraction.extract import plan_extract as plan

    with _open(as_of) as place:
        batches, recordings, size = plan(
            place.store,
            place.settings,
            as_of=as_of,
            between=_between(between),
            size=int(place.settings.batch_mib * MIB),
            most=place.settings.max_batches,
        )
    batches = [{**batch, "search": between is not None} for batch in batches]
    return {"batches": batches, "recordings": recordings, "size_bytes": size}


@_task
def extract_batch(batch: Json, as_of: datetime) -> Json:
    """Extract the features of a batch of recordings."""
    from pipeline.extraction.extract import extract_due

    with _open(as_of) as place:
        within, search = Stretch.from_dict(batch), bool(batch.get("search"))
        return extract_due(place.store, place.lake, place.settings, as_of=as_of, within=within, search=search).as_dict()


@_task
def baselines(as_of: datetime) -> Json:
    """Write the baselines of units whose first days are over."""
    with _open(as_of) as place:
        return steps.baseline(place, as_of)


@_task
def trends(as_of: datetime) -> Json:
    """Update the trends."""
    with _open(as_of) as place:
        return steps.trend(place, as_of)


@_task
def plan_score(as_of: datetime, between: Json | None = None, model_version: str | None = None) -> Json:
    """Split the recordings without a score into batches, by scope, for the champions or for one model."""
    from pipeline.registry.versions import champions, get_version
    from pipeline.scoring.score import plan_score as plan
    from pipeline.scoring.score import refresh_marks

    with _open(as_of) as place:
        refresh_marks(place.store, place.settings, as_of)
        if model_version:
            named = {str(get_version(place.store, model_version)["scope"]): model_version}
        else:
            with place.store.read() as connection:
                named = champions(connection)
        batches: list[Json] = []
        recordings = windows = 0
        for scope, version in sorted(named.items()):
            left = place.settings.max_batches - len(batches)
            if left < 1:
                break
            new_batches, n_recordings, n_windows = plan(
                place.store,
                scope,
                version,
                as_of=as_of,
                between=_between(between),
                size=place.settings.score_batch_windows,
                most=left,
            )
            named_too = {"scope": scope, "model_version": version, "search": between is not None}
            batches += [{**batch, **named_too} for batch in new_batches]
            recordings += n_recordings
            windows += n_windows
    return {"batches": batches, "recordings": recordings, "windows": windows, "models": named}


@_task
def score_batch(batch: Json, as_of: datetime) -> Json:
    """Score a batch of recordings with the model that the plan named."""
    from pipeline.scoring.score import ScoreReport, score_scope

    report = ScoreReport()
    with _open(as_of) as place:
        score_scope(
            place.store,
            place.lake,
            place.settings,
            batch["scope"],
            batch["model_version"],
            as_of=as_of,
            report=report,
            within=Stretch.from_dict(batch),
            search=bool(batch.get("search")),
        )
    return report.as_dict()


@_task
def advise(as_of: datetime) -> Json:
    """Turn new scores into axis states and cases."""
    with _open(as_of) as place:
        since = as_of - timedelta(days=place.settings.case_max_age_days)
        return steps.advise(place, as_of, cases_since=since)


@_task
def deliver(started_at: datetime) -> Json:
    """Send the webhook the news about cases that it has not got yet. `started_at` is the true time, not the run's."""
    from pipeline.handoff.delivery import deliver as step
    from pipeline.handoff.mail import mailbox

    with _open() as place:
        return step(
            place.store,
            url=place.settings.case_webhook_url,
            secret=place.settings.case_webhook_secret,
            most_attempts=place.settings.case_webhook_attempts,
            box=mailbox(place.settings),
            at=started_at,
        ).as_dict()


def new_labels(as_of: datetime) -> int:
    """Count the labels that no retraining and no watch has used."""
    from pipeline.promotion.decisions import new_labels as count

    with _open(as_of) as place:
        return count(place.store, place.settings, as_of=as_of)


@_task
def watch(as_of: datetime, *, backfill: bool = False) -> Json:
    """Evaluate the triggers of a retraining; return the scopes to retrain, and the reason for each scope."""
    from pipeline.base.ids import utc_text
    from pipeline.promotion.decisions import CONCLUSION
    from pipeline.watch.watch import scopes_to_start
    from pipeline.watch.watch import watch as step

    with _open(as_of) as place:
        rows = step(place.store, place.lake, place.settings, as_of=as_of, by_schedule=True, backfill=backfill)
    started = {} if backfill else scopes_to_start(rows)
    return {
        "as_of": utc_text(as_of),
        "scopes": sorted(started),
        "trigger": "; ".join(dict.fromkeys(started.values())),
        "why": [f"{row['scope']}: {row['reason']}" for row in rows if row["trigger"] == CONCLUSION],
    }


@_task
def scopes_to_train(as_of: datetime, trigger: str, only: Sequence[str] = ()) -> list[str]:
    """Return the scopes that can be trained, of those in `only` (empty: all)."""
    from pipeline.promotion.promotion import scopes_to_train as scopes

    with _open(as_of) as place:
        return scopes(place.store, place.settings, as_of=as_of, trigger=trigger, only=list(only) or None)


@_task
def retrain(scope: str, as_of: datetime, trigger: str) -> Json:
    """Train, judge, promote or not, and store the reason."""
    from pipeline.promotion.promotion import retrain as step

    with _open(as_of) as place:
        return step(place.store, place.lake, place.settings, scope, as_of=as_of, trigger=trigger)


def decisions(as_of: datetime) -> list[Json]:
    """Return the decisions of the retraining of a time as they stand now, by scope."""
    from pipeline.promotion.decisions import decisions_at

    with _open(as_of) as place:
        return decisions_at(place.store, as_of=as_of)


def waiting(as_of: datetime) -> list[str]:
    """Return a paragraph of Markdown for each challenger of a retraining that waits for a person."""
    from pipeline.registry.versions import get_version

    def named(place: Workplace, version: str) -> str:
        model = get_version(place.store, version)
        return f"`{version}` (trained {model['known_at']:%Y-%m-%d %H:%M})"

    lines = []
    for row in decisions(as_of):
        if row["outcome"] == "waiting":
            with _open(as_of) as place:
                new, old = named(place, row["candidate"]), named(place, row["champion"])
            lines.append(f"**{row['scope']}**: {new} in place of {old}. {row['reason']} ([models](/axiswatch/models))")
    return lines


@_task
def answer_waiting(as_of: datetime, answer: Json) -> list[Json]:
    """Promote or refuse the challengers of a retraining as a person said in Airflow.

    `answer` has the choice, the user and the time. Without an answer in time they go on waiting. A challenger that no
    longer waits, because somebody has answered with the command meanwhile, is left as it is.

    Raises
    ------
    AxiswatchError
        A challenger could not be promoted; the others were.
    """
    from pipeline.base.errors import PrerequisiteMissing
    from pipeline.promotion.promotion import approve, refuse

    user = answer.get("responded_by_user")
    if not user:
        print("nobody answered; `axiswatch models approve` and `refuse` still work")
        return []
    told: Json = {
        "who": f"{user.get('name') or user.get('id')} (Airflow)",
        "reason": "asked by the run that trained it",
        "at": datetime.fromisoformat(str(answer["responded_at"])),
    }
    done, failed = [], []
    for row in decisions(as_of):
        if row["outcome"] != "waiting":
            continue
        try:
            with _open(as_of) as place:
                if "Approve" in answer["chosen_options"]:
                    done.append(approve(place.store, place.lake, place.settings, row["candidate"], **told))
                else:
                    done.append(refuse(place.store, row["candidate"], **told))
        except PrerequisiteMissing as error:
            print(f"{row['scope']}: {error}")
        except AxiswatchError as error:
            failed.append(f"{row['scope']}: {error}")
    if failed:
        raise AxiswatchError("; ".join(failed))
    return done


@_task
def plan_rescore(decisions: Iterable[Json], as_of: datetime) -> list[Json]:
    """Split what new champions have to score first into batches; empty if no candidate of the run is champion."""
    from pipeline.promotion.rescore import plan_rescore as plan
    from pipeline.registry.versions import champions

    candidates = {row["candidate"] for row in decisions if row["outcome"] != "unchanged"}
    with _open(as_of) as place:
        with place.store.read() as connection:
            named = champions(connection)
        batches: list[Json] = []
        for scope, version in sorted(named.items()):
            if version in candidates:
                new_batches, _, _ = plan(place.store, place.settings, scope, version, as_of=as_of)
                batches += [{**batch, "scope": scope, "model_version": version} for batch in new_batches]
        return batches[: place.settings.max_batches]


@_task
def rescore_batch(batch: Json, as_of: datetime) -> Json:
    """Score a batch again with the champion in the plan."""
    from pipeline.promotion.rescore import rescore

    with _open(as_of) as place:
        return rescore(
            place.store,
            place.lake,
            place.settings,
            batch["scope"],
            batch["model_version"],
            as_of=as_of,
            within=Stretch.from_dict(batch),
        ).as_dict()


@_task
def estimate_levels(as_of: datetime) -> list[Json]:
    """Estimate the levels of every site; return site, scope and levels in force."""
    from pipeline.scoring.references import estimate

    names = ("site", "scope", "alarm_probability", "review_probability", "held")
    with _open(as_of) as place:
        rows = estimate(place.store, place.lake, place.settings, as_of=as_of)
        return [{name: row[name] for name in names} for row in rows]


@_task
def write_payback(as_of: datetime) -> int:
    """Store the state of closed cases by the champion and by the one before it; return the number of new rows."""
    from pipeline.promotion.payback import write_payback as write

    with _open(as_of) as place:
        return write(place.store, place.settings, as_of=as_of)


def check_backfill(as_of: datetime, from_at: str, to_at: str, model_version: str | None) -> Json:
    """Check the parameters of a backfill and return them.

    Raises
    ------
    SettingsError
        A time cannot be read or has no offset, `to_at` is not after `from_at`, `from_at` is to come, or retention has
        deleted what is asked.
    PrerequisiteMissing
        There is no such model.
    """
    from pipeline.base.ids import read_time, utc_text
    from pipeline.registry.versions import get_version
    from pipeline.store.horizon import refuse_pruned

    times = read_time(from_at, "from_at"), read_time(to_at, "to_at")
    if times[1] <= times[0]:
        raise SettingsError(f"to_at {to_at} is not after from_at {from_at}; nothing lies between them")
    if times[0] >= as_of:
        raise SettingsError(
            f"from_at {from_at} is not before the time of this run, {utc_text(as_of)}: nothing is there"
        )
    with _open() as place:
        refuse_pruned(place.store, times[0], called="from_at")
        if model_version:
            get_version(place.store, model_version)
    return {"from_at": utc_text(times[0]), "to_at": utc_text(times[1])}


def beat(as_of: datetime, started_at: datetime) -> None:
    """Note that a run of the monitor went through all its steps."""
    from pipeline.handoff.heartbeat import beat as note

    with _open(as_of) as place:
        note(place.store, as_of=as_of, at=started_at, webhook_url=place.settings.webhook_url)


@_task
def retain(as_of: datetime) -> Json:
    """Delete what the settings keep no longer; nothing where they keep everything."""
    with _open(as_of) as place:
        return steps.retain(place, as_of)


@_task
def sweep(as_of: datetime) -> int:
    """Delete files of the lake that no row names and that are older than a day; return their number."""
    from pipeline.store.retention import sweep_lake

    with _open(as_of) as place:
        return sweep_lake(place.store, place.lake, older_than=as_of - timedelta(days=1))


def record_failure(failure: Json, known_at: datetime | None) -> str:
    """Store the failure of a task or a run and report it to the webhook; return '', `sent`, or why it was not sent.

    `known_at` is the time of the run; None where Airflow does not say it: the time of now.
    """
    from pipeline.base.sources import load_settings
    from pipeline.handoff.failures import Failure, report_failure

    settings = load_settings()
    told = Failure(**failure, known_at=known_at or true_now())
    return report_failure(told, database=settings.database, webhook_url=settings.webhook_url)


def total(reports: Iterable[Json] | None) -> Json:
    """Add up the counts of batches; values that are not counts are left out."""
    counts: Json = {}
    for report in reports or ():
        for name, value in report.items():
            if isinstance(value, int):
                counts[name] = counts.get(name, 0) + value
    return counts


def _between(period: Json | None) -> Between:
    if not period:
        return Between()
    return Between(datetime.fromisoformat(period["from_at"]), datetime.fromisoformat(period["to_at"]))
