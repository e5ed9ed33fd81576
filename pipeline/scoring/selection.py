"""Which recordings a new champion scores again: the newest days, and the time of open and lately closed cases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from pipeline.base.settings import ScoreSettings
from pipeline.cases.episodes import CLOSED
from pipeline.store.tables import Case, Extraction


@dataclass(frozen=True)
class RescoreSelection:
    """What is scored again: all since `recent_from`; open cases, and closed ones that changed since `closed_from`."""

    recent_from: datetime
    closed_from: datetime

    @classmethod
    def at(cls, settings: ScoreSettings, as_of: datetime) -> RescoreSelection:
        """Return the selection of the settings at a time."""
        recent, closed = timedelta(days=settings.rescore_days), timedelta(days=settings.payback_days)
        return cls(as_of - recent, as_of - closed)

    def parts(self) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
        """SQL: an extraction is recent; an extraction lies in a case. Two queries are faster than one with OR."""
        cases = sa.or_(Case.state != CLOSED, Case.changed_at >= self.closed_from)
        axes = sa.select(Case.axis_id).where(cases)
        in_case = sa.exists().where(
            Case.axis_id == Extraction.axis_id,
            Case.first_at <= Extraction.started_at,
            Case.last_at >= Extraction.started_at,
            cases,
        )
        return Extraction.started_at >= self.recent_from, sa.and_(Extraction.axis_id.in_(axes), in_case)

    def holds(self) -> sa.ColumnElement[bool]:
        """SQL: an extraction is selected."""
        return sa.or_(*self.parts())
