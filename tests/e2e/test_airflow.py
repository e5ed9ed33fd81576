"""The schedule on a real Airflow with a real scheduler and PostgreSQL: live, done again, killed, and late."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psutil
import pytest
import sqlalchemy as sa

from pipeline.assets import import_assets
from pipeline.base.errors import AxiswatchError
from pipeline.cases.work import comment
from pipeline.labels.labels import import_labels
from pipeline.local_airflow import LocalAirflow
from pipeline.simulation import FleetSettings, simulate
from pipeline.store.database import Store
from pipeline.store.tables import (
    Axis,
    Case,
    Extraction,
    LogFile,
    ModelVersion,
    Recording,
    RetrainingDecision,
    Score,
    TriggerDecision,
)

ROOT = Path(__file__).parents[2]
FLEET = FleetSettings(robots=2, days=8, seed=3)
FAST = "epochs = 4\nsynthetic_windows = 20\nn_samples = 20\nhidden = [32]\nfolds = 2\nbaseline_days = 2.0\n"
FAST += "retrain_min_findings = 1\nretrain_growth = 0.0\nretrain_cooldown_days = 0.0\n"
MINUTES = 15
"""When a wait counts as a hang: a busy machine takes several times what an idle one does."""

pytestmark = pytest.mark.xdist_group("airflow")


class Plant:
    """A running Airflow, and the database, lake and landing zone that its tasks work on now."""

    def __init__(self, local: LocalAirflow, folder: Path, fleet: Path) -> None:
        self.local, self.folder, self.fleet = local, folder, fleet
        self.config = folder / "axiswatch.toml"
        self.name = ""

    def move_to(self, name: str, landing: str, more: str = "") -> Store:
        """Let all tasks from now on work on a database of this name, an empty one where it is new."""
        engine = sa.create_engine(self.local.database_url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            there = set(connection.scalars(sa.text("SELECT datname FROM pg_database")))
            if name not in there:
                connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        self.name = name
        (self.folder / landing).mkdir(exist_ok=True)
        self.config.write_text(
            f'home = "{self.folder / name}"\ndatabase_url = "{self.local.database_url(name)}"\n'
            f'landing = "{self.folder / landing}"\nmonitor_schedule = "0 0 * * *"\n{FAST}{more}',
            encoding="utf-8",
        )
        store = Store.open(self.local.database_url(name))
        import_assets(store, self.fleet / "assets.toml", as_of=FLEET.start)
        return store

    def drop(self, landing: str, day: int) -> int:
        """Drop the logs of a day, with the time at which the robots wrote them."""
        date = (FLEET.start + timedelta(days=day)).date().isoformat()
        found = sorted((self.fleet / "landing").rglob(f"{date}_*.parquet"))
        for path in found:
            target = self.folder / landing / path.relative_to(self.fleet / "landing")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
        return len(found)

    def trigger(self, dag: str, at: datetime) -> str:
        """Start a run for a time."""
        run = self.local.api("POST", f"/dags/{dag}/dagRuns", {"logical_date": at.isoformat(), "conf": {}})
        return str(run["dag_run_id"])

    def ask(self, dag: str, conf: dict[str, Any]) -> str:
        """Start a run by hand with parameters, as the button in the page does."""
        run = self.local.api("POST", f"/dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})
        return str(run["dag_run_id"])

    def pause(self, dag: str, paused: bool) -> None:
        """Turn a DAG off or on."""
        self.local.api("PATCH", f"/dags/{dag}", {"is_paused": paused})

    def runs(self, dag: str) -> list[dict[str, Any]]:
        """All runs, oldest first."""
        return list(self.local.api("GET", f"/dags/{dag}/dagRuns?limit=100&order_by=run_after")["dag_runs"])

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """Tasks of a run."""
        path = f"/dags/{dag}/dagRuns/{quote(run)}/taskInstances?limit=500"
        return list(self.local.api("GET", path)["task_instances"])

    def wait(self, dag: str, run: str) -> str:
        """Wait for a run to end; give its state."""
        last: dict[str, Any] = {}

        def ended() -> bool:
            nonlocal last
            self.local.look_after()  # as `axiswatch airflow` does
            try:
                last = self.local.api("GET", f"/dags/{dag}/dagRuns/{quote(run)}")
            except (OSError, AxiswatchError):  # while it, or its database, is started anew
                return False
            return bool(last["state"] in ("success", "failed"))

        until(ended, f"{dag} {run}", lambda: [(t["task_id"], t["map_index"], t["state"]) for t in self.tasks(dag, run)])
        return str(last["state"])

    def monitor(self, at: datetime) -> str:
        """Run the monitor for the interval that ends at a time; it must end well."""
        run = self.trigger("axiswatch_monitor", at)
        assert self.wait("axiswatch_monitor", run) == "success"
        return run

    def wait_quiet(self, dag: str) -> list[dict[str, Any]]:
        """Wait until no run of a DAG is under way."""
        until(lambda: all(run["state"] in ("success", "failed") for run in self.runs(dag)), f"runs of {dag}")
        return self.runs(dag)

    def marked(self, path: str, state: dict[str, str]) -> bool:
        """Mark a run of the watch, or a task of it; False where Airflow's database refused: a person presses again."""
        try:
            self.local.api("PATCH", f"/dags/axiswatch_watch/dagRuns/{path}", state)
        except AxiswatchError as error:
            if "Airflow answered 500" not in str(error):
                raise
            return False
        return True

    def forget_runs(self, *dags: str) -> None:
        """Delete runs, so that others may have the same times; but what the schedule made it would make again."""
        for dag in dags:
            for run in self.wait_quiet(dag):
                if run["run_type"] != "scheduled":
                    self.local.api("DELETE", f"/dags/{dag}/dagRuns/{quote(run['dag_run_id'])}")

    def command(self, *words: str) -> Any:
        """Run axiswatch as a user would, on the place of now."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "axiswatch"), *words, "--json"],
            env={**os.environ, "AXISWATCH_CONFIG": str(self.config)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


def until(true: Callable[[], bool], what: str, explain: Callable[[], Any] = lambda: "") -> None:
    """Wait for something; say what did not come."""
    give_up = time.monotonic() + 60 * MINUTES
    while True:
        with suppress(OSError):  # a busy machine answers too late
            if true():
                return
        assert time.monotonic() < give_up, f"not within {MINUTES} minutes: {what} {explain()}"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def plant(free_port: Callable[[], int]) -> Iterator[Plant]:
    """One Airflow for this file. Its folder is not pytest's: the path of PostgreSQL's socket has to be short."""
    folder = Path(tempfile.mkdtemp(prefix="axiswatch-af-"))
    fleet = folder / "fleet"
    simulate(fleet, FLEET)
    shutil.copytree(ROOT / "dags", folder / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    local = LocalAirflow(
        folder,
        folder / "dags",
        free_port(),
        {
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
            "AXISWATCH_CONFIG": str(folder / "axiswatch.toml"),
            "AXISWATCH_DATABASE_URL": "",
            "AXISWATCH_HOME": "",
        },
    )
    try:
        local.start_postgres()
        found = Plant(local, folder, fleet)
        found.move_to("nothing", "empty").dispose()
        local.start("standalone")
        local.wait_until_healthy(240)
        until(lambda: len(local.api("GET", "/dags")["dags"]) == 7, "seven DAGs")
        # Daily, never before: the last whole day is due at once, on an empty plant.
        for dag in ("axiswatch_monitor", "axiswatch_watch"):
            until(lambda dag=dag: len(found.runs(dag)) > 0, f"the first scheduled run of {dag}")
            found.wait_quiet(dag)
        yield found
    finally:
        local.stop()
        if not os.environ.get("KEEP_AIRFLOW"):
            shutil.rmtree(folder, ignore_errors=True)


def day(number: int) -> datetime:
    """End of a day of the fleet."""
    return FLEET.start + timedelta(days=number)


def count(store: Store, table: Any) -> int:
    """Rows of a table."""
    with store.read() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0


TOLD_TIMES = {"known_at", "changed_at", "at", "decided_at", "baselines_at", "ended_at", "body"}
"""Of a message of the webhook, `body`: made of a case and an act, which are compared, and of when it was known."""


def comparable(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[str]]:
    """Every row but when it was known."""
    return {
        name: sorted(
            json.dumps(
                {key: value for key, value in row.items() if key not in TOLD_TIMES},
                default=str,
                sort_keys=True,
            )
            for row in rows
        )
        for name, rows in tables.items()
    }


def test_the_watch_starts_a_retraining_once_and_its_backfill_none(plant: Plant) -> None:
    plant.forget_runs("axiswatch_monitor", "axiswatch_watch", "axiswatch_retrain")
    store = plant.move_to("watched", "watched_landing")
    for number in range(7):
        plant.drop("watched_landing", number)
    import_labels(store, plant.fleet / "labels.csv", who="inspection")
    for step in ("acquire", "extract", "baseline"):
        plant.command(step, "--as-of", day(7).isoformat())

    # At the time of the backfill there were findings and no model: a live run would have started a retraining.
    early = day(6).replace(hour=3)
    words = ("backfill", "create", "--dag-id", "axiswatch_watch", "--max-active-runs", "1")
    plant.local.run(*words, "--from-date", early.isoformat(), "--to-date", early.isoformat())

    def backfilled() -> list[dict[str, Any]]:
        return [run for run in plant.runs("axiswatch_watch") if run["run_type"] == "backfill"]

    until(lambda: [run["state"] for run in backfilled()] == ["success"], "the backfill's run")
    assert states(plant, backfilled()[0]["dag_run_id"]) == ("success", "skipped", "skipped")
    with store.read() as connection:
        at = TriggerDecision.decided_at == early
        said = {row.trigger: row for row in connection.execute(sa.select(TriggerDecision).where(at))}
    assert said["new_labels"].fired
    assert not said["decision"].fired
    assert "a backfill starts no retraining" in said["decision"].reason
    assert plant.runs("axiswatch_retrain") == []

    live = plant.trigger("axiswatch_watch", day(7))
    assert plant.wait("axiswatch_watch", live) == "success"
    assert states(plant, live) == ("success", "success", "success")
    [started] = plant.wait_quiet("axiswatch_retrain")
    assert started["state"] == "success"
    assert started["run_type"] == "operator_triggered"
    assert datetime.fromisoformat(started["run_after"]) == day(7), "it stands for the time of the watch"
    assert started["conf"] == {"scopes": ["acceleration"], "trigger": "new_labels"}
    with store.read() as connection:
        [decision] = connection.execute(sa.select(RetrainingDecision)).all()
        rows = connection.execute(sa.select(TriggerDecision)).all()
    assert (decision.decided_at, decision.trigger, decision.outcome) == (day(7), "new_labels", "first")

    # Cleared, it says what it said, and finds the run that it had started.
    redo(plant, "axiswatch_watch", live)
    plant.pause("axiswatch_watch", False)
    assert states(plant, live) == ("success", "success", "skipped")
    assert len(plant.wait_quiet("axiswatch_retrain")) == 1
    with store.read() as connection:
        assert connection.execute(sa.select(TriggerDecision)).all() == rows
    store.dispose()


def states(plant: Plant, run: str) -> tuple[str, ...]:
    """How the tasks of a run of the watch ended."""
    found = {item["task_id"]: item["state"] for item in plant.tasks("axiswatch_watch", run)}
    return tuple(str(found[name]) for name in ("decide", "due", "start"))


def asking(plant: Plant) -> list[dict[str, Any]]:
    """The runs of the watch that started a retraining, oldest first."""
    found = []
    for run in plant.wait_quiet("axiswatch_watch"):
        found += [run] if states(plant, run["dag_run_id"])[-1] == "success" else []
    return found


def test_live_answered_retrained_and_done_again(plant: Plant, dump: Callable[[Store], Any]) -> None:
    plant.forget_runs("axiswatch_monitor", "axiswatch_watch", "axiswatch_retrain")
    store = plant.move_to("live", "landing")
    import_labels(store, plant.fleet / "labels.csv", who="inspection")
    for number in range(1, 7):
        assert plant.drop("landing", number - 1) == FLEET.robots
        plant.monitor(day(number))
    # The monitor told of labels, so the watch has started a retraining; its time is that of the watch.
    until(lambda: count(store, ModelVersion) == 1, "a model")
    first = plant.wait_quiet("axiswatch_retrain")[-1]
    assert first["state"] == "success"
    assert first["run_type"] == "operator_triggered"
    assert first["conf"] == {"scopes": ["acceleration"], "trigger": "new_labels"}
    looks = asking(plant)
    assert looks[-1]["run_after"] == first["run_after"]
    plant.drop("landing", 6)
    plant.monitor(day(7))
    assert count(store, Score) > 0
    cases = plant.command("queue")
    assert cases, "a fleet with faults gives cases"
    case = min(row["case_id"] for row in cases if row["family"] == "machine")
    answer = ("label", case, "healthy", "--evidence", "inspected", "--who", "engineer", "--as-of", day(7).isoformat())
    plant.command(*answer)
    plant.drop("landing", 7)
    plant.monitor(day(8))
    until(lambda: count(store, RetrainingDecision) == 2, "a second retraining")
    second = plant.wait_quiet("axiswatch_retrain")[-1]
    assert second["dag_run_id"] != first["dag_run_id"]
    looks = asking(plant)
    assert [run["run_after"] for run in looks] == [first["run_after"], second["run_after"]], (
        "none starts anything twice"
    )
    decisions = plant.command("models", "decisions")
    assert decisions[-1]["outcome"] == "first"
    assert decisions[0]["outcome"] in ("promoted", "kept")
    assert decisions[0]["reason"]
    assert count(store, ModelVersion) == 2, "a label more is another model"
    events = plant.local.api("GET", "/assets/events?limit=200&order_by=-timestamp")["asset_events"]
    told = {event["name"] for event in events}
    assert {"recordings", "features", "scores", "cases", "labels", "champion"} <= told
    assert any(event["extra"].get("recordings", 0) > 0 for event in events if event["name"] == "recordings")
    live = dump(store)
    store.dispose()

    # The same days into an empty database, by Airflow's own backfill: each run has the time of its own interval.
    plant.forget_runs("axiswatch_monitor")
    again = plant.move_to("again", "landing")
    plant.pause("axiswatch_watch", True)  # the findings are told of again, and have had their retraining
    plant.pause("axiswatch_retrain", True)
    import_labels(again, plant.fleet / "labels.csv", who="inspection")
    fill_in(plant, 1, 6)
    redo(plant, "axiswatch_watch", looks[0]["dag_run_id"])
    redo(plant, "axiswatch_retrain", first["dag_run_id"])
    fill_in(plant, 7, 7)
    assert plant.command(*answer)
    fill_in(plant, 8, 8)
    redo(plant, "axiswatch_watch", looks[1]["dag_run_id"])
    redo(plant, "axiswatch_retrain", second["dag_run_id"])
    assert len(plant.runs("axiswatch_retrain")) == 2, "done again, a watch finds the run that it had started"
    found, wanted = comparable(dump(again)), comparable(live)
    again.dispose()
    plant.pause("axiswatch_retrain", False)
    plant.pause("axiswatch_watch", False)
    for name, rows in wanted.items():
        assert found[name] == rows, name


def test_a_named_model_scores_again_and_a_failure_is_told(plant: Plant) -> None:
    store = plant.move_to("live", "landing", "case_max_age_days = 30.0\n")
    aliases, cases = plant.command("models", "list"), plant.command("queue")
    named = aliases[-1]["model_version"]  # trained after the last run of the monitor: it has scored nothing
    before = count(store, Score)
    asked = {"from_at": day(5).isoformat(), "to_at": day(8).isoformat(), "model_version": named}
    run = plant.ask("axiswatch_backfill", asked)
    assert plant.wait("axiswatch_backfill", run) == "success"
    at = datetime.fromisoformat(plant.local.api("GET", f"/dags/axiswatch_backfill/dagRuns/{quote(run)}")["run_after"])
    within = sa.and_(Extraction.started_at >= day(5), Extraction.started_at < day(8))
    with store.read() as connection:
        windows = connection.scalar(sa.select(sa.func.sum(Extraction.n_windows)).where(within))
        own = sa.and_(Score.model_version == named, Score.started_at >= day(5), Score.started_at < day(8))
        scored = connection.scalar(sa.select(sa.func.count()).where(own))
        known = set(connection.scalars(sa.select(Score.known_at).where(own)))
    assert scored == windows > 0
    assert known == {at}, "what the backfill wrote is marked with the time at which it became known"
    assert count(store, Score) > before
    assert plant.command("models", "list") == aliases
    assert {row["case_id"] for row in plant.command("queue")} == {row["case_id"] for row in cases}, "too old for a case"
    with listening() as told:
        store.dispose()
        plant.move_to("live", "landing", f'webhook_url = "{told.url}"\n').dispose()
        run = plant.ask("axiswatch_backfill", asked | {"to_at": day(1).isoformat()})
        assert plant.wait("axiswatch_backfill", run) == "failed"
        until(lambda: len(told.bodies) > 0, "word of the failure")
    failure = next(row for row in plant.command("failures") if row["run_id"] == run)
    assert (failure["task_id"], failure["webhook"]) == ("check", "sent")
    assert "is not after from_at" in failure["message"]
    assert told.bodies[0]["failure"]["run_id"] == run


def test_a_run_or_a_task_that_a_person_marks_failed_is_told_once(plant: Plant) -> None:
    with listening() as told:
        plant.move_to("marked", "empty", f'webhook_url = "{told.url}"\n').dispose()
        plant.forget_runs("axiswatch_watch")
        for what in ("", "/taskInstances/decide"):
            run = plant.ask("axiswatch_watch", {})
            state = {"new_state": "failed"} if what else {"state": "failed"}
            until(lambda run=run: len(plant.tasks("axiswatch_watch", run)) > 0, "its tasks")
            until(partial(plant.marked, f"{quote(run)}{what}", state), "the mark")
            assert plant.wait("axiswatch_watch", run) == "failed"
            until(lambda run=run: run in [body["failure"]["run_id"] for body in told.bodies], "word of it")
        time.sleep(5)
    assert [body["failure"]["task_id"] for body in told.bodies] == ["", ""], told.bodies
    assert "a person marked this run failed" in told.bodies[0]["text"]
    assert "a person marked it so" in told.bodies[1]["text"]
    assert {row["webhook"] for row in plant.command("failures")} == {"sent"}


def test_after_a_promotion_new_recordings_go_first_and_the_history_follows_within_its_budget(plant: Plant) -> None:
    """A run may score 2 batches of 100 windows here; the history is larger."""
    plant.forget_runs("axiswatch_monitor", "axiswatch_watch", "axiswatch_retrain")
    store = plant.move_to("month", "month_landing", "score_batch_windows = 100\nmax_batches = 2\n")
    for number in range(6):
        plant.drop("month_landing", number)
    import_labels(store, plant.fleet / "labels.csv", who="inspection")
    versions = []
    for hours in (0, 1):
        at = (day(6) + timedelta(hours=hours)).isoformat()
        plant.command("run", "--as-of", at)
        if versions:  # another finding makes another model
            case = min(row["case_id"] for row in plant.command("queue") if row["family"] == "machine")
            plant.command("label", case, "healthy", "--evidence", "inspected", "--who", "engineer", "--as-of", at)
        [trained] = plant.command("train", "--scope", "acceleration", "--as-of", at)
        versions.append(trained["model_version"])
        plant.command("models", "promote", versions[-1], "--reason", "test", "--as-of", at)
    first, second = versions
    assert first != second
    plant.drop("month_landing", 6)
    left, new_left = [], []
    for minutes in range(12):
        plant.monitor(day(7) + timedelta(minutes=minutes))
        with store.read() as connection:
            mine = sa.select(Score.recording_id).where(Score.model_version == second)
            due = sa.select(Recording.recording_id, Recording.started_at).where(Recording.recording_id.not_in(mine))
            started = [row.started_at for row in connection.execute(due)]
        left.append(len(started))
        new_left.append(sum(at >= day(6) for at in started))
        if not left[-1]:
            break
    store.dispose()
    assert new_left[0] == 0, "in the interval in which they came"
    assert left[0] > 0, "the history is more than a run may do"
    assert left[-1] == 0
    assert max(-np.diff(left)) <= 2 * 100


def test_the_monitor_tells_the_webhook_of_cases(plant: Plant) -> None:
    plant.forget_runs("axiswatch_monitor")
    with listening() as told:
        secret = "a secret of the test, long enough"
        more = f'case_webhook_url = "{told.url}"\ncase_webhook_secret = "{secret}"\n'
        store = plant.move_to("told", "empty", more)
        with store.write() as connection:
            axis = connection.scalars(sa.select(Axis.axis_id).order_by(Axis.axis_id)).first()
            case = {"case_id": "case0", "axis_id": axis, "family": "machine", "state": "open", "reasons": []}
            times = dict.fromkeys(("first_at", "last_at", "known_at", "changed_at"), day(1))
            connection.execute(sa.insert(Case), case | times | {"n_bins": 1, "priority": 0.9})
        comment(store, "case0", "what does the maintenance system say?", who="mara", at=day(1))
        store.dispose()
        plant.monitor(day(2))
        body = next(item for item in told.bodies if item["id"] == "case0-1")  # the run opens cases about silence, too
        assert body["details"]["text"] == "what does the maintenance system say?"
        stamp = int(told.headers[0]["Webhook-Timestamp"])
        assert abs(stamp - time.time()) < 300, "the true time, not the run's"
        assert {row["state"] for row in plant.command("webhook", "list")} == {"delivered"}


def test_housekeeping_removes_what_airflow_kept_too_long(plant: Plant) -> None:
    log = plant.folder / "airflow" / "logs" / "dag_id=gone" / "attempt=1.log"
    log.parent.mkdir(parents=True)
    log.write_text("from the time before", encoding="utf-8")
    long_ago = time.time() - 200 * 86_400
    os.utime(log, (long_ago, long_ago))
    empty = log.parent.with_name("dag_id=emptied before")
    empty.mkdir()
    os.utime(empty, (long_ago, long_ago))
    engine = sa.create_engine(plant.local.database_url("airflow"), poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO log (dttm, event) VALUES (now() - interval '200 days', 'long ago')")
    run = plant.ask("axiswatch_housekeeping", {})
    assert plant.wait("axiswatch_housekeeping", run) == "success"
    with engine.connect() as connection:
        kept = sa.text("SELECT count(*) FILTER (WHERE event = 'long ago'), count(*) FROM log")
        old, all_of_them = connection.execute(kept).one()
    engine.dispose()
    assert (old, log.exists(), empty.exists()) == (0, False, False)
    assert all_of_them > 0, "what is young stays"


def test_the_doctor_tells_what_keeps_the_monitor_from_running(plant: Plant) -> None:
    def told() -> str:
        """What is wrong with Airflow."""
        done = subprocess.run(
            [str(Path(sys.executable).parent / "axiswatch"), "doctor", "--quiet", "--json"],
            env={**os.environ, **plant.local.variables(), "AXISWATCH_CONFIG": str(plant.config)},
            capture_output=True,
            text=True,
            check=False,
        )
        return " ".join(one["text"] for one in json.loads(done.stdout) if one["check"] == "airflow")

    assert told() == ""
    plant.pause("axiswatch_monitor", True)
    assert "axiswatch_monitor is paused" in told()
    plant.pause("axiswatch_monitor", False)
    file = plant.local.dags / "axiswatch_monitor.py"
    sound = file.read_text(encoding="utf-8")
    file.write_text(sound + "\nthis is no Python\n", encoding="utf-8")
    until(lambda: "cannot read the DAG axiswatch_monitor" in told(), "word of a DAG that cannot be read", told)
    assert "SyntaxError" in told()
    file.write_text(sound, encoding="utf-8")
    until(lambda: told() == "", "a sound Airflow", told)


@contextmanager
def listening() -> Iterator[Any]:
    """Listen on a port of this machine for POSTs of JSON; `url` is where, `bodies` and `headers` what came."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            self.server.headers.append(dict(self.headers.items()))  # type: ignore[attr-defined]
            self.server.bodies.append(json.loads(self.rfile.read(length)))  # type: ignore[attr-defined]
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: Any) -> None:
            """Say nothing on the test's output."""

    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.bodies, server.headers = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def fill_in(plant: Plant, first: int, last: int) -> None:
    """Let Airflow's backfill run the monitor for days, both included, and wait."""
    before = {run["dag_run_id"] for run in plant.runs("axiswatch_monitor")}
    words = ("backfill", "create", "--dag-id", "axiswatch_monitor", "--max-active-runs", "1")
    dates = ("--from-date", day(first - 1).isoformat(), "--to-date", day(last - 1).isoformat())
    plant.local.run(*words, *dates)

    def ended() -> bool:
        new = [run for run in plant.runs("axiswatch_monitor") if run["dag_run_id"] not in before]
        return len(new) == last - first + 1 and all(run["state"] in ("success", "failed") for run in new)

    until(ended, f"backfill of days {first} to {last}")
    told = "/backfills?dag_id=axiswatch_monitor"
    until(lambda: all(one["completed_at"] for one in plant.local.api("GET", told)["backfills"]), "the backfill's end")
    assert {run["state"] for run in plant.runs("axiswatch_monitor")} == {"success"}


