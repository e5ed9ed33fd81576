"""Targets of intake: the reader of log files alone, and `acquire` over a landing zone with odd things in it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import sqlalchemy as sa

from benchmarks.fuzz.bytes_damage import Rng
from benchmarks.fuzz.outcomes import Given, Outcome, judged, poor_words, shown
from benchmarks.fuzz.parquet_damage import bombs, damaged_parquet, promised, rows, seeds, table_of, to_bytes
from pipeline.intake.acquire import acquire
from pipeline.intake.contract import GoodRow, Limits, judge_rows, printable
from pipeline.intake.quarantine import list_quarantine, replay, show_quarantine
from pipeline.intake.reading import DAMAGE, Refused, Unread, is_damage, read_log
from pipeline.store.database import Store
from pipeline.store.lake import Lake
from pipeline.store.tables import LogFile, Recording

AS_OF: Final = datetime(2026, 3, 1, tzinfo=UTC)
LIMITS: Final = Limits(AS_OF, max_samples=2_000_000, max_sampling_rate_hz=1e6, max_shaft_speed_rpm=100_000)
BYTES_ONLY: Final = (
    *("bits flipped", "bytes overwritten", "number at the edge of its type", "end cut off", "beginning cut off"),
    *("stretch removed", "stretch blanked", "bytes inserted", "stretches swapped"),
)
"""Damages after which a row is one of the file's, or none: pages have checksums, and no other file is mixed in."""


class Logs:
    """`read_log` and `judge_rows`: every promised row is read or told of, and none has another content than before."""

    name = "logs"
    refusals: tuple[type[Exception], ...] = ()
    wrapped: tuple[type[Exception], ...] = ()
    calls = 1
    sizes: tuple[int, ...] = (48, 600)

    def prepare(self, folder: Path) -> None:
        """Make good files and bombs."""
        self.path = folder / "log.parquet"
        self.whole = seeds(np.random.default_rng(7))
        self.heavy = bombs(folder.parent / "bombs", self.sizes) if self.sizes else []
        self.known = {key for data in self.whole for key in self._read(data)[0]}

    def damaged(self, rng: Rng) -> Given:
        """Make a damaged file."""
        return Given(*damaged_parquet(rng, self.whole, self.heavy))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Read all rows, judge them, and compare what was read with what was promised."""
        try:
            good, bad, told = self._read(given.what)
        except Refused as refused:
            return judged("; ".join(reason.text for reason in refused.reasons))
        except DAMAGE as error:
            if not is_damage(error):
                raise
            return judged(f"not a whole Parquet file: {printable(str(error).strip())}; write it again")
        poor = next(filter(None, map(poor_words, told)), "")
        if poor:
            return Outcome.POOR, f"{poor}: {told[0][:200]}"
        if not told and self.count != promised(given.what) >= 0:
            return Outcome.WRONG, f"nothing is said: {promised(given.what)} rows are promised, {self.count} were read"
        if given.damage in BYTES_ONLY and good - self.known:
            return Outcome.WRONG, f"{len(good - self.known)} of {len(good)} rows have a content that the file never had"
        if not good and not bad and not told:
            return Outcome.TAKEN, "no rows"
        if not told and not bad:
            return Outcome.TAKEN, f"{len(good)} rows"
        return (Outcome.PARTLY if good else Outcome.REFUSED), "; ".join(told)[:300]

    def _read(self, data: bytes) -> tuple[set[tuple[str, str]], int, list[str]]:
        self.path.write_bytes(data)
        good: set[tuple[str, str]] = set()
        bad, told, self.count = 0, [], 0
        for part in read_log(self.path, LIMITS, []):
            if isinstance(part, Unread):
                told.append(part.reason.text)
                bad += part.count
                continue
            self.count += part[1].num_rows
            for row in judge_rows(part[1], part[0], LIMITS):
                if isinstance(row, GoodRow):
                    good.add((row.recording_id, row.content_hash))
                else:
                    bad += 1
                    told += [reason.text for reason in row.reasons]
        return good, bad, told


class Landing(Logs):
    """`acquire` over a landing zone: a damaged file, a sound one beside it, and now and then something odd."""

    name = "acquire"
    calls = 3

    def prepare(self, folder: Path) -> None:
        """Make an empty database besides."""
        super().prepare(folder)
        self.folder = folder / "zone"
        self.database = folder / "empty.sqlite"
        Store.open(f"sqlite:///{self.database}").dispose()
        made = rows(np.random.default_rng(8), 5, 50)
        self.sound = to_bytes(table_of([row | {"site": "neighbour"} for row in made]))

    def damaged(self, rng: Rng) -> Given:
        """Make a damaged file, its name, and the number of an odd thing beside it."""
        damage, data = damaged_parquet(rng, self.whole, self.heavy)
        odd = int(rng.integers(len(ODD))) if rng.random() < 0.4 else -1
        name = NAMES[int(rng.integers(len(NAMES)))] if rng.random() < 0.3 else b"log.parquet"
        return Given(damage if odd < 0 else "odd thing beside it", (data, name, odd))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Take in the zone twice, show and judge again what is in quarantine."""
        data, name, odd = given.what
        shutil.rmtree(self.folder, ignore_errors=True)
        landing = self.folder / "landing"
        landing.mkdir(parents=True)
        shutil.copy(self.database, self.folder / "a.sqlite")
        _write(os.fsencode(landing) + b"/" + name, data)
        _write(os.fsencode(landing / "sound.parquet"), self.sound)
        if odd >= 0:
            ODD[odd](landing)
        store, lake = Store.open(f"sqlite:///{self.folder / 'a.sqlite'}"), Lake(str(self.folder / "lake"))
        try:
            return self._take(store, lake, landing, data)
        finally:
            store.dispose()

    def _take(self, store: Store, lake: Lake, landing: Path, data: bytes) -> tuple[Outcome, str]:
        both = [acquire(store, lake, landing, limits=LIMITS, settled_before=AS_OF) for _ in range(2)]
        with store.read() as connection:
            neighbours = connection.scalar(
                sa.select(sa.func.count()).select_from(Recording).where(Recording.lake_path != "")
            )
            files = [dict(row._mapping) for row in connection.execute(sa.select(LogFile))]
        ours = [file for file in files if "sound.parquet" not in file["path"]]
        if sum(file["n_accepted"] for file in files if "sound.parquet" in file["path"]) != 5:
            return Outcome.WRONG, f"the sound file beside it lost rows: {both[0].as_dict()}"
        if both[1].recordings or both[1].quarantined or both[1].files:
            return Outcome.WRONG, f"a second run took something: {both[1].as_dict()}"
        if neighbours != both[0].recordings:
            return Outcome.WRONG, f"{neighbours} recordings, {both[0].recordings} reported"
        texts = list(both[0].problems)
        entries = list_quarantine(store, state=None)
        for entry in entries:
            texts += [str(reason["text"]) for reason in entry["reasons"]]
            json.dumps(show_quarantine(store, lake, entry["quarantine_id"]), default=str).encode()
        again = replay(store, lake, LIMITS)
        if accepted := sum(one.accepted for one in again):
            return Outcome.WRONG, f"judged again, {accepted} rows were good"
        poor = next(((poor_words(text), text) for text in texts if poor_words(text)), None)
        if poor:
            return Outcome.POOR, f"{poor[0]}: {shown(poor[1])}"
        for file in ours:
            if file["n_rows"] != file["n_accepted"] + file["n_known"] + file["n_quarantined"] and file["n_rows"]:
                return Outcome.WRONG, f"the counts do not add up: {file}"
            if file["n_accepted"] and not file["n_quarantined"] and not file["n_known"]:
                if file["n_rows"] != promised(data) >= 0:
                    return Outcome.WRONG, f"nothing is said: {promised(data)} rows are promised, {file['n_rows']} read"
                return Outcome.TAKEN, ""
            if file["n_accepted"]:
                return Outcome.PARTLY, "; ".join(texts)[:200]
        return (Outcome.REFUSED, "; ".join(texts)[:200]) if texts else (Outcome.TAKEN, f"{len(ours)} files, no rows")


