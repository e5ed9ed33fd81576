"""The demonstration: a simulated fleet from its first log file to a review queue, compared with the truth."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline.accounts import add_user, list_users, set_user
from pipeline.assets import import_assets
from pipeline.base.settings import Settings
from pipeline.base.sources import CONFIG_FILE
from pipeline.evaluation.fleet_truth import judge_fleet
from pipeline.labels.labels import import_labels
from pipeline.registry.versions import list_versions
from pipeline.scoring.references import estimate as estimate_levels
from pipeline.simulation import FleetSettings, simulate
from pipeline.steps import MONITOR
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Label, ReviewEvent
from pipeline.training.train import train_scopes
from pipeline.workplace import Workplace

ACCOUNT = "demo"

Progress = Callable[[str, int, int], None]
"""Called with the name of the step, how much is done, and how much there is."""


@dataclass(frozen=True)
class DemoReport:
    """The results of the demonstration."""

    model: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    truth: dict[str, Any]


def demo_settings(settings: Settings, folder: Path) -> Settings:
    """Return settings that keep all data of the demonstration in its folder, whatever else is configured."""
    return settings.model_copy(update={"home": folder, "database_url": "", "lake_url": "", "landing": Path()})


def keep_own_clock(store: Store, folder: Path, fleet: FleetSettings, *, true_time: datetime) -> dict[str, Any]:
    """Give the demonstration a clock of its own, in the settings file of its folder; return the settings that it has.

    The clock goes on at the end of the recordings, or at the newest act on a case, so that a later run finds no axis
    silent. The session's cookie may go over plain HTTP, as `review serve` answers on this computer.

    Parameters
    ----------
    true_time
        Time of this computer.
    """
    with store.read() as connection:
        newest = connection.scalar(sa.select(sa.func.max(ReviewEvent.at, type_=ReviewEvent.at.type)))
    at = max(_end(fleet), newest or _end(fleet))
    own = {"clock_offset_s": float(round((at - true_time).total_seconds())), "review_secure_cookie": False}
    own["monitor_silent_minutes"] = 0  # no schedule runs
    lines = {"home": str(folder.absolute()), **own}
    text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items())
    (folder / CONFIG_FILE).write_text(f"# written by `axiswatch demo`\n{text}", encoding="utf-8")
    return own


def open_account(store: Store, *, at: datetime) -> str:
    """Let the reviewer `demo` log in, with a new password at each call; return the password."""
    password = secrets.token_urlsafe(9)
    if any(user["name"] == ACCOUNT for user in list_users(store)):
        set_user(store, ACCOUNT, role="reviewer", password=password, disabled=False)
    else:
        add_user(store, ACCOUNT, "reviewer", password, at=at)
    return password


def _end(fleet: FleetSettings) -> datetime:
    return fleet.start + timedelta(days=fleet.days)


def run_demo(settings: Settings, fleet: FleetSettings, *, on_progress: Progress) -> DemoReport:
    """Simulate a fleet, then run every step of a monitoring run at its end; train once before the first score.

    The levels are estimated before advise, as the schedule does daily.

    A second run finds everything done.
    """
    folder = settings.home
    end = _end(fleet)

    def report(step: str) -> Callable[[int, int], None]:
        return lambda done, total: on_progress(step, done, total)

    simulate(folder, fleet, workers=settings.workers, on_progress=report("simulate"))
    store, lake = Store.open(settings.database), Lake(settings.lake)
    import_assets(store, folder / "assets.toml", as_of=fleet.start)
    import_labels(store, folder / "labels.csv", who="simulation")
    place = Workplace(settings, store, lake)
    done: dict[str, dict[str, Any]] = {}
    for step in MONITOR:
        if step.name == "score" and not list_versions(store):
            train_scopes(
                store,
                lake,
                settings,
                as_of=_last_known(store, end),
                on_progress=lambda _, share: on_progress("train", round(100 * share), 100),
            )
        if step.name == "advise":
            estimate_levels(store, lake, settings, as_of=end)
        done[step.name] = step.run(place, end, report(step.name))
    return DemoReport(list_versions(store)[0], done, judge_fleet(store, folder))


def _last_known(store: Store, end: datetime) -> datetime:
    """Return when the last finding before the end became known: the time of the training."""
    with store.read() as connection:
        newest = sa.select(sa.func.max(Label.known_at, type_=Label.known_at.type)).where(Label.known_at <= end)
        return connection.scalar(newest) or end
