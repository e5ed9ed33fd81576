"""The JSON interface, version 1: writing. It can do all that the pages can do, by the same functions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field

from pipeline.accounts import Account
from pipeline.cases import quiet as muting
from pipeline.cases import work as case_work
from pipeline.cases.effects import settle
from pipeline.cases.remembering import recall
from pipeline.cases.verdicts import give_verdict, give_verdicts
from pipeline.labels.labels import LONGEST_NOTE
from pipeline.labels.words import Cause, Component, Evidence, Mode, Severity, Verdict
from review.access import needs
from review.api import REFUSED

router = APIRouter(prefix="/api/v1", responses=REFUSED)
Reviewer = Annotated[Account, needs("reviewer")]
MOST_IN_BULK = 200


def _storable(text: str) -> str:
    """Refuse text that a database cannot store: with a NUL, or with half of a surrogate pair."""
    text.encode()
    if "\0" in text:
        raise ValueError("the text has a NUL character; remove it")
    return text


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is out of range in UTC") from error


Text = Annotated[str, AfterValidator(_storable)]
Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


def _words(kind: Any, *, empty: bool = True) -> Any:
    return Field(*([""] if empty else []), json_schema_extra={"enum": [*([""] if empty else []), *map(str, kind)]})


class FindingBody(BaseModel, extra="forbid"):
    """A finding: words of the taxonomy; times in ISO 8601 with an offset, which may be left out."""

    verdict: Text = _words(Verdict, empty=False)
    evidence: Text = _words(Evidence, empty=False)
    component: Text = _words(Component)
    mode: Text = _words(Mode)
    cause: Text = _words(Cause)
    severity: Text = _words(Severity)
    confidence: float | None = Field(None, ge=0, le=1)
    note: Text = Field("", max_length=LONGEST_NOTE)
    channel: Text = Field("", max_length=200)
    from_at: Text = ""
    to_at: Text = ""

    def cells(self) -> dict[str, str]:
        """Return the fields of a label as text; empty fields are left out."""
        values = {name: "" if value is None else str(value) for name, value in self.model_dump().items()}
        return {name: value for name, value in values.items() if value or name in ("verdict", "evidence")}


class CaseFinding(FindingBody):
    """A finding on one case and on look-alikes of it.

    `also`: open cases that get it in the same transaction. `shown`: what the case's `shown` was when it was read; where
    something was found since, the finding is refused.
    """

    also: list[Text] = Field(default_factory=list, max_length=MOST_IN_BULK)
    shown: int | None = None

    def cells(self) -> dict[str, str]:
        """Return the fields of a label as text; empty fields are left out."""
        return {name: value for name, value in super().cells().items() if name not in ("also", "shown")}


class BulkFinding(BaseModel, extra="forbid"):
    """One finding for many cases."""

    case_ids: list[Text] = Field(min_length=1, max_length=MOST_IN_BULK)
    finding: FindingBody


class Comment(BaseModel, extra="forbid"):
    """A comment."""

    text: Text = Field(min_length=1, max_length=case_work.LONGEST_COMMENT)


class WorkOrder(BaseModel, extra="forbid"):
    """The number of a work order; empty removes it."""

    number: Text = Field(max_length=100)


class HandOver(BaseModel, extra="forbid"):
    """The reviewer who gets the claim; empty releases the case."""

    to: Text = Field(max_length=200)


class Snooze(BaseModel, extra="forbid"):
    """The end of the snooze; null: until the case gets worse."""

    until: Moment | None = None


class Mute(BaseModel, extra="forbid"):
    """The reason for a mute, and its end."""

    reason: Text = Field(min_length=1, max_length=muting.LONGEST_REASON)
    until: Moment


class Unmute(BaseModel, extra="forbid"):
    """The reason to end a mute."""

    reason: Text = Field(min_length=1, max_length=muting.LONGEST_REASON)


@router.post("/cases/{case_id}/claim")
def claim(request: Request, account: Reviewer, case_id: str) -> dict[str, Any]:
    """Claim a case, or extend your own claim."""
    app = request.app.state
    minutes = app.settings.review_claim_minutes
    return case_work.claim(app.store, case_id, who=account.name, at=app.clock(), minutes=minutes)


@router.post("/cases/{case_id}/release")
def release(request: Request, account: Reviewer, case_id: str) -> dict[str, Any]:
    """End your own claim."""
    app = request.app.state
    case_work.release(app.store, case_id, who=account.name, at=app.clock())
    return {"case_id": case_id, "claimed_by": None}


@router.post("/cases/{case_id}/hand-over")
def hand_over(request: Request, account: Reviewer, case_id: str, body: HandOver) -> dict[str, str]:
    """Hand the claim over to another reviewer, or release the case."""
    app = request.app.state
    minutes = app.settings.review_claim_minutes
    case_work.hand_over(app.store, case_id, to=body.to, who=account.name, at=app.clock(), minutes=minutes)
    return {"case_id": case_id, "claimed_by": body.to}


@router.post("/cases/{case_id}/verdict")
def verdict(request: Request, account: Reviewer, case_id: str, finding: CaseFinding) -> dict[str, Any]:
    """Record a finding, and return what it changes (`effect`).

    On a closed case it is added as a later finding, with the time at which it became known.
    """
    app = request.app.state
    hours, at = app.settings.state_period_hours, app.clock()
    shown = None if finding.shown is None else {case_id: finding.shown}
    act: dict[str, Any] = {"who": account.name, "at": at, "period_hours": hours, "shown": shown}
    told = give_verdict(app.store, case_id, finding.cells(), also=finding.also, **act)
    recall(app.store, finding.also, weights=app.settings.memory_weights, as_of=at)
    return told | {"effect": settle(app.store, case_id, weights=app.settings.memory_weights, as_of=at)}


@router.post("/bulk/verdict")
def bulk_verdict(request: Request, account: Reviewer, body: BulkFinding) -> dict[str, Any]:
    """Record one finding for many cases; return the recorded cases, and the refused ones with the reasons."""
    app = request.app.state
    hours, at = app.settings.state_period_hours, app.clock()
    told = give_verdicts(app.store, body.case_ids, body.finding.cells(), who=account.name, at=at, period_hours=hours)
    recall(app.store, [one["case_id"] for one in told["done"]], weights=app.settings.memory_weights, as_of=at)
    return told


@router.post("/cases/{case_id}/undo")
def undo(request: Request, account: Reviewer, case_id: str) -> dict[str, Any]:
    """Withdraw your own last verdict on a case; its look-alikes go back at once."""
    app = request.app.state
    at = app.clock()
    told = case_work.undo(app.store, case_id, who=account.name, at=at)
    return told | {"effect": settle(app.store, case_id, weights=app.settings.memory_weights, as_of=at)}


@router.post("/cases/{case_id}/snooze")
def snooze(request: Request, account: Reviewer, case_id: str, body: Snooze) -> dict[str, Any]:
    """Snooze a case until a time, or until it gets worse."""
    app = request.app.state
    case_work.snooze(app.store, case_id, who=account.name, at=app.clock(), until=body.until)
    return {"case_id": case_id, "state": "snoozed", "until": body.until}


@router.post("/cases/{case_id}/wake")
def wake(request: Request, account: Reviewer, case_id: str) -> dict[str, Any]:
    """End the snooze of a case."""
    app = request.app.state
    case_work.wake(app.store, case_id, who=account.name, at=app.clock())
    return {"case_id": case_id, "state": "open"}


@router.post("/cases/{case_id}/comment")
def comment(request: Request, account: Reviewer, case_id: str, body: Comment) -> dict[str, str]:
    """Add a comment."""
    app = request.app.state
    case_work.comment(app.store, case_id, body.text, who=account.name, at=app.clock())
    return {"case_id": case_id}


@router.post("/cases/{case_id}/work-order")
def work_order(request: Request, account: Reviewer, case_id: str, body: WorkOrder) -> dict[str, str]:
    """Store the number of the case's work order."""
    app = request.app.state
    case_work.set_work_order(app.store, case_id, body.number, who=account.name, at=app.clock())
    return {"case_id": case_id, "work_order": body.number}


@router.post("/axes/{axis_id}/mute")
def mute(request: Request, account: Reviewer, axis_id: str, body: Mute) -> dict[str, Any]:
    """Keep the cases of an axis out of the queue until a time, for a reason."""
    app = request.app.state
    return muting.mute(app.store, axis_id, reason=body.reason, until=body.until, who=account.name, at=app.clock())


@router.post("/axes/{axis_id}/unmute")
def unmute(request: Request, account: Reviewer, axis_id: str, body: Unmute) -> dict[str, Any]:
    """Show the cases of an axis in the queue again."""
    app = request.app.state
    return muting.unmute(app.store, axis_id, reason=body.reason, who=account.name, at=app.clock())
