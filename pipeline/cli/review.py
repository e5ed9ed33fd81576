"""Commands for people who review cases: queue, case, label, status."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from pipeline.base.errors import SettingsError
from pipeline.cli.common import (
    DAILY,
    AsJson,
    AsOf,
    CaseId,
    Who,
    counts,
    emit,
    flat,
    moment,
    opened_store,
    out,
    shown,
    table,
    user,
    workplace,
)
from pipeline.labels.words import Cause, Component, Evidence, Mode, Severity, Verdict

if TYPE_CHECKING:
    from pipeline.store.database import Store


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command("queue", rich_help_panel=DAILY, epilog="Example: axiswatch queue --limit 20")(show_queue)
    app.command("case", rich_help_panel=DAILY, epilog="Example: axiswatch case 3fa9c1d27be0")(show_case)
    app.command(
        rich_help_panel=DAILY,
        epilog="Example: axiswatch label 3fa9c1d27be0 fault --mode inner_race --evidence inspected",
    )(label)
    app.command(rich_help_panel=DAILY, epilog="Example: axiswatch status --json")(status)


def show_queue(
    state: Annotated[str, typer.Option(help="open, snoozed, closed or all.")] = "open",
    limit: Annotated[int | None, typer.Option(min=1, help="Show at most this many.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the review queue: the cases that an engineer should check, most urgent first."""
    from pipeline.cases.queue import Filters, count_queue, queue

    if state not in ("open", "snoozed", "closed", "all"):
        raise SettingsError(f"--state {state!r} is none of open, snoozed, closed, all")
    store, wanted, now = opened_store(), Filters(state=state), moment(None)
    cases = queue(store, wanted, as_of=now, limit=limit)

    def show() -> None:
        print_queue(store, cases, state, total=count_queue(store, wanted, as_of=now))
        if not cases:
            print_next_step(store)

    emit(cases, as_json, show)


def print_next_step(store: Store) -> None:
    """Say what to do where a plant has no recording, or nothing that scores them; nothing where it has both."""
    from pipeline.base.sources import load_settings
    from pipeline.cases.queue import lacking

    place, what = load_settings(), lacking(store)
    if what == "recordings":
        out.print(
            f"Nothing was taken in yet: no recording is stored in {place.home} (AXISWATCH_HOME chooses the folder).\n"
            f"Next step: put log files into {place.landing_zone}, then `axiswatch run`; "
            "`axiswatch demo` shows what comes of it.",
            markup=False,
            highlight=False,
        )
    elif what == "model":
        out.print(
            "Nothing was scored yet: there is no model.\n"
            "Next step: `axiswatch labels import`, then `axiswatch train` and `axiswatch run`.",
            markup=False,
            highlight=False,
        )


def print_queue(
    store: Store, cases: list[dict[str, Any]], state: str = "open", total: int | None = None, *, whole: bool = False
) -> None:
    """Print cases, each with what the pages say of it (`whole`: also its evidence)."""
    from pipeline.cases.queue import evidence_of
    from review.statements import statement_of

    with store.read() as connection:
        evidence = evidence_of(connection, [case["case_id"] for case in cases])
    of = f" of {total}" if total is not None and total != len(cases) else ""
    out.print(f"{len(cases)}{of} case{'' if len(cases) == 1 and not of else 's'} ({state})", style="bold")
    for case in cases:
        place = f"queue priority {case['queue_priority']:.2f} (priority {case['priority']:.2f})"
        out.print(f"{case['case_id']}  {axis_name(case)}  {place}", markup=False, highlight=False, style="cyan")
        span = f"{shown(case['first_at'])} to {shown(case['last_at'])}"
        said = statement_of(case, evidence.get(case["case_id"]), "en")
        answers = [" ".join(pair) for pair in said.questions]
        notes = [
            one.text + (f" (since {shown(one.since)})" if one.since else "") for one in (said.headline, *said.notes)
        ]
        channels = [one for reason in case["reasons"] for one in reason.get("channels", ()) if one.get("evidence")]
        told = [*said.evidence, *(f"{one['channel']}: {one['evidence']}" for one in channels)] if whole else []
        for text in (span, notes[0], *answers, *notes[1:], *told):
            out.print(Padding(Text(text), (0, 0, 0, 4)))
        if case["memory"] is not None:
            votes = "; ".join(f"{vote['case_id']} {_finding(vote)}" for vote in case["rests_on"])
            out.print(Padding(Text(f"Look-alikes were {case['memory']:.2f} faulty: {votes}."), (0, 0, 0, 4)))


