"""The groups of settings: each setting with its default, bounds and meaning. `pipeline.base.settings` joins them."""

from __future__ import annotations

from inspect import get_annotations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

ENV_PREFIX = "AXISWATCH_"
Width = Annotated[int, Field(ge=1, le=65_536)]
TEN_YEARS_H = 10 * 366 * 24.0
CENTURY_S = 100 * 366 * 86_400.0


class SettingsGroup(BaseSettings):
    """Settings that belong together; `Settings` has them all, under the same names.

    The docstring of a group is its section in docs/settings.md: the first line is the heading, the rest says what a
    change does. A group that builds on another one has its settings too: what is trained depends on the windows.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, frozen=True, extra="forbid", env_ignore_empty=True, allow_inf_nan=False
    )

    @classmethod
    def own(cls) -> tuple[str, ...]:
        """Return the names of the settings that this group adds to the groups it builds on."""
        return tuple(name for name in cls.model_fields if name in get_annotations(cls))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then what `pipeline.base.sources.load_settings` read from the TOML file."""
        return env_settings, init_settings


class PlaceSettings(SettingsGroup):
    """Where things are kept, and for how long.

    A change moves nothing: it points at another place, which may be empty. `database_url` and `lake_url` belong
    together, because the database names the files of its lake.
    """

    home: Path = Field(Path(".axiswatch"), description="Folder of everything that has no other place in the settings.")
    database_url: str = Field(
        "", description="SQLAlchemy URL: sqlite:///FILE or postgresql+psycopg://...; empty: axiswatch.db below home."
    )
    lake_url: str = Field(
        "", description="Folder of the lake, or fsspec URL such as s3://bucket/prefix; empty: lake below home."
    )
    landing: Path = Field(Path(), description="Folder where robots drop logs; not set: landing below home.")
    clock_offset_s: float = Field(
        0.0,
        ge=-CENTURY_S,
        le=CENTURY_S,
        description="Added to this computer's clock, s: a demonstration's time goes on where its recordings end.",
    )
    retention_months: int = Field(
        0, ge=0, le=1200, description="Whole months of data that `axiswatch retention` keeps; 0: all."
    )
    superseded_days: float = Field(
        0.0,
        ge=0,
        le=36_600,
        description="How long scores of a former champion, and models that never were one, stay, days; 0: for ever.",
    )
    landing_keep_days: float = Field(
        0.0, ge=0, le=36_600, description="How long files stay in the landing zone that were taken in, days; 0: ever."
    )
    landing_archive: Path | None = Field(
        None, description="Folder that such files are moved to then; not set: they are deleted."
    )

    log_format: Literal["", "json"] = Field(
        "", description="json: runs write a JSON object a line for each step and batch on standard error; '': nothing."
    )

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database: the setting, or the default below `home`."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'axiswatch.db'}"

    @property
    def lake(self) -> str:
        """Folder or fsspec URL of the lake: the setting, or the default below `home`."""
        return self.lake_url or str(self.home.absolute() / "lake")

    @property
    def landing_zone(self) -> Path:
        """Folder that logs are read from: the setting, or the default below `home`."""
        return self.landing if self.landing != Path() else self.home / "landing"


class IntakeSettings(SettingsGroup):
    """What is accepted from the landing zone.

    A change holds for files and rows that are judged from then on. What was accepted stays. What is in quarantine is
    judged again by `axiswatch quarantine replay`.
    """

    settle_seconds: float = Field(
        60.0,
        ge=0,
        le=86_400,
        description="An unreadable file that changed less than this ago waits, as it may still be written, s.",
    )
    max_samples: int = Field(20_000_000, ge=1, description="Longest recording that is accepted, samples.")
    max_sampling_rate_hz: float = Field(1e6, gt=0, description="Highest sampling rate that is accepted, Hz.")
    max_shaft_speed_rpm: float = Field(200_000.0, gt=0, description="Highest shaft speed that is accepted, rpm.")


