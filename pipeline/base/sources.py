"""Where settings come from.

Sources, strongest first: `AXISWATCH_*` environment variables, a TOML file (`AXISWATCH_CONFIG`, else `axiswatch.toml` in
`AXISWATCH_HOME` or in the working directory if there is one), the defaults in `pipeline.base.settings`. Nothing else in
the code reads the environment. Airflow's own variables are read here too, for `axiswatch doctor`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import SettingsError as SourceError

from pipeline.base.errors import SettingsError, problem_text
from pipeline.base.settings import ENV_PREFIX, Settings
from pipeline.base.toml_text import parse_toml, read_toml_text

CONFIG_VARIABLE = "AXISWATCH_CONFIG"
CONFIG_FILE = "axiswatch.toml"
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, "AXISWATCH_TEST_DATA", "AXISWATCH_TEST_NET"})


def config_file(environ: Mapping[str, str]) -> Path | None:
    """Return the path of the TOML file that is in use; None where there is none.

    Raises
    ------
    SettingsError
        `AXISWATCH_CONFIG` names something that is not a file.
    """
    named = environ.get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SettingsError(f"{CONFIG_VARIABLE} names {named}, which is not a file; unset it or create the file")
        return Path(named)
    there = (Path(environ.get(f"{ENV_PREFIX}HOME", ""), CONFIG_FILE), Path(CONFIG_FILE))
    return next((path for path in there if path.is_file()), None)


def read_config_file(path: Path | None) -> dict[str, Any]:
    """Return the settings in a TOML file; an empty dict where `path` is None.

    Raises
    ------
    SettingsError
        The file is not TOML.
    """
    if path is None:
        return {}
    try:
        return parse_toml(read_toml_text(path))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from error


def load_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Read the settings from the environment and the TOML file.

    Parameters
    ----------
    environ
        Checked for `AXISWATCH_*` variables that are not settings; the process's environment by default.
    overrides
        Values that replace those of the TOML file, for tests.

    Raises
    ------
    SettingsError
        A setting is unknown, or a value is not allowed. The message lists all of them.
    """
    environ = os.environ if environ is None else environ
    unknown = sorted(
        name
        for name in environ
        if name.startswith(ENV_PREFIX)
        and name not in OTHER_VARIABLES
        and name.removeprefix(ENV_PREFIX).lower() not in Settings.model_fields
    )
    path = config_file(environ)
    problems = [f"environment variable {name} is no setting" for name in unknown]
    try:
        settings = Settings(**(read_config_file(path) | overrides))
    except ValidationError as error:
        for item in error.errors():
            where = ".".join(str(part) for part in item["loc"]) or "settings"
            problems.append(f"{where}: {problem_text(item)}")
    except SourceError as error:
        problems.append(str(error))
    if problems:
        listed = "\n".join(f"  - {problem}" for problem in problems)
        raise SettingsError(
            f"settings are wrong ({path or 'no TOML file'}):\n{listed}\ndocs/settings.md lists all settings"
        )
    return settings


def used_file() -> str:
    """Return the path of the TOML file that is in use; '' where there is none."""
    return str(config_file(os.environ) or "")


def sources() -> dict[str, str]:
    """Return where the value of each setting comes from: its variable, the TOML file, or `default`."""
    path = config_file(os.environ)
    in_file = dict.fromkeys(read_config_file(path), str(path))
    variables = {name: f"{ENV_PREFIX}{name.upper()}" for name in Settings.names()}
    return {
        name: variable if os.environ.get(variable) else in_file.get(name, "default")
        for name, variable in variables.items()
    }


def airflow_places() -> tuple[str, str]:
    """Return the address of Airflow and the URL of its database, as its own variables say; '' where they do not."""
    return os.environ.get("AIRFLOW__API__BASE_URL", ""), os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "")
