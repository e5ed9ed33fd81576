"""The command that `make demo` runs."""

from __future__ import annotations

import socket
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.common import SET_UP, AsJson, emit, err, out, progress, table
from pipeline.cli.review import print_queue
from pipeline.cli.review_app import needs_review
from pipeline.cli.review_app import serve as serve_review
from pipeline.workplace import Workplace, clock_of, true_now

if TYPE_CHECKING:
    from pipeline.base.settings import Settings
    from pipeline.store.database import Store

HOST = "127.0.0.1"

if TYPE_CHECKING:
    from pipeline.store.database import Store


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel=SET_UP, epilog="Example: axiswatch demo --folder demo")(demo)


def demo(
    folder: Annotated[Path, typer.Option(help="Folder for all files of the demonstration.")] = Path("demo"),
    robots: Annotated[int, typer.Option(min=1, help="Robots in the fleet, six axes each.")] = 12,
    days: Annotated[int, typer.Option(min=4, help="Days to simulate.")] = 14,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the fleet.")] = 1,
    serve: Annotated[
        bool, typer.Option("--serve", help="Then serve the review application, where there is a terminal.")
    ] = False,
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of the review application; the next free one is taken.")
    ] = 8090,
    as_json: AsJson = False,
) -> None:
    """Process a simulated fleet from its first log to the review queue, and compare the result with the truth.

    All files stay in the folder; the settings home, database_url, lake_url and landing are not used. A second call
    repeats no step. The demonstration has a clock of its own, which goes on where the recordings end. With --serve the
    user demo may log in, with a password that is printed once; Ctrl-C ends it.
    """
    from pipeline.base.sources import load_settings
    from pipeline.cases.queue import queue
    from pipeline.cases.verdicts import fleet_states
    from pipeline.demo import demo_settings, keep_own_clock, run_demo
    from pipeline.simulation import FleetSettings
    from pipeline.store.database import Store

    if serve and (as_json or not (sys.stdin.isatty() and sys.stdout.isatty())):
        err.print("no terminal: the review application is not started; `axiswatch review serve` starts it")
        serve = False
    if serve:
        needs_review()
    settings = demo_settings(load_settings(), folder)
    fleet = FleetSettings(robots=robots, days=days, seed=seed)
    with progress("demo", as_json) as bar:

        def on_progress(step: str, done: int, total: int) -> None:
            if bar is not None:
                bar(done, total, step)

        report = run_demo(settings, fleet, on_progress=on_progress)
    store = Store.open(settings.database)
    settings = settings.model_copy(update=keep_own_clock(store, folder, fleet, true_time=true_now()))
    at = clock_of(settings)()
    cases = queue(store, as_of=at)
    states = Counter(axis["state"] for axis in fleet_states(store, at=at))
    summary = {**vars(report), "states": dict(states), "open_cases": len(cases)}
    emit(summary, as_json, lambda: _show(store, summary, cases, folder))
    if serve:
        _serve(settings, store, port)


def _serve(settings: Settings, store: Store, port: int) -> None:
    """Serve the review application on this computer until Ctrl-C."""
    from pipeline.demo import ACCOUNT, open_account
    from pipeline.store.lake import Lake

    password, port = open_account(store, at=clock_of(settings)()), _free(port)
    out.print(
        f"\nThe review application runs at http://{HOST}:{port}/\n"
        f"  name      {ACCOUNT}\n  password  {password}   (shown once; the next start makes another one)\n"
        "Ctrl-C ends it.",
        markup=False,
        highlight=False,
    )
    with suppress(KeyboardInterrupt):
        serve_review(Workplace(settings, store, Lake(settings.lake)), host=HOST, port=port)


def _free(port: int) -> int:
    """Return the first port from this one on at which nobody listens."""
    while port < 65_535:
        with socket.socket() as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried.bind((HOST, port))
            except OSError:
                port += 1
            else:
                break
    return port


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
        f"  {here} user add NAME --role reviewer\n  {here} review serve     the same in a browser\n"
        f"  {here} --help           all other commands",
        markup=False,
        highlight=False,
    )
