"""Processes that read damaged inputs, one after another, are watched, and begin anew after a crash or a hang."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np

from benchmarks.fuzz.outcomes import LONGEST_S, Outcome, Result, Target, attempt

CHUNK: Final = 250
"""Inputs that are written down at a time; a campaign that is taken up again begins after the last whole chunk."""
PATIENCE_S: Final = 12 * LONGEST_S
"""After so long a process is ended; an input has failed already when it took `LONGEST_S` of the processor."""
WALL_GIB: Final = 4
"""Memory that a process cannot exceed, so that the machine survives what is found."""
SHARES: Final = {
    "acquire": 1, "logs": 8, "artifacts": 12, "api": 10, "labels": 12, "assets": 11, "settings": 6, "mapping": 8,
    "manifest": 8, "csv": 8, "mat": 8, "parquet": 8, "hdf5": 3, "mat73": 3, "tdms": 3, "wav": 3, "rosbag2": 3,
    "mcap": 3, "uff": 3,
}  # fmt: skip
"""Inputs of each target, as a share of a campaign."""


def make(name: str) -> Target:
    """Return a target by its name."""
    from benchmarks.fuzz import archives, artifacts, interface, logs, registries

    targets: dict[str, Callable[[], Any]] = {
        "logs": logs.Logs,
        "acquire": logs.Landing,
        "parquet": archives.ParquetSignals,
        "csv": archives.CsvSignals,
        "mat": archives.MatSignals,
        "mapping": archives.Mappings,
        "manifest": archives.Manifests,
        "assets": registries.Assets,
        "labels": registries.Labels,
        "artifacts": artifacts.Artifacts,
        "settings": registries.SettingsFile,
        "api": interface.Interface,
        **{form: partial(archives.LibrarySignals, form) for form in archives.LIBRARIES},
    }
    return targets[name]()  # type: ignore[no-any-return]


def inputs_of(target: Target, seed: int, first: int, count: int) -> Iterator[tuple[int, Any]]:
    """Yield the inputs of a target by number: each depends on seed, target and number alone."""
    for number in range(first, first + count):
        rng = np.random.default_rng([seed, crc32(target.name.encode()), number])
        yield number, target.damaged(rng)


def work(pipe: Connection, name: str, seed: int, folder: Path) -> None:
    """Read chunks of inputs as they are asked for over a pipe; tell of each before and after."""
    os.nice(5)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    target = make(name)
    target.prepare(folder)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    pipe.send("ready")
    while (asked := pipe.recv()) is not None:
        for number, given in inputs_of(target, seed, *asked):
            pipe.send((number, given.damage))
            resource.setrlimit(resource.RLIMIT_DATA, (WALL_GIB * 2**30, hard))
            pipe.send(attempt(target, given, number))
            resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))  # who makes the next input is not judged
        pipe.send("done")


@dataclass
class Worker:
    """A process, what it does now, and what it has found in its chunk."""

    name: str
    seed: int
    folder: Path
    first: int = -1
    last: int = -1
    now: tuple[int, str] = (-1, "")
    since: float = 0.0
    found: list[Result] = field(default_factory=list)
    is_ready: bool = False

    def start(self) -> None:
        """Start the process, or a new one in place of one that has died."""
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, self.name, self.seed, self.folder), daemon=True)
        self.process.start()
        theirs.close()
        self.is_ready = False

    def ask(self, first: int, last: int) -> None:
        """Ask for inputs `first` to `last` - 1."""
        self.first, self.last, self.now = first, last, (first - 1, "")
        self.since = time.monotonic()
        self.pipe.send((first, last - first))

    def failed(self, outcome: Outcome, detail: str) -> None:
        """Write down what ended the process, start another, and go on after the input."""
        number, damage = self.now
        self.found.append(Result(self.name, number, damage, outcome, detail, time.monotonic() - self.since, 0))
        self.process.kill()
        self.process.join()
        self.start()


def campaign(folder: Path, plan: Mapping[str, int], seed: int, *, processes: int, say: Callable[[str], None]) -> None:
    """Read `plan` inputs (number by target); write counts and faults to `results-SEED.jsonl` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / f"results-{seed}.jsonl"
    done = {(line["target"], line["first"]) for line in read(results)}
    chunks = {name: [at for at in range(0, count, CHUNK) if (name, at) not in done] for name, count in plan.items()}
    waiting = [name for name in plan if chunks[name]]
    workers: list[Worker] = []
    while waiting or workers:
        while waiting and len(workers) < processes:
            worker = Worker(waiting[0], seed, folder / "work" / waiting.pop(0))
            worker.start()
            workers.append(worker)
        wait([worker.pipe for worker in workers], timeout=1.0)
        for worker in list(workers):
            if not _serve(worker, chunks[worker.name], plan[worker.name], results, say):
                workers.remove(worker)


