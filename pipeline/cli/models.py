"""Commands about models: list, show, compare, promote, rollback, approve, refuse, decisions, retrain, rescore."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipeline.cli.common import (
    MODELS,
    AsJson,
    AsOf,
    Who,
    counts,
    emit,
    flat,
    moment,
    opened_store,
    out,
    table,
    user,
    workplace,
)

models_app = typer.Typer(no_args_is_help=True, help="Trained models: versions, champion and challenger of each scope.")


def _not_empty(text: str) -> str:
    if not text.strip():
        raise typer.BadParameter("the reason is empty; give one")
    return text


Version = Annotated[str, typer.Argument(help="Version from `axiswatch models list`.")]
Reason = Annotated[str, typer.Option(help="Reason; recorded in the history.", callback=_not_empty)]
ScopeOption = Annotated[str | None, typer.Option(help="Model scope, e.g. acceleration.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command(rich_help_panel=MODELS, epilog="Example: axiswatch retrain --scope acceleration")(retrain)
    app.add_typer(models_app, name="models", rich_help_panel=MODELS)
    app.command(rich_help_panel=MODELS, epilog="Example: axiswatch rescore --scope acceleration")(rescore)
    app.command(rich_help_panel=MODELS, epilog="Example: axiswatch payback --limit 1")(payback)


@models_app.command("list", epilog="Example: axiswatch models list --json")
def models_list(as_json: AsJson = False) -> None:
    """List model versions, oldest first, with their held-out figures and aliases.

    Each version is judged on its own held-out units; `axiswatch models compare` has two on the same units.
    """
    from pipeline.registry.versions import OVERALL_ON, list_versions

    versions = [{**row, "figures_on": OVERALL_ON} for row in list_versions(opened_store())]

    def show() -> None:
        table(
            ["version", "scope", "kind", "units", "windows", "macro AUROC", "fault AUROC", "NLL", "trained", "alias"],
            [
                (
                    row["model_version"],
                    row["scope"],
                    row["kind"],
                    row["n_units"],
                    row["n_windows"],
                    *(row["metrics"]["overall"].get(name) for name in ("macro_auroc", "fault_auroc", "nll")),
                    row["known_at"],
                    ", ".join(row["aliases"]) or ("files deleted" if row["files_deleted_at"] else ""),
                )
                for row in versions
            ],
            f"Figures: {OVERALL_ON}",
        )

    emit(versions, as_json, show)


@models_app.command("show", epilog="Example: axiswatch models show ae3b21048e8cd173")
def models_show(version: Version, as_json: AsJson = False) -> None:
    """Show a version: its training data and settings, its held-out figures by unit, and its history."""
    from pipeline.registry.versions import show_version

    record = show_version(opened_store(), version)

    def show() -> None:
        columns = ("scope", "kind", "feature_version", "label_cutoff", "training_data_hash", "n_units", "n_windows")
        lineage = record["lineage"] or {}
        facts = [(name.replace("_", " "), record[name]) for name in (*columns, "known_at")]
        facts += [(name.replace("_", " "), flat(value)) for name, value in lineage.items()]
        facts += [("alias", ", ".join(record["aliases"]))]
        facts += list(record["metrics"].get("overall", {}).items())
        table(["", ""], facts, f"Model {version}")
        names = ["unit", "class_name", "n_windows", "accuracy", "nll"]
        rows = [[row[name] for name in names] for row in record["metrics"].get("units", [])]
        table(names, rows, "By unit, each held out")
        names = ["at", "alias", "action", "model_version", "previous_version", "who", "reason"]
        table(names, [[event[name] for name in names] for event in record["history"]], "History")

    emit(record, as_json, show)


@models_app.command("compare", epilog="Example: axiswatch models compare ae3b21048e8cd173 71bbf7cc9ae82d03")
def models_compare(
    challenger: Version,
    champion: Annotated[str | None, typer.Argument(help="Version to compare with (default: the champion).")] = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Show two versions of a scope side by side, and whether the gate would promote the first. Changes nothing."""
    from pipeline.promotion.promotion import compare
    from pipeline.registry.versions import champion_of, compare_versions, get_version

    place = workplace()
    other = champion or champion_of(place.store, get_version(place.store, challenger)["scope"])
    comparison = compare_versions(place.store, challenger, other)
    gate = compare(place.store, place.lake, place.settings, challenger, other, as_of=moment(as_of))
    comparison["gate"] = gate

    def show() -> None:
        head = ["", challenger, other]
        lines = [(name.replace("_", " "), *values) for name, values in comparison["lineage"].items()]
        lines += [(name, *(flat(value) for value in values)) for name, values in comparison["settings"].items()]
        table(head, lines, comparison["scope"])
        table(head, [(name, *values) for name, values in comparison["overall"].items()], comparison["overall_on"])
        words = [(f"{which} ({on})", name, *item.values()) for which, on, name, item in _measures(gate["figures"])]
        names = ["findings", "measure", "challenger", "champion", "difference", "low", "high", "margin", "risk"]
        table(names, words, "Gate: both on the same units, each unit with a finding counting once")
        counts("the gate would promote" if gate["passed"] else "the gate would keep", {"why": gate["reasons"]})()

    emit(comparison, as_json, show)


