"""A small part of the fuzzing campaign (`make fuzz`): the same targets and damages, some dozens of inputs each."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz.campaign import SHARES, inputs_of, make
from benchmarks.fuzz.logs import Logs
from benchmarks.fuzz.outcomes import Outcome, outcome_of

FEW = {"acquire": 4, "logs": 20, "api": 15, "artifacts": 15}
SEED = 20


@pytest.mark.parametrize("name", sorted(SHARES))
def test_damaged_inputs_are_taken_or_refused_with_a_sentence(name: str, tmp_path: Path) -> None:
    """Time and memory are for the campaign, which has processes of its own."""
    target = make(name)
    if isinstance(target, Logs):
        target.sizes = ()  # no bombs: they take seconds to make
    (tmp_path / "work").mkdir()
    target.prepare(tmp_path / "work")
    inputs = inputs_of(target, SEED, 0, FEW.get(name, 40))
    results = [(number, given.damage, *outcome_of(target, given)) for number, given in inputs]
    assert [one for one in results if one[2].is_fault] == []
    assert {one[2] for one in results} & {Outcome.REFUSED, Outcome.PARTLY}
