"""Target of the models' files: damaged ones are refused, forged ones too or they score without an error."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fuzz.bytes_damage import Rng, damage_bytes
from benchmarks.fuzz.outcomes import Given, Outcome
from benchmarks.fuzz.text_damage import damaged_json, odd_json
from models.artifact import MANIFEST, ArtifactError, load, pack
from models.model import Model
from models.network import NetworkSettings
from models.settings import TrainingSettings
from models.training.train import train


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def sealed(files: dict[str, bytes], manifest: dict[str, Any]) -> dict[str, bytes]:
    """Return the files with a manifest whose hashes and checksum are right: what somebody who forges would write."""
    manifest = dict(manifest)
    manifest.pop("checksum", None)
    if isinstance(manifest.get("files"), dict):
        manifest["files"] = {
            name: {"sha256": hashlib.sha256(files[name]).hexdigest(), "size": len(files[name])}
            for name in manifest["files"]
            if name in files
        }
    checksum = hashlib.sha256(_canonical(manifest)).hexdigest()
    return {**files, MANIFEST: _canonical({**manifest, "checksum": checksum})}


class Artifacts:
    """`models.artifact.load` and a score of what it returns."""

    name = "artifacts"
    refusals: tuple[type[Exception], ...] = (ArtifactError,)
    wrapped: tuple[type[Exception], ...] = (ArtifactError,)
    calls = 1

    def prepare(self, folder: Path) -> None:
        """Train two small models."""
        self.folder = folder / "model"
        rng = np.random.default_rng(5)
        settings = TrainingSettings(
            epochs=3,
            fixed_epochs=3,
            n_samples=20,
            sub_bank_size=5,
            folds=3,
            seed=3,
            network=NetworkSettings(hidden=(8, 4)),
        )
        self.whole: list[dict[str, bytes]] = []
        for classes in (("healthy", "inner", "outer"), ("healthy",)):
            unit = np.repeat(np.arange(12), 20)
            y = unit % len(classes)
            self.x = (rng.normal(0, 1, (240, 6)) + y[:, None]).astype(np.float32)
            model, _ = train(
                self.x,
                y.astype(np.int64),
                np.array([f"serial-{i}" for i in unit]),
                classes=classes,
                feature_names=tuple(f"f{i}" for i in range(6)),
                feature_version="fv1",
                feature_groups=tuple("aabbcc"),
                settings=settings,
            )
            self.whole.append(pack(model))

    def damaged(self, rng: Rng) -> Given:
        """Damage a file, forge a manifest or arrays, or put odd things into the folder."""
        files = dict(self.whole[int(rng.integers(len(self.whole)))])
        names, draw = sorted(files), rng.random()
        name = names[int(rng.integers(len(names)))]
        others = [one[name] for one in self.whole if name in one]
        if draw < 0.3:
            damage, files[name] = damage_bytes(rng, files[name], others)
            return Given(damage, (files, -1))
        manifest = json.loads(files[MANIFEST])
        if draw < 0.4:
            damage, files[MANIFEST] = damaged_json(rng, manifest)
            return Given(f"manifest, {damage}", (files, -1))
        if draw < 0.65:
            for _ in range(int(rng.choice([1, 1, 2]))):
                manifest = odd_json(rng, manifest)
            if not isinstance(manifest, dict):
                manifest = {"format": "axiswatch-model"}
            try:
                return Given("forged manifest", (sealed(files, manifest), -1))
            except (ValueError, UnicodeError, RecursionError):
                return Given("forged manifest", ({**files, MANIFEST: b"{}"}, -1))
        if draw < 0.9:
            name = [one for one in names if one != MANIFEST][int(rng.integers(len(names) - 1))]
            files[name] = damage_arrays(rng, files[name])
            return Given("forged arrays", (sealed(files, manifest), -1))
        return Given("odd things in the folder", (files, int(rng.integers(len(ODD)))))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Write the folder, load it, and score with it."""
        files, odd = given.what
        self.folder.unlink() if self.folder.is_file() else shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
        if odd >= 0:
            ODD[odd](self.folder)
        model = load(self.folder)
        if not given.damage.startswith("forged"):
            same = pack(model) == files and files in self.whole
            return (Outcome.TAKEN, "as it was") if same else (Outcome.WRONG, "taken, though it was changed")
        return Outcome.TAKEN, self._score(model)

    def _score(self, model: Model) -> str:
        try:
            scores = model.score(self.x[:, : len(model.feature_names)])
        except ValueError as error:
            if "feature" in str(error):
                return f"scores other features: {error}"
            raise
        finite = np.asarray(scores.finite)
        return f"{finite.mean():.2f} of the scores are finite"


def damage_arrays(rng: Rng, data: bytes) -> bytes:
    """Damage a safetensors file: its header as JSON, or values of its arrays."""
    (size,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    draw = rng.random()
    if draw < 0.4:
        text = json.dumps(odd_json(rng, header)).encode("utf-8", "replace")
        return struct.pack("<Q", len(text)) + text + body
    if draw < 0.6:
        names = list(header)
        a, b = (names[int(rng.integers(len(names)))] for _ in range(2))
        header[a], header[b] = header[b], header[a]
        text = json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + body
    if draw < 0.9 and len(body) >= 8:
        out = bytearray(body)
        for _ in range(int(rng.choice([1, 4, 100]))):
            at = int(rng.integers(len(out) // 4)) * 4
            odd = (np.nan, np.inf, -1.0, 0.0, 3e38, 1e-40)[int(rng.integers(6))]
            width = "<d" if at % 8 == 0 and rng.random() < 0.5 else "<f"
            out[at : at + struct.calcsize(width)] = struct.pack(width, odd)
        return data[: 8 + size] + bytes(out[: len(body)])
    return damage_bytes(rng, data)[1]


ODD: tuple[Any, ...] = (
    lambda folder: (folder / "sub").mkdir(),
    lambda folder: os.mkfifo(folder / "pipe"),
    lambda folder: (folder / "link.safetensors").symlink_to("/dev/zero"),
    lambda folder: (folder / MANIFEST).unlink(),
    lambda folder: (folder / "scaler.safetensors").unlink(),
    lambda folder: (folder / "more.safetensors").write_bytes(b"x"),
    lambda folder: (folder / "a b\n").write_bytes(b"x"),
    lambda folder: open(os.fsencode(folder) + b"/\xff", "wb").close(),  # noqa: PTH123
    lambda folder: [(folder / f"f{n}").write_bytes(b"") for n in range(100)],
    lambda folder: os.truncate(folder / "scaler.safetensors", 2**40),
    lambda folder: os.truncate(folder / MANIFEST, 2**32),
    shutil.rmtree,
    lambda folder: (shutil.rmtree(folder), folder.write_bytes(b"a file"), None)[2],
)
