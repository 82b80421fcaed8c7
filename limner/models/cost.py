"""What a pass through a model needs in memory, counted on torch's meta device, where tensors have a shape and no bytes.

Nothing is allocated, so that a pass of any number of images of any size can be counted before it is run.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from limner.memory import network_room
from limner.models.contracts import Model

__all__ = ["LiveBytes", "OnMeta", "images_at_once", "imagined"]

SCRATCH = 1.6
"""What a pass takes beside its tensors, as a factor: the allocator's gaps and what the libraries' kernels work in
(docs/notes/memory.md)."""

FEW_VALUES = 50_000
"""Values of images whose pass takes some hundred megabytes at most: these are not counted."""


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that operations make, as long as they live.

    Attributes:
        now: Bytes of those that are alive.
        most: The most that there ever were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._seen: dict[int, weakref.finalize[..., Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it made."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._see(tensor)
        return made

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if (key := id(storage)) in self._seen:
            return
        size = storage.nbytes()
        self.now += size
        self.most = max(self.most, self.now)
        self._seen[key] = weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self.now -= size
        del self._seen[key]


class OnMeta(TorchFunctionMode):
    """A number that is read off a tensor is 1: on the meta device there is none, and no size depends on it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """``func``, or 1."""
        if func in (Tensor.item, Tensor.__bool__, Tensor.__int__, Tensor.__float__):
            return 1.0 if func is Tensor.__float__ else func is Tensor.__bool__ or 1
        return func(*args, **(kwargs or {}))


def imagined(build: Callable[[], Model]) -> Model:
    """The model that ``build`` makes, on the meta device; what it checks of its labels' values it does not check."""
    with torch.device("meta"), OnMeta():
        model = build()
    for part in model.modules():
        if isinstance(part, Model):
            part.checked_labels = lambda labels, n: labels  # type: ignore[method-assign]
    return model


@contextmanager
def counting() -> Iterator[LiveBytes]:
    """Count what is made on the meta device. What else is made is real: constants may be kept for later use."""
    with OnMeta(), LiveBytes() as live:
        yield live


@lru_cache(maxsize=64)
def _pass_bytes(
    kind: Callable[..., Model], config: Any, shape: tuple[int, int, int], levels: int
) -> tuple[float, float] | None:
    """Bytes of a pass of no image and of each image more, without a gradient; None where that cannot be counted."""
    found = []
    try:
        model = imagined(lambda: kind(config, shape, levels)).eval()
        for n in (32, 64):  # enough that what grows with them is the most
            labels = torch.zeros(n, dtype=torch.int64, device="meta") if model.classes else None
            images = torch.zeros(n, *shape, dtype=torch.uint8, device="meta")
            with torch.no_grad(), counting() as live:
                model(images, None, labels)
            found.append(live.most)
    except Exception:  # noqa: BLE001 - whatever another package's model does there
        return None
    each = (found[1] - found[0]) / 32
    return max(0.0, found[0] - 32 * each), each


def images_at_once(model: Any, most: int, *, part: float = 0.5) -> int:
    """How many images, 1 to ``most``, may go through ``model`` together without a gradient.

    They take ``part`` of ``limner.memory.network_room()`` at most. ``most`` where their memory cannot be told.
    """
    if not isinstance(model, Model) or most * model.dimensions <= FEW_VALUES:
        return most
    found = _pass_bytes(cast("Any", type(model)), model.config, model.shape, model.levels)
    if found is None:
        return most
    fixed, each = found
    return max(1, min(most, int((part * network_room() / SCRATCH - fixed) / max(each, 1.0))))
