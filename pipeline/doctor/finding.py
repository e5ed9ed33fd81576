"""What a check is given, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Final

from sqlalchemy.engine import URL, make_url

from pipeline.base.settings import Settings
from pipeline.store.database import Store

GIB: Final = 1024**3

Said = Iterator[tuple[bool, str]]
"""What a check yields: whether it is a fault, and a sentence."""


@dataclass(frozen=True)
class Patient:
    """The installation that is looked at.

    Attributes
    ----------
    at
        The time by the clock of the settings, UTC.
    true_time
        The time of this computer, UTC.
    seconds
        How long one check may take, s.
    config
        The TOML file that was read; empty: none.
    airflow_url, airflow_database
        Address of Airflow and SQLAlchemy URL of its database; empty: Airflow is not configured here.
    """

    settings: Settings
    at: datetime
    true_time: datetime
    seconds: float
    config: str
    airflow_url: str
    airflow_database: str

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is SQLite's."""
        return self.settings.database.startswith("sqlite")

    @cached_property
    def store(self) -> Store:
        """The database; nothing is opened before it is used."""
        return store_of(self.settings.database, self.seconds)


@dataclass(frozen=True)
class Symptom:
    """What one check found: `ok`, `fault`, or `skipped` where it could not look."""

    check: str
    state: str
    text: str


def store_of(url: str, seconds: float) -> Store:
    """Return a database whose connections and queries end in time. Nothing is opened and nothing is made."""
    return Store(bounded(make_url(url), seconds).render_as_string(hide_password=False))


def bounded(url: URL, seconds: float) -> URL:
    """Return the URL with bounds on the time of a connection and a query, where it is PostgreSQL's."""
    if url.get_backend_name() != "postgresql":
        return url
    bounds = {"connect_timeout": str(max(2, round(seconds / 2)))}
    bounds["options"] = f"-c statement_timeout={round(seconds * 800)}"
    return url.update_query_dict({**bounds, **url.query})


def ago(at: datetime, moment: datetime) -> str:
    """Write how long before `at` something was, in the largest unit of which it is at least two.

    >>> from datetime import timedelta, UTC
    >>> ago(datetime(2026, 1, 3, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    '2 days'
    """
    seconds = max(0.0, (at - moment).total_seconds())
    for size, name in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {name}"
    return f"{seconds:.0f} seconds"
