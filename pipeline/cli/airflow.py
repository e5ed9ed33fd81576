"""The command that `make airflow` runs: the schedule on one machine, with simulated logs, until Ctrl-C."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.base.errors import PrerequisiteMissing
from pipeline.cli.common import ADMINISTRATION, AsJson, emit, err, out
from pipeline.workplace import true_now

if TYPE_CHECKING:
    from pipeline.local_airflow import LocalAirflow
    from pipeline.simulation import FleetSettings

HEALTHY_SECONDS = 900
"""On a busy machine the first start migrates a database and imports everything, some at a time."""

LOOK_SECONDS = 5.0


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel=ADMINISTRATION, epilog="Example: axiswatch airflow --folder local-airflow --dags dags")(
        airflow
    )


def airflow(
    folder: Annotated[Path, typer.Option(help="Folder for all files of this run.")] = Path("local-airflow"),
    dags: Annotated[Path, typer.Option(help="Folder of the DAG files.")] = Path("dags"),
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of Airflow's web page.")] = 8080,
    schedule: Annotated[str, typer.Option(help="Cron expression of the monitor (default: every two minutes).")] = (
        "*/2 * * * *"
    ),
    robots: Annotated[int, typer.Option(min=1, help="Robots in the simulated fleet, six axes each.")] = 4,
    days: Annotated[int, typer.Option(min=4, help="Days of history at the start.")] = 10,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two recordings of every axis.")] = 60.0,
    beats: Annotated[
        int, typer.Option(min=0, help="Stop after this many recordings of every axis; 0: go on until Ctrl-C.")
    ] = 0,
    as_json: AsJson = False,
) -> None:
    """Run Airflow, PostgreSQL and a feeder of simulated logs on this machine. Ctrl-C stops all of it."""
    from pipeline.local_airflow import LocalAirflow
    from pipeline.simulation import FleetSettings

    if not (dags / "axiswatch_monitor.py").is_file():
        raise PrerequisiteMissing(
            f"folder {dags} has no axiswatch_monitor.py; run this command in a checkout, or give the folder by --dags"
        )
    fleet_folder = folder.absolute() / "fleet"
    local = LocalAirflow(
        folder,
        dags,
        port,
        {"AXISWATCH_LANDING": str(fleet_folder / "landing"), "AXISWATCH_MONITOR_SCHEDULE": schedule},
    )
    today = true_now().replace(hour=0, minute=0, second=0, microsecond=0)
    fleet = FleetSettings(robots=robots, days=days, start=_start(fleet_folder, today - timedelta(days=days)))
    local.claim()
    with _ends_on_signals():
        try:
            _run(local, fleet, fleet_folder, every, beats, as_json)
        except KeyboardInterrupt:
            err.print("stopping; this takes up to a minute")
        finally:
            local.stop()
    err.print(f"stopped; all files are kept in {folder}, and `make airflow` continues with them")


def _run(local: LocalAirflow, fleet: FleetSettings, folder: Path, every: float, beats: int, as_json: bool) -> None:
    from pipeline.assets import import_assets
    from pipeline.labels.labels import import_labels
    from pipeline.local_airflow import ADMIN
    from pipeline.simulation import simulate
    from pipeline.simulation.run import drop_beat
    from pipeline.store.database import Store

    err.print(f"simulating {fleet.days} days of {fleet.robots} robots")
    simulate(folder, fleet)
    local.start_postgres()
    store = Store.open(local.variables()["AXISWATCH_DATABASE_URL"])
    import_assets(store, folder / "assets.toml", as_of=fleet.start)
    import_labels(store, folder / "labels.csv", who="simulation")
    store.dispose()
    err.print(f"starting Airflow; its output is in {local.log}")
    local.start("standalone")
    local.wait_until_healthy(HEALTHY_SECONDS)
    facts = {
        "url": local.url,
        "user": ADMIN,
        "password": local.password(),
        "database_url": local.variables()["AXISWATCH_DATABASE_URL"],
        "home": local.variables()["AXISWATCH_HOME"],
        "landing": str(folder / "landing"),
    }
    emit(facts, as_json, lambda: _show(facts))
    started, beat = time.monotonic(), 0
    first = _beats_done(folder)
    while not beats or beat < beats:
        count = drop_beat(folder / "landing", fleet, first + beat, true_now())
        err.print(f"{true_now():%H:%M:%S} dropped {count} recordings", highlight=False)
        beat += 1
        while (left := started + beat * every - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))
            if local.look_after():
                err.print("a part of Airflow had stopped or hung; it was started again")


def _show(facts: dict[str, str]) -> None:
    out.print(
        f"\nAirflow: {facts['url']}   user {facts['user']}   password {facts['password']}\n"
        "The monitor reads the history, its findings start a retraining, and the next run scores all recordings.\n"
        f"To see the results, run in another shell:\n"
        f"  export AXISWATCH_DATABASE_URL='{facts['database_url']}'\n"
        f"  export AXISWATCH_HOME='{facts['home']}' AXISWATCH_LANDING='{facts['landing']}'\n"
        "  axiswatch status; axiswatch queue; axiswatch models list\n"
        "Ctrl-C stops everything.\n",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _start(folder: Path, default: datetime) -> datetime:
    """Return the start of the fleet that the folder already holds, else the default."""
    marker = folder / "simulation.json"
    if not marker.is_file():
        return default
    simulation: dict[str, Any] = json.loads(marker.read_text(encoding="utf-8"))
    return datetime.fromisoformat(simulation["settings"]["start"])


def _beats_done(folder: Path) -> int:
    """Return the number of live recordings of each axis that earlier starts wrote to this folder."""
    live = {path.name.split("_")[0] for path in (folder / "landing").rglob("*T*_R*.parquet")}
    return len(live)


@contextmanager
def _ends_on_signals() -> Iterator[None]:
    """Make INT, TERM and a closed terminal end the block as Ctrl-C does, once: what is stopped then is left to its end.

    INT too, because a shell makes what it runs in the background ignore it.
    """
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end(number: int, frame: object) -> None:
        for name in ends:
            signal.signal(name, signal.SIG_IGN)
        signal.default_int_handler(number, None)

    before = [signal.signal(name, end) for name in ends]
    try:
        yield
    finally:
        for name, handler in zip(ends, before, strict=True):
            signal.signal(name, handler)