def redo(plant: Plant, dag: str, run: str) -> None:
    """Clear a run, so that it is done again with its own time."""
    plant.pause(dag, False)
    plant.local.api("POST", f"/dags/{dag}/dagRuns/{quote(run)}/clear", {"dry_run": False})
    time.sleep(1)
    assert plant.wait(dag, run) == "success"
    plant.pause(dag, True)


def extracted_once(store: Store) -> tuple[int, int]:
    """Recordings, and extractions of them."""
    return count(store, Recording), count(store, Extraction)


def wait_for_mapped(plant: Plant, run: str, task: str) -> None:
    """Wait until the middle of a mapped task: some are done, and some are not."""

    def amid() -> bool:
        states = [item["state"] for item in plant.tasks("axiswatch_monitor", run) if item["task_id"] == task]
        return "success" in states and "running" in states

    until(amid, f"{task} in the middle")


def titled(processes: list[psutil.Process], *words: str) -> list[psutil.Process]:
    """Those whose title has all the words."""
    found = []
    for process in processes:
        try:
            title = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if all(word in title for word in words):
            found.append(process)
    return found


def kill(victims: list[psutil.Process]) -> None:
    """SIGKILL processes and all below them."""
    assert victims
    for victim in [item for process in victims for item in (process, *process.children(recursive=True))]:
        with suppress(psutil.NoSuchProcess):
            victim.send_signal(signal.SIGKILL)


