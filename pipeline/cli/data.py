"""Commands about data: simulate, import, labels, quarantine, the database and the lake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from pipeline.base.errors import AxiswatchError, SettingsError
from pipeline.cli.assets import assets_app
from pipeline.cli.common import (
    ADMINISTRATION,
    DATA,
    SET_UP,
    AsJson,
    AsOf,
    DryRun,
    Who,
    counts,
    emit,
    limits_of,
    moment,
    opened_store,
    out,
    progress,
    table,
    user,
    workplace,
)

labels_app = typer.Typer(no_args_is_help=True, help="Findings about units and axes.")
quarantine_app = typer.Typer(no_args_is_help=True, help="Rows and files that could not be read or are ambiguous.")
db_app = typer.Typer(no_args_is_help=True, help="The database.")
lake_app = typer.Typer(no_args_is_help=True, help="The lake.")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=SET_UP, epilog="Example: axiswatch simulate fleet --robots 4 --days 10 --seed 7")(
        simulate
    )
    app.command(rich_help_panel=DATA, epilog="Example: axiswatch retention --dry-run")(retention)
    app.command(
        "import",
        rich_help_panel=SET_UP,
        epilog="Example: axiswatch import manifest.csv --mapping cwru --landing landing",
    )(import_logs)
    for group, name, panel in (
        (assets_app, "assets", SET_UP),
        (labels_app, "labels", SET_UP),
        (quarantine_app, "quarantine", DATA),
        (lake_app, "lake", DATA),
        (db_app, "db", ADMINISTRATION),
    ):
        app.add_typer(group, name=name, rich_help_panel=panel)


def simulate(
    folder: Annotated[Path, typer.Argument(help="Folder to write to: landing/, assets.toml, labels.csv, truth.csv.")],
    robots: Annotated[int, typer.Option(help="Robots in the fleet.")] = 12,
    axes: Annotated[int, typer.Option(help="Axes of each robot.")] = 6,
    days: Annotated[int, typer.Option(help="Days to simulate.")] = 14,
    seed: Annotated[int, typer.Option(help="Seed; the same seed and settings give the same files.")] = 1,
    world: Annotated[str, typer.Option(help="A, or B: other parameters and another resonance model.")] = "A",
    as_json: AsJson = False,
) -> None:
    """Simulate a fleet of robots: logs, an asset registry, findings, and the truth for comparison."""
    from pipeline.base.sources import load_settings
    from pipeline.simulation import FleetSettings
    from pipeline.simulation import simulate as step

    fleet = FleetSettings(robots=robots, axes=axes, days=days, seed=seed, world=world)
    with progress("simulate", as_json) as on_progress:
        report = step(folder, fleet, workers=load_settings().workers, on_progress=on_progress)
    facts = dict(vars(report))
    emit(facts, as_json, counts("Simulated", facts))


def import_logs(
    manifest: Annotated[
        Path, typer.Argument(help="Manifest (CSV), or the folder of the files where the mapping has [files].")
    ],
    mapping: Annotated[
        str | None,
        typer.Option(
            help="Mapping: a TOML file, or the name of a shipped one, such as cwru. With --look: file to write."
        ),
    ] = None,
    look: Annotated[
        bool, typer.Option("--look", help="Only look at a file or folder, and write a first mapping with open marks.")
    ] = False,
    landing: Annotated[Path | None, typer.Option(help="Landing zone to write logs to (default: the setting).")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the signal files (default: the manifest's).")] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Convert an archive of signal files to contract logs, labels and an asset registry.

    Nothing is written to the database: run `axiswatch assets import`, `axiswatch labels import` and `axiswatch run`
    next.
    """
    from pipeline.base.sources import load_settings
    from pipeline.extraction.in_force import shortest_scored
    from pipeline.importing import import_archive, shipped_mappings
    from pipeline.workplace import limits_of, now

    if look:
        _look(manifest, mapping, dry_run=dry_run, as_json=as_json)
        return
    if mapping is None:
        raise AxiswatchError("a mapping is needed: --mapping FILE; axiswatch import --look SOURCE writes a first one")
    settings, at = load_settings(), now()
    target = landing if landing is not None else settings.landing_zone
    chosen = mapping if mapping in shipped_mappings() else Path(mapping)
    with progress("import", as_json) as bar:

        def on_progress(done: int, total: int, _file: str) -> None:
            if bar is not None:
                bar(done, total)

        report = import_archive(
            manifest,
            chosen,
            target,
            root=root,
            as_of=at,
            shortest=lambda quantity: shortest_scored(settings, quantity),
            limits=limits_of(settings, at),
            dry_run=dry_run,
            on_progress=on_progress,
        )
    facts = dict(vars(report))
    facts["skipped"] = [dict(vars(item)) for item in report.skipped]

    def show() -> None:
        for line in report.lines():
            out.print(line, markup=False)

    emit(facts, as_json, show)