class ExtractionSettings(SettingsGroup):
    """How recordings are cut into windows, and what they are compared with.

    A change of `window_*` or `min_samples_*` makes a new `feature_version`: the next extract computes the features of
    every recording again (the old ones stay), and the champion, which belongs to the old version, scores none of them.
    Train a model and promote it before scoring goes on.

    A change of `regime_*` or `baseline_*` holds for what is extracted and compared from then on. The chunks and
    `workers` change memory and time only, never a result.
    """

    window_mode: Literal["turns", "samples"] = Field(
        "turns", description="Cut windows by shaft turns where the speed is steady, or always by samples."
    )
    window_turns: float = Field(30.0, gt=0, description="Window length in shaft turns.")
    window_samples: int = Field(8192, ge=64, description="Window length where no steady speed is known, samples.")
    high_pass_hz: float = Field(
        10.0,
        ge=0,
        le=1000,
        description="Vibrations' waveform and shape are taken from here on, Hz; 0: from 0 on.",
    )
    min_samples_acceleration: int = Field(512, ge=16, description="Shortest scored recording of a vibration, samples.")
    min_samples_other: int = Field(64, ge=16, description="Shortest scored recording of any other quantity, samples.")
    regime_speed_bin_rpm: float = Field(100.0, gt=0, description="Width of the speed bins of a regime, rpm.")
    regime_load_bin: float = Field(0.25, gt=0, description="Width of the load bins of a regime, in the log's unit.")
    baseline_days: float = Field(
        3.0, gt=0, le=366, description="Days from a unit's first recording that its baseline is taken from."
    )
    baseline_min_recordings: int = Field(
        3, ge=1, le=10_000, description="Recordings of a regime and channel needed for a baseline."
    )
    extract_chunk_samples: int = Field(
        16_000_000, ge=1, description="Samples read, extracted and committed at a time (at least one recording)."
    )
    score_chunk_windows: int = Field(20_000, ge=256, description="Windows read, scored and written at a time.")
    workers: int = Field(2, ge=1, le=64, description="Processes that simulate and extract features.")


class ScoreSettings(ExtractionSettings):
    """What a new champion scores again.

    A change holds from the next promotion or rollback on.
    """

    rescore_days: float = Field(
        14.0, ge=0, le=3660, description="Days back from a promotion that the new champion scores again at once."
    )
    payback_days: float = Field(
        90.0,
        ge=0,
        le=3660,
        description="Closed cases whose last change is at most this long before a promotion are scored again, days.",
    )


class TrainSettings(ExtractionSettings):
    """How models are trained and calibrated.

    A change holds from the next training on. Models that exist, and their scores, do not change.
    """

    method: str = Field(
        "mc_dropout", description="Scoring method of the models that are trained (docs/uncertainty.md)."
    )
    ensemble_size: int = Field(5, ge=2, le=100, description="Networks of method `ensemble`.")
    swag_samples: int = Field(30, ge=2, le=1000, description="Networks drawn by method `swag`.")
    swag_epochs: int = Field(20, ge=2, le=1000, description="Epochs of SGD after training, method `swag`.")
    swag_rank: int = Field(10, ge=2, le=1000, description="Deviations of SGD kept for the covariance, method `swag`.")
    swag_learning_rate: float = Field(0.01, gt=0, description="Constant learning rate of SGD, method `swag`.")
    hidden: tuple[Width, ...] = Field((128, 128), min_length=1, description="Width of each hidden layer.")
    dropout: float = Field(
        0.1, gt=0, lt=1, description="Dropout rate p of every hidden layer, in training and in sampling."
    )
    batch_norm: bool = Field(True, description="Linear-BatchNorm-ReLU-Dropout, or without BatchNorm.")
    tuning_budget: int = Field(
        0,
        ge=0,
        le=73,
        description="Candidates for dropout, depth, BatchNorm and length scale, one training each; 0 or 1: none.",
    )
    tuning_min_units: int = Field(
        10, ge=2, description="Labelled units needed to choose among candidates; with fewer the settings stay as set."
    )
    length_scale: float = Field(0.1, gt=0, description="Prior length scale l of the weights; sets the weight decay.")
    group_dropout: float = Field(
        0.8, ge=0, le=1, description="Share of training windows in which some groups of features are hidden."
    )
    synthetic_windows: int = Field(
        300, ge=0, le=100_000, description="Windows made from physics that training adds for each class; 0: none."
    )
    synthetic_units: float = Field(
        20.0,
        gt=0,
        le=1e6,
        description="Weight of the windows made from physics, as a number of labelled units of their class.",
    )
    rule_db_per_nat: float = Field(
        3.0,
        ge=0,
        le=1000,
        description="Height of all lines of a bearing fault that makes it e times as likely, before training fits it; "
        "0: no rule, dB.",
    )
    epochs: int = Field(60, ge=1, le=10_000, description="Most passes over the training windows.")
    learning_rate: float = Field(2e-3, gt=0, description="Learning rate of the optimiser.")
    folds: int = Field(5, ge=2, le=50, description="Folds of units held out in turn for calibration and metrics.")
    seed: int = Field(1, ge=0, description="Seed of training and of the mask bank.")
    n_samples: int = Field(
        100, ge=2, le=100_000, description="T, Monte Carlo samples a window: at least two whole sub-banks."
    )
    sub_bank_size: int = Field(10, ge=2, description="Samples in a balanced sub-bank of masks; divides n_samples.")
    fault_prior: float = Field(0.05, gt=0, lt=1, description="Share of faulty windows expected where scores are used.")
    prior_temperature: float = Field(1.5, gt=0, description="Temperature used where too few units can identify one.")
    prior_units: float = Field(
        10.0,
        ge=0,
        le=1e6,
        description="Labelled units of a class at which network and rule have the same weight; 0: the network alone.",
    )
    min_calibration_units: int = Field(10, ge=2, description="Held-out units needed to fit a temperature.")
    evidence_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {"signal_only": 0.5, "inspected": 1.0, "teardown": 1.0},
        description="Training weight of a label by its evidence, >= 0; evidence that is not listed has weight 1.",
    )
    max_windows_per_unit: int = Field(
        5_000, ge=0, description="Windows of a unit that a training set takes at most, chosen evenly; 0: all."
    )
    retrain_min_findings: int = Field(
        8,
        ge=0,
        description="New findings that a retraining needs to start, and that its challenger must have learned, unless "
        "it has another class or other settings than the champion.",
    )


