"""Reliability of reviewed cases: predicted fault probability against confirmed faults."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from pipeline.labels.labels import not_withdrawn
from pipeline.labels.words import Verdict
from pipeline.store.database import Store
from pipeline.store.tables import Case, Label

BINS = 10


def reliability(store: Store) -> list[dict[str, Any]]:
    """Return for each tenth of the fault probability its mean, the share of confirmed faults, and the number of cases.

    The newest finding of a case counts. `unsure` and `sensor_or_data` are left out, because they are no findings about
    the machine. The weight of an audited case is 1 / its selection probability (`Case.selection_probability`); the
    weight of a flagged case is 1, because all flagged cases are reviewed.

    Returns
    -------
    list of dict
        from, to: the range of the probability. said: its weighted mean. found: the weighted share of faults. n: number
        of cases. Empty ranges are left out.
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
