"""From labels to the finding of a recording: one rule, and training and gate both ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from models.kinds import HEALTHY, UNKNOWN_FAULT
from pipeline.base.ids import axis_id
from pipeline.base.settings import Settings
from pipeline.extraction.in_force import feature_versions
from pipeline.labels.findings import NO_WEIGHT, Finding, Findings, answered, evidence_weight, target_of, why_left_out
from pipeline.labels.labels import KnownLabel, known_labels, question_id
from pipeline.labels.words import Evidence, Mode, Verdict
from pipeline.promotion.rows import labelled_recordings
from pipeline.store.database import Store
from pipeline.store.tables import NO_GEOMETRY, Axis, Extraction, Label, LabelWithdrawal, LakeFile, Recording
from pipeline.training.scopes import scopes_with_labels
from pipeline.training.training_set import _labelled

START = datetime(2026, 1, 5, tzinfo=UTC)
AXIS = axis_id("plant1", "c1", "R01", "A1")
LABEL = KnownLabel(
    "a", AXIS, "SN-1", None, START, START + timedelta(days=3), Verdict.HEALTHY, None, Evidence.INSPECTED, START
)
ROW = SimpleNamespace(axis_id=AXIS, unit_serial="SN-1", channel="acc_x", started_at=START)
WEIGHTS = {"signal_only": 0.5, "inspected": 0.8, "teardown": 1.0}


def test_verdicts_become_targets() -> None:
    fault = replace(LABEL, verdict=Verdict.FAULT)
    assert target_of(LABEL) == target_of(replace(LABEL, verdict=Verdict.BENIGN_CHANGE)) == HEALTHY
    assert target_of(fault) == UNKNOWN_FAULT
    assert target_of(replace(fault, mode=Mode.CAGE)) == "cage"
    assert target_of(replace(LABEL, verdict=Verdict.UNSURE)) is None
    assert target_of(replace(LABEL, verdict=Verdict.SENSOR_OR_DATA)) is None


def test_the_label_that_holds_decides_even_where_it_trains_nothing() -> None:
    unsure = replace(LABEL, label_id="b", verdict=Verdict.UNSURE, known_at=START + timedelta(days=1))
    findings = Findings([LABEL, unsure], WEIGHTS)
    assert findings.label_of(ROW) == unsure
    assert findings.of(ROW) is None, "an older label does not come back"
    assert why_left_out(unsure) == "unsure"


def test_labels_are_looked_up_by_unit_and_by_axis() -> None:
    of_axis = replace(LABEL, label_id="axis", unit_serial=None)
    of_unit = replace(LABEL, label_id="unit", axis_id=None, verdict=Verdict.FAULT, evidence=Evidence.TEARDOWN)
    other = replace(of_unit, label_id="other", unit_serial="SN-2")
    findings = Findings([of_axis, of_unit, other], WEIGHTS)
    assert findings.of(ROW) == Finding(UNKNOWN_FAULT, 1.0, of_unit)
    nobody = SimpleNamespace(**vars(ROW) | {"unit_serial": None})
    assert findings.of(nobody) == Finding(HEALTHY, 0.8, of_axis)
    elsewhere = SimpleNamespace(**vars(ROW) | {"unit_serial": "SN-2", "axis_id": "other"})
    assert findings.of(elsewhere) == Finding(UNKNOWN_FAULT, 1.0, other)
    assert findings.of(SimpleNamespace(**vars(nobody) | {"axis_id": "other"})) is None


def test_evidence_that_is_not_named_weighs_one_and_evidence_of_weight_zero_trains_nothing() -> None:
    assert evidence_weight({}, Evidence.SIGNAL_ONLY) == 1.0
    assert evidence_weight(WEIGHTS, "signal_only") == 0.5
    assert Findings([LABEL], {}).of(ROW) == Finding(HEALTHY, 1.0, LABEL)
    without = Findings([LABEL], {"inspected": 0.0})
    assert without.of(ROW) is None and without.label_of(ROW) == LABEL
    assert why_left_out(LABEL) == NO_WEIGHT
    weaker = replace(LABEL, label_id="weaker", evidence=Evidence.SIGNAL_ONLY)
    assert Findings([LABEL, weaker], {"inspected": 0.0}).of(ROW) is None, "weaker evidence does not take its place"


UNITS, CHANNELS = ("SN-1", "SN-2", None), ("acc_x", "acc_y")
PLACES = [("plant1", "c1", "R01", name) for name in ("A1", "A2")]
DAYS = 6


@pytest.fixture
def plant(sqlite_store: Store, make_settings: Callable[..., Settings]) -> tuple[Store, Settings]:
    """Two axes with and without units, two channels, a recording each day; some without a window."""
    settings = make_settings(evidence_weights={"signal_only": 0.0, "inspected": 0.7, "teardown": 1.0})
    version = feature_versions(settings)["acceleration"]
    common: dict[str, Any] = {"known_at": START}
    recordings, extractions = [], []
    for place in PLACES:
        for unit in UNITS:
            for channel in CHANNELS:
                for day in range(DAYS):
                    name = f"{place[3]}-{unit}-{channel}-{day}"
                    at = START + timedelta(days=day, hours=UNITS.index(unit))
                    shared = {"recording_id": name, "axis_id": axis_id(*place), "channel": channel, "started_at": at}
                    recordings.append(shared | {"unit_serial": unit})
                    extractions.append(
                        shared | {"unit_serial": unit, "feature_version": version, "n_windows": 0 if day == 5 else 4}
                    )
    with sqlite_store.write() as connection:
        axes = [
            {"axis_id": axis_id(*place), **dict(zip(("site", "cell", "robot_id", "axis"), place, strict=True))}
            for place in PLACES
        ]
        _insert(connection, Axis, axes, common)
        _insert(connection, LakeFile, [{"path": "x"}], common)
        _insert(connection, Recording, recordings, common)
        _insert(
            connection, Extraction, extractions, common | {"scope": "acceleration", "geometry_version": NO_GEOMETRY}
        )
    return sqlite_store, settings


def _insert(connection: sa.Connection, table: Any, rows: list[dict[str, Any]], common: dict[str, Any]) -> None:
    """Insert rows; a column that says nothing here gets a value of its type."""
    columns = table.__table__.columns
    neutral = {
        column.name: "x" if column.type.python_type is str else column.type.python_type()
        for column in columns
        if not column.nullable and column.type.python_type is not datetime
    }
    known = {column.name for column in columns}
    fill = {name: value for name, value in (neutral | common).items() if name in known}
    connection.execute(sa.insert(table), [fill | row for row in rows])


def random_history(rng: np.random.Generator) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Labels and withdrawals: by axis, by unit, by both; overlapping, of all words, known late."""

    def one_of(values: Any) -> Any:
        return list(values)[int(rng.integers(len(values)))]

    labels = []
    for number in range(int(rng.integers(1, 25))):
        unit, place = one_of(UNITS), one_of([*PLACES, None])
        begin = START + timedelta(days=float(rng.uniform(-1, DAYS)))
        verdict = one_of(Verdict)
        labels.append(
            {
                "label_id": f"{number:03d}",
                "axis_id": axis_id(*(place or PLACES[0])) if place or unit is None else None,
                "unit_serial": unit,
                "channel": one_of([None, None, *CHANNELS]),
                "from_at": begin,
                "to_at": begin + timedelta(days=float(rng.uniform(0.1, DAYS))),
                "verdict": str(verdict),
                "mode": str(one_of(Mode)) if verdict is Verdict.FAULT and rng.random() < 0.6 else None,
                "evidence": str(one_of(Evidence)),
                "known_at": START + timedelta(days=float(rng.uniform(0, 20))),
            }
        )
    withdrawn = [
        {"label_id": label["label_id"], "known_at": label["known_at"] + timedelta(days=float(rng.uniform(0, 9)))}
        for label in labels
        if rng.random() < 0.2
    ]
    return labels, withdrawn


