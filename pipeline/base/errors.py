"""Errors that a user of axiswatch can do something about, and their exit codes."""

from __future__ import annotations


class AxiswatchError(Exception):
    """Something was refused or failed. The message says what was wrong, where, and what to do."""

    exit_code = 1


class PrerequisiteMissing(AxiswatchError):
    """Something that a command needs is not there: no champion, no labels, no such case."""

    exit_code = 3


class SettingsError(AxiswatchError):
    """A setting is unknown, or its value is not allowed."""

    exit_code = 2
