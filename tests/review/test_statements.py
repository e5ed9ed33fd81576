"""What is said of a case: two questions, one verdict, evidence for and against, doubts; in both languages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.quality.quality import Quality
from pipeline.cases.audit import AUDIT, MODEL
from pipeline.cases.axis_state import DATA_CODES, DOUBTS, MACHINE_CODES
from pipeline.labels.labels import CONFIRM
from pipeline.labels.words import Mode
from review import statements
from review.case_view import said_of
from review.statements import reason_text, statement_of
from review.terms import term
from review.words import WORDS

AT = "2026-03-01T08:12:44.120000Z"
FACTS: dict[str, dict[str, Any]] = {
    "fault": {"recent": 0.97, "alarm_level": 0.14, "review_level": 0.06},
    "undecided": {"recent": 0.1, "alarm_level": 0.14, "review_level": 0.06},
    "unmodelled": {"modes": ["cage"], "probability": 0.72},
    "new_program": {"programs": ["weld"]},
    "novel": {"percentile": 99.5},
    "unseen": {"figure": "fault_mutual_information", "nats": 0.05, "limit": 0.033, "quantile": 95.0},
    "ambiguous": {"figure": "fault_expected_entropy", "nats": 0.6, "limit": 0.5, "quantile": 95.0},
    "blocked": {"channels": [{"channel": "acc_x", "probability": 0.97}]},
    "data": {
        "channels": [{"channel": "acc_x", "verdict": "clipping", "bad": 1, "windows": 2, "evidence": "rms_log10"}]
    },
    "silent": {"since": AT},
    AUDIT: {"chance": 0.01},
    MODEL: {"model_version": "acceleration-1", "why": "its held-out NLL 1.17 is not below 1.10"},
    CONFIRM: {"finding": "inner_race", "evidence": "inspected", "who": "mara", "champion": None, "challenger": 0.04},
}
CODES = tuple(FACTS)
PARTS = ("outer_race", "inner_race", "ball", "cage", "gear_tooth")
NAMES = {"outer_race": "bpfo", "inner_race": "bpfi", "ball": "bsf2x"}
"""Lines that evidence can name."""


def line(part: str, db: float | None, **more: Any) -> dict[str, Any]:
    order = None if db is None else 5.42
    told = {"part": part, "expected": 5.43, "order": order, "db": db, "found": db is not None and db >= 6}
    return told | {"belongs_to": None} | more


def case(*codes: str, told: bool = True, **changes: Any) -> dict[str, Any]:
    times = {"first_at": AT, "last_at": AT, "n_bins": 1}
    reasons = [
        {"code": code, **(FACTS[code] if told else {"text": f"stored text of {code}"}), **times} for code in codes
    ]
    figures = {"fault_probability": 0.99, "fault_q05": 0.97, "fault_q95": 0.995, "mode": "inner_race"}
    return {"reasons": reasons, **figures, "fault_shares": {"inner_race": 0.93, "ball": 0.06, "cage": 0.01}, **changes}


EVIDENCE = {"program": "weld", "shaft_speed_rpm": 1529.4, "line": "bpfi"}
EVIDENCE |= {"lines": [line("outer_race", 2.0), line("inner_race", 14.3), line("ball", -1.2), line("cage", 9.0)]}
SILENT = EVIDENCE | {"line": None, "lines": []}


def said(found: statements.Statement) -> list[str]:
    return [found.headline.text, *(note.text for note in found.notes)]


def test_two_questions_and_two_answers() -> None:
    found = statement_of(case("fault"), EVIDENCE, "en")
    assert found.questions == (
        ("Is it faulty?", "0.99 (0.97 to 0.99)"),
        ("Which part?", "inner race 93 %, ball 6 %"),
    )
    assert statement_of(case("fault"), EVIDENCE, "ko").questions[1] == ("고장 부위", "내륜 93 %, 볼(전동체) 6 %")
    quiet = case("novel", fault_probability=0.03, fault_q05=None)
    assert statement_of(quiet, EVIDENCE, "en").questions == (("Is it faulty?", "0.03"),), "no fault, no part"
    assert statement_of(case("silent", fault_probability=None), None, "en").questions == ()
    audits = [case("audit", state=state) | {"family": AUDIT} for state in ("open", "closed")]
    told = [said_of(audit, EVIDENCE, "en") for audit in audits]
    assert (told[0].questions, told[0].evidence) == ((), ()), "no figure suggests the answer"
    assert told[1].questions != ()
    sure = {"fault_probability": 1 - 1e-6, "fault_q05": 0.999, "fault_q95": 1 - 1e-9, "fault_shares": {"ball": 0.9999}}
    answers = [answer for _, answer in statement_of(case("fault", **sure), None, "en").questions]
    assert answers == [">0.99", "ball >99 %"]
    assert statement_of(case("fault", fault_shares=None), None, "en").questions[1] == ("Which part?", "inner race")


def test_lines_speak_for_and_against_each_named_part_with_what_was_measured() -> None:
    found = statement_of(case("fault"), EVIDENCE, "en")
    assert found.headline.text == "Alarm: inner race; the lines fit it too"
    assert found.evidence == (
        "For inner race: line at 5.42 × shaft (expected 5.43, -0.2 %), 14 dB",
        "Against ball: no clear line at 5.43 × shaft (-1 dB)",
    ), "a cage that nobody names is left out, and so is an outer race without a line"
    beside = [line("ball", None), line("inner_race", 3.0, belongs_to="ball")]
    found = statement_of(case("fault"), SILENT | {"lines": beside}, "en")
    assert found.headline.text == "Alarm: inner race, but no line of its own stands out"
    assert found.evidence == (
        "Neither for nor against inner race: the line at 5.42 × shaft belongs to the pattern of the ball (3 dB)",
        "Neither for nor against ball: its line at 5.43 × shaft cannot be told from other lines here",
    )
    cage = [line("cage", 13.0, order=None)]
    found = statement_of(case("unmodelled"), SILENT | {"lines": cage}, "en")
    assert found.evidence == ("For cage: lines at 5.43 × shaft and its multiples, 13 dB",)
    older = [line("inner_race", 14.3, expected=None)]
    found = statement_of(case("fault"), EVIDENCE | {"lines": older}, "en")
    assert found.evidence == ("For inner race: line at 5.42 × shaft, 14 dB",)
    assert statement_of(case("data"), EVIDENCE, "en").evidence == (), "the lines of a bad signal say nothing"


@pytest.mark.parametrize(
    ("codes", "changes", "line", "headline"),
    [
        (("fault",), {}, None, "Alarm: inner race"),
        (("fault",), {"mode": None, "fault_shares": None}, None, "Alarm: which part is not clear"),
        (("fault",), {"mode": "fault_unknown", "fault_shares": None}, None, "Alarm: which part is not clear"),
        (("fault",), {"fault_shares": {"ball": 0.4, "inner_race": 0.6}}, None, "Alarm: which part is not clear"),
        (
            ("fault",),
            {"fault_shares": {"ball": 0.4, "inner_race": 0.6}},
            "bsf2x",
            "Alarm: no clear part; the lines fit the ball",
        ),
        (
            ("fault", "undecided"),
            {},
            "bpfo",
            "Alarm: the model says inner race, the lines fit the outer race: check both",
        ),
        (("undecided",), {}, None, "Suspicion below the alarm level: inner race"),
        (("novel",), {}, "bpfo", "No alarm, but the lines fit the outer race: check it"),
        (
            ("unmodelled",),
            {},
            None,
            "The lines fit a fault of the cage (0.72), which the model was never trained on",
        ),
        (
            ("unmodelled", "fault"),
            {},
            None,
            "Alarm: the model says inner race, the lines fit a fault of the cage (0.72), which the model was never "
            "trained on: check both",
        ),
        (("silent",), {"fault_probability": None}, None, WORDS["why_silent"]["en"]),
    ],
)
def test_the_headline_says_what_model_and_lines_say_together(
    codes: tuple[str, ...], changes: dict[str, Any], line: str | None, headline: str
) -> None:
    assert statement_of(case(*codes, **changes), SILENT | {"line": line}, "en").headline.text == headline


def test_a_method_that_cannot_split_its_doubt_says_so() -> None:
    whole = case("ambiguous")
    whole["reasons"][0]["figure"] = "predictive_entropy"
    assert statement_of(whole, None, "en").headline.text == "The model is unsure, and cannot say why"


def test_of_several_faults_without_a_class_the_lines_name_the_one() -> None:
    both = case("unmodelled")
    both["reasons"][0]["modes"] = ["outer_race", "cage"]
    found = statement_of(both, SILENT, "en").headline.text
    assert "a fault of the outer race or the cage (0.72)" in found
    found = statement_of(both, SILENT | {"line": "bpfo"}, "en").headline.text
    assert "a fault of the outer race (0.72)" in found


def test_bad_signals_are_told_with_verdict_time_and_what_to_check() -> None:
    found = statement_of(case("data"), None, "en")
    assert found.headline.text == "acc_x: clipped (1 of 2 windows) – lower the gain or choose a wider range"
    assert found.headline.since == datetime(2026, 3, 1, 8, 12, 44, 120_000, tzinfo=UTC)
    assert statement_of(case("silent"), None, "en").headline.since == found.headline.since
    for verdict in set(Quality) - {Quality.OK}:
        assert f"check_{verdict}" in WORDS, verdict


def test_with_an_alarm_a_doubt_that_is_over_is_told_no_more() -> None:
    grown = case("fault", "unseen", "ambiguous")
    grown["reasons"][0]["last_at"] = grown["reasons"][1]["last_at"] = "2026-03-02T08:00:00Z"
    assert said(statement_of(grown, EVIDENCE, "en"))[1:] == [
        "The model has not seen enough of program weld at 1,529 rpm"
    ]


def test_what_was_stored_as_a_sentence_is_still_shown() -> None:
    for language in ("en", "ko"):
        old = said(statement_of(case(*CODES, told=False), EVIDENCE, language))
        assert {"stored text of data", "stored text of confirm"} <= set(old)
        (unknown,) = said(
            statement_of({**case(), "reasons": [{"code": "newer", "text": "A sentence."}]}, None, language)
        )
        assert unknown == "A sentence."
    hostile = statement_of(case("unseen"), SILENT | {"program": "{regime} {0} <b>"}, "en").headline.text
    assert hostile == "The model has not seen enough of program {regime} {0} <b> at 1,529 rpm"
    assert reason_text({"code": "data", "text": "A sentence."}, case()) == "A sentence."


def test_other_systems_are_told_one_verdict_too() -> None:
    both = case("fault", "undecided", "novel")
    told = [reason_text(reason, both) for reason in both["reasons"]]
    assert told == ["Alarm: inner race", "Alarm: inner race", WORDS["why_novel"]["en"]]


CASES = st.builds(
    lambda codes, told, figures: case(*codes, told=told, **figures),
    st.lists(st.sampled_from(CODES), min_size=1, unique=True),
    st.booleans(),
    st.fixed_dictionaries(
        {
            "fault_probability": st.none() | st.floats(0, 1),
            "fault_q05": st.none() | st.floats(0, 1),
            "mode": st.none() | st.sampled_from(PARTS),
            "fault_shares": st.none() | st.dictionaries(st.sampled_from(PARTS), st.floats(0, 1), min_size=1),
        }
    ),
)
LINES = st.lists(
    st.builds(
        line,
        st.sampled_from(PARTS[:4]),
        st.none() | st.floats(-5, 30),
        belongs_to=st.none() | st.sampled_from(PARTS[:3]),
    ),
    unique_by=lambda one: one["part"],
)
SHOWN = st.none() | st.builds(
    lambda line, lines, program: EVIDENCE | {"line": line, "lines": lines, "program": program},
    st.none() | st.sampled_from(sorted(NAMES.values())),
    LINES,
    st.sampled_from([None, "weld"]),
)


def parts_in(text: str, language: str) -> set[str]:
    return {part for part in PARTS if term(part, language) in text}


@settings(max_examples=300)
@given(CASES, SHOWN, st.sampled_from(["en", "ko"]))
def test_no_two_sentences_contradict_each_other(
    told: dict[str, Any], shown: dict[str, Any] | None, language: str
) -> None:
    """One sentence alone says whether there is a fault and names parts; where sources differ it says so itself."""
    found = statement_of(told, shown, language)
    codes = {reason["code"] for reason in told["reasons"]}
    headline, *notes = said(found)
    assert headline
    assert len({headline, *notes}) == 1 + len(notes), "nothing is said twice"
    notes = [note for note in notes if "stored text" not in note]
    verdicts = [WORDS[key][language].split("{")[0] for key in ("said_alarm", "said_below", "said_only_lines")]
    for note in notes:
        assert not note.startswith(tuple(verdicts)), "one verdict"
        assert CONFIRM in codes or not parts_in(note, language), "a note names no part"
    asked = bool(codes & {"fault", "undecided"})
    shares = told["fault_shares"] or {}
    clear = not shares or max(shares.values()) >= 0.7
    model = {told["mode"]} - {None} if asked and clear else set()
    rule = {part for reason in told["reasons"] if reason["code"] == "unmodelled" for part in reason.get("modes", ())}
    line = {part for part, name in NAMES.items() if shown is not None and shown["line"] == name}
    line = line if codes - statements.WITHOUT_LINES else set()
    unnamed = "unmodelled" in codes and not rule
    questioned = {"inner_race"} if CONFIRM in codes and not model | rule | line else set()
    assert parts_in(headline, language) - questioned == model | rule | line, "what each source says is in the verdict"
    sources = sum(map(bool, (model, rule or unnamed, line - model - rule)))
    differ = ("check both" if language == "en" else "모두 점검") in headline
    assert "blocked" in codes or differ == (sources > 1), "where they differ it says so"
    assert ("fault" in codes) == headline.startswith(WORDS["said_alarm"][language].split("{")[0])
    part = [answer for question, answer in found.questions if question == WORDS["which_part"][language]]
    assert bool(part) <= asked, "which part is asked only where it may be faulty"
    texts = [headline, *notes, *found.evidence, *(answer for _, answer in found.questions)]
    for text in texts:
        assert not re.search(r"\d{2}\.\d{6}|_db|_log10|entropy|mutual|[{}]", text), "no microseconds, no feature names"
    if language == "ko":
        assert all(re.search(r"[\uac00-\ud7a3]", text) for text in (headline, *notes, *found.evidence))


def test_every_reason_has_its_words() -> None:
    assert (
        {*MACHINE_CODES, *DATA_CODES, AUDIT, MODEL, CONFIRM}
        == set(CODES)
        == {
            *statements.ORDER,
            *statements.DEGREES,
            "unmodelled",
        }
    )
    assert set(DOUBTS.values()) <= set(statements.DOUBTS)
    assert set(PARTS) <= {str(mode) for mode in Mode}
