"""The order in which the images of a large set are seen: by windows, so that what is read together lies together."""

from __future__ import annotations

import torch

from limner.noise import named_generator

__all__ = ["BUFFER", "WINDOW", "windowed_order"]

WINDOW = 64  # images that lie together in the source; a group of rows of a parquet file has some 100
BUFFER = 64  # windows whose images are shuffled among each other


def windowed_order(positions: torch.Tensor, window: int, seed: int, epoch: int) -> torch.Tensor:
    """The order int64 ``(n,)`` in which the images at ``positions`` of a source are seen in ``epoch``.

    Along the source the images are cut into windows. These are shuffled, then the images of each ``BUFFER`` windows.
    Only the order of the positions counts, so that a folder, a zip and a parquet file of the same images agree.

    Args:
        positions: Where each image lies in the source, int64 ``(n,)``, each another number.
        window: Images of a window.
        seed: Of the order.
        epoch: Each has an order of its own.
    """
    n, generator = len(positions), named_generator(f"{seed}/{epoch}")
    windows = torch.randperm(-(-n // window), generator=generator)
    along = (windows[:, None] * window + torch.arange(window)).flatten()  # (windows · window,)
    along = along[along < n]  # the last window may be smaller
    parts = [part[torch.randperm(len(part), generator=generator)] for part in along.split(window * BUFFER)]
    return positions.argsort()[torch.cat(parts)]
