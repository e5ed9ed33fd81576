"""The bins of time that axis states cover."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def bin_start(moment: datetime, period: timedelta) -> datetime:
    """Give the start of the bin that a time falls into; bins are counted from 1970 in UTC."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return epoch + (moment - epoch) // period * period
