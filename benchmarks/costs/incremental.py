"""What an incremental run costs at 1, 4, 16 and 64 times a history, and what one with nothing new costs."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from plants import Plant, empty_like, fleet_of, really_run, remove
from processes import Code, Postgres, Spent
from sums import summary

PERIOD = timedelta(hours=8)
"""Time between two recordings of an axis, in the history and after it."""

TOLERANCE = 1e-4
"""Largest difference of a figure between two versions of the code that is still called the same."""

Say = Callable[[str], None]
Key = tuple[str, str, int]
"""Code, database, times of the history."""


def measure(
    work: Path,
    codes: Sequence[Code],
    databases: Sequence[str],
    server: Postgres | None,
    *,
    sizes: Sequence[int],
    rounds: int,
    quick: bool,
    say: Say = print,
) -> dict[str, Any]:
    """Measure rounds of one run with a new recording on each axis and one with nothing new, on plants of all sizes.

    Each round goes once through all plants, in another order each time. Before a figure counts, the counts of the run
    and the figures of the new recordings are compared between all plants.

    Returns
    -------
    dict
        `cases`: one for each code, database and size, with medians and all values of processor time in s (of the
        process, its workers and PostgreSQL): of all steps, by step (`start`: interpreter and imports), and of the whole
        process. `ratios`: median and range over rounds of the cost of all steps at each size to that at the smallest
        one. `differences`: largest difference of a figure from the first version. `work`: what the statements of a
        run read, see `query_work`.
    """
    fleet = fleet_of(quick=quick)
    plants: dict[Key, Plant] = {}
    try:
        for code in codes:
            say(f"incremental: {code.name}: the plant of {fleet.robots * fleet.axes} axes")
            base, _ = really_run(work, code, fleet)
            for size in sizes:
                for database in databases:
                    folder = work / f"plant-{code.name}-{database}-{size}"
                    plants[code.name, database, size] = empty_like(base, folder, database, server)
            mine = [(key, plant) for key, plant in plants.items() if key[0] == code.name]
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # not timed
                for key in pool.map(lambda pair, base=base: _grow(base, *pair), mine):
                    say(f"incremental: {key}: made, idle, and run once")
        return _measured(plants, rounds, 2 if quick else 1, say)
    finally:
        for plant in plants.values():
            remove(plant, server)


def _grow(base: Plant, key: Key, plant: Plant) -> Key:
    """Fill a plant so that nothing is due, and give it one run that may bring cases and courses up to date."""
    copies = (key[2] - 1) * plant.fleet.days * plant.fleet.recordings_per_day
    axes = plant.fleet.robots * plant.fleet.axes
    must_be_idle(plant.grow(base, axes=axes, copies=copies, period=PERIOD), plant)
    plant.drop(PERIOD)
    plant.monitor()
    return key


def must_be_idle(counts: dict[str, Any], plant: Plant) -> None:
    """Raise RuntimeError where a run did something although nothing was new; courses are left out."""
    done = {
        "files": counts["acquire"]["files"],
        "extracted": counts["extract"]["recordings"],
        "baselines": counts["baseline"]["baselines"],
        "points": counts["trend"]["recordings"],
        "scored": counts["score"]["recordings"],
        "axes": counts["advise"]["axes"],
    }
    if any(done.values()):
        raise RuntimeError(f"{plant.folder.name}: nothing is new, but a run did {done}")


def _measured(plants: dict[Key, Plant], rounds: int, at_once: int, say: Say) -> dict[str, Any]:
    found: dict[Any, dict[str, list[Any]]] = {key: {"new": [], "nothing": []} for key in plants}
    differences: dict[str, float] = {}
    keys = list(plants)
    for number in range(rounds):
        turned = keys[number % len(keys) :] + keys[: number % len(keys)]
        order = turned if number % 2 == 0 else turned[::-1]
        figures = {}
        with ThreadPoolExecutor(at_once) as pool:
            for key, spents, scores in pool.map(lambda key: _one(key, plants[key]), order):
                figures[key] = scores
                for kind, spent in spents.items():
                    found[key][kind].append(spent)
                costs = ", ".join(f"{kind} {steps_cpu(spent):.2f} s" for kind, spent in spents.items())
                say(f"incremental: round {number + 1}, {key}: {costs}")
        _compare(figures, differences)
    say("incremental: counting what each statement reads")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = pool.map(lambda key: _counted(plants[key]), keys)
        counted = [
            {"code": key[0], "database": key[1], "times": key[2], **one} for key, one in zip(keys, work, strict=True)
        ]
    return {
        "period_h": PERIOD.total_seconds() / 3600,
        "cases": [_case(key, plants[key], found[key]) for key in keys],
        "ratios": _ratios(found),
        "differences": differences,
        "work": counted,
    }


def _counted(plant: Plant) -> dict[str, Any]:
    """Run once with new recordings and once without, and count the work; see `query_work`."""
    plant.drop(PERIOD)
    job = {"do": "count", "as_of": (plant.now + timedelta(seconds=5)).isoformat()}
    new, nothing = plant.run("several", jobs=[job, job]).answer
    return {"new": new, "nothing": nothing}


def steps_cpu(spent: Spent) -> float:
    """Return the processor time of all steps of a run: without the start and the end of the process, s."""
    return sum(value for step, value in spent.answer["cpu_s"].items() if step != "start")


def _one(key: Key, plant: Plant) -> tuple[Key, dict[str, Spent], list[list[Any]]]:
    """Run once with a new recording on each axis and once with nothing new; return also the new scores."""
    since, dropped = plant.now, plant.drop(PERIOD)
    new = plant.monitor()
    must_have_taken(new.answer["counts"], dropped, plant)
    idle = plant.monitor()
    must_be_idle(idle.answer["counts"], plant)
    return key, {"new": new, "nothing": idle}, plant.newest(since)


def must_have_taken(counts: dict[str, Any], dropped: int, plant: Plant) -> None:
    """Raise RuntimeError where a run has not taken, extracted and scored all recordings that were dropped."""
    seen = [counts[step]["recordings"] for step in ("acquire", "extract", "score")]
    if seen != [dropped] * 3:
        raise RuntimeError(f"{plant.folder.name}: {dropped} recordings were dropped; taken, extracted, scored: {seen}")


def _compare(figures: dict[Key, Any], differences: dict[str, float]) -> None:
    """Compare what all plants say about the same waveforms: equal within a version, close between versions."""
    first: dict[str, Any] = {}
    for key, found in figures.items():
        if largest_difference(found, first.setdefault(key[0], found)) > 1e-12:
            raise RuntimeError(f"{key}: the scores of the same recordings differ between plants of one version")
    names = list(first)
    for name in names[1:]:
        difference = largest_difference(first[names[0]], first[name])
        differences[name] = max(differences.get(name, 0.0), difference)


def largest_difference(one: list[list[Any]], other: list[list[Any]]) -> float:
    """Return the largest difference of two tables of figures; infinity where rows or missing figures differ."""
    if [row[:2] for row in one] != [row[:2] for row in other]:
        return math.inf
    largest = 0.0
    for left, right in zip(one, other, strict=True):
        for a, b in zip(left[2:], right[2:], strict=True):
            if (a is None) != (b is None):
                return math.inf
            largest = max(largest, 0.0 if a is None else abs(a - b))
    return largest


def _case(key: Key, plant: Plant, found: dict[str, list[Any]]) -> dict[str, Any]:
    steps = found["new"][0].answer["cpu_s"]
    recordings = plant.fleet.robots * plant.fleet.axes * plant.fleet.days * plant.fleet.recordings_per_day
    return {
        "code": key[0],
        "database": key[1],
        "times": key[2],
        "recordings_about": key[2] * recordings,
        "axes": plant.fleet.robots * plant.fleet.axes,
        **{f"{kind}_process_cpu_s": summary([spent.cpu_s for spent in spents]) for kind, spents in found.items()},
        **{f"{kind}_cpu_s": summary([steps_cpu(spent) for spent in spents]) for kind, spents in found.items()},
        **{f"{kind}_wall_s": summary([spent.wall_s for spent in spents]) for kind, spents in found.items()},
        **{
            f"{kind}_steps_cpu_s": {step: summary([spent.answer["cpu_s"][step] for spent in spents]) for step in steps}
            for kind, spents in found.items()
        },
        "memory_mib": max(spent.tree_mib for spent in found["new"]),
    }


def _ratios(found: dict[Any, dict[str, list[Any]]]) -> list[dict[str, Any]]:
    """Return the cost at each size over that at the smallest one, paired by round."""
    smallest = min(size for _, _, size in found)
    ratios = []
    for (code, database, size), spents in found.items():
        if size != smallest:
            below = found[code, database, smallest]
            for kind in spents:
                pairs = zip(spents[kind], below[kind], strict=True)
                ratio = summary([steps_cpu(over) / steps_cpu(under) for over, under in pairs])
                ratios.append({"code": code, "database": database, "times": size, "run": kind, "ratio": ratio})
    return ratios
