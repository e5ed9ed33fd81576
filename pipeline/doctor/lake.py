"""The lake: can it be reached and written, and are the files there that rows name; and the room on the disks."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection, make_url

from pipeline.doctor.finding import GIB, Patient, Said
from pipeline.registry.versions import champions
from pipeline.store.lake import ASIDE, Lake, LakeError
from pipeline.store.tables import LakeFile, ModelVersion

SAMPLE = 50
"""Files of each kind that are looked for."""

GROWTH_DAYS = 7
SOON_DAYS = 14
LEAST_FREE = GIB


def lake(patient: Patient) -> Said:
    """Write, sync, read back and delete a small file."""
    url = patient.settings.lake
    if "://" not in url and not Path(url).is_dir():
        yield True, f"there is no lake {url}; set `home` or `lake_url`, mount it, or restore a backup"
        return
    place, probe, data = Lake(url), f"{ASIDE}/doctor-{uuid.uuid4().hex}", os.urandom(64)
    place.put_at(probe, data)
    same = place.read(probe) == data
    place.remove(probe)
    if same:
        yield False, f"{url} can be written and read"
    else:
        yield True, f"the lake {url} gives back other bytes than were written; see to its disk"


def files(patient: Patient) -> Said:
    """Look for a sample of the files that rows name, by size, another sample each time; and for the champions'."""
    give_up = time.monotonic() + patient.seconds / 2
    place = Lake(patient.settings.lake)
    with patient.store.read() as connection:
        total = connection.scalar(sa.select(sa.func.count()).select_from(LakeFile)) or 0
        wanted = {**_artifacts(connection), **_sample(connection, patient.at.isoformat())}
    looked, wrong = 0, []
    for path, size in wanted.items():
        if time.monotonic() > give_up:
            break
        looked += 1
        try:
            there = place.size(path)
        except LakeError as error:
            wrong.append(str(error))
            continue
        if size is not None and there != size:
            wrong.append(f"{path} in the lake has {there} bytes, not {size}; restore it from a backup")
    yield False, f"looked for {looked} files; rows name {total} besides those of models"
    if wrong:
        more = f" (and {len(wrong) - 1} more of {looked})" if len(wrong) > 1 else ""
        yield True, wrong[0] + more


def _sample(connection: Connection, seed: str) -> dict[str, int | None]:
    """Return paths with their sizes, of each kind those after a place that the seed chooses: names are hashes."""
    found: dict[str, int | None] = {}
    start = hashlib.sha256(seed.encode()).hexdigest()[:2]
    for kind in ("recordings", "features", "quarantine", "models"):
        for first, last in ((f"{kind}/{start}", f"{kind}0"), (f"{kind}/", f"{kind}/{start}")):
            query = sa.select(LakeFile.path, LakeFile.size_bytes).where(LakeFile.path >= first, LakeFile.path < last)
            rows = connection.execute(query.order_by(LakeFile.path).limit(SAMPLE))
            found |= {row.path: row.size_bytes for row in rows}
    return found


def _artifacts(connection: Connection) -> dict[str, int | None]:
    """Return the paths of the champions' files; their sizes are not known."""
    query = sa.select(ModelVersion.lake_prefix, ModelVersion.settings)
    rows = connection.execute(query.where(ModelVersion.model_version.in_(champions(connection).values())))
    return {f"{row.lake_prefix}/{name}": None for row in rows for name in row.settings["files"]}


def disks(patient: Patient) -> Said:
    """Compare the room that is left with what the lake grew by."""
    with patient.store.read() as connection:
        since = patient.at - timedelta(days=GROWTH_DAYS)
        grown = connection.scalar(sa.select(sa.func.sum(LakeFile.size_bytes)).where(LakeFile.known_at > since)) or 0
    yield from room(dict(_places(patient)), grown / GROWTH_DAYS)


def places(patient: Patient) -> Said:
    """Compare the room that is left with the least, where nobody knows what the lake grew by."""
    yield from room(dict(_places(patient)), 0.0)


def _places(patient: Patient) -> Iterator[tuple[str, Path]]:
    url = make_url(patient.settings.database)
    if patient.is_sqlite:
        yield "database", Path(url.database or "").parent
    if "://" not in patient.settings.lake:
        yield "lake", Path(patient.settings.lake)


def room(folders: dict[str, Path], per_day: float, *, least: int = LEAST_FREE) -> Said:
    """Say how much room the disk of each folder has, and whether it ends soon.

    Parameters
    ----------
    folders
        What stands in each folder.
    per_day
        What the lake grows by, bytes a day.
    least
        Free bytes below which a disk is full, whatever the growth.
    """
    for name, folder in folders.items():
        if not folder.is_dir():
            continue
        usage, inodes = shutil.disk_usage(folder), os.statvfs(folder)
        days = usage.free / per_day if per_day > 0 else float("inf")
        growth = f", enough for {days:.0f} days at {per_day / GIB:.3f} GB a day" if per_day > 0 else ""
        if usage.free < least or days < SOON_DAYS:
            yield True, f"the disk of the {name} ({folder}) has {usage.free / GIB:.1f} GB left{growth}; make room"
        elif inodes.f_files and inodes.f_favail < inodes.f_files / 100:
            yield True, f"the disk of the {name} ({folder}) can hold only {inodes.f_favail} more files; make room"
        else:
            yield False, f"{name}: {usage.free / GIB:.1f} GB free{growth}"