def _write(path: bytes, data: bytes) -> None:
    with open(path, "wb") as file:  # noqa: PTH123 (a Path cannot have every name)
        file.write(data)
    moment = time.time() - 3600
    os.utime(path, (moment, moment))


NAMES: Final = (
    *(
        b"a\nb.parquet",
        b"\xff\xfe.parquet",
        "é\u202e.parquet".encode(),
        b" .parquet",
        b"%00.parquet",
        b"'quoted\".parquet",
    ),
    *(b"x" * 240 + b".parquet", b"no suffix", b"log.csv", b"\xed\xa0\x80.parquet", b"-rf.parquet", b"[bold]a.parquet"),
)


def _loop(landing: Path) -> None:
    (landing / "a").mkdir()
    (landing / "a" / "loop").symlink_to(landing)
    (landing / "self.parquet").symlink_to("self.parquet")
    (landing / "one").symlink_to("two")
    (landing / "two").symlink_to("one")


def _socket(landing: Path) -> None:
    place, here = socket.socket(socket.AF_UNIX), Path.cwd()
    os.chdir(landing)  # the name of a socket is at most 107 bytes long
    place.bind("s.parquet")
    os.chdir(here)
    place.close()


def _device(landing: Path) -> None:
    try:
        os.mknod(landing / "zero.parquet", 0o020666, os.makedev(1, 5))
    except OSError:
        os.mkfifo(landing / "zero.parquet")


def _deep(landing: Path) -> None:
    os.makedirs(landing / "/".join(["d"] * 200))  # noqa: PTH103
    _write(os.fsencode(landing / "/".join(["d"] * 200) / "x.parquet"), b"")


ODD: Final[tuple[Any, ...]] = (
    lambda landing: (landing / "folder.parquet").mkdir(),
    lambda landing: os.mkfifo(landing / "pipe.parquet"),
    _socket,
    _device,
    _loop,
    _deep,
    lambda landing: (landing / "gone.parquet").symlink_to("nowhere"),
    lambda landing: (landing / "out.parquet").symlink_to("/etc/passwd"),
    lambda landing: (landing / "out").symlink_to("/"),
    lambda landing: (landing / "zero.parquet").symlink_to("/dev/zero"),
    lambda landing: _write(os.fsencode(landing / "empty.parquet"), b""),
    lambda landing: _write(os.fsencode(landing) + b"/\xff\n\x1b[31m.parquet", b"PAR1"),
    lambda landing: os.mkdir(os.fsencode(landing) + b"/\xff folder \n"),  # noqa: PTH102
    lambda landing: os.link(landing / "sound.parquet", landing / "twice.parquet"),
    lambda landing: (landing / "half.parquet.part").write_bytes(b"PAR1"),
    lambda landing: (landing / ".hidden").mkdir(),
    lambda landing: (landing / "long").symlink_to("x" * 4000),
)
"""Makers of things that stand in landing zones but are no log files."""
