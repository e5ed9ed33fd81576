"""Reliability of what was reviewed: what the model said of a case, against what somebody found."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pipeline.labels.labels import not_withdrawn
from pipeline.labels.words import Verdict
from pipeline.store.database import Store
from pipeline.store.tables import Case, Label

BINS = 10


def reliability(store: Store) -> list[dict[str, Any]]:
    """Give, by tenths of the case's fault probability, the mean said and the share found faulty, with the number.

    The newest finding of a case counts. `unsure` and `sensor_or_data` say nothing of the machine and are left out.
    A case weighs 1 / the chance with which it was selected (`Case.selection_probability`, audits); what was flagged
    came to review for certain and weighs 1.
    """
    query = (
        sa.select(Label.case_id, Label.verdict, Case.fault_probability, Case.selection_probability)
        .join(Case, Case.case_id == Label.case_id)
        .where(
            Case.fault_probability.is_not(None),
            not_withdrawn(),
            Label.verdict.in_([Verdict.FAULT, Verdict.HEALTHY, Verdict.BENIGN_CHANGE]),
        )
        .order_by(Label.known_at, Label.label_id)
    )
    with store.read() as connection:
        newest = {row.case_id: row for row in connection.execute(query)}
    bins: dict[int, list[Any]] = {}
    for row in newest.values():
        bins.setdefault(min(int(row.fault_probability * BINS), BINS - 1), []).append(row)
    return [
        {
            "from": index / BINS,
            "to": (index + 1) / BINS,
            "said": _mean(rows, [row.fault_probability for row in rows]),
            "found": _mean(rows, [float(row.verdict == Verdict.FAULT) for row in rows]),
            "n": len(rows),
        }
        for index, rows in sorted(bins.items())
    ]


def _mean(rows: list[Any], values: list[float]) -> float:
    weights = [1.0 / (row.selection_probability or 1.0) for row in rows]
    return sum(w * value for w, value in zip(weights, values, strict=True)) / sum(weights)
