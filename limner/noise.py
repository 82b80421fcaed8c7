"""Random generators that a name decides: what is drawn is a function of what it is for."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["named_generator", "seeded"]

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
