"""Random generators that a name decides: what is drawn is a function of what it is for."""

from __future__ import annotations

import hashlib

import torch

__all__ = ["named_generator"]


def named_generator(name: str) -> torch.Generator:
    """Of the noise called ``name``, on the CPU; neighbours, such as ``0/1`` and ``0/2``, are not alike."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)
