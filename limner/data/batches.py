"""Batches: which images meet in which training step is a pure function of the seed and the step."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial

import torch

from limner.data.imageset import Split
from limner.errors import LimnerError
from limner.noise import named_generator

__all__ = ["Batch", "Batches", "epoch_order", "sequential"]

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

    Each epoch has an order of its own. What is left at its end and fills no batch is left out: the next
    epoch, in its new order, leaves out others.

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
        self._order = lru_cache(maxsize=1)(partial(epoch_order, len(split), seed))

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
        if not self.split.store.in_memory:
            yield from _read_ahead(self, step)
        while True:
            yield self.at(step)
            step += 1


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
    return (_pick(split, torch.arange(start, min(start + batch_size, n))) for start in range(0, n, batch_size))


def _pick(split: Split, indices: torch.Tensor) -> Batch:
    return Batch(split.take(indices), None if split.labels is None else split.labels[indices])


def _read_ahead(batches: Batches, step: int) -> Iterator[Batch]:
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="limner-ahead")
    ahead: deque[Future[Batch]] = deque()
    try:
        while True:
            while len(ahead) < AHEAD:
                ahead.append(reader.submit(batches.at, step))
                step += 1
            yield ahead.popleft().result()
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
