"""Every setting, in groups: a room takes the group that it reads. `pipeline.base.sources` reads them."""

from __future__ import annotations

from pydantic import model_validator

from pipeline.base.setting_groups import (
    ENV_PREFIX,
    CaseSettings,
    ExtractionSettings,
    GateSettings,
    HandoffSettings,
    IntakeSettings,
    LevelSettings,
    PlaceSettings,
    ReviewSettings,
    ScheduleSettings,
    ScoreSettings,
    SettingsGroup,
    TrainSettings,
    TrendSettings,
    WatchSettings,
)

__all__ = [
    "ENV_PREFIX",
    "CaseSettings",
    "ExtractionSettings",
    "GateSettings",
    "HandoffSettings",
    "IntakeSettings",
    "LevelSettings",
    "PlaceSettings",
    "ReviewSettings",
    "ScheduleSettings",
    "ScoreSettings",
    "Settings",
    "SettingsGroup",
    "TrainSettings",
    "TrendSettings",
    "WatchSettings",
]


class Settings(
    PlaceSettings,
    IntakeSettings,
    LevelSettings,
    WatchSettings,
    GateSettings,
    CaseSettings,
    TrendSettings,
    TrainSettings,
    ScoreSettings,
    ExtractionSettings,
    ScheduleSettings,
    HandoffSettings,
    ReviewSettings,
):
    """Every setting, with its unit in the name or the description."""

    @property
    def memory_weights(self) -> dict[str, float] | None:
        """Weights of findings in case memory, by evidence; None where it is off."""
        return self.evidence_weights if self.case_memory else None

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        if self.n_samples % self.sub_bank_size or self.n_samples // self.sub_bank_size < 2:
            raise ValueError(
                f"n_samples ({self.n_samples}) must be at least two whole sub-banks of sub_bank_size "
                f"({self.sub_bank_size}); take for example 100 and 10"
            )
        if self.database_url:
            from sqlalchemy.engine import make_url
            from sqlalchemy.exc import ArgumentError

            try:
                make_url(self.database_url)
            except ArgumentError as error:
                raise ValueError(
                    "database_url is no SQLAlchemy URL; write sqlite:///file or postgresql+psycopg://..."
                ) from error
        if self.webhook_url and not self.webhook_url.startswith(("http://", "https://")):
            raise ValueError("webhook_url must begin with http:// or https://")
        if self.case_webhook_url and not self.case_webhook_url.startswith(("http://", "https://")):
            raise ValueError("case_webhook_url must begin with http:// or https://")
        if self.case_webhook_url and len(self.case_webhook_secret) < 24:
            raise ValueError(
                "case_webhook_url needs a case_webhook_secret of at least 24 characters; make one with "
                '`python -c "import secrets; print(secrets.token_urlsafe(32))"`'
            )
        if self.case_mail_host and self.case_webhook_url:
            raise ValueError("case_mail_host and case_webhook_url are both set; the outbox has one receiver: take one")
        if self.case_mail_password and self.case_mail_security == "none":
            raise ValueError("case_mail_password would travel in plain text; set case_mail_security to starttls or tls")
        for name in ("monitor_schedule", "watch_schedule", "levels_schedule"):
            if len(getattr(self, name).split()) != 5:
                raise ValueError(f"{name} is no cron expression of five fields; write for example */10 * * * *")
        if self.debounce_hits > self.debounce_span:
            raise ValueError("debounce_hits must not be above debounce_span")
        return self

    @classmethod
    def groups(cls) -> tuple[type[SettingsGroup], ...]:
        """Return the groups, in the order of this file."""
        return (
            PlaceSettings,
            IntakeSettings,
            ExtractionSettings,
            ScoreSettings,
            TrainSettings,
            CaseSettings,
            LevelSettings,
            WatchSettings,
            GateSettings,
            ScheduleSettings,
            HandoffSettings,
            ReviewSettings,
            TrendSettings,
        )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all settings, group by group."""
        return tuple(name for group in cls.groups() for name in group.own())
