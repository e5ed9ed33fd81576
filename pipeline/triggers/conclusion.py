"""The conclusion: whether a retraining is started, from the triggers that fired and the guards that hold back."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.triggers.decision import Decision

NAME = "decision"
NEEDS_NEW_LABELS = frozenset(
    {"feature_drift", "score_drift", "calibration", "novelty_rate", "review_rate", "performance"}
)
"""Triggers that say that something changed, and bring nothing to learn from."""


def conclude(
    triggers: Sequence[Decision], guards: Sequence[Decision], *, to_learn_from: int, refused: str = ""
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
        return Decision(NAME, False, "no trigger fired", figures)
    told = f"fired: {', '.join(fired)}"
    if refused:
        return Decision(NAME, False, f"{told}; {refused}", figures)
    if held:
        return Decision(NAME, False, f"{told}; held back: {'; '.join(one.reason for one in held)}", figures)
    if to_learn_from == 0 and set(fired) <= NEEDS_NEW_LABELS:
        text = "no finding is new, so training again would give the same model; label what `axiswatch ask` names"
        return Decision(NAME, False, f"{told}; {text}", figures)
    return Decision(NAME, True, told, figures)
