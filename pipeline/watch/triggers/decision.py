"""The decision of one trigger: whether it fired, why, and every figure that it looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Decision:
    """What one trigger decided, or one guard that holds retrainings back.

    Attributes
    ----------
    trigger : str
        Its name.
    fired : bool
        A trigger that fired asks for a retraining; a guard (cooldown, budget) that fired holds it back.
    reason : str
        A sentence, whether it fired or not.
    figures : dict
        All that it looked at and its thresholds; plain JSON values, None where a figure is not defined.
    """

    trigger: str
    fired: bool
    reason: str
    figures: dict[str, Any] = field(default_factory=dict)


def check_share(name: str, value: float) -> None:
    """Refuse a value that is not a share.

    Raises
    ------
    ValueError
        It does not lie strictly between 0 and 1.
    """
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}.")
