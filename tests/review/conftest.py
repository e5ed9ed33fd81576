"""Shared by the tests of the review application."""

from __future__ import annotations

import pytest
from argon2 import PasswordHasher


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash passwords at the least cost; `tests/pipeline/test_accounts.py` has them as they are."""
    monkeypatch.setattr("pipeline.accounts._hasher", lambda: PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
