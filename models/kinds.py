"""Kinds of models: healthy or faulty, which fault, or only how far from the known."""

from __future__ import annotations

from typing import Literal

HEALTHY = "healthy"
"""Name of the healthy class; where it is present it is class 0."""

UNKNOWN_FAULT = "fault_unknown"
"""Name of the fault class where no fault has a known mode."""

UNKNOWN_MODE = -1
"""Target of a window known to be faulty without knowing the mode: trains on the summed fault probability."""

Kind = Literal["classification", "fault_types", "baseline_only"]


class TrainingRefused(ValueError):
    """The data do not allow a model that can be trusted; the message says why and what to do."""


def kind_of(classes: tuple[str, ...]) -> Kind:
    """Return the kind of model that a class list allows.

    Parameters
    ----------
    classes
        Class names without repetition, ``"healthy"`` first if present.

    Returns
    -------
    Kind
        ``classification`` (healthy and at least one fault), ``fault_types`` (at least two faults, no healthy
        class: no fault probability) or ``baseline_only`` (healthy alone: novelty only).

    Raises
    ------
    TrainingRefused
        Empty or repeated names, ``healthy`` not first, or one fault class alone.

    Examples
    --------
    >>> kind_of(("healthy", "inner")), kind_of(("inner", "outer")), kind_of(("healthy",))
    ('classification', 'fault_types', 'baseline_only')
    """
    if not classes:
        raise TrainingRefused("The class list is empty: label some units first.")
    if len(set(classes)) != len(classes) or any(not name for name in classes):
        raise TrainingRefused(f"Class names must be non-empty and different from one another, got {list(classes)}.")
    if HEALTHY in classes:
        if classes[0] != HEALTHY:
            raise TrainingRefused(f"The class '{HEALTHY}' must come first, got {list(classes)}.")
        return "classification" if len(classes) > 1 else "baseline_only"
    if len(classes) == 1:
        raise TrainingRefused(
            f"Only one fault class ('{classes[0]}') and no healthy unit: there is nothing to tell it from. "
            "Label healthy units, or a second fault class."
        )
    return "fault_types"


def healthy_index(classes: tuple[str, ...]) -> int | None:
    """Return the index of the healthy class (0), or None where there is none.

    >>> healthy_index(("healthy", "inner")), healthy_index(("inner", "outer"))
    (0, None)
    """
    return 0 if classes and classes[0] == HEALTHY else None
