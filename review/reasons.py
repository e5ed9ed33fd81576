"""Why a case is in the queue, in the viewer's language: from the code of each reason and the signal evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from review.terms import share_text, term
from review.words import WORDS


def headlines(case: Mapping[str, Any], evidence: Mapping[str, Any] | None, language: str) -> list[str]:
    """Return one short sentence for each reason, then one about the highest line of the envelope spectrum.

    Parameters
    ----------
    case
        `reasons`, `fault_probability` and `mode` are read.
    evidence
        The row of `pipeline.store.tables.CaseEvidence`; None where there is none yet: the sentences are less specific.
    language
        `en` or `ko`.
    """

    def t(key: str, **parts: str) -> str:
        return WORDS[key][language].format(**parts) if parts else WORDS[key][language]

    sentences = [_headline(reason, case, evidence or {}, t, language) for reason in case["reasons"]]
    if evidence is not None and evidence["line"] is not None:
        order, height = f"{evidence['line_order']:.2f}", f"{evidence['line_db']:.0f}"
        line = {"bpfo": "outer_race", "bpfi": "inner_race", "bsf2x": "ball"}.get(evidence["line"], evidence["line"])
        sentences.append(t("why_line", order=order, line=term(line, language), db=height))
    return sentences


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
