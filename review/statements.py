"""What is said of a case, in the viewer's language, from its reasons (codes and facts), its figures and its lines.

One headline only, and it alone says whether there is a fault and names parts: `_verdict` is the one place where model
and lines are put together, and where they disagree the headline says so. Notes below it state doubts and bad signals.
This file imports nothing of pipeline/, so that the command line and the webhook can word cases with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from review.terms import share_text, term
from review.words import WORDS

UNCLEAR: Final = 0.7
"""Below this share of the fault probability, the most probable part is not named as the one."""

LEAST_SHARE: Final = 0.05
"""Parts with a smaller share of the fault probability are left out."""

CAGE: Final = "cage"
LINE_OF: Final = {"bpfo": "outer_race", "bpfi": "inner_race", "bsf2x": "ball"}

DEGREES: Final = {"fault": "said_alarm", "undecided": "said_below"}
"""Reasons that say whether it is faulty, the stronger first."""

VERDICTS: Final = (*DEGREES, "unmodelled")

ORDER: Final = ("blocked", "new_program", "unseen", "novel", "ambiguous", "data", "silent", "audit", "model", "confirm")
"""Reasons that say neither; the first is the headline where nothing else is."""

DOUBTS: Final = ("new_program", "unseen", "novel", "ambiguous")

WITHOUT_LINES: Final = {"blocked", "data", "silent", "model", "audit"}
"""With these reasons alone, bearing lines say nothing: the signal is bad, or the case is about something else."""

_Words = Callable[..., str]


@dataclass(frozen=True)
class Line:
    """A sentence; `since`: what it says holds from this time on."""

    text: str
    since: datetime | None = None


@dataclass(frozen=True)
class Statement:
    """What is said of a case.

    Attributes
    ----------
    headline
        The one sentence about fault and part.
    questions
        (question, answer): whether it is faulty, and which part if it is; empty where the case has no scores.
    notes
        Doubts, bad signals, stored sentences of older versions.
    evidence
        What the bearing lines of the most suspicious recording say for and against each part.
    """

    headline: Line
    questions: tuple[tuple[str, str], ...]
    notes: tuple[Line, ...]
    evidence: tuple[str, ...]


def statement_of(case: Mapping[str, Any], evidence: Mapping[str, Any] | None, language: str) -> Statement:
    """Return what is said of a case.

    Parameters
    ----------
    case
        `reasons`, `fault_probability`, `mode` are read; `fault_q05`, `fault_q95`, `fault_shares` if they are there.
    evidence
        The row of `pipeline.store.tables.CaseEvidence`; None where there is none yet.
    language
        `en` or `ko`.
    """

    def t(key: str, **parts: str) -> str:
        return WORDS[key][language].format(**parts) if parts else WORDS[key][language]

    by_code = {str(reason.get("code", "")): reason for reason in case["reasons"]}
    shown = evidence if evidence is not None and by_code.keys() - WITHOUT_LINES else {}
    verdict = _verdict(case, by_code, shown, t, language)
    others = [line for code in _in_order(by_code) for line in _reason(by_code[code], shown, t, language)]
    lines = [*([Line(verdict)] if verdict else []), *others] or [Line("–")]
    return Statement(
        lines[0],
        tuple(_questions(case, by_code, t, language)),
        tuple(lines[1:]),
        tuple(_evidence(case, by_code, shown, t, language)),
    )


def reason_text(reason: Mapping[str, Any], case: Mapping[str, Any]) -> str:
    """Return one reason of a case in English, for other systems; as it was stored where it was stored as a sentence.

    Reasons about fault and part are told by the one headline of the case.
    """
    if reason.get("text"):
        return str(reason["text"])
    if reason["code"] in VERDICTS:
        return statement_of(case, None, "en").headline.text
    said = statement_of({**case, "reasons": [reason]}, None, "en")
    return ". ".join(line.text for line in (said.headline, *said.notes))


def _in_order(by_code: Mapping[str, Any]) -> Iterator[str]:
    """Return the codes that are told apart, the weightiest first; with an alarm no doubt that was over before it."""
    alarm = by_code.get("fault", {}).get("last_at", "")
    over = {code for code in DOUBTS if code in by_code and by_code[code].get("last_at", alarm) < alarm}
    yield from (code for code in ORDER if code in by_code and code not in over)
    yield from (code for code in by_code if code not in (*ORDER, *VERDICTS))


def _verdict(
    case: Mapping[str, Any], by_code: Mapping[str, Any], shown: Mapping[str, Any], t: _Words, language: str
) -> str:
    """Return the one sentence about fault and part from what the model, the rule and the lines say; '' for none."""
    degree = next((key for code, key in DEGREES.items() if code in by_code), "")
    shares = _shares(case)
    model = case["mode"] if degree and is_clear(shares) and _is_part(case["mode"]) else None
    rule = by_code.get("unmodelled")
    modes = [] if rule is None else rule.get("modes", [])
    line = LINE_OF.get(str(shown.get("line")))
    claims = [] if model is None else [t("claim_model", part=term(model, language))]
    if rule is not None:
        named = [line] if line in modes else modes
        parts = t("or").join(t("the_part", part=term(mode, language)) for mode in named)
        p = share_text(rule.get("probability"))
        claims.append(t("claim_rule", parts=parts, p=p) if named else t("claim_rule_unnamed"))
    if line is not None and line not in (model, *modes):
        claims.append(t("claim_lines" if rule is None else "claim_shown", part=term(line, language)))
    part = term(model or line, language)
    if len(claims) > 1:
        what = t("said_differ", claims=", ".join(claims))
    elif rule is not None:
        what = t("said_rule", claims=claims[0])
    elif model is not None:
        own = next((one for one in shown.get("lines") or () if one["part"] == model), None)
        missing = own is not None and own["db"] is not None and not own["found"]
        key = "said_part_and_lines" if line is not None else "said_part_alone" if missing else "said_part"
        what = t(key, part=part)
    elif line is not None:
        what = t("said_lines" if degree else "said_only_lines", part=part)
    else:
        what = t("said_open") if degree else ""
    return t(degree, what=what) if degree else what[:1].upper() + what[1:]


def _shares(case: Mapping[str, Any]) -> dict[str, float] | None:
    return case.get("fault_shares") or None


def is_clear(shares: Mapping[str, float] | None) -> bool:
    """Return whether the model's most probable part is named; `shares` of the fault probability, None: not known.

    >>> is_clear({"ball": 0.8, "inner_race": 0.2}), is_clear({"ball": 0.6, "inner_race": 0.4}), is_clear(None)
    (True, False, True)
    """
    return shares is None or max(shares.values(), default=0.0) >= UNCLEAR


def _is_part(mode: str | None) -> bool:
    return mode is not None and mode != "fault_unknown"


def _questions(
    case: Mapping[str, Any], by_code: Mapping[str, Any], t: _Words, language: str
) -> Iterator[tuple[str, str]]:
    p, low, high = (case.get(name) for name in ("fault_probability", "fault_q05", "fault_q95"))
    if p is None:
        return
    band = {"p": share_text(p), "low": share_text(low), "high": share_text(high)}
    narrow = low is None or high is None or band["low"] == band["p"] == share_text(1.0 - 1e-9)
    yield t("is_faulty"), band["p"] if narrow else t("with_band", **band)
    if not by_code.keys() & DEGREES.keys() or not _is_part(case["mode"]):
        return
    shares = sorted((_shares(case) or {}).items(), key=lambda item: (-item[1], item[0]))
    named = [f"{term(name, language)} {_percent(share)}" for name, share in shares if share >= LEAST_SHARE]
    yield t("which_part"), ", ".join(named) or term(case["mode"], language)


def _percent(share: float) -> str:
    return ">99 %" if share >= 0.995 else f"{100 * share:.0f} %"


def _evidence(
    case: Mapping[str, Any], by_code: Mapping[str, Any], shown: Mapping[str, Any], t: _Words, language: str
) -> Iterator[str]:
    """Return a sentence for each line that was found, the highest first, then for each named part without one.

    Lines of the cage count only where the cage is named: a ball fault has them as well.
    """
    named = set(by_code.get("unmodelled", {}).get("modes", ()))
    if by_code.keys() & DEGREES.keys():
        named |= {name for name, share in (_shares(case) or {case["mode"]: 1.0}).items() if share >= LEAST_SHARE}
    lines: Sequence[Mapping[str, Any]] = shown.get("lines") or ()
    for line in sorted(lines, key=lambda line: (not line["found"], -(line["db"] or 0.0))):
        if line["part"] in named or (line["part"] != CAGE and (line["found"] or line.get("belongs_to") in named)):
            yield _line(line, t, language)


def _line(line: Mapping[str, Any], t: _Words, language: str) -> str:
    expected, order, db = line["expected"], line["order"], line["db"]
    texts = {"part": term(line["part"], language), "db": "" if db is None else f"{db:.0f}"}
    texts |= {
        "expected": "" if expected is None else f"{expected:.2f}",
        "order": "" if order is None else f"{order:.2f}",
    }
    if line.get("belongs_to"):
        return t("line_of_other", **texts, other=term(line["belongs_to"], language))
    if not line["found"]:
        return t("line_unread" if db is None else "line_against", **texts)
    if expected is None:
        return t("line_measured", **texts)
    if order is None:
        return t("line_near", **texts)
    return t("line_for", **texts, off=f"{100.0 * (order / expected - 1.0):+.1f}")


def _reason(reason: Mapping[str, Any], shown: Mapping[str, Any], t: _Words, language: str) -> Iterator[Line]:
    code = str(reason.get("code", ""))
    if code in ("data", "blocked") and reason.get("channels"):
        for one in reason["channels"]:
            yield Line(_channel(code, one, t, language), _time(reason.get("first_at")))
    elif code == "silent":
        yield Line(t("why_silent"), _time(reason.get("since") or reason.get("first_at")))
    elif code == "unseen":
        regime = _regime(shown, t)
        yield Line(t("why_unseen", regime=regime) if regime else t("why_unseen_plain"))
    elif code == "ambiguous" and reason.get("figure") == "predictive_entropy":
        yield Line(t("why_unsure"))
    elif code == "new_program" and reason.get("programs"):
        yield Line(t("why_new_program", program=", ".join(reason["programs"])))
    elif code == "confirm" and reason.get("finding"):
        named = {name: term(reason[name], language) for name in ("finding", "evidence")}
        if reason.get("other_unit"):
            other = {"unit": str(reason["other_unit"]), "other": term(reason["other_finding"], language)}
            yield Line(t("why_confirm_same", who=str(reason["who"]), **named, **other))
            return
        yield Line(t("why_confirm", who=str(reason["who"]), p=share_text(reason["challenger"]), **named))
    elif code in ORDER:
        plain = f"why_{code}_plain"
        yield Line(
            t(plain if plain in WORDS else f"why_{code}"), _time(reason.get("first_at")) if code == "data" else None
        )
        if code in ("data", "confirm") and reason.get("text"):
            yield Line(str(reason["text"]))
    else:
        yield Line(str(reason.get("text") or code))


def _channel(code: str, one: Mapping[str, Any], t: _Words, language: str) -> str:
    if code == "blocked":
        return t("why_blocked", channel=str(one["channel"]), p=share_text(one["probability"]))
    check = f"check_{one['verdict']}"
    counts = {name: str(one[name]) for name in ("bad", "windows")}
    share = "" if one["bad"] == one["windows"] else t("some_windows", **counts)
    verdict = term(one["verdict"], language)
    return t("why_data", channel=str(one["channel"]), verdict=verdict, share=share, check=t(check))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _regime(shown: Mapping[str, Any], t: _Words) -> str:
    program, speed = shown.get("program"), shown.get("shaft_speed_rpm")
    rpm = "" if speed is None else f"{speed:,.0f}"
    if program is not None and speed is not None:
        return t("regime_words", program=str(program), speed=rpm)
    if program is not None:
        return t("regime_program", program=str(program))
    return t("regime_speed", speed=rpm) if speed is not None else ""
