"""The kinds of faults. Each is a function of a scene: it makes its fault in a command at work, and says what it saw.

A seed chooses job, moment and size. The name of a kind says what a stranger would try.
"""

from __future__ import annotations

import errno
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from benchmarks.torture.commands import Ended, Running
from benchmarks.torture.contents import Contents
from benchmarks.torture.hook import CLASSES
from benchmarks.torture.jobs import END, FLEET, JOBS, Home, Job, Workshop
from pipeline.base.ids import utc_text

EVER = 10**9


@dataclass(frozen=True)
class Usual:
    """An undisturbed run of a job: what it leaves, how long it takes, s, and its calls of each class and commits."""

    contents: Contents
    seconds: float
    calls: dict[str, int]


@dataclass
class Scene:
    """One fault: where it happens and what came of it.

    Attributes
    ----------
    ended : list of Ended
        The commands that met the fault, or ran beside one that did.
    fired : bool
        Whether the fault did happen while a command was at work.
    may_fail : bool
        False: all of the commands have to end well although there was a fault.
    wrong_clock : bool
        What says when something became known may differ.
    """

    shop: Workshop
    job: Job
    database: str
    usual: Usual
    choose: random.Random
    home: Home
    counts: Path
    ended: list[Ended] = field(default_factory=list)
    fired: bool = False
    may_fail: bool = True
    wrong_clock: bool = False
    note: str = ""

    def start(self, harm: dict[str, Any] | None = None, words: list[str] | None = None, **settings: Any) -> Running:
        """Start the command."""
        self.counts.write_bytes(bytes(4096))
        ours = None if harm is None else {"below": str(self.shop.folder), "counts": str(self.counts)} | harm
        environment = self.home.environment(**settings)
        return self.shop.commands.start(words or self.home.words, environment, self.home.folder, ours)

    def meet(self, harm: dict[str, Any]) -> None:
        """Run the command with a fault inside it."""
        self.ended.append(self.start(harm).wait())
        self.fired = any(self.counts.read_bytes()[:8])

    def moment(self, part: float = 1.0) -> None:
        """Wait until a random moment of a run."""
        time.sleep(self.choose.uniform(0.05, part) * self.usual.seconds)

    def number(self, call: str) -> int:
        """Return a random call of a class, from 1; 0 where the job makes none."""
        most = self.usual.calls.get(call, 0)
        return self.choose.randint(1, most) if most else 0


Act = Callable[[Scene], None]


@dataclass(frozen=True)
class Kind:
    """A kind of faults.

    `on`: jobs that can meet it (none: all). `databases`: where it can happen. `on_s3`: the lake lies there. `disk`: the
    home lies on a small disk of its own, for which root is needed.
    """

    name: str
    what: str
    act: Act
    databases: tuple[str, ...] = ("sqlite", "postgresql")
    on: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    on_s3: bool = False
    disk: bool = False

    def jobs(self) -> list[Job]:
        """Return the jobs that can meet it, each as often as its weight."""
        found = [JOBS[name] for name in self.on] if self.on else list(JOBS.values())
        return [job for job in found for _ in range(job.weight)]


# ------------------------------------------------------------------------------------------- at the n-th call


def at_call(*calls: str, act: str, many: tuple[int, int] = (1, 1), arguments: tuple[int, ...] = (0,)) -> Act:
    """Return a kind that acts at a random call of one of the classes, and at so many after it."""

    def meet(scene: Scene) -> None:
        possible = [call for call in calls if scene.usual.calls.get(call)]
        if not possible:
            return
        call = scene.choose.choice(possible)
        scene.note = f"{call} {scene.number(call)}"
        acts = act.split("|")
        scene.meet(
            {
                "call": call,
                "at": int(scene.note.split()[1]),
                "act": scene.choose.choice(acts),
                "many": scene.choose.randint(*many),
                "argument": scene.choose.choice(arguments),
            }
        )

    return meet


# ------------------------------------------------------------------------------------------- at a random moment


