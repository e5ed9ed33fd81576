"""Rise of a rate: the share of bins that are new to the model, or go to review, now against its first days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.base.figures import finite_or_none
from pipeline.watch.triggers.decision import Decision, check_share
from pipeline.watch.triggers.sign_flips import max_t, sign_flips

FLIPS: Final = 4096
SEED: Final = 20


def rate_rise(
    before: Sequence[float] | npt.NDArray[np.float64],
    now: Sequence[float] | npt.NDArray[np.float64],
    *,
    name: str,
    min_rise: float,
    alpha: float,
    min_units: int,
    explained: Mapping[str, str] | None = None,
) -> Decision:
    """Fire when the mean rate over units has risen by enough, and on most units.

    Parameters
    ----------
    before, now : float arrays, shape (units,)
        Share of flagged bins of each unit, in the first days of the model and now; NaN where a unit has no bin.
    name
        Name of the trigger, for example `novelty_rate`.
    min_rise
        Least rise of the mean over units, 0 to 1.
    alpha
        Allowed chance of a false alarm, in (0, 1): level of the one-sided test of sign flips over units.
    min_units
        Units that are needed. Below log2(1 / alpha) it could never fire.
    explained
        Units that the caller left out, with the reason; only reported.
    """
    check_share("alpha", alpha)
    before, now = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
    both = np.isfinite(before) & np.isfinite(now)
    n = int(both.sum())
    rise = now[both] - before[both]
    figures = {
        "units": n,
        "before": finite_or_none(before[both].mean()) if n else None,
        "now": finite_or_none(now[both].mean()) if n else None,
        "rise": finite_or_none(rise.mean()) if n else None,
        "p": None,
        "min_rise": min_rise,
        "alpha": alpha,
        "min_units": min_units,
        "explained": dict(explained or {}),
    }
    if n < min_units:
        return Decision(name, False, f"{n} units have a rate in both periods; {min_units} are needed", figures)
    t, p = max_t(rise[:, None], sign_flips(n, most=FLIPS, seed=SEED))
    # One-sided: half of the flips that reach |t| reach t.
    one_sided = float(p[0]) / 2.0 if t[0] > 0 else 1.0 - float(p[0]) / 2.0
    figures["p"] = one_sided
    fired = bool(rise.mean() >= min_rise and one_sided <= alpha)
    text = f"mean rate {figures['before']:.3f} before, {figures['now']:.3f} now, over {n} units (p {one_sided:.3g})"
    if not fired:
        text += f"; it fires at a rise of {min_rise:g} with p at most {alpha:g}"
    return Decision(name, fired, text, figures)