def test_training_and_gate_have_the_same_finding_target_and_weight(plant: tuple[Store, Settings]) -> None:
    store, settings = plant
    compared = of_no_weight = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels, withdrawn = random_history(rng)
        as_of = START + timedelta(days=float(rng.uniform(1, 25)))
        with store.write() as connection:
            connection.execute(sa.delete(LabelWithdrawal))
            connection.execute(sa.delete(Label))
            _insert(connection, Label, labels, {})
            if withdrawn:
                _insert(connection, LabelWithdrawal, withdrawn, {})
        with store.read() as connection:
            trained, left_out = _labelled(
                connection, settings, "acceleration", known_labels(connection, known_by=as_of)
            )
            ids = connection.scalars(sa.select(Recording.recording_id)).all()
            # A cut-off of today makes both findings of the gate today's.
            judged = labelled_recordings(connection, settings, "acceleration", ids, cutoff=as_of, as_of=as_of)
            scopes = scopes_with_labels(connection, settings, as_of=as_of)
        of_training = {item.row.recording_id: (item.unit, item.target, item.weight) for item in trained}
        for side in ("then", "now"):
            findings = {item.row.recording_id: (item.unit, getattr(item, side)) for item in judged}
            of_gate = {name: (unit, one.target, one.weight) for name, (unit, one) in findings.items()}
            assert of_gate == of_training, f"seed {seed}, {side}"
        assert scopes == (["acceleration"] if trained else [])
        compared += len(trained)
        of_no_weight += left_out[NO_WEIGHT]
    assert compared > 200 and of_no_weight > 50


@pytest.mark.parametrize(
    ("verdict", "mode", "stands", "confirmed"),
    [
        (Verdict.FAULT, None, True, True),
        (Verdict.FAULT, Mode.CAGE, False, False),
        (Verdict.HEALTHY, None, False, False),
        (Verdict.SENSOR_OR_DATA, None, False, False),
        (Verdict.UNSURE, None, True, False),
    ],
)
def test_the_answer_to_a_question_confirms_or_overrules_a_label(
    verdict: Verdict, mode: Mode | None, stands: bool, confirmed: bool
) -> None:
    """The answer is the label that names the case of the question; the one it asks about stays known."""
    asked = replace(LABEL, label_id="asked", verdict=Verdict.FAULT)
    later = LABEL.known_at + timedelta(days=1)
    answer = replace(LABEL, label_id="answer", verdict=verdict, mode=mode, case_id=question_id("asked"), known_at=later)
    stranger = replace(LABEL, label_id="stranger", case_id=question_id("nobody"))
    found = answered([asked, stranger, answer])
    assert [label.label_id for label in found.standing] == (["asked"] if stands else []) + ["stranger", "answer"]
    assert ("asked" in found.confirmed) is confirmed
    assert ("answer" in found.confirmed) is (verdict is not Verdict.UNSURE)
    assert answered([asked, stranger]).confirmed == frozenset()
