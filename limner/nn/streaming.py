"""Causal layers that run a row, and then a pixel at a time, from their own memory.

A sampler holds one ``Stream`` and runs the model inside ``stream.running()``; the model's own code is unchanged.

1. When row i begins, the model runs on the whole row. Each layer computes what follows from the rows above. Maps that
   depend on these rows alone ("row-wise") are right; all others are placeholders, of one image, which nothing reads.
2. Then the model runs on one pixel after another. Each layer uses what it kept of the rows above and of the pixels to
   the left.

The image differs from the other maps: pixel j is drawn only after the model has run on it. So the model is given twice
as much of it: the finished row above with the new row, the drawn pixel to the left with the new pixel (at the border
only the new one). A *strict* layer hides a pixel from its own output (mask A, ``RowsAbove`` with ``strict``); it takes
both and answers for the new one. Behind the strict layers, which come first in a causal model, every map is final as
soon as it is computed.

Outside a stream the layers run as they always do.
"""

from __future__ import annotations

import functools
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from torch import Tensor

from limner.errors import LimnerError

__all__ = ["Memory", "Stream", "columns_of", "current_stream", "map_here", "row_wise"]

Function = TypeVar("Function", bound=Callable[..., Any])


class Stream:
    """Where one sampler is in its B ``images``, and what the layers remember of them.

    Attributes:
        placeholders: Images of a placeholder: 1, or B in a model that cannot join it with maps of B images.
        row: Row of the maps (of patches, where a model has some) on which the model runs.
        column: The column, or None where it runs on the whole row.
        passes: How often the model has run.
        sees_place: Whether a layer sees a part of the pixel that is drawn: its earlier channels.
    """

    def __init__(self, images: int) -> None:
        self.images = images
        self.forget(placeholders=1)

    def forget(self, placeholders: int) -> None:
        """Begin anew, before the first row."""
        self.placeholders = placeholders
        self.row, self.passes, self.sees_place = 0, 0, False
        self.column: int | None = None
        self.memories: dict[object, Memory] = {}

    def move(self, row: int, column: int | None) -> None:
        """The model runs next on this row, or on one pixel of it."""
        self.row, self.column, self.passes = row, column, self.passes + 1

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within, layers that run in this thread remember in this stream."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def run(self, owner: object, make: Callable[[Stream], Memory], *inputs: Any) -> Any:
        """The output of ``owner``, a layer called with ``inputs``, for the row or the pixel on which the model runs.

        ``make`` makes the layer's memory when it runs first.

        Raises:
            LimnerError: The layer ran already in this pass: what it remembers would be mixed.
        """
        memory = self.memories.get(owner)
        if memory is None:
            memory = self.memories[owner] = make(self)
        if memory.passes == self.passes:
            raise LimnerError("this model cannot stream: it runs one of its causal layers twice")
        memory.passes = self.passes
        return memory.begin_row(*inputs) if self.column is None else memory.at(self.column, *inputs)

    def check_row_wise(self, *maps: Any) -> None:
        """Maps ``(B, ·, 1, W)`` of a row that begins must be no placeholders, as far as these can be told.

        Raises:
            LimnerError: They are: they depend on the row itself.
        """
        if any(len(x) < self.images for x in maps):
            raise LimnerError("this model cannot stream: what it computes once a row depends on the row itself")

    def select(self, index: Tensor) -> None:
        """Between two rows: image i becomes a copy of image ``index[i]``."""
        for memory in self.memories.values():
            memory.select(index)


_current: ContextVar[Stream | None] = ContextVar("stream", default=None)
current_stream = _current.get
"""The stream in which layers of this thread run, or None."""


class Memory(ABC):
    """What a layer keeps, in one stream, of the rows above and of the pixels to the left."""

    def __init__(self, stream: Stream) -> None:
        self.stream: Stream = weakref.proxy(stream)  # a circle would keep the memory until it is looked for
        self.passes = 0

    @abstractmethod
    def begin_row(self, *inputs: Any) -> Any:
        """For a whole row."""

    @abstractmethod
    def at(self, j: int, *inputs: Any) -> Any:
        """For the pixel in column j; may be asked again with other values of the pixel."""

    @abstractmethod
    def select(self, index: Tensor) -> None:
        """Reorder the images."""


class _RowWiseMemory(Memory):
    """The results of a function of row-wise maps: computed when a row begins, handed out a column at a time."""

    def __init__(self, stream: Stream, function: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__(stream)
        self.function = function

    def begin_row(self, *inputs: Any) -> tuple[Tensor, ...]:
        results = self.function(*inputs)
        self.stream.check_row_wise(*results)
        self.columns = list(zip(*(columns_of(x) for x in results), strict=True))
        return results

    def at(self, j: int, *inputs: Any) -> tuple[Tensor, ...]:
        return self.columns[j]

    def select(self, index: Tensor) -> None:
        """Nothing is kept from row to row."""


def row_wise(method: Function) -> Function:
    """Mark a module's method whose results, a tuple of maps ``(B, ·, H, W)``, depend on the rows above alone.

    A stream then computes them once a row. Without the mark they would be computed again at each pixel.
    """

    @functools.wraps(method)
    def run(module: Any, *inputs: Any) -> Any:
        stream = current_stream()
        if stream is None:
            return method(module, *inputs)
        make = functools.partial(_RowWiseMemory, function=functools.partial(method, module))
        return stream.run((module, method), make, *inputs)

    return cast("Function", run)


def map_here(parameters: Tensor, height: int) -> Tensor:
    """The first ``height`` rows of ``(1, F, H, W)``; in a stream, the row or the pixel on which the model runs."""
    stream = current_stream()
    if stream is None:
        return parameters[:, :, :height]
    row = parameters[:, :, stream.row : stream.row + 1]
    return row if stream.column is None else row[:, :, :, stream.column : stream.column + 1]


def columns_of(x: Tensor) -> Sequence[Tensor]:
    """The columns ``(B, ·, 1, 1)`` of ``(B, ·, 1, W)``."""
    return x.permute(3, 0, 1, 2).contiguous().unsqueeze(-1).unbind()
