"""The command line: `axiswatch`. Reads settings and the clock, calls one step, prints a table or JSON."""

from pipeline.cli.app import main

__all__ = ["main"]