def test_killed_workers_are_made_up_for(plant: Plant) -> None:
    plant.forget_runs("axiswatch_monitor", "axiswatch_watch", "axiswatch_retrain")
    store = plant.move_to("killed", "killed_landing", "batch_mib = 0.7\n")
    for number in range(3):
        plant.drop("killed_landing", number)
    run = plant.trigger("axiswatch_monitor", day(3))
    wait_for_mapped(plant, run, "extract")
    kill(titled(plant.local.processes(), "LocalExecutor"))
    assert plant.wait("axiswatch_monitor", run) == "success"
    recordings, extractions = extracted_once(store)
    assert recordings == extractions > 0
    assert max(item["try_number"] for item in plant.tasks("axiswatch_monitor", run)) > 1, "one had to be tried again"
    store.dispose()


def test_a_killed_scheduler_goes_on_after_its_restart(plant: Plant) -> None:
    plant.forget_runs("axiswatch_monitor", "axiswatch_watch", "axiswatch_retrain")
    store = plant.move_to("scheduler", "killed_landing", "batch_mib = 0.7\n")
    run = plant.trigger("axiswatch_monitor", day(3))
    wait_for_mapped(plant, run, "extract")
    kill(titled(plant.local.processes(), "airflow", "scheduler"))
    assert plant.wait("axiswatch_monitor", run) == "success"
    recordings, extractions = extracted_once(store)
    assert recordings == extractions > 0
    store.dispose()


