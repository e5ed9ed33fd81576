"""Protocols: what is read, and everything that would make a figure a lie is refused, all at once and in words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.evaluation import (
    EvaluationRefused,
    Protocol,
    figures,
    healthy,
    load_protocol,
    shipped_protocols,
    trend,
)
from pipeline.evaluation.protocol import FleetTable, SimulatedProtocol
from pipeline.evaluation.routing import FLEET_FIGURES
from pipeline.evaluation.run import ROWS as ROWS_BY_KIND
from pipeline.evaluation.selection import Selection, select

DOCS = Path(__file__).parents[3] / "docs" / "evaluate.md"

GOOD = """
name = "bench"
kind = "classification"
label = "label"
healthy = "ok"
unit = "serial"
vote = "recording"
[train]
serial = ["S1", "S2", "S3"]
[test]
serial = ["S4", "S5", "S6"]
"""

HEADER = "file,label,serial,recording,rig"
ROWS = [
    "a,ok,S1,r1,x",
    "b,inner,S2,r2,x",
    "c,outer,S3,r3,x",
    "d,ok,S4,r4,x",
    "e,inner,S5,r5,x",
    "f,outer,S6,r6,x",
    "g,ball,S7,r7,x",
    "h,ok,S8,r8,x",
]


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "p.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationRefused) as error:
        load_protocol(path)
    return str(error.value)


def chosen(tmp_path: Path, text: str = GOOD, rows: list[str] | None = None) -> Selection:
    path, manifest = tmp_path / "p.toml", tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    manifest.write_text("\n".join([HEADER, *(rows or ROWS)]) + "\n", encoding="utf-8")
    return select(manifest, load_protocol(path))


def not_chosen(tmp_path: Path, text: str = GOOD, rows: list[str] | None = None) -> str:
    with pytest.raises(EvaluationRefused) as error:
        chosen(tmp_path, text, rows)
    return str(error.value)


def serials(rows: tuple) -> list[str]:
    return [row.cells["serial"] for row in rows]


@pytest.mark.parametrize("name", shipped_protocols())
def test_shipped_protocols_are_read_under_their_names(name: str) -> None:
    assert load_protocol(name).name == name


def test_everything_wrong_with_a_protocol_is_said_at_once(tmp_path: Path) -> None:
    told = refused(tmp_path, 'kind = "guess"\nlabel = 3\nseeds = 5\n[train]\nrig = "x"\n')
    for part in (
        "key name: is missing",
        "key kind",
        "key label",
        "key seeds: is not a key",
        "key train.rig",
        "5 problems",
    ):
        assert part in told, part


def test_keys_go_with_kinds(tmp_path: Path) -> None:
    told = refused(tmp_path, 'name = "t"\nkind = "trend"\nhealthy = "ok"\n[train]\nrig = ["x"]\n')
    assert "key unit: is missing; kind 'trend' needs it" in told
    assert "key test: is missing" in told
    assert "key healthy: kind 'trend' does not use it" in told
    assert "key train: kind 'trend' does not use it" in told


def test_a_baseline_needs_rigs_and_a_healthy_value(tmp_path: Path) -> None:
    told = refused(tmp_path, GOOD.replace('healthy = "ok"\n', "") + '[baseline]\nlabel = ["ok"]\n')
    assert "baseline_by: is missing" in told
    assert "key healthy: is missing" in told
    assert "baseline_by" in refused(tmp_path, GOOD.replace("[train]", 'baseline_by = ["rig"]\n[train]'))


def test_a_table_without_filters_is_refused(tmp_path: Path) -> None:
    assert "key test: has no filter" in refused(tmp_path, GOOD.split("[test]")[0] + "[test]\n")


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe\x00", b""])
def test_what_is_no_protocol_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)
    with pytest.raises(EvaluationRefused, match=r"is not TOML|key name: is missing"):
        load_protocol(path)


def test_a_missing_file_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(EvaluationRefused, match="cwru-fault-type-7-14-to-21"):
        load_protocol(tmp_path / "none.toml")


def test_rows_are_chosen_by_patterns_joined_by_and(tmp_path: Path) -> None:
    found = chosen(
        tmp_path, GOOD.replace('serial = ["S4", "S5", "S6"]', 'serial = ["S[4-7]"]\nlabel = ["i*", "outer"]')
    )
    assert (serials(found.train), serials(found.test)) == (["S1", "S2", "S3"], ["S5", "S6"])
    assert found.leaked == frozenset()


def test_unknown_columns_and_patterns_without_a_match_are_refused(tmp_path: Path) -> None:
    told = not_chosen(tmp_path, GOOD.replace("[test]", 'color = ["red"]\n[test]').replace('"S6"', '"S66"'))
    assert "key train.color: the manifest has no column 'color'" in told
    assert "key test.serial: pattern 'S66' matches no row" in told
    assert "has no column 'lable'" in not_chosen(tmp_path, GOOD.replace('label = "label"', 'label = "lable"'))


def test_a_side_of_several_tables_has_the_rows_of_each(tmp_path: Path) -> None:
    """A channel of one rig and another of the next: no single table of patterns says that."""
    tables = GOOD.replace("[train]", "[[train]]").replace(
        "[test]", '[[train]]\nlabel = ["ok"]\nserial = ["S8"]\n[test]'
    )
    assert serials(chosen(tmp_path, tables).train) == ["S1", "S2", "S3", "S8"]
    assert "[train]: no row matches all" in not_chosen(tmp_path, tables.replace('label = ["ok"]', 'label = ["ball"]'))
    assert "train.label: pattern 'o' matches no row" in not_chosen(tmp_path, tables.replace('["ok"]', '["o"]'))
    assert "key train: has no filter" in refused(tmp_path, tables + "[[train]]\n")


ALL = """file,dataset,sensor_channel,label,split_group,recording_id,fault_size
{drive}
fan,FAN (CWRU 12k fan end),FE,ball,fe_B,fe1,0.007 in
fan2,FAN (CWRU 12k fan end),FE,inner_race,fe_I,fe2,0.007 in
fan3,FAN (CWRU 12k fan end),FE,outer_race,fe_O,fe3,0.007 in
n,UESTC bearing,acc,normal,u_N,u0,none
ub,UESTC bearing,acc,ball,u_B,u1,none
ui,UESTC bearing,acc,inner_race,u_I,u2,none
uo,UESTC bearing,acc,outer_race,u_O,u3,none
hn,HIT-SM SpectraQuest MFS,acc,normal,h_N,h0,none
hi,HIT-SM SpectraQuest MFS,acc,inner_race,h_I,h1,none
ho,HIT-SM SpectraQuest MFS,acc,outer_race,h_O,h2,none
"""


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("leave-out-cwru-drive-end", "fe hi ho ub ui uo", "d007 d014 d021 d028"),
        ("leave-out-cwru-fan-end", "d007 d014 d021 d028 hi ho ub ui uo", "fe"),
        ("leave-out-uestc", "d007 d014 d021 d028 fe hi ho", "ub ui uo"),
        ("leave-out-hit-sm", "d007 d014 d021 d028 fe ub ui uo", "hi ho"),
        ("cwru-fault-type-uestc-7-14-21-to-28", "d007 d014 d021 ub ui uo", "d028"),
    ],
)
def test_rigs_are_left_out_whole_and_heard_by_the_sensor_at_the_bearing(
    tmp_path: Path, name: str, train: str, test: str
) -> None:
    drive = "\n".join(
        f"d{size},CWRU 12k drive end,{channel},{label},de_{label}_{size},r{label}{size},0.{size} in"
        for size in ("007", "014", "021", "028")
        for label in ("ball", "inner_race", "outer_race")
        for channel in ("DE", "FE")
        if (size, label) != ("028", "outer_race")
    )
    (tmp_path / "all.csv").write_text(ALL.format(drive=drive), encoding="utf-8")
    found = select(tmp_path / "all.csv", load_protocol(name))
    files = [
        {"fe" if f.startswith("fan") else f for f in (row.cells["file"] for row in side)}
        for side in (found.train, found.test)
    ]
    assert files == [set(train.split()), set(test.split())]
    channels = {row.cells["sensor_channel"] for row in found.rows if row.cells["file"].startswith("d")}
    assert channels == {"DE"}


@pytest.mark.parametrize("name", ["femto-trend", "femto-trend-horizontal"])
def test_excerpts_of_runs_to_failure_are_no_runs(tmp_path: Path, name: str) -> None:
    head = "file,dataset,sensor_channel,split_group,fault_size"
    rows = ['a,FEMTO,h_acc,one,"natural, unlabelled type"', "b,FEMTO,h_acc,two,natural"]
    (tmp_path / "all.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    assert [row.cells["file"] for row in select(tmp_path / "all.csv", load_protocol(name)).test] == ["a"]


def test_filters_that_match_nothing_together_are_refused(tmp_path: Path) -> None:
    assert "[test]: no row matches all" in not_chosen(tmp_path, GOOD + 'label = ["ball"]\n')


def test_a_unit_on_both_sides_is_refused(tmp_path: Path) -> None:
    told = not_chosen(tmp_path, GOOD.replace('"S4"', '"S2", "S4"'))
    assert "unit 'S2' (column 'serial') is in [train] and in [test]" in told
    told = not_chosen(tmp_path, GOOD + '[unseen]\nserial = ["S2"]\n')
    assert "is in [train] and in [unseen]" in told


def test_a_shared_unit_is_allowed_by_name_and_told_as_leaked(tmp_path: Path) -> None:
    shared = GOOD.replace("[train]", 'shared_units = ["S2"]\n[train]')
    assert chosen(tmp_path, shared.replace('"S4"', '"S2", "S4"')).leaked == {"S2"}
    assert "shared_units: 'S2' is not on both sides" in not_chosen(tmp_path, shared)


def test_a_class_that_was_never_trained_belongs_into_unseen(tmp_path: Path) -> None:
    wider = GOOD.replace('"S6"', '"S6", "S7"')
    assert "class 'ball' is not in [train]" in not_chosen(tmp_path, wider)
    found = chosen(tmp_path, wider + '[unseen]\nlabel = ["ball"]\n')
    assert (serials(found.test), serials(found.unseen)) == (["S4", "S5", "S6"], ["S7"])


def test_one_class_cannot_be_trained(tmp_path: Path) -> None:
    one = GOOD.replace('serial = ["S1", "S2", "S3"]', 'serial = ["S2"]').replace('["S4", "S5", "S6"]', '["S5"]')
    assert "has only class 'inner'" in not_chosen(tmp_path, one)


def test_the_word_healthy_has_to_be_declared(tmp_path: Path) -> None:
    rows = [row.replace(",ok,", ",healthy,") for row in ROWS]
    assert "set healthy = 'healthy'" in not_chosen(tmp_path, GOOD, rows)


@pytest.mark.parametrize("cell", ["", " ", "NaN", "null"])
def test_empty_labels_and_units_are_refused_by_row(tmp_path: Path, cell: str) -> None:
    rows = [ROWS[0], f"b,{cell},S2,r2,x", *ROWS[2:]]
    assert "row 3: column 'label' (label) is empty" in not_chosen(tmp_path, GOOD, rows)


def test_duplicate_rows_and_mixed_votes_are_refused(tmp_path: Path) -> None:
    told = not_chosen(tmp_path, GOOD, [*ROWS, ROWS[4], "z,outer,S6,r5,x"])
    assert "row 10 is the same as row 6" in told
    assert "vote 'r5' (column 'recording') has rows with different labels" in told


def test_a_baseline_is_healthy_and_never_judged(tmp_path: Path) -> None:
    based = GOOD.replace("[train]", 'baseline_by = "rig"\n[train]')
    assert serials(chosen(tmp_path, based + '[baseline]\nserial = ["S8"]\n').baseline) == ["S8"]
    assert "row 5 is in [test]" in not_chosen(tmp_path, based + '[baseline]\nserial = ["S4"]\n')
    assert "row 8 is not 'ok'" in not_chosen(tmp_path, based + '[baseline]\nserial = ["S7"]\n')


def test_a_manifest_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(GOOD, encoding="utf-8")
    with pytest.raises(EvaluationRefused, match="cannot be read"):
        select(tmp_path / "none.csv", load_protocol(path))
    (tmp_path / "bad.csv").write_text("a,a\n1,2,3\n", encoding="utf-8")
    with pytest.raises(EvaluationRefused, match="column names repeat"):
        select(tmp_path / "bad.csv", load_protocol(path))


def test_every_key_and_column_is_documented() -> None:
    """The lists of evaluate.md name every key of a protocol, and every column and row of every kind."""
    fleets = DOCS.parent / "results" / DOCS.name  # what only simulated fleets have
    text = DOCS.read_text(encoding="utf-8") + fleets.read_text(encoding="utf-8").partition("### Simulated fleets")[2]
    lines = [line for line in text.splitlines() if line.startswith("- `")]
    told = {name for line in lines for name in re.findall(r"`(\w+)`", line.split("`:")[0] + "`")}
    rows = {row for rows in ROWS_BY_KIND.values() for row in rows}
    columns = {*figures.COLUMNS, *trend.COLUMNS, *healthy.COLUMNS}
    keys = {*Protocol.model_fields, *SimulatedProtocol.model_fields, *FleetTable.model_fields}
    assert told == keys | columns | set(FLEET_FIGURES) | set(ROWS_BY_KIND["classification"])
    assert not [row for row in rows if f"`{row}`" not in text]


def test_the_example_of_the_document_is_read(tmp_path: Path) -> None:
    text = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)[0]
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    assert load_protocol(tmp_path / "p.toml").name == "my-bearings"


FLEETS = """
name = "fleets"
kind = "simulated"
fault_prior = 0.3
[train]
world = "A"
robots = 3
axes = 4
days = 6
seeds = [1]
[test]
world = "B"
robots = 3
axes = 4
days = 6
seeds = [1]
"""


def test_the_same_seed_of_another_world_is_another_fleet_and_of_the_same_world_a_leak(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(FLEETS, encoding="utf-8")
    read = load_protocol(path)
    assert isinstance(read, SimulatedProtocol)
    assert [(fleet.world, fleet.seed, fleet.axes) for fleet in read.test.fleets()] == [("B", 1, 4)]
    assert "seed 1 of world A is in [train] and in [test]" in refused(tmp_path, FLEETS.replace('"B"', '"A"'))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('world = "B"', 'world = "C"', "key test.world"),
        ("fault_prior = 0.3", "", "key fault_prior: is missing"),
        ("fault_prior = 0.3", "fault_prior = 1.0", "key fault_prior"),
        ("fault_prior = 0.3", 'fault_prior = 0.3\nlabel = "x"', "key label: is not a key"),
        ("robots = 3", "robots = 2", "8 axes are too few; with 12 or more"),
        ("days = 6", "days = 3", "key train.days"),
        ("seeds = [1]", "seeds = [1, 2]", "key train.seeds: training uses one fleet"),
        ("seeds = [1]", "seeds = []", "key train.seeds"),
        ("seeds = [1]", "seeds = [-1]", "key train.seeds.1"),
        ("[test]", '[test]\nrig = ["x"]', "key test.rig: is not a key"),
        (
            "fault_prior = 0.3",
            "fault_prior = 0.3\nband_seeds = [1, 2]",
            "key band_seeds: a seed is listed twice",
        ),
        (
            "fault_prior = 0.3",
            "fault_prior = 0.3\nband_seeds = [2, 2]",
            "key band_seeds: a seed is listed twice",
        ),
    ],
)
def test_what_is_wrong_with_fleets_is_said(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert told in refused(tmp_path, FLEETS.replace(old, new, 1))


def test_the_same_fleet_twice_is_refused(tmp_path: Path) -> None:
    twice = FLEETS.replace('"B"', '"B"').rpartition("seeds = [1]")
    assert "key test.seeds: a seed is listed twice" in refused(tmp_path, twice[0] + "seeds = [2, 2]\n")
