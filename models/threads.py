"""One thread: small matrices gain little from more and lose much on a busy machine, and sums come out in one order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch and BLAS on one thread inside the block, and as before after it.

    The matrices of one training step take tens of microseconds; threads that wait for one another over them cost more
    than they save, and on a shared machine far more (measured: 5 s on one thread, minutes on two busy cores).
    The number of threads belongs to the process: other Python threads are held to one meanwhile too.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            yield
    finally:
        torch.set_num_threads(before)


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
