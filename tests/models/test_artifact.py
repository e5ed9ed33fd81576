"""Artifacts: the same bytes for the same model, and nothing accepted that was touched."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import models.artifact
from models.artifact import MANIFEST, ArtifactError, load, model_version, pack, save, unpack
from models.model import Model
from models.training.report import TrainingReport

Trained = tuple[Model, TrainingReport, dict[str, Any]]
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def files(trained: Trained) -> Files:
    return pack(trained[0], training_data_hash="abc", metrics=trained[1].as_dict(), settings={"scope": "acceleration"})


def resealed(files: Files, change: Callable[[dict[str, Any]], object]) -> Files:
    """A forger's manifest: changed, with hashes and checksum right again."""
    manifest = json.loads(files[MANIFEST])
    manifest.pop("checksum")
    for name in manifest["files"]:
        if name in files:
            content = files[name]
            manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    change(manifest)

    def canonical(value: object) -> bytes:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    checksum = hashlib.sha256(canonical(manifest)).hexdigest()
    return {**files, MANIFEST: canonical({**manifest, "checksum": checksum})}


def retensored(files: Files, name: str, change: Callable[[dict[str, Any]], object]) -> Files:
    """A forger's array file, with hashes right again."""
    arrays = dict(load_tensors(files[name]))
    change(arrays)
    return resealed({**files, name: save_tensors(arrays)}, lambda manifest: None)


@pytest.mark.parametrize("kind", ["trained", "baseline_only"])
def test_packing_what_was_unpacked_gives_the_same_bytes_and_scores(kind: str, request: pytest.FixtureRequest) -> None:
    model, _, data = request.getfixturevalue(kind)
    files = pack(model)
    again = unpack(files, expect_feature_version="fv1")
    assert pack(again) == files
    a, b = model.score(data["x"]), again.score(data["x"])
    for name in vars(a):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_the_manifest_says_what_it_is(files: Files) -> None:
    manifest = json.loads(files[MANIFEST])
    assert manifest["training_data_hash"] == "abc"
    assert manifest["settings"]["scope"] == "acceleration" and manifest["settings"]["n_samples"] == 20
    assert manifest["metrics"]["overall"]["accuracy"] > 0.5
    assert manifest["classes"] == ["healthy", "inner", "outer"] and manifest["fault_prior"] == 0.05
    assert set(manifest["files"]) == set(files) - {MANIFEST}
    assert model_version(files) == hashlib.sha256(files[MANIFEST]).hexdigest()[:16]


def test_everything_is_part_of_the_version(trained: Trained, files: Files) -> None:
    model, _, _ = trained
    other = pack(model, training_data_hash="abd")
    assert len({model_version(files), model_version(other), model_version(pack(model))}) == 3