class CaseSettings(SettingsGroup):
    """When an axis is flagged, and when that becomes a case.

    Neither scores nor models change. Thresholds hold for the bins that new scores fall into; states that exist keep the
    thresholds of their time. Debounce, gap and margin hold for the bins and cases that new scores reach.
    """

    state_period_hours: float = Field(
        1.0,
        gt=0,
        le=24,
        description="Length of the bins of an axis state; old bins stay, so set it before going live, h.",
    )
    alarm_probability: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Recent fault probability of an alarm; none: each site's own level.",
    )
    alarm_bins: int = Field(
        12, ge=1, le=1000, description="Bins over whose mean log odds the recent fault probability is taken."
    )
    missed_fault_cost: float = Field(
        6.0, gt=0, le=1e6, description="Cost of a missed fault, in the unit of false_alarm_cost."
    )
    false_alarm_cost: float = Field(1.0, gt=0, le=1e6, description="Cost of a false alarm.")
    level_raise: float = Field(
        1.0, ge=0, le=10, description="By how much false alarms may raise a level at most, log odds, nats."
    )
    review_quantile: float = Field(
        95.0, gt=0, lt=100, description="Percentile of held-out units above which uncertainty goes to review."
    )
    review_probability: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Recent fault probability from which a bin below the alarm goes to review; none: each site's own.",
    )
    novelty_percentile: float = Field(
        99.0, gt=0, le=100, description="Novelty percentile against held-out units above which a window is new."
    )
    debounce_hits: int = Field(2, ge=1, description="Flagged bins needed among the last debounce_span bins.")
    debounce_span: int = Field(
        3, ge=1, description="Bins that the debounce looks back over, with the present one; not below debounce_hits."
    )
    case_gap_hours: float = Field(
        48.0, gt=0, le=TEN_YEARS_H, description="Quiet time after which a flagged bin is a new episode, h."
    )
    silent_after_hours: float = Field(
        36.0,
        gt=0,
        le=TEN_YEARS_H,
        description="An axis without recordings for longer is silent, unless it has expected_every_s, h.",
    )
    recheck_after_hours: float = Field(
        168.0,
        gt=0,
        le=TEN_YEARS_H,
        description="A closed case that is still flagged this long after its verdict is reopened, h.",
    )
    reopen_margin: float = Field(0.1, ge=0, le=1, description="Rise in priority that reopens a closed case.")
    case_memory: bool = Field(
        True,
        description="Whether findings on look-alikes move a case in the queue; false takes it back (docs/cases.md).",
    )
    audit_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the bins without a flag that also go to review, chosen at random (docs/cases.md).",
    )
    audit_seed: int = Field(
        1,
        ge=0,
        lt=2**63,
        description="Seed of the hash that chooses the audited bins; another seed chooses other bins.",
    )
    case_max_age_days: float = Field(
        366.0,
        gt=0,
        le=36_600,
        description="A scheduled run opens no case for an episode whose last flag is older than this, days.",
    )


