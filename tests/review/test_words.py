"""What is said and drawn without a browser: stored words, reasons, the line of a row, addresses."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from features.quality.quality import Quality
from pipeline.cases.audit import AUDIT
from pipeline.cases.axis_state import DATA_CODES, MACHINE_CODES
from pipeline.labels.words import Cause, Component, Evidence, Mode, Severity, Verdict
from review.figures.sparkline import HEIGHT, MOST_POINTS, WIDTH, sparkline
from review.forms import address_of, inside
from review.terms import _TERMS, share_text, term
from review.words import WORDS

AT = datetime(2026, 3, 1, tzinfo=UTC)


def test_every_stored_word_has_a_korean_one() -> None:
    taxonomy = [word for words in (Verdict, Component, Mode, Cause, Severity, Evidence) for word in words]
    stored = {*map(str, taxonomy), *MACHINE_CODES, *DATA_CODES, AUDIT, *map(str, Quality)}
    assert stored <= set(_TERMS), stored - set(_TERMS)
    assert all(re.search(r"[\uac00-\ud7a3]", term(word, "ko")) for word in _TERMS)
    assert term("<script>", "ko") == "<script>", "what is not known stays as it is"
    assert term(None, "en") == ""


def test_no_particle_depends_on_what_stands_before_it() -> None:
    """A name or a number may end with a vowel or not, so no form of a particle fits all; `claims` end with one word."""
    after = re.compile(r"\{(?!claims)\w+\}(은|는|이|가|을|를|와|과|로|으로|이나|나)(?![가-힣])")
    assert [key for key, words in WORDS.items() if after.search(words["ko"])] == []


def test_a_probability_that_is_not_quite_certain_is_not_written_as_if_it_were() -> None:
    assert [share_text(value) for value in (None, 0.0, 0.004, 0.005, 0.5, 0.995, 0.996, 1.0)] == [
        *("–", "0.00", "<0.01", "0.01", "0.50", "0.99", ">0.99", "1.00"),
    ]


def test_a_sparkline_has_its_peak_its_gap_and_its_ends() -> None:
    points = [(AT - timedelta(hours=hour), 0.1) for hour in range(160, -1, -1)]
    points[77] = (points[77][0], 1.0)
    drawn = sparkline(points, end=AT)
    (line,) = drawn.lines
    assert len(line.split()) <= MOST_POINTS
    assert min(float(pair.split(",")[1]) for pair in line.split()) == 2.0, "the peak is at the top"
    assert (drawn.first_value, drawn.last_value) == (0.1, 0.1)
    assert drawn.last == (WIDTH - 2, round(2 + 0.9 * (HEIGHT - 4), 1))
    broken = sparkline([(AT - timedelta(hours=3), 0.2), (AT - timedelta(hours=2), None), (AT, 0.9)], end=AT)
    assert len(broken.lines) == 2
    assert sparkline([(AT, None)], end=AT).last is None
    assert sparkline([], end=AT).lines == ()


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=300))
def test_a_sparkline_stays_inside(values: list[float | None]) -> None:
    points = [(AT - timedelta(minutes=30 * (len(values) - place)), value) for place, value in enumerate(values)]
    drawn = sparkline(points, end=AT)
    places = [tuple(map(float, pair.split(","))) for line in drawn.lines for pair in line.split()]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places)
    assert bool(places) == any(value is not None for value in values)


def test_an_address_keeps_what_is_wanted_of_the_queue() -> None:
    query = b"search=a%26b&state=&after=x&recorded=c1&mine=1"
    request = Request({"type": "http", "query_string": query, "headers": []})
    assert address_of(request) == "?search=a%26b&mine=1"
    assert address_of(request, without=("recorded",), after="") == "?search=a%26b&after=x&mine=1"
    assert address_of(Request({"type": "http", "query_string": b"", "headers": []})) == ""


def test_one_goes_on_only_inside_of_the_application() -> None:
    mounted = Request({"type": "http", "query_string": b"", "headers": [], "root_path": "/review"})
    assert [inside(mounted, path) for path in ("/review/fleet?state=alarm", "/fleet", "/review", "")] == [
        *("/fleet?state=alarm", "/fleet", "/", "/"),
    ]
    for hostile in ("//evil.example", "/\\evil.example", "https://evil.example", "/review//evil.example", "/a\nb"):
        assert inside(mounted, hostile) == "/", hostile