def _look(source: Path, mapping: str | None, *, dry_run: bool, as_json: bool) -> None:
    """Show what is in a file or folder, and write a first mapping, or show it where no file for it is named."""
    from pipeline.importing.look import look
    from pipeline.workplace import now

    if mapping is not None and Path(mapping).exists():
        raise AxiswatchError(f"{mapping} is there already, and nothing was written; name another file for the mapping")
    seen = look(source, as_of=now())
    if mapping is not None and seen.mapping is not None and not dry_run:
        Path(mapping).write_text(seen.mapping, encoding="utf-8")

    def show() -> None:
        for line in seen.lines:
            out.print(line, markup=False)
        if seen.mapping is None:
            out.print("no mapping: none of the files can be read", markup=False)
        elif mapping is None or dry_run:
            out.print(f"\n{seen.mapping}", markup=False)
        else:
            out.print(
                f"first mapping in {mapping}: replace each FILL IN, then axiswatch import ... --mapping {mapping}"
            )

    emit(dict(vars(seen)), as_json, show)


def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be deleted.")] = False,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Delete what is older than `retention_months`, `superseded_days` and `landing_keep_days` allow.

    `retention_months`: recordings, features, scores and axis states, from database and lake. Recordings with a label or
    of a baseline period and their features are kept, so are the newest state of each axis and states of cases. Cases
    and labels stay for ever. `superseded_days`: scores of former champions, but for the last one and for what cases
    quote; files of models that never became champion. `landing_keep_days`: log files that are safely in the lake. Exit
    code 2: all three are 0.
    """
    from pipeline.steps import retain
    from pipeline.workplace import batch_workplace

    reports = retain(batch_workplace(), moment(as_of), dry_run=dry_run)
    if not reports:
        raise SettingsError("retention_months, superseded_days and landing_keep_days are 0, which keeps everything")

    def show() -> None:
        for name, report in reports.items():
            counts(name.capitalize(), report)()

    emit(reports, as_json, show)


@labels_app.command("import", epilog="Example: axiswatch labels import labels.csv --who inspection")
def labels_import(
    file: Annotated[Path, typer.Argument(help="CSV of findings; the columns are in docs/labels.md.")],
    who: Who = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Import findings from a labels.csv or from an export; findings that are already stored do not change.

    If anything is wrong, every problem is listed by line and nothing is stored (exit code 1). Labels of an export keep
    their authors; those that were withdrawn are left out.
    """
    from pipeline.labels.labels import import_labels

    report = import_labels(opened_store(), file, who=user(who), dry_run=dry_run)
    emit(report, as_json, counts("Labels (dry run)" if dry_run else "Labels", report))


