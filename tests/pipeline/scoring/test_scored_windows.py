"""From scores to windows: the same windows straight from a model and by way of the score table."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from features.quality.quality import Quality
from pipeline.cases.axis_state import FIGURES, window_of_row, window_without_score, windows_of
from pipeline.scoring.score import STATISTICS, figures_of
from pipeline.store.tables import Score

CLASSES = ("healthy", "ball")
QUALITY = ["ok", "clipping", "ok", "ok"]
EVIDENCE = ["", "4 % at the rail", "", ""]
PROGRAMS = ["pick", "pick", "", "weld"]
"""A program of '' is not known."""


def scores() -> Any:
    """Four windows: sound, with a bad verdict, with a score that is not finite, without class probabilities."""
    made = SimpleNamespace(
        **{field: np.linspace(0.1, 0.4, 4) + place for place, field in enumerate(STATISTICS.values())},
        class_probabilities=np.array([[0.75, 0.25], [0.5, 0.5], [0.5, 0.5], [np.nan, np.nan]]),
        finite=np.array([True, True, False, True]),
    )
    made.expected_entropy[3] = np.nan
    return made


def stored(figures: dict[str, Any], program: str) -> Any:
    """A row of the score table, as the database returns it."""
    own = figures | {"channel": "acc_x", "regime": f"{program or '?'}|1500|?", "model_version": "m"}
    return SimpleNamespace(**own, _mapping=own)


def test_each_figure_of_a_window_is_a_column_that_scoring_fills() -> None:
    filled = {*STATISTICS, "class_probabilities", "blocked_probability"}
    assert set(FIGURES) <= filled <= {column.name for column in Score.__table__.columns}
    assert "fault_probability" in FIGURES and len(FIGURES) == len(set(FIGURES))


def test_a_window_from_a_model_is_the_one_from_the_score_table() -> None:
    scored = figures_of(scores(), CLASSES, QUALITY, EVIDENCE)
    straight = windows_of(scored, channel=["acc_x"] * 4, program=PROGRAMS, model_version="m")
    assert straight == [window_of_row(stored(*one)) for one in zip(scored, PROGRAMS, strict=True)]
    assert [window.program for window in straight] == ["pick", "pick", None, "weld"]
    sound = straight[0]
    plain = [name for name in FIGURES if name in STATISTICS]
    assert {name: getattr(sound, name) for name in plain} == {
        name: getattr(scores(), STATISTICS[name])[0] for name in plain
    }
    assert sound.blocked_probability is None
    assert sound.class_probabilities == {"healthy": 0.75, "ball": 0.25}


def test_a_bad_verdict_and_a_score_that_is_not_finite_leave_no_figure() -> None:
    scored = figures_of(scores(), CLASSES, QUALITY, EVIDENCE)
    windows = windows_of(scored, channel=["acc_x"] * 4, program=PROGRAMS, model_version="m")
    assert [window.quality for window in windows] == ["ok", "clipping", "non_finite", "ok"]
    assert windows[1].quality_evidence == "4 % at the rail"
    for window in windows[1:3]:
        assert {getattr(window, name) for name in FIGURES if name != "blocked_probability"} == {None}
    assert [window.blocked_probability for window in windows] == [None, scores().fault_probability[1], None, None]


def test_what_a_method_does_not_define_is_none_and_the_rest_stays() -> None:
    scored = figures_of(scores(), CLASSES, QUALITY, EVIDENCE)
    assert (scored[3]["expected_entropy"], scored[3]["class_probabilities"]) == (None, None)
    assert scored[3]["fault_probability"] == scores().fault_probability[3]


def test_a_recording_too_short_for_a_window_has_a_verdict_alone() -> None:
    row = SimpleNamespace(channel="acc_y", evidence="3 of 8 turns", regime="?|1500|?", model_version="m")
    window = window_without_score(row, Quality.TOO_SHORT)
    assert (window.channel, window.quality, window.quality_evidence) == ("acc_y", "too_short", "3 of 8 turns")
    assert (window.program, window.model_version) == (None, "m")
    assert [getattr(window, name) for name in FIGURES] == [None] * len(FIGURES)
