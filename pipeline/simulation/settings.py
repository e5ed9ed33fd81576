"""Settings of a simulated fleet, and the report of a run."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from pipeline.base.errors import SettingsError

SIMULATOR_VERSION: Final = 1
"""Increased whenever a formula changes, so that an older folder is not mistaken for a current one."""

KNOWN_MODES: Final = ("inner_race", "outer_race", "ball", "gear_tooth")
"""Fault classes that some findings name."""

UNSEEN_MODE: Final = "cage"
"""The fault class that no finding names."""

UNSEEN_PROGRAM: Final = "calibrate"
"""The motion program that no robot runs before the findings end."""

DETECTABLE_SEVERITY: Final = 0.25
"""Severity from which `truth.csv` calls a fault visible."""


@dataclass(frozen=True)
class FleetSettings:
    """Everything that decides what the simulation writes.

    Attributes
    ----------
    robots, axes : int
        Robots in the fleet, and axes of each.
    days, recordings_per_day : int
        Length of the run, and recordings of each axis and channel a day.
    seed : int
        Same settings, same bytes.
    world : str
        `A`, or `B` with another resonance model and parameters from ranges that A never draws from.
    start : datetime
        Midnight (UTC) of the first day.
    sampling_rate_hz : float
        Sampling rate of the accelerometer; at least 8,000 Hz, because of the resonances.
    samples : int
        Samples of a recording.
    channels : tuple of str
        Channels of every axis: the same excitation, measured over several paths.
    site : str
        Name of the plant.
    robots_per_cell : int
        Robots that share a cell.
    fault_share : float
        Share of axes that develop a known fault. Axes with a cage fault come on top (about 1 in 36).
    label_share : float
        Share of axes with a finding, faulty ones included.
    label_until_day : float or None
        Last day that findings are about. None: 60 % of the run.
    """

    robots: int = 12
    axes: int = 6
    days: int = 14
    recordings_per_day: int = 3
    seed: int = 1
    world: str = "A"
    start: datetime = datetime(2026, 1, 5, tzinfo=UTC)
    sampling_rate_hz: float = 12_800.0
    samples: int = 20_480
    channels: tuple[str, ...] = ("acc_x",)
    site: str = "plant1"
    robots_per_cell: int = 4
    fault_share: float = 1 / 3
    label_share: float = 0.5
    label_until_day: float | None = None

    def __post_init__(self) -> None:
        """Check the settings; SettingsError lists everything that is wrong."""
        wrong = []
        for name in ("robots", "axes", "days", "recordings_per_day", "robots_per_cell"):
            if getattr(self, name) < 1:
                wrong.append(f"{name} must be 1 or more, not {getattr(self, name)}")
        if self.recordings_per_day > 48:
            wrong.append(f"recordings_per_day must be 48 or less, not {self.recordings_per_day}")
        if self.seed < 0:
            wrong.append(f"seed must be 0 or more, not {self.seed}")
        if self.world not in ("A", "B"):
            wrong.append(f"world must be 'A' or 'B', not {self.world!r}")
        if self.samples < 256:
            wrong.append(f"samples must be 256 or more, not {self.samples}")
        if not self.sampling_rate_hz >= 8_000.0:
            wrong.append(f"sampling_rate_hz must be 8000 or more, not {self.sampling_rate_hz}")
        if not self.channels or len(set(self.channels)) != len(self.channels):
            wrong.append(f"channels must be one or more different names, not {self.channels!r}")
        for name in ("fault_share", "label_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                wrong.append(f"{name} must lie in 0..1, not {getattr(self, name)}")
        if self.start.utcoffset() != timedelta(0) or self.start.time() != datetime.min.time():
            wrong.append(f"start must be midnight UTC, not {self.start.isoformat()}")
        if self.label_until_day is not None and not 0.0 < self.label_until_day <= self.days:
            wrong.append(f"label_until_day must lie in 0..{self.days}, not {self.label_until_day}")
        if wrong:
            raise SettingsError("cannot simulate this fleet: " + "; ".join(wrong))

    @property
    def label_end_day(self) -> float:
        """Last day that findings are about, counted from `start`."""
        return 0.6 * self.days if self.label_until_day is None else self.label_until_day

    def at(self, day: float) -> datetime:
        """Return the time of a (fractional) day of the run, to the second."""
        return self.start + timedelta(seconds=round(day * 86_400.0))

    def as_dict(self) -> dict[str, object]:
        """Return the settings in the form of `simulation.json`."""
        plain = dataclasses.asdict(self)
        plain["start"] = self.start.isoformat()
        plain["channels"] = list(self.channels)
        return plain


@dataclass(frozen=True)
class SimulationReport:
    """The result of a run.

    Attributes
    ----------
    out : Path
        The folder.
    written : bool
        False where the folder had this fleet already and nothing was written.
    files, recordings : int
        Log files, and rows in them.
    units, fault_units : int
        Physical units that were installed at some time, and those of them that develop a fault.
    labels : int
        Rows of `labels.csv`.
    """

    out: Path
    written: bool
    files: int
    recordings: int
    units: int
    fault_units: int
    labels: int