class LevelSettings(CaseSettings, TrainSettings):
    """What the daily estimate of each site's alarm and review level rests on.

    A change holds from the next estimate on.
    """

    false_alarms_per_axis_year: float = Field(
        0.2, gt=0, le=1000, description="Declared budget of false alarms, for each axis and year."
    )
    reviews_per_axis_year: float = Field(
        4.0, gt=0, le=10_000, description="Declared budget of reviews of healthy axes by fault probability alone."
    )
    level_days: float = Field(
        14.0,
        gt=0,
        le=366,
        description="Days after its baseline in which a unit counts as healthy for the levels, unless found faulty.",
    )
    level_prior_units: float = Field(
        6.0, ge=0, le=1e6, description="Weight of the level without answers, as a number of healthy units."
    )


class WatchSettings(TrainSettings):
    """When a retraining is due, and which labels are asked for.

    A change holds from the next look at the triggers on.
    """

    retrain_after_days: float = Field(
        30.0,
        ge=0,
        le=3660,
        description="A retraining is due this long after the last training in any case; 0: never, days.",
    )
    retrain_growth: float = Field(
        0.5,
        ge=0,
        le=10,
        description="Labels needed since the last attempt, as a share of the units and labels that it knew.",
    )
    retrain_kind_units: int = Field(
        2, ge=1, description="Units of a class unknown to the champion that make a retraining due."
    )
    retrain_cooldown_days: float = Field(
        1.0, ge=0, le=366, description="Time after a retraining in which no other starts, days."
    )
    retrain_budget: int = Field(4, ge=0, description="Retrainings of a scope in a budget period; 0: by hand only.")
    retrain_budget_days: float = Field(90.0, gt=0, le=3660, description="Length of a budget period, days.")
    drift_days: float = Field(
        14.0,
        gt=0,
        le=366,
        description="Length of the periods that drift and rates compare; longer: slower changes, seen later, days.",
    )
    drift_alpha: float = Field(
        0.01, gt=0, lt=1, description="Chance of a false alarm of each trigger that tests for a change."
    )
    drift_shift: float = Field(
        0.5, ge=0, le=30, description="Smallest median shift of units that is a drift, robust standard deviations."
    )
    drift_min_units: int = Field(
        8,
        ge=1,
        description="Units that a regime, or a rate, needs before a change is reported; axes with a new program.",
    )
    drift_recordings: int = Field(
        20,
        ge=3,
        le=10_000,
        description="Recordings of a unit, channel and regime that a period, or a case, is judged by.",
    )
    calibration_margin: float = Field(
        0.05, ge=0, lt=1, description="Difference between predicted and observed fault probability that is accepted."
    )
    rate_rise: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Smallest rise of the share of bins that are new, or go to review, that fires the trigger.",
    )
    missed_rate: float = Field(
        0.2, gt=0, lt=1, description="Highest share of units with a confirmed fault that had no case."
    )
    false_alarm_rate: float = Field(
        0.5, gt=0, lt=1, description="Highest share of units with an answered alarm whose alarm was false."
    )
    ask_method: Literal["bald", "random"] = Field(
        "bald", description="How `axiswatch ask` chooses: by what a label would teach (bald), or at random."
    )
    ask_seed: int = Field(1, ge=0, lt=2**63, description="Seed of the random choice.")


class GateSettings(CaseSettings, TrainSettings, ScoreSettings):
    """When a challenger replaces the champion.

    A change holds from the next challenger on.
    """

    gate_risk: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Highest share of the gate's draws in which a challenger may be worse by more than the margin.",
    )
    gate_noise_factor: float = Field(
        2.0,
        ge=0,
        le=100,
        description="The margin, in standard deviations of the difference between two trainings on the same labels.",
    )
    gate_refits: int = Field(
        3,
        ge=2,
        le=20,
        description="Trainings on the same labels, each with its own seed, that this noise is estimated from, once a "
        "scope.",
    )
    gate_review_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of healthy units that the review budget covers; faults that score lower count as missed.",
    )
    gate_min_units: int = Field(
        8, ge=2, description="Fewest units held out for both models with which the gate also judges intervals."
    )
    gate_confidence: float = Field(0.9, gt=0, lt=1, description="Confidence of the gate's two-sided intervals.")
    gate_bootstrap: int = Field(2000, ge=100, le=100_000, description="Resamples of units for the gate's intervals.")
    gate_doubt_probability: float = Field(
        0.25, gt=0, lt=1, description="A model contradicts a finding if its probability for the finding is below this."
    )
    gate_aside_share: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Highest share of new findings that may be set aside because both models contradict them; one "
        "always may.",
    )
    payback_cases: int = Field(
        50,
        ge=0,
        le=10_000,
        description="Newest closed cases that a challenger judges before it can be promoted.",
    )
    must_not_fail: tuple[str, ...] = Field(
        (), description="Serial numbers of units, and label:ID, that every challenger must get right."
    )
    must_not_fail_probability: float = Field(
        0.5, gt=0, lt=1, description="Smallest probability of the right side in a case that must not fail."
    )
    promotion_approval: bool = Field(
        False, description="A challenger that passes the gate waits for a person (docs/model-life.md)."
    )
    promotion_approval_hours: float = Field(
        24.0,
        gt=0,
        le=8784,
        description="How long a run in Airflow waits for the approval; the command works after that too, h.",
    )
    promotion_approvers: str = Field(
        "", description="Ids of the Airflow users who may answer, with commas; empty: all who may answer there."
    )


