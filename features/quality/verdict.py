"""The verdicts about a window's signal, by name. This file imports nothing heavy: the queue reads it."""

from __future__ import annotations

from enum import StrEnum


class Quality(StrEnum):
    """Verdict about one window. The first that applies, in the order given here, `ok` if none does.

    `features.quality.quality.assess` returns those up to `mains_hum`; `features.quality.speed_check` `wrong_speed`;
    `features.quality.plausibility`, which needs a reference, the rest. `swapped_channels` and `polarity` are reported
    and never forbid a score.
    """

    NON_FINITE = "non_finite"
    TOO_SHORT = "too_short"
    FLATLINE = "flatline"
    DROPOUT = "dropout"
    CLIPPING = "clipping"
    MAINS_HUM = "mains_hum"
    RATE_MISMATCH = "rate_mismatch"
    WRONG_SPEED = "wrong_speed"
    GAIN_MISMATCH = "gain_mismatch"
    LOOSE_MOUNT = "loose_mount"
    SWAPPED_CHANNELS = "swapped_channels"
    POLARITY = "polarity"
    OK = "ok"

    @property
    def blocks(self) -> bool:
        """Whether a window with this verdict gets no score."""
        return self not in (Quality.OK, Quality.SWAPPED_CHANNELS, Quality.POLARITY)
