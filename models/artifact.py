"""A model as a folder of safetensors and a JSON manifest. The only file of `models` that touches files or bytes.

There is no pickle anywhere: reading an artifact runs no code from it. The manifest is canonical JSON
(sorted keys, ASCII, no NaN, no time of writing), so equal models have equal bytes and one `model_version`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from models.checks import ModelInvalid
from models.model import Model
from models.state import MEMBERS, REFITS, arrays_of, described, rebuilt

FORMAT = "axiswatch-model"
FORMAT_VERSION = 5
MANIFEST = "manifest.json"
MAX_FILE_BYTES = 256 << 20
MAX_MANIFEST_BYTES = 4 << 20
MAX_FILES = 64

_COMMON = ("scaler.safetensors", "novelty.safetensors", "calibration.safetensors")
_NETWORK = ("weights.safetensors", "masks.safetensors")


class ArtifactError(ValueError):
    """An artifact was refused; the message says why."""


def pack(
    model: Model,
    *,
    training_data_hash: str | None = None,
    metrics: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, bytes]:
    """Turn a model into files.

    Parameters
    ----------
    model
        The model; what is not given below is taken from it.
    training_data_hash
        Hash of what it was trained on.
    metrics
        JSON values that replace the model's own metrics.
    settings
        JSON values added to the settings it was trained with.

    Returns
    -------
    dict
        File name to content, ``manifest.json`` among them. Equal models give equal bytes.

    Raises
    ------
    ArtifactError
        Metrics or settings are not JSON (NaN is not), or a file is too large.
    """
    model = replace(
        model,
        training_data_hash=model.training_data_hash if training_data_hash is None else training_data_hash,
        metrics=model.metrics if metrics is None else metrics,
        settings={**model.settings, **(settings or {})},
    )
    files = {name: save_tensors(arrays) for name, arrays in arrays_of(model).items()}
    manifest = described(model)
    manifest |= {"format": FORMAT, "format_version": FORMAT_VERSION}
    manifest["files"] = {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)} for name, content in files.items()
    }
    files[MANIFEST] = _sealed(manifest)
    _check_sizes({name: len(content) for name, content in files.items()})
    return files


def unpack(files: Mapping[str, bytes], *, expect_feature_version: str | None = None) -> Model:
    """Turn files back into a model, checking everything first.

    Parameters
    ----------
    files
        File name to content.
    expect_feature_version
        The feature version in use; None to accept any.

    Returns
    -------
    Model

    Raises
    ------
    ArtifactError
        A hostile name, a missing, additional, changed or oversized file, an unknown format version, another feature
        version, or parts that do not fit one another or are not finite.
    """
    _check_sizes({name: len(content) for name, content in files.items()})
    if MANIFEST not in files:
        raise ArtifactError(f"The artifact has no {MANIFEST}.")
    manifest = _opened(files[MANIFEST])
    version = manifest.get("feature_version")
    if expect_feature_version is not None and version != expect_feature_version:
        raise ArtifactError(
            f"The model was trained on feature version '{version}', but '{expect_feature_version}' is in use: "
            "retrain, or extract features with the version it knows."
        )
    _check_files(files, manifest)
    try:
        return rebuilt(manifest, {name: load_tensors(data) for name, data in files.items() if name != MANIFEST})
    except (SafetensorError, ModelInvalid, KeyError, IndexError, TypeError, ValueError) as error:
        raise ArtifactError(f"The artifact does not fit together: {error}") from error


def model_version(files: Mapping[str, bytes]) -> str:
    """Return the version of an artifact: 16 hex digits of the SHA-256 of its manifest, which covers every file."""
    if MANIFEST not in files:
        raise ArtifactError(f"The artifact has no {MANIFEST}.")
    return hashlib.sha256(files[MANIFEST]).hexdigest()[:16]


def save(model: Model, folder: Path) -> str:
    """Write a model into a new folder, aside first and then renamed, and return its model version.

    Raises
    ------
    ArtifactError
        The folder exists with other content. The same content again is no error.
    """
    files = pack(model)
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        for name, content in files.items():
            with (aside / name).open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        aside.chmod(0o755)
        try:
            aside.rename(folder)
        except OSError as error:
            if not folder.is_dir() or _read_folder(folder) != files:
                raise ArtifactError(f"{folder} cannot be written: {error}.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return model_version(files)


def load(folder: Path, *, expect_feature_version: str | None = None) -> Model:
    """Read a model from a folder; see `unpack` for what is refused, links and subfolders besides."""
    return unpack(_read_folder(folder), expect_feature_version=expect_feature_version)


def _read_folder(folder: Path) -> dict[str, bytes]:
    """Read every file of a folder, sizes checked before anything is read."""
    try:
        status = {path.name: path.lstat() for path in sorted(folder.iterdir())}
        odd = [name for name, entry in status.items() if not stat.S_ISREG(entry.st_mode)]
        if odd:
            raise ArtifactError(f"'{odd[0]}' in {folder} is not a plain file.")
        _check_sizes({name: entry.st_size for name, entry in status.items()})
        return {name: (folder / name).read_bytes() for name in status}
    except OSError as error:
        raise ArtifactError(f"{folder} cannot be read: {error}.") from error


def _check_sizes(sizes: Mapping[str, int]) -> None:
    """Refuse hostile names, too many files and files too large."""
    if len(sizes) > MAX_FILES:
        raise ArtifactError(f"The artifact has {len(sizes)} files; at most {MAX_FILES} are accepted.")
    for name, size in sizes.items():
        if not name or name.startswith(".") or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
            raise ArtifactError(f"The file name {name[:80]!r} is not acceptable in an artifact.")
        limit = MAX_MANIFEST_BYTES if name == MANIFEST else MAX_FILE_BYTES
        if size > limit:
            raise ArtifactError(f"'{name}' has {size} bytes; at most {limit} are accepted.")


def _check_files(files: Mapping[str, bytes], manifest: dict[str, Any]) -> None:
    """Compare every file with the manifest's size and hash."""
    expected = set(_COMMON if manifest.get("kind") == "baseline_only" else _COMMON + _NETWORK)
    if manifest.get("members"):
        expected.add(MEMBERS)
    if manifest.get("refits"):
        expected.add(REFITS)
    listed, given = manifest.get("files"), set(files) - {MANIFEST}
    if not isinstance(listed, dict) or set(listed) != expected:
        raise ArtifactError(f"The manifest must list the files {sorted(expected)} and no others.")
    if given != expected:
        missing, extra = sorted(expected - given), sorted(given - expected)
        raise ArtifactError(f"Files do not match the manifest: missing {missing}, not listed {extra}.")
    for name in sorted(given):
        entry = listed[name]
        right = {"sha256": hashlib.sha256(files[name]).hexdigest(), "size": len(files[name])}
        if entry != right:
            raise ArtifactError(f"'{name}' was changed: its size or hash is not the one in the manifest.")


def _canonical(value: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(f"The manifest is not plain JSON: {error}.") from error
    return text.encode("ascii")


def _sealed(manifest: dict[str, Any]) -> bytes:
    """Return canonical bytes with a checksum of their own, so that a changed byte of the manifest shows too."""
    return _canonical({**manifest, "checksum": hashlib.sha256(_canonical(manifest)).hexdigest()})


def _opened(content: bytes) -> dict[str, Any]:
    """Parse a manifest; refuse unless it is byte for byte what `_sealed` would write."""
    try:
        manifest = json.loads(content.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{MANIFEST} is not valid JSON: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ArtifactError(f"{MANIFEST} is not that of an axiswatch model.")
    if manifest.get("format_version") != FORMAT_VERSION:
        raise ArtifactError(
            f"Format version {manifest.get('format_version')!r} is unknown; this program reads version "
            f"{FORMAT_VERSION}: train again, or score with the release that made it."
        )
    manifest.pop("checksum", None)
    if _sealed(manifest) != content:
        raise ArtifactError(f"{MANIFEST} was changed: it does not match its own checksum.")
    return manifest
