"""Where axiswatch works: its settings, its database and its lake. Opened by commands and by scheduled tasks."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pipeline.base.settings import IntakeSettings, PlaceSettings, Settings
    from pipeline.intake.contract import Limits
    from pipeline.store.database import Store
    from pipeline.store.lake import Lake


@dataclass(frozen=True)
class Workplace:
    """Settings, database and lake of this process.

    Attributes
    ----------
    true_time
        Time of this computer, by which files must have settled; None: the time of the run.
    """

    settings: Settings
    store: Store
    lake: Lake
    true_time: datetime | None = None


def true_now() -> datetime:
    """Return the time of this computer, UTC: the one place that reads its clock."""
    return datetime.now(UTC)


def clock_of(settings: PlaceSettings) -> Callable[[], datetime]:
    """Return the clock by which people and programs work at a place: this computer's, moved by `clock_offset_s`."""
    ahead = timedelta(seconds=settings.clock_offset_s)
    return lambda: true_now() + ahead


def now() -> datetime:
    """Return the time of this moment by the clock of the settings, UTC. Steps take `as_of` instead."""
    from pipeline.base.sources import load_settings

    return clock_of(load_settings())()


BATCH_NICENESS: Final = 10
"""Of the steps: people who review on the same computer do not wait for them (docs/results/security.md has figures)."""


def batch_workplace() -> Workplace:
    """Open the workplace for a step, whose process then gives way to those that people wait for.

    Raises
    ------
    LakeUnavailable
        See `workplace`.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(BATCH_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    return workplace()


def workplace() -> Workplace:
    """Read the settings and open the database (an empty one gets its tables) and the lake.

    Raises
    ------
    LakeUnavailable
        The lake is an empty folder though the database names files: what is written there is hidden by a later mount.
    """
    import sqlalchemy as sa

    from pipeline.base.logs import log_as
    from pipeline.base.sources import load_settings
    from pipeline.store.database import Store
    from pipeline.store.lake import Lake, LakeUnavailable
    from pipeline.store.tables import LakeFile

    settings = load_settings()
    log_as(settings.log_format)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    if lake.is_empty():
        with store.read() as connection:
            if connection.scalar(sa.select(LakeFile.path).limit(1)) is not None:
                raise LakeUnavailable(
                    f"the lake {lake.root} is empty though the database names files in it: mount its disk, or restore "
                    "it from a backup, and run again"
                )
    return Workplace(settings, store, lake)


def opened_store() -> Store:
    """Read the settings and open the database alone: for commands that need no lake, and so none of its libraries."""
    from pipeline.base.sources import load_settings
    from pipeline.store.database import Store

    return Store.open(load_settings().database)


def existing_store() -> Store | None:
    """Open the database alone, as `opened_store` does; None where SQLite's file is not there yet, which stays so."""
    from pipeline.base.sources import load_settings

    kind, _, path = load_settings().database.partition("///")
    return None if kind.startswith("sqlite") and not Path(path).is_file() else opened_store()


def limits_of(settings: IntakeSettings, as_of: datetime) -> Limits:
    """Return the limits of plausible values for acquire."""
    from pipeline.intake.contract import Limits

    return Limits(as_of, settings.max_samples, settings.max_sampling_rate_hz, settings.max_shaft_speed_rpm)
