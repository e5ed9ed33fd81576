"""Each DAG is run whole, by `dag.test()` on a small fleet: what tasks hand to each other, skip and update."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from pipeline.assets import import_assets
from pipeline.labels.labels import import_labels
from pipeline.store.database import Store

ROOT = Path(__file__).parents[2]
FAST = {
    "EPOCHS": "2",
    "SYNTHETIC_WINDOWS": "20",
    "N_SAMPLES": "20",
    "HIDDEN": "[16]",
    "FOLDS": "2",
    "BASELINE_DAYS": "2",
    "RETRAIN_MIN_FINDINGS": "1",
    "WORKERS": "1",
}
BATCHES = {"AXISWATCH_BATCH_MIB": "2"}


class Metrics(ThreadingHTTPServer):
    """What Prometheus is to Airflow: takes metrics by OpenTelemetry's protocol; keeps path and names."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.seen: set[tuple[str, str]] = set()


class Taking(BaseHTTPRequestHandler):
    """One request to `Metrics`."""

    server: Metrics

    def do_POST(self) -> None:
        """Take some metrics."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        told = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        for source in ExportMetricsServiceRequest.FromString(told).resource_metrics:
            for scope in source.scope_metrics:
                self.server.seen |= {(self.path, metric.name) for metric in scope.metrics}
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def metrics() -> Iterator[Metrics]:
    """A server that takes metrics."""
    with Metrics() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, small_fleet: Any, metrics: Metrics) -> dict[str, Any]:
    """How every run ended, by its name. One process runs them in this order, on one database."""
    home = tmp_path_factory.mktemp("whole")
    store = Store.open(f"sqlite:///{home / 'axiswatch.db'}")
    import_assets(store, small_fleet.assets, as_of=small_fleet.settings.start)
    import_labels(store, small_fleet.labels, who="simulation")
    store.dispose()
    end: datetime = small_fleet.end

    def one(name: str, hours: float, conf: dict[str, Any] | None = None, **settings: str) -> dict[str, Any]:
        at = (end + timedelta(hours=hours)).isoformat()
        return {"name": name, "dag": f"axiswatch_{name.split()[0]}", "at": at, "conf": conf, "settings": settings}

    period = {"from_at": small_fleet.settings.start.isoformat(), "to_at": end.isoformat()}
    asked = [
        one("monitor in batches", 0, **BATCHES),
        one("watch", 1),
        one("retrain", 1, {"scopes": ["acceleration"]}),
        one("monitor whole", 2),
        one("monitor idle", 3),
        one("levels", 4),
        one("backfill", 5, period, **BATCHES),
        one("retrain mistyped", 6, {"scope": ["acceleration"]}),
        one("retrain nothing", 7, {"scopes": ["velocity"]}),
        one("watch mistyped to come", 24 * 366 * 40),
        one("monitor mistyped", 7, {"from_at": "2026-01-05T00:00:00Z"}),
        one("retention", 8),
        one("housekeeping", 9),
    ]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AXISWATCH"))},
        **{f"AXISWATCH_{name}": value for name, value in FAST.items()},
        "AXISWATCH_HOME": str(home),
        "AXISWATCH_LANDING": str(small_fleet.landing),
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW_DATABASE": f"sqlite:///{home / 'airflow' / 'airflow.db'}",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__METRICS__OTEL_ON": "True",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{metrics.server_port}/api/v1/otlp",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "PYTHONPATH": os.pathsep.join((str(ROOT / "dags"), str(ROOT))),
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
    }
    script = Path(__file__).with_name("whole_runs.py")
    done = subprocess.run(
        [sys.executable, str(script), str(ROOT / "dags")],
        input=json.dumps(asked),
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RUNS"))
    return dict(json.loads(line.removeprefix("RUNS")))


def states(run: dict[str, Any]) -> dict[str, set[str]]:
    """The states in which a task ended; a mapped one may have several."""
    found: dict[str, set[str]] = {}
    for task in run["tasks"]:
        found.setdefault(task["task"], set()).add(task["state"])
    return found


def returned(run: dict[str, Any], task: str) -> list[Any]:
    """What a task returned, each of its mapped parts."""
    return [one["returned"] for one in run["tasks"] if one["task"] == task]


def test_every_dag_file_was_run(runs: dict[str, Any]) -> None:
    files = {path.stem for path in (ROOT / "dags").glob("axiswatch_*.py")}
    assert {f"axiswatch_{name.split()[0]}" for name in runs} == files


def test_a_run_that_had_nothing_to_complain_of_is_green(runs: dict[str, Any]) -> None:
    red = {name: states(run) for name, run in runs.items() if run["state"] == "failed"}
    assert list(red) == [name for name in runs if "mistyped" in name], red
    for name, run in runs.items():
        assert states(run)["outcome"] == {"failed" if name in red else "skipped"}, name


def test_times_of_runs_and_tasks_are_sent_to_prometheus(runs: dict[str, Any], metrics: Metrics) -> None:
    """By the settings that the page for production names."""
    assert {path for path, _ in metrics.seen} == {"/api/v1/otlp/v1/metrics"}
    names = {name for _, name in metrics.seen}
    assert names >= {f"airflow.ti.finish.axiswatch_monitor.interval.{state}" for state in ("success", "failed")}
    for name, run in runs.items():
        ended = [task["task"] for task in run["tasks"] if task["state"] == "success"]
        assert names >= {f"airflow.dag.axiswatch_{name.split()[0]}.{task}.duration" for task in ended}, name


def test_a_large_interval_goes_through_its_batches(runs: dict[str, Any]) -> None:
    run = runs["monitor in batches"]
    assert returned(run, "interval") == [True]
    assert set.union(*(states(run)[name] for name in ("acquire", "extract", "advise", "whole"))) == {"success"}
    assert states(run)["score"] == {"skipped"}, "there is no model yet"
    taken, extracted = returned(run, "acquire"), returned(run, "extract")
    assert len(taken) > 1
    assert len(extracted) > 1
    recordings = sum(one["recordings"] for one in taken)
    assert sum(one["recordings"] for one in extracted) == recordings > 0
    called = [one["called"] for one in run["tasks"] if one["task"] in ("acquire", "extract")]
    assert all(re.fullmatch(r"\d+ files|\d+ recordings from \S+Z", name) for name in called), called
    told = dict(run["events"])
    assert told["recordings"]["recordings"] == told["features"]["recordings"] == recordings
    assert told["labels"]["new_labels"] > 0


def test_findings_become_a_champion_that_scores(runs: dict[str, Any]) -> None:
    [decided] = returned(runs["watch"], "decide")
    assert decided["scopes"] == ["acceleration"]
    assert states(runs["watch"])["start"] == {"success"}
    run = runs["retrain"]
    assert run["events"] == [["champion", {"acceleration": "first version of its scope"}]]
    assert [one["called"] for one in run["tasks"] if one["task"] == "retrain"] == ["acceleration"]
    [again] = returned(run, "rescore")
    assert again["recordings"] > 0
    [levels] = returned(runs["levels"], "estimate")
    assert [one["scope"] for one in levels] == ["acceleration"]


def test_a_small_interval_is_one_task_and_an_idle_one_updates_nothing(runs: dict[str, Any]) -> None:
    for name in ("monitor whole", "monitor idle"):
        ended = states(runs[name])
        assert ended.pop("interval") == {"success"}
        assert set.union(*ended.values()) == {"skipped"}, ended
    assert [name for name, _ in runs["monitor whole"]["events"]] == ["cases"]
    assert runs["monitor idle"]["events"] == []


def test_a_backfill_finds_nothing_where_all_is_done(runs: dict[str, Any]) -> None:
    run = runs["backfill"]
    assert (returned(run, "plan_extract"), returned(run, "plan_score")) == ([[]], [[]])
    assert run["events"] == []


def test_a_mistyped_parameter_fails_the_first_task(runs: dict[str, Any]) -> None:
    run = runs["retrain mistyped"]
    assert states(run)["scopes"] == {"failed"}
    assert states(run)["retrain"] == {"upstream_failed"}
    assert run["events"] == []
    assert states(runs["monitor mistyped"])["interval"] == {"failed"}, "also where there is no parameter at all"


def test_a_run_for_a_time_to_come_does_nothing(runs: dict[str, Any]) -> None:
    """A mistyped logical date: every later run would stand before what it wrote."""
    assert states(runs["watch mistyped to come"])["decide"] == {"failed"}