def _serve(worker: Worker, chunks: list[int], count: int, results: Path, say: Callable[[str], None]) -> bool:
    """Hear a worker; return whether it has more to do."""
    try:
        while worker.pipe.poll():
            message = worker.pipe.recv()
            if message == "ready":
                worker.is_ready = True
                if worker.last > worker.now[0] + 1 and worker.first >= 0:
                    found, first = worker.found, worker.first
                    worker.ask(worker.now[0] + 1, worker.last)
                    worker.found, worker.first = found, first
                    continue
                if worker.first >= 0:
                    message = "done"
            if message in ("ready", "done"):
                if message == "done":
                    _note(results, worker, say)
                if not chunks:
                    worker.pipe.send(None)
                    worker.process.join(10)
                    return False
                at = chunks.pop(0)
                worker.found = []
                worker.ask(at, min(count, at + CHUNK))
            elif isinstance(message, Result):
                worker.found.append(message)
                worker.since = time.monotonic()
            else:
                worker.now, worker.since = message, time.monotonic()
    except (EOFError, ConnectionError):
        worker.process.join(10)
        if not worker.is_ready:
            raise SystemExit(f"the target {worker.name} cannot be prepared; see above") from None
        worker.failed(Outcome.CRASH, f"the process ended with {worker.process.exitcode}")
    if worker.is_ready and time.monotonic() - worker.since > PATIENCE_S:
        worker.failed(Outcome.HANG, f"ended after {PATIENCE_S:.0f} s")
    return True


def _note(results: Path, worker: Worker, say: Callable[[str], None]) -> None:
    counts = Counter((one.damage, str(one.outcome)) for one in worker.found)
    faults = [one.as_dict() for one in worker.found if one.outcome.is_fault]
    line = {
        "target": worker.name,
        "first": worker.first,
        "inputs": len(worker.found),
        "counts": [[*key, count] for key, count in sorted(counts.items())],
        "slowest_s": max((one.seconds for one in worker.found), default=0.0),
        "peak_mib": max((one.peak_mib for one in worker.found), default=0),
        "faults": faults,
    }
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    if faults:
        first = faults[0]
        say(f"{worker.name} {worker.first}: {len(faults)} faults, such as {first['number']}: {first['detail'][:120]}")


def read(results: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of results; none where it is not there."""
    if not results.exists():
        return []
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()]


def table(lines: list[dict[str, Any]]) -> str:
    """Return the counts by target and outcome as a table of Markdown."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        for _, outcome, count in line["counts"]:
            counts[line["target"]][outcome] += count
    outcomes = [str(outcome) for outcome in Outcome]
    rows = [["target", "inputs", *outcomes, "slowest", "most memory"]]
    for name, own in counts.items():
        mine = [line for line in lines if line["target"] == name]
        slowest, most = max(line["slowest_s"] for line in mine), max(line["peak_mib"] for line in mine)
        rows.append(
            [name, f"{own.total():,}", *(f"{own[key]:,}" for key in outcomes), f"{slowest:.1f} s", f"{most} MiB"]
        )
    total = sum(counts.values(), Counter())
    rows.append(["all", f"{total.total():,}", *(f"{total[key]:,}" for key in outcomes), "", ""])
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def kinds(lines: list[dict[str, Any]]) -> list[tuple[int, str, str, list[int]]]:
    """Return the faults by kind: how many, target and outcome, what was said, and some numbers of inputs."""
    found: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for line in lines:
        for fault in line["faults"]:
            place = fault["detail"].split(":")[0] if fault["outcome"] == Outcome.CRASH else fault["detail"][:40]
            place += (
                fault["detail"].split(":")[1][:8]
                if fault["outcome"] == Outcome.CRASH and ":" in fault["detail"]
                else ""
            )
            found[f"{fault['target']}, {fault['outcome']}", place].append((fault["number"], fault["detail"]))
    ordered = sorted(found.items(), key=lambda item: -len(item[1]))
    return [(len(own), key[0], own[0][1], [number for number, _ in own[:5]]) for key, own in ordered]
