"""Performance: faults that were missed and alarms that were false, as confirmed findings since the promotion tell."""

from __future__ import annotations

from typing import Any

from scipy.stats import binomtest

from pipeline.watch.triggers.decision import Decision, check_share

NAME = "performance"


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
    """Fire when the exact interval of a rate lies above what is allowed.

    Parameters
    ----------
    missed, faults
        Units with a confirmed fault that no case had been opened for, of all units with a confirmed fault.
    false_alarms, alarms
        Units whose alarm was answered with healthy, of all units whose alarm was answered.
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
            raise ValueError(f"{word}: {count} of {total} cannot be.")
        key = word.replace(" ", "_")
        figures[key] = {"count": count, "units": total, "rate": None, "low": None, "high": None, "allowed": most}
        if total == 0:
            texts.append(f"{word}: no unit tells")
            continue
        found = binomtest(count, total).proportion_ci(level, method="exact")  # two-sided: (1 - level) / 2 a side
        figures[key] |= {"rate": count / total, "low": float(found.low), "high": float(found.high)}
        above = found.low > most
        fired = fired or bool(above)
        texts.append(
            f"{word}: {count} of {total} units, between {found.low:.2f} and {found.high:.2f}, "
            f"{'above' if above else 'not surely above'} {most:g}"
        )
    return Decision(NAME, fired, "; ".join(texts), figures)