def signalled(which: int) -> Act:
    """Return a kind that sends a signal at a random moment."""

    def meet(scene: Scene) -> None:
        running = scene.start()
        scene.moment(0.95)
        scene.fired = running.send(which)
        scene.ended.append(running.wait())

    return meet


def copies(number: int, kills: int) -> Act:
    """Return a kind in which several copies of the command are at work at once, and some of them are killed."""

    def meet(scene: Scene) -> None:
        running = [scene.start() for _ in range(number)]
        scene.fired = all(one.code is None for one in running)
        for one in running[:kills]:
            scene.moment(1.0)
            scene.fired &= one.send(signal.SIGKILL)
        ended = [one.wait() for one in running]
        scene.ended += ended[kills:]
        scene.may_fail = False

    return meet


def paused(scene: Scene) -> None:
    """One copy is stopped at a random moment, another one works meanwhile, then the first goes on."""
    first = scene.start()
    scene.moment(0.9)
    scene.fired = first.send(signal.SIGSTOP)
    other = scene.start()
    time.sleep(scene.usual.seconds + 1)
    first.send(signal.SIGCONT)
    scene.ended += [first.wait(), other.wait()]
    scene.may_fail = False


def worker_killed(scene: Scene) -> None:
    """A worker process is killed, as for memory."""
    running = scene.start(workers=2, extract_chunk_samples=8_192 * 400)
    give_up = time.monotonic() + 30
    while running.code is None and time.monotonic() < give_up and not scene.fired:
        workers = subprocess.run(
            ["pgrep", "-s", str(running.pid), "-f", "popen_loky"], capture_output=True, text=True, check=False
        ).stdout.split()
        if workers:
            time.sleep(scene.choose.uniform(0, 2.5))
            scene.fired = running.code is None
            for worker in workers[: scene.choose.randint(1, 2)]:
                subprocess.run(["kill", "-9", worker], check=False, capture_output=True)
        time.sleep(0.02)
    scene.ended.append(running.wait())


# ------------------------------------------------------------------------------------------- disks and limits


def mount(scene: Scene, options: str) -> None:
    """Mount the small disk of the home anew with other options."""
    subprocess.run(["mount", "-o", f"remount,{options}", scene.home.folder], check=True, capture_output=True)


def small_disk(scene: Scene) -> None:
    """The disk has room for a part of what the command writes; then it grows."""
    used = os.statvfs(scene.home.folder)
    bytes_used = (used.f_blocks - used.f_bfree) * used.f_frsize
    mount(scene, f"size={bytes_used + scene.choose.randint(0, 60) * 8192 // 2}")
    scene.ended.append(scene.start().wait())
    scene.fired = os.statvfs(scene.home.folder).f_bfree == 0 or scene.ended[0].code != 0
    mount(scene, "size=1g")


def few_inodes(scene: Scene) -> None:
    """The disk has room for a few more files only; then for more."""
    used = os.statvfs(scene.home.folder)
    mount(scene, f"nr_inodes={used.f_files - used.f_ffree + scene.choose.randint(0, 6)}")
    scene.ended.append(scene.start().wait())
    scene.fired = os.statvfs(scene.home.folder).f_ffree == 0 or scene.ended[0].code != 0
    mount(scene, "nr_inodes=100000")


def read_only(scene: Scene) -> None:
    """The disk cannot be written from the start on; then it can."""
    mount(scene, "ro")
    scene.ended.append(scene.start().wait())
    scene.fired = True
    mount(scene, "rw")


def lake_gone(scene: Scene) -> None:
    """The disk of the lake is not mounted for one run: an empty folder stands there, and the mount hides it later."""
    lake = scene.home.folder / "lake"
    lake.rename(scene.home.folder / "lake-aside")
    lake.mkdir()
    scene.ended.append(scene.start().wait())
    scene.fired = True
    subprocess.run(["rm", "-r", lake], check=True)
    (scene.home.folder / "lake-aside").rename(lake)


def limited(name: str, low: int, high: int) -> Act:
    """Return a kind in which the process has a limit."""

    def meet(scene: Scene) -> None:
        scene.ended.append(scene.start({"limits": {name: scene.choose.randint(low, high)}}).wait())
        scene.fired = scene.ended[0].code != 0 or scene.ended[0].says_something

    return meet


