"""The command line as a user has it: each command a process of its own, on a small simulated fleet."""

from __future__ import annotations

import csv
import getpass
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer.main

from pipeline.base.log_schema import LOG_SCHEMA
from pipeline.base.settings import Settings
from pipeline.cli.app import app

PROGRAM = Path(sys.executable).parent / "axiswatch"
END = "2026-01-11T00:00:00Z"
"""The simulated fleet's six days end here."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def words_of_commands() -> list[tuple[str, ...]]:
    """Words of every command and group, the application itself included."""

    def walk(command: Any, words: tuple[str, ...]) -> list[tuple[str, ...]]:
        inner = getattr(command, "commands", {})
        return [words] + [found for name, item in inner.items() for found in walk(item, (*words, name))]

    return walk(typer.main.get_command(app), ())


COMMANDS = words_of_commands()
GROUPS = {words[:-1] for words in COMMANDS if words}


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Standard output as one JSON document."""
        return json.loads(self.out)


@dataclass(frozen=True)
class CommandLine:
    """axiswatch in a folder of its own. Commands are forked off the server; `program` is the installed one."""

    home: Path
    server: Any

    def environment(self, **more: str) -> dict[str, str]:
        """Variables of a command, `more` included."""
        base = {name: value for name, value in os.environ.items() if not name.startswith("AXISWATCH_")}
        base |= {"AXISWATCH_HOME": str(self.home), "OMP_NUM_THREADS": "1", "COLUMNS": "200", "NO_COLOR": "1"}
        base |= {"PYTHONIOENCODING": "utf-8", "AXISWATCH_WORKERS": "1", "AXISWATCH_SYNTHETIC_WINDOWS": "20"}
        return base | more

    def __call__(self, *words: str, code: int = 0, **environment: str) -> Done:
        """Run a command; it has to end with `code` and without a traceback."""
        done = self.server.run(words, self.environment(**environment), self.home.parent, 120)
        return self.judged(words, code, Done(done.code, done.out, done.err))

    def program(self, *words: str, code: int = 0, **environment: str) -> Done:
        """Run the installed program as a user does."""
        run = subprocess.run(
            [str(PROGRAM), *words],
            env=self.environment(**environment),
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            check=False,
        )
        return self.judged(words, code, Done(run.returncode, run.stdout, run.stderr))

    @staticmethod
    def judged(words: tuple[str, ...], code: int, done: Done) -> Done:
        """Give back what was done if it ended as it should."""
        assert "Traceback" not in done.err, done.err
        assert done.code == code, f"{words} ended with {done.code}\n{done.out[-2000:]}\n{done.err[-2000:]}"
        return done


@pytest.fixture
def command(tmp_path: Path, command_server: Any) -> CommandLine:
    """The command line with an empty home."""
    return CommandLine(tmp_path / "home", command_server)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, command_server: Any) -> tuple[CommandLine, dict[str, Any]]:
    """A small fleet, watched: simulate, import, run, train, run. With what each step printed as JSON."""
    command = CommandLine(tmp_path_factory.mktemp("fleet") / "home", command_server)
    home = command.home
    said = {"simulate": command("simulate", str(home), "--robots", "4", "--axes", "3", "--days", "6", "--json").data}
    said["assets"] = command("assets", "import", str(home / "assets.toml"), "--json").data
    said["labels"] = command("labels", "import", str(home / "labels.csv"), "--who", "inspection", "--json").data
    said["first run"] = command.program("run", "--as-of", END, "--json").data
    said["train"] = command("train", "--as-of", END, "--json").data
    said["second run"] = command("run", "--as-of", END, "--json").data
    return command, said


@pytest.fixture
def watched(fleet: tuple[CommandLine, dict[str, Any]], tmp_path: Path) -> CommandLine:
    """A copy of the watched fleet that a test may change."""
    shutil.copytree(fleet[0].home, tmp_path / "home")
    return CommandLine(tmp_path / "home", fleet[0].server)


