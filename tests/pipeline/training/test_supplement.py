"""The supplement of a training set: when windows are made, out of what, and that nothing else changes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from features.health.baseline import fit_reference
from features.kinematics import Orders, bearing_orders
from features.settings import feature_names
from models.training.training_data import Supplement
from pipeline.assets import import_assets
from pipeline.base.quantities import STANDARD_GRAVITY_M_S2
from pipeline.base.settings import Settings
from pipeline.extraction.baseline import update_baselines
from pipeline.extraction.baselines import UnitBaseline
from pipeline.extraction.extract import extract_due
from pipeline.extraction.in_force import feature_settings
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.labels.labels import import_labels
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.training import supplement as making
from pipeline.training.supplement import Condition, make_supplement
from pipeline.training.training_set import TrainingRecording, TrainingSet, _after_baseline, build_training_set

START = datetime(2026, 1, 5, tzinfo=UTC)
ORDERS = bearing_orders(9, 7.94, 39.04)
CLASSES = ("healthy", "inner_race", "outer_race")
RATE, SPEED, LENGTH = 12_800.0, 1_500.0, 20_000

Build = Callable[..., TrainingSet]


@pytest.fixture
def settings(make_settings: Callable[..., Settings], lake: Lake) -> Settings:
    return make_settings(lake_url=lake.root, baseline_days=0.2, synthetic_windows=12)


@pytest.fixture
def build(
    sqlite_store: Store, lake: Lake, settings: Settings, landing: Path, limits: Limits, tmp_path: Path,
    write_log: Callable[..., Path], make_row: Callable[..., dict[str, Any]],
) -> Iterator[Build]:  # fmt: skip
    """Take in four labelled units (changes hold for all their recordings) and give the training set."""

    def run(
        *, geometry: str = "", scope: str = "acceleration", mode: str = "outer_race", **changes: Any
    ) -> TrainingSet:
        rng = np.random.default_rng(4)
        verdicts = {"SN-1": "healthy", "SN-2": "healthy", "SN-3": "fault", "SN-4": "fault"}
        rows, assets, labels = [], "version = 1\n", "unit_serial,from_at,to_at,verdict,mode,evidence,known_at\n"
        geometry = geometry or f"bpfo = {ORDERS.bpfo}\nbpfi = {ORDERS.bpfi}\nbsf = {ORDERS.bsf}\nftf = {ORDERS.ftf}\n"
        if geometry != "none":
            assets += f'[geometry.g]\n{geometry}source = "x"\n'
        for number, (serial, verdict) in enumerate(verdicts.items()):
            for hour in range(6):
                samples = (rng.normal(size=LENGTH) * 0.1 * (number + 1)).astype(np.float32).tolist()
                row = make_row(hour, axis=f"A{number}", unit_serial=serial, samples=samples)
                rows.append(row | changes)
            assets += '[[unit]]\nsite = "plant1"\ncell = "c1"\nrobot_id = "R01"\n'
            assets += f'axis = "A{number}"\nunit_serial = "{serial}"\ninstalled_at = 2025-01-01T00:00:00Z\n'
            assets += 'geometry = "g"\n' if geometry != "none" else ""
            told = mode if verdict == "fault" else ""
            labels += f"{serial},2026-01-01T00:00:00Z,2026-02-01T00:00:00Z,{verdict},{told},inspected,"
            labels += "2026-01-20T00:00:00Z\n"
        write_log(landing / "x.parquet", rows)
        (tmp_path / "assets.toml").write_text(assets, encoding="utf-8")
        (tmp_path / "labels.csv").write_text(labels, encoding="utf-8")
        import_assets(sqlite_store, tmp_path / "assets.toml", as_of=START)
        import_labels(sqlite_store, tmp_path / "labels.csv", who="jo")
        acquire(sqlite_store, lake, landing, limits=limits, settled_before=limits.as_of)
        extract_due(sqlite_store, lake, settings, as_of=limits.as_of)
        update_baselines(sqlite_store, lake, settings, as_of=limits.as_of)
        return again(scope=scope)

    def again(*, scope: str = "acceleration", **options: Any) -> TrainingSet:
        with sqlite_store.read() as connection:
            changed = settings.model_copy(update=options)
            return build_training_set(connection, lake, changed, scope, as_of=limits.as_of)

    run.again = again  # type: ignore[attr-defined]
    yield run


def test_every_class_that_physics_can_make_is_made_with_the_healthy_one(build: Build, settings: Settings) -> None:
    data = build()
    assert data.classes == ("healthy", "outer_race")
    extra = data.supplement
    assert isinstance(extra, Supplement)
    assert np.bincount(extra.y).tolist() == [12, 12]
    assert extra.x.shape == (24, data.x.shape[1])
    assert extra.x.dtype == np.float32
    assert extra.units == settings.synthetic_units
    assert extra.source is not None
    assert set(extra.source) <= {"SN-1", "SN-2", "SN-3", "SN-4"}


@pytest.mark.parametrize(
    "changes",
    [
        {"rate_basis": "assumed"},
        {"speed_is_steady": False},
        {"speed_is_steady": None},
        {"shaft_speed_rpm": None, "speed_is_steady": None},
        {"geometry": "none"},
        {"geometry": "ftf = 0.4\n"},
        {"mode": "gear_tooth"},
        {"quantity": "motor_current", "unit": "A", "scope": "motor_current"},
    ],
)
def test_where_physics_does_not_say_what_a_fault_looks_like_nothing_is_made(
    build: Build, changes: dict[str, Any]
) -> None:
    data = build(**changes)
    assert data.labels == 4
    assert len(data.x)
    assert data.supplement is None


def test_no_windows_wanted_none_made_and_the_hash_tells(build: Build) -> None:
    with_them = build()
    again: Any = build.again  # type: ignore[attr-defined]
    assert again().data_hash == with_them.data_hash
    without = again(synthetic_windows=0)
    assert without.supplement is None
    hashes = {again(synthetic_windows=n, synthetic_units=u).data_hash for n, u in ((5, 20.0), (6, 20.0), (6, 19.0))}
    assert len(hashes | {with_them.data_hash, without.data_hash}) == 5
    np.testing.assert_array_equal(without.x, with_them.x)


def test_a_measured_background_brings_its_baseline_and_a_made_one_has_none(build: Build) -> None:
    data = build()
    assert data.supplement is not None
    half = data.x.shape[1] // 2
    relative = np.isfinite(data.supplement.x[:, half:]).any(axis=1)
    healthy = data.supplement.y == 0
    assert not relative[healthy].any(), "made healthy windows have a made background"
    assert 0 < relative[~healthy].sum() < (~healthy).sum()
    assert data.supplement.source is not None
    assert set(data.supplement.source[relative]) == {"SN-1", "SN-2"}, "only healthy units lend a background"


def test_what_a_baseline_was_made_of_teaches_nothing_where_there_is_more(build: Build) -> None:
    """Hours 0 to 4 are the baseline period, hour 5 is after it; a longer period leaves nothing else to learn from."""
    data = build()
    half = data.x.shape[1] // 2
    assert data.left_out["in the unit's own baseline period"] == 4 * 5
    assert np.isfinite(data.x[:, half:]).any(axis=1).all()


def test_a_unit_with_nothing_but_its_baseline_period_keeps_it_without_changes() -> None:
    """Of another class later ones do not count either: what is left out must be told by others of the same finding."""
    reference = fit_reference(np.zeros((4, 1)))
    found = UnitBaseline("v", "*|*|*", reference, START + timedelta(hours=2))

    def labelled(unit: str, target: str, hour: int) -> TrainingRecording:
        return TrainingRecording(SimpleNamespace(started_at=START + timedelta(hours=hour)), unit, target, 1.0, "label")

    items = [labelled("a", "healthy", 1), labelled("a", "ball", 3), labelled("b", "ball", 1), labelled("b", "ball", 2)]
    left_out = Counter[str]()
    kept, baselines = _after_baseline(items, [found] * 4, left_out)
    assert [(item.unit, item.target, base is None) for item, base in zip(kept, baselines, strict=True)] == [
        ("a", "healthy", True),
        ("a", "ball", False),
        ("b", "ball", False),
    ]
    assert sum(left_out.values()) == 1


def condition(lake_path: str = "", **changes: Any) -> Condition:
    given = Condition(
        unit="SN-1", healthy=False, sampling_rate_hz=RATE, shaft_hz=SPEED / 60.0, orders=ORDERS, n_samples=LENGTH,
        level=2.0, sample_unit="m/s2", lake_path=lake_path, lake_row=0, baseline=None,
    )  # fmt: skip
    return replace(given, **changes)


def made(settings: Settings, *conditions: Condition, classes: tuple[str, ...] = CLASSES) -> Supplement | None:
    return make_supplement(settings.lake, settings, feature_settings(settings, "acceleration"), conditions, classes)


def put(lake: Lake, make_table: Callable[..., Any], make_row: Callable[..., Any], samples: np.ndarray) -> str:
    return lake.put_table("recordings", make_table([make_row(samples=samples.astype(np.float32).tolist())]))[0]


def level_of(found: Supplement, settings: Settings) -> np.ndarray:
    names = feature_names(feature_settings(settings, "acceleration"))
    return 10.0 ** found.x[:, names.index("rms_log10")].astype(np.float64)


@pytest.mark.parametrize("unit, factor", [("m/s2", 1.0), ("g", STANDARD_GRAVITY_M_S2), ("raw", 1.0)])
def test_a_background_is_read_from_the_lake_in_the_unit_of_the_features(
    settings: Settings, lake: Lake, make_table: Any, make_row: Any, unit: str, factor: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """With a fault 120 dB below it, a made window is its background."""
    monkeypatch.setattr("features.synthetic_faults.FAULT_TO_BACKGROUND_DB", (-120.0, -120.0))
    monkeypatch.setattr(making, "MEASURED_SHARE", 1.0)
    signal = np.random.default_rng(1).normal(size=LENGTH) * 3.0
    path = put(lake, make_table, make_row, signal)
    found = made(settings, condition(path, healthy=True, sample_unit=unit), classes=("healthy", "outer_race"))
    assert found is not None
    np.testing.assert_allclose(level_of(found, settings)[found.y == 1], 3.0 * factor, rtol=0.05)
    assert (level_of(found, settings)[found.y == 0] < 6.0).all(), "made healthy windows have the condition's level"


def test_no_measured_background_where_no_unit_is_known_healthy(settings: Settings) -> None:
    """The lake path of the condition does not exist: it is not read."""
    found = made(settings, condition("nowhere", level=0.5), classes=("inner_race", "outer_race"))
    assert found is not None
    assert np.bincount(found.y).tolist() == [12, 12]
    assert np.median(level_of(found, settings)) == pytest.approx(0.5, rel=0.4)


def test_the_same_for_any_number_of_workers_and_another_for_another_seed(
    settings: Settings, lake: Lake, make_table: Any, make_row: Any
) -> None:
    path = put(lake, make_table, make_row, np.random.default_rng(1).normal(size=LENGTH))
    conditions = [condition(path, healthy=True), condition(unit="SN-2", shaft_hz=20.0), condition(unit="SN-3")]
    one = made(settings, *conditions)
    assert one is not None
    for workers in (2, 3):
        other = made(settings.model_copy(update={"workers": workers}), *conditions)
        assert other is not None
        assert other.x.tobytes() == one.x.tobytes()
        np.testing.assert_array_equal(other.y, one.y)
        np.testing.assert_array_equal(other.source, one.source)
    single = made(settings, condition())
    reseeded = made(settings.model_copy(update={"seed": 2}), condition())
    assert single is not None
    assert reseeded is not None
    assert not (single.x == reseeded.x).all(axis=1).any(), "one condition, so all that differs is what was drawn"


def test_each_class_has_its_windows_though_not_every_geometry_can_make_it(settings: Settings) -> None:
    conditions = [condition(unit="a", orders=Orders(bpfo=3.6)), condition(unit="b", orders=Orders(bpfi=5.4))]
    found = made(settings, *conditions)
    assert found is not None
    assert np.bincount(found.y).tolist() == [12, 12, 12]
    assert found.source is not None
    assert set(found.source[found.y == 1]) == {"b"}
    assert set(found.source[found.y == 2]) == {"a"}


def test_nothing_to_make_is_none(settings: Settings) -> None:
    assert made(settings) is None
    assert made(settings, condition(orders=Orders(ftf=0.4))) is None
    assert made(settings, condition(), classes=("healthy", "gear_tooth")) is None
    assert made(settings, condition(n_samples=40)) is None, "too short for a window"
