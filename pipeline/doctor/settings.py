"""Settings that are allowed, each by itself, and cost something together."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.doctor.finding import Patient, Said

DAYS_OF_A_MONTH = 28


def settings(patient: Patient) -> Said:
    """Say which file was read, and which settings contradict each other."""
    yield False, f"read from {patient.config or 'the environment alone, without a TOML file'}"
    for text in contradictions(patient, cores=os.cpu_count() or 1):
        yield True, text


def contradictions(patient: Patient, *, cores: int) -> list[str]:
    """Return a sentence on each pair of settings of which one undoes the other."""
    settings = patient.settings
    days_kept = settings.retention_months * DAYS_OF_A_MONTH
    reads_back = {
        "drift_days": 2 * settings.drift_days,
        "level_days": settings.level_days,
        "payback_days": settings.payback_days,
        "rescore_days": settings.rescore_days,
        "trend_days": settings.trend_days,
    }
    lost = [name for name, days in reads_back.items() if 0 < days_kept < days]
    alarm, review = settings.alarm_probability, settings.review_probability
    due, cooldown = settings.retrain_after_days, settings.retrain_cooldown_days
    found = {
        f"retention_months {settings.retention_months} deletes what {', '.join(lost)} read back; raise it": bool(lost),
        f"review_probability {review} is not below alarm_probability {alarm}, so nothing goes to review by it; lower "
        "it": alarm is not None and review is not None and review >= alarm,
        f"retrain_after_days {due:g} makes a retraining due, retrain_budget 0 never starts one; change one of them": due
        > 0
        and settings.retrain_budget == 0,
        f"retrain_cooldown_days {cooldown:g} holds back what retrain_after_days {due:g} makes due; lower it": 0
        < due
        < cooldown,
        f"case_gap_hours {settings.case_gap_hours:g} is not above state_period_hours {settings.state_period_hours:g}, "
        "so each bin is an episode of its own; raise it": settings.case_gap_hours <= settings.state_period_hours,
        f"workers {settings.workers} are more than the {cores} cores here and only take memory; lower it": (
            settings.workers > cores
        ),
        "case_mail_host is set without case_mail_from and case_mail_to, so no e-mail leaves; set both": bool(
            settings.case_mail_host and not (settings.case_mail_from and settings.case_mail_to)
        ),
        "review_secure_cookie is false, so the session also travels over plain HTTP; serve HTTPS and set it to "
        "true": not settings.review_secure_cookie,
        f"clock_offset_s {settings.clock_offset_s:g} moves the clock, which only a demonstration wants; set it to "
        "0": settings.clock_offset_s != 0,
        "the landing zone and the lake lie in one another, so files of the lake are read as logs; move one of "
        "them": "://" not in settings.lake and _nested(settings.landing_zone, Path(settings.lake)),
    }
    return [text for text, is_so in found.items() if is_so]


def _nested(one: Path, other: Path) -> bool:
    first, second = one.absolute().resolve(), other.absolute().resolve()
    return first.is_relative_to(second) or second.is_relative_to(first)
