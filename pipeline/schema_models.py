"""The tables of a model's life: versions, aliases with their history, what versions say of closed cases.

See `pipeline.schema` for the others.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from pipeline.schema_base import Base


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
        String(16), comment="first, promoted, rolled_back; of a challenger trained, kept, waiting, promoted or refused"
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
    """What a model version says of a closed case, beside what was said before. Immutable.

    Key: case, scope and version. Tens after a promotion.
    """

    __tablename__ = "case_rescores"

    case_id: Mapped[str] = mapped_column(ForeignKey("cases.case_id"), primary_key=True)
    scope: Mapped[str] = mapped_column(primary_key=True)
    model_version: Mapped[str] = mapped_column(ForeignKey("model_versions.model_version"), primary_key=True)
    state: Mapped[str] = mapped_column(String(16), comment="what the case would have been, as of an axis state")
    flags: Mapped[list[Any]] = mapped_column(comment="codes of its reasons for review")
    n_windows: Mapped[int] = mapped_column(comment="good windows of this scope")
    fault_probability: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel")
    mode: Mapped[str | None] = mapped_column(comment="most probable fault class of that channel")
    mutual_information: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel, nats")
    expected_entropy: Mapped[float | None] = mapped_column(comment="mean over windows, highest channel, nats")
    novelty_percentile: Mapped[float | None] = mapped_column(comment="median over windows, highest channel")
    known_at: Mapped[datetime]
