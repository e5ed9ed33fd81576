"""`axiswatch evaluate` on small archives made here, and on a real one where it is at hand."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import models.training.tune as tuning
from features.extract import RecordingWindows, extract_together
from features.health.trend import running_median
from features.kinematics import Orders
from features.long_lines import long_windows, with_long_lines
from features.recording_lines import average_lines
from features.settings import FeatureSettings, feature_names
from models.methods import METHODS as SCORING_METHODS
from models.training.shared_fits import SharedFits
from pipeline.base.settings import Settings
from pipeline.cli.evaluate import commit_of
from pipeline.evaluation import EvaluationRefused, Request, evaluate, report, write
from pipeline.evaluation.classification import prepare
from pipeline.evaluation.dataset import load_dataset
from pipeline.evaluation.figures import COLUMNS
from pipeline.evaluation.forest import DEFAULT
from pipeline.evaluation.methods import METHODS, with_seed
from pipeline.evaluation.protocol import load_protocol
from pipeline.evaluation.selection import select
from pipeline.evaluation.trend import WIDTH, Run, judge_run, lasting_onset, rms_twice, shipped_rule
from pipeline.extraction.in_force import feature_settings

DATA = os.environ.get("AXISWATCH_TEST_DATA", "")
RATE, RPM = 6000.0, 1800.0
WINDOW = 6144
ORDERS = {"inner": 5.4152, "outer": 3.5848}

MAPPING = """
version = 1
name = "bench"
[signal]
format = "parquet"
file = { column = "path" }
column = { value = "x" }
[recording]
site = { value = "lab" }
robot_id = { column = "bearing" }
axis = { value = "A1" }
channel = { value = "x" }
quantity = { value = "acceleration" }
unit = { column = "measured_in" }
sampling_rate_hz = { value = 6000 }
rate_basis = { value = "declared" }
shaft_speed_rpm = { value = 1800 }
speed_is_steady = { value = true }
unit_serial = { column = "bearing" }
[time]
basis = "synthetic"
start = 2000-01-01T00:00:00Z
spacing_s = 3600
recording = { column = "path" }
[asset]
geometry = { value = "b" }
[geometry.b]
bpfo = 3.5848
bpfi = 5.4152
bsf = 2.35675
ftf = 0.39828
shafts = [0.37]
source = "made up"
"""

PROTOCOL = """
name = "bench"
kind = "classification"
label = "finding"
healthy = "fine"
unit = "bearing"
vote = "path"
[train]
bearing = ["?1", "?2", "?3"]
[test]
bearing = ["?4"]
"""


def signal_of(kind: str, seed: int, windows: int) -> np.ndarray:
    """Noise, and for a fault impulses at its order that excite a resonance at 1.5 kHz."""
    rng = np.random.default_rng(seed)
    n = windows * WINDOW
    x = rng.normal(0.0, 0.3, n)
    if kind in ORDERS:
        hits = np.cumsum(rng.normal(1.0, 0.01, int(n / RATE * ORDERS[kind] * RPM / 60))) / ORDERS[kind] / (RPM / 60)
        pulses = np.zeros(n)
        pulses[(hits * RATE).astype(int) % n] = 3.0
        t = np.arange(200) / RATE
        x += np.convolve(pulses, np.exp(-600 * t) * np.sin(2 * np.pi * 1500 * t))[:n]
    return x.astype(np.float32)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bearings F1..F4 (fine), I1..I4, O1..O4 and C4 (a class of its own), three windows each; a mapping, a protocol."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "signals").mkdir()
    lines = ["path,bearing,finding,measured_in,bench"]
    for letter, finding, kind in (("F", "fine", ""), ("I", "inner", "inner"), ("O", "outer race", "outer")):
        for number in range(1, 5):
            name = f"{letter}{number}"
            samples = signal_of(kind, ord(letter) * 10 + number, 3)
            pq.write_table(pa.table({"x": samples}), folder / "signals" / f"{name}.parquet")
            lines.append(f"signals/{name}.parquet,{name},{finding},g,one")
    pq.write_table(pa.table({"x": 5 * signal_of("", 7, 3)}), folder / "signals" / "C4.parquet")
    lines.append("signals/C4.parquet,C4,crack,g,one")
    (folder / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "map.toml").write_text(MAPPING, encoding="utf-8")
    (folder / "p.toml").write_text(PROTOCOL.replace('"?4"', '"[FIO]4"'), encoding="utf-8")
    (folder / "unseen.toml").write_text(PROTOCOL + '[unseen]\nbearing = ["C4"]\n', encoding="utf-8")
    return folder


@pytest.fixture
def small(make_settings: Callable[..., Settings]) -> Settings:
    """Settings that train in a second."""
    return make_settings(hidden=(16,), epochs=30, n_samples=20, sub_bank_size=10, folds=3)


def request(archive: Path, protocol: str | Path = "p.toml", **changes: Any) -> Request:
    path = archive / protocol if isinstance(protocol, str) else protocol
    asked = {"mappings": (str(archive / "map.toml"),), "seeds": 1} | changes
    return Request(manifest=archive / "m.csv", protocol=path, **asked)


def variant(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "variant.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_method_tells_bearings_never_trained_apart(archive: Path, small: Settings) -> None:
    found = evaluate(request(archive, seeds=2, commit="abc"), small)
    assert list(found["summary"]) == [*SCORING_METHODS, "random_forest", "rules", "default"]
    for method, row in found["summary"].items():
        assert {name for name in row if not name.endswith("_sd")} == set(COLUMNS), method
        assert row["accuracy"] > 0.6, method
        assert row["n_units"] == 3
        assert row["unseen_auroc_entropy"] is None
    assert found["summary"]["rules"]["accuracy"] == 1.0
    assert found["summary"]["random_forest"]["unseen_auroc_mi"] is None
    assert found["summary"]["rules"]["accuracy_sd"] == 0.0
    assert found["summary"]["default"] == found["summary"]["mc_dropout"]
    assert [(run["method"], run["seed"]) for run in found["runs"] if run["method"] == "rules"] == [
        ("rules", 1),
        ("rules", 2),
    ]
    assert (found["commit"], found["kind"], found["intervals"]["rules"]) == ("abc", "classification", {})
    assert found["data"]["classes"] == ["healthy", "inner", "outer race"]
    assert found["data"]["modes"] == {"inner": "inner_race", "outer race": "outer_race"}
    assert found["data"]["test"] == {"windows": 9, "units": 3}


def test_a_fit_that_methods_share_is_made_once_and_counts_in_each_row(
    archive: Path, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = count(0, 1000)
    made: list[SharedFits] = []

    def shared(_clock: Any) -> SharedFits:
        made.append(SharedFits(lambda: float(next(ticks))))
        return made[-1]

    monkeypatch.setattr("pipeline.evaluation.methods.SharedFits", shared)
    found = evaluate(request(archive, methods=("mle", "temperature", "mc_dropout", "rules")), small)["summary"]
    assert [fits.made for fits in made] == [small.folds + 1]
    assert found["mle"]["seconds"] < 1000, "it fitted them itself, in its own time"
    for method in ("temperature", "mc_dropout"):
        assert found[method]["seconds"] == pytest.approx(1000 * (small.folds + 1), abs=500), method
    assert found["rules"]["seconds"] < 1000


def test_every_row_that_learns_is_tuned_by_the_same_budget_on_training_units(
    archive: Path, small: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[set[str]] = []
    real = tuning.tune

    def spy(task: Any, progress: Any) -> Any:
        seen.append(set(task.data.unit))
        return real(task, progress)

    monkeypatch.setattr("models.training.train.tune", spy)
    settings = small.model_copy(update={"tuning_budget": 3, "tuning_min_units": 9, "epochs": 4})
    asked = ("mle", "mc_dropout", "random_forest", "rules")
    document = evaluate(request(archive, methods=asked), settings)
    assert seen == [{f"{letter}{number}" for letter in "FIO" for number in (1, 2, 3)}] * 2, "no judged unit"
    runs = {run["method"]: run["tuning"] for run in document["runs"]}
    assert runs["rules"] is None
    for method in asked[:3]:
        assert len(runs[method]["tried"]) == 3, method
        assert any(note.startswith(f"{method}: tuning: ") for note in document["notes"])
    assert runs["mle"]["tried"][1]["settings"] == runs["mc_dropout"]["tried"][1]["settings"]
    assert runs["mle"]["tried"][0]["settings"]["hidden"] == [16]
    assert runs["random_forest"]["tried"][0]["settings"] == DEFAULT
    assert (document["settings"]["tuning_budget"], document["settings"]["tuning_min_units"]) == (3, 9)
    json.dumps(document, allow_nan=False)
    refused = evaluate(
        request(archive, methods=("mle", "random_forest")), settings.model_copy(update={"tuning_min_units": 10})
    )
    for run in refused["runs"]:
        assert run["tuning"]["tried"] == ()
        assert run["tuning"]["reason"] == "not tuned: 9 held-out units, at least 10 are needed"


def test_the_option_tune_asks_for_the_budget(archive: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", "from pipeline.cli import main; main()", "evaluate"]
    words += ["--manifest", str(archive / "m.csv")]
    words += ["--mapping", str(archive / "map.toml"), "--protocol", str(archive / "p.toml"), "--seeds", "1"]
    words += ["--methods", "random_forest", "--tune", "2", "--out", str(tmp_path / "out"), "--json"]
    environment = {**os.environ, "AXISWATCH_TUNING_MIN_UNITS": "9", "AXISWATCH_HOME": str(tmp_path)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert len(run["tuning"]["tried"]) == 2


def test_the_same_again_is_the_same(archive: Path, small: Settings) -> None:
    first, second = (evaluate(request(archive, methods=("default", "random_forest")), small) for _ in range(2))
    for document in (first, second):
        for row in (*document["summary"].values(), *(run["metrics"] for run in document["runs"])):
            row.pop("seconds")
    assert first == second


def test_features_are_those_of_the_product(archive: Path, small: Settings) -> None:
    protocol = load_protocol(archive / "p.toml")
    selection = select(archive / "m.csv", protocol)
    windows = load_dataset(archive / "m.csv", selection.rows, small, mappings=[str(archive / "map.toml")]).windows
    own = windows.take(windows.cells("bearing") == "I1")
    settings = feature_settings(small, "acceleration")
    samples = pq.read_table(archive / "signals" / "I1.parquet")["x"].to_numpy()
    length = int(own.n_samples[0])
    cut = samples[: len(own) * length].reshape(-1, length) * np.float32(9.80665)
    orders = Orders(bpfo=3.5848, bpfi=5.4152, bsf=2.35675, ftf=0.39828, shafts=(0.37,))
    recording, good = RecordingWindows(cut, RATE, True, RPM, True, orders), np.ones(len(cut), dtype=np.bool_)
    expected = average_lines(extract_together([recording], settings)[0].values, good, settings)
    with_long_lines([expected], [good], [long_windows(recording, good, settings)], settings)
    np.testing.assert_array_equal(own.x, expected)
    assert own.names == feature_names(settings)
    assert own.shaft_hz.tolist() == [30.0] * len(own)
    assert (own.orders[0].bpfi, own.orders[0].shafts) == (5.4152, (0.37,))


def test_unseen_windows_are_positives_and_outside_all_other_figures(archive: Path, small: Settings) -> None:
    with_unseen = evaluate(request(archive, "unseen.toml", methods=("rules", "default")), small)
    without = evaluate(request(archive, methods=("rules", "default")), small)
    for method in ("rules", "default"):
        one, other = with_unseen["summary"][method], without["summary"][method]
        assert one["accuracy"] == other["accuracy"]
        assert one["nll"] == pytest.approx(other["nll"])
        assert one["unseen_auroc_entropy"] is not None
    assert with_unseen["summary"]["rules"]["unseen_auroc_novelty"] is None
    assert with_unseen["summary"]["default"]["unseen_auroc_novelty"] == 1.0, "five times as loud as anything trained"
    assert with_unseen["summary"]["default"]["unseen_auroc_routed"] > 0.8
    assert with_unseen["runs"][0]["units"]["C4 (unseen)"]["accuracy"] is None


def test_a_shared_unit_is_cut_in_time_and_outside_the_summary(archive: Path, small: Settings, tmp_path: Path) -> None:
    text = (archive / "p.toml").read_text("utf-8").replace('"[FIO]4"', '"[FIO]4", "I1"')
    path = variant(tmp_path, text.replace("[train]", 'shared_units = ["I1"]\n[train]'))
    found = evaluate(request(archive, path, methods=("rules",)), small)
    assert found["data"]["leaked_units"] == ["I1"]
    assert found["summary"]["rules"]["n_units"] == 3
    assert found["leaked_summary"]["rules"]["n_units"] == 1
    protocol = load_protocol(path)
    selection = select(archive / "m.csv", protocol)
    dataset = load_dataset(archive / "m.csv", selection.rows, small, mappings=[str(archive / "map.toml")])
    task = prepare(protocol, selection, dataset, small)
    trained = task.training.windows.started_s[task.training.unit == "I1"]
    judged = task.judged.windows.started_s[task.judged.unit == "I1"]
    assert len(trained) == len(judged) == 1, "of three windows the middle one is the gap"
    assert trained.max() < judged.min()


def test_only_files_of_rows_that_are_used_are_opened(archive: Path, small: Settings, tmp_path: Path) -> None:
    lines = (archive / "m.csv").read_text("utf-8").splitlines()
    manifest = tmp_path / "m.csv"
    manifest.write_text("\n".join([*lines, "signals/gone.parquet,Z9,fine,g,one"]) + "\n", encoding="utf-8")
    asked = Request(manifest, archive / "p.toml", archive, (str(archive / "map.toml"),), ("rules",), 1)
    assert evaluate(asked, small)["summary"]["rules"]["accuracy"] == 1.0
    used = manifest.read_text("utf-8").replace("signals/I4.parquet", "signals/gone.parquet")
    manifest.write_text(used, encoding="utf-8")
    with pytest.raises(EvaluationRefused, match=r"gone\.parquet' does not exist"):
        evaluate(asked, small)


def test_rows_that_no_mapping_selects_are_told_or_refused(archive: Path, small: Settings, tmp_path: Path) -> None:
    part = tmp_path / "part.toml"
    part.write_text(MAPPING + '[select]\nbearing = ["[FIO]?"]\n', encoding="utf-8")
    found = evaluate(request(archive, "p.toml", mappings=(str(part),), methods=("rules",)), small)
    assert found["left_out"] == {}
    part.write_text(MAPPING + '[select]\nbearing = ["F?", "I?", "O[124]"]\n', encoding="utf-8")
    found = evaluate(request(archive, mappings=(str(part),), methods=("rules",)), small)
    assert found["left_out"] == {"rows that no mapping selects": 1}
    with pytest.raises(EvaluationRefused, match="no mapping selects any row"):
        evaluate(request(archive, mappings=()), small)
    both = (str(archive / "map.toml"), str(part))
    with pytest.raises(EvaluationRefused, match="selected by several mappings"):
        evaluate(request(archive, mappings=both), small)


def test_a_blocked_recording_of_an_archive_is_judged_by_every_method_alike(
    archive: Path, small: Settings, tmp_path: Path
) -> None:
    """A flat line on one judged bearing, and a bearing with one dead stretch."""
    before = evaluate(request(archive, methods=("random_forest", "rules", "default")), small)
    for name in ("m.csv", "map.toml", "p.toml"):
        (tmp_path / name).write_text((archive / name).read_text("utf-8"), encoding="utf-8")
    (tmp_path / "signals").mkdir()
    for file in (archive / "signals").iterdir():
        (tmp_path / "signals" / file.name).write_bytes(file.read_bytes())
    flat = np.zeros_like(signal_of("", 1, 3))
    pq.write_table(pa.table({"x": flat}), tmp_path / "signals" / "O4.parquet")
    found = evaluate(request(tmp_path, methods=("random_forest", "rules", "default")), small)
    assert found["data"]["blocked"] == {"flatline": 3}
    assert found["left_out"] == {}, "nothing that is judged is left out"
    assert found["data"]["test"] == {"windows": 9, "units": 3}
    for method, row in found["summary"].items():
        assert (row["blocked"], row["blocked_vote"]) == (pytest.approx(1 / 3), pytest.approx(1 / 3)), method
        assert row["accuracy_vote"] <= before["summary"][method]["accuracy_vote"] * 2 / 3 + 1e-9, method
        assert row["accuracy"] <= 2 / 3 + 1e-9, method
    units = found["runs"][0]["units"]
    assert (units["O4"]["blocked"], units["O4"]["accuracy"], units["I4"]["blocked"]) == (3, 0.0, 0)
    protocol = load_protocol(tmp_path / "p.toml")
    selection = select(tmp_path / "m.csv", protocol)
    dataset = load_dataset(tmp_path / "m.csv", selection.rows, small, mappings=[str(tmp_path / "map.toml")])
    task = prepare(protocol, selection, dataset, small)
    prediction = METHODS["mc_dropout"](with_seed(task.training, 1, make=False)).predict(task.judged.windows)
    assert prediction.order is not None
    assert prediction.review is not None
    hidden = task.judged.blocked & ~prediction.review
    assert hidden.any()
    assert prediction.order[hidden].max() < prediction.order[~task.judged.blocked].min(), "no one looks at it"


def test_a_model_that_cannot_tell_leaves_every_window_in_doubt(archive: Path, small: Settings, tmp_path: Path) -> None:
    """Every class of the training is one bearing of each kind, so nothing carries over to the next bearing."""
    words = ("fine", "inner", "outer race")
    lines = (archive / "m.csv").read_text("utf-8").splitlines()
    for place, line in enumerate(lines[1:], 1):
        path, bearing, finding, *rest = line.split(",")
        if finding in words and not bearing.endswith("4"):
            finding = words[(words.index(finding) + int(bearing[1])) % 3]
        lines[place] = ",".join([path, bearing, finding, *rest])
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    asked = Request(tmp_path / "m.csv", archive / "p.toml", archive, (str(archive / "map.toml"),), ("default",), 1)
    assert evaluate(asked, small)["summary"]["default"]["review_rate"] == 1.0
    sound = evaluate(request(archive, methods=("default",)), small)
    assert sound["summary"]["default"]["review_rate"] < 1.0


def test_the_same_samples_under_two_units_are_told_and_neither_learned_nor_judged_twice(
    archive: Path, small: Settings, tmp_path: Path
) -> None:
    """F2 again as a bearing that is judged; I1 again in the training, once as inner and once as outer race."""
    lines = (archive / "m.csv").read_text("utf-8").splitlines()
    for copy, of, finding in (("F4b", "F2", "fine"), ("I3b", "I3", "inner"), ("O3b", "I1", "outer race")):
        lines.append(f"signals/{copy}.parquet,{copy},{finding},g,one")
        (tmp_path / "signals").mkdir(exist_ok=True)
        shutil.copy(archive / "signals" / f"{of}.parquet", tmp_path / "signals" / f"{copy}.parquet")
    for path in (archive / "signals").iterdir():
        shutil.copy(path, tmp_path / "signals" / path.name)
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    text = (archive / "p.toml").read_text("utf-8")
    protocol = variant(tmp_path, text.replace('"?3"]', '"?3", "?3b"]').replace('"[FIO]4"', '"[FIO]4", "F4b"'))
    asked = Request(tmp_path / "m.csv", protocol, None, (str(archive / "map.toml"),), ("rules",), 1)
    found = evaluate(asked, small)
    once, differ = (
        f"windows with the same samples as another recording, {end}" for end in ("used once", "labels differ")
    )
    assert found["left_out"] == {once: 6, differ: 6}
    assert (found["data"]["train"]["units"], found["data"]["test"]["units"]) == (8, 3), "all but I1; F4, I4, O4"
    told = [note for note in found["notes"] if "same samples" in note]
    assert [re.findall(r"[FIO]\d\w?", note) for note in told] == [["F2", "F4b"], ["I1", "O3b"], ["I3", "I3b"]]
    assert "which label is right?" in told[1]


def test_levels_are_left_out_where_a_scale_is_not_declared(archive: Path, small: Settings, tmp_path: Path) -> None:
    """A raw signal a thousand times as loud is judged as before: no feature that is left knows its scale."""
    lines = (archive / "m.csv").read_text("utf-8").splitlines()
    raw = [line.replace(",g,one", ",raw,two") if "4.parquet" in line else line for line in lines]
    (tmp_path / "m.csv").write_text("\n".join(raw) + "\n", encoding="utf-8")
    (tmp_path / "signals").mkdir()
    for path in (archive / "signals").iterdir():
        gain = np.float32(1000.0 if "4" in path.stem else 1.0)
        pq.write_table(pa.table({"x": pq.read_table(path)["x"].to_numpy() * gain}), tmp_path / "signals" / path.name)
    asked = Request(tmp_path / "m.csv", archive / "p.toml", None, (str(archive / "map.toml"),), (), 1)
    found = evaluate(asked, small)
    assert any("the unit of acceleration:raw is not declared" in note for note in found["notes"])
    assert found["summary"]["random_forest"]["accuracy"] > 0.6
    based = (archive / "p.toml").read_text("utf-8").replace("[train]", 'baseline_by = "bench"\n[train]')
    path = variant(tmp_path, based.replace('"[FIO]4"', '"[IO]4"') + '[baseline]\nbearing = ["F[14]"]\n')
    found = evaluate(
        Request(tmp_path / "m.csv", path, None, (str(archive / "map.toml"),), ("rules", "default"), 1), small
    )
    assert found["data"]["features"] == 2 * len(feature_names(feature_settings(small, "acceleration")))


def test_rules_are_null_where_classes_are_no_bearing_faults(archive: Path, small: Settings, tmp_path: Path) -> None:
    manifest = tmp_path / "m.csv"
    manifest.write_text((archive / "m.csv").read_text("utf-8").replace("outer race", "worn belt"), encoding="utf-8")
    asked = Request(manifest, archive / "p.toml", archive, (str(archive / "map.toml"),), ("rules", "random_forest"), 1)
    found = evaluate(asked, small)
    assert found["summary"]["rules"]["accuracy"] is None
    assert found["summary"]["random_forest"]["accuracy"] is not None
    assert any("'worn belt' is not a bearing fault" in note for note in found["notes"])


def test_the_report_escapes_what_it_shows_and_loads_nothing(archive: Path, small: Settings, tmp_path: Path) -> None:
    found = evaluate(request(archive, methods=("rules",)), small)
    found["notes"] = ["<script>alert(1)</script>"]
    page = report(found)
    assert "<script" not in page
    assert "http" not in page
    document, html = write(tmp_path / "out" / "deep", found)
    assert json.loads(document.read_text("utf-8"))["protocol"] == "bench"
    assert html.read_text("utf-8") == page


def test_a_command_from_manifest_to_json(archive: Path, cli: Any) -> None:
    small = {"hidden": "[16]", "epochs": 5, "n_samples": 20}
    asked = ("--manifest", archive / "m.csv", "--protocol", archive / "p.toml", "--mapping", archive / "map.toml")
    found = cli("evaluate", *asked, "--seeds", "1", "--out", "results", "--json", **small).json()
    assert list(found) == ["protocol", "commit", "summary", "runs"]
    assert found["summary"]["rules"]["accuracy"] == 1.0
    written = json.loads((cli.home / "results" / "evaluation.json").read_text("utf-8"))
    assert {name: written[name] for name in found} == found
    assert (cli.home / "results" / "report.html").is_file()
    wrong = cli("evaluate", *asked, "--methods", "rules,guess", "--out", "results")
    assert (wrong.code, "has no 'guess'" in wrong.err) == (2, True)
    bare = cli("evaluate", "--protocol", archive / "p.toml", "--out", "results")
    assert (bare.code, "give their manifest" in bare.err) == (1, True)
    refused = cli("evaluate", *asked[:2], "--protocol", "cwru-fault-type-7-14-to-21", "--out", "results")
    assert refused.code == 1
    assert "the manifest has no column 'label'" in refused.err
    assert "Traceback" not in refused.err


def test_the_commit_is_named_and_whether_files_were_changed_since(tmp_path: Path) -> None:
    assert commit_of(tmp_path).startswith("version ")
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not there")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    (tmp_path / "a").write_text("1", encoding="utf-8")
    for words in (("init", "-q"), ("add", "a"), (*who, "commit", "-q", "-m", "first")):
        subprocess.run([git, *words], cwd=tmp_path, check=True)
    head = subprocess.run([git, "rev-parse", "HEAD"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert commit_of(tmp_path) == head.stdout.strip()
    (tmp_path / "a").write_text("2", encoding="utf-8")
    assert commit_of(tmp_path) == f"{head.stdout.strip()} dirty"


# ------------------------------------------------------------------------------------------------ trend and healthy

SNAPSHOT = """
[[process]]
kind = "cut_every"
samples = 2048
"""

NAMES = feature_names(FeatureSettings())
TREND = 'name = "t"\nkind = "trend"\nunit = "bearing"\n[test]\nbearing = ["*"]\n'
HEALTHY_KIND = 'name = "h"\nkind = "healthy"\nunit = "bearing"\n[test]\nbearing = ["*"]\n'


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run `sound` stays as it is; run `failing` is three times as loud in its last quarter. 140 snapshots each."""
    folder = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(4)
    for name in ("sound", "failing"):
        x = rng.normal(0.0, 1.0, 140 * 2048)
        if name == "failing":
            x[105 * 2048 :] *= 3.0
        pq.write_table(pa.table({"x": x.astype(np.float32)}), folder / f"{name}.parquet")
    rows = [f"{name}.parquet,{name},,g,one" for name in ("sound", "failing")]
    (folder / "m.csv").write_text("\n".join(["path,bearing,finding,measured_in,bench", *rows]) + "\n", encoding="utf-8")
    (folder / "map.toml").write_text(MAPPING + SNAPSHOT, encoding="utf-8")
    (folder / "t.toml").write_text(TREND, encoding="utf-8")
    (folder / "h.toml").write_text(HEALTHY_KIND, encoding="utf-8")
    return folder