def test_a_flipped_byte_anywhere_is_refused(files: Files) -> None:
    rng = np.random.default_rng(0)
    for name, content in files.items():
        spots = {0, 8, len(content) // 2, len(content) - 1, *rng.integers(0, len(content), 60).tolist()}
        for spot in spots:
            bad = bytearray(content)
            bad[spot] ^= 1 << int(rng.integers(8))
            with pytest.raises(ArtifactError):
                unpack({**files, name: bytes(bad)})


def test_truncated_missing_and_additional_files_are_refused(files: Files) -> None:
    for name in files:
        with pytest.raises(ArtifactError):
            unpack({n: c for n, c in files.items() if n != name})
        with pytest.raises(ArtifactError):
            unpack({**files, name: files[name][:-1]})
        with pytest.raises(ArtifactError):
            unpack({**files, name: b""})
    with pytest.raises(ArtifactError, match=r"notes\.txt"):
        unpack({**files, "notes.txt": b"hello"})
    with pytest.raises(ArtifactError, match=MANIFEST):
        model_version({})


@pytest.mark.parametrize(
    "name", ["../weights", "/etc/passwd", "a/b", "a\\b", "..", ".hidden", "", "c:x", "a\0b", "naïve"]
)
def test_hostile_names_are_refused(files: Files, name: str) -> None:
    with pytest.raises(ArtifactError, match="not acceptable"):
        unpack({**files, name: b""})


def test_another_feature_version_is_refused(files: Files) -> None:
    with pytest.raises(ArtifactError, match=r"'fv1'.*'fv2'"):
        unpack(files, expect_feature_version="fv2")


def test_absurd_sizes_are_refused(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArtifactError, match="at most 64"):
        unpack({**files, **{f"f{i}": b"" for i in range(64)}})
    monkeypatch.setattr(models.artifact, "MAX_MANIFEST_BYTES", 100)
    with pytest.raises(ArtifactError, match="at most 100 "):
        unpack(files)


def test_sizes_are_checked_before_reading(files: Files, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name, content in files.items():
        (tmp_path / "a" / name).write_bytes(content)
    with (tmp_path / "a" / "weights.safetensors").open("r+b") as stream:
        stream.truncate(models.artifact.MAX_FILE_BYTES + 1)  # sparse: takes no space
    with pytest.raises(ArtifactError, match="bytes; at most"):
        load(tmp_path / "a")


MANIFEST_FORGERIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "format": lambda m: m.update(format="other"),
    "a refit too many": lambda m: m["refits"].append({}),
    "a rule for a refit alone": lambda m: m["refits"].__setitem__(0, {"weights": [0.1], "default_nats": 2.0, "x": 1}),
    "refits that are no list": lambda m: m.update(refits={}),
    "format version": lambda m: m.update(format_version=models.artifact.FORMAT_VERSION + 1),
    "kind": lambda m: m.update(kind="baseline_only"),
    "kind unknown": lambda m: m.update(kind="oracle"),
    "kind no string": lambda m: m.update(kind=["classification"]),
    "classes": lambda m: m["classes"].append("ball"),
    "classes renamed": lambda m: m.update(classes=["a", "b", "c"]),
    "feature names": lambda m: m["feature_names"].pop(),
    "feature names repeated": lambda m: m.update(feature_names=["f"] * 12),
    "feature names no strings": lambda m: m.update(feature_names=list(range(12))),
    "feature version": lambda m: m.update(feature_version=None),
    "temperature 0": lambda m: m["temperature"].update(value=0.0),
    "temperature no number": lambda m: m["temperature"].update(value="hot"),
    "temperature gone": lambda m: m.pop("temperature"),
    "prior": lambda m: m.update(fault_prior=1.5),
    "prior gone": lambda m: m.update(fault_prior=None),
    "hidden": lambda m: m["network"].update(hidden=[24, 17]),
    "hidden of lists": lambda m: m["network"].update(hidden=[[24], {}]),
    "hidden too many": lambda m: m["network"].update(hidden=[24] * 50),
    "dropout": lambda m: m["network"].update(dropout=1.0),
    "dropout true": lambda m: m["network"].update(dropout=True),
    "network gone": lambda m: m.update(network=None),
    "sub-banks": lambda m: m.update(sub_bank_size=7),
    "sub-banks 0": lambda m: m.update(sub_bank_size=0),
    "samples": lambda m: m.update(n_samples=21),
    "neighbours": lambda m: m.update(novelty_neighbours=10**9),
    "neighbours 0": lambda m: m.update(novelty_neighbours=0),
    "settings": lambda m: m.update(settings=[]),
    "files": lambda m: m.update(files={}),
    "files no dict": lambda m: m.update(files=[1]),
    "file entry": lambda m: m["files"].update({"masks.safetensors": None}),
}


@pytest.mark.parametrize("case", MANIFEST_FORGERIES)
def test_a_forged_manifest_that_does_not_fit_is_refused(files: Files, case: str) -> None:
    assert pack(unpack(resealed(files, lambda m: None))) == files  # the forger's tool itself is right
    with pytest.raises(ArtifactError):
        unpack(resealed(files, MANIFEST_FORGERIES[case]))


def put(name: str, value: Callable[[Any], Any]) -> Callable[[dict[str, Any]], object]:
    return lambda arrays: arrays.update({name: value(arrays[name].copy())})


def spoiled(array: Any, value: float) -> Any:
    array.reshape(-1)[0] = value
    return array


ARRAY_FORGERIES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "nan weight": ("weights", put("weight.1", lambda a: spoiled(a, np.nan))),
    "infinite bias": ("weights", put("bias.0", lambda a: spoiled(a, np.inf))),
    "weight shape": ("weights", put("weight.1", lambda a: a[:, 1:])),
    "weight dimensions": ("weights", put("weight.1", lambda a: a[None])),
    "bias shape": ("weights", put("bias.2", lambda a: a[:-1])),
    "weight type": ("weights", put("weight.0", lambda a: a.astype(np.float64))),
    "weight gone": ("weights", lambda arrays: arrays.pop("weight.2")),
    "weight too many": ("weights", lambda arrays: arrays.update(extra=np.zeros(3))),
    "mask shape": ("masks", put("layer.0", lambda a: a[:, 1:])),
    "mask rows": ("masks", put("layer.0", lambda a: a[5:])),
    "mask dimensions": ("masks", put("layer.0", lambda a: a.reshape(-1))),
    "scale 0": ("scaler", put("scale", lambda a: spoiled(a, 0.0))),
    "centre nan": ("scaler", put("center", lambda a: spoiled(a, np.nan))),
    "centre shape": ("scaler", put("center", lambda a: a[1:])),
    "group negative": ("scaler", put("group", lambda a: a - 1)),
    "group huge": ("scaler", put("group", lambda a: spoiled(a, 10**12))),
    "novelty rows": ("novelty", put("rows", lambda a: a[:0])),
    "novelty nan": ("novelty", put("rows", lambda a: spoiled(a, np.nan))),
    "novelty columns": ("novelty", put("rows", lambda a: a[:, 1:])),
    "novelty components": ("novelty", put("components", lambda a: a[0])),
    "novelty shrink": ("novelty", put("shrink", lambda a: -a)),
    "correction infinite": ("calibration", put("log_prior_correction", lambda a: spoiled(a, np.inf))),
    "quantiles fall": ("calibration", put("quantiles.novelty_raw", lambda a: a[::-1].copy())),
    "quantiles gone": ("calibration", lambda arrays: arrays.pop("quantiles.mutual_information")),
}


