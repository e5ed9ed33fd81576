"""What a trigger says: whether it fired, why, and every figure that it looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Decision:
    """The word of one trigger, or of one guard that holds retrainings back.

    Attributes
    ----------
    trigger : str
        Its name.
    fired : bool
        Of a trigger: it asks for a retraining. Of a guard (cooldown, budget): it holds one back.
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
    """Refuse what is no share.

    Raises
    ------
    ValueError
        It does not lie strictly between 0 and 1.
    """
    if not 0.0 < value < 1.0:
        raise ValueError(f"{name} must lie strictly between 0 and 1, got {value}.")
