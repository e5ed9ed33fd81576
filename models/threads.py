"""One thread: small matrices gain little from more and lose much on a busy machine, and sums come out in one order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits


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
