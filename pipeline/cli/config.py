"""The command `config`: every setting, what is in force, and where the value comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import typer
from sqlalchemy.engine import make_url

from pipeline.base.settings import ENV_PREFIX, Settings
from pipeline.base.sources import config_file, load_settings, read_config_file
from pipeline.cli.common import AsJson, emit, table


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(epilog="Example: axiswatch config --json")(config)


def config(as_json: AsJson = False) -> None:
    """Show every setting, what is in force, and where the value comes from. Passwords are not shown."""
    lines = explain(load_settings())
    rows = [dict(vars(line)) for line in lines]

    def show() -> None:
        table(["setting", "value", "from", "what it is"], [list(row.values()) for row in rows])

    emit(rows, as_json, show)


@dataclass(frozen=True)
class SettingLine:
    """One line of `axiswatch config`."""

    name: str
    value: str
    source: str
    description: str


def explain(settings: Settings, environ: Mapping[str, str] | None = None) -> list[SettingLine]:
    """Say for every setting what is in force and where the value comes from. Passwords are masked."""
    environ = os.environ if environ is None else environ
    path = config_file(environ)
    in_file = read_config_file(path)
    lines = []
    shown = [(name, Settings.model_fields[name]) for name in Settings.names()]
    for name, field in shown:
        if environ.get(f"{ENV_PREFIX}{name.upper()}"):
            source = f"{ENV_PREFIX}{name.upper()}"
        elif name in in_file:
            source = str(path)
        else:
            source = "default"
        lines.append(SettingLine(name, _shown(settings, name), source, field.description or ""))
    return lines


def _shown(settings: Settings, name: str) -> str:
    """Write the value in force: passwords masked, empty places as what they stand for."""
    if name == "database_url":
        return make_url(settings.database).render_as_string(hide_password=True)
    if name in ("webhook_url", "case_webhook_url", "case_webhook_secret"):
        return "set, not shown" if getattr(settings, name) else ""
    places = {"lake_url": settings.lake, "landing": str(settings.landing_zone)}
    return places.get(name, str(getattr(settings, name)))
