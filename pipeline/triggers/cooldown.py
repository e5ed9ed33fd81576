"""Cooldown: a guard. After a retraining nothing is started for a while, whatever asks for it."""

from __future__ import annotations

from pipeline.triggers.decision import Decision

NAME = "cooldown"


def cooldown(days_since: float | None, *, cooldown_days: float) -> Decision:
    """Hold back while the last retraining is younger than the cooldown.

    Parameters
    ----------
    days_since
        Days since the last retraining was started or decided, whichever is later; None: there was none.
    cooldown_days
        Length of the cooldown, days; 0: none.
    """
    figures = {"days_since": days_since, "cooldown_days": cooldown_days}
    if days_since is None:
        return Decision(NAME, False, "there was no retraining yet", figures)
    if days_since < cooldown_days:
        text = f"the last retraining was {days_since:.2f} days ago, less than the cooldown of {cooldown_days:g} days"
        return Decision(NAME, True, text, figures)
    return Decision(NAME, False, f"the last retraining was {days_since:.1f} days ago", figures)
