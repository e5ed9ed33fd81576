"""The lake: files named by what they hold, whole or not there, and swept only when nobody can want them."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from pipeline.store.database import Store, insert_ignore
from pipeline.store.lake import ROW_GROUP_BYTES, Lake, LakeError, LakeUnavailable, is_damage
from pipeline.store.retention import sweep_lake
from pipeline.store.tables import LakeFile, ModelVersion

NOW = datetime.now(UTC)
OLD = (time.time() - 7_200, time.time() - 7_200)


def here(lake: Lake) -> set[str]:
    return {path for path, _ in lake.files()}


def aged(lake: Lake, path: str) -> str:
    os.utime(Path(lake.root) / path, OLD)
    return path


@pytest.fixture
def remote() -> Any:
    """A lake behind an fsspec URL that is no folder."""
    lake = Lake(f"memory://lake-{time.monotonic_ns()}")
    yield lake
    fsspec.filesystem("memory").rm(lake.root, recursive=True)


def test_names_are_hashes_of_the_content(lake: Lake) -> None:
    path = lake.put("features", b"hello", ".bin")
    digest = hashlib.sha256(b"hello").hexdigest()
    assert path == f"features/{digest[:2]}/{digest}.bin"
    assert lake.read(path) == b"hello"
    assert lake.put("features", b"hello", ".bin") == path
    assert here(lake) == {path}


def test_equal_tables_give_equal_files_and_other_tables_other_files(lake: Lake) -> None:
    table = pa.table({"a": [1, 2], "samples": pa.array([[1.0], [2.0]], pa.list_(pa.float32()))})
    path, size = lake.put_table("recordings", table)
    assert lake.put_table("recordings", table.slice(0)) == (path, size)
    assert lake.put_table("recordings", table.slice(1))[0] != path
    assert (Path(lake.root) / path).stat().st_size == size
    assert lake.table(path).equals(table)


def test_rows_are_read_from_their_row_groups(lake: Lake) -> None:
    rng = np.random.default_rng(0)
    count = 3 * ROW_GROUP_BYTES // (4 * 50_000)
    samples = [rng.normal(size=50_000).astype(np.float32) for _ in range(count)]
    table = pa.table({"n": list(range(count)), "samples": pa.array(samples, pa.list_(pa.float32()))})
    path, _ = lake.put_table("recordings", table)
    wanted = [count - 1, 0, count // 2, 0]
    found = list(lake.rows(path, wanted))
    assert [row for row, _ in found] == sorted(set(wanted))
    for row, values in found:
        assert values["n"].as_py() == row
        np.testing.assert_array_equal(values["samples"].values.to_numpy(), samples[row])


def test_put_is_idempotent_and_mends_a_short_file(lake: Lake) -> None:
    path = lake.put("models", b"weights", ".bin")
    lake.put("models", b"weights", ".bin")
    (Path(lake.root) / path).write_bytes(b"wei")
    lake.put("models", b"weights", ".bin")
    assert lake.read(path) == b"weights"


def test_a_failure_leaves_no_half_file_under_a_name(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LakeUnavailable, match="No space left"):
            lake.put("features", b"x" * 10_000, ".bin")
    assert all(path.startswith("aside/") for path in here(lake))
    path = lake.put("features", b"x" * 10_000, ".bin")
    assert lake.read(path) == b"x" * 10_000
    assert lake.sweep({path}, older_than=datetime.now(UTC) + timedelta(seconds=5)) == 1, "what was left aside"
    assert here(lake) == {path}


def test_put_file_copies_it_whole(lake: Lake, tmp_path: Path) -> None:
    source = tmp_path / "bad.parquet"
    source.write_bytes(b"broken")
    path = lake.put_file("quarantine", source, "ab12")
    assert (path, lake.read(path)) == ("quarantine/ab/ab12.bin", b"broken")
    assert lake.put_file("quarantine", source, "ab12") == path
    assert here(lake) == {path}
    assert source.exists()


def test_a_lake_behind_a_url(remote: Lake, tmp_path: Path) -> None:
    table = pa.table({"a": [1, 2, 3]})
    path, _ = remote.put_table("features", table)
    assert remote.put_table("features", table)[0] == path
    assert remote.table(path).equals(table)
    source = tmp_path / "f"
    source.write_bytes(b"x")
    kept = remote.put_file("quarantine", source, "cd")
    assert here(remote) == {path, kept}
    remote.remove(kept)
    remote.remove(kept)
    assert here(remote) == {path}
    with pytest.raises(LakeError):
        remote.read(kept)


@pytest.mark.parametrize("path", ["../outside", "features/../../outside", "/etc/passwd", ".."])
def test_paths_outside_are_refused(lake: Lake, path: str) -> None:
    for act in (lambda: lake.read(path), lambda: lake.put_at(path, b"x"), lambda: lake.remove(path)):
        with pytest.raises(LakeError, match="is no path inside the lake"):
            act()
    assert not (Path(lake.root).parent / "outside").exists()


def test_missing_file_says_what_to_do(lake: Lake) -> None:
    for act in (lambda: lake.read("features/aa/gone.parquet"), lambda: lake.table("features/aa/gone.parquet")):
        with pytest.raises(LakeError, match=r"gone\.parquet is not in the lake .* restore it from a backup"):
            act()
    lake.remove("features/aa/gone.parquet")


@pytest.mark.parametrize(
    ("error", "damaged"),
    [
        (pa.ArrowInvalid("Parquet magic bytes not found in footer"), True),
        (OSError("Corrupt snappy compressed data."), True),
        (pa.ArrowException("Unknown error: a page that ends too early"), True),
        (pa.ArrowException("Unknown error: Failed to launch worker thread: Resource temporarily unavailable"), False),
        (pa.lib.ArrowMemoryError("malloc of size 64 failed"), False),
        (FileNotFoundError("made on purpose"), False),
        (OSError(errno.EIO, "Input/output error"), False),
    ],
)
def test_damage_of_a_file_is_told_from_faults_of_the_machine(error: Exception, damaged: bool) -> None:
    assert is_damage(error) is damaged


def test_unknown_protocol_is_refused() -> None:
    with pytest.raises(LakeError, match="cannot be opened"):
        Lake("nosuch://bucket/axiswatch")


def test_sweep_deletes_old_orphans_only(lake: Lake, sqlite_store: Store) -> None:
    committed = aged(lake, lake.put("features", b"committed", ".parquet"))
    model = "models/0123456789abcdef/weights.safetensors"
    lake.put_at(model, b"weights")
    aged(lake, model)
    young = lake.put("features", b"young", ".parquet")
    orphan = aged(lake, lake.put("features", b"orphan", ".parquet"))
    lake.put_at("aside/half", b"half")
    aged(lake, "aside/half")
    with sqlite_store.write() as connection:
        file = {"path": committed, "kind": "features", "size_bytes": 9, "n_rows": 1, "known_at": NOW}
        insert_ignore(connection, LakeFile, [file])
        version = {
            "model_version": "0123456789abcdef",
            "scope": "acceleration",
            "kind": "classification",
            "feature_version": "f",
            "lake_prefix": "models/0123456789abcdef",
            "label_cutoff": NOW,
            "training_data_hash": "",
            "n_units": 1,
            "n_windows": 1,
            "settings": {"files": ["weights.safetensors"]},
            "metrics": {},
            "known_at": NOW,
        }
        insert_ignore(connection, ModelVersion, [version])
    assert sweep_lake(sqlite_store, lake, older_than=datetime.now(UTC) - timedelta(hours=1)) == 2
    assert here(lake) == {committed, model, young}
    assert orphan not in here(lake)
    assert sweep_lake(sqlite_store, lake, older_than=datetime.now(UTC) - timedelta(hours=1)) == 0


@pytest.mark.parametrize("way", ["put", "put_file"])
def test_orphan_that_is_written_again_is_young_again(lake: Lake, tmp_path: Path, way: str) -> None:
    """A run was killed before its commit; today's run writes the same file and is about to commit it."""
    source = tmp_path / "source"
    source.write_bytes(b"same")

    def write() -> str:
        return lake.put("features", b"same", ".bin") if way == "put" else lake.put_file("quarantine", source, "ab")

    path = aged(lake, write())
    assert write() == path
    assert lake.sweep(set(), older_than=datetime.now(UTC) - timedelta(hours=1)) == 0
    assert here(lake) == {path}


def test_a_flipped_byte_in_a_table_is_noticed_wherever_it_is(lake: Lake) -> None:
    rng = np.random.default_rng(1)
    table = pa.table(
        {"samples": pa.array(rng.normal(size=(40, 500)).astype(np.float32).tolist(), pa.list_(pa.float32()))}
    )
    path, size = lake.put_table("recordings", table)
    file = Path(lake.root) / path
    whole = file.read_bytes()
    for place in range(4, size, size // 23):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        with pytest.raises(LakeError, match="is damaged"):
            if lake.table(path) != table:
                pytest.fail(f"other values came out after byte {place} was changed")
        with pytest.raises(LakeError, match="is damaged"):
            list(lake.rows(path, range(40)))
    file.write_bytes(whole)
    assert lake.table(path) == table
