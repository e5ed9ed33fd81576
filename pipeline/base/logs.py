"""Structured logs: one JSON object a line for each step and batch of a run, with the standard library's logging.

Off until the setting `log_format` is `json`. Lines go to standard error, so the result of a command stays alone.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from pipeline.base.errors import readable, without_secrets
from pipeline.base.ids import utc_text

LOGGER: Final = logging.getLogger("axiswatch")


class JsonLine(logging.Formatter):
    """Writes a record as one JSON object: time (true, UTC), level, event, and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        facts = {
            "time": utc_text(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        return json.dumps(facts, ensure_ascii=False, allow_nan=False)


def log_as(log_format: str) -> None:
    """Switch the log of runs on (`json`) or off (empty). Call it again as often as you like."""
    LOGGER.handlers.clear()
    LOGGER.propagate = False
    LOGGER.addHandler(handler := logging.StreamHandler() if log_format else logging.NullHandler())
    handler.setFormatter(JsonLine())
    LOGGER.setLevel(logging.INFO if log_format else logging.CRITICAL)


@contextmanager
def logged(task: str, *, run: datetime | None, batch: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Log the end of a task: its run (`as_of`), its batch, what it counted, seconds, and the error if it failed.

    Parameters
    ----------
    batch
        What the task was given; only texts and numbers are logged.

    Yields
    ------
    dict
        To be filled with what the task returns.
    """
    fields: dict[str, Any] = {"task": task}
    if run is not None:
        fields["run"] = utc_text(run)
    if batch:
        fields["batch"] = plain_facts(batch)
    started = time.monotonic()
    result: dict[str, Any] = {}
    try:
        yield result
    except Exception as error:
        fields |= {"seconds": round(time.monotonic() - started, 3), "error": type(error).__name__}
        LOGGER.exception("failed", extra={"fields": fields | {"message": readable(without_secrets(str(error)))}})
        raise
    fields |= {"seconds": round(time.monotonic() - started, 3), "counts": plain_facts(result)}
    LOGGER.info("done", extra={"fields": fields})


def plain_facts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return texts and finite numbers by name, those of inner mappings too; of a list its length."""
    facts: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            facts[name] = plain_facts(value)
        elif isinstance(value, list | tuple):
            facts[name] = len(value)
        elif isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
            facts[name] = value
    return facts
