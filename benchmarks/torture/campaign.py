"""The campaign: one seeded fault after another, what came of each, and a table by kind.

    python -m benchmarks.torture.campaign [--faults 600] [--database both] [--out torture]

Results lie in `OUT/results.jsonl`, one line each; a second call goes on where the first ended. `--only KIND --seed S`
makes one fault again and shows everything about it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.torture.commands import HANGS_AFTER_S, Commands, Ended, build_shim
from benchmarks.torture.contents import DIFFERS, Contents, by_clock, by_late_logs, differences
from benchmarks.torture.hook import CLASSES
from benchmarks.torture.jobs import JOBS, Job, Workshop
from benchmarks.torture.kinds import KINDS, Kind, Scene, Usual
from benchmarks.torture.servers import S3, Postgres

DATABASES = ("sqlite", "postgresql")
CTRL_C = 128 + 2
"""Exit code of a command that Ctrl-C ended; who pressed it needs no sentence."""

LONG_S = 60.0
"""A command that takes longer than this is slow, s."""


class Campaign:
    """The workshop with the undisturbed runs that faults are compared with."""

    def __init__(self, folder: Path, *, on_s3: bool, job: str | None = None) -> None:
        self.folder, self.job = folder, job
        shim = build_shim(folder / "shim.so")
        self.counts = Path(tempfile.mkstemp(prefix="torture-counts-")[1])
        self.postgres, self.s3 = Postgres(), S3() if on_s3 else None
        self.commands = Commands(folder / "commands", shim)
        self.shop = Workshop(folder, self.commands, self.postgres, self.s3)
        self.shop.prepare()
        self._usual: dict[tuple[str, str, bool], Usual] = {}

    def usual(self, job: Job, database: str, on_s3: bool) -> Usual:
        """Return the undisturbed run of a job, made once."""
        key = job.name, database, on_s3
        if key not in self._usual:
            home = self.shop.copy(job, database, on_s3=on_s3)
            self.counts.write_bytes(bytes(4096))
            harm = {"below": str(self.folder), "counts": str(self.counts), "call": "write", "at": 0, "act": "count"}
            requests = self.s3.requests if self.s3 else 0
            ended = self.commands.run(home.words, home.environment(), home.folder, harm)
            if ended.code:
                raise SystemExit(f"{job.name} on {database} ended with {ended.code} without a fault: {ended.err}")
            numbers = struct.unpack_from("9q", self.counts.read_bytes())
            calls = dict(zip((*CLASSES, "commit"), numbers[1:], strict=True))
            calls["s3"] = self.s3.requests - requests if self.s3 else 0
            self._usual[key] = Usual(home.contents(), ended.seconds, calls)
            home.remove()
        return self._usual[key]

    def fault(self, kind: Kind, database: str, seed: int) -> dict[str, Any]:
        """Make one fault, run the command again, and compare."""
        choose = random.Random(f"{kind.name} {database} {seed}")
        job = choose.choice([job for job in kind.jobs() if self._can_meet(kind, job, database)])
        usual = self.usual(job, database, kind.on_s3)
        with self._home(kind, job, database) as home:
            scene = Scene(self.shop, job, database, usual, choose, home, self.counts)
            kind.act(scene)
            return self._judged(kind, scene, seed)

    def _can_meet(self, kind: Kind, job: Job, database: str) -> bool:
        if self.job not in (None, job.name):
            return False
        if job.writes_files_only and kind.name.startswith(("sqlite", "pg", "network", "kill_network", "kill_commit")):
            return False
        usual = self.usual(job, database, kind.on_s3)
        return not kind.calls or any(usual.calls[call] for call in kind.calls)

    @contextmanager
    def _home(self, kind: Kind, job: Job, database: str) -> Iterator[Any]:
        disk = self.folder / "disk" if kind.disk else None
        if disk is not None:
            disk.mkdir(exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,nr_inodes=100000", "tmpfs", disk], check=True)
        home = self.shop.copy(job, database, on_s3=kind.on_s3, onto=disk)
        try:
            yield home
        finally:
            if self.s3:
                self.s3.heal()
            if disk is not None:
                subprocess.run(["umount", "-l", disk], check=True)
            home.remove()

    def _judged(self, kind: Kind, scene: Scene, seed: int) -> dict[str, Any]:
        wanted = scene.usual.contents
        at_once = scene.home.contents() if any(one.code == 0 for one in scene.ended) else None
        again = [scene.start().wait()]
        allowed = (0, *scene.job.refusals)
        if again[-1].code not in allowed:
            again.append(scene.start().wait())
        found = scene.home.contents()
        if scene.wrong_clock:
            wanted, found = by_clock(wanted), by_clock(found)
        elif any(one.code == 0 and one.says_something for one in scene.ended):
            wanted, found = by_late_logs(wanted), by_late_logs(found)
        left = differences(wanted, found)
        return {
            "kind": kind.name,
            "database": scene.database,
            "seed": seed,
            "job": scene.job.name,
            "note": scene.note,
            "fired": scene.fired,
            "codes": [one.code for one in scene.ended],
            "again": [one.code for one in again],
            "seconds": round(max((one.seconds for one in scene.ended), default=0.0), 2),
            "lost": sum(len(item.lost) for item in left),
            "double": sum(len(item.extra) for item in left),
            "problems": found.problems,
            "orphans": found.orphans,
            "by_hand": again[-1].code not in allowed,
            "lies": _lies(scene, at_once),
            "fails": not scene.may_fail and any(one.code not in allowed for one in scene.ended),
            "traceback": any(one.has_traceback for one in [*scene.ended, *again]),
            "silent": any(one.code > 0 and one.code != CTRL_C and not one.err.strip() for one in scene.ended),
            "hangs": any(one.seconds > HANGS_AFTER_S for one in scene.ended),
            "slow": any(one.seconds > LONG_S for one in scene.ended),
            "differs": [item.in_words() for item in left],
            "err": [_end_of(one) for one in scene.ended],
            "again_err": [_end_of(one) for one in again if one.code],
        }

    def stop(self) -> None:
        """End all servers."""
        self.counts.unlink()
        self.commands.stop()
        self.postgres.stop()
        if self.s3:
            self.s3.stop()


def _lies(scene: Scene, at_once: Contents | None) -> bool:
    """Whether a command ended with 0, named no problem, and had not done its work."""
    if at_once is None or scene.wrong_clock:
        return False
    return bool(differences(scene.usual.contents, at_once)) and any(
        one.code == 0 and not one.says_something for one in scene.ended
    )


def _end_of(ended: Ended) -> str:
    return ended.err.strip()[-600:]


BAD = ("lost", "double", "problems", "by_hand", "lies", "fails", "traceback", "silent", "hangs")
"""What must not be."""


def is_bad(result: dict[str, Any]) -> list[str]:
    """Name what was wrong with a result."""
    return [name for name in BAD if result[name]]


def table(results: list[dict[str, Any]]) -> str:
    """Return the faults that fired by kind, as a table in Markdown, and a line with how many met each command."""
    fired = [result for result in results if result["fired"]]
    head = ("fault", *DATABASES, "lost", "double", "by hand", "wrong exit code", "traceback", "longest, s")
    lines = [f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1)]
    for name, what in [*((kind.name, kind.what) for kind in KINDS.values()), ("", "**all**")]:
        group = [result for result in fired if result["kind"] == name or not name]
        if group:
            figures = (
                *(sum(result["database"] == database for result in group) for database in DATABASES),
                *(sum(result[figure] for result in group) for figure in ("lost", "double", "by_hand")),
                sum(result["lies"] or result["fails"] or result["silent"] for result in group),
                sum(result["traceback"] for result in group),
                f"{max(result['seconds'] for result in group):.1f}",
            )
            lines.append(f"| {what} | {' | '.join(map(str, figures))} |")
    met = Counter(result["job"] for result in fired)
    return "\n".join([*lines, "", "By command: " + ", ".join(f"{job} {count}" for job, count in met.most_common())])


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read what is there already."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]


def chosen(database: str, kinds: list[str]) -> list[tuple[Kind, str]]:
    """Return kinds with the databases they can happen on; those that need root only as root."""
    databases = DATABASES if database == "both" else (database,)
    return [
        (kind, one)
        for kind in KINDS.values()
        for one in databases
        if one in kind.databases and (not kinds or kind.name in kinds) and (not kind.disk or os.geteuid() == 0)
    ]


def main() -> None:
    """Run the campaign from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=600, help="stop when so many have fired")
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument("--only", nargs="*", default=[], choices=[*KINDS], metavar="KIND", help="only these kinds")
    parser.add_argument("--seed", type=int, help="only this seed")
    parser.add_argument("--job", choices=JOBS, metavar="JOB", help="only this command")
    parser.add_argument("--first-seed", type=int, default=1, help="begin with this seed")
    parser.add_argument("--out", type=Path, default=Path("torture"), help="folder of the results")
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    asked.out.mkdir(parents=True, exist_ok=True)
    path = asked.out / "results.jsonl"
    results = [] if asked.seed else read_results(path)
    done = {(result["kind"], result["database"], result["seed"]) for result in results}
    pairs = chosen(asked.database, asked.only)
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    campaign = Campaign(folder, on_s3=any(kind.on_s3 for kind, _ in pairs), job=asked.job)
    try:
        seed = asked.seed or asked.first_seed
        while asked.seed or sum(result["fired"] for result in results) < asked.faults:
            for kind, database in pairs:
                if (kind.name, database, seed) in done:
                    continue
                started = time.monotonic()
                result = campaign.fault(kind, database, seed)
                results.append(result)
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(result) + "\n")
                said = ", ".join(is_bad(result)) or ("" if result["fired"] else "did not fire")
                took = time.monotonic() - started
                print(f"{kind.name:20} {database:10} {seed:4} {result['job']:18} {took:5.1f} s  {said}", flush=True)
                if asked.seed or is_bad(result):
                    print(json.dumps(result, indent=2), flush=True)
            if asked.seed:
                break
            seed += 1
    finally:
        campaign.stop()
        with suppress(OSError):
            shutil.rmtree(folder)
    print(table(results))
    for what, why in DIFFERS.items():
        print(f"may differ: {what}: {why}")
    summary = {"fired": sum(result["fired"] for result in results), "bad": [r for r in results if is_bad(r)]}
    (asked.out / "summary.json").write_text(json.dumps(summary, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
