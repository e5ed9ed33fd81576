"""A whole run from logs to cases with a champion, against the sum of its floors a window, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from incremental import largest_difference, steps_cpu
from plants import SEEDS, empty_like, fleet_of, really_run, remove
from processes import Code, Postgres
from sums import summary

Say = Callable[[str], None]


def measure(
    work: Path,
    codes: Sequence[Code],
    databases: Sequence[str],
    server: Postgres | None,
    *,
    rounds: int,
    quick: bool,
    say: Say = print,
) -> dict[str, Any]:
    """Run all logs of a plant through the steps, in rounds over versions and databases, each with its floors.

    The plant has its registry, findings and a champion before; training does not count. Before a figure counts, the
    scores of all runs of a version are compared.

    Returns
    -------
    dict
        `cases`: one for each code and database, with processor time (workers and PostgreSQL included), wall time,
        microseconds a window, floors a window, the ratio of both by round, and resident memory of the parent and of
        parent and workers. `differences`: largest difference of a score from the first version.
    """
    fleet = fleet_of(quick=quick)
    bases = {code.name: really_run(work, code, fleet)[0] for code in codes}
    keys = [(code.name, database) for code in codes for database in databases]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {key: [] for key in keys}
    scores: dict[str, Any] = {}
    for number in range(rounds):
        for key in keys if number % 2 == 0 else keys[::-1]:
            name, database = key
            plant = empty_like(bases[name], work / f"whole-{name}-{database}", database, server)
            try:
                plant.settings = {"AXISWATCH_WORKERS": "2"}
                plant.run("copy", source=bases[name].url, tables=SEEDS)
                spent = plant.monitor()
                floors = plant.run("floors").answer
                now = plant.newest(fleet.start)
            finally:
                remove(plant, server)
            if largest_difference(now, scores.setdefault(name, now)) > 1e-12:
                raise RuntimeError(f"{key}: the scores differ between runs of one version")
            counts = spent.answer["counts"]
            windows = counts["score"]["windows"]
            each = 1e6 * steps_cpu(spent) / windows
            say(f"whole run: round {number + 1}, {name}, {database}: {each:.0f} us a window, floors {floors}")
            found[key].append({"spent": spent, "windows": windows, "each": each, "floors": floors})
    names = list(scores)
    return {
        "cases": [_case(key, runs) for key, runs in found.items()],
        "differences": {name: largest_difference(scores[names[0]], scores[name]) for name in names[1:]},
    }


def _case(key: tuple[str, str], runs: list[dict[str, Any]]) -> dict[str, Any]:
    spents = [run["spent"] for run in runs]
    steps = spents[0].answer["cpu_s"]
    return {
        "code": key[0],
        "database": key[1],
        "recordings": spents[0].answer["counts"]["extract"]["recordings"],
        "windows": runs[0]["windows"],
        "cpu_s": summary([steps_cpu(spent) for spent in spents]),
        "process_cpu_s": summary([spent.cpu_s for spent in spents]),
        "wall_s": summary([spent.wall_s for spent in spents]),
        "steps_cpu_s": {step: summary([spent.answer["cpu_s"][step] for spent in spents]) for step in steps},
        "us_per_window": summary([run["each"] for run in runs]),
        "floors_us_per_window": {name: summary([run["floors"][name] for run in runs]) for name in runs[0]["floors"]},
        "floor_us_per_window": summary([sum(run["floors"].values()) for run in runs]),
        "times_the_floors": summary([run["each"] / sum(run["floors"].values()) for run in runs]),
        "parent_mib": max(spent.parent_mib for spent in spents),
        "tree_mib": max(spent.tree_mib for spent in spents),
    }
