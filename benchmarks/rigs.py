"""Fault type on bearings, rigs and fault sizes never trained on: the table of docs/results/evaluate.md.

    python benchmarks/rigs.py MANIFEST [--root FOLDER] [--methods default,rules,random_forest] [--seeds 1]
        [--protocols NAME,NAME] [--features FILE]

Each row is what `axiswatch evaluate --protocol NAME` gives, with the settings in force. The features of all recordings
are extracted once, not once for each protocol; FILE keeps them for the next run, so that a change of the model alone is
judged in a minute. Delete it when features, mappings or data have changed.

recordings: `accuracy_vote`. review_10: errors in the top 10 % by entropy / min(all errors, 10 %). wrong, all in review:
`wrong_reviewed` and `review_rate` at the default settings. blocked: windows, recordings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import joblib

from pipeline.base.sources import load_settings
from pipeline.evaluation import classification
from pipeline.evaluation.dataset import Dataset, load_dataset
from pipeline.evaluation.protocol import Protocol, load_protocol
from pipeline.evaluation.reporting.output import summarise
from pipeline.evaluation.selection import Selection, select

RIGS = ("leave-out-cwru-drive-end", "leave-out-cwru-fan-end", "leave-out-uestc", "leave-out-hit-sm")
ROTATIONS = ("cwru-fault-type-14-21-to-7", "cwru-fault-type-7-21-to-14", "cwru-fault-type-7-14-to-21")
PROTOCOLS = (*RIGS, "cwru-fault-type-uestc-7-14-21-to-28", *ROTATIONS)
MEANS = {"mean of drive end, fan end, UESTC": RIGS[:3], "mean of the rotations": ROTATIONS}
COLUMNS = ("accuracy_vote", "nll", "nll_scored", "review_10", "error_auroc", "wrong_reviewed", "review_rate")
SHOWN = (*COLUMNS, "blocked", "blocked_vote", "seconds")
Row = Mapping[str, float | None]


def chosen(manifest: Path, name: str) -> tuple[Protocol, Selection]:
    """Return a protocol of kind `classification` and its rows."""
    protocol = load_protocol(name)
    assert isinstance(protocol, Protocol)
    return protocol, select(manifest, protocol)


def features(manifest: Path, root: Path | None, names: Sequence[str], kept: Path | None) -> Dataset:
    """Return the windows of all rows that a protocol uses."""
    if kept is not None and kept.is_file():
        return joblib.load(kept)
    rows = {row.line: row for name in names for row in chosen(manifest, name)[1].rows}
    dataset = load_dataset(manifest, [rows[line] for line in sorted(rows)], load_settings(), root=root)
    if kept is not None:
        joblib.dump(dataset, kept)
    return dataset


def line(name: str, method: str, row: Row) -> str:
    """Return a line of the table."""
    cells = ["-" if row[column] is None else f"{row[column]:.3f}" for column in SHOWN]
    return " | ".join(["", name, method, *cells, ""]).strip()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--methods", default="default,rules,random_forest")
    parser.add_argument("--protocols", default=",".join(PROTOCOLS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--features", type=Path)
    asked = parser.parse_args()
    names, methods = asked.protocols.split(","), asked.methods.split(",")
    started = time.perf_counter()
    dataset = features(asked.manifest, asked.root, names, asked.features)
    print(f"features: {time.perf_counter() - started:.0f} s, {len(dataset.windows)} windows")
    print(" | ".join(["", "protocol", "method", *SHOWN, ""]).strip())
    print("| --- " * (len(SHOWN) + 2) + "|")
    found: dict[tuple[str, str], Row] = {}
    for name in names:
        protocol, selection = chosen(asked.manifest, name)
        own = replace(dataset, windows=dataset.windows.of_rows(selection.rows))
        task = classification.prepare(protocol, selection, own, load_settings())
        result = classification.evaluate_classification(task, methods=methods, seeds=range(1, asked.seeds + 1))
        for method, row in summarise(result.runs).items():
            found[name, method] = row
            print(line(name, method, row), flush=True)
    for title, members in MEANS.items():
        for method in methods if set(members) <= set(names) else ():
            values = {c: [found[name, method][c] for name in members] for c in SHOWN}
            mean = {c: None if None in v else fmean(x for x in v if x is not None) for c, v in values.items()}
            print(line(title, method, mean))


if __name__ == "__main__":
    main()
