"""The steps of a monitoring run, in order: the one list that the command line, the demonstration and `evaluate` use.

Every step takes the workplace and the time of the run, and may be run again. The schedule runs the three heavy ones in
batches (`pipeline.scheduled`); a test compares its tasks with this list. A step imports what it needs when it runs, so
that `axiswatch --help` stays fast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pipeline.workplace import Workplace, limits_of

Progress = Callable[[int, int], None]
"""Called with the amount done and the total."""


@dataclass(frozen=True)
class Step:
    """One step: its name, and the function that runs it and returns its counts by name."""

    name: str
    run: Callable[[Workplace, datetime, Progress | None], dict[str, Any]]


def acquire(place: Workplace, as_of: datetime, on_progress: Progress | None = None) -> dict[str, Any]:
    """Take new log files from the landing zone into the lake."""
    from pipeline.intake.acquire import acquire as take_in

    landing = place.settings.landing_zone
    landing.mkdir(parents=True, exist_ok=True)
    settled_before = (place.true_time or as_of) - timedelta(seconds=place.settings.settle_seconds)
    return take_in(
        place.store,
        place.lake,
        landing,
        limits=limits_of(place.settings, as_of),
        settled_before=settled_before,
        on_progress=on_progress,
    ).as_dict()


def extract(place: Workplace, as_of: datetime, on_progress: Progress | None = None) -> dict[str, Any]:
    """Extract the features of every recording that has none."""
    from pipeline.extraction.extract import extract_due

    return extract_due(place.store, place.lake, place.settings, as_of=as_of, on_progress=on_progress).as_dict()


def baseline(place: Workplace, as_of: datetime, on_progress: Progress | None = None) -> dict[str, Any]:
    """Write the baselines of units whose first days are over."""
    from pipeline.extraction.baseline import update_baselines

    del on_progress
    return update_baselines(place.store, place.lake, place.settings, as_of=as_of).as_dict()


def trend(place: Workplace, as_of: datetime, on_progress: Progress | None = None) -> dict[str, Any]:
    """Update the health of every unit over time."""
    from pipeline.trends.course import update_trends

    return update_trends(place.store, place.lake, place.settings, as_of=as_of, on_progress=on_progress).as_dict()


def score(place: Workplace, as_of: datetime, on_progress: Progress | None = None) -> dict[str, Any]:
    """Score every window that is due with the champion of its scope."""
    from pipeline.scoring.score import score_due

    return score_due(place.store, place.lake, place.settings, as_of=as_of, on_progress=on_progress).as_dict()


def advise(
    place: Workplace,
    as_of: datetime,
    on_progress: Progress | None = None,
    *,
    cases_since: datetime | None = None,
) -> dict[str, Any]:
    """Turn new scores into axis states and cases, store the evidence of new cases, and recall what they look like.

    Parameters
    ----------
    cases_since
        An axis that was last flagged before this time opens no case; None: age does not matter.
    """
    from pipeline.cases.evidence import note_evidence
    from pipeline.cases.remembering import remember
    from pipeline.scoring.advise import advise as take_in

    report = take_in(place.store, place.settings, as_of=as_of, cases_since=cases_since, on_progress=on_progress)
    note_evidence(place.store, place.lake, place.settings, as_of=as_of)
    remember(place.store, weights=place.settings.memory_weights, as_of=as_of)
    return report.as_dict()


MONITOR: tuple[Step, ...] = (
    Step("acquire", acquire),
    Step("extract", extract),
    Step("baseline", baseline),
    Step("trend", trend),
    Step("score", score),
    Step("advise", advise),
)
"""The steps of a monitoring run, in order."""


DELETED = (("data", "recordings"), ("data", "states"), ("scores", "scorings"))
"""Counts of retention that say whether much was deleted from the database."""


def retain(place: Workplace, as_of: datetime, *, dry_run: bool = False) -> dict[str, dict[str, Any]]:
    """Delete what the settings keep no longer: old data, scores of former champions, other models, log files.

    Returns
    -------
    dict
        Counts by what was asked for: `data`, `scores`, `models`, `landing`; empty where the settings keep everything.
        `database`: what became of its size, where anything was deleted.
    """
    from pipeline.intake.prune import prune_landing
    from pipeline.registry.registry import prune_models
    from pipeline.registry.versions import superseded
    from pipeline.store.retention import PRUNED, apply_retention, prune_scores

    settings = place.settings
    reports: dict[str, dict[str, Any]] = {}
    if settings.retention_months:
        gap = timedelta(hours=settings.case_gap_hours)
        data = apply_retention(place.store, place.lake, settings, case_gap=gap, as_of=as_of, dry_run=dry_run)
        reports["data"] = data.as_dict()
    if settings.superseded_days:
        before = as_of - timedelta(days=settings.superseded_days)
        versions = superseded(place.store, before)
        reports["scores"] = prune_scores(place.store, versions, as_of=as_of, dry_run=dry_run).as_dict()
        models = prune_models(place.store, place.lake, before, as_of=as_of, dry_run=dry_run)
        reports["models"] = {"deleted": models}
    if settings.landing_keep_days:
        landed = prune_landing(
            place.store,
            settings.landing_zone,
            before=as_of - timedelta(days=settings.landing_keep_days),
            archive=settings.landing_archive,
            dry_run=dry_run,
        )
        reports["landing"] = landed.as_dict()
    deleted = [reports.get(name, {}).get(count) for name, count in DELETED]
    if not dry_run and any(deleted):
        reports["database"] = place.store.reclaim(PRUNED)
    return reports
