"""Guards hold a retraining back although a trigger fired; the conclusion says what triggers and guards come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from pipeline.promotion.decisions import CONCLUSION
from pipeline.watch.triggers.decision import Decision

COOLDOWN: Final = "cooldown"
BUDGET: Final = "budget"


def cooldown(days_since: float | None, *, cooldown_days: float) -> Decision:
    """Hold back for some time after a retraining.

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
        text = f"the last retraining was {days_since:.2f} days ago, the cooldown is {cooldown_days:g} days"
        return Decision(COOLDOWN, True, text, figures)
    return Decision(COOLDOWN, False, f"the last retraining was {days_since:.1f} days ago", figures)


def budget(days_ago: Sequence[float], *, most: int, period_days: float) -> Decision:
    """Hold back when all retrainings that a period may have are used.

    Parameters
    ----------
    days_ago
        How many days ago each retraining was, 0 or more; in any order.
    most
        Retrainings that a period may have; 0: none, a retraining is started by hand only.
    period_days
        Length of the period that ends now, days. A retraining of exactly that age does not count.
    """
    used = sum(0.0 <= days < period_days for days in days_ago)
    figures = {"used": used, "most": most, "period_days": period_days}
    text = f"{used} of {most} retrainings in {period_days:g} days are used"
    return Decision(BUDGET, used >= most, text, figures)


def conclude(
    triggers: Sequence[Decision],
    guards: Sequence[Decision],
    *,
    to_learn_from: int,
    too_few: str = "",
    waiting: Mapping[str, datetime] | None = None,
    refused: str = "",
) -> Decision:
    """Decide whether to start a retraining.

    Parameters
    ----------
    triggers, guards
        Their decisions.
    to_learn_from
        Changes of the training set since the last attempt: new labels and withdrawn ones. With 0, training again gives
        the same model: nothing is started, and the reason asks for labels.
    too_few
        Why the gate would refuse a challenger whatever it says: too few new findings; empty: there are enough.
    waiting
        Triggers that fired at an earlier time, and that no retraining has answered since, with that time. They ask for
        a retraining like those that fire now.
    refused
        Why this run may start nothing, whatever fired; empty: it may.
    """
    fired = [decision.trigger for decision in triggers if decision.fired]
    earlier = {name: at for name, at in (waiting or {}).items() if name not in fired}
    held = [decision for decision in guards if decision.fired]
    figures = {
        "triggers": [*fired, *earlier],
        "waiting": {name: at.isoformat() for name, at in earlier.items()},
        "held_back_by": [decision.trigger for decision in held],
        "to_learn_from": to_learn_from,
        "refused": refused,
    }
    if not fired and not earlier:
        return Decision(CONCLUSION, False, "no trigger fired", figures)
    asked = [f"fired: {', '.join(fired)}"] * bool(fired)
    dated = ", ".join(f"{name} ({at:%Y-%m-%d})" for name, at in earlier.items())
    asked += [f"fired before and still waits: {dated}"] * bool(earlier)
    asked_by = "; ".join(asked)
    if refused:
        return Decision(CONCLUSION, False, f"{asked_by}; {refused}", figures)
    if held:
        why = "; ".join(decision.reason for decision in held)
        return Decision(CONCLUSION, False, f"{asked_by}; held back: {why}", figures)
    if to_learn_from == 0:
        too_few = "there is no new label, so training again would give the same model"
    if too_few:
        return Decision(CONCLUSION, False, f"{asked_by}; {too_few}; label what `axiswatch ask` lists", figures)
    return Decision(CONCLUSION, True, asked_by, figures)
