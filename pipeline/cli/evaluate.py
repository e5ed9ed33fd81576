"""The command `evaluate`: measure methods by a protocol."""

from __future__ import annotations

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from pipeline.base.errors import SettingsError
from pipeline.cli.common import MODELS, AsJson, emit, out, progress, table

STDOUT_KEYS = ("protocol", "commit", "summary", "runs")
"""Keys of the document that --json prints."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    example = "axiswatch evaluate --manifest manifest.csv --protocol cwru-fault-type-7-14-to-21 --out results"
    app.command(rich_help_panel=MODELS, epilog=f"Example: {example}")(evaluate)


def evaluate(
    folder: Annotated[Path, typer.Option("--out", help="Folder for evaluation.json and report.html.")],
    manifest: Annotated[
        Path | None,
        typer.Option(help="CSV with one row for each signal file and channel; without it, a fleet is simulated."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(help="Protocol, which names the training and the test data: a TOML file, or a shipped name."),
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the signal files (default: the manifest's).")] = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option(help="Mapping of the manifest: a file or a shipped name; may be given several times."),
    ] = None,
    methods: Annotated[
        str, typer.Option(help="Rows of the table, separated by commas (default: all rows of the kind).")
    ] = "",
    seeds: Annotated[
        int, typer.Option(min=1, max=1000, help="Number of seeds: train with seeds 1, 2, ... up to this.")
    ] = 5,
    fleets: Annotated[
        Path | None, typer.Option(help="Folder to keep simulated fleets in (default: a temporary one).")
    ] = None,
    max_miss_rate: Annotated[
        float | None, typer.Option(help="Choose a review budget: the highest share of fault units that may be missed.")
    ] = None,
    capacity: Annotated[float | None, typer.Option(help="Number of windows that people can review a day.")] = None,
    cases_a_day: Annotated[float | None, typer.Option(help="Number of windows that the plant has a day.")] = None,
    confidence: Annotated[float, typer.Option(help="Confidence that the miss rate is kept.")] = 0.95,
    tune: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=73,
            help="Candidates for every method's settings, compared on training units (default: setting tuning_budget).",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure methods by a protocol, on units that they were not trained on."""
    from pipeline.base.sources import load_settings
    from pipeline.evaluation import SIMULATED_DEFAULT, BudgetAsked, Request, shipped_protocols, write
    from pipeline.evaluation import evaluate as step

    if protocol is None:
        if manifest is not None:
            raise SettingsError(f"--protocol is missing; give a TOML file or one of: {', '.join(shipped_protocols())}")
        protocol = SIMULATED_DEFAULT
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"--out {folder} is a file; give a folder")
    if max_miss_rate is None and (capacity is not None or cases_a_day is not None):
        raise SettingsError(
            "--capacity and --cases-a-day need --max-miss-rate, which asks for a review budget; give it"
        )
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
    folder.mkdir(parents=True, exist_ok=True)  # fails here if it cannot be written, not after hours of work
    with progress("evaluate", as_json) as bar:

        def on_progress(step: str, done: int, total: int) -> None:
            if bar is not None:
                bar(done, total, step)

        document = step(request, settings, on_progress=on_progress)
    paths = write(folder, document)
    keys = STDOUT_KEYS if max_miss_rate is None else (*STDOUT_KEYS, "review_budget")
    emit({key: document[key] for key in keys}, as_json, lambda: _show(document, paths))


def commit_of(folder: Path) -> str:
    """Return the state of the code: the Git commit, with `dirty` if files have changed since; else the version."""
    released = f"version {version('axiswatch')}"
    if not (folder / ".git").exists():
        return released
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return f"{head} dirty" if _git(folder, "status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.SubprocessError) as error:
        return f"{released} (git: {error.__class__.__name__})"


def _git(folder: Path, *words: str) -> str:
    git = shutil.which("git") or "/usr/bin/git"
    done = subprocess.run([git, *words], cwd=folder, capture_output=True, text=True, check=True, timeout=20)
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