def write_log(path: Path, *rows: dict[str, Any]) -> None:
    """Write a log file of rows that are good but for what is given."""
    good = {
        "schema_version": 1,
        "site": "plant1",
        "cell": "",
        "robot_id": "R9",
        "axis": "A1",
        "channel": "acc_x",
        "quantity": "acceleration",
        "unit": "g",
        "started_at": datetime(2026, 1, 10, tzinfo=UTC),
        "time_basis": "clock",
        "sampling_rate_hz": 12800.0,
        "rate_basis": "declared",
        "samples": [0.1, 0.3, -0.2, 0.25] * 300,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([good | row for row in rows], schema=LOG_SCHEMA), path)


def first_case(command: CommandLine) -> dict[str, Any]:
    """The most urgent machine case of the queue."""
    cases: list[dict[str, Any]] = command("queue", "--json").data
    return next(case for case in cases if case["family"] == "machine")


def test_help_of_the_program_and_of_a_command(command: CommandLine) -> None:
    """As the installed script says it; asking for help makes no files."""
    assert "Exit codes: 0 done" in command.program("--help").out
    assert "Example: axiswatch queue" in command.program("queue", "-h").out
    assert not command.home.exists()


def test_help_of_every_command_ends_well_and_shows_an_example(tmp_path: Path) -> None:
    """--help of every command and group, each in a process that is forked off one that has loaded the program."""
    forks = (
        "import json, os, sys\nfrom pathlib import Path\nfrom pipeline.cli import main\n"
        "for number, words in enumerate(json.loads(sys.argv[1])):\n"
        "    if (child := os.fork()) == 0:\n"
        "        sys.argv = ['axiswatch', *words, '--help']\n"
        "        sys.stdout = sys.stderr = Path(f'{number}.txt').open('w', encoding='utf-8')\n"
        "        main()\n"
        "        sys.exit(0)\n"
        "    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)\n"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AXISWATCH_")}
    run = subprocess.run(
        [sys.executable, "-c", forks, json.dumps(COMMANDS)],
        env=environment | {"COLUMNS": "200", "NO_COLOR": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.split() == ["0"] * len(COMMANDS), run.stdout + run.stderr
    for number, words in enumerate(COMMANDS):
        text = (tmp_path / f"{number}.txt").read_text(encoding="utf-8")
        assert f"Usage: {' '.join(('axiswatch', *words))} " in text
        assert words in GROUPS or f"Example: axiswatch {' '.join(words)}" in text, words


def test_version_is_that_of_the_package(command: CommandLine) -> None:
    """--version."""
    from importlib.metadata import version

    assert command.program("--version").out.strip() == version("axiswatch")


def test_config_names_every_setting_and_its_source(command: CommandLine) -> None:
    """Environment before file before default, and passwords are masked."""
    file = command.home.parent / "axiswatch.toml"
    file.write_text('epochs = 7\nfolds = 3\ndatabase_url = "postgresql+psycopg://u:pass-of-u@db/x"\n', encoding="utf-8")
    done = command("config", "--json", AXISWATCH_EPOCHS="9", AXISWATCH_LAKE_URL="s3://key:pass-of-u@store/lake")
    found = {line["name"]: line for line in done.data}
    assert set(found) == set(Settings.model_fields)
    assert (found["epochs"]["value"], found["epochs"]["source"]) == ("9", "AXISWATCH_EPOCHS")
    assert (found["folds"]["value"], found["folds"]["source"]) == ("3", "axiswatch.toml")
    assert (found["dropout"]["value"], found["dropout"]["source"]) == ("0.1", "default")
    assert all(line["description"] for line in done.data)
    assert "pass-of-u" not in done.out
    assert "pass-of-u" not in command("config").out


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"AXISWATCH_EPOCH": "3"}, "AXISWATCH_EPOCH is no setting"),
        ({"AXISWATCH_DROPOUT": "1.5", "AXISWATCH_FOLDS": "one"}, "folds"),
        ({"AXISWATCH_HIDDEN": "64,64"}, "hidden"),
        ({"AXISWATCH_N_SAMPLES": "7"}, "sub_bank_size"),
        ({"AXISWATCH_CONFIG": "no-such-file.toml"}, "no-such-file.toml"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_message(
    command: CommandLine, environment: dict[str, str], told: str
) -> None:
    """Exit code 2, the setting's name, nothing on standard output."""
    done = command("status", code=2, **environment)
    assert told in done.err
    assert done.out == ""


def test_all_wrong_settings_are_listed_at_once(command: CommandLine) -> None:
    """Not one at a time."""
    done = command.program("status", code=2, AXISWATCH_DROPOUT="1.5", AXISWATCH_FOLDS="1", AXISWATCH_TYPO="x")
    assert all(name in done.err for name in ("dropout", "folds", "AXISWATCH_TYPO"))


@pytest.mark.parametrize(
    ("step", "time"),
    [(step, "2026-01-01T00:00:00") for step in ("run", "acquire", "extract", "score", "advise", "train")]
    + [("run", "yesterday")],
)
def test_a_time_without_an_offset_is_refused(command: CommandLine, step: str, time: str) -> None:
    """Local time is never guessed; the message shows what to write."""
    done = command(step, "--as-of", time, code=2)
    assert time in done.err
    assert re.search(r"2026-01-\d\dT\d\d:00:00Z", done.err)
    assert not command.home.exists(), "a wrong call made files"


@pytest.mark.parametrize("words", [("nope",), ("queue", "--nope"), ("queue", "--state", "old"), ("label", "x"), ()])
def test_a_wrong_call_ends_with_2(command: CommandLine, words: tuple[str, ...]) -> None:
    """Unknown commands, options and words, and missing arguments."""
    done = command(*words, code=2)
    assert done.err or "Usage:" in done.out


def test_a_word_that_is_no_verdict_is_refused_with_all_that_are(command: CommandLine) -> None:
    """The user learns which words there are."""
    done = command("label", "45a722cb64dd", "broken", code=2)
    assert all(word in done.err for word in ("healthy", "fault", "sensor_or_data", "benign_change", "unsure"))


def test_a_place_that_cannot_be_used_is_named(command: CommandLine) -> None:
    """A file where a folder should be."""
    blocked = command.home.parent / "blocked"
    blocked.write_text("", encoding="utf-8")
    for name in ("AXISWATCH_HOME", "AXISWATCH_LAKE_URL", "AXISWATCH_LANDING"):
        done = command("acquire", code=1, **{name: str(blocked / "x" if name != "AXISWATCH_LANDING" else blocked)})
        assert str(blocked) in done.err


def test_a_database_that_cannot_be_reached_is_named_without_its_password(command: CommandLine) -> None:
    """Exit code 1 and no secret."""
    done = command("status", code=1, AXISWATCH_DATABASE_URL="mysql://u:secret@db/x")
    assert "sqlite:///" in done.err
    assert "secret" not in done.err


def test_score_without_a_model_says_so_and_ends_well(command: CommandLine) -> None:
    """Nothing to score is no failure; the scope is named."""
    write_log(command.home / "landing" / "a.parquet", {})
    score = command("run", "--as-of", END, "--json").data["score"]
    assert (score["scopes_without_model"], score["windows"]) == (["acceleration"], 0)
    assert re.search(r"scopes without model\W+acceleration", command("score", "--as-of", END).out)


def test_train_without_labels_says_what_to_do(command: CommandLine) -> None:
    """Exit code 3, and the next command to call."""
    done = command.program("train", code=3)
    assert "axiswatch labels import" in done.err
    assert "scope force" in command("train", "--scope", "force", code=3).err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("case", "nope"), "axiswatch queue"),
        (("label", "nope", "healthy"), "axiswatch queue"),
        (("quarantine", "show", "nope"), "axiswatch quarantine list"),
        (("quarantine", "replay", "nope"), "axiswatch quarantine list"),
        (("models", "promote", "nope", "--reason", "x"), "axiswatch models list"),
    ],
)
def test_what_is_not_there_ends_with_3_and_says_where_to_look(
    fleet: tuple[CommandLine, dict[str, Any]], words: tuple[str, ...], hint: str
) -> None:
    """Unknown ids."""
    done = fleet[0](*words, code=3)
    assert "nope" in done.err
    assert hint in done.err