def test_a_killed_database_goes_on_after_its_restart(plant: Plant) -> None:
    plant.forget_runs("axiswatch_monitor", "axiswatch_watch", "axiswatch_retrain")
    plant.move_to("database", "killed_landing", "batch_mib = 0.7\n").dispose()
    for number in range(3):
        plant.drop("killed_landing", number)
    run = plant.trigger("axiswatch_monitor", day(3))
    wait_for_mapped(plant, run, "extract")
    postmaster = plant.folder / "postgres" / "postmaster.pid"
    os.kill(int(postmaster.read_text(encoding="utf-8").split()[0]), signal.SIGKILL)
    assert plant.wait("axiswatch_monitor", run) == "success"
    store = Store.open(plant.local.database_url("database"))
    recordings, extractions = extracted_once(store)
    assert recordings == extractions > 0
    store.dispose()


def test_a_week_without_airflow_is_worked_off_oldest_first(plant: Plant) -> None:
    plant.forget_runs("axiswatch_monitor", "axiswatch_watch", "axiswatch_retrain")
    store = plant.move_to("late", "late_landing", "batch_mib = 1.5\nmax_batches = 3\n")
    for number in reversed(range(7)):
        plant.drop("late_landing", number)
    newest: list[datetime] = []
    taken: list[int] = []
    for minutes in range(20):
        plant.monitor(day(7) + timedelta(minutes=minutes))
        with store.read() as connection:
            last = sa.select(sa.func.max(Recording.started_at, type_=Recording.started_at.type))
            newest.append(connection.scalar(last) or FLEET.start)
        taken.append(count(store, LogFile))
        if taken[-1] == 7 * FLEET.robots and len(set(extracted_once(store))) == 1:
            break
    assert newest == sorted(newest)
    assert taken[0] < 7 * FLEET.robots, "a run takes a bounded number of batches"
    assert max(np.diff([0, *taken])) <= 3 * 3
    assert taken[-1] == 7 * FLEET.robots
    assert len(set(extracted_once(store))) == 1
    store.dispose()
