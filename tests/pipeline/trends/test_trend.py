"""The trend step on a simulated fleet: what is due, what is written, what it says, and that it says it again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import sqlalchemy as sa

from features.health.baseline import fit_reference
from features.health.health import GROUPS, health_figures, index_of_figures
from features.quality.quality import Quality
from features.settings import feature_names
from features.vibration_velocity import ZONES, velocity_rms
from pipeline.assets import import_assets
from pipeline.base.errors import AxiswatchError, PrerequisiteMissing, SettingsError
from pipeline.base.ids import stable_id
from pipeline.base.quantities import in_own_unit
from pipeline.base.regime import coarser
from pipeline.base.settings import Settings
from pipeline.cases.replacement import replace_unit
from pipeline.extraction.baseline import update_baselines
from pipeline.extraction.extract import extract_due
from pipeline.extraction.in_force import feature_settings
from pipeline.extraction.reading import read_chunk
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.simulation import FleetSettings, simulate
from pipeline.store.database import Store, insert_ignore
from pipeline.store.lake import Lake
from pipeline.store.tables import Axis, Baseline, Extraction, Recording, Trend, TrendChange, TrendPoint, Unit
from pipeline.trends.course import update_trends
from pipeline.trends.view import draw, trends_of

ANY_REGIME = "*|*|*"


def fit_baselines(
    store: Store, lake: Lake, settings: Settings, *, until: datetime, known_at: datetime, regimes: bool = False
) -> int:
    """Fit a baseline of every unit and channel to its good windows up to a time; give their number."""
    with store.read() as connection:
        rows = connection.execute(
            sa.select(Extraction).where(Extraction.started_at < until, Extraction.unit_serial.is_not(None))
        ).all()
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        for regime in {ANY_REGIME, row.regime} if regimes else {ANY_REGIME}:
            key = (row.axis_id, row.unit_serial, row.channel, row.scope, row.feature_version, row.geometry_version)
            groups.setdefault((*key, regime), []).append(row)
    made = []
    for key, members in sorted(groups.items()):
        names = feature_names(feature_settings(settings, key[3].split(":")[0]))
        chunk = read_chunk(lake, members, names, {row.recording_id: None for row in members})
        good = np.array([quality == Quality.OK for quality in chunk.windows["quality"]])
        if good.sum() < 4:
            continue
        reference = fit_reference(chunk.x[good])
        made.append(
            {
                "baseline_version": stable_id(*key, until.isoformat(), length=16),
                **dict(
                    zip(
                        ("axis_id", "unit_serial", "channel", "scope", "feature_version", "geometry_version", "regime"),
                        key,
                        strict=True,
                    )
                ),
                "from_at": min(row.started_at for row in members),
                "to_at": max(row.started_at for row in members),
                "n_recordings": len(members),
                "n_windows": int(good.sum()),
                "median": [None if np.isnan(value) else value for value in reference.median.tolist()],
                "spread": [None if np.isnan(value) else value for value in reference.spread.tolist()],
                "known_at": known_at,
            }
        )
    with store.write() as connection:
        insert_ignore(connection, Baseline, made)
    return len(made)


FLEET = FleetSettings(robots=1, axes=3, days=10, samples=4_096, recordings_per_day=8, seed=3, fault_share=0.7)
END = FLEET.at(FLEET.days)
REFERENCE_END = FLEET.at(4.0)


@pytest.fixture(scope="module")
def fleet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trend")
    simulate(folder, FLEET, workers=1)
    return folder


class Plant:
    """A plant with features and no baselines yet."""

    def __init__(self, store: Store, lake: Lake, settings: Settings) -> None:
        self.store, self.lake, self.settings = store, lake, settings

    def fit(self, **changes: Any) -> int:
        ours = {"until": REFERENCE_END, "known_at": REFERENCE_END} | changes
        return fit_baselines(self.store, self.lake, self.settings, **ours)

    def update(self, as_of: datetime = END) -> dict[str, Any]:
        return update_trends(self.store, self.lake, self.settings, as_of=as_of).as_dict()

    def rows(self, model: Any, *without: str) -> list[dict[str, Any]]:
        with self.store.read() as connection:
            found = connection.execute(sa.select(model).order_by(*model.__table__.primary_key)).all()
        return [{name: value for name, value in row._mapping.items() if name not in without} for row in found]

    def trend_rows(self, *without: str) -> list[list[dict[str, Any]]]:
        return [self.rows(model, *without) for model in (TrendPoint, Trend, TrendChange)]


def make_plant(store: Store, folder: Path, make_settings: Callable[..., Settings]) -> Plant:
    settings = make_settings()
    lake = Lake(settings.lake)
    import_assets(store, folder / "assets.toml", as_of=END)
    limits = Limits(END, max_samples=100_000, max_sampling_rate_hz=1e6, max_shaft_speed_rpm=200_000.0)
    acquire(store, lake, folder / "landing", limits=limits, settled_before=END + timedelta(days=9_999))
    extract_due(store, lake, settings, as_of=END)
    return Plant(store, lake, settings)


@pytest.fixture
def plant(sqlite_store: Store, fleet_folder: Path, make_settings: Callable[..., Settings]) -> Plant:
    return make_plant(sqlite_store, fleet_folder, make_settings)


def test_without_a_baseline_there_is_no_trend_and_the_report_says_so(plant: Plant) -> None:
    report = plant.update()
    with plant.store.read() as connection:
        units = connection.execute(sa.select(Extraction.axis_id, Extraction.unit_serial).distinct()).all()
    assert report["units_without_baseline"] == len(units) >= FLEET.axes
    assert (report["recordings"], report["trends"]) == (0, 0)
    assert plant.trend_rows() == [[], [], []]
    assert trends_of(plant.store, "R01", "A1")["trends"] == []


def test_a_point_is_the_median_of_the_windows_against_the_baseline(plant: Plant) -> None:
    plant.fit()
    report = plant.update()
    points = plant.rows(TrendPoint)
    with plant.store.read() as connection:
        rows = {row.recording_id: row for row in connection.execute(sa.select(Extraction))}
        baselines = {row.baseline_version: row for row in connection.execute(sa.select(Baseline))}
    assert report["recordings"] == len(points) > 100
    names = feature_names(feature_settings(plant.settings, "acceleration"))
    for point in points[::29]:
        row, baseline = rows[point["recording_id"]], baselines[point["baseline_version"]]
        assert (point["unit_serial"], point["channel"]) == (baseline.unit_serial, baseline.channel)
        chunk = read_chunk(plant.lake, [row], names, {row.recording_id: None})
        good = np.array([quality == Quality.OK for quality in chunk.windows["quality"]])
        reference = type(fit_reference(np.zeros((4, 1))))(
            np.array(baseline.median, dtype=float), np.array(baseline.spread, dtype=float)
        )
        if not good.any():
            assert point["health_index"] is None and point["n_windows"] == 0
            continue
        told = health_figures(chunk.x[good], names, reference)
        expected = np.array([np.nanmedian(column) if np.isfinite(column).any() else np.nan for column in told.T])
        stored = np.array([np.nan if point[name] is None else point[name] for name in GROUPS])
        np.testing.assert_allclose(stored, expected)
        assert point["health_index"] == pytest.approx(index_of_figures(expected[None])[0])
    healthy = [p["health_index"] for p in points if p["started_at"] < REFERENCE_END and p["health_index"] is not None]
    assert np.median(healthy) < 1.5


def test_in_one_run_or_in_many_or_again_the_rows_are_the_same(plant: Plant) -> None:
    plant.fit()
    for day in (5, 7, 10):
        plant.update(FLEET.at(day))
    stepwise = plant.trend_rows("known_at")
    exact = plant.trend_rows()
    again = plant.update()
    assert (again["recordings"], again["trends"], again["changes"]) == (0, 0, 0)
    assert plant.trend_rows() == exact
    with plant.store.write() as connection:
        for model in (TrendPoint, Trend, TrendChange):
            connection.execute(sa.delete(model))
    plant.update()
    assert plant.trend_rows("known_at") == stepwise


@pytest.mark.parametrize("killed_in", ["points", "course"])
def test_a_killed_run_is_taken_up(plant: Plant, monkeypatch: pytest.MonkeyPatch, killed_in: str) -> None:
    plant.fit()
    plant.update()
    whole = plant.trend_rows()
    with plant.store.write() as connection:
        for model in (TrendPoint, Trend, TrendChange):
            connection.execute(sa.delete(model))
    monkeypatch.setattr("pipeline.trends.course.PAGE", 50)
    with monkeypatch.context() as patch:
        calls = 0

        def die(*arguments: Any, **keywords: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            return real(*arguments, **keywords)

        name = "pipeline.trends.course._points" if killed_in == "points" else "pipeline.trends.course._course"
        module, _, attribute = name.rpartition(".")
        real = getattr(__import__(module, fromlist=["x"]), attribute)
        patch.setattr(name, die)
        with pytest.raises(KeyboardInterrupt):
            plant.update()
    assert plant.trend_rows() != whole
    plant.update()
    assert plant.trend_rows() == whole


def test_a_late_replacement_takes_its_recordings_out_of_the_old_units_trend(plant: Plant) -> None:
    plant.fit()
    plant.update()
    before = plant.rows(TrendPoint)
    axis = plant.rows(Axis)[0]
    middle = FLEET.at(6)
    with plant.store.write() as connection:
        connection.execute(sa.update(Recording).values(unit_serial=None))  # logs that name no unit
    plant.update()
    assert plant.rows(TrendPoint) == before
    late = END + timedelta(days=1)
    where = {"site": axis["site"], "cell": axis["cell"], "at": middle, "as_of": late, "who": "jo"}
    old = replace_unit(plant.store, axis["robot_id"], axis["axis"], new_serial="SN-NEW", **where)["old_unit_serial"]
    plant.update(late)
    kept = [p for p in before if p["axis_id"] != axis["axis_id"] or p["started_at"] < middle]
    assert plant.rows(TrendPoint) == kept
    assert 0 < len(kept) < len(before)
    ends = [row["to_at"] for row in plant.rows(Trend) if row["unit_serial"] == old]
    assert ends
    assert max(ends) < middle


def test_a_newer_baseline_replaces_the_points_of_its_unit_only_once_it_is_known(plant: Plant) -> None:
    plant.fit()
    plant.update()
    before = plant.trend_rows()
    known_at = END + timedelta(days=1)
    plant.fit(until=FLEET.at(3.0), known_at=known_at)
    assert plant.update(END)["recordings"] == 0
    assert plant.trend_rows() == before
    assert plant.update(known_at)["recordings"] == len(before[0])
    points = plant.rows(TrendPoint)
    assert {point["baselines_at"] for point in points} <= {known_at, REFERENCE_END}
    assert len(points) == len(before[0])
    assert {p["baseline_version"] for p in points}.isdisjoint(p["baseline_version"] for p in before[0])
    assert all(trend["known_at"] == known_at for trend in plant.rows(Trend))
    assert plant.update(known_at)["trends"] == 0


def test_recordings_of_the_future_have_no_points(plant: Plant) -> None:
    plant.fit()
    plant.update()
    times = sorted(point["started_at"] for point in plant.rows(TrendPoint))
    middle = times[len(times) * 3 // 4]
    assert REFERENCE_END < middle < times[-1]
    with plant.store.write() as connection:
        for table in (TrendChange, Trend, TrendPoint):
            connection.execute(sa.delete(table))
    plant.update(middle)
    assert sorted(point["started_at"] for point in plant.rows(TrendPoint)) == [time for time in times if time <= middle]
    assert max(trend["to_at"] for trend in plant.rows(Trend)) <= middle


def test_the_finest_regime_with_a_baseline_is_taken(plant: Plant) -> None:
    plant.fit(regimes=True)
    plant.update()
    with plant.store.read() as connection:
        baselines = {row.baseline_version: row for row in connection.execute(sa.select(Baseline))}
    exact = {(row.axis_id, row.unit_serial, row.channel, row.regime) for row in baselines.values()}
    used = set()
    for point in plant.rows(TrendPoint):
        key = (point["axis_id"], point["unit_serial"], point["channel"])
        regime = baselines[point["baseline_version"]].regime
        used.add(regime == ANY_REGIME)
        assert regime == next(r for r in coarser(point["regime"]) if (*key, r) in exact)
    assert False in used


def test_a_regime_without_any_baseline_gets_an_empty_point_and_is_not_due_again(plant: Plant) -> None:
    plant.fit(regimes=True)
    with plant.store.write() as connection:
        connection.execute(sa.delete(Baseline).where(Baseline.regime == ANY_REGIME))
        first = connection.execute(sa.select(Baseline).order_by(Baseline.regime)).first()
        assert first is not None
        connection.execute(sa.delete(Baseline).where(Baseline.regime == first.regime))
    report = plant.update()
    empty = [point for point in plant.rows(TrendPoint) if point["baseline_version"] == ""]
    assert empty and all(point["health_index"] is None for point in empty)
    assert report["without_index"] >= len(empty)
    assert plant.update()["recordings"] == 0


def test_a_new_unit_starts_a_new_trend(plant: Plant) -> None:
    plant.fit(until=END)
    plant.update()
    points = plant.rows(TrendPoint)
    for trend in plant.rows(Trend):
        mine = [p for p in points if (p["axis_id"], p["unit_serial"]) == (trend["axis_id"], trend["unit_serial"])]
        assert trend["n_recordings"] == len(mine)
        assert (trend["from_at"], trend["to_at"]) == (
            min(p["started_at"] for p in mine),
            max(p["started_at"] for p in mine),
        )


@pytest.fixture
def stepped(
    sqlite_store: Store,
    make_settings: Callable[..., Settings],
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
    landing: Path,
    limits: Limits,
) -> Plant:
    """An axis with a recording an hour: 12 dB louder from hour 60 on, and another unit on it from hour 100 on."""
    rows = []
    for hour in range(120):
        samples = np.array(make_row(hour)["samples"]) * (4.0 if 60 <= hour < 100 else 1.0)
        unit = "SN-1" if hour < 100 else "SN-2"
        rows.append(make_row(hour, samples=samples.astype(np.float32).tolist(), unit_serial=unit))
    write_log(landing / "one.parquet", rows)
    settings = make_settings()
    lake = Lake(settings.lake)
    acquire(sqlite_store, lake, landing, limits=limits, settled_before=END + timedelta(days=9_999))
    extract_due(sqlite_store, lake, settings, as_of=limits.as_of)
    return Plant(sqlite_store, lake, settings)


def test_a_step_of_12_db_is_told_with_its_size_and_its_time(
    stepped: Plant, make_row: Callable[..., dict[str, Any]], as_of: datetime
) -> None:
    hour = {index: make_row(index)["started_at"] for index in (40, 59, 60, 62, 99)}
    stepped.fit(until=hour[40], known_at=hour[40])
    report = stepped.update(as_of)
    assert (report["trends"], report["units_without_baseline"]) == (1, 1)
    (trend,) = stepped.rows(Trend)
    (change,) = stepped.rows(TrendChange)
    assert (change["after_at"], change["changed_at"]) == (hour[59], hour[60])
    assert change["before"] < 1.0
    level = [point["level"] for point in stepped.rows(TrendPoint) if point["started_at"] >= hour[60]]
    assert np.median(level) == pytest.approx(12.0, abs=2.0)
    # Level is the only one of the groups (level, impulsiveness, shape) that has moved.
    assert change["after"] == pytest.approx(12.0, rel=0.2)
    assert trend["unit_serial"] == "SN-1" and trend["to_at"] == hour[99]
    assert trend["alarm_since"] == hour[62]
    assert trend["reference_low"] < trend["reference_high"] < trend["threshold"] < change["after"]
    assert trend["slope_low"] <= trend["slope_per_day"] <= trend["slope_high"]


@pytest.mark.parametrize("named", ["nobody", "the registry"])
def test_a_unit_that_the_log_does_not_name_has_its_trend(
    named: str,
    sqlite_store: Store,
    make_settings: Callable[..., Settings],
    make_row: Callable[..., dict[str, Any]],
    write_log: Callable[..., Path],
    landing: Path,
    limits: Limits,
    as_of: datetime,
) -> None:
    rows = [make_row(hour, unit_serial=None) for hour in range(40)]
    write_log(landing / "one.parquet", rows)
    settings = make_settings(baseline_days=1.0)
    lake = Lake(settings.lake)
    acquire(sqlite_store, lake, landing, limits=limits, settled_before=END + timedelta(days=9_999))
    extract_due(sqlite_store, lake, settings, as_of=limits.as_of)
    if named == "the registry":  # told after extraction: the extraction's own unit_serial is null
        (axis,) = {row["axis_id"] for row in Plant(sqlite_store, lake, settings).rows(Extraction)}
        unit = {"axis_id": axis, "unit_serial": "SN-9", "installed_at": rows[0]["started_at"] - timedelta(days=1)}
        with sqlite_store.write() as connection:
            connection.execute(sa.insert(Unit).values(known_at=as_of, **unit))
    update_baselines(sqlite_store, lake, settings, as_of=as_of)
    plant = Plant(sqlite_store, lake, settings)
    report = plant.update(as_of)
    assert (report["recordings"], report["trends"], report["units_without_baseline"]) == (40, 1, 0)
    assert {row["unit_serial"] for row in plant.rows(Trend)} == {"" if named == "nobody" else "SN-9"}
    assert plant.update(as_of)["recordings"] == 0


def test_a_change_keeps_the_time_at_which_it_was_first_told(
    stepped: Plant, make_row: Callable[..., dict[str, Any]], as_of: datetime
) -> None:
    hours = [make_row(index)["started_at"] for index in range(120)]
    stepped.fit(until=hours[40], known_at=hours[40])
    assert stepped.update(hours[55])["changes"] == 0
    assert stepped.update(hours[97])["changes"] == 1
    stepped.update(as_of)
    (change,) = stepped.rows(TrendChange)
    assert change["known_at"] == hours[97]
    (trend,) = stepped.rows(Trend)
    assert trend["known_at"] == as_of


def test_a_baseline_of_other_features_is_refused(plant: Plant) -> None:
    plant.fit()
    with plant.store.write() as connection:
        connection.execute(sa.update(Baseline).values(median=[0.0, 1.0]))
    with pytest.raises(AxiswatchError, match=r"2 medians.*make the baseline again"):
        plant.update()


def test_rows_are_the_same_on_both_databases(
    store: Store, fleet_folder: Path, make_settings: Callable[..., Settings]
) -> None:
    plant = make_plant(store, fleet_folder, make_settings)
    plant.fit()
    plant.update()
    assert plant.update()["trends"] == 0
    assert len(plant.rows(TrendPoint)) > 100
    with store.read() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(Recording)) >= len(plant.rows(TrendPoint))


def test_what_is_shown(plant: Plant) -> None:
    plant.fit()
    plant.update()
    found = trends_of(plant.store, "R01", "A2")
    assert [trend["channel"] for trend in found["trends"]] == ["acc_x"] * len(found["trends"])
    middle = FLEET.at(5)
    early = trends_of(plant.store, "R01", "A2", to_at=middle)
    late = trends_of(plant.store, "R01", "A2", from_at=middle)
    count = sum(len(trend["points"]) for trend in found["trends"])
    assert sum(len(t["points"]) for t in (*early["trends"], *late["trends"])) == count > 50
    with pytest.raises(SettingsError, match="before"):
        trends_of(plant.store, "R01", "A2", from_at=middle, to_at=middle)
    with pytest.raises(PrerequisiteMissing, match="close to it are plant1/c1/R01/A1"):
        trends_of(plant.store, "R1", "A1")
    with pytest.raises(PrerequisiteMissing, match="no axis other/R01/A1; close to it are plant1/c1/R01/A1"):
        trends_of(plant.store, "R01", "A1", site="other")
    with pytest.raises(PrerequisiteMissing, match="only acc_x"):
        trends_of(plant.store, "R01", "A1", channel="acc_q")


def test_vibration_velocity_is_shown_with_borrowed_limits(plant: Plant) -> None:
    """Each point has the rms from 10 to 1000 Hz of its recording; limits of a standard come only where asked for."""
    plant.fit()
    plant.update()
    found = trends_of(plant.store, "R01", "A2")
    assert found["zones"] is None
    with plant.store.read() as connection:
        query = sa.select(Recording).join(Axis, Axis.axis_id == Recording.axis_id).where(Axis.axis == "A2")
        rows = connection.execute(query).all()
    at = {row.started_at: row for row in rows}
    points = [point for trend in found["trends"] for point in trend["points"]]
    known = [point for point in points if point["velocity_rms_mm_s"] is not None]
    assert len(known) > 50
    row = at[known[0]["started_at"]]
    (_, values), *_ = plant.lake.rows(row.lake_path, [row.lake_row], columns=["samples"])
    samples = in_own_unit(values["samples"].values.to_numpy(), row.quantity, row.unit)
    true = velocity_rms(samples, row.sampling_rate_hz, quantity="acceleration")
    assert known[0]["velocity_rms_mm_s"] == pytest.approx(true)
    lent = trends_of(plant.store, "R01", "A2", group="2 flexible")["zones"]
    assert lent["limits_mm_s"] == [2.3, 4.5, 7.1]
    assert "borrowed from ISO 20816-3, group 2 flexible" in lent["explanation"]
    plain, drawn = draw(found), draw(found | {"zones": lent})
    assert drawn.startswith(b"\x89PNG")
    assert drawn != plain


def test_groups_of_the_setting_are_those_of_the_standard() -> None:
    assert get_args(Settings.model_fields["iso_20816_3"].annotation) == ("", *ZONES)


def test_an_ambiguous_name_asks_for_the_place(plant: Plant) -> None:
    with plant.store.write() as connection:
        axis = connection.execute(sa.select(Axis).where(Axis.robot_id == "R01", Axis.axis == "A1")).one()
        insert_ignore(connection, Axis, [dict(axis._mapping) | {"axis_id": "f" * 16, "cell": "other"}])
    with pytest.raises(SettingsError, match=r"2 axes .*R01/A1.*--cell 'other'"):
        trends_of(plant.store, "R01", "A1")
    assert trends_of(plant.store, "R01", "A1", cell="other")["cell"] == "other"


def test_the_command(stepped: Plant, make_row: Callable[..., dict[str, Any]], as_of: datetime, cli: Any) -> None:
    hour = make_row(40)["started_at"]
    url = str(stepped.store.engine.url)
    empty = cli("trend", "R01", "A1", database_url=url)
    assert (empty.code, "no baseline yet" in empty.out) == (0, True)
    stepped.fit(until=hour, known_at=hour)
    stepped.update(as_of)
    shown = cli("trend", "R01", "A1", "--png", "x.png", database_url=url, iso_20816_3="1 rigid")
    assert "zones A to D: 2.3, 4.5, 7.1 mm/s; limits borrowed from ISO 20816-3" in shown.out
    assert "rose from" in shown.out and "sigmas between 2026-01-07 11:00 and 2026-01-07 12:00 UTC" in shown.out
    assert (cli.home / "x.png").read_bytes().startswith(b"\x89PNG")
    found = cli("trend", "R01", "A1", "--json", "--channel", "acc_x", database_url=url).json()
    (trend,) = found["trends"]
    assert trend["changes"][0]["changed_at"] == "2026-01-07T12:00:00Z"
    assert len(trend["points"]) == 100
    wrong = cli("trend", "R1", "A1", database_url=url)
    assert (wrong.code, "close to it are plant1/c1/R01/A1" in wrong.err) == (3, True)
    assert cli("trend", "R01", "A1", "--from", "yesterday", database_url=url).code == 2
    assert cli("trend", "R01", "A1", "--png", "x.svg", database_url=url).code == 2


def test_the_picture_is_a_png_and_the_same_again(plant: Plant) -> None:
    plant.fit()
    plant.update()
    found = trends_of(plant.store, "R01", "A1")
    picture = draw(found)
    assert picture.startswith(b"\x89PNG") and len(picture) > 10_000
    assert draw(found) == picture
    assert draw({**found, "trends": []}).startswith(b"\x89PNG")
    strange = {**found, "robot_id": "$x_{1", "units": [{**unit, "unit_serial": "$\\bad"} for unit in found["units"]]}
    assert draw(strange).startswith(b"\x89PNG")
