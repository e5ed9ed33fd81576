"""Cleaning the lake of files that no row commits."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from pipeline.lake import Lake
from pipeline.schema import LakeFile, ModelVersion
from pipeline.store import Store


def sweep_lake(store: Store, lake: Lake, *, older_than: datetime) -> int:
    """Delete orphans that are older than a time; give their number."""
    with store.read() as connection:
        committed = set(connection.scalars(sa.select(LakeFile.path)))
        for row in connection.execute(sa.select(ModelVersion.lake_prefix, ModelVersion.settings)):
            committed |= {f"{row.lake_prefix}/{name}" for name in row.settings["files"]}
    return lake.sweep(committed, older_than=older_than)
