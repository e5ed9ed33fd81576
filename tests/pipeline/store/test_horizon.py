"""A time before what retention has kept is refused with a sentence, by every task and every command that takes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline import scheduled
from pipeline.base.errors import SettingsError
from pipeline.base.settings import Settings
from pipeline.cli.app import app
from pipeline.store.database import Store
from pipeline.store.horizon import DATA, SCORES, note_pruning, refuse_pruned, refuse_pruned_model

LIMIT = datetime(2026, 1, 1, tzinfo=UTC)
RUN = datetime(2026, 4, 9, tzinfo=UTC)
EARLY = LIMIT - timedelta(days=1)


@pytest.fixture
def settings(make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of an installation, which commands and tasks find as well."""
    made = make_settings()
    monkeypatch.setenv("AXISWATCH_HOME", str(tmp_path))
    return made


@pytest.fixture
def pruned(settings: Settings) -> Settings:
    """An installation whose data of last year is deleted."""
    store = Store.open(settings.database)
    with store.write() as connection:
        note_pruning(connection, DATA, LIMIT, as_of=RUN)
    store.dispose()
    return settings


def test_a_time_before_the_horizon_is_refused_and_one_from_then_on_is_not(store: Store) -> None:
    with store.write() as connection:
        for limit in (LIMIT - timedelta(days=31), LIMIT):
            note_pruning(connection, DATA, limit, as_of=RUN)
            note_pruning(connection, DATA, limit, as_of=RUN + timedelta(days=1))
        note_pruning(connection, SCORES, RUN, as_of=RUN, name="one")
    with pytest.raises(SettingsError) as refused:
        refuse_pruned(store, EARLY, called="from_at")
    assert str(refused.value).startswith("from_at 2025-12-31T00:00:00Z is too far back: recordings, ")
    assert "deleted by the retention run of 2026-04-09T00:00:00Z (setting retention_months)" in str(refused.value)
    assert "earliest time that can be answered is 2026-01-01T00:00:00Z" in str(refused.value)
    refuse_pruned(store, LIMIT)
    with store.read() as connection:
        refuse_pruned_model(connection, "two", EARLY)
        refuse_pruned_model(connection, "one", RUN)
        with pytest.raises(SettingsError, match="superseded_days"):
            refuse_pruned_model(connection, "one", RUN - timedelta(days=1))


def tasks() -> Iterator[tuple[Callable[..., Any], dict[str, Any]]]:
    """Every function of the schedule that takes the time of a run, with something for its other parameters."""
    rest = {
        "names": [],
        "batch": {},
        "scope": "acceleration",
        "trigger": "by hand",
        "decisions": [],
        "answer": {"responded_by_user": {"name": "mara"}, "responded_at": RUN.isoformat(), "chosen_options": []},
        "started_at": RUN,
        "from_at": (EARLY - timedelta(days=1)).isoformat(),
        "to_at": RUN.isoformat(),
        "model_version": None,
    }
    for name, function in inspect.getmembers(scheduled, inspect.isfunction):
        needed = [one.name for one in inspect.signature(function).parameters.values() if one.default is one.empty]
        if not name.startswith("_") and function.__module__ == scheduled.__name__ and "as_of" in needed:
            yield function, {one: rest.get(one, EARLY) for one in needed}


def test_every_task_refuses_a_time_before_the_horizon(pruned: Settings) -> None:
    named = dict((task.__name__, arguments) for task, arguments in tasks())
    assert len(named) > 20
    for name, arguments in named.items():
        with pytest.raises(
            SettingsError, match=r"^from_at .* is too far back" if "from_at" in arguments else "too far back"
        ):
            getattr(scheduled, name)(**arguments)


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """All commands with their words."""
    if hasattr(group, "commands"):
        for name, command in group.commands.items():
            yield from commands(command, (*words, name))
    else:
        yield " ".join(words), group


def test_every_command_refuses_a_time_before_the_horizon(pruned: Settings) -> None:
    """Nothing is done: the options are read, and no more."""
    asked = 0
    for words, command in commands(typer.main.get_command(app)):
        if not any(option.name == "as_of" for option in command.params):
            continue
        asked += 1
        with pytest.raises(SettingsError, match="--as-of 2025-12-31T00:00:00Z is too far back"):
            command.make_context(words, ["--as-of", "2025-12-31T00:00:00Z"])
    assert asked > 20


def test_a_time_is_read_where_there_is_no_database_yet(settings: Settings) -> None:
    named = dict(commands(typer.main.get_command(app)))
    assert named["score"].make_context("score", ["--as-of", "2025-12-31T00:00:00Z"]).params["as_of"]
    assert not settings.home.exists() or not list(settings.home.glob("*.db")), "and nothing is made"