def test_an_empty_database_answers_every_question(command: CommandLine) -> None:
    """Lists are empty, and are JSON."""
    for words in (("queue",), ("status",), ("models", "list"), ("quarantine", "list"), ("quarantine", "replay")):
        assert command(*words, "--json").data == []
    assert command("lake", "sweep", "--json").data == {"deleted": 0}
    assert command("db", "upgrade", "--json").data["now"] is not None
    assert "there are no axes yet" in command("status").out


def test_a_wrong_assets_file_is_refused_with_all_problems(command: CommandLine) -> None:
    """Exit code 1, everything at once, nothing stored."""
    file = command.home.parent / "assets.toml"
    file.write_text(
        "version = 1\n[geometry.g]\nbpfo = -1.0\n"
        '[[unit]]\nrobot_id = "R1"\naxis = "A1"\nunit_serial = "S1"\ninstalled_at = 2026-01-01T00:00:00\n'
        '[[unit]]\nrobot_id = "R2"\naxis = "A1"\nunit_serial = "S2"\n'
        'installed_at = 2026-01-01T00:00:00Z\ncolour = "red"\n',
        encoding="utf-8",
    )
    done = command("assets", "import", str(file), code=1)
    for told in ("geometry.g.bpfo", "geometry.g.source", "unit.0.installed_at", "unit.1.colour"):
        assert told in done.err
    assert command("status", "--json").data == []
    assert "cannot read" in command("assets", "import", "missing.toml", code=1).err


