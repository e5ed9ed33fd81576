"""Two hours of ten-minute intervals on fleets of 100 to 10,000 axes, with days of history inserted in bulk."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from incremental import must_be_idle, must_have_taken, steps_cpu
from plants import Plant, empty_like, fleet_of, really_run, remove
from processes import Code, Postgres
from sums import summary

INTERVAL = timedelta(minutes=10)
"""Time between two recordings of an axis, and between two runs."""

Say = Callable[[str], None]


def measure(
    work: Path,
    codes: Sequence[Code],
    databases: Sequence[str],
    server: Postgres | None,
    *,
    fleets: Sequence[tuple[int, float]],
    runs: int,
    workers: int,
    quick: bool,
    say: Say = print,
) -> list[dict[str, Any]]:
    """Run intervals with one new recording on each axis, on fleets given as axes and days of history.

    All recordings of an interval are dropped as log files, one a robot, and one process runs the steps with `workers`
    workers. The log files are deleted afterwards, because they fill the disk. Two intervals and then one run with
    nothing new go before those that count.

    Returns
    -------
    list of dict
        One for each code, database and fleet: wall and processor time in s of each interval, by step, of a run with
        nothing new, and resident memory in MiB. `largest_fleet`: axes that fit into ten minutes of wall time, see
        `largest`.
    """
    found = []
    for code in codes:
        base, _ = really_run(work, code, fleet_of(quick=quick))
        for database in databases:
            cases: list[dict[str, Any]] = []
            for axes, days in fleets:
                say(f"fleet: {code.name}, {database}: {axes} axes with {days:g} days of history")
                plant = empty_like(base, work / f"fleet-{code.name}-{database}-{axes}", database, server)
                try:
                    plant.settings = {"AXISWATCH_WORKERS": str(workers)}
                    cases.append(_one(base, plant, axes, days, runs, say))
                finally:
                    remove(plant, server)
                cases[-1] |= {"code": code.name, "database": database, "workers": workers}
            walls = [(case["axes"], case["wall_s"]["high"]) for case in cases]
            for case in cases:
                case["largest_fleet"] = largest(walls)
            found += cases
    return found


def largest(walls: Sequence[tuple[int, float]]) -> float:
    """Return how many axes fit into an interval, by the line through the longest runs of the two largest fleets.

    One fleet: by its own time an axis. Beyond the largest fleet measured this is an extrapolation.
    """
    (fewer, short), (more, long) = ([(0, 0.0), *sorted(walls)])[-2:]
    each = (long - short) / (more - fewer)
    return more + (INTERVAL.total_seconds() - long) / each if each > 0 else float("inf")


def _one(base: Plant, plant: Plant, axes: int, days: float, runs: int, say: Say) -> dict[str, Any]:
    axes = max(axes, plant.fleet.robots * plant.fleet.axes)
    copies = round(days * timedelta(days=1) / INTERVAL)
    must_be_idle(plant.grow(base, axes=axes, copies=copies, period=INTERVAL), plant)
    say("fleet: two intervals that do not count, then one with nothing new")
    for _ in range(2):
        _interval(plant)
    idle = plant.monitor()
    must_be_idle(idle.answer["counts"], plant)
    spents = []
    for number in range(runs):
        spent = _interval(plant)
        spents.append(spent)
        say(f"fleet: interval {number + 1}: {spent.wall_s:.1f} s, processor time {spent.cpu_s:.1f} s")
    steps = spents[0].answer["cpu_s"]
    return {
        "axes": axes,
        "days": days,
        "recordings": axes * copies,
        "intervals": runs,
        "wall_s": summary([spent.wall_s for spent in spents]),
        "cpu_s": summary([spent.cpu_s for spent in spents]),
        "steps_cpu_s": {step: statistics.median(spent.answer["cpu_s"][step] for spent in spents) for step in steps},
        "nothing_cpu_s": steps_cpu(idle),
        "nothing_process_cpu_s": idle.cpu_s,
        "parent_mib": max(spent.parent_mib for spent in spents),
        "tree_mib": max(spent.tree_mib for spent in spents),
        "held": max(spent.wall_s for spent in spents) <= INTERVAL.total_seconds(),
    }


def _interval(plant: Plant) -> Any:
    dropped = plant.drop(INTERVAL)
    spent = plant.monitor()
    must_have_taken(spent.answer["counts"], dropped, plant)
    for path in (plant.folder / "landing").rglob(f"{plant.now:%Y%m%dT%H%M%S}_*.parquet"):
        path.unlink()
    return spent
