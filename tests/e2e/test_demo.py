"""The demonstration through the command, on a small fleet."""

from __future__ import annotations

from typing import Any

from pipeline.steps import MONITOR


def test_the_demonstration_ends_with_a_table_and_running_it_again_changes_nothing(cli: Any) -> None:
    arguments = ("demo", "--folder", "fleet", "--robots", "5", "--days", "6", "--seed", "3")
    first = cli(*arguments, timeout_s=300, workers=2)
    assert first.code == 0, first.err
    for words in (
        "open cases by reason",
        "Compared with the truth",
        "On axes without findings",
        "export AXISWATCH_HOME",
    ):
        assert words in first.out
    again = cli(*arguments, "--json", timeout_s=120).json()
    steps = again["steps"]
    assert list(steps) == [step.name for step in MONITOR]
    assert steps["acquire"]["recordings"] == steps["extract"]["recordings"] == steps["score"]["recordings"] == 0
    assert (steps["advise"]["opened"], steps["advise"]["closed"]) == (0, 0)
    counted = sum(sum(outcomes.values()) for groups in again["truth"]["axes"].values() for outcomes in groups.values())
    assert counted == 5 * 6 == sum(again["states"].values())


def test_the_demonstration_never_touches_what_is_configured(cli: Any) -> None:
    cli("config", "--json").json()
    found = cli(
        "demo", "--folder", "fleet", "--robots", "2", "--days", "4", timeout_s=300, database_url="sqlite:///real.db"
    )
    assert found.code in (0, 3), found.err
    assert not (cli.home / "real.db").exists()
    assert (cli.home / "fleet" / "axiswatch.db").exists()
