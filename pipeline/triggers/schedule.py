"""Schedule: the champion is so old that it is trained anew whatever else is known."""

from __future__ import annotations

from pipeline.triggers.decision import Decision

NAME = "schedule"


def schedule(age_days: float | None, *, max_age_days: float) -> Decision:
    """Fire when the champion's age has reached a limit.

    Parameters
    ----------
    age_days
        Days since the champion's label cut-off, or since the last retraining if that is later: one that kept the
        champion has just found it good. None: there is no champion.
    max_age_days
        Age at which it fires, days; 0: never.
    """
    figures = {"age_days": age_days, "max_age_days": max_age_days}
    if age_days is None:
        return Decision(NAME, False, "there is no champion whose age could be told", figures)
    if max_age_days <= 0:
        return Decision(NAME, False, "no age is set at which a champion is trained anew", figures)
    fired = age_days >= max_age_days
    told = f"{age_days:.1f} days since the last training, {max_age_days:g} are allowed"
    return Decision(NAME, fired, f"{told}: it is due" if fired else told, figures)
