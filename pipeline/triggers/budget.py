"""Budget: a guard. Only so many retrainings in a stretch of time, so that a trigger gone wild costs no more."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.triggers.decision import Decision

NAME = "budget"


def budget(days_ago: Sequence[float], *, most: int, period_days: float) -> Decision:
    """Hold back once the retrainings of the period are used up.

    Parameters
    ----------
    days_ago
        How long ago each retraining was, days, 0 or more; in any order.
    most
        Retrainings in a period; 0: none at all, retraining is by hand only.
    period_days
        Length of the period that ends now, days; what is exactly that old counts no more.
    """
    used = sum(0.0 <= days < period_days for days in days_ago)
    figures = {"used": used, "most": most, "period_days": period_days}
    told = f"{used} of {most} retrainings in {period_days:g} days"
    if used >= most:
        return Decision(NAME, True, f"{told}: the budget is used up", figures)
    return Decision(NAME, False, told, figures)
