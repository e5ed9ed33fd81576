"""Errors that a user of axiswatch can do something about, and their exit codes."""

from __future__ import annotations


class AxiswatchError(Exception):
    """Something was refused or could not be done. The message says what, where and what to do."""

    exit_code = 1


class PrerequisiteMissing(AxiswatchError):
    """A step has nothing to work with: no champion, no labels, no such case."""

    exit_code = 3


class SettingsError(AxiswatchError):
    """A setting is unknown or has a value that it cannot have."""

    exit_code = 2