def test_a_unit_is_replaced_and_the_timeline_tells(command: CommandLine) -> None:
    """import, show, replace, again, timeline; refusals end with 1, an axis that is not there with 3."""
    file = command.home.parent / "assets.toml"
    file.write_text(
        'version = 1\n[[unit]]\nrobot_id = "R1"\naxis = "A1"\nunit_serial = "S1"\n'
        'bearing = "SKF 6205-2RS"\ninstalled_at = 2026-01-01T00:00:00Z\n',
        encoding="utf-8",
    )
    command("assets", "import", str(file))
    assert [row["unit_serial"] for row in command("assets", "list", "--json").data] == ["S1"]
    assert "CWRU" in command("assets", "show", "R1", "A1").out
    words = ("assets", "replace", "R1", "A1", "--new-serial", "S2", "--at", "2026-01-05T06:00:00Z", "--who", "jo")
    said = command(*words, "--reason", "worn", "--json").data
    assert (said["old_unit_serial"], said["at"], said["changed"]) == ("S1", "2026-01-05T06:00:00Z", True)
    assert command(*words, "--json").data["changed"] is False
    told = command("assets", "timeline", "R1", "A1", "--json").data
    assert [(event["kind"], event["who"]) for event in told] == [("installed", "assets import"), ("replaced", "jo")]
    assert "worn" in command("assets", "timeline", "R1", "A1").out
    assert "S2 is on the axis since" in command(*words[:5], "S3", "--at", "2026-01-03T00:00:00Z", code=1).err
    assert "no axis R9/A1" in command("assets", "show", "R9", "A1", code=3).err
    assert "offset" in command(*words[:5], "S3", "--at", "2026-01-07T00:00:00", code=2).err


