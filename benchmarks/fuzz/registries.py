"""Targets that read small texts of people: asset files, labels, the settings file."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from benchmarks.fuzz.bytes_damage import Rng
from benchmarks.fuzz.outcomes import Given, Outcome, shown
from benchmarks.fuzz.text_damage import damaged_csv, damaged_toml
from pipeline.assets import import_assets
from pipeline.base.settings import Settings
from pipeline.base.sources import CONFIG_VARIABLE, load_settings
from pipeline.labels.labels import import_labels
from pipeline.store.database import Store
from pipeline.store.tables import Axis, AxisEvent, Geometry, Label, Unit

AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
ASSETS: Final = """version = 1
[[axis]]
site = "plant"
robot_id = "R1"
axis = "A1"
criticality = 3
expected_every_s = 3600.0
[[unit]]
site = "plant"
robot_id = "R1"
axis = "A1"
unit_serial = "SN-1"
geometry = "g1"
installed_at = 2025-01-01T00:00:00Z
removed_at = 2025-06-01T00:00:00Z
[[unit]]
site = "plant"
robot_id = "R1"
axis = "A1"
unit_serial = "SN-2"
bearing = "6205"
installed_at = "2025-06-01T08:00:00+09:00"
[reducer.r1]
type = "rv"
sun_teeth = 10
planet_teeth = 30
pins = 40
source = "name plate"
[reducer.r2]
type = "planetary"
sun_teeth = 20
planet_teeth = 20
ring_teeth = 60
n_planets = 4
source = "drawing"
[reducer.r3]
type = "belt"
driving_diameter = 10.0
driven_diameter = 20.0
belt_length = 100.0
source = "drawing"
[bearing.b1]
n_balls = 9
ball_diameter = 7.94
pitch_diameter = 39.04
contact_angle_deg = 0.0
source = "maker"
[geometry.g1]
reducer = ["r1"]
bearing = "b1"
shaft = "input"
source = "drawing"
[geometry.g2]
bpfo = 3.58
bpfi = 5.41
gear_mesh = [20.0, 41.0]
source = "given"
[geometry.g3]
reducer = ["r2", "r3"]
source = "drawing"
"""
ASSETS_CSV: Final = b"""site,cell,robot_id,axis,unit_serial,geometry,bearing,installed_at,removed_at,criticality
plant,,R1,A1,SN-1,,6205,2025-01-01T00:00:00Z,2025-06-01T00:00:00Z,3
plant,,R1,A1,SN-2,,,2025-06-01T00:00:00Z,,
plant,C2,R2,A1,SN-3,,6205,2025-01-01T00:00:00+09:00,,5
"""
LABELS: Final = b"""site,cell,robot_id,axis,unit_serial,channel,from_at,to_at,verdict,component,mode,\
cause,severity,evidence,confidence,note,known_at
plant,,R1,A1,SN-1,,2025-01-01T00:00:00Z,2025-02-01T00:00:00Z,fault,bearing,ball,,,teardown,0.9,seen,2025-02-02T00:00:00Z
plant,,R1,A1,,acc_x,2025-02-01T00:00:00Z,2025-03-01T00:00:00+09:00,healthy,,,,,inspected,,"a, note",2025-03-02T00:00:00Z
,,,,SN-2,,2025-03-01T00:00:00Z,2025-04-01T00:00:00Z,healthy,,,,,inspected,1,,2025-05-02T00:00:00Z
"""


class InDatabase:
    """A file that is imported into a database of its own; what is stored could be stored in PostgreSQL too."""

    refusals: tuple[type[Exception], ...] = ()
    wrapped: tuple[type[Exception], ...] = ()
    calls = 1
    tables: tuple[Any, ...] = ()

    def prepare(self, folder: Path) -> None:
        """Make an empty database."""
        self.folder = folder
        self.empty = folder / "empty.sqlite"
        Store.open(f"sqlite:///{self.empty}").dispose()

    def store_it(self, suffix: str, content: bytes) -> tuple[Outcome, str]:
        """Import a file; judge what was stored."""
        path = self.folder / f"given{suffix}"
        path.write_bytes(content)
        shutil.copy(self.empty, self.folder / "a.sqlite")
        store = Store(f"sqlite:///{self.folder / 'a.sqlite'}")
        try:
            told = self.load(store, path)
            with store.read() as connection:
                for table in self.tables:
                    for row in connection.execute(sa.select(table)):
                        if wrong := unstorable(dict(row._mapping)):
                            return Outcome.WRONG, f"stored, though PostgreSQL cannot or nobody reads it: {shown(wrong)}"
            return Outcome.TAKEN, str(told)
        finally:
            store.dispose()

    def load(self, store: Store, path: Path) -> Any:
        """Import a file."""
        raise NotImplementedError


def unstorable(row: dict[str, Any]) -> str:
    """Return the first text of a row that has a NUL or is longer than anybody writes; '' where there is none."""
    for name, value in row.items():
        text = str(value)
        if "\0" in text or "\\x00" in text:
            return f"{name} has a NUL: {text[:100]!r}"
        if len(text) > 100_000:
            return f"{name} has {len(text)} letters"
    return ""


class Assets(InDatabase):
    """`axiswatch assets import`."""

    name = "assets"
    tables = (Axis, Unit, Geometry, AxisEvent)

    def damaged(self, rng: Rng) -> Given:
        """Make a damaged TOML or CSV file."""
        is_csv = rng.random() < 0.4
        damage, content = damaged_csv(rng, [ASSETS_CSV]) if is_csv else damaged_toml(rng, [ASSETS])
        return Given(damage, (".csv" if is_csv else ".toml", content))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Import it."""
        return self.store_it(*given.what)

    def load(self, store: Store, path: Path) -> Any:
        """Import a file."""
        return import_assets(store, path, as_of=AT)


class Labels(InDatabase):
    """`axiswatch labels import`."""

    name = "labels"
    tables = (Label,)

    def damaged(self, rng: Rng) -> Given:
        """Make a damaged CSV file."""
        return Given(*damaged_csv(rng, [LABELS]))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Import it."""
        return self.store_it(".csv", given.what)

    def load(self, store: Store, path: Path) -> Any:
        """Import a file."""
        return import_labels(store, path, who="fuzz")


class SettingsFile:
    """`axiswatch.toml`."""

    name = "settings"
    refusals: tuple[type[Exception], ...] = ()
    wrapped: tuple[type[Exception], ...] = ()
    calls = 1

    def prepare(self, folder: Path) -> None:
        """Write down every setting that has a plain default."""
        self.path = folder / "axiswatch.toml"
        lines = []
        for name, value in Settings(home=folder).model_dump(mode="json").items():
            if isinstance(value, bool):
                lines.append(f"{name} = {str(value).lower()}")
            elif isinstance(value, int | float):
                lines.append(f"{name} = {value}")
            elif isinstance(value, str):
                lines.append(f'{name} = "{value}"')
            elif isinstance(value, list):
                lines.append(f"{name} = {value!r}")
        self.whole = ["\n".join(lines) + "\n"]

    def damaged(self, rng: Rng) -> Given:
        """Make a damaged TOML file."""
        return Given(*damaged_toml(rng, self.whole))

    def run(self, given: Given) -> tuple[Outcome, str]:
        """Read it as every command does."""
        self.path.write_bytes(given.what)
        os.environ[CONFIG_VARIABLE] = str(self.path)
        try:
            load_settings()
        finally:
            del os.environ[CONFIG_VARIABLE]
        return Outcome.TAKEN, ""