class ScheduleSettings(SettingsGroup):
    """When the scheduled runs start, and how they are cut into tasks.

    A change holds from the next run on; the cron expressions once Airflow has read the DAG files again.
    """

    monitor_schedule: str = Field("*/10 * * * *", description="Cron expression (UTC) of the monitor's intervals.")
    watch_schedule: str = Field("0 3 * * *", description="Cron expression (UTC) of the daily look at the triggers.")
    levels_schedule: str = Field("30 2 * * *", description="Cron expression (UTC) of the daily estimate of the levels.")
    retention_schedule: str = Field("0 1 * * *", description="Cron expression (UTC) of the daily retention.")
    airflow_keep_days: int = Field(
        90, ge=7, le=3660, description="How long Airflow's own rows and log files are kept, days."
    )
    batch_mib: float = Field(64.0, gt=0, le=65_536, description="Log files or samples that one task takes, MiB.")
    score_batch_windows: int = Field(40_000, ge=1, description="Windows that one scoring task takes.")
    max_batches: int = Field(
        64, ge=1, le=1000, description="Tasks of one step of a run; not above Airflow's max_map_length."
    )


class HandoffSettings(SettingsGroup):
    """Where cases and failed tasks are reported to.

    A change holds from the next run of the monitor, the next `axiswatch webhook deliver` and the start of `axiswatch
    review serve`. Set these alike for all of them. `axiswatch config` does not show the addresses and the key.
    """

    webhook_url: str = Field(
        "", description="Address that a failed task is reported to by an HTTP POST of JSON; empty: none."
    )
    monitor_silent_minutes: float = Field(
        30.0, ge=0, le=527_040, description="Time without a whole run of the monitor that is reported, min; 0: never."
    )
    case_webhook_url: str = Field(
        "", description="Address that every act on a case is reported to by a signed HTTP POST; empty: none."
    )
    case_webhook_secret: str = Field(
        "", description="Key of the signature: at least 24 characters, or whsec_ and base64 of at least 24 bytes."
    )
    case_webhook_attempts: int = Field(
        20, ge=1, le=1000, description="Tries after which a message is given up; 20 take about three days."
    )
    case_mail_host: str = Field("", description="SMTP server of e-mails in place of the webhook; empty: none.")
    case_mail_port: int = Field(587, ge=1, le=65_535, description="Its port.")
    case_mail_security: Literal["starttls", "tls", "none"] = Field("starttls", description="Encryption of the line.")
    case_mail_user: str = Field("", description="Name of the log-in; empty: without.")
    case_mail_password: str = Field("", description="Its password.")
    case_mail_from: str = Field("", description="Address of the sender.")
    case_mail_to: str = Field("", description="Addresses of the receivers, with commas.")


class ReviewSettings(SettingsGroup):
    """How people work in the review application.

    A change holds from the start of `axiswatch review serve` on.
    """

    review_claim_minutes: float = Field(
        60.0, gt=0, le=10_080, description="How long a claimed or handed-over case is reserved for one person, min."
    )
    review_session_hours: float = Field(12.0, gt=0, le=744, description="How long a log-in to the review lasts, h.")
    review_secure_cookie: bool = Field(
        True, description="Send the session's cookie over HTTPS only; false: also over plain HTTP."
    )


class TrendSettings(ExtractionSettings):
    """What a trend reports.

    A change holds from the next time on that the slope is computed.
    """

    trend_days: float = Field(
        7.0, gt=0, le=3660, description="Length of the newest part of a trend, from which its slope is computed, days."
    )
    trend_min_shift: float = Field(
        1.0, ge=0, le=30, description="Smallest change of a health index that is reported as a change point, sigmas."
    )
    iso_20816_3: Literal["", "1 rigid", "1 flexible", "2 rigid", "2 flexible"] = Field(
        "", description="Machine group and foundation whose limits are drawn, borrowed, on vibration velocities."
    )