def test_a_wrong_labels_file_is_refused_with_all_problems(command: CommandLine) -> None:
    """By line, and nothing is stored."""
    file = command.home.parent / "labels.csv"
    file.write_text(
        "robot_id,axis,from_at,to_at,verdict,mode,evidence,known_at\n"
        "R1,A1,2026-01-01T00:00:00Z,2026-01-02T00:00:00Z,healthy,,inspected,2026-01-02T00:00:00Z\n"
        "R1,A1,2026-01-02,2026-01-01T00:00:00Z,broken,ball,seen,\n",
        encoding="utf-8",
    )
    done = command("labels", "import", str(file), code=1)
    for told in ("verdict is 'broken'", "evidence is 'seen'", "from_at '2026-01-02'", "known_at is empty"):
        assert re.search(f"line 3: {re.escape(told)}", done.err), told
    file.write_text("\n".join(file.read_text(encoding="utf-8").splitlines()[:2]), encoding="utf-8")
    assert command("labels", "import", str(file), "--json").data == {"rows": 1, "new": 1}
    assert command("labels", "import", str(file), "--json").data == {"rows": 1, "new": 0}


HOSTILE = {"site": "[red]plant[/red]", "cell": "[/]", "robot_id": "R[bold]9", "program": "[link=x]p[/link]"}


def test_text_of_logs_is_shown_as_text(command: CommandLine) -> None:
    """Markup in names, in quarantine, in states and in the queue is neither read nor fatal."""
    home = command.home
    write_log(home / "landing" / "[bold]a.parquet", HOSTILE, HOSTILE | {"channel": "[/]", "unit": "[red]furlong[/]"})
    later = (datetime.fromisoformat(END) + timedelta(days=3)).isoformat()
    done = command("run", "--as-of", later, "--json").data
    assert (done["acquire"]["recordings"], done["acquire"]["quarantined"], done["advise"]["opened"]) == (1, 1, 1)
    listed = command("quarantine", "list")
    assert "[bold]a.parquet" in listed.out
    assert "[red]plant[/red]/[/]/R[bold]9/A1/[/]" in re.sub(r"\s*│\s*\n.*?", "", listed.out).replace("\n", "")
    entry = command("quarantine", "list", "--json").data[0]
    assert entry["reasons"][0]["code"] == "unit_unknown"
    shown = command("quarantine", "show", entry["quarantine_id"]).out
    assert "[red]furlong[/]" in shown
    assert "12800.0" in shown
    assert "[red]plant[/red]/[/]/R[bold]9/A1" in command("status").out
    headline = command("queue").out.splitlines()[1]
    assert "[red]plant[/red]/[/]/R[bold]9/A1" in headline
    case = headline.split()[0]
    command("label", case, "sensor_or_data", "--note", "[/] [red]loose[/red] plug", "--who", "[/]me", "--as-of", later)
    story = command("case", case).out
    assert "[/] [red]loose[/red] plug" in story
    assert "[/]me" in story


def test_bad_rows_leave_good_ones_alone_and_can_be_replayed(command: CommandLine) -> None:
    """A clock that runs ahead: refused now, accepted once the time has come."""
    ahead = {"channel": "acc_y", "started_at": datetime(2026, 1, 12, tzinfo=UTC)}
    write_log(command.home / "landing" / "a.parquet", {}, ahead)
    (command.home / "landing" / "b.parquet").write_bytes(b"not parquet")
    done = command("acquire", "--as-of", END, "--json", AXISWATCH_SETTLE_SECONDS="0")
    assert (done.data["recordings"], done.data["quarantined"]) == (1, 2)
    entries = {entry["path"]: entry for entry in command("quarantine", "list", "--json").data}
    assert [reason["code"] for reason in entries["a.parquet"]["reasons"]] == ["time_in_future"]
    assert (entries["b.parquet"]["row_number"], entries["b.parquet"]["reasons"][0]["code"]) == (-1, "unreadable_file")
    key = entries["a.parquet"]["quarantine_id"]
    replayed = command("quarantine", "replay", key, "--as-of", "2026-01-13T00:00:00Z", "--json").data
    assert replayed == [{"quarantine_id": key, "accepted": 1, "reasons": []}]
    assert [entry["path"] for entry in command("quarantine", "list", "--json").data] == ["b.parquet"]
    assert len(command("quarantine", "list", "--all", "--json").data) == 2


