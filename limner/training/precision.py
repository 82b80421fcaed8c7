"""bf16 autocast where it is faster: decided by timing real steps on this machine, not by a table."""

from __future__ import annotations

import copy
import math
import time
from typing import Any, Literal

import torch
from lightning_fabric import Fabric

from limner.data.batches import Batch
from limner.devices import device
from limner.models.contracts import Model
from limner.models.recipes import Precision
from limner.training.dropout import draw_dropout_from

__all__ = ["FABRIC_PRECISION", "choose_precision", "fabric_of"]

FABRIC_PRECISION: dict[str, Literal["32-true", "bf16-mixed"]] = {"float32": "32-true", "bf16": "bf16-mixed"}


def fabric_of(precision: str) -> Fabric:
    """What differentiates and casts on the chosen device, in float32 unless ``precision`` says bf16."""
    where = device()
    devices: Any = [where.index] if where.index is not None else 1
    return Fabric(accelerator=where.type, devices=devices, precision=FABRIC_PRECISION.get(precision, "32-true"))


def choose_precision(wanted: Precision, model: Model, batch: Batch, seconds: float = math.inf) -> Precision:
    """``wanted``, or for ``auto`` whichever of float32 and bf16 takes less time forward and backward on ``batch``.

    bf16 must win by a tenth to be taken: near a tie the exact arithmetic is the better choice. After about ``seconds``
    no further trial is made; where not even one of each was, it is float32. The model and the random state are left as
    they were.
    """
    if wanted != "auto":
        return wanted
    if model.device.type not in ("cpu", "cuda"):
        return "float32"  # what else is quick, and right, nobody has measured here
    trial = copy.deepcopy(model).train()
    fastest = {False: math.inf, True: math.inf}  # the least disturbed time of each, on a shared machine
    random = torch.Generator(model.device).manual_seed(0)
    draw_dropout_from(random, trial)
    end = time.perf_counter() + seconds
    for i in range(5):
        for bf16 in fastest:
            if time.perf_counter() > end:
                return "bf16" if fastest[True] < 0.9 * fastest[False] < math.inf else "float32"
            start = time.perf_counter()
            with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
                terms = trial(batch.images.to(model.device), random, batch.labels)
            torch.stack([t.mean() for t in terms.values()]).sum().backward()
            if model.device.type == "cuda":
                torch.cuda.synchronize()
            if i:  # the first round warms up
                fastest[bf16] = min(fastest[bf16], time.perf_counter() - start)
    return "bf16" if fastest[True] < 0.9 * fastest[False] else "float32"
