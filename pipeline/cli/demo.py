"""The command that `make demo` runs."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.common import AsJson, emit, moment, out, progress, table
from pipeline.cli.review import print_queue

if TYPE_CHECKING:
    from pipeline.store.database import Store


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog="Example: axiswatch demo --folder demo")(demo)


def demo(
    folder: Annotated[Path, typer.Option(help="Folder for all files of the demonstration.")] = Path("demo"),
    robots: Annotated[int, typer.Option(min=1, help="Robots in the fleet, six axes each.")] = 12,
    days: Annotated[int, typer.Option(min=4, help="Days to simulate.")] = 14,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the fleet.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Process a simulated fleet from its first log to the review queue, and compare the result with the truth.

    All files stay in the folder; the settings home, database_url, lake_url and landing are not used. A second call
    repeats no step.
    """
    from pipeline.base.sources import load_settings
    from pipeline.cases.queue import queue
    from pipeline.cases.verdicts import fleet_states
    from pipeline.demo import demo_settings, run_demo
    from pipeline.simulation import FleetSettings
    from pipeline.store.database import Store

    settings = demo_settings(load_settings(), folder)
    fleet = FleetSettings(robots=robots, days=days, seed=seed)
    with progress("demo", as_json) as bar:

        def on_progress(step: str, done: int, total: int) -> None:
            if bar is not None:
                bar(done, total, step)

        report = run_demo(settings, fleet, on_progress=on_progress)
    store = Store.open(settings.database)
    cases = queue(store, as_of=moment(None))
    states = Counter(axis["state"] for axis in fleet_states(store))
    summary = {**vars(report), "states": dict(states), "open_cases": len(cases)}
    emit(summary, as_json, lambda: _show(store, summary, cases, folder))


def _show(store: Store, summary: dict[str, Any], cases: list[dict[str, Any]], folder: Path) -> None:
    print_queue(store, cases[:10], total=len(cases))
    reasons = Counter(reason["code"] for case in cases for reason in case["reasons"])
    table(["open cases by reason", ""], reasons.most_common(), f"{len(cases)} open cases")
    table(["state of the axes now", ""], sorted(summary["states"].items()))
    model = summary["model"]
    overall = model["metrics"]["overall"]
    out.print(
        f"Model {model['model_version']}: {model['n_windows']} labelled windows of {model['n_units']} units; "
        f"on units held out: fault AUROC {overall['fault_auroc']:.3f}, macro AUROC {overall['macro_auroc']:.3f}, "
        f"NLL {overall['nll']:.2f}.",
        markup=False,
    )
    rows = []
    for kind, groups in summary["truth"]["axes"].items():
        for group, outcomes in groups.items():
            if sum(outcomes.values()):
                rows.append((kind, group.split()[0], sum(outcomes.values()), *outcomes.values()))
    table(
        ["true condition of the axis", "labelled", "axes", "alarm", "review", "data case", "nothing"],
        rows,
        "Compared with the truth (labelled axes may be in the training data; only the others are a fair test)",
    )
    unseen = summary["truth"]["axes"]
    review = 100 * (summary["truth"]["review_rate"] or 0)
    live, healthy = unseen["known fault"]["without findings"], unseen["healthy"]["without findings"]
    out.print(
        f"On axes without findings: {live['alarm']} of {sum(live.values())} faults raised an alarm, "
        f"{live['review']} were sent to review, {live['nothing']} were missed; {healthy['alarm']} of "
        f"{sum(healthy.values())} healthy axes had a false alarm. Share of axis bins sent to review: {review:.1f} %.",
        markup=False,
    )
    here = Path(sys.argv[0])
    if here.is_relative_to(Path.cwd()):
        here = here.relative_to(Path.cwd())
    out.print(
        f"Next:\n  export AXISWATCH_HOME={folder}\n  {here} queue            the review queue\n"
        f"  {here} case ID          one case\n  {here} label ID VERDICT record a finding\n"
        f"  {here} --help           all other commands",
        markup=False,
        highlight=False,
    )
