"""bf16 autocast where it is faster: decided by timing real steps on this machine, not by a table."""

from __future__ import annotations

import copy
import time
from typing import Literal

import torch

from limner.data.batches import Batch
from limner.models.contracts import Model
from limner.models.recipes import Precision

__all__ = ["FABRIC_PRECISION", "choose_precision"]

FABRIC_PRECISION: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bf16": "bf16-mixed"}


def choose_precision(wanted: Precision, model: Model, batch: Batch, repeats: int = 4) -> Precision:
    """``wanted``, or for ``auto`` whichever of float32 and bf16 takes less time forward and backward on ``batch``.

    bf16 must win by a tenth to be taken: near a tie the exact arithmetic is the better choice. The model and the
    random state are left as they were.
    """
    if wanted != "auto":
        return wanted
    trial = copy.deepcopy(model).train()
    times: dict[bool, list[float]] = {False: [], True: []}
    with torch.random.fork_rng():
        for i in range(repeats + 1):
            for bf16, seen in times.items():
                start = time.perf_counter()
                with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
                    terms = trial(batch.images.to(model.device), None, batch.labels)
                torch.stack([t.mean() for t in terms.values()]).sum().backward()
                if model.device.type == "cuda":
                    torch.cuda.synchronize()
                if i:  # the first round warms up
                    seen.append(time.perf_counter() - start)
    faster = min(times[True]) < 0.9 * min(times[False])  # the least disturbed of each, on a shared machine
    return "bf16" if faster else "float32"
