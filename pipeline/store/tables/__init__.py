"""The tables of axiswatch's database.

Times are UTC. `known_at` is the `as_of` of the run that wrote a row; every other time is the time of an
event. Ids are hashes of natural keys (`pipeline.base.ids`), so equal inputs give equal rows
anywhere. Rows a day are given for a plant of 1,000 axes with 3 channels, 24 recordings of 4 windows a day each.
"""

from pipeline.store.tables.accounts import ApiToken, LoginFailure, User, UserSession
from pipeline.store.tables.base import Base, UtcDateTime
from pipeline.store.tables.cases import (
    TO_PLACE,
    AxisMute,
    Case,
    CaseAnswer,
    CaseEvidence,
    CaseMemory,
    CaseTally,
    CaseWork,
    Label,
    LabelWithdrawal,
    ReviewEvent,
    WebhookEvent,
)
from pipeline.store.tables.due import DueBasis, DueWork
from pipeline.store.tables.models import (
    AliasEvent,
    CaseRescore,
    Heartbeat,
    LevelReference,
    ModelAlias,
    ModelVersion,
    PlantLevel,
    RetrainingDecision,
    TaskFailure,
    TriggerDecision,
)
from pipeline.store.tables.plant import NO_GEOMETRY, Axis, AxisEvent, Geometry, GeometryName, PlannedStop, Unit
from pipeline.store.tables.scores import AxisState, Score, Scoring, Trend, TrendChange, TrendPoint
from pipeline.store.tables.signals import (
    ARCHIVE,
    Baseline,
    Extraction,
    LakeFile,
    LandingEntry,
    LogFile,
    Pruning,
    QuarantineRow,
    Recording,
)

__all__ = [
    "ARCHIVE",
    "NO_GEOMETRY",
    "TO_PLACE",
    "AliasEvent",
    "ApiToken",
    "Axis",
    "AxisEvent",
    "AxisMute",
    "AxisState",
    "Base",
    "Baseline",
    "Case",
    "CaseAnswer",
    "CaseEvidence",
    "CaseMemory",
    "CaseRescore",
    "CaseTally",
    "CaseWork",
    "DueBasis",
    "DueWork",
    "Extraction",
    "Geometry",
    "GeometryName",
    "Heartbeat",
    "Label",
    "LabelWithdrawal",
    "LakeFile",
    "LandingEntry",
    "LevelReference",
    "LogFile",
    "LoginFailure",
    "ModelAlias",
    "ModelVersion",
    "PlannedStop",
    "PlantLevel",
    "Pruning",
    "QuarantineRow",
    "Recording",
    "RetrainingDecision",
    "ReviewEvent",
    "Score",
    "Scoring",
    "TaskFailure",
    "Trend",
    "TrendChange",
    "TrendPoint",
    "TriggerDecision",
    "Unit",
    "User",
    "UserSession",
    "UtcDateTime",
    "WebhookEvent",
]
