"""A process that has loaded what commands need, and forks off one for each command: a tenth of the cost of a new one.

A line of JSON comes in for each command: its words, its environment, its folder, and the files that get its output. The
process id goes out, and when it has ended its exit code. Nothing of ours is loaded before the fork, so that a command
is as fresh as one that a user starts.
"""

from __future__ import annotations

import gc
import json
import os
import sys

import alembic.command
import fsspec
import joblib
import numpy
import pandas
import pyarrow.parquet
import pydantic_settings
import rich.progress
import rich.table
import safetensors.torch
import scipy.signal
import scipy.stats
import sklearn.model_selection
import sqlalchemy.dialects.sqlite
import torch
import typer

LOADED = (alembic, fsspec, joblib, numpy, pandas, pyarrow, pydantic_settings, rich, safetensors, scipy, sklearn)
LOADED += (sqlalchemy, torch, typer)


def become(words: list[str], environment: dict[str, str], folder: str, files: list[str]) -> None:
    """Turn this process into one that a user started with these words; it ends as the command does."""
    os.setsid()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, name in enumerate([os.devnull, *files]):
        place = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(place, number)
        os.close(place)
    sys.argv = ["axiswatch", *words]
    from pipeline.cli import main

    main()
    sys.exit(0)


def serve() -> None:
    """Answer until nobody asks any more."""
    gc.freeze()
    for line in sys.stdin:
        asked = json.loads(line)
        child = os.fork()
        if child == 0:
            become(asked["words"], asked["environment"], asked["folder"], asked["files"])
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


serve()
