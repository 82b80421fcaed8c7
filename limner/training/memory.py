"""Memory: whether the machine has enough for a model, and keeping what was freed for the next step."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from limner.errors import LimnerError, option
from limner.models.cost import OnMeta

__all__ = ["check_fits", "keep_freed_memory"]

BYTES = 5 * 4  # a parameter, in training: weight, gradient, two moments and average in float32
MOST_TENSORS = 5_000  # of parameters: each also costs memory and time of its own

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next step, instead of giving large blocks back to the system.

    glibc asks the system for each block of 32 MB and more, and the system hands it out page by page, zeroed: the
    activations of a Diagonal BiLSTM cost as much time to get as to compute
    (docs/notes/training.md). Elsewhere nothing is done.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_MAX, 0)
        library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def check_fits(build: Callable[[], object], weights: Path | None = None, room: float | None = None) -> None:
    """Refuse a model that this machine cannot train, or that file of ``weights`` cannot fill, before it is allocated.

    ``build`` makes the model, here on torch's meta device, where tensors have a shape and no memory. It is left as soon
    as its parameters are too many, so that this takes some seconds at most. A model that cannot be made there, as
    another package's may be, is not checked. ``room`` is the memory in bytes, by default the machine's.

    Raises:
        LimnerError: Weights, gradients, the optimizer's moments and the average need more than the machine's memory,
            there are more than ``MOST_TENSORS`` parameter tensors, or more parameters than the file has room for.
    """
    room, thread = _machine_memory() if room is None else room, threading.get_ident()
    stored = math.inf if weights is None else weights.stat().st_size / 4
    found: dict[int, Tensor] = {}  # kept, so that no id comes twice
    parameters = 0

    def count(module: nn.Module, name: str, parameter: Tensor | None) -> None:
        nonlocal parameters
        if parameter is None or id(parameter) in found or threading.get_ident() != thread:
            return
        found[id(parameter)] = parameter
        parameters += parameter.numel()
        smaller = f"choose a smaller network, with {option('settings')} (limner models MODEL explains its sizes)"
        if parameters > stored:
            raise LimnerError(f"{weights} does not fit this model: config.toml asks for a larger network than it holds")
        if parameters * BYTES > room:
            raise LimnerError(
                f"this network has {parameters:,} parameters or more, and training needs "
                f"{parameters * BYTES / 1e9:,.0f} GB for them; this machine has {room / 1e9:,.0f} GB: {smaller}"
            )
        if len(found) > MOST_TENSORS:
            raise LimnerError(f"this network has more than {MOST_TENSORS:,} layers' weights and biases: {smaller}")

    hook = register_module_parameter_registration_hook(count)
    try:
        with torch.device("meta"), OnMeta():
            build()
    except LimnerError:
        raise
    except Exception:  # noqa: BLE001 - whatever another package's model does there; it may be made for real
        pass
    finally:
        hook.remove()


def _machine_memory() -> float:
    """Bytes of memory that the machine has, or that a container is allowed; infinite where that is not known."""
    room = math.inf
    with contextlib.suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        room = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # "max" is no number
        room = min(room, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return room