def out_of_memory(scene: Scene) -> None:
    """The process may ask for a few MiB more only."""
    scene.ended.append(scene.start({"more_memory": scene.choose.randint(0, 24) * 2**20}).wait())
    scene.fired = scene.ended[0].code != 0 or scene.ended[0].says_something


# ------------------------------------------------------------------------------------------- databases


def sqlite_locked(scene: Scene) -> None:
    """Another program holds the write lock for some seconds from a random moment on."""
    running = scene.start()
    scene.moment(0.9)
    with sqlite3.connect(scene.home.folder / "axiswatch.db", timeout=30, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        scene.fired = running.code is None
        time.sleep(scene.choose.uniform(0.5, 4))
        other.execute("ROLLBACK")
    other.close()
    scene.ended.append(running.wait())
    scene.may_fail = False


def sqlite_locked_long(scene: Scene) -> None:
    """Another program holds the write lock for longer than axiswatch waits (here: 1 s)."""
    running = scene.start({"busy_s": 1})
    scene.moment(0.9)
    with sqlite3.connect(scene.home.folder / "axiswatch.db", timeout=30, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        scene.fired = running.code is None
        scene.ended.append(running.wait())
        other.execute("ROLLBACK")
    other.close()


def postgres_restarted(how: str) -> Act:
    """Return a kind in which PostgreSQL is stopped and started at a random moment."""

    def meet(scene: Scene) -> None:
        running = scene.start()
        scene.moment(0.95)
        scene.fired = running.code is None
        scene.shop.postgres.restart(how, scene.choose.uniform(0, 1.0))
        scene.ended.append(running.wait())

    return meet


def postgres_cut(scene: Scene) -> None:
    """All its connections are ended, once to three times."""
    running = scene.start()
    for _ in range(scene.choose.randint(1, 3)):
        scene.moment(0.6)
        scene.fired |= running.code is None
        scene.shop.postgres.cut_connections(scene.home.url)
    scene.ended.append(running.wait())


def postgres_locked(scene: Scene) -> None:
    """Another session locks a table for some seconds, as a migration or a backup does."""
    table = scene.choose.choice(("recordings", "due_work", "extractions", "cases", "model_aliases", "log_files"))
    engine = sa.create_engine(scene.home.url, poolclass=sa.NullPool)
    running = scene.start()
    scene.moment(0.8)
    with engine.connect() as other, other.begin():
        other.exec_driver_sql("SET LOCAL lock_timeout = '20s'")
        other.exec_driver_sql(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        scene.fired = running.code is None
        time.sleep(scene.choose.uniform(0.5, 3))
    engine.dispose()
    scene.ended.append(running.wait())
    scene.may_fail = False


# ------------------------------------------------------------------------------------------- S3


def s3(mode: str, many: tuple[int, int], harm: dict[str, Any] | None = None) -> Act:
    """Return a kind in which S3 answers wrongly from a random request on."""

    def meet(scene: Scene) -> None:
        assert scene.shop.s3 is not None
        first = scene.choose.randint(1, max(1, scene.usual.calls["s3"]))
        scene.note = f"request {first}"
        scene.shop.s3.harm(mode, first, scene.choose.randint(*many))
        scene.ended.append(scene.start(harm).wait())
        scene.fired = scene.shop.s3.fired > 0
        scene.shop.s3.heal()

    return meet


def s3_gone(scene: Scene) -> None:
    """Nobody listens at its address; then it is back."""
    environment = scene.home.environment() | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    scene.ended.append(scene.shop.commands.run(scene.home.words, environment, scene.home.folder))
    scene.fired = True


# ------------------------------------------------------------------------------------------- clocks


def wrong_as_of(days: tuple[float, float]) -> Act:
    """Return a kind in which a run is called for a wrong time first."""

    def meet(scene: Scene) -> None:
        wrong = END + timedelta(days=scene.choose.uniform(*days))
        words = [utc_text(wrong) if word == utc_text(END) else word for word in scene.home.words]
        scene.ended.append(scene.start(words=words).wait())
        scene.fired = scene.wrong_clock = True

    return meet


def wrong_clock(days: tuple[float, float]) -> Act:
    """Return a kind in which the clock of the process is wrong during a run that is given no time."""

    def meet(scene: Scene) -> None:
        wrong = END + timedelta(days=scene.choose.uniform(*days))
        words = [word for word in scene.home.words if word not in ("--as-of", utc_text(END))]
        scene.ended.append(scene.start({"clock_s": wrong.timestamp() - time.time()}, words=words).wait())
        scene.fired = scene.wrong_clock = True

    return meet


RUNS = ("run", "acquire")
LAKE_JOBS = ("run", "acquire", "train", "retrain", "rescore", "quarantine replay", "retention", "models promote")
SQLITE, POSTGRESQL = ("sqlite",), ("postgresql",)
BACK = (-FLEET.days + 1.0, -0.1)

KINDS = {
    kind.name: kind
    for kind in (
        Kind("kill_random", "SIGKILL at a random moment", signalled(signal.SIGKILL)),
        Kind("kill_commit", "SIGKILL right before or after the n-th commit",
             at_call("commit", act="kill_before|kill_after"), calls=("commit",)),
        Kind("kill_write", "SIGKILL in the middle of the n-th write, half of it done",
             at_call("write", act="kill_midway"), calls=("write",)),
        Kind("kill_name", "SIGKILL at the n-th rename, deletion or new folder",
             at_call("name", act="kill_before|kill_after"), calls=("name",)),
        Kind("kill_sync", "SIGKILL at the n-th fsync", at_call("sync", act="kill_before|kill_after"), calls=("sync",)),
        Kind("kill_open", "SIGKILL at the n-th file opened or read",
             at_call("open", "read", act="kill_before|kill_after"), calls=("open", "read")),
        Kind("kill_network", "SIGKILL at the n-th call to PostgreSQL",
             at_call("send", "recv", act="kill_before|kill_after"), POSTGRESQL, calls=("send", "recv")),
        Kind("kill_s3", "SIGKILL at the n-th call to S3", at_call("send", "recv", act="kill_before|kill_after"),
             on=LAKE_JOBS, calls=("send", "recv"), on_s3=True),
        Kind("terminate", "SIGTERM at a random moment", signalled(signal.SIGTERM)),
        Kind("interrupt", "Ctrl-C at a random moment", signalled(signal.SIGINT)),
        Kind("two_at_once", "two copies at once", copies(2, 0)),
        Kind("three_at_once", "three copies at once", copies(3, 0)),
        Kind("one_of_two_killed", "two copies at once, one killed", copies(2, 1)),
        Kind("one_of_three_killed", "three copies at once, one killed", copies(3, 1)),
        Kind("paused", "a copy stands still while another works, and then goes on", paused),
        Kind("worker_killed", "a worker process killed", worker_killed, on=("run",)),
        Kind("disk_full", "a disk that is too small, then larger", small_disk, disk=True),
        Kind("no_inodes", "a disk without room for another file, then with", few_inodes, disk=True),
        Kind("read_only", "a disk that cannot be written, then can", read_only, disk=True),
        Kind("lake_gone", "the lake not mounted for one run", lake_gone, on=LAKE_JOBS),
        Kind("no_space_at", "ENOSPC or EDQUOT from the n-th write on, for some or for all",
             at_call("write", act="fail", many=(1, 40), arguments=(errno.ENOSPC, errno.EDQUOT)), calls=("write",)),
        Kind("no_space_ever", "ENOSPC from the n-th write, rename or new file on until the end",
             at_call("write", "name", act="fail", many=(EVER, EVER), arguments=(errno.ENOSPC,)),
             calls=("write", "name")),
        Kind("write_error", "EIO at the n-th write or fsync",
             at_call("write", "sync", act="fail", many=(1, 3), arguments=(errno.EIO,)), calls=("write", "sync")),
        Kind("read_error", "EIO at the n-th read",
             at_call("read", act="fail", many=(1, 3), arguments=(errno.EIO,)), calls=("read",)),
        Kind("short_write", "writes that take only half",
             at_call("write", act="short", many=(1, 20)), calls=("write",)),
        Kind("no_permission", "EACCES or EROFS from the n-th file opened or renamed on",
             at_call("open", "name", act="fail", many=(1, 60), arguments=(errno.EACCES, errno.EROFS, errno.EPERM)),
             calls=("open", "name")),
        Kind("stale", "ESTALE, EBUSY or ETIMEDOUT of a network disk at the n-th call",
             at_call("open", "read", "write", "name", "sync", act="fail", many=(1, 5),
                     arguments=(errno.ESTALE, errno.EBUSY, errno.ETIMEDOUT)),
             calls=("open", "read", "write", "name", "sync")),
        Kind("slow_disk", "calls to the disk that take half a second",
             at_call("write", "sync", "read", act="sleep", many=(1, 8), arguments=(500,)),
             calls=("write", "sync", "read")),
        Kind("file_limit", "RLIMIT_FSIZE: no file larger than that", limited("RLIMIT_FSIZE", 2_000, 900_000)),
        Kind("few_files", "RLIMIT_NOFILE: too many open files", limited("RLIMIT_NOFILE", 5, 10)),
        Kind("memory", "RLIMIT_AS: no memory left", out_of_memory),
        Kind("sqlite_locked", "another program holds SQLite's lock for some seconds", sqlite_locked, SQLITE),
        Kind("sqlite_locked_long", "another program holds SQLite's lock for longer than axiswatch waits",
             sqlite_locked_long, SQLITE),
        Kind("pg_restart", "PostgreSQL restarted", postgres_restarted("fast"), POSTGRESQL),
        Kind("pg_crash", "PostgreSQL ended as by a crash, and started", postgres_restarted("immediate"), POSTGRESQL),
        Kind("pg_cut", "connections to PostgreSQL ended", postgres_cut, POSTGRESQL),
        Kind("pg_locked", "another session locks a table of PostgreSQL for some seconds", postgres_locked, POSTGRESQL),
        Kind("network_cut", "the connection to PostgreSQL breaks at the n-th call",
             at_call("send", "recv", act="cut|fail", arguments=(errno.ECONNRESET, errno.ETIMEDOUT)), POSTGRESQL,
             calls=("send", "recv")),
        Kind("s3_500", "S3 answers 500 for a while", s3("500", (1, 12)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_500_ever", "S3 answers 500 until the command ends", s3("500", (EVER, EVER)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_503", "S3 asks to slow down", s3("503", (1, 30)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_403", "S3 refuses the key for a while", s3("403", (1, 30)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_404", "S3 does not find what is there", s3("404", (1, 3)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_slow", "S3 is slow", s3("slow", (1, 15)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_silent", "S3 takes requests and never answers (waited for 2 s in place of 20 and 120)",
             s3("silent", (EVER, EVER), {"patience_s": 2}), on=LAKE_JOBS, on_s3=True),
        Kind("s3_disconnects", "S3 cuts connections", s3("disconnect", (1, 20)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_truncated", "S3 sends half of what it announced", s3("truncated", (1, 3)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_short", "S3 sends half and announces half", s3("short", (1, 3)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_flipped", "S3 sends a wrong byte", s3("flipped", (1, 3)), on=LAKE_JOBS, on_s3=True),
        Kind("s3_gone", "nobody listens at the address of S3", s3_gone, on=LAKE_JOBS, on_s3=True),
        Kind("as_of_back", "a run for a time in the past first", wrong_as_of(BACK), on=RUNS),
        Kind("as_of_ahead", "a run for a time in the future first", wrong_as_of((0.1, 40)), on=RUNS),
        Kind("clock_back", "a clock that is behind during a run", wrong_clock(BACK), on=RUNS),
        Kind("clock_ahead", "a clock that is ahead during a run", wrong_clock((0.1, 40)), on=RUNS),
    )
}  # fmt: skip
"""All kinds by name."""

assert {call for kind in KINDS.values() for call in kind.calls} <= {*CLASSES, "commit"}
