"""Forks commands off one process that has loaded everything: a real process each, at a tenth of the cost of a new one.

A line of JSON comes in for each command; its process id goes out at once and its exit code when it has ended, so that
several may be at work. `LD_PRELOAD` names the shim.
"""

from __future__ import annotations

import gc
import json
import os
import select
import sys
from pathlib import Path
from typing import Any

import s3fs
import torch

import pipeline.cli
import pipeline.evaluation
import pipeline.handoff.outbox
import pipeline.importing
import pipeline.intake.acquire
import pipeline.promotion.promotion
import pipeline.scheduled
import pipeline.training.train
import pipeline.trends.course
import pipeline.watch.watch

LOADED = (s3fs, torch, pipeline)
TICK_S = 0.01


def become(asked: dict[str, Any]) -> None:
    """Turn this process into one that a user started."""
    os.setsid()
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    for number, name in enumerate([os.devnull, *asked["files"]]):
        place = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(place, number)
        os.close(place)
    sys.argv = ["axiswatch", *asked["words"]]
    from benchmarks.torture.hook import arm

    if asked["harm"]:
        arm(asked["harm"])
    pipeline.cli.main()
    sys.exit(0)


def serve() -> None:
    """Answer until nobody asks any more."""
    gc.freeze()
    waiting, rest = set(), b""
    while True:
        if select.select([0], [], [], TICK_S if waiting else None)[0]:
            read = os.read(0, 1 << 16)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                asked = json.loads(line)
                child = os.fork()
                if child == 0:
                    become(asked)
                waiting.add(child)
                print(json.dumps({"id": asked["id"], "pid": child}), flush=True)
        while waiting:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                break
            waiting.discard(child)
            print(json.dumps({"pid": child, "code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    serve()
