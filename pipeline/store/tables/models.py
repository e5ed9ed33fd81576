"""Tables of models: versions, aliases with their history, triggers, retraining decisions, failed tasks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.store.tables.base import Base


class ModelVersion(Base):
    """A trained model. Key: hash of its artifact's manifest. A few a week."""

    __tablename__ = "model_versions"

    model_version: Mapped[str] = mapped_column(String(16), primary_key=True)
    scope: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16), comment="classification, fault_types or baseline_only")
    feature_version: Mapped[str] = mapped_column(String(16))
    lake_prefix: Mapped[str] = mapped_column(comment="folder of the artifact in the lake")
    label_cutoff: Mapped[datetime] = mapped_column(comment="labels known by then were used")
    training_data_hash: Mapped[str] = mapped_column(String(64))
    n_units: Mapped[int]
    n_windows: Mapped[int]
    settings: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]] = mapped_column(comment="out of fold, overall and by unit")
    held_out_path: Mapped[str | None] = mapped_column(
        comment="lake file of its out-of-fold class probabilities by recording; null: none kept"
    )
    lineage: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True), comment="code, libraries, seeds, labels, champion when it was trained; null: not kept"
    )
    known_at: Mapped[datetime]


class ModelAlias(Base):
    """Which version an alias names now. Key: scope and alias."""

    __tablename__ = "model_aliases"

    scope: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(String(16), primary_key=True, comment="champion or challenger")
    model_version: Mapped[str] = mapped_column(ForeignKey("model_versions.model_version"))


class AliasEvent(Base):
    """Every change of an alias, never deleted. Key: scope, alias and count."""

    __tablename__ = "alias_events"

    scope: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(String(16), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="1, 2, 3 ...")
    action: Mapped[str] = mapped_column(
        String(16),
        comment="first, promoted, rolled_back, trained, kept, waiting or refused; the last four of a challenger only",
    )
    model_version: Mapped[str | None] = mapped_column(String(16), comment="null: the alias names nothing any more")
    previous_version: Mapped[str | None] = mapped_column(String(16))
    who: Mapped[str]
    reason: Mapped[str]
    figures: Mapped[dict[str, Any] | None] = mapped_column(
        JSON(none_as_null=True), comment="of the gate; null where none was asked"
    )
    at: Mapped[datetime]


class CaseRescore(Base):
    """How a model version judges a closed case; earlier judgements stay. Immutable.

    Key: case, scope and version. Tens after a promotion.
    """

    __tablename__ = "case_rescores"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    model_version: Mapped[str] = mapped_column(ForeignKey("model_versions.model_version"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), comment="what the case would have been; words as in axis_states")
    flags: Mapped[list[Any]] = mapped_column(comment="codes of its reasons for review")
    n_windows: Mapped[int] = mapped_column(comment="good windows of this scope")
    fault_probability: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel")
    mode: Mapped[str | None] = mapped_column(comment="most probable fault class of that channel")
    mutual_information: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel, nats")
    expected_entropy: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel, nats")
    novelty_percentile: Mapped[float | None] = mapped_column(comment="median over windows, highest channel")
    known_at: Mapped[datetime]


class TriggerDecision(Base):
    """The decision of a trigger or a guard for a scope, fired or not; the row `decision` sums them up. Never changed,
    with one exception: a scheduled run for the same time sets `by_schedule` in a row that was made by hand.

    Key: scope, trigger and as_of of the run. About a dozen a scope and day.
    """

    __tablename__ = "trigger_decisions"

    scope: Mapped[str] = mapped_column(primary_key=True)
    trigger: Mapped[str] = mapped_column(String(32), primary_key=True, comment="its name, or decision")
    decided_at: Mapped[datetime] = mapped_column(primary_key=True, comment="as_of of the run")
    position: Mapped[int] = mapped_column(comment="place in the list that is shown")
    fired: Mapped[bool] = mapped_column(Boolean, comment="asks for a retraining; of a guard: holds one back")
    reason: Mapped[str] = mapped_column(comment="a sentence")
    figures: Mapped[dict[str, Any]] = mapped_column(JSON, comment="all that it looked at, and its thresholds")
    champion: Mapped[str | None] = mapped_column(String(16), comment="the champion at decided_at")
    by_schedule: Mapped[bool] = mapped_column(Boolean, comment="a run of the schedule, which starts what it decides")
    n_labels: Mapped[int] = mapped_column(comment="labels known at decided_at and not withdrawn by then")
    known_at: Mapped[datetime]

    __table_args__ = (Index(None, "decided_at"),)