def show_case(case_id: CaseId, as_json: AsJson = False) -> None:
    """Show one case and everything that happened to it."""
    from pipeline.cases.verdicts import get_case

    store = opened_store()
    case = get_case(store, case_id)

    def show() -> None:
        print_queue(store, [case], case["state"], whole=True)
        rows = [(event["at"], event["who"], event["action"], _details(event["details"])) for event in case["events"]]
        table(["at", "who", "what", ""], rows, "History")

    emit(case, as_json, show)


def label(
    case_id: CaseId,
    verdict: Annotated[Verdict, typer.Argument(help="The verdict on the machine.")],
    evidence: Annotated[Evidence, typer.Option(help="How the finding was made.")] = Evidence.SIGNAL_ONLY,
    component: Annotated[Component | None, typer.Option(help="The component.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="The failure mode; leave out if it is not known.")] = None,
    cause: Annotated[
        Cause | None, typer.Option(help="Why the signal looked unusual although the machine has no fault.")
    ] = None,
    severity: Annotated[Severity | None, typer.Option(help="How soon action is needed.")] = None,
    confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Your confidence in the finding, 0 to 1.")
    ] = None,
    note: Annotated[str, typer.Option(help="Free text.")] = "",
    from_at: Annotated[
        str | None, typer.Option(help="Start of the time that the finding is valid for (default: that of the case).")
    ] = None,
    to_at: Annotated[
        str | None, typer.Option(help="End of the time that the finding is valid for (default: that of the case).")
    ] = None,
    who: Who = None,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Record a finding about a case. It becomes a label, and the case is closed unless the verdict is unsure.

    It says what the finding changes: open look-alikes in the queue, the alarm level, the next training. A closed case
    can be labelled again: the new label is added. The words are explained in docs/labels.md. Exit code 1: the words
    contradict each other; 3: there is no such case.
    """
    from pipeline.cases.effects import settle
    from pipeline.cases.verdicts import give_verdict

    place, at = workplace(), moment(as_of)
    finding = {
        "verdict": str(verdict),
        "evidence": str(evidence),
        "component": str(component or ""),
        "mode": str(mode or ""),
        "cause": str(cause or ""),
        "severity": str(severity or ""),
        "confidence": "" if confidence is None else str(confidence),
        "note": note,
        "from_at": from_at or "",
        "to_at": to_at or "",
    }
    recorded = give_verdict(
        place.store,
        case_id,
        finding,
        who=user(who),
        at=at,
        period_hours=place.settings.state_period_hours,
    )
    effect = settle(place.store, case_id, weights=place.settings.memory_weights, as_of=at)

    def show() -> None:
        counts("Recorded", recorded)()
        for line in effect_sentences(effect):
            out.print(line, markup=False, highlight=False)

    emit(recorded | {"effect": effect}, as_json, show)


def effect_sentences(effect: dict[str, Any] | None) -> list[str]:
    """Write what a finding changes (`pipeline.cases.effects.effect_of`); empty where it has no effect."""
    if effect is None:
        return []
    lines = ["No open case moves in the queue."]
    if effect["up"] or effect["down"]:
        lines = [f"Open look-alikes in the queue: {effect['up']} move up, {effect['down']} move down."]
    for other in effect["look_alikes"]:
        lines.append(f"    {other['case_id']}  {axis_name(other)}  {other['moves']:+.2f}")
    if effect["level_of"] is not None:
        lines.append(f"It counts for the alarm level of site {effect['level_of'] or '-'} at its next estimate.")
    lines += [
        f"Labels that wait for the next training of {one['scope']}: {one['labels']}."
        for one in effect["training"]
        if one["labels"]
    ]
    for other in effect["disagreement"]:
        lines.append(f"Different findings on look-alikes: {other['who']} {_finding(other)}, case {other['case_id']}.")
    return lines


def _finding(row: dict[str, Any]) -> str:
    return f"{row['mode'] or row['verdict']} ({row['evidence']}) on {axis_name(row)}"


def status(
    state: Annotated[str, typer.Option(help="Only axes in this state, for example alarm.")] = "",
    audit: Annotated[
        bool, typer.Option("--audit", help="With --json: also print audits and levels, as {axes, audit, levels}.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the latest state of every axis, the levels of each site, and the miss rate that the audits measured.

    The state is that of the newest bin. An axis that was never scored is `unknown`, without a time. One in a planned
    stop says until when.
    """
    from pipeline.cases.audit import audit_figures
    from pipeline.cases.axis_state import STATES
    from pipeline.cases.verdicts import fleet_states
    from pipeline.scoring.plant_levels import list_levels

    if state and state not in STATES:
        raise SettingsError(f"--state {state!r} is none of {', '.join(STATES)}")
    store = opened_store()
    at = moment(None)
    fleet, audited, levels = fleet_states(store, at=at), audit_figures(store), list_levels(store, as_of=at)
    axes = [axis for axis in fleet if state in ("", axis["state"])]
    names = ["state", "fault_probability", "mutual_information", "novelty_percentile", "last_at"]

    def show() -> None:
        print_next_step(store)
        total = Counter(axis["state"] for axis in fleet)
        named = ", ".join(f"{name}: {count}" for name, count in sorted(total.items()))
        out.print(f"{len(fleet)} axes: {named}" if fleet else "there are no axes yet")
        for row in levels:
            figures = f"alarm {row['alarm_probability']:.3g}, review {row['review_probability']:.3g}"
            out.print(f"levels of {row['site'] or 'axes without a site'}, {row['scope']}: {figures} ({row['reason']})")
        if audited["audits"]:
            out.print(audit_sentence(audited))
        stopped = [axis for axis in fleet if axis["stopped_until"]]
        if stopped:
            out.print(f"{len(stopped)} in a planned stop: `axiswatch assets stops`")
        head = ["axis", "state", "fault probability", "mutual information", "novelty percentile", "last seen"]
        if axes:
            cells = [[axis[name] for name in names] for axis in axes]
            for one, cell in zip(axes, cells, strict=True):
                if one["stopped_until"]:
                    cell[0] = f"{cell[0]} (off until {shown(one['stopped_until'])})"
            table(head, [(axis_name(one), *cell) for one, cell in zip(axes, cells, strict=True)])

    emit({"axes": axes, "audit": audited, "levels": levels} if audit else axes, as_json, show)


def audit_sentence(figures: dict[str, Any]) -> str:
    """Write the result of the audits as one sentence."""
    if figures["miss_rate"] is None:
        return f"audits: {figures['audits']} drawn, none has an answer yet"
    return (
        f"audits: {figures['miss_rate']:.2%} of the bins without a flag have a missed fault (95 %: "
        f"{figures['low']:.2%} to {figures['high']:.2%}); {figures['answers']} answers on {figures['units']} units, "
        f"{figures['open']} open"
    )


def axis_name(row: dict[str, Any]) -> str:
    """Write the place of an axis."""
    return "/".join(part for part in (row["site"], row["cell"], row["robot_id"], row["axis"]) if part)


def _details(details: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {flat(value)}" for name, value in details.items() if value not in ("", None))