def _measures(figures: dict[str, Any]) -> list[tuple[str, str, str, dict[str, Any]]]:
    return [
        (which, f"{figures[which]['units']} units, {figures[which].get('rows', 0)} rows", name, item)
        for which in ("then", "now")
        for name, item in figures.get(which, {}).items()
        if isinstance(item, dict)
    ]


@models_app.command("promote", epilog='Example: axiswatch models promote ae3b21048e8cd173 --reason "better on R07"')
def models_promote(
    version: Version,
    reason: Reason,
    scope: ScopeOption = None,
    who: Who = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion of its scope, whatever the gate's result. The next run scores with it.

    Its artifact is read first. Exit code 1: the artifact is damaged, of another scope, or of features that are no
    longer extracted, and the champion stays; 3: there is no such version.
    """
    from pipeline.extraction.in_force import feature_versions
    from pipeline.registry.registry import promote

    place = workplace()
    change = promote(
        place.store,
        place.lake,
        version,
        who=user(who),
        reason=reason,
        at=moment(as_of),
        scope=scope,
        feature_versions=feature_versions(place.settings),
    )
    emit(change, as_json, counts("Champion", change))


@models_app.command("rollback", epilog='Example: axiswatch models rollback --reason "false alarms on R07"')
def models_rollback(
    reason: Reason,
    scope: ScopeOption = None,
    who: Who = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Make the previous champion the champion again. The next run scores with it.

    A second rollback goes back one more version. Exit code 1: the artifact is damaged or of other features; 3: there
    is no previous champion.
    """
    from pipeline.extraction.in_force import feature_versions
    from pipeline.registry.registry import rollback
    from pipeline.registry.versions import only_scope

    place = workplace()
    change = rollback(
        place.store,
        place.lake,
        scope or only_scope(place.store),
        who=user(who),
        reason=reason,
        at=moment(as_of),
        feature_versions=feature_versions(place.settings),
    )
    emit(change, as_json, counts("Champion", change))


@models_app.command("approve", epilog='Example: axiswatch models approve ae3b21048e8cd173 --reason "read the figures"')
def models_approve(
    version: Version, reason: Reason, who: Who = None, as_of: AsOf = None, as_json: AsJson = False
) -> None:
    """Promote a challenger that passed the gate and waits for approval (setting `promotion_approval`).

    Exit code 1: the champion has changed since the challenger was judged; 3: the challenger does not wait for approval.
    """
    from pipeline.promotion.promotion import approve

    place = workplace()
    change = approve(place.store, place.lake, place.settings, version, who=user(who), reason=reason, at=moment(as_of))
    emit(change, as_json, counts("Champion", change))


@models_app.command("refuse", epilog='Example: axiswatch models refuse ae3b21048e8cd173 --reason "wait for teardown"')
def models_refuse(
    version: Version, reason: Reason, who: Who = None, as_of: AsOf = None, as_json: AsJson = False
) -> None:
    """Refuse a challenger that waits for approval; the champion stays."""
    from pipeline.promotion.promotion import refuse

    change = refuse(opened_store(), version, who=user(who), reason=reason, at=moment(as_of))
    emit(change, as_json, counts("Refused", change))


@models_app.command("history", epilog="Example: axiswatch models history --scope acceleration")
def models_history(scope: ScopeOption = None, as_json: AsJson = False) -> None:
    """Show every change of champion and challenger: who, when, why, and the gate's figures. Oldest first."""
    from pipeline.registry.versions import history

    rows = history(opened_store(), scope=scope)

    def show() -> None:
        names = ["at", "scope", "alias", "action", "model_version", "previous_version", "who", "reason"]
        table(names, [[row[name] for name in names] for row in rows])

    emit(rows, as_json, show)


@models_app.command("decisions", epilog="Example: axiswatch models decisions --json")
def models_decisions(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 20, as_json: AsJson = False
) -> None:
    """Show the outcome of each retraining and its reason.

    Outcomes: first (the first model of its scope), promoted, waiting (for approval), kept (the champion stays),
    unchanged (the new model is the same), refused (nothing to train on, or a run for the past), failed (the next
    attempt replaces it).
    """
    from pipeline.promotion.decisions import list_decisions

    rows = list_decisions(opened_store(), limit=limit)

    def show() -> None:
        names = ["decided_at", "scope", "trigger", "outcome", "reason", "candidate", "champion"]
        table(
            names,
            [[row[name] for name in names] for row in rows],
            "Figures in a reason: both models on the same units, each unit with a finding counting once",
        )

    emit(rows, as_json, show)


def retrain(
    scope: ScopeOption = None,
    trigger: Annotated[str, typer.Option(help="Why it is done; recorded in the decision.")] = "by hand",
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Train a challenger for each scope with labels, and promote it if it passes the gate against the champion.

    A second call with the same --as-of shows the decision of the first.
    """
    from pipeline.promotion.promotion import retrain as step
    from pipeline.promotion.promotion import scopes_to_train

    place, at = workplace(), moment(as_of)
    only = None if scope is None else [scope]
    scopes = scopes_to_train(place.store, place.settings, as_of=at, trigger=trigger, only=only)
    decisions = [step(place.store, place.lake, place.settings, name, as_of=at, trigger=trigger) for name in scopes]

    def show() -> None:
        names = ["scope", "outcome", "reason", "candidate", "champion"]
        table(
            names,
            [[row[name] for name in names] for row in decisions] or [["-", "refused", "no scope has labels", "", ""]],
        )

    emit(decisions, as_json, show)


PaybackScope = Annotated[str | None, typer.Option(help="Model scope, e.g. acceleration (default: all).")]


def rescore(scope: PaybackScope = None, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Score open cases, recently closed cases and the newest days with the champion, and store the payback."""
    from pipeline.promotion.payback import write_payback
    from pipeline.promotion.rescore import rescore as step
    from pipeline.registry.versions import champion_of, champions

    place, at = workplace(), moment(as_of)
    with place.store.read() as connection:
        named = champions(connection)
    versions = named if scope is None else {scope: champion_of(place.store, scope)}
    totals: dict[str, Any] = {"models": versions, "recordings": 0, "windows": 0, "not_scored": 0}
    for name, version in sorted(versions.items()):
        report = step(place.store, place.lake, place.settings, name, version, as_of=at).as_dict()
        for count in ("recordings", "windows", "not_scored"):
            totals[count] += report[count]
    totals["cases_judged"] = write_payback(place.store, place.settings, as_of=at, scope=scope)
    emit(totals, as_json, counts("Scored again", totals))


def payback(
    scope: PaybackScope = None,
    limit: Annotated[int, typer.Option(min=1, help="How many changes of champion, newest first.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show the benefit of new labels: decisions that a new champion changed, and how much uncertainty fell."""
    from pipeline.promotion.payback import payback as step

    rows = step(opened_store(), scope=scope, limit=limit)

    def show() -> None:
        for row in rows:
            batch, decisions = row["batch"], row["decisions"]
            facts = [
                ("labels that it did not have before", f"{batch['labels']} ({flat(batch['by_verdict'])})"),
                ("closed cases judged by both", decisions["cases"]),
                ("changed, better, worse", f"{decisions['changed']}, {decisions['better']}, {decisions['worse']}"),
            ]
            for name, fall in row["uncertainty"].items():
                facts.append((f"mutual information, {name.replace('_', ' ')}", _fall(fall)))
            table(["", ""], facts, f"{row['scope']}: {row['from']} to {row['to']} ({row['action']} by {row['who']})")
            if decisions["list"]:
                names = ["case_id", "verdict", "before", "after", "worth"]
                table(names, [[case[name] for name in names] for case in decisions["list"]], "Decisions that changed")
        if not rows:
            out.print("no champion has been replaced yet")

    emit(rows, as_json, show)


def _fall(fall: dict[str, Any]) -> str:
    if not fall["n"]:
        return "-"
    interval = "" if fall["low"] is None else f", 90 %: {fall['low']:+.4f} to {fall['high']:+.4f}"
    return f"{fall['before']:.4f} to {fall['after']:.4f} nats ({fall['change']:+.4f}{interval}), n = {fall['n']}"
