"""Long series: a course that is continued from what is stored is that of all points, whatever came when."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.base.settings import Settings
from pipeline.extraction.in_force import feature_versions
from pipeline.store import due
from pipeline.store.database import Store, insert_ignore, upsert
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Baseline, Trend, TrendChange, TrendPoint
from pipeline.trends.course import update_trends
from pipeline.trends.series import WINDOW, _settled

ANY_REGIME = "*|*|*"
START = datetime(2026, 1, 5, tzinfo=UTC)
END = START + timedelta(days=10)

LONG = 420
"""Points of a long series, one in 25 minutes: 7 days, so that a day boundary is crossed some times."""


class LongSeries:
    """A series without recordings: points are written and marked as the trend step does it."""

    def __init__(self, store: Store, make_settings: Callable[..., Settings], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.store, self.settings = store, make_settings()
        self.version = feature_versions(self.settings)["acceleration"]
        level = np.where(np.arange(LONG) >= 200, 9.0, 1.0) + np.where(np.arange(LONG) >= 330, 6.0 * (seed % 2), 0.0)
        self.values: list[float | None] = [float(value) for value in level + 0.5 * rng.standard_normal(LONG)]
        for index in rng.integers(60, LONG - 1, 30):
            self.values[index] = None
        self.rng = rng

    def at(self, index: int) -> datetime:
        return START + timedelta(minutes=25 * index)

    def baseline(self, known_at: datetime, name: str = "b1", until: int = 60) -> None:
        with self.store.write() as connection:
            axis = {"axis_id": "a" * 16, "site": "s", "cell": "c", "robot_id": "R01", "axis": "A1", "known_at": END}
            insert_ignore(connection, Axis, [axis])
            row = {"baseline_version": name, "axis_id": "a" * 16, "unit_serial": "SN-1", "channel": "acc_x"}
            row |= {"regime": ANY_REGIME, "scope": "acceleration", "feature_version": self.version, "n_windows": 9}
            row |= {"geometry_version": "none", "from_at": self.at(0), "to_at": self.at(until), "n_recordings": 9}
            insert_ignore(connection, Baseline, [{**row, "median": [], "spread": [], "known_at": known_at}])

    def write(self, *indices: int, baseline: str = "b1", baselines_at: datetime | None = None) -> None:
        with self.store.write() as connection:
            rows = [
                {"recording_id": f"r{index:05d}", "feature_version": self.version, "geometry_version": "none"}
                | {"axis_id": "a" * 16, "unit_serial": "SN-1", "channel": "acc_x", "started_at": self.at(index)}
                | {"regime": ANY_REGIME, "baseline_version": baseline, "baselines_at": baselines_at or self.at(61)}
                | {"n_windows": 1, "health_index": self.values[index], "known_at": self.at(index)}
                for index in indices
            ]
            upsert(connection, TrendPoint, rows)
            key = ("a" * 16, "SN-1", "acc_x", self.version)
            due.mark_courses(connection, {key: min(self.at(index) for index in indices)}, str(indices))

    def delete(self, first: int) -> None:
        with self.store.write() as connection:
            connection.execute(sa.delete(TrendPoint).where(TrendPoint.started_at >= self.at(first)))
            due.mark_courses(connection, {("a" * 16, "SN-1", "acc_x", self.version): self.at(first)}, f"-{first}")

    def update(self, as_of: datetime) -> dict[str, Any]:
        return update_trends(self.store, Lake(self.settings.lake), self.settings, as_of=as_of).as_dict()

    def rows(self) -> list[Any]:
        """Trend and change points; the times of knowing left out."""
        found: list[Any] = []
        with self.store.read() as connection:
            for model in (Trend, TrendChange):
                for row in connection.execute(sa.select(model).order_by(*model.__table__.primary_key)):
                    found.append({name: value for name, value in row._mapping.items() if name != "known_at"})
        return found

    def anew(self) -> list[Any]:
        """The same, computed as a whole."""
        with self.store.write() as connection:
            for model in (Trend, TrendChange):
                connection.execute(sa.delete(model))
        assert self.update(END)["trends"] == 1
        return self.rows()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_long_series_is_continued_to_the_rows_of_the_whole(
    store: Store, make_settings: Callable[..., Settings], seed: int
) -> None:
    """Points come alone or some at once, late before and after the day boundary; and the newest are taken back."""
    series = LongSeries(store, make_settings, seed)
    series.baseline(series.at(61))
    late, later = 130, 395
    series.write(*(index for index in range(300) if index != late))
    series.update(END)
    waiting = [index for index in range(300, LONG) if index != later]
    while waiting:
        count = int(series.rng.integers(1, 4))
        series.write(*waiting[:count], *([later] if waiting[0] in range(398, 401) else []))
        del waiting[:count]
        assert series.update(END)["trends"] == 1
        if series.rng.random() < 0.2:
            continued = series.rows()
            assert continued == series.anew()
    (trend, *changes) = continued = series.rows()
    assert trend["course_at"] is not None
    assert trend["alarm_since"] is not None
    assert len(changes) == 1 + seed % 2
    assert continued == series.anew()
    series.write(late)
    series.update(END)
    assert series.rows()[0]["n_recordings"] == LONG
    assert series.rows() == series.anew()
    assert series.update(END)["trends"] == 0
    series.delete(LONG - 80)
    series.update(END)
    assert series.rows()[0]["n_recordings"] == LONG - 80
    assert series.rows() == series.anew()


def test_a_new_point_of_a_long_series_reads_no_more_than_the_last_ones(
    store: Store, make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    series = LongSeries(store, make_settings, 1)
    series.baseline(series.at(61))
    series.write(*range(340))
    series.update(END)
    (trend, *_) = series.rows()
    monkeypatch.setattr("pipeline.trends.course.whole", lambda *_: pytest.fail("computed as a whole"))
    day = timedelta(days=1)
    within = next(index for index in range(340, LONG) if trend["course_at"] + day > series.at(index))
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.trends.series._shape", lambda *_: pytest.fail("within a day"))
        series.write(within)
        series.update(END)
    assert series.rows()[0]["course_at"] == trend["course_at"]
    series.write(within + 58)
    series.update(END)
    assert series.rows()[0]["course_at"] == trend["course_at"] + day


def test_a_point_whose_baseline_ends_later_moves_the_rule(store: Store, make_settings: Callable[..., Settings]) -> None:
    series = LongSeries(store, make_settings, 1)
    series.baseline(series.at(61))
    series.baseline(series.at(61), "b2", until=120)
    series.write(*range(400))
    series.update(END)
    assert series.rows()[0]["reference_to_at"] == series.at(60)
    series.write(400, baseline="b2")
    series.update(END)
    assert series.rows()[0]["reference_to_at"] == series.at(120)
    assert series.rows() == series.anew()


def test_a_baseline_that_becomes_known_is_asked_for_once(store: Store, make_settings: Callable[..., Settings]) -> None:
    """Also where it changes no point: here there is no recording that it fits."""
    series = LongSeries(store, make_settings, 1)
    series.baseline(series.at(61))
    series.write(*range(300))
    series.update(END)
    series.baseline(END, "b2")
    assert series.update(END)["trends"] == 1
    assert series.update(END)["trends"] == 0
    (trend, *_) = series.rows()
    assert trend["baselines_at"] == END
    series.write(300)
    early = END - timedelta(days=1)
    assert series.update(early)["trends"] == 1, "a run in the past, when the baseline was not known"
    assert series.rows()[0]["baselines_at"] == series.at(61)
    assert series.update(END)["trends"] == 1, "so the points have to be looked at again"
    assert series.update(END)["trends"] == 0


def test_change_points_of_the_older_half_of_the_window_are_settled() -> None:
    times = [START + timedelta(hours=hour) for hour in range(WINDOW)]

    def at(*hours: int) -> dict[datetime, dict[str, Any]]:
        return {START + timedelta(hours=hour): {"found": name} for hour, name in zip(hours, "abc", strict=False)}

    def settled(told: dict[datetime, Any], found: dict[datetime, Any]) -> list[int]:
        return sorted(round((time - START) / timedelta(hours=1)) for time in _settled(times, told, found))

    assert settled(at(-900, 100), at(300)) == [-900, 100, 300], "older ones stay"
    assert settled(at(100), at(40, 300)) == [100, 300], "what the context alone shows is not new"
    assert settled(at(251, 400), at(249, 402)) == [249, 402], "it has moved over the middle and is not lost"
    assert settled(at(248), at(252, 402)) == [248, 402], "it has moved the other way and is not there twice"
    assert _settled(times[1:], at(100), at(300)) == at(300), "a window that is not full holds the whole series"
