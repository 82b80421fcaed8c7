"""Batches: which images meet in which training step is a pure function of the seed and the step."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from typing import TypeVar

import torch

from limner.data.imageset import Split
from limner.data.windows import windowed_order
from limner.errors import LimnerError
from limner.noise import named_generator

__all__ = ["Batch", "Batches", "epoch_order", "sequential"]

Item = TypeVar("Item")

AHEAD = 4  # batches decoded before they are asked for


@dataclass(frozen=True)
class Batch:
    """Some images.

    Attributes:
        images: uint8 ``(B, C, H, W)``.
        labels: int64 ``(B,)``, or None.
    """

    images: torch.Tensor
    labels: torch.Tensor | None = None

    def __getitem__(self, part: slice) -> Batch:
        """Some of them."""
        return Batch(self.images[part], None if self.labels is None else self.labels[part])


def epoch_order(n: int, seed: int, epoch: int) -> torch.Tensor:
    """The order int64 ``(n,)`` in which ``n`` images are seen in ``epoch``: a function of its arguments."""
    return torch.randperm(n, generator=named_generator(f"{seed}/{epoch}"))


class Batches:
    """The endless sequence of training batches of a split.

    Each epoch has an order of its own, of single images or, in a large set, of windows of them. What is left at its end
    and fills no batch is left out: the next epoch, in its new order, leaves out others.

    Args:
        split: The images.
        batch_size: How many a batch; all of them if there are fewer.
        seed: Of the orders.

    Raises:
        LimnerError: The split is empty, or ``batch_size`` is not positive.
    """

    def __init__(self, split: Split, batch_size: int, seed: int) -> None:
        if len(split) == 0:
            raise LimnerError("there are no images to train on: the split is empty")
        if batch_size < 1:
            raise LimnerError(f"batch size must be at least 1, not {batch_size}")
        self.split, self.seed = split, seed
        self.batch_size = min(batch_size, len(split))
        self.steps_per_epoch = len(split) // self.batch_size
        self._order = lru_cache(maxsize=1)(self._order_of)

    def _order_of(self, epoch: int) -> torch.Tensor:
        n, positions = len(self.split), self.split.positions
        if not self.split.window:
            return epoch_order(n, self.seed, epoch)
        return windowed_order(torch.arange(n) if positions is None else positions, self.split.window, self.seed, epoch)

    def indices(self, step: int) -> torch.Tensor:
        """Which images of the split meet in ``step`` (from 0), int64 ``(B,)``."""
        epoch, place = divmod(step, self.steps_per_epoch)
        return self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]

    def at(self, step: int) -> Batch:
        """The batch of ``step`` (from 0), whatever was asked for before."""
        return _pick(self.split, self.indices(step))

    def from_step(self, step: int) -> Generator[Batch, None, None]:
        """The batches of ``step``, ``step + 1``, … without end.

        Images that are not in memory are read ahead by a thread, which ends when the iterator is closed or
        forgotten; what it raises is raised here.
        """
        if self.split.store.in_memory:
            yield from map(self.at, count(step))
        yield from _read_ahead(self.at, count(step))


def sequential(split: Split, batch_size: int, limit: int | None = None) -> Iterator[Batch]:
    """The images of ``split`` in order, the smaller last batch included.

    Args:
        split: The images.
        batch_size: How many a batch.
        limit: Stop after this many images.

    Raises:
        LimnerError: ``batch_size`` is not positive.
    """
    if batch_size < 1:
        raise LimnerError(f"batch size must be at least 1, not {batch_size}")
    n = len(split) if limit is None else min(limit, len(split))
    parts = (torch.arange(start, min(start + batch_size, n)) for start in range(0, n, batch_size))
    if split.store.in_memory:
        return (_pick(split, part) for part in parts)
    return _read_ahead(lambda part: _pick(split, part), parts)


def _pick(split: Split, indices: torch.Tensor) -> Batch:
    return Batch(split.take(indices), None if split.labels is None else split.labels[indices])


def _read_ahead(read: Callable[[Item], Batch], items: Iterable[Item]) -> Generator[Batch, None, None]:
    """What ``read`` makes of ``items``, a few before they are asked for, by a thread that ends with the iterator."""
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="limner-ahead")
    waiting = iter(items)
    ahead: deque[Future[Batch]] = deque()
    try:
        ahead.extend(reader.submit(read, item) for item in islice(waiting, AHEAD))
        while ahead:
            found = ahead.popleft().result()
            # The next only now: who is woken holds the interpreter's lock, and a batch that is ready would wait for it
            ahead.extend(reader.submit(read, item) for item in islice(waiting, 1))
            yield found
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