def test_a_step_in_level_is_found_when_it_comes(runs: Path, small: Settings) -> None:
    found = evaluate(request(runs, "t.toml"), small)
    assert list(found["summary"]) == ["default", "rms_twice", "rms_mad"]
    by_method = {run["method"]: run["units"] for run in found["runs"]}
    # The median of 6 is above the limit when half of it is loud: 3 snapshots after the 105th.
    assert by_method["rms_twice"]["failing"]["lead_time"] == pytest.approx(32 / 140, abs=1 / 140)
    assert by_method["default"]["failing"]["lead_time"] == by_method["rms_twice"]["failing"]["lead_time"]
    for name in ("default", "rms_twice"):
        assert by_method[name]["failing"]["false_alarms"] == 0
        assert by_method[name]["sound"] == {
            "lead_time": 0.0,
            "first_alarm": 0.0,
            "alarms": 0,
            "false_alarms": 0,
            "false_alarm_share": 0.0,
            "review_rate": 0.0,
        }, name
    assert found["summary"]["rms_twice"]["alarms"] == 1
    assert found["summary"]["rms_twice"]["n_units"] == 2


def test_a_rule_without_a_threshold_has_no_figures_rather_than_none_found() -> None:
    values = np.full((140, len(NAMES)), np.nan, dtype=np.float32)
    values[30:] = np.random.default_rng(1).normal(size=(110, len(NAMES)))
    run = Run("gap", NAMES, {"one": values}, 140, 28)
    assert shipped_rule(run) is None
    assert rms_twice(run) is None


