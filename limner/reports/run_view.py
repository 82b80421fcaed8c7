"""A run, as the pages show it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from limner.config.run_config import RunConfig
from limner.data import ImageSet, Split
from limner.data.batches import sequential
from limner.models import Model

__all__ = ["SAMPLES", "Rows", "RunView"]

SAMPLES = 64


@dataclass(frozen=True)
class RunView:
    """One run, as the pages show it.

    Attributes:
        name: Of the run.
        folder: Its folder.
        config: Its configuration.
        model: With the weights to show.
        data: What it was trained on.
        seconds: That each thing may take which the model draws or reads for a page.
    """

    name: str
    folder: Path
    config: RunConfig
    model: Model
    data: ImageSet
    seconds: float = math.inf

    def affordable(self, n: int) -> int:
        """How many of ``n`` images, 1 at least, can go through the model in the ``seconds``; one is timed."""
        if math.isinf(self.seconds):
            return n
        batch = next(sequential(self.held_out_split, 1))
        start = time.perf_counter()
        with torch.no_grad():
            self.model(batch.images, torch.Generator(self.model.device).manual_seed(0), batch.labels)
        return max(1, min(n, int(self.seconds / (time.perf_counter() - start))))

    @property
    def has_validation(self) -> bool:
        """Whether there are images that it was not trained on, to choose its weights by."""
        return len(self.data.splits["validation"]) > 0

    @property
    def held_out_split(self) -> Split:
        """Images that it was not trained on (if there are any)."""
        return self.data.splits["validation" if self.has_validation else "train"]

    @property
    def held_out(self) -> torch.Tensor:
        """The first of them, uint8 ``(n, C, H, W)``, 64 at most."""
        return self.held_out_split.first(SAMPLES)


Rows = Sequence[tuple[RunView, Mapping[str, Any]]]
"""Measurements, each with its run."""
