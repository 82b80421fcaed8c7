"""Work shared among threads, for loops that give Python's lock away while they run."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import torch

__all__ = ["in_shares", "run_parallel"]

Result = TypeVar("Result")


@functools.cache
def _pool(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="limner-shares")


def run_parallel(jobs: Sequence[Callable[[], Result]]) -> list[Result]:
    """What each job gives, all of them run at once, each in a thread of its own; a single one in this thread.

    Raises:
        BaseException: What a job raised, the first of them, once all have ended.
    """
    if len(jobs) == 1:
        return [jobs[0]()]
    running = [_pool(len(jobs)).submit(job) for job in jobs]
    wait(running)
    return [job.result() for job in running]


def in_shares(work: Callable[[int, int], None], items: int) -> None:
    """``work(first, last)`` for all of ``items``, in as many shares as torch has threads."""
    shares = min(torch.get_num_threads(), items)
    ends = [items * x // shares for x in range(shares + 1)]
    run_parallel([functools.partial(work, *share) for share in itertools.pairwise(ends)])
