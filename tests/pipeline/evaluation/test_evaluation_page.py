"""The report page and its curves, and the review budget inside an evaluation."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.judging.metrics import calibration_error
from pipeline.base.errors import SettingsError
from pipeline.evaluation import report
from pipeline.evaluation.budget import BudgetAsked, budgets
from pipeline.evaluation.methods import Prediction
from pipeline.evaluation.reporting.drawing import curves
from pipeline.evaluation.windows import EvaluationRows

DOCUMENT: dict[str, Any] = {
    "protocol": "bench <1>",
    "kind": "classification",
    "commit": "abc123 dirty",
    "summary": {
        "default": {"accuracy": 0.9, "accuracy_sd": 0.01, "nll": 0.4, "nll_sd": None, "n_units": 12},
        "rules": {"accuracy": 0.8, "accuracy_sd": 0.0, "nll": None, "nll_sd": None, "n_units": 12},
    },
    "leaked_summary": None,
    "intervals": {"default": {"accuracy": (0.85, 0.95)}},
    "curves": {},
    "review_budget": {},
    "runs": [
        {"method": "default", "seed": 1, "units": {"B<7>": {"class": "ball", "windows": 3, "leaked": False}}},
        {"method": "rules", "seed": 1, "units": {"B<7>": {"class": "ball", "windows": 4, "leaked": True}}},
    ],
    "notes": ["a & b"],
    "left_out": {"pieces too short": 2},
    "data": {"classes": ["healthy", "ball"], "train": {"windows": 1200, "units": 1}},
    "protocol_read": {"unit": "serial"},
    "settings": {"folds": 5},
}


def test_the_page_says_what_was_asked_what_came_out_and_of_which_code() -> None:
    page = report(DOCUMENT)
    for part in (
        "bench &lt;1&gt;",
        "abc123 dirty",
        "were not used in training",
        "1,200 windows of 1 unit<",
        "[0.85, 0.95]",
        "± 0.01",
        "a &amp; b",
        "2 pieces too short",
        "B&lt;7&gt;",
        "folds",
        "serial",
    ):
        assert part in page, part
    assert "<script" not in page
    assert not re.search(r"""(src|href|url)\s*[=(]""", page), "it loads nothing"
    assert "Reliability" not in page, "there are no curves"
    assert "Review budget" not in page


def test_the_best_row_is_bold_where_more_is_better_and_where_less_is() -> None:
    two = {"a": {"accuracy": 0.9, "nll": 0.4, "n_units": 3.0}, "b": {"accuracy": 0.8, "nll": 0.2, "n_units": 4.0}}
    page = report(DOCUMENT | {"summary": two, "intervals": {}})
    assert re.findall(r"<td class=best>([\d.]+)", page) == ["0.9", "0.2"]


def test_a_healthy_page_says_that_recordings_of_a_unit_are_not_independent() -> None:
    told = "Recordings of one unit are not independent"
    assert told in report(DOCUMENT | {"kind": "healthy"})
    assert told not in report(DOCUMENT)


def test_curves_are_drawn_within_their_frame_as_well_formed_pictures() -> None:
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(3), size=500)
    y = rng.integers(3, size=500)
    page = report(DOCUMENT | {"curves": {"a<b": curves([p], y, healthy=None), "empty": curves([], y[:0], healthy=0)}})
    pictures = re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL)
    assert len(pictures) == 2
    for picture in pictures:
        root = ElementTree.fromstring(picture)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for path in root.iter("path"):
            pairs = re.findall(r"(-?[\d.]+),(-?[\d.]+)", path.attrib["d"])
            assert all(0 <= float(x) <= width and 0 <= float(y) <= height for x, y in pairs)
    assert "probability of the top class" not in page, "with a healthy class it is the fault probability"


def test_a_chosen_and_a_refused_budget_are_told() -> None:
    one = {"threshold": 3.0, "reason": "1 of 70", "fault_units": 70, "missed_units": 1, "miss_bound": 0.066}
    rest = {"review_rate": 0.25, "cases_a_day": None, "needed_units": 29}
    page = report(DOCUMENT | {"review_budget": {"a": one | rest, "b": one | rest | {"threshold": None}}})
    assert "<b>chosen</b>: 1 of 70" in page
    assert "<b>refused</b>: 1 of 70" in page


# ---------------------------------------------------------------------------------------------------------- curves

probabilities = hnp.arrays(np.float64, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(0.01, 1.0))


@given(probabilities, st.integers(0, 2**31))
def test_the_gaps_of_the_diagram_are_the_calibration_error(raw: np.ndarray, seed: int) -> None:
    p = raw / raw.sum(axis=1, keepdims=True)
    y = np.random.default_rng(seed).integers(3, size=len(p))
    found = curves([p], y, healthy=0)
    dots = found["reliability"]
    assert sum(dot["windows"] for dot in dots) == len(y)
    gap = sum(dot["windows"] * abs(dot["confidence"] - dot["frequency"]) for dot in dots) / len(y)
    assert gap == pytest.approx(calibration_error(1.0 - p[:, 0], y != 0))
    last = found["risk_coverage"][-1]
    assert last == {"coverage": 1.0, "error": pytest.approx((p.argmax(axis=1) != y).mean())}


def test_errors_that_are_known_come_last() -> None:
    sure, unsure = [0.98, 0.02], [0.55, 0.45]
    p = np.array([sure] * 8 + [unsure] * 2)
    y = np.array([0] * 8 + [1] * 2)
    by = {round(point["coverage"], 3): point["error"] for point in curves([p], y, healthy=None)["risk_coverage"]}
    assert (by[0.8], by[1.0]) == (0.0, pytest.approx(0.2))


def test_a_window_without_a_score_is_wrong_and_uncertain() -> None:
    p = np.array([[0.9, 0.1]] * 3 + [[np.nan, np.nan]])
    found = curves([p], np.zeros(4, dtype=np.int64), healthy=None)
    assert found["risk_coverage"][-1]["error"] == 0.25
    assert found["risk_coverage"][0]["error"] == 0.0


# ---------------------------------------------------------------------------------------------------------- budget


def judged(units: int, *, leaked: bool = False) -> EvaluationRows:
    """Units of two windows, every other one faulty, and one unseen window."""
    y = np.repeat(np.arange(units) % 2, 2)
    unit = np.repeat([f"u{i:03}" for i in range(units)], 2)
    return EvaluationRows(
        None,  # type: ignore[arg-type]
        np.append(y, -1),
        np.append(unit, "strange"),
        None,
        np.full(y.size + 1, leaked),
        np.zeros(y.size + 1, dtype=np.bool_),
    )


def test_faults_that_are_called_need_no_review_and_those_that_are_not_do() -> None:
    cases = judged(200)
    p_fault = np.where(cases.y == 1, 0.9, 0.1)
    p_fault[np.flatnonzero(cases.y == 1)[:40]] = 0.4  # 20 of 100 fault units are called healthy, though less surely
    said = Prediction(np.column_stack([1.0 - p_fault, p_fault]))
    got = budgets(cases, {"a": said}, BudgetAsked(0.05), healthy=0)["a"]
    assert (got["fault_units"], got["missed_units"]) == (100, 0)
    assert got["review_rate"] == pytest.approx(0.1), "those 40 windows of 400 come first"
    sound = Prediction(np.column_stack([cases.y != 1, cases.y == 1]).astype(np.float64))
    assert budgets(cases, {"a": sound}, BudgetAsked(0.05), healthy=0)["a"]["threshold"] == "nothing"


def test_a_unit_that_was_trained_on_does_not_count() -> None:
    cases = judged(200, leaked=True)
    said = Prediction(np.full((cases.y.size, 2), 0.5))
    got = budgets(cases, {"a": said}, BudgetAsked(0.05), healthy=0)["a"]
    assert (got["threshold"], got["fault_units"]) == (None, 0)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"max_miss_rate": 0.0}, "--max-miss-rate must lie strictly"),
        ({"max_miss_rate": float("nan")}, "--max-miss-rate must lie strictly"),
        ({"max_miss_rate": 0.1, "confidence": 1.0}, "--confidence must lie"),
        ({"max_miss_rate": 0.1, "capacity": 3.0}, "--capacity needs --cases-a-day"),
        ({"max_miss_rate": 0.1, "capacity": -3.0, "cases_a_day": 10.0}, "--capacity must be a number above 0"),
    ],
)
def test_a_budget_that_cannot_be_is_refused(asked: dict[str, float], told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        BudgetAsked(**asked)
