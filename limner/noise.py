"""Random generators that a name decides: what is drawn is a function of what it is for."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

__all__ = ["drawn_whole", "images_left_out", "leaving_out", "named_generator", "part_of_batch", "seeded"]

_part: ContextVar[tuple[int, int, int] | None] = ContextVar("part", default=None)
_left_out: ContextVar[int] = ContextVar("left_out", default=0)

_global_generator = threading.RLock()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global generator at ``seed``, for one thread at a time; then it is as before.

    Initial weights are drawn from it, and so do some libraries. Nothing else of limner does.
    """
    with _global_generator, torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def named_generator(name: str) -> torch.Generator:
    """Of the noise called ``name``, on the CPU; neighbours, such as ``0/1`` and ``0/2``, are not alike."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


@contextmanager
def part_of_batch(start: int, stop: int, n: int) -> Iterator[None]:
    """What is drawn is that of images ``start`` to ``stop`` of a batch of ``n``: its noise is drawn whole, then cut."""
    before = _part.set((start, stop, n))
    try:
        yield
    finally:
        _part.reset(before)


def drawn_whole(draw: Callable[[tuple[int, ...]], Tensor], shape: tuple[int, ...], images: int = 0) -> Tensor:
    """What ``draw(shape)`` draws; within ``part_of_batch`` the part's share of the whole batch's.

    The dimension of ``shape`` that counts the images is ``images``.
    """
    part = _part.get()
    if part is None or shape[images] != part[1] - part[0]:
        return draw(shape)
    start, stop, n = part
    whole = draw((*shape[:images], n, *shape[images + 1 :]))
    return whole.narrow(images, start, stop - start)


@contextmanager
def leaving_out(n: int) -> Iterator[None]:
    """The next images that are drawn are not the first that a generator gives but those after the first ``n``."""
    before = _left_out.set(n)
    try:
        yield
    finally:
        _left_out.reset(before)


def images_left_out() -> int:
    """How many images' numbers are to be drawn and forgotten now: once."""
    n = _left_out.get()
    _left_out.set(0)
    return n
