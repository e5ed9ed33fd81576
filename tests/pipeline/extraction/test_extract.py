"""The extract step: what is due, what its features depend on, and that nothing else changes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

import pipeline.extraction.extract
from features.kinematics import Orders, geometry_version
from features.settings import feature_names
from pipeline.assets import import_assets
from pipeline.base.quantities import STANDARD_GRAVITY_M_S2
from pipeline.base.settings import Settings
from pipeline.cases.replacement import replace_unit
from pipeline.extraction.extract import ExtractReport, _pages, extract_due, plan_extract, refresh_marks
from pipeline.extraction.in_force import feature_settings, feature_versions
from pipeline.extraction.reading import WINDOW_COLUMNS
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.store import due
from pipeline.store.batches import Between, Stretch
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import DueWork, Extraction

MakeRow = Callable[..., dict[str, Any]]
MakeSettings = Callable[..., Settings]
START = datetime(2026, 1, 5, tzinfo=UTC)
LATE = START + timedelta(days=999)
Found = dict[tuple[str, str, str], tuple[dict[str, Any], str]]


@pytest.fixture
def feed(
    store: Store, lake: Lake, landing: Path, limits: Limits, write_log: Callable[..., Path]
) -> Callable[..., None]:
    """Put rows into the landing zone and acquire them."""

    def run(*rows: dict[str, Any], into: tuple[Store, Lake] | None = None) -> None:
        write_log(landing / f"{len(list(landing.iterdir()))}.parquet", rows)
        target, there = into or (store, lake)
        report = acquire(target, there, landing, limits=limits, settled_before=limits.as_of)
        assert report.recordings == len(rows)

    return run


@pytest.fixture
def extract(store: Store, lake: Lake, make_settings: MakeSettings, as_of: datetime) -> Callable[..., ExtractReport]:
    def run(**options: Any) -> ExtractReport:
        given = {"as_of": options.pop("as_of", as_of), "on_progress": options.pop("on_progress", None)}
        return extract_due(store, lake, make_settings(lake_url=lake.root, **options), **given)

    return run


@pytest.fixture
def assets(store: Store, tmp_path: Path, as_of: datetime) -> Callable[..., None]:
    """Import units of R01/A1 as (serial, geometry's bpfo or None, installed, removed)."""

    def run(*units: tuple[str, float | None, datetime, datetime | None]) -> None:
        text = "version = 1\n"
        for serial, bpfo, installed, removed in units:
            text += f'[geometry.g{serial}]\nbpfo = {bpfo}\nsource = "x"\n' if bpfo is not None else ""
            text += '[[unit]]\nsite = "plant1"\ncell = "c1"\nrobot_id = "R01"\naxis = "A1"\n'
            text += f'unit_serial = "{serial}"\ninstalled_at = {installed.isoformat()}\n'
            text += f'geometry = "g{serial}"\n' if bpfo is not None else ""
            text += f"removed_at = {removed.isoformat()}\n" if removed is not None else ""
        (tmp_path / "assets.toml").write_text(text, encoding="utf-8")
        import_assets(store, tmp_path / "assets.toml", as_of=as_of)

    return run


def version_of(bpfo: float) -> str:
    return geometry_version(Orders(bpfo=bpfo))


def read(store: Store, lake: Lake) -> Found:
    """Extraction rows and their windows, without the place in the lake."""
    found = {}
    with store.read() as connection:
        rows = connection.execute(sa.select(Extraction).order_by(Extraction.started_at)).all()
    for row in rows:
        told = dict(row._mapping)
        path, first = told.pop("lake_path"), told.pop("lake_row")
        windows = [] if path is None else lake.table(path).slice(first, row.n_windows).to_pylist()
        assert len(windows) == row.n_windows
        assert {window["recording_id"] for window in windows} <= {row.recording_id}
        found[row.recording_id, row.feature_version, row.geometry_version] = (told, repr(windows))
    return found


def windows_of(store: Store, lake: Lake) -> list[list[dict[str, Any]]]:
    with store.read() as connection:
        rows = connection.execute(sa.select(Extraction).order_by(Extraction.started_at)).all()
    return [
        [] if row.lake_path is None else lake.table(row.lake_path).slice(row.lake_row, row.n_windows).to_pylist()
        for row in rows
    ]


# ------------------------------------------------------------------------------------------------- what is due


def test_due_once(store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow) -> None:
    feed(make_row(1), make_row(2))
    first = extract()
    assert (first.recordings, first.windows, first.by_quality) == (2, 2, {"ok": 2})
    before, files = read(store, lake), sorted(lake.fs.find(lake.root))
    assert extract().recordings == 0
    feed(make_row(0))
    assert extract().recordings == 1, "a late recording is due"
    after = read(store, lake)
    assert {key: after[key] for key in before} == before
    assert set(files) < set(lake.fs.find(lake.root))


def test_nothing_later_than_as_of_is_looked_at(store: Store, feed: Any, extract: Any, make_row: MakeRow) -> None:
    feed(make_row(1), make_row(5))
    assert extract(as_of=START + timedelta(hours=5) - timedelta(microseconds=1)).recordings == 1
    assert extract(as_of=START + timedelta(hours=5)).recordings == 1


def test_other_feature_settings_make_everything_due_again(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow
) -> None:
    feed(make_row(1, samples=[0.1, -0.1] * 4_096))
    extract(window_turns=10.0)
    assert extract(window_turns=10.0, hidden=(4,), regime_load_bin=0.5).recordings == 0, "not a setting of features"
    assert extract(window_turns=5.0).recordings == 1
    old, new = sorted(row["n_windows"] for row, _ in read(store, lake).values())
    assert new > old


def test_geometry_of_the_asset_makes_it_due_again(
    store: Store, lake: Lake, feed: Any, extract: Any, assets: Any, make_row: MakeRow
) -> None:
    feed(make_row(1, samples=np.random.default_rng(1).normal(size=25_600).tolist()))
    assert extract().recordings == 1
    assets(("SN-1", None, START - timedelta(days=9), None))
    assert extract().recordings == 0, "a unit without geometry changes no feature"
    assets(("SN-1", 3.58, START - timedelta(days=9), None))
    assert extract().recordings == 1
    assert extract().recordings == 0
    assets(("SN-1", 4.11, START - timedelta(days=9), None))
    assert extract().recordings == 1
    found = read(store, lake)
    assert {key[2] for key in found} == {"none", version_of(3.58), version_of(4.11)}
    assert len({windows for _, windows in found.values()}) == 3, "the lines lie elsewhere"
    assets(("SN-1", 3.58, START - timedelta(days=9), None))
    assert extract().recordings == 0, "back to a geometry that is there already"


def test_unit_is_the_one_on_the_axis_at_that_time(
    store: Store, lake: Lake, feed: Any, extract: Any, assets: Any, make_row: MakeRow
) -> None:
    change = START + timedelta(hours=2)
    assets(
        ("SN-A", 3.58, START + timedelta(hours=1), change),
        ("SN-B", 4.11, change, START + timedelta(hours=3)),
    )
    feed(*(make_row(hour, unit_serial=None) for hour in range(4)), make_row(2, channel="acc_y", unit_serial="SN-LOG"))
    extract()
    rows = [row for row, _ in read(store, lake).values()]
    told = {(row["started_at"], row["channel"]): (row["unit_serial"], row["geometry_version"]) for row in rows}
    hours = [told[START + timedelta(hours=hour), "acc_x"] for hour in range(4)]
    assert hours == [(None, "none"), ("SN-A", version_of(3.58)), ("SN-B", version_of(4.11)), (None, "none")]
    assert told[change, "acc_y"] == ("SN-LOG", version_of(4.11)), "the log knows its unit better than the registry"


def test_a_replacement_that_is_registered_late_makes_due_what_came_since(
    store: Store, lake: Lake, feed: Any, extract: Any, assets: Any, make_row: MakeRow, as_of: datetime
) -> None:
    assets(
        ("SN-A", 3.58, START - timedelta(days=9), None),
        ("SN-B", 4.11, START - timedelta(days=20), START - timedelta(days=10)),
    )
    samples = np.random.default_rng(1).normal(size=25_600).tolist()
    feed(*(make_row(hour, unit_serial=None, samples=samples) for hour in range(4)))
    assert extract().recordings == 4
    told = {"at": START + timedelta(hours=2), "as_of": as_of, "who": "jo"}
    replace_unit(store, "R01", "A1", new_serial="SN-C", geometry="gSN-B", **told)
    assert extract().recordings == 2
    assert extract().recordings == 0
    rows = [row for row, _ in read(store, lake).values()]
    found = sorted((row["started_at"], row["geometry_version"], row["unit_serial"]) for row in rows)
    hours = [START + timedelta(hours=hour) for hour in range(4)]
    old, new = version_of(3.58), version_of(4.11)
    assert [row for row in found if row[0] < hours[2]] == [(at, old, "SN-A") for at in hours[:2]]
    assert {row for row in found if row[0] >= hours[2]} == {
        (at, version, unit) for at in hours[2:] for version, unit in ((old, "SN-A"), (new, "SN-C"))
    }


def test_assets_imported_while_extract_runs_are_not_half_taken(
    store: Store, lake: Lake, feed: Any, extract: Any, assets: Any, make_row: MakeRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A geometry that comes in the middle of a run: no features under its version that were made without it."""
    samples = np.random.default_rng(1).normal(size=25_600).tolist()
    feed(*(make_row(hour, samples=samples) for hour in range(3)))
    monkeypatch.setattr(pipeline.extraction.extract, "PAGE", 1)

    def meanwhile(done: int, _: int) -> None:
        if done == 1:
            assets(("SN-1", 3.58, START - timedelta(days=9), None))

    extract(on_progress=meanwhile)
    windows = {key[2]: [] for key in read(store, lake)}
    for key, (_, told) in read(store, lake).items():
        windows[key[2]].append(told.replace(key[0], "recording"))
    assert len(windows[version_of(3.58)]) == 3
    assert len(set(windows[version_of(3.58)])) == 1, "equal signals, equal features"
    assert set(windows[version_of(3.58)]).isdisjoint(windows["none"])


# ----------------------------------------------------------------------------------------------- the features


def test_too_short_recordings_are_told_and_not_scored(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow
) -> None:
    current = {"quantity": "motor_current", "unit": "A"}
    feed(
        make_row(1, samples=[0.1, -0.1] * 255),
        make_row(2, samples=np.random.default_rng(1).normal(size=512).tolist()),
        make_row(3, **current, samples=[0.1] * 63),
        make_row(4, **current, samples=np.random.default_rng(1).normal(size=64).tolist()),
    )
    report = extract()
    assert (report.recordings, report.windows, report.by_quality["too_short"]) == (4, 2, 2)
    rows = [row for row, _ in read(store, lake).values()]
    assert [(row["quality"], row["n_windows"]) for row in rows][0::2] == [("too_short", 0), ("too_short", 0)]
    assert [row["evidence"] for row in rows][0::2] == ["510 samples", "63 samples"]
    assert [row["n_windows"] for row in rows][1::2] == [1, 1]
    assert extract().recordings == 0


def test_quantities_have_scopes_and_versions_of_their_own(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow
) -> None:
    feed(
        make_row(1),
        make_row(2, unit="raw"),
        make_row(3, quantity="motor_current", unit="A"),
        make_row(4, quantity="motor_current", unit="raw"),
    )
    assert extract(min_samples_acceleration=512, min_samples_other=64).recordings == 4
    rows = [row for row, _ in read(store, lake).values()]
    assert [row["scope"] for row in rows] == ["acceleration", "acceleration:raw", "motor_current", "motor_current:raw"]
    assert len({row["feature_version"] for row in rows}) == 2
    assert extract(min_samples_acceleration=256, min_samples_other=64).recordings == 2


def test_acceleration_in_g_becomes_metres_per_second_squared(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow
) -> None:
    """The rms of a sine of 1 g is 9.80665 / sqrt(2) m/s2; a signal whose unit nobody knows stays as it is."""
    time = np.arange(12_800) / 12_800.0
    sine = np.sin(2 * np.pi * 200.0 * time) + 1e-4 * np.random.default_rng(1).normal(size=time.size)
    feed(
        make_row(1, samples=sine.tolist()),
        make_row(2, samples=(STANDARD_GRAVITY_M_S2 * sine).tolist(), unit="m/s2"),
        make_row(3, samples=sine.tolist(), unit="raw"),
    )
    extract()
    in_g, metric, raw = (10.0 ** windows[0]["rms_log10"] for windows in windows_of(store, lake))
    assert in_g == pytest.approx(9.80665 / np.sqrt(2), rel=3e-4)
    assert metric == pytest.approx(in_g, rel=1e-5)
    assert raw == pytest.approx(1 / np.sqrt(2), rel=3e-4)


def test_a_signal_too_large_for_its_unit_is_a_bad_signal(
    store: Store, feed: Any, extract: Any, make_row: MakeRow, recwarn: pytest.WarningsRecorder
) -> None:
    huge = [3e38 * (-1) ** index for index in range(2_048)]
    feed(make_row(1, samples=huge), make_row(2))
    extract()
    with store.read() as connection:
        rows = connection.execute(sa.select(Extraction.quality, Extraction.evidence).order_by(Extraction.started_at))
        assert [tuple(row) for row in rows] == [("non_finite", "too large to be held in m/s2"), ("ok", "")]
    assert not [warning for warning in recwarn if "overflow" in str(warning.message)]


def test_regime_and_windows_are_told(store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow) -> None:
    samples = np.random.default_rng(1).normal(size=12_800 * 3).tolist()
    feed(make_row(1, samples=samples, shaft_speed_rpm=1_510.0, load=0.6), make_row(2, program=None, load=None))
    extract(window_turns=25.0, regime_speed_bin_rpm=100.0, regime_load_bin=0.25)
    (first, _), (second, _) = read(store, lake).values()
    assert first["regime"] == "pick|1500|0.5"
    assert second["regime"] == "?|1500|?"
    windows = windows_of(store, lake)[0]
    assert len(windows) == first["n_windows"] == 3
    (length,) = {window["n_window_samples"] for window in windows}
    assert [window["start_sample"] for window in windows] == [0, length, 2 * length]
    assert length == pytest.approx(25 * 60 / 1_510 * 12_800, rel=0.05)
    assert all(window["turns_covered"] == pytest.approx(length / 12_800 * 1_510 / 60) for window in windows)


def test_columns_of_a_feature_file_are_those_of_the_features(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow, make_settings: MakeSettings
) -> None:
    feed(make_row(1))
    extract()
    names = feature_names(feature_settings(make_settings(), "acceleration"))
    assert tuple(windows_of(store, lake)[0][0]) == (*WINDOW_COLUMNS, *names)


# ----------------------------------------------------------------------------------- the same, however it is run


@pytest.fixture
def mixed(make_row: MakeRow) -> list[dict[str, Any]]:
    """Recordings of two quantities and several lengths on three axes, in no order."""
    rng = np.random.default_rng(5)
    kinds = [{}, {"quantity": "motor_current", "unit": "A"}, {"unit": "m/s2", "shaft_speed_rpm": None}, {"unit": "raw"}]
    rows = []
    for number in rng.permutation(60):
        length = int(rng.choice([300, 700, 3_000, 20_000]))
        signal = rng.normal(size=length).tolist()
        rows.append(make_row(int(number), axis=f"A{number % 3}", samples=signal, **kinds[number % 4]))
    return rows


def test_workers_and_chunks_change_no_bit(
    store: Store, lake: Lake, feed: Any, extract: Any, mixed: list[dict[str, Any]], tmp_path: Path,
    make_settings: MakeSettings, as_of: datetime, limits: Limits, landing: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    feed(*mixed)
    extract(workers=1)
    wanted = read(store, lake)
    assert len(wanted) == 60
    others = [
        {"workers": 2},
        {"workers": 1, "extract_chunk_samples": 1},
        {"workers": 1, "extract_chunk_samples": 70_000},
    ]
    for number, options in enumerate(others):
        other = Store.open(f"sqlite:///{tmp_path / f'other{number}.db'}")
        there = Lake(str(tmp_path / f"lake{number}"))
        acquire(other, there, landing, limits=limits, settled_before=as_of)
        with monkeypatch.context() as patch:
            if number == 2:
                patch.setattr(pipeline.extraction.extract, "PAGE", 7)
            extract_due(other, there, make_settings(lake_url=there.root, **options), as_of=as_of)
        assert read(other, there) == wanted
        other.dispose()


def test_two_runs_in_turns_give_what_one_gives(
    store: Store, lake: Lake, feed: Any, extract: Any, mixed: list[dict[str, Any]], tmp_path: Path,
    make_settings: MakeSettings, as_of: datetime, limits: Limits, landing: Path,
) -> None:  # fmt: skip
    """The second run starts while the first has committed half, and finishes before it: what is read next as well."""
    feed(*mixed)
    nested = []

    def overtake(done: int, _: int) -> None:
        if done >= 20 and not nested:
            nested.append(extract(extract_chunk_samples=30_000).recordings)
            with store.write() as connection:
                connection.execute(sa.delete(DueWork))

    report = extract(extract_chunk_samples=50_000, on_progress=overtake)
    assert nested
    assert [waiting(store, step) for step in (due.BASELINE, due.TREND, due.SCORE)] == [[]] * 3, "worked off already"
    assert report.recordings >= 20
    single = Store.open(f"sqlite:///{tmp_path / 'single.db'}")
    there = Lake(str(tmp_path / "single"))
    acquire(single, there, landing, limits=limits, settled_before=as_of)
    extract_due(single, there, make_settings(lake_url=there.root), as_of=as_of)
    assert read(store, lake) == read(single, there)
    single.dispose()


def test_missing_signal_file_says_so(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow, dump: Callable[[Store], Any]
) -> None:
    feed(make_row(1))
    (row,) = dump(store)["recordings"]
    lake.remove(row["lake_path"])
    with pytest.raises(pipeline.store.lake.LakeError, match="restore it from a backup"):
        extract()
    assert dump(store)["extractions"] == []


# ------------------------------------------------------------------------------------------------ speed traces


def test_a_speed_trace_gives_orders_where_the_speed_is_not_steady(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow
) -> None:
    rate, seconds = 12_800.0, 6.0
    time = np.arange(round(rate * seconds)) / rate
    turns = 15 * time + 2.5 * time**2  # 900 to 2,700 rpm
    mesh = (np.sin(2 * np.pi * 2 * turns) + 0.05 * np.random.default_rng(0).normal(size=time.size)).tolist()
    trace = np.linspace(900.0, 2700.0, 61).tolist()
    common = {
        "samples": mesh,
        "sampling_rate_hz": rate,
        "shaft_speed_rpm": 1800.0,
        "speed_is_steady": None,
        "quantity": "acceleration",
        "unit": "g",
    }
    traced = {"speed_trace_rpm": trace, "speed_trace_rate_hz": 10.0}
    stops = {"speed_trace_rpm": [0.0, *trace[1:]], "speed_trace_rate_hz": 10.0}
    feed(
        make_row(1, **common | traced),
        make_row(2, **common),
        make_row(3, **common | stops),
        make_row(4, **common | traced | {"rate_basis": "assumed"}),
    )
    extract()
    tracked, blind, stopped, assumed = windows_of(store, lake)
    assert [round(window["turns_covered"]) for window in tracked] == [30] * 6
    assert all(np.isfinite(window["ses_white_shaft_1x_db"]) and window["tsa_share"] > 0.9 for window in tracked)
    lengths = [window["n_window_samples"] for window in tracked]
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > 1.5 * lengths[-1]
    starts = [window["start_sample"] for window in tracked]
    assert np.interp(starts, np.arange(time.size), turns) == pytest.approx(30 * np.arange(6), abs=0.5)
    # In g, as the rest: the rms of the window's own samples.
    first = np.asarray(mesh[starts[0] : starts[0] + lengths[0]])
    assert tracked[0]["rms_log10"] == pytest.approx(np.log10(first.std() * STANDARD_GRAVITY_M_S2), abs=0.02)
    for windows in (blind, stopped, assumed):
        assert windows and all(np.isnan(window["ses_white_shaft_1x_db"]) for window in windows)
        assert all(np.isnan(window["turns_covered"]) for window in windows)


def test_a_speed_that_is_declared_steady_is_taken_as_declared(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow
) -> None:
    samples = np.random.default_rng(0).normal(size=60_000).tolist()
    common = {"samples": samples, "shaft_speed_rpm": 1800.0, "speed_is_steady": True}
    feed(
        make_row(1, **common, speed_trace_rpm=np.linspace(900.0, 2700.0, 61).tolist(), speed_trace_rate_hz=10.0),
        make_row(2, **common),
    )
    extract()
    first, second = windows_of(store, lake)
    ids = {"recording_id"}
    assert repr([{k: v for k, v in w.items() if k not in ids} for w in first]) == repr(
        [{k: v for k, v in w.items() if k not in ids} for w in second]
    )


# ------------------------------------------------------------------------------------------------- marks


def waiting(store: Store, step: str) -> list[str]:
    with store.read() as connection:
        found = sa.select(DueWork.subject).where(DueWork.step == step).order_by(DueWork.at)
        return list(connection.scalars(found))


def test_features_are_marked_for_the_steps_that_read_them_and_the_recording_no_more(
    store: Store, feed: Any, extract: Any, make_row: MakeRow
) -> None:
    feed(make_row(1), make_row(2))
    recordings = waiting(store, due.EXTRACT)
    assert len(recordings) == 2
    extract()
    assert waiting(store, due.EXTRACT) == []
    assert waiting(store, due.TREND) == waiting(store, due.SCORE) == recordings
    assert len(waiting(store, due.BASELINE)) == 1, "an axis"


def test_what_is_new_comes_before_a_backlog(
    store: Store, lake: Lake, feed: Any, make_row: MakeRow, make_settings: MakeSettings, as_of: datetime
) -> None:
    feed(*(make_row(hour) for hour in range(6)))
    feed(make_row(9))
    settings = make_settings(lake_url=lake.root)
    size = len(make_row(0)["samples"]) * 4 * 2
    batches, recordings, _ = plan_extract(store, settings, as_of=as_of, size=size, most=2)
    assert (recordings, [batch["recordings"] for batch in batches]) == (4, [2, 2])
    starts = [make_row(hour)["started_at"] for hour in (5, 9, 3, 4)]
    told = [datetime.fromisoformat(batch[end]) for batch in batches for end in ("first_at", "last_at")]
    assert told == starts, "the newest recordings, in the first batch the newest of them"


def test_a_registry_that_is_imported_again_marks_nothing(
    store: Store, feed: Any, extract: Any, assets: Any, make_row: MakeRow
) -> None:
    feed(make_row(1), make_row(5))
    assets(("S1", 3.0, START - timedelta(days=1), None))
    extract()
    assets(("S1", 3.0, START - timedelta(days=1), None))
    assert waiting(store, due.EXTRACT) == []
    assets(("S1", 3.0, START - timedelta(days=1), make_row(3)["started_at"]))
    assert len(waiting(store, due.EXTRACT)) == 2, "the time of this unit has changed"


def test_other_settings_mark_what_has_no_features_at_them_once(
    store: Store, feed: Any, extract: Any, make_row: MakeRow
) -> None:
    feed(make_row(1))
    extract()
    with store.write() as connection:
        connection.execute(sa.delete(DueWork))
    assert extract(window_turns=10.0).recordings == 1
    assert extract(window_turns=10.0).recordings == 0
    assert extract().recordings == 0, "these are there already"


def test_features_that_are_deleted_are_due_again(store: Store, feed: Any, extract: Any, make_row: MakeRow) -> None:
    feed(make_row(1), make_row(2))
    extract()
    with store.write() as connection:
        gone = sa.select(sa.func.min(Extraction.recording_id)).scalar_subquery()
        connection.execute(sa.delete(Extraction).where(Extraction.recording_id == gone))
    assert extract().recordings == 1


def test_a_run_with_other_settings_leaves_the_marks_of_the_present_ones(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow, make_settings: MakeSettings
) -> None:
    feed(make_row(1))
    refresh_marks(store, make_settings(lake_url=lake.root))
    feed(make_row(2))
    old = make_settings(lake_url=lake.root, window_turns=10.0)
    with store.read() as connection:
        assert due.changed_bases(connection, due.EXTRACT, feature_versions(old))
    assert [*_pages(store, old, LATE, None, search=False)] == []
    assert len(waiting(store, due.EXTRACT)) == 2


def test_a_period_is_extracted_on_request_without_marks(
    store: Store, lake: Lake, feed: Any, extract: Any, make_row: MakeRow, make_settings: MakeSettings, as_of: datetime
) -> None:
    feed(*(make_row(hour) for hour in range(4)))
    settings = make_settings(lake_url=lake.root)
    refresh_marks(store, settings)
    with store.write() as connection:
        connection.execute(sa.delete(DueWork))
    assert extract().recordings == 0
    times = [make_row(hour)["started_at"] for hour in range(4)]
    between = Between(times[1], times[3])
    batches, recordings, _ = plan_extract(store, settings, as_of=as_of, between=between, size=10**9, most=9)
    assert recordings == 2
    within = Stretch.from_dict(batches[0])
    assert extract_due(store, lake, settings, as_of=as_of, within=within).recordings == 0
    assert extract_due(store, lake, settings, as_of=as_of, within=within, search=True).recordings == 2