def test_a_run_is_judged_by_its_lasting_alarm() -> None:
    on = np.zeros(100, dtype=bool)
    assert lasting_onset(on) is None
    on[30:32] = on[80:] = True
    found = judge_run(on, 20)
    assert found["lead_time"] == pytest.approx(0.2)
    assert found["first_alarm"] == pytest.approx(0.7)
    assert (found["alarms"], found["false_alarms"]) == (1, 1)
    assert found["false_alarm_share"] == pytest.approx(2 / 30)
    assert found["review_rate"] == pytest.approx(22 / 80)
    assert lasting_onset(np.ones(3, dtype=bool)) == 0


def test_a_spike_is_no_alarm_and_a_gap_no_spike() -> None:
    values = np.ones(20)
    values[10], values[15] = 100.0, np.nan
    np.testing.assert_array_equal(running_median(values, width=WIDTH), np.ones(20))


def test_a_run_without_enough_of_a_beginning_is_refused(runs: Path, small: Settings, tmp_path: Path) -> None:
    path = variant(tmp_path, TREND.replace("[test]", "baseline_share = 0.1\n[test]"))
    with pytest.raises(EvaluationRefused, match=r"'failing': it has 140 snapshots, and the first 14 .* needs 25"):
        evaluate(request(runs, path), small)


