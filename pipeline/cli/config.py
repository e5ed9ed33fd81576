"""The command `config`: every setting, its value, and where the value comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from pipeline.base.errors import without_secrets
from pipeline.cli.common import SET_UP, AsJson, emit, table

if TYPE_CHECKING:
    from pipeline.base.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command(rich_help_panel=SET_UP, epilog="Example: axiswatch config --json")(config)


def config(as_json: AsJson = False) -> None:
    """Show every setting, its value, and where the value comes from. Passwords are not shown."""
    from pipeline.base.sources import load_settings

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


def explain(settings: Settings) -> list[SettingLine]:
    """Return the value of every setting and where the value comes from. Passwords are masked."""
    from pipeline.base.sources import sources

    places, fields = sources(), type(settings).model_fields
    return [
        SettingLine(name, _shown(settings, name), places[name], fields[name].description or "")
        for name in settings.names()
    ]


def _shown(settings: Settings, name: str) -> str:
    """Write a value: passwords masked, and for an empty folder or address the one that is used."""
    if name == "database_url":
        from sqlalchemy.engine import make_url

        return make_url(settings.database).render_as_string(hide_password=True)
    if name in ("webhook_url", "case_webhook_url", "case_webhook_secret", "case_mail_password"):
        return "set, not shown" if getattr(settings, name) else ""
    places = {"lake_url": settings.lake, "landing": str(settings.landing_zone)}
    return without_secrets(places.get(name, str(getattr(settings, name))))