class RetrainingDecision(Base):
    """The result of a retraining, and the reason. Key: scope and as_of of the run. A few a week."""

    __tablename__ = "retraining_decisions"

    scope: Mapped[str] = mapped_column(primary_key=True, comment="'' where no scope could be trained")
    decided_at: Mapped[datetime] = mapped_column(primary_key=True, comment="as_of of the run")
    trigger: Mapped[str] = mapped_column(
        comment="what it was done for: the reasons of the triggers, or the text of --trigger"
    )
    n_labels: Mapped[int] = mapped_column(comment="labels known at decided_at")
    outcome: Mapped[str] = mapped_column(
        String(16), comment="first, promoted, kept, unchanged, waiting, refused or failed"
    )
    reason: Mapped[str] = mapped_column(comment="a sentence")
    candidate: Mapped[str | None] = mapped_column(String(16))
    champion: Mapped[str | None] = mapped_column(String(16), comment="the champion before")
    figures: Mapped[dict[str, Any]] = mapped_column(JSON, comment="what was compared")
    known_at: Mapped[datetime]


class TaskFailure(Base):
    """A scheduled task that failed after its last try. Key: DAG, run, task, map index and try. None on a good day."""

    __tablename__ = "task_failures"

    dag_id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(primary_key=True)
    task_id: Mapped[str] = mapped_column(primary_key=True)
    map_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="-1: not mapped")
    try_number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="the last try")
    message: Mapped[str] = mapped_column(comment="type and text of the error")
    log_url: Mapped[str] = mapped_column(comment="page of the task in Airflow")
    webhook: Mapped[str] = mapped_column(comment="'' without a webhook, sent, or why the message was not delivered")
    known_at: Mapped[datetime] = mapped_column(comment="as_of of the run")


class Heartbeat(Base):
    """When the monitor last went through all its steps, and whether its silence was reported. One row."""

    __tablename__ = "heartbeats"

    name: Mapped[str] = mapped_column(primary_key=True, comment="monitor")
    as_of: Mapped[datetime | None] = mapped_column(comment="of the last whole run; null: there was none yet")
    at: Mapped[datetime] = mapped_column(comment="true time of its end; without one, when somebody first looked")
    reported_at: Mapped[datetime | None] = mapped_column(comment="when its silence was reported; null: it is not")


class PlantLevel(Base):
    """Alarm and review level of a site for the scores of one model, with the reason. Never changed.

    Key: model, site, as_of and count. A row is written when a level changes: a few a week and site.
    """

    __tablename__ = "plant_levels"

    model_version: Mapped[str] = mapped_column(ForeignKey("model_versions.model_version"), primary_key=True)
    site: Mapped[str] = mapped_column(primary_key=True)
    decided_at: Mapped[datetime] = mapped_column(primary_key=True, comment="as_of of the estimate, or time of the act")
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, comment="among rows of one time")
    scope: Mapped[str]
    alarm_probability: Mapped[float] = mapped_column(comment="recent fault probability of an alarm, 0 to 1")
    review_probability: Mapped[float] = mapped_column(comment="recent fault probability of a review, 0 to 1")
    held: Mapped[bool] = mapped_column(Boolean, comment="set by a person; the daily estimate leaves it alone")
    reason: Mapped[str] = mapped_column(comment="a sentence")
    figures: Mapped[dict[str, Any]] = mapped_column(JSON, comment="what it rests on: units, median, answers")
    who: Mapped[str] = mapped_column(comment="'axiswatch' for the estimate")
    known_at: Mapped[datetime]


class LevelReference(Base):
    """The highest recent log odds that one model gives a unit in a time in which its state is known.

    Key: model, unit and source. A few hundred after a promotion, then a few a week.
    """

    __tablename__ = "level_references"

    model_version: Mapped[str] = mapped_column(ForeignKey("model_versions.model_version"), primary_key=True)
    unit: Mapped[str] = mapped_column(primary_key=True, comment="serial number, or the axis where it is not known")
    source: Mapped[str] = mapped_column(
        primary_key=True, comment="first_days, held_out, or the id of the label that says what the unit was"
    )
    axis_id: Mapped[str] = mapped_column(String(16), index=True)
    site: Mapped[str]
    value: Mapped[float | None] = mapped_column(comment="nats; null: too few bins")
    n_bins: Mapped[int]
    from_at: Mapped[datetime]
    to_at: Mapped[datetime] = mapped_column(comment="end of the time that was looked at")
    known_at: Mapped[datetime]
