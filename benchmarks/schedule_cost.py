"""Computing time of the scheduled tasks, by step: `python benchmarks/schedule_cost.py --folder EMPTY_FOLDER`.

A simulated fleet on PostgreSQL (pgserver), one process on one core, in batches like those of the monitor, with the
default settings and a model trained on the fleet's findings. Prints the seconds of each step, and the hours a day that
a plant of 1,000 axes (3 channels, 24 recordings of 4 windows a day) would need.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="empty folder")
    parser.add_argument("--robots", type=int, default=12)
    parser.add_argument("--days", type=int, default=14)
    arguments = parser.parse_args()
    folder = arguments.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        OMP_NUM_THREADS="1", AXISWATCH_HOME=str(folder), AXISWATCH_LANDING=str(folder / "fleet" / "landing")
    )
    warnings.simplefilter("ignore")
    import pgserver.postgres_server
    import sqlalchemy as sa

    server = pgserver.postgres_server.get_server(folder / "postgres", cleanup_mode="stop")
    socket = server.get_postmaster_info().socket_dir
    os.environ["AXISWATCH_DATABASE_URL"] = f"postgresql+psycopg://postgres@/axiswatch?host={socket}"

    from pipeline import scheduled
    from pipeline.assets import import_assets
    from pipeline.labels.labels import import_labels
    from pipeline.simulation import FleetSettings, simulate
    from pipeline.store.database import Store, create_database
    from pipeline.store.tables import Recording

    fleet = FleetSettings(robots=arguments.robots, days=arguments.days)
    simulate(folder / "fleet", fleet)
    create_database(os.environ["AXISWATCH_DATABASE_URL"])
    store = Store.open(os.environ["AXISWATCH_DATABASE_URL"])
    import_assets(store, folder / "fleet" / "assets.toml", as_of=fleet.start)
    import_labels(store, folder / "fleet" / "labels.csv", who="benchmark")
    end = fleet.start + timedelta(days=fleet.days)
    spent: dict[str, list[float]] = {}

    def timed(step: str, call: Any, *words: Any) -> Any:
        started = time.perf_counter()
        result = call(*words)
        spent.setdefault(step, []).append(time.perf_counter() - started)
        return result

    at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    windows = 0
    for batch in timed("plan_acquire", scheduled.plan_acquire, end)["batches"]:
        timed("acquire", scheduled.acquire_batch, batch, end)
    for batch in timed("plan_extract", scheduled.plan_extract, end)["batches"]:
        windows += timed("extract", scheduled.extract_batch, batch, end)["windows"]
    timed("baseline", scheduled.baselines, end)
    timed("trend", scheduled.trends, end)
    for scope in scheduled.scopes_to_train(end, "by hand"):
        timed("retrain", scheduled.retrain, scope, end, "by hand")
    for batch in timed("plan_score", scheduled.plan_score, end)["batches"]:
        timed("score", scheduled.score_batch, batch, end)
    timed("advise", scheduled.advise, end)
    with store.read() as connection:
        samples, recordings = connection.execute(
            sa.select(sa.func.sum(Recording.n_samples), sa.func.count()).select_from(Recording)
        ).one()
    store.dispose()
    mib = float(samples) * 4 / 2**20
    print(f"{recordings} recordings, {mib:.0f} MiB of samples, {windows} windows")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of the one process that ran all tasks: {peak:.0f} MiB, of it {at_start:.0f} before the first")
    print("| step | tasks | seconds in all | longest task | ms a window | hours a day, 1,000 axes |")
    print("| --- | --- | --- | --- | --- | --- |")
    a_day = 1000 * 3 * 24 * 4
    for step, seconds in spent.items():
        each = 1000 * sum(seconds) / windows
        hours = "" if step == "retrain" else f"{each * a_day / 3.6e6:.2f}"
        print(f"| {step} | {len(seconds)} | {sum(seconds):.1f} | {max(seconds):.1f} | {each:.3f} | {hours} |")


if __name__ == "__main__":
    main()
