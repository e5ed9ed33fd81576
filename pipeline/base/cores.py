"""Share work between the cores of the machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def in_threads(work: Callable[[T], None], shares: Sequence[T]) -> None:
    """Run `work` on each share, in a thread of its own where there are several.

    Each thread is bound to one core where the system can do that: two free threads that hand the interpreter to one
    another end up on one core, and gain nothing.
    """
    if len(shares) == 1:
        work(shares[0])
        return
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []

    def bound(number: int) -> None:
        if cores:
            os.sched_setaffinity(0, {cores[number % len(cores)]})
        work(shares[number])

    with ThreadPoolExecutor(len(shares)) as pool:
        list(pool.map(bound, range(len(shares))))
