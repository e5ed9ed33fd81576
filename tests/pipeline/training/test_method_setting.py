"""The setting `method` is checked where training begins, before anything is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from models.methods import METHODS
from pipeline.base.errors import PrerequisiteMissing, SettingsError
from pipeline.base.settings import Settings
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.training.train import train_scopes, training_settings

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_unknown_method_is_refused_first_and_with_all_names(
    sqlite_store: Store, lake: Lake, make_settings: Callable[..., Settings]
) -> None:
    with pytest.raises(SettingsError) as caught:
        train_scopes(sqlite_store, lake, make_settings(method="magic"), as_of=NOW)
    assert caught.value.exit_code == 2
    assert str(caught.value) == f"settings are wrong: method must be one of {', '.join(METHODS)}, got 'magic'."
    with pytest.raises(PrerequisiteMissing, match="no label"):
        train_scopes(sqlite_store, lake, make_settings(method="swag"), as_of=NOW)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_set(method: str, make_settings: Callable[..., Settings]) -> None:
    assert training_settings(make_settings(method=method)).method == method
