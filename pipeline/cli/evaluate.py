"""The command that measures."""

from __future__ import annotations

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.base.errors import SettingsError
from pipeline.base.sources import load_settings
from pipeline.cli.common import AsJson, emit, out, progress, table

STDOUT_KEYS = ("protocol", "commit", "summary", "runs")
"""What --json prints of the document."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    example = "axiswatch evaluate --manifest manifest.csv --protocol cwru-fault-type-7-14-to-21 --out results"
    app.command(epilog=f"Example: {example}")(evaluate)


def evaluate(
    folder: Annotated[Path, typer.Option("--out", help="Folder for evaluation.json and report.html.")],
    manifest: Annotated[
        Path | None, typer.Option(help="CSV with one row per signal file and channel; without it, a simulated fleet.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help="What is trained on and what is judged: a TOML file, or a shipped name.")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the signal files (default: the manifest's).")] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(help="Mapping of the manifest: a file or a shipped name; may be given several times."),
    ] = None,
    methods: Annotated[str, typer.Option(help="Rows of the table, by commas (default: all that the kind has).")] = "",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Train with the seeds 1 to this.")] = 5,
    fleets: Annotated[
        Path | None, typer.Option(help="Folder that simulated fleets are kept in (default: a temporary one).")
    ] = None,
    max_miss_rate: Annotated[
        float | None, typer.Option(help="Choose a review budget: highest share of fault units that may be missed.")
    ] = None,
    capacity: Annotated[float | None, typer.Option(help="Windows that people can review a day.")] = None,
    cases_a_day: Annotated[float | None, typer.Option(help="Windows that the plant has a day.")] = None,
    confidence: Annotated[float, typer.Option(help="Confidence of the budget's promise.")] = 0.95,
    tune: Annotated[
        int | None,
        typer.Option(
            min=0, max=73, help="Candidates of every method's settings, judged on training units (default: setting)."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure methods on units that they were not trained on, as a protocol says."""
    from pipeline.evaluation import SIMULATED_DEFAULT, BudgetAsked, Request, shipped_protocols, write
    from pipeline.evaluation import evaluate as step

    if protocol is None:
        if manifest is not None:
            raise SettingsError(f"--protocol is missing; give a TOML file or one of: {', '.join(shipped_protocols())}")
        protocol = SIMULATED_DEFAULT
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"--out {folder} is a file; name a folder")
    if max_miss_rate is None and (capacity is not None or cases_a_day is not None):
        raise SettingsError("--capacity and --cases-a-day belong to a review budget; give --max-miss-rate too")
    request = Request(
        manifest=manifest,
        protocol=protocol,
        root=root,
        mappings=tuple(mapping or ()),
        methods=tuple(name.strip() for name in methods.split(",") if name.strip()),
        seeds=seeds,
        commit=commit_of(Path(__file__).parents[2]),
        fleets=fleets,
        budget=None if max_miss_rate is None else BudgetAsked(max_miss_rate, capacity, cases_a_day, confidence),
    )
    settings = load_settings()
    if tune is not None:
        settings = settings.model_copy(update={"tuning_budget": tune})
    folder.mkdir(parents=True, exist_ok=True)  # before hours of work, not after
    with progress("evaluate", as_json) as bar:

        def on_progress(step: str, done: int, total: int) -> None:
            if bar is not None:
                bar(done, total, step)

        document = step(request, settings, on_progress=on_progress)
    paths = write(folder, document)
    keys = STDOUT_KEYS if max_miss_rate is None else (*STDOUT_KEYS, "review_budget")
    emit({key: document[key] for key in keys}, as_json, lambda: _show(document, paths))


def commit_of(folder: Path) -> str:
    """Name the state of the code: the Git commit, `dirty` where files were changed since, else the version."""
    released = f"version {version('axiswatch')}"
    if not (folder / ".git").exists():
        return released
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return f"{head} dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError) as error:
        return f"{released} (git: {error.__class__.__name__})"


def _git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def _show(document: dict[str, Any], paths: tuple[Path, ...]) -> None:
    summary = document["summary"]
    names = [name for name in next(iter(summary.values())) if not name.endswith("_sd")]
    rows = [(name, *(row.get(name) for row in summary.values())) for name in names]
    table(["", *summary], rows, f"{document['protocol']} at {document['commit']}")
    for method, chosen in document["review_budget"].items():
        word = "refused" if chosen["threshold"] is None else f"review {chosen['review_rate']:.1%} of the windows"
        if chosen["review_probability"] is not None:
            word += f" (AXISWATCH_REVIEW_PROBABILITY={chosen['review_probability']:.3g})"
        out.print(f"review budget, {method}: {word}: {chosen['reason']}", markup=False)
    for note in document["notes"]:
        out.print(f"note: {note}", markup=False)
    for reason, count in document["left_out"].items():
        out.print(f"left out: {count} {reason}", markup=False)
    out.print(f"written: {', '.join(map(str, paths))}", markup=False)
