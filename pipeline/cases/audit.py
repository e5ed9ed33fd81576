"""The audit: engineers look at a few bins without any finding, so that missed faults can be counted.

Whoever looks only at what is flagged never learns what was missed. Bins are drawn by a keyed hash of axis, bin and the
setting `audit_seed`, not by a random generator, so a backfill draws the same bins as the live run. The chance of being
drawn is stored with the case, and each answer then counts for 1 / chance bins (D. G. Horvitz and D. J. Thompson, "A
generalization of sampling without replacement from a finite universe", 1952; as a share of the weights, J. Hajek 1971).
All functions but `open_audits`, `open_once` and `audit_figures` are pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from pipeline.base.ids import instant, stable_id, utc_text
from pipeline.cases.axis_state import FAULT_FIGURES, HEALTHY, WATCH
from pipeline.cases.episodes import CLOSED
from pipeline.cases.history import SYSTEM, add_event
from pipeline.labels.labels import not_withdrawn
from pipeline.labels.words import HEALTHY_VERDICTS, Verdict
from pipeline.store.attribution import unit_name
from pipeline.store.database import Store, insert_new
from pipeline.store.tables import Case, Label

AUDIT: Final = "audit"
"""Family of the audit cases, and the code of their only reason."""

MODEL: Final = "model"
"""Family of the case that reports a model whose probabilities are not used."""

PRIORITY: Final = {AUDIT: 0.1, MODEL: 0.45}
"""An audit is lower than any finding. A model that tells nothing comes as a silent sensor does."""

MISSED: Final = frozenset({Verdict.FAULT})
"""Verdicts that answer whether a fault was missed; the others do not answer it."""


def is_drawn(axis_id: str, bin_at: datetime, *, rate: float, seed: int) -> bool:
    """Return whether a bin is audited: its keyed hash, a number in [0, 1), lies below `rate`.

    The hash is BLAKE2b with the seed as key. A bin that is drawn at one rate is drawn at every higher rate.
    """
    key = seed.to_bytes(8, "big")
    text = f"{axis_id}|{instant(bin_at)}".encode()
    number = int.from_bytes(hashlib.blake2b(text, key=key, digest_size=8).digest(), "big")
    return number / 2.0**64 < rate


def is_confident(state: Mapping[str, Any]) -> bool:
    """Return whether nothing points to a fault: a scored bin without a flag of any kind and without an alarm."""
    return state["state"] in (HEALTHY, WATCH) and state["n_windows"] > 0 and not state["flags"]


def is_blind(case: Mapping[str, Any]) -> bool:
    """Return whether what the model says about a case stays hidden: that of an audit, until a verdict closes it."""
    return bool(case["family"] == AUDIT and case["state"] != CLOSED)


@dataclass(frozen=True)
class AuditAnswer:
    """The answer to an audit: the unit, the chance that its bin was drawn, and whether a fault was missed."""

    unit: str
    chance: float
    missed: bool


def miss_rate(answers: Sequence[AuditAnswer], *, level: float = 0.95) -> dict[str, Any]:
    """Estimate the share of confident bins in which a fault was missed.

    Each answer has the weight 1 / chance. The interval counts units, because bins of one unit are near copies. Its
    limits are exact (Clopper and Pearson) for the effective number of units, (sum w)^2 / sum w^2 over the weights of
    units (E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data", 1998).

    Parameters
    ----------
    level
        Coverage of the interval, in (0, 1).

    Returns
    -------
    dict
        miss_rate, low and high in [0, 1] (None without an answer), answers, units, effective_units.

    Raises
    ------
    ValueError
        A chance is not in (0, 1].
    """
    weights: dict[str, float] = {}
    total = missed = 0.0
    for answer in answers:
        if not 0.0 < answer.chance <= 1.0:
            raise ValueError(f"A chance lies in (0, 1], got {answer.chance}.")
        weight = 1.0 / answer.chance
        weights[answer.unit] = weights.get(answer.unit, 0.0) + weight
        total += weight
        missed += weight * answer.missed
    counts: dict[str, Any] = {"answers": len(answers), "units": len(weights)}
    if not answers:
        return {"miss_rate": None, "low": None, "high": None, **counts, "effective_units": 0.0}
    from scipy.special import betaincinv

    n = total**2 / sum(weight**2 for weight in weights.values())
    share, tail = missed / total, (1.0 - level) / 2.0
    k = share * n
    low = 0.0 if missed == 0.0 else float(betaincinv(k, n - k + 1.0, tail))
    high = 1.0 if missed == total else float(betaincinv(k + 1.0, n - k, 1.0 - tail))
    return {"miss_rate": share, "low": low, "high": high, **counts, "effective_units": n}


def open_audits(
    connection: Connection, states: Iterable[Mapping[str, Any]], *, rate: float, seed: int, as_of: datetime
) -> int:
    """Open a case for each confident bin that is drawn, once; return the number of new cases. The caller commits.

    Parameters
    ----------
    states
        Rows of `axis_states`. A bin that got scores later is checked again, and is not drawn twice.
    """
    opened = 0
    for state in states:
        if not is_confident(state) or not is_drawn(state["axis_id"], state["bin_at"], rate=rate, seed=seed):
            continue
        case = audit_case(state, rate=rate, as_of=as_of)
        opened += open_once(connection, case, {"reasons": [AUDIT], "selection_probability": rate}, as_of=as_of)
    return opened


def open_once(connection: Connection, case: Mapping[str, Any], details: dict[str, Any], *, as_of: datetime) -> bool:
    """Open a case that no flag has opened, unless it exists; return whether it is new. The caller holds its axis."""
    if not insert_new(connection, Case, case):
        return False
    add_event(connection, case["case_id"], SYSTEM, "opened", details, as_of)
    return True


def audit_case(state: Mapping[str, Any], *, rate: float, as_of: datetime) -> dict[str, Any]:
    """Return the row of an audit case."""
    name = stable_id(state["axis_id"], AUDIT, instant(state["bin_at"]), length=12)
    case = _case_of_bin(state, AUDIT, name, {"chance": rate}, as_of)
    return case | {"fault_probability": state["fault_probability"], "selection_probability": rate}


def model_case(state: Mapping[str, Any], version: str, why: str, *, as_of: datetime) -> dict[str, Any]:
    """Return the row of the one case that reports a model whose probabilities are not used; on any axis it scores."""
    facts = {"model_version": version, "why": why}
    return _case_of_bin(state, MODEL, stable_id(version, MODEL, length=12), facts, as_of)


def _case_of_bin(
    state: Mapping[str, Any], family: str, case_id: str, facts: Mapping[str, Any], as_of: datetime
) -> dict[str, Any]:
    times = {"first_at": state["first_at"], "last_at": state["last_at"]}
    reason = {"code": family, **facts, **{name: utc_text(at) for name, at in times.items()}, "n_bins": 1}
    return {
        "case_id": case_id,
        "axis_id": state["axis_id"],
        "family": family,
        "state": "open",
        **times,
        "n_bins": 1,
        "priority": PRIORITY[family],
        "reasons": [reason],
        **dict.fromkeys(FAULT_FIGURES),
        "selection_probability": None,
        "known_at": as_of,
        "changed_at": as_of,
    }


def audit_figures(store: Store) -> dict[str, Any]:
    """Estimate the miss rate from the newest answer to each audit; `open` counts the audits without an answer."""
    with store.read() as connection:
        cases = connection.execute(
            sa.select(Case.case_id, Case.axis_id, Case.selection_probability)
            .where(Case.family == AUDIT)
            .order_by(Case.case_id)
        ).all()
        newest = {
            row.case_id: row
            for row in connection.execute(
                sa.select(Label.case_id, Label.verdict, Label.unit_serial)
                .where(
                    Label.case_id.in_(sa.select(Case.case_id).where(Case.family == AUDIT)),
                    not_withdrawn(),
                )
                .order_by(Label.known_at, Label.label_id)
            )
        }
    answers = [
        AuditAnswer(
            unit_name(newest[case.case_id].unit_serial, case.axis_id),
            case.selection_probability,
            newest[case.case_id].verdict in MISSED,
        )
        for case in cases
        if case.case_id in newest and newest[case.case_id].verdict in MISSED | HEALTHY_VERDICTS
    ]
    return {**miss_rate(answers), "audits": len(cases), "open": len(cases) - len(answers)}