def test_the_fleet_goes_from_logs_to_a_queue(fleet: tuple[CommandLine, dict[str, Any]]) -> None:
    """Every step did its work, and counts agree with one another."""
    _, said = fleet
    recordings = said["simulate"]["recordings"]
    first, second = said["first run"], said["second run"]
    assert said["assets"]["units"] == said["simulate"]["units"] == 12
    assert said["labels"] == {"rows": said["simulate"]["labels"], "new": said["simulate"]["labels"]}
    assert first["acquire"]["recordings"] == first["extract"]["recordings"] == recordings
    assert sum(first["extract"]["by_quality"].values()) == recordings
    assert first["score"]["scopes_without_model"] == ["acceleration"]
    (trained,) = said["train"]
    assert trained["became_champion"]
    assert trained["classes"][0] == "healthy"
    assert second["score"]["models"] == {"acceleration": trained["model_version"]}
    assert second["score"]["recordings"] == recordings
    assert second["score"]["windows"] == first["extract"]["windows"]
    assert second["advise"]["axes"] == 12


def test_the_queue_is_one_document_that_a_script_can_read(fleet: tuple[CommandLine, dict[str, Any]]) -> None:
    """Sorted by queue priority, with names, reasons, and times in UTC that end in Z."""
    command, said = fleet
    cases = command("queue", "--json").data
    assert len(cases) == sum(said[run]["advise"]["opened"] for run in ("first run", "second run")) > 0
    places = [case["queue_priority"] for case in cases]
    assert places == sorted(places, reverse=True)
    for case in cases:
        assert case["reasons"]
        assert case["state"] == "open"
        assert all(case[name] for name in ("site", "robot_id", "axis"))
        for name in ("first_at", "last_at", "known_at", "changed_at"):
            assert TIME.fullmatch(case[name]), name
        assert datetime.fromisoformat(case["first_at"]) <= datetime.fromisoformat(case["last_at"])
    assert command("queue", "--limit", "1", "--json").data == cases[:1]
    text = command("queue").out
    assert text.startswith(f"{len(cases)} cases (open)")
    assert all(case["case_id"] in text for case in cases)
    printed = [float(told) for told in re.findall(r"queue priority (\d\.\d\d) \(priority", text)]
    assert printed == [round(place, 2) for place in places]


def test_status_and_models_show_the_fleet(fleet: tuple[CommandLine, dict[str, Any]]) -> None:
    """A state for every axis, one champion, and ids that are not cut in a narrow terminal."""
    command, said = fleet
    axes = command("status", "--json").data
    assert len(axes) == 12
    assert {axis["state"] for axis in axes} <= {"healthy", "watch", "alarm", "data_fault", "silent", "unknown"}
    assert all(TIME.fullmatch(axis["last_at"]) for axis in axes)
    version = said["train"][0]["model_version"]
    (model,) = command("models", "list", "--json").data
    assert (model["model_version"], model["aliases"]) == (version, ["champion"])
    assert model["label_cutoff"] == END
    assert version in command("models", "list", COLUMNS="80").out
    assert "plant1/c1/R01/A1" in command("status", COLUMNS="80").out


def test_running_again_changes_nothing(watched: CommandLine) -> None:
    """Counts of what was done are zero, and the rows are the same; a closed case stays closed."""
    watched("label", first_case(watched)["case_id"], "benign_change", "--as-of", END)
    watched("advise", "--as-of", END)  # a closed case keeps its place in the queue until the next run
    tables = ("recordings", "extractions", "scores", "scorings", "axis_states", "cases", "review_events", "labels")

    def rows() -> dict[str, list[Any]]:
        with sqlite3.connect(watched.home / "axiswatch.db") as database:
            return {name: sorted(map(repr, database.execute(f"SELECT * FROM {name}"))) for name in tables}

    before = rows()
    again = watched("run", "--as-of", "2026-01-11T00:05:00Z", "--json").data
    how_it_is = {"files_known", "models", "scopes_without_model", "scopes_to_retrain", "silent"}
    done = {(step, name): n for step, told in again.items() for name, n in told.items() if name not in how_it_is}
    assert not any(done.values()), done
    assert again["acquire"]["files_known"] == 24
    assert rows() == before
    assert (
        watched("labels", "import", str(watched.home / "labels.csv"), "--who", "inspection", "--json").data["new"] == 0
    )
    assert watched("train", "--as-of", END, "--json").data[0]["became_champion"] is False


