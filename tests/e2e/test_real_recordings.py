"""The real run, small: CWRU and UESTC imported, trained on some bearings, scored on others, through the command."""

from __future__ import annotations

import csv
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

DATA = os.environ.get("AXISWATCH_TEST_DATA", "")
AS_OF = ("--as-of", "2005-01-01T00:00:00Z")

pytestmark = pytest.mark.skipif(not DATA, reason="AXISWATCH_TEST_DATA does not name the folder of real recordings")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, cli_at: Callable[[Path], Any]) -> Any:
    """Everything imported; trained on 7 and 14 mil and the healthy bearing (drive end) and on three UESTC bearings."""
    cli = cli_at(tmp_path_factory.mktemp("real"))
    labels = []
    for name in ("cwru", "uestc"):
        cli("import", f"{DATA}/manifest.csv", "--mapping", name, "--json", timeout_s=300).json()
        cli("assets", "import", cli.home / f"{name}-assets.toml", "--json", *AS_OF).json()
        with (cli.home / f"{name}-labels.csv").open(newline="", encoding="utf-8") as file:
            labels += list(csv.DictReader(file))
    trained = [row for row in labels if not row["unit_serial"].endswith(("021", "_O"))]
    for row in trained:
        row["channel"] = "DE" if row["site"] == "cwru" else ""
    with (cli.home / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, labels[0])
        writer.writeheader()
        writer.writerows(trained)
    cli("labels", "import", cli.home / "labels.csv", "--json").json()
    cli.first = cli("run", "--json", *AS_OF, workers=2, timeout_s=300).json()
    cli.trained = cli("train", "--json", *AS_OF, timeout_s=300).json()
    cli.second = cli("run", "--json", *AS_OF, timeout_s=300).json()
    return cli


def test_all_recordings_are_taken_in_and_none_is_called_bad(ran: Any) -> None:
    assert ran.first["acquire"]["recordings"] == 119 + 24
    assert ran.first["acquire"]["quarantined"] == 0
    assert ran.first["extract"]["by_quality"] == {"ok": 143}
    assert ran.first["score"]["scopes_without_model"] == ["acceleration", "acceleration:raw"]


def test_two_scopes_are_trained_by_unit(ran: Any) -> None:
    by_scope = {result["scope"]: result for result in ran.trained}
    assert set(by_scope) == {"acceleration", "acceleration:raw"}
    cwru = by_scope["acceleration"]["report"]
    assert (cwru["kind"], cwru["n_units"]) == ("classification", 7)
    assert cwru["temperature"]["identifiable"] is False, "seven bearings cannot identify a temperature"
    for fold in cwru["folds"]:
        assert not set(fold["fit_units"]) & set(fold["test_units"])
    assert by_scope["acceleration:raw"]["report"]["n_units"] == 3


def test_bearings_never_seen_are_scored_and_the_known_modes_mostly_found(ran: Any) -> None:
    assert ran.second["score"]["windows"] == ran.first["extract"]["windows"]
    with sqlite3.connect(ran.home / "axiswatch.db") as database:
        rows = database.execute(
            "SELECT unit_serial, avg(fault_probability), avg(json_extract(class_probabilities, '$.inner_race')),"
            " avg(json_extract(class_probabilities, '$.outer_race')), avg(json_extract(class_probabilities, '$.ball'))"
            " FROM scores WHERE channel = 'DE' GROUP BY unit_serial"
        ).fetchall()
    units = {unit: figures for unit, *figures in rows}
    assert units["cwru_bearing_IR021"][1] > max(units["cwru_bearing_IR021"][2:])
    assert units["cwru_normal_97"][0] < min(units[f"cwru_bearing_{name}021"][0] for name in ("IR", "OR"))


def test_the_queue_names_axes_with_faults_and_not_the_healthy_bearing_of_the_drive_end(ran: Any) -> None:
    cases = ran("queue", "--json").json()
    faults = {case["robot_id"] for case in cases if "fault" in {reason["code"] for reason in case["reasons"]}}
    assert faults
    assert "cwru_normal_97" not in faults
    assert not [case for case in cases if case["family"] == "data"], "archives are never silent"
