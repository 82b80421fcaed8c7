"""Work shared among threads, for what gives Python's lock away while it runs.

Torch's own threads, where they can be had: after each of its loops they look out for the next one for some
milliseconds, and whoever brings other threads meanwhile shares the cores with that
(docs/notes/training.md).
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

__all__ = ["in_shares", "in_team", "shared_with_torch", "team_size", "together"]

Result = TypeVar("Result")
TEAM = ("omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier")
"""What a compiled loop asks its team: which of them it is, how many there are, and to wait for all."""
_Body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@functools.cache
def _openmp() -> Any:
    """The library (GNU's) whose threads torch uses; None where it uses another."""
    folder, mode = Path(torch.__file__).parent, getattr(os, "RTLD_NOLOAD", None)  # what is not loaded is not torch's
    if mode is None:
        return None
    for name in [*map(str, folder.glob("lib/libgomp*.so*")), "libgomp.so.1"]:
        try:
            library = ctypes.CDLL(name, mode | os.RTLD_LAZY)
            library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            library.GOMP_parallel.restype = None
            for function in TEAM:
                getattr(library, function)
        except (OSError, AttributeError):
            continue
        return library
    return None


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="limner-shares")


def together(jobs: Sequence[Callable[[], Result]]) -> list[Result]:
    """What each job gives, all of them run at once, each in a thread of its own; a single one in this thread.

    Raises:
        BaseException: What a job raised, the first of them, once all have ended.
    """
    if len(jobs) == 1:
        return [jobs[0]()]
    openmp = _openmp()
    if openmp is None:
        running = [_threads(len(jobs)).submit(job) for job in jobs]
        wait(running)
        return [job.result() for job in running]
    found: list[Any] = [None] * len(jobs)
    raised: dict[int, BaseException] = {}

    def run(i: int) -> None:
        try:
            found[i] = jobs[i]()
        except BaseException as error:  # noqa: BLE001 - it has to leave by way of the caller's thread
            raised[i] = error

    def body(_: None) -> None:
        first, step = openmp.omp_get_thread_num(), openmp.omp_get_num_threads()  # there may be fewer than asked for
        for i in range(first, len(jobs), step):
            run(i)

    function = _Body(body)
    address = ctypes.c_void_p.from_buffer(function).value  # a cast would hold all that the jobs hold, in a cycle
    openmp.GOMP_parallel(address, None, len(jobs), 0)
    if raised:
        raise raised[min(raised)]
    return found


def shared_with_torch() -> bool:
    """Whether ``in_team`` can have all threads that torch has."""
    return torch.get_num_threads() == 1 or _openmp() is not None


def team_size() -> int:
    """How many threads ``in_team`` may have."""
    return torch.get_num_threads() if shared_with_torch() else 1


@functools.cache
def _addresses() -> tuple[int, ...]:
    return tuple(ctypes.cast(getattr(_openmp(), name), ctypes.c_void_p).value or 0 for name in TEAM)


def in_team(function: int, table: np.ndarray, threads: int) -> None:
    """A compiled function of a table's address in each of so many threads, without Python's lock.

    Args:
        function: Its address.
        table: int64; it begins with room for the addresses of ``TEAM``, which are zeros for a thread alone.
        threads: At most ``team_size``; there may be fewer in the end.
    """
    if threads == 1:
        table[: len(TEAM)] = 0
        _Body(function)(table.ctypes.data)
    else:
        table[: len(TEAM)] = _addresses()
        _openmp().GOMP_parallel(function, table.ctypes.data, threads, 0)


def in_shares(work: Callable[[int, int], None], items: int) -> None:
    """``work(first, last)`` for all of ``items``, in as many shares as torch has threads."""
    shares = min(torch.get_num_threads(), items)
    ends = [items * x // shares for x in range(shares + 1)]
    together([functools.partial(work, *share) for share in itertools.pairwise(ends)])