@quarantine_app.command("list", epilog="Example: axiswatch quarantine list --all --json")
def quarantine_list(
    everything: Annotated[bool, typer.Option("--all", help="Also show entries that were accepted later.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the entries in quarantine, with all reasons."""
    from pipeline.intake.quarantine import list_quarantine

    rows = list_quarantine(opened_store(), state=None if everything else "open")

    def show() -> None:
        table(
            ["id", "file", "row", "what", "reasons", "state"],
            [
                (
                    row["quarantine_id"],
                    row["path"],
                    "file" if row["row_number"] < 0 else row["row_number"],
                    row["what"],
                    "\n".join(reason["text"] for reason in row["reasons"]),
                    row["state"],
                )
                for row in rows
            ],
            f"{len(rows)} in quarantine",
        )

    emit(rows, as_json, show)


@quarantine_app.command("show", epilog="Example: axiswatch quarantine show 5ca2686bad42")
def quarantine_show(
    quarantine_id: Annotated[str, typer.Argument(help="Id from `axiswatch quarantine list`.")], as_json: AsJson = False
) -> None:
    """Show one entry, with the values of its row."""
    from pipeline.intake.quarantine import show_quarantine

    place = workplace()
    entry = show_quarantine(place.store, place.lake, quarantine_id)

    def show() -> None:
        facts = [(name, value) for name, value in entry.items() if name not in ("reasons", "row")]
        facts += [(f"reason {reason['code']}", reason["text"]) for reason in entry["reasons"]]
        exact = {name: str(value) if isinstance(value, float) else value for name, value in entry["row"].items()}
        facts += [(f"row {name}", value) for name, value in exact.items()]
        table(["", ""], facts)

    emit(entry, as_json, show)


@quarantine_app.command("replay", epilog="Example: axiswatch quarantine replay 5ca2686bad42")
def quarantine_replay(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids to check again (default: all open entries).")] = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Check entries again with the present settings and clock; entries without a problem are accepted."""
    from pipeline.intake.quarantine import replay

    place = workplace()
    limits = limits_of(place.settings, moment(as_of))
    entries = [dict(vars(item)) for item in replay(place.store, place.lake, limits, ids or None)]

    def show() -> None:
        rows = [(f["quarantine_id"], f["accepted"], "\n".join(r["text"] for r in f["reasons"])) for f in entries]
        table(["id", "accepted", "still wrong"], rows)

    emit(entries, as_json, show)


@db_app.command("upgrade", epilog="Example: axiswatch db upgrade")
def db_upgrade(as_json: AsJson = False) -> None:
    """Update the tables to this version of axiswatch. Make a backup first."""
    from pipeline.base.sources import load_settings
    from pipeline.store.database import Store

    store = Store(load_settings().database)
    before = store.revision()
    store.upgrade()
    revisions = {"before": before, "now": store.revision()}
    emit(revisions, as_json, counts("Database", revisions))


@db_app.command("create", epilog="Example: axiswatch db create")
def db_create(as_json: AsJson = False) -> None:
    """Create the PostgreSQL database that database_url names, if the server does not have it, and its tables."""
    from pipeline.base.sources import load_settings
    from pipeline.store.database import Store, create_database

    url = load_settings().database
    created = create_database(url)
    store = Store.open(url)
    facts = {"created": created, "revision": store.revision()}
    emit(facts, as_json, counts("Database", facts))


@db_app.command("roles", epilog="Example: axiswatch db roles --app axiswatch_app")
def db_roles(
    app: Annotated[str, typer.Option(help="Role that the application, the workers and commands use; it exists.")],
    as_json: AsJson = False,
) -> None:
    """Let the application's role add to the history (verdicts, labels, models) and neither change nor delete it.

    For PostgreSQL. Run it as the database's administrator, in database_url, and again after each `db upgrade`.
    """
    from pipeline.base.sources import load_settings
    from pipeline.store.database import Store
    from pipeline.store.roles import separate

    statements = separate(Store(load_settings().database), app)
    emit(statements, as_json, lambda: out.print("\n".join(statements), markup=False, soft_wrap=True))


@lake_app.command("sweep", epilog="Example: axiswatch lake sweep --older-than-hours 24")
def lake_sweep(
    older_than_hours: Annotated[
        float, typer.Option(min=0, help="Delete only files older than this; a run writes files before it commits.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Delete files of the lake that no row of the database names: the remains of killed runs."""
    from pipeline.store.retention import sweep_lake

    place = workplace()
    older_than = moment(None) - timedelta(hours=older_than_hours)
    report = {"deleted": sweep_lake(place.store, place.lake, older_than=older_than)}
    emit(report, as_json, counts("Lake", report))
