"""`axiswatch evaluate` on simulated fleets: the product's own steps, judged by the truth."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.judging.metrics import reviewed_windows
from pipeline.base.settings import Settings
from pipeline.evaluation import EvaluationRefused, Request, evaluate
from pipeline.evaluation.fleet_windows import (
    BAD,
    BASELINE,
    TOO_SMALL,
    judged_fleet,
    kept_windows,
    prepare_fleets,
    take_in,
)
from pipeline.evaluation.protocol import load_protocol
from pipeline.evaluation.routing import fleet_figures, reviewed_share

PROTOCOL = """
name = "small"
kind = "simulated"
fault_prior = 0.3
[train]
world = "A"
robots = 6
axes = 4
days = 6
seeds = [3]
samples = 10240
[test]
world = "B"
robots = 3
axes = 4
days = 6
seeds = [3]
samples = 10240
"""


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the fleets of this file's tests are kept: they are simulated and extracted once."""
    return tmp_path_factory.mktemp("fleets")


@pytest.fixture
def small(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(hidden=(16,), epochs=15, n_samples=20, sub_bank_size=10, folds=3)


@pytest.fixture
def asked(tmp_path: Path, fleets: Path) -> Request:
    path = tmp_path / "p.toml"
    path.write_text(PROTOCOL, encoding="utf-8")
    return Request(None, path, seeds=1, fleets=fleets)


def truth_rows(fleets: Path, world: str) -> list[dict[str, str]]:
    (folder,) = fleets.glob(f"{world}3-*")
    with (folder / "truth.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_fleet_is_judged_by_the_truth_and_trained_by_its_findings(
    asked: Request, fleets: Path, small: Settings
) -> None:
    found = evaluate(asked, small)
    assert (found["kind"], found["protocol_read"]["test"]["world"]) == ("simulated", "B")
    assert found["summary"]["default"]["band_coverage"] is None, "no other fleet is named"
    for method in ("default", "random_forest", "rules"):
        row = found["summary"][method]
        if method == "rules":
            assert row["fault_auroc"] is None, "a broken tooth has no bearing line"
            continue
        assert row["fault_auroc"] > 0.6, method
        assert 0.0 <= row["unseen_class_reviewed_10"] <= 1.0, method
        assert 0.0 <= row["missed_after_review_10"] <= 0.5, method
    assert found["summary"]["random_forest"]["unseen_auroc_routed"] is None
    assert found["data"]["classes"][0] == "healthy"
    assert "cage" not in found["data"]["classes"]
    assert "never supports a claim" in found["notes"][0]
    serials = {row["unit_serial"] for row in truth_rows(fleets, "B")}
    judged = {name.removesuffix(" (unseen)") for name in found["runs"][0]["units"]}
    assert judged <= serials
    assert found["data"]["train"]["units"] <= len({row["unit_serial"] for row in truth_rows(fleets, "A")}) / 2


def test_the_band_is_compared_with_models_of_fleets_that_are_never_judged(
    asked: Request, fleets: Path, small: Settings, tmp_path: Path
) -> None:
    (tmp_path / "p.toml").write_text(PROTOCOL.replace("[train]", "band_seeds = [4, 5]\n[train]", 1), encoding="utf-8")
    found = evaluate(replace(asked, methods=("default", "mle", "random_forest")), small)
    row = found["summary"]["default"]
    assert 0.0 < row["band_coverage"] <= 1.0
    assert 0.0 < row["band_width"] < 1.0
    for method in ("mle", "random_forest"):
        assert found["summary"][method]["band_coverage"] is None, method
    alone = evaluate(replace(asked, methods=("default",)), small)
    (tmp_path / "p.toml").write_text(PROTOCOL, encoding="utf-8")
    without = evaluate(replace(asked, methods=("default",)), small)
    assert alone["summary"]["default"]["nll"] == without["summary"]["default"]["nll"]
    assert {path.name[:2] for path in fleets.iterdir()} >= {"A3", "A4", "A5", "B3"}


def test_every_window_is_judged_or_counted_as_left_out(asked: Request, fleets: Path, small: Settings) -> None:
    protocol = load_protocol(asked.protocol)
    prepared = prepare_fleets(protocol, small, fleets)
    windows, told = judged_fleet(take_in(fleets, protocol.test.fleets()[0], small))
    left = prepared.task.left_out
    assert set(left) >= {BASELINE, TOO_SMALL}
    judged = prepared.task.judged
    assert len(judged.y) + left[BASELINE] + left.get(BAD, 0) + left[TOO_SMALL] == len(windows) > 200
    assert prepared.task.training.supplement is not None, "made faults, as the product trains"
    assert told.in_baseline.any()
    # Windows of the baseline period come first of their unit, and none of them is judged.
    kept = set(zip(judged.unit.tolist(), judged.windows.started_s.tolist(), strict=True))
    for unit, second, inside in zip(told.unit, windows.started_s, told.in_baseline, strict=True):
        assert not (inside and (unit, second) in kept)


def test_a_bad_verdict_on_a_sound_sensor_is_judged(asked: Request, fleets: Path, small: Settings) -> None:
    protocol = load_protocol(asked.protocol)
    windows, told = judged_fleet(take_in(fleets, protocol.test.fleets()[0], small))
    left: Counter[str] = Counter()
    keep = kept_windows(replace(windows, quality=np.full(len(windows), "wrong_speed")), [told], told.truth, left)
    spoilt = np.array([bool(item.sensor_fault) for item in told.truth])
    assert left[BAD] == (spoilt & ~told.in_baseline).sum() > 0
    assert keep.any()
    assert not (keep & spoilt).any()


def test_unseen_are_cage_and_calibrate_alone(asked: Request, fleets: Path, small: Settings) -> None:
    judged = prepare_fleets(load_protocol(asked.protocol), small, fleets).task.judged
    rows = truth_rows(fleets, "B")
    cage = {row["unit_serial"] for row in rows if row["mode"] == "cage"}
    new = {row["unit_serial"] for row in rows if row["program"] == "calibrate"}
    assert set(judged.unit[judged.why_unseen == "class"].tolist()) == cage
    assert set(judged.unit[judged.why_unseen == "program"].tolist()) <= new
    assert ((judged.y < 0) == (judged.why_unseen != "")).all()
    assert set(judged.windows.program[judged.why_unseen == "program"].tolist()) == {"calibrate"}


def test_a_manifest_means_nothing_to_simulated_fleets(asked: Request, tmp_path: Path, small: Settings) -> None:
    with pytest.raises(EvaluationRefused, match="does not use a manifest"):
        evaluate(Request(tmp_path / "m.csv", asked.protocol), small)


# --------------------------------------------------------------------------------------------------------- figures


def test_a_review_of_ten_percent_by_hand() -> None:
    """20 windows, so 2 are reviewed: one unseen class window of two, and one missed fault of two."""
    order = np.arange(20, dtype=np.float64)
    fault = np.zeros(20, dtype=bool)
    fault[[0, 1, 18, 19]] = True
    called_healthy = np.zeros(20, dtype=bool)
    called_healthy[[0, 18]] = True
    unseen = np.zeros(20, dtype=bool)
    unseen[[1, 19]] = True
    found = fleet_figures(
        order,
        fault=fault,
        called_healthy=called_healthy,
        unseen_class=unseen,
        unseen_program=np.zeros(20, dtype=bool),
    )
    assert found == {
        "missed_after_review_10": pytest.approx(1 / 18),
        "unseen_class_reviewed_10": 0.5,
        "unseen_program_reviewed_10": None,
        "fault_share": 0.2,
    }


def test_windows_that_tie_share_what_is_left_of_the_review() -> None:
    np.testing.assert_allclose(reviewed_share(np.zeros(20)), 0.1)
    assert reviewed_share(np.array([3.0] + [1.0] * 19))[0] == 1.0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=60))
def test_the_shares_sum_to_the_review(levels: list[int]) -> None:
    part = reviewed_share(np.array(levels, dtype=np.float64))
    assert part.sum() == pytest.approx(reviewed_windows(len(levels)))
    assert ((part >= 0) & (part <= 1)).all()
