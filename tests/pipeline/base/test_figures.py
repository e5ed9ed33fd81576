"""What JSON and a column cannot hold is None."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from pipeline.base.figures import finite_or_none


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), np.float64("-inf"), None])
def test_what_is_not_finite_is_none(value: float | None) -> None:
    assert finite_or_none(value) is None


@pytest.mark.parametrize("value", [0.0, -1.5, 3, np.float32(0.25), np.float64(1e300), np.int64(7)])
def test_a_number_becomes_a_plain_float(value: float) -> None:
    made = finite_or_none(value)
    assert type(made) is float and made == value
    assert json.loads(json.dumps(made)) == value
