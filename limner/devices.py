"""Where tensors are: one choice for the whole process, and what a device cannot do. Nothing else asks torch for it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from limner.errors import LimnerError, option

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["beside", "device", "exact_device", "flushing_denormals", "has_float64", "use_device", "wide"]

NAMES = "auto, cpu, cuda, cuda:1 (and so on), mps"
WITHOUT_FLOAT64 = {"mps"}  # Apple's Metal
_chosen: str | None = None


def use_device(name: str) -> None:
    """Compute on the device called ``name`` from now on, in this process: auto, cpu, cuda, cuda:1, mps.

    Where nothing is said, or ``auto``, ``$LIMNER_DEVICE`` says it.

    Raises:
        LimnerError: No device is called that; whether this machine has it ``device`` says.
    """
    global _chosen
    _chosen = None if _checked(name) == "auto" else name


def _checked(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", name):
        raise LimnerError(f"{option('device', name)}: choose one of {NAMES}")
    return name


def device() -> torch.device:
    """Where models are: what was chosen, and for ``auto`` a CUDA device where there is one, else the CPU.

    A Mac's ``mps`` is taken where it is asked for: what Metal refuses is known here by reading only.

    float32 means float32 there, too: cuDNN's convolutions would else be of 10 bits (TF32), and a likelihood depend on
    how many images are measured together. Where fewer bits are faster in training, ``precision=auto`` finds bf16. And
    its gradients are summed in the same order each time, so that a resumed run ends as one that was never stopped.

    Raises:
        LimnerError: The chosen device is not there.
    """
    import torch

    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    there = torch.cuda.device_count()
    chosen = _checked(_chosen or os.environ.get("LIMNER_DEVICE") or "auto")
    kind, _, number = chosen.partition(":")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise LimnerError(f"{option('device', chosen)}: this machine has no Metal: {option('device', 'cpu')}")
    if kind == "cuda" and int(number or 0) >= there:
        has = f"has {there} CUDA devices" if there else "has no CUDA device, or torch was installed without CUDA"
        raise LimnerError(f"{option('device', chosen)}: this machine {has}: {option('device', 'cpu')}")
    if kind in ("cpu", "mps") or not there:
        return torch.device("mps" if kind == "mps" else "cpu")
    own = int(os.environ.get("LOCAL_RANK", "0")) % there  # of several processes each has its own
    return torch.device("cuda", int(number) if number else own)


@contextlib.contextmanager
def flushing_denormals() -> Iterator[None]:
    """Numbers too small to be normal (below 1e-38 in float32) count as 0 in this thread and those that it starts.

    A CPU takes a hundred times as long for each, and the tails of GELU are full of them (docs/notes/training.md).
    """
    import torch

    before = (torch.tensor(1e-40) * 1.0).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def has_float64(where: torch.device) -> bool:
    """Whether tensors of float64 can be on that device."""
    return where.type not in WITHOUT_FLOAT64


def exact_device(where: torch.device) -> torch.device:
    """Where numbers of float64 that belong to that device are: there, or on the CPU."""
    import torch

    return where if has_float64(where) else torch.device("cpu")


def beside(x: Tensor) -> Tensor:
    """``x`` where numbers of float64 can be: as it is, or its copy on the CPU, through which gradients pass."""
    return x if has_float64(x.device) else x.cpu()


def wide(x: Tensor) -> Tensor:
    """``x`` in float64, on its device or on the CPU, where sums and tails keep their digits."""
    return beside(x).double()
