"""Performance: how many confirmed faults had no case, and how many answered alarms were false, since the promotion."""

from __future__ import annotations

from typing import Any, Final

from scipy.stats import binomtest

from pipeline.watch.triggers.decision import Decision, check_share

NAME: Final = "performance"


def performance(
    *,
    missed: int,
    faults: int,
    false_alarms: int,
    alarms: int,
    max_missed: float,
    max_false: float,
    level: float = 0.95,
) -> Decision:
    """Fire when a rate is above what is allowed, by its exact interval.

    Parameters
    ----------
    missed, faults
        Units with a confirmed fault that no case had been opened for, of all units with a confirmed fault.
    false_alarms, alarms
        Units whose alarm was answered with "healthy", of all units whose alarm was answered.
    max_missed, max_false
        Rates that are allowed, in (0, 1).
    level
        Confidence over both rates together, in (0, 1): each one-sided lower limit (Clopper and Pearson 1934) has the
        chance (1 - level) / 2 to lie above the true rate.

    Raises
    ------
    ValueError
        A count is negative or above its total, or a rate is out of range.
    """
    for share_name, share in (("max_missed", max_missed), ("max_false", max_false), ("level", level)):
        check_share(share_name, share)
    figures: dict[str, Any] = {"level": level}
    texts, fired = [], False
    for word, count, total, most in (
        ("missed faults", missed, faults, max_missed),
        ("false alarms", false_alarms, alarms, max_false),
    ):
        if not 0 <= count <= total:
            raise ValueError(f"{word}: the count {count} of {total} is impossible.")
        key = word.replace(" ", "_")
        figures[key] = {"count": count, "units": total, "rate": None, "low": None, "high": None, "allowed": most}
        if total == 0:
            texts.append(f"{word}: no unit to count")
            continue
        interval = binomtest(count, total).proportion_ci(level, method="exact")  # two-sided: (1 - level) / 2 a side
        figures[key] |= {"rate": count / total, "low": float(interval.low), "high": float(interval.high)}
        above = interval.low > most
        fired = fired or bool(above)
        texts.append(
            f"{word}: {count} of {total} units ({interval.low:.2f} to {interval.high:.2f}), "
            f"{'clearly' if above else 'not clearly'} above the allowed {most:g}"
        )
    return Decision(NAME, fired, "; ".join(texts), figures)