def test_a_verdict_becomes_a_label_and_closes_the_case(watched: CommandLine) -> None:
    """A contradiction is refused; unsure leaves it open; a finding closes it; the history tells what was stored."""
    case = first_case(watched)
    key = case["case_id"]
    refused = watched("label", key, "healthy", "--mode", "ball", "--from-at", "2026-01-05", code=1)
    assert "mode ball" in refused.err
    assert "from_at '2026-01-05'" in refused.err
    unsure = watched("label", key, "unsure", "--json").data
    assert unsure["state"] == "open"
    assert key in {row["case_id"] for row in watched("queue", "--json").data}
    words = ("fault", "--mode", "gear_tooth", "--component", "gear", "--evidence", "inspected", "--severity", "plan")
    more = ("--confidence", "0.9", "--note", "chipped", "--who", "mara", "--as-of", "2026-01-12T09:15:00+01:00")
    found = watched("label", key, *words, *more, "--json").data
    assert found["state"] == "closed"
    assert key not in {row["case_id"] for row in watched("queue", "--json").data}
    assert key in {row["case_id"] for row in watched("queue", "--state", "closed", "--json").data}
    story = watched("case", key, "--json").data
    assert [event["action"] for event in story["events"]] == ["opened", "verdict", "verdict", "closed"]
    assert [event["who"] for event in story["events"]] == ["axiswatch", getpass.getuser(), "mara", "mara"]
    assert story["closed_at"] == story["events"][-1]["at"] == "2026-01-12T08:15:00Z"
    with sqlite3.connect(watched.home / "axiswatch.db") as database:
        database.row_factory = sqlite3.Row
        rows = {row["label_id"]: row for row in database.execute("SELECT * FROM labels WHERE case_id = ?", (key,))}
    assert set(rows) == {unsure["label_id"], found["label_id"]}
    label = rows[found["label_id"]]
    told = [
        label[name] for name in ("verdict", "mode", "component", "evidence", "severity", "confidence", "note", "who")
    ]
    assert told == ["fault", "gear_tooth", "gear", "inspected", "plan", 0.9, "chipped", "mara"]
    assert label["axis_id"] == case["axis_id"]
    assert label["unit_serial"] is not None
    with (watched.home / "truth.csv").open(encoding="utf-8") as file:
        place = ("site", "cell", "robot_id", "axis")
        own = [row for row in csv.DictReader(file) if all(row[name] == case[name] for name in place)]
    covered = [row for row in own if case["first_at"] <= row["started_at"] <= case["last_at"]]
    start, end = (str(label[name]).split(".")[0] for name in ("from_at", "to_at"))
    inside = [row for row in own if start <= row["started_at"].replace("T", " ").rstrip("Z") < end]
    assert inside == covered, "the label reaches the case's recordings and no other"


def test_a_second_model_waits_for_promotion_and_can_be_rolled_back(
    watched: CommandLine, fleet: tuple[CommandLine, dict[str, Any]]
) -> None:
    """train adds a version; promote moves the champion, keeps the reason, and back again."""
    (first,) = fleet[1]["train"]
    (second,) = watched("train", "--as-of", END, "--json", AXISWATCH_EPOCHS="2").data
    assert second["model_version"] != first["model_version"]
    assert second["became_champion"] is False
    promoted = watched("models", "promote", second["model_version"], "--reason", "a try", "--json").data
    assert promoted == {
        "scope": "acceleration",
        "champion": second["model_version"],
        "previous": first["model_version"],
        "changed": True,
    }
    score = watched("score", "--as-of", END, "--json").data
    assert score["models"] == {"acceleration": second["model_version"]}
    assert score["recordings"] > 0
    watched("models", "promote", first["model_version"], "--reason", "back")
    assert watched("score", "--as-of", END, "--json").data["recordings"] == 0
    with sqlite3.connect(watched.home / "axiswatch.db") as database:
        reasons = [row[0] for row in database.execute("SELECT reason FROM alias_events ORDER BY sequence")]
    assert reasons == ["first version", "a try", "back"]


