"""The same samples under two units, or twice under one, are told and not learned twice."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from pipeline.base.ids import axis_id
from pipeline.base.settings import Settings
from pipeline.extraction.extract import extract_due
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import Limits
from pipeline.labels.labels import CONFIRM
from pipeline.promotion.questions import ask_about_twins
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import Case, Label
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
) -> Callable[[list[int], list[str | None]], TrainingSet]:
    """Train on one recording a unit with the samples of a seed, and a fault of a mode, or none."""

    def build(seeds: list[int], modes: list[str | None]) -> TrainingSet:
        settings, rows, labels = make_settings(synthetic_windows=0), [], []
        for unit, (seed, mode) in enumerate(zip(seeds, modes, strict=True)):
            samples = np.random.default_rng(seed).normal(size=4_096).astype(np.float32).tolist()
            at = START + timedelta(minutes=unit)
            named = {"robot_id": f"R{unit}", "unit_serial": f"U{unit}", "started_at": at, "samples": samples}
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