def test_healthy_runs_are_counted_by_recording(runs: Path, small: Settings) -> None:
    found = evaluate(request(runs, "h.toml"), small)
    row = found["summary"]["default"]
    assert (row["recordings"], row["alarms"], row["n_units"]) == (224, 0, 2)
    by_unit = found["runs"][0]["units"]
    assert by_unit["failing"]["reviews"] >= 30, "the loud quarter is new"
    assert by_unit["sound"]["reviews"] <= 10
    low, high = found["intervals"]["default"]["review_rate"]
    assert low < row["review_rate"] < high
    assert any("time of the same units" in note for note in found["notes"])


# ------------------------------------------------------------------------------------------------------- real data


@pytest.mark.skipif(not DATA, reason="AXISWATCH_TEST_DATA does not name the folder of real recordings")
def test_a_real_rotation_judges_three_bearings_never_trained(small: Settings) -> None:
    asked = Request(Path(DATA) / "manifest.csv", "cwru-fault-type-7-14-to-21", methods=("rules", "default"), seeds=1)
    found = evaluate(asked, small)
    assert found["data"]["train"]["units"] == 6
    assert found["data"]["test"] == {"windows": 140, "units": 3}
    assert found["left_out"] == {}
    assert found["summary"]["rules"]["accuracy"] > 0.7, "the physics needs no training"
    assert found["summary"]["default"]["fault_auroc"] is None, "there is no healthy class"