def test_simulate_refuses_a_folder_with_another_fleet(fleet: tuple[CommandLine, dict[str, Any]]) -> None:
    """And leaves the same fleet alone."""
    command, said = fleet
    same = ("simulate", str(command.home), "--robots", "4", "--axes", "3", "--days", "6")
    assert command(*same, "--json").data == said["simulate"] | {"written": False}
    assert "robots 4 there, 5 now" in command(*same[:3], "5", *same[4:], code=2).err


def test_an_archive_is_imported_and_taken_in(command: CommandLine) -> None:
    """import writes logs that acquire accepts, and files that the other imports read."""
    folder = command.home.parent / "archive"
    folder.mkdir()
    pq.write_table(pa.table({"acc": [0.1 * (index % 7) for index in range(3000)]}), folder / "a.parquet")
    (folder / "manifest.csv").write_text("file,robot,started\na.parquet,R1,2026-01-02T00:00:00Z\n", encoding="utf-8")
    (folder / "press.toml").write_text(
        'version = 1\nname = "press"\n'
        '[signal]\nformat = "parquet"\nfile = {column = "file"}\ncolumn = {value = "acc"}\n'
        '[recording]\nsite = {value = "p"}\nrobot_id = {column = "robot"}\naxis = {value = "A1"}\n'
        'channel = {value = "acc_x"}\nquantity = {value = "acceleration"}\nunit = {value = "g"}\n'
        'sampling_rate_hz = {value = 1000.0}\nrate_basis = {value = "declared"}\n'
        '[time]\nbasis = "clock"\nstart = {column = "started"}\n',
        encoding="utf-8",
    )
    call = ("import", str(folder / "manifest.csv"), "--mapping", str(folder / "press.toml"))
    done = command(*call, "--json")
    assert (done.data["recordings"], done.data["written"], done.data["skipped"]) == (1, 1, [])
    assert command("assets", "import", done.data["assets_path"], "--json").data["units"] == 0
    assert command("labels", "import", done.data["labels_path"], "--json").data["new"] == 0
    assert command("acquire", "--as-of", END, "--json").data["recordings"] == 1
    assert "cannot be read" in command("import", "nope.csv", "--mapping", "cwru", code=1).err


def test_foreign_names_and_odd_values_reach_a_terminal_that_knows_only_ascii(
    cli: Any, make_row: Any, write_log: Any
) -> None:
    """JSON is UTF-8 whatever the locale; text never ends in a traceback, and never steers the terminal."""
    rows = [make_row(1, robot_id="로봇7"), make_row(2, load=float("nan")), make_row(3, robot_id="R\x1b[31m")]
    write_log(cli.home / "landing/a.parquet", rows)
    assert cli("acquire", "--json").json()["recordings"] == 1
    narrow = cli.environment() | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    def told(*arguments: str) -> str:
        command = [str(cli.program), *arguments]
        done = subprocess.run(command, env=narrow, cwd=cli.home, capture_output=True, check=True)
        return done.stdout.decode("utf-8")

    assert json.loads(told("status", "--json"))[0]["robot_id"] == "로봇7"
    assert "로봇7" in told("status")
    entries = {
        entry["row_number"]: entry["quarantine_id"] for entry in json.loads(told("quarantine", "list", "--json"))
    }
    assert json.loads(told("quarantine", "show", entries[1], "--json"))["row"]["load"] == "nan"
    assert "\x1b" not in told("quarantine", "show", entries[2])
