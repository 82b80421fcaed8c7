"""A Mac's device where there is none: tensors that refuse what ``mps`` refuses, computed on the CPU.

``with Mac():`` a tensor moved to ``meta``, which stands for ``mps`` (of that, torch without Metal makes no tensor), has
numbers nevertheless. What is computed of it is there, too; float64 and the operations that Metal does not have raise,
and so does mixing it with tensors of the CPU. It knows of Metal only what is written here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map, tree_map_only

MPS = torch.device("meta")
# Those that this house might use; of torch 2.13 (aten/src/ATen/native/mps).
LACKING = (
    "_pdist_forward",
    "_pdist_backward",
    "_cdist_forward",
    "linalg_eigh",
    "_linalg_eigh",
    "special_ndtri",
    "igamma",
    "geqrf",
)
MOVES = ("_to_copy", "copy_", "_copy_from")


class Refused(RuntimeError):
    """What a Mac would say."""


class OnMac(Tensor):
    """A tensor that is on ``mps``; its numbers are in ``held``."""

    held: Tensor

    @staticmethod
    def __new__(cls, real: Tensor) -> OnMac:
        new = Tensor._make_wrapper_subclass(
            cls, real.shape, strides=real.stride(), storage_offset=real.storage_offset(), dtype=real.dtype, device=MPS,
        )  # fmt: skip
        new.held = real
        return new

    def tolist(self) -> Any:
        return self.held.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnMac({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


def dispatch(func: Any, args: Any, kwargs: Any) -> Any:
    """Compute on the CPU what was asked of ``mps``."""
    name = func.overloadpacket.__name__
    flat = tree_flatten((args, kwargs))[0]
    mac = [x for x in flat if isinstance(x, OnMac)]
    asked = kwargs.get("device")
    if asked is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    there = torch.device(asked) == MPS if asked is not None else bool(mac)
    if name in ("copy_", "_copy_from"):
        there = isinstance(args[0], OnMac)
    elif name in ("_local_scalar_dense", "equal", "is_same_size"):
        there = False
    if mac or there:
        if name in LACKING:
            raise Refused(f"mps has no {name}")
        others = [x for x in flat if isinstance(x, Tensor) and not isinstance(x, OnMac) and x.dim()]
        by_index = name in ("index", "index_put_") and isinstance(args[0], OnMac)  # which may be the CPU's
        if mac and others and name not in MOVES and not by_index:
            raise Refused(f"{name} of tensors on mps and on the CPU")
    real = tree_map_only(OnMac, lambda x: x.held, (args, kwargs))
    out = func(*real[0], **real[1])
    if not there:
        return out

    def wrapped(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if x.dtype in (torch.float64, torch.complex128):
            raise Refused(f"mps has no float64 ({name})")
        for before in mac:  # in place
            if before.held is x:
                return before
        return OnMac(x)

    return return_and_correct_aliasing(func, args, kwargs, tree_map(wrapped, out)) if mac else tree_map(wrapped, out)


class Mac(TorchDispatchMode):
    """As long as it lasts there is an ``mps``."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})
