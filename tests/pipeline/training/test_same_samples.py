"""The same samples under two units, or twice under one, are told and not learned twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.base.ids import axis_id, recording_id
from pipeline.base.settings import Settings
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.labels.labels import CONFIRM
from pipeline.promotion.questions import ask_about_twins
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Case, Label, Recording
from pipeline.training.copies import Copies, find_copies
from pipeline.training.training_set import TrainingSet, build_training_set
from review.statements import statement_of

START = datetime(2026, 1, 1, tzinfo=UTC)
KNOWN = START + timedelta(days=2)
NOTHING: dict[str, Any] = dict.fromkeys(("channel", "component", "cause", "severity", "confidence", "case_id"))


@pytest.fixture
def learned(
    store: Store,
    lake: Lake,
    landing: Path,
    make_settings: Callable[..., Settings],
    write_log: Callable[..., Path],
    make_row: Callable[..., dict[str, Any]],
    limits: Limits,
) -> Callable[..., TrainingSet]:
    """Train on one recording a unit with the samples of a seed (None: a dead sensor), and a fault of a mode, or none.

    `speeds`: declared speed of each, rpm. `without_hash`: as if an older version had accepted them.
    """

    def build(
        seeds: list[int | None],
        modes: list[str | None],
        speeds: list[float] | None = None,
        without_hash: tuple[int, ...] = (),
    ) -> TrainingSet:
        settings, rows, labels = make_settings(synthetic_windows=0), [], []
        for unit, (seed, mode) in enumerate(zip(seeds, modes, strict=True)):
            noise = np.zeros(4_096) if seed is None else np.random.default_rng(seed).normal(size=4_096)
            samples = noise.astype(np.float32).tolist()
            at = START + timedelta(minutes=unit)
            named = {"robot_id": f"R{unit}", "unit_serial": f"U{unit}", "started_at": at, "samples": samples}
            named |= {"shaft_speed_rpm": 1_500.0 if speeds is None else speeds[unit]}
            rows.append(make_row(0, **named))
            label = {"label_id": f"L{unit:015d}", "axis_id": axis_id("plant1", "c1", f"R{unit}", "A1"), "mode": mode}
            label |= {"unit_serial": f"U{unit}", "from_at": START, "to_at": KNOWN, "known_at": KNOWN, "who": "mara"}
            label |= {"verdict": "fault" if mode else "healthy", "evidence": "inspected", "note": ""}
            labels.append(NOTHING | label)
        write_log(landing / "a.parquet", rows)
        acquire(store, lake, landing, limits=limits, settled_before=limits.as_of)
        extract_due(store, lake, settings, as_of=KNOWN)
        with store.write() as connection:
            connection.execute(sa.insert(Label), labels)
            older = [
                recording_id(axis_id("plant1", "c1", f"R{unit}", "A1"), "acc_x", START + timedelta(minutes=unit))
                for unit in without_hash
            ]
            forget = sa.update(Recording).where(Recording.recording_id.in_(older)).values(samples_hash=None)
            assert connection.execute(forget).rowcount == len(without_hash)
        with store.read() as connection:
            return build_training_set(connection, lake, settings, "acceleration", as_of=KNOWN)

    return build


def test_units_with_the_same_samples_and_different_findings_teach_nothing_and_are_asked_about(
    learned: Any, store: Store
) -> None:
    found = learned([0, 1, 2, 3, 4, 4], [None, "inner_race", None, "inner_race", None, "inner_race"])
    assert sorted(set(found.unit.tolist())) == ["U0", "U1", "U2", "U3"]
    told = {reason: count for reason, count in found.left_out.items() if "same samples" in reason}
    assert told == {"the same samples under U4 and U5, findings differ: which of them is right?": 2}
    assert [ask_about_twins(store, found.twins, as_of=KNOWN) for _ in range(2)] == [2, 0], "each is asked about once"
    with store.read() as connection:
        cases = connection.execute(sa.select(Case).where(Case.family == CONFIRM)).all()
    said = {statement_of(dict(case._mapping), None, "en").headline.text for case in cases}
    assert said == {
        f"mara recorded {own} (inspected on the machine), yet unit {unit} with the very same samples was found "
        f"{other}: confirm or correct it"
        for own, unit, other in (("healthy", "U5", "inner race"), ("inner race", "U4", "healthy"))
    }


def test_units_with_the_same_samples_and_one_finding_teach_once(learned: Any) -> None:
    found = learned([0, 1, 0], [None, "inner_race", None])
    assert len(set(found.unit.tolist())) == 2
    assert found.left_out == {"the same samples under U0 and U2, learned once": 1}
    assert found.twins == ()


def test_different_samples_are_all_learned(learned: Any) -> None:
    found = learned([0, 1, 2], [None, "inner_race", None])
    assert (len(set(found.unit.tolist())), found.left_out) == (3, {})


def test_samples_that_were_copied_under_another_declared_speed_are_found_too(learned: Any) -> None:
    """Their features differ. The samples are what a recording is made of; the speed is only said about it."""
    speeds = [1_500.0, 1_500.0, 1_800.0, 1_500.0, 1_200.0]
    found = learned([0, 1, 0, 2, 2], [None, "inner_race", None, None, "inner_race"], speeds)
    assert found.left_out == {
        "the same samples under U0 and U2, learned once": 1,
        "the same samples under U3 and U4, findings differ: which of them is right?": 2,
    }
    assert sorted(set(found.unit.tolist())) == ["U0", "U1"]
    assert {(twin.finding, twin.other_unit, twin.other_finding) for twin in found.twins} == {
        ("healthy", "U4", "inner_race"),
        ("inner_race", "U3", "healthy"),
    }


def test_what_an_older_version_accepted_is_compared_by_its_features(learned: Any) -> None:
    """U0 has no hash: its features are those of U2, which has the samples of U3 at another speed."""
    speeds = [1_500.0, 1_500.0, 1_500.0, 1_800.0]
    found = learned([0, 1, 0, 0], [None, "inner_race", None, None], speeds, without_hash=(0,))
    assert found.left_out == {"the same samples under U0 and U2 and U3, learned once": 2}


def test_dead_sensors_are_no_copies_of_each_other(learned: Any) -> None:
    found = learned([0, 1, None, None], [None, "inner_race", None, "inner_race"])
    assert not any("same samples" in reason for reason in found.left_out)
    assert found.twins == ()


def test_copies_of_copies_are_copies_and_what_has_no_content_has_none() -> None:
    contents = [("a",), (), ("b", "x"), ("c",), ("a", "b"), (), ("c",), ("d",)]
    findings = ["ok", "ok", "ok", "ok", "ok", "ok", "fault", "ok"]
    found = find_copies(contents, findings)
    assert found == [Copies((0, 2, 4), differ=False), Copies((3, 6), differ=True)]
    assert [copies.again for copies in found] == [(2, 4), (3, 6)]
