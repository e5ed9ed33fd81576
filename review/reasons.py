"""What people found on look-alikes, and what a finding changes, in the viewer's language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.cases.queue import LOOKS_FAULTY, LOOKS_HEALTHY
from pipeline.scoring.levels import MIN_UNITS
from review.statements import Line, Statement, statement_of
from review.terms import term
from review.words import WORDS


def case_statement(case: Mapping[str, Any], evidence: Mapping[str, Any] | None, language: str) -> Statement:
    """Return what is said of a case (`statement_of`), with a last note about its look-alikes.

    Parameters
    ----------
    case
        As for `statement_of`; `memory` and `rests_on` if they are there.
    evidence
        The row of `pipeline.store.tables.CaseEvidence`; None where there is none yet: the sentences are less specific.
    language
        `en` or `ko`.
    """
    said = statement_of(case, evidence, language)
    memory = case.get("memory")
    if memory is None or LOOKS_HEALTHY < memory < LOOKS_FAULTY:
        return said
    votes = [vote for vote in case["rests_on"] if (vote["verdict"] == "fault") == (memory >= LOOKS_FAULTY)]
    alike = _look_alike(max(votes, key=lambda vote: vote["weight"]), language)
    return replace(said, notes=(*said.notes, Line(alike)))


def _look_alike(vote: Mapping[str, Any], language: str) -> str:
    parts = {
        "case": vote["case_id"],
        "place": _place_of(vote),
        "found": term(vote["mode"] or vote["verdict"], language),
    }
    evidence = WORDS[f"by_{vote['evidence']}"][language]
    return WORDS["why_remembered"][language].format(evidence=evidence, **parts)


def _place_of(row: Mapping[str, Any]) -> str:
    return "/".join(row[name] for name in ("site", "cell", "robot_id", "axis") if row[name])


def level_reason(row: Mapping[str, Any], language: str) -> str:
    """Return why the levels of a site are what they are, from the figures of the row, or from what a person said.

    Parameters
    ----------
    row
        A row of `pipeline.store.tables.PlantLevel`.
    language
        `en` or `ko`.
    """

    def t(key: str, **parts: Any) -> str:
        return WORDS[key][language].format(**parts)

    for key, act in (("level_taken_back", "taken back"), ("level_released", "released")):
        start = f"{act} by {row['who']}: "
        if row["reason"].startswith(start):
            return t(key, why=row["reason"].removeprefix(start))
    figures = row["figures"]
    if "units" not in figures:
        return str(row["reason"])
    said = t("level_few" if figures["units"] < MIN_UNITS else "level_estimated", units=figures["units"])
    raised = row["alarm_probability"] > figures["estimated"]
    return said + (t("level_raised", n=figures["false_alarms"]) if raised else "")


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
