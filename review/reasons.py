"""Why a case is in the queue, in the viewer's language: from the code of each reason and the signal evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline.cases.queue import LOOKS_FAULTY, LOOKS_HEALTHY
from review.terms import share_text, term
from review.words import WORDS


def headlines(case: Mapping[str, Any], evidence: Mapping[str, Any] | None, language: str) -> list[str]:
    """Return one short sentence for each reason, then one each about the highest envelope line and about look-alikes.

    Parameters
    ----------
    case
        `reasons`, `fault_probability`, `mode` are read; `memory` and `rests_on` if they are there.
    evidence
        The row of `pipeline.store.tables.CaseEvidence`; None where there is none yet: the sentences are less specific.
    language
        `en` or `ko`.
    """

    def t(key: str, **parts: str) -> str:
        return WORDS[key][language].format(**parts) if parts else WORDS[key][language]

    alarmed = any(reason["code"] == "fault" for reason in case["reasons"])
    told = [reason for reason in case["reasons"] if not (alarmed and reason["code"] == "undecided")]
    sentences = [_headline(reason, case, evidence or {}, t, language) for reason in told]
    if evidence is not None and evidence["line"] is not None:
        order, height = f"{evidence['line_order']:.2f}", f"{evidence['line_db']:.0f}"
        line = {"bpfo": "outer_race", "bpfi": "inner_race", "bsf2x": "ball"}.get(evidence["line"], evidence["line"])
        sentences.append(t("why_line", order=order, line=term(line, language), db=height))
    memory = case.get("memory")
    if memory is not None and not LOOKS_HEALTHY < memory < LOOKS_FAULTY:
        faulty = memory >= LOOKS_FAULTY
        votes = [vote for vote in case["rests_on"] if (vote["verdict"] == "fault") == faulty]
        sentences.append(_look_alike(max(votes, key=lambda vote: vote["weight"]), t, language))
    return sentences


def _look_alike(vote: Mapping[str, Any], t: Callable[..., str], language: str) -> str:
    found = term(vote["mode"] or vote["verdict"], language)
    parts = {"case": vote["case_id"], "place": _place_of(vote), "evidence": t(f"by_{vote['evidence']}"), "found": found}
    return t("why_remembered", **parts)


def _place_of(row: Mapping[str, Any]) -> str:
    return "/".join(row[name] for name in ("site", "cell", "robot_id", "axis") if row[name])


def effect_lines(effect: Mapping[str, Any] | None, language: str) -> list[str]:
    """Return what a finding changes (`pipeline.cases.effects.effect_of`) as sentences; empty where there is none."""
    if effect is None:
        return []

    def t(key: str, **parts: Any) -> str:
        return WORDS[key][language].format(**parts)

    lines = [t("effect_none")]
    if effect["up"] or effect["down"]:
        lines = [t("effect_moved", up=effect["up"], down=effect["down"])]
    if effect["level_of"] is not None:
        lines.append(t("effect_level", site=effect["level_of"] or "–"))
    waiting = [one for one in effect["training"] if one["labels"]]
    return lines + [t("effect_training", labels=one["labels"], scope=term(one["scope"], language)) for one in waiting]


def _headline(
    reason: Mapping[str, Any],
    case: Mapping[str, Any],
    evidence: Mapping[str, Any],
    t: Callable[..., str],
    language: str,
) -> str:
    code = str(reason.get("code", ""))
    if code == "fault" and case["fault_probability"] is not None:
        p = share_text(case["fault_probability"])
        if case["mode"] is None:
            return t("why_fault_plain", p=p)
        return t("why_fault", p=p, mode=term(case["mode"], language))
    if code in ("unseen", "new_program"):
        regime = _regime(evidence, t)
        return t(f"why_{code}", regime=regime) if regime else t(f"why_{code}_plain")
    if f"why_{code}" in WORDS and code != "fault":
        return t(f"why_{code}")
    return str(reason.get("text", code))


def _regime(evidence: Mapping[str, Any], t: Callable[..., str]) -> str:
    program, speed = evidence.get("program"), evidence.get("shaft_speed_rpm")
    rpm = "" if speed is None else f"{speed:,.0f}"
    if program is not None and speed is not None:
        return t("regime_words", program=program, speed=rpm)
    if program is not None:
        return t("regime_program", program=program)
    return t("regime_speed", speed=rpm) if speed is not None else ""
