"""The real run: CWRU and UESTC imported, trained on some bearings, scored on others, figures by bearing.

    python benchmarks/real_recordings.py --data FOLDER_WITH_MANIFEST --seeds 5

Every step is the product's own: import, acquire, extract, train, score, advise. Each run gets the labels of its
training bearings only. `fault types` leaves the healthy bearing's label out, as the first rough figures did (channel
DE, three rotations over the fault diameters); `with healthy` keeps it in training.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
import sqlalchemy as sa
from sklearn.metrics import roc_auc_score

from pipeline.acquire import acquire
from pipeline.advise import advise
from pipeline.assets import import_assets
from pipeline.cases import queue
from pipeline.config import Settings, load_settings
from pipeline.contract import Limits
from pipeline.extract import extract_due
from pipeline.importing import import_archive
from pipeline.labels import import_labels
from pipeline.lake import Lake
from pipeline.retrain import train_scopes
from pipeline.schema import Score
from pipeline.score import score_due
from pipeline.store import Store

AS_OF = datetime(2005, 1, 1, tzinfo=UTC)
FAULTS = ("ball", "inner_race", "outer_race")


@dataclass(frozen=True)
class Run:
    """Which bearings are trained on and which are judged (patterns of unit serials)."""

    name: str
    scope: str
    channel: str
    train: tuple[str, ...]
    test: tuple[str, ...]


def rotations() -> list[Run]:
    """The three CWRU rotations, without and with the healthy bearing; UESTC (a bearing a class) with one left out."""
    runs = []
    for test in ("007", "014", "021"):
        train = tuple(f"*{size}" for size in ("007", "014", "021") if size != test)
        for kind, more in (("fault types", ()), ("with healthy", ("*normal*",))):
            runs.append(Run(f"CWRU, test {test}, {kind}", "acceleration", "DE", train + more, (f"*{test}",)))
    for left, name in (("O", "outer race"), ("I", "inner race"), ("B", "ball")):
        train = tuple(f"uestc_bearing_{unit}" for unit in "NBIO" if unit != left)
        runs.append(Run(f"UESTC, {name} never trained", "acceleration:raw", "acc", train, (f"uestc_bearing_{left}",)))
    return runs


def prepare(data: Path, home: Path) -> Settings:
    """Import both archives, acquire and extract them once."""
    settings = load_settings(home=home)
    store, lake = Store.open(settings.database), Lake(settings.lake)
    for name in ("cwru", "uestc"):
        report = import_archive(data / "manifest.csv", name, home / "landing")
        import_assets(store, report.assets_path, as_of=AS_OF)
        print("\n".join(report.lines()))
    limits = Limits(AS_OF, settings.max_samples, settings.max_sampling_rate_hz, settings.max_shaft_speed_rpm)
    print(acquire(store, lake, settings.landing_zone, limits=limits, settled_before=AS_OF).as_dict())
    print(extract_due(store, lake, settings, as_of=AS_OF).as_dict())
    store.dispose()
    return settings


def labels_of(home: Path, run: Run, out: Path) -> dict[str, str]:
    """Write the labels of the training bearings; give the truth of all bearings."""
    truth, kept = {}, []
    for path in sorted(home.glob("*-labels.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            truth[row["unit_serial"]] = row["mode"] or "healthy"
            if any(fnmatch(row["unit_serial"], pattern) for pattern in run.train):
                kept.append({**row, "channel": run.channel})
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, kept[0])
        writer.writeheader()
        writer.writerows(kept)
    return truth


def carry_out(base: Settings, run: Run, seed: int, folder: Path) -> tuple[pd.DataFrame, list[dict[str, object]]]:
    """Train and score one run; give the scores of the test bearings and the queue."""
    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(base.home, home)
    settings = base.model_copy(update={"home": home, "seed": seed})
    store, lake = Store.open(settings.database), Lake(settings.lake)
    truth = labels_of(home, run, folder / "labels.csv")
    import_labels(store, folder / "labels.csv", who="benchmark")
    result = train_scopes(store, lake, settings, as_of=AS_OF, scope=run.scope)[0]
    score_due(store, lake, settings, as_of=AS_OF)
    advise(store, settings, as_of=AS_OF)
    with store.read() as connection:
        query = sa.select(Score).where(Score.channel == run.channel, Score.model_version == result.model_version)
        scores = pd.DataFrame([dict(row._mapping) for row in connection.execute(query)])
    cases = queue(store)
    store.dispose()
    wanted = scores["unit_serial"].map(lambda unit: any(fnmatch(unit, pattern) for pattern in run.test))
    scores = scores[wanted & (scores["quality"] == "ok")].reset_index(drop=True)
    scores["truth"] = scores["unit_serial"].map(truth)
    return scores, cases


def figures(scores: pd.DataFrame) -> dict[str, float]:
    """Judge fault types: probabilities over the fault classes alone."""
    p = fault_type_probabilities(scores)
    y = scores["truth"].map(FAULTS.index).to_numpy()
    hot = np.eye(len(FAULTS))[y]
    wrong = p.argmax(axis=1) != y
    votes = pd.DataFrame(p).groupby(scores["recording_id"].to_numpy()).mean()
    told = pd.Series(y).groupby(scores["recording_id"].to_numpy()).first()
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
    most = np.argsort(-entropy, kind="stable")[: max(1, round(0.1 * len(y)))]
    return {
        "accuracy": 1 - wrong.mean(),
        "accuracy_vote": (votes.to_numpy().argmax(axis=1) == told.to_numpy()).mean(),
        "macro_auroc": float(np.mean([roc_auc_score(y == c, p[:, c]) for c in range(len(FAULTS))])),
        "nll": float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-300)).mean()),
        "brier": float(np.square(p - hot).sum(axis=1).mean()),
        "error_auroc": float(roc_auc_score(wrong, entropy)) if 0 < wrong.sum() < len(wrong) else float("nan"),
        "review_10": wrong[most].sum() / max(1, min(wrong.sum(), len(most))),
    }


def fault_type_probabilities(scores: pd.DataFrame) -> np.ndarray:
    """Probabilities of the fault classes given that there is a fault, shape (n, 3)."""
    p = np.array([[row.get(name, 0.0) for name in FAULTS] for row in scores["class_probabilities"]])
    return p / p.sum(axis=1, keepdims=True)


def by_unit(run: Run, scores: pd.DataFrame) -> list[dict[str, object]]:
    """Figures of each judged bearing; `right` is the share of windows whose most probable fault type is true."""
    rows = []
    for unit, own in scores.groupby("unit_serial"):
        most = fault_type_probabilities(own).argmax(axis=1)
        rows.append(
            {
                "run": run.name,
                "unit": unit,
                "windows": len(own),
                "right": float(
                    np.mean([FAULTS[index] == truth for index, truth in zip(most, own["truth"], strict=True)])
                ),
                **{
                    name: own[name].astype(float).mean()
                    for name in ("fault_probability", "mutual_information", "novelty_percentile")
                },
            }
        )
    return rows


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    pd.set_option("display.width", 200)
    pd.set_option("display.float_format", "{:.2f}".format)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = prepare(arguments.data, folder / "base")
        rows, units = [], []
        for run in rotations():
            for seed in range(1, arguments.seeds + 1):
                scores, cases = carry_out(base, run, seed, folder)
                if run.scope == "acceleration":
                    rows.append({"run": run.name, **figures(scores)})
                units += by_unit(run, scores)
            print(f"\n{run.name}: queue of the last seed:", Counter(r["code"] for c in cases for r in c["reasons"]))
            for case in cases:
                print(f"  {case['robot_id']:24} {case['priority']:.2f}", [reason["code"] for reason in case["reasons"]])
        by_run = pd.DataFrame(rows).groupby("run").mean()
        print("\nBy run, mean over seeds\n", by_run.to_string())
        for kind in ("fault types", "with healthy"):
            print(f"\nMean of the three rotations, {kind}:\n", by_run[by_run.index.str.endswith(kind)].mean())
        print("\nBy bearing, mean over seeds\n", pd.DataFrame(units).groupby(["run", "unit"]).mean().to_string())


if __name__ == "__main__":
    main()