@pytest.mark.parametrize("case", ARRAY_FORGERIES)
def test_forged_arrays_that_do_not_fit_are_refused(files: Files, case: str) -> None:
    name, change = ARRAY_FORGERIES[case]
    with pytest.raises(ArtifactError):
        unpack(retensored(files, f"{name}.safetensors", change))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"a":NaN}', b"[" * 100_000, b"\xff\xfe", b'{"format":"axiswatch-model"}']
)
def test_a_manifest_that_is_no_json_is_refused(files: Files, content: bytes) -> None:
    with pytest.raises(ArtifactError):
        unpack({**files, MANIFEST: content})


def test_a_manifest_in_another_spelling_is_refused(files: Files) -> None:
    with pytest.raises(ArtifactError, match="checksum"):
        unpack({**files, MANIFEST: json.dumps(json.loads(files[MANIFEST]), indent=1, sort_keys=True).encode()})


def test_nan_metrics_cannot_be_stored(trained: Trained) -> None:
    with pytest.raises(ArtifactError, match="plain JSON"):
        pack(trained[0], metrics={"accuracy": float("nan")})


def test_save_and_load(trained: Trained, tmp_path: Path) -> None:
    model, _, _ = trained
    folder = tmp_path / "models" / "m1"
    version = save(model, folder)
    assert save(model, folder) == version
    assert pack(load(folder, expect_feature_version="fv1")) == pack(model)
    assert [p.name for p in folder.parent.iterdir()] == ["m1"]
    (folder / "extra.txt").write_text("x")
    with pytest.raises(ArtifactError, match=r"extra\.txt"):
        load(folder)
    with pytest.raises(ArtifactError, match="cannot be written"):
        save(model, folder)
    assert [p.name for p in folder.parent.iterdir()] == ["m1"]


def test_links_and_subfolders_are_refused(trained: Trained, tmp_path: Path) -> None:
    save(trained[0], tmp_path / "m")
    (tmp_path / "m" / "sub").mkdir()
    with pytest.raises(ArtifactError, match="not a plain file"):
        load(tmp_path / "m")
    (tmp_path / "m" / "sub").rmdir()
    (tmp_path / "m" / "link").symlink_to(tmp_path / "m" / MANIFEST)
    with pytest.raises(ArtifactError, match="not a plain file"):
        load(tmp_path / "m")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load(tmp_path / "none")


def test_no_pickle_anywhere() -> None:
    for path in Path(models.artifact.__file__).parent.glob("*.py"):
        text = path.read_text()
        for word in ("import pickle", "torch.load", "torch.save", "joblib", "allow_pickle"):
            assert word not in text, (path.name, word)
        if path.name != "artifact.py":
            for word in ("import os", "pathlib", "open(", "import io"):
                assert word not in text, (path.name, word)
