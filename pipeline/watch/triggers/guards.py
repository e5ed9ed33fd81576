"""Guards: what holds a retraining back although a trigger asks for it, and what all of them come to."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pipeline.watch.triggers.decision import Decision

COOLDOWN = "cooldown"


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
        return Decision(COOLDOWN, False, "there was no retraining yet", figures)
    if days_since < cooldown_days:
        text = f"the last retraining was {days_since:.2f} days ago, less than the cooldown of {cooldown_days:g} days"
        return Decision(COOLDOWN, True, text, figures)
    return Decision(COOLDOWN, False, f"the last retraining was {days_since:.1f} days ago", figures)


BUDGET = "budget"


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
        return Decision(BUDGET, True, f"{told}: the budget is used up", figures)
    return Decision(BUDGET, False, told, figures)


CONCLUSION = "decision"


def conclude(
    triggers: Sequence[Decision],
    guards: Sequence[Decision],
    *,
    to_learn_from: int,
    needs_new_labels: Collection[str],
    refused: str = "",
) -> Decision:
    """Decide whether to start a retraining.

    Parameters
    ----------
    triggers, guards
        What each said.
    to_learn_from
        Labels that no retraining has seen, and labels taken back since: without any, training again gives the same
        model, so a trigger that only says that something changed starts nothing and asks for labels instead.
    refused
        Why nothing may be started by this run whatever fired; empty: it may.
    """
    fired = [one.trigger for one in triggers if one.fired]
    held = [one for one in guards if one.fired]
    figures = {
        "triggers": fired,
        "held_back_by": [one.trigger for one in held],
        "to_learn_from": to_learn_from,
        "refused": refused,
    }
    if not fired:
        return Decision(CONCLUSION, False, "no trigger fired", figures)
    told = f"fired: {', '.join(fired)}"
    if refused:
        return Decision(CONCLUSION, False, f"{told}; {refused}", figures)
    if held:
        return Decision(CONCLUSION, False, f"{told}; held back: {'; '.join(one.reason for one in held)}", figures)
    if to_learn_from == 0 and set(fired) <= set(needs_new_labels):
        text = "no finding is new, so training again would give the same model; label what `axiswatch ask` names"
        return Decision(CONCLUSION, False, f"{told}; {text}", figures)
    return Decision(CONCLUSION, True, told, figures)
