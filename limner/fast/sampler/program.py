"""A network unrolled into few kinds of operations, which a compiled loop runs row by row and pixel by pixel.

An output at pixel (i, j) is a sum over taps: products of an earlier layer's features at (i + di, j + dj) with a matrix.
Where all of them are known when row i begins, the operation runs once for the whole row; the others run a pixel (and,
of masked RGB networks, a channel group) at a time. Each activation is computed once, as in one forward pass.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["FOREVER", "Buffer", "Builder", "Dest", "Program", "Source", "Tap", "padded"]

FOREVER = 62
"""The level of a buffer with one place for all pixels: i >> 62 = 0."""

# What stands in a row of ``Program.operations``; the compiled loop reads by these names.
FIELDS = (
    "step", "phase_i", "phase_j", "columns", "flat", "first_tap", "taps", "weights", "width", "inputs",
    "start", "start_at", "activation", "count", "raw", "raw_at", "out", "out_at",
    "post", "post_to", "post_at", "add", "add_at", "cell", "cell_at", "carry",
)  # fmt: skip
ACTIVATIONS = {"none": 0, "tanh-gate": 1, "gate": 2}  # tanh(a) σ(b), a σ(b) of the halves
POSTS = {"none": 0, "relu": 1, "squared-relu": 2, "concat-elu": 3, "rms-norm": 4, "plus": 5, "rms-norm-concat-elu": 6}


class Source(NamedTuple):
    """Features of a buffer at the operation's own place, from channel ``at`` on."""

    buffer: int
    at: int = 0


Dest = Source


class Tap(NamedTuple):
    """``inputs`` features of a buffer, ``di`` rows and ``dj`` columns away, and the matrix ``(inputs, outputs)``."""

    buffer: int
    weight: Tensor
    di: int = 0
    dj: int = 0
    at: int = 0


class Buffer(NamedTuple):
    """A ring of the last ``rows`` rows of a map with ``channels`` features, a border of ``pad`` zeros on both sides.

    A map of level l has one place for 2^l × 2^l pixels. In memory: (rows, columns, images, channels).
    """

    channels: int
    rows: int
    columns: int
    pad: int
    level: int

    @property
    def size(self) -> int:
        """Numbers an image."""
        return self.rows * (self.columns + 2 * self.pad) * self.channels


@dataclass
class Program:
    """See the module's text.

    ``row`` runs when a row begins, ``pixel[g]`` before channel group g of a pixel is drawn. ``per_image`` are buffers
    that depend on the class: filled from their table ``(K, channels)`` before anything runs.
    """

    buffers: list[Buffer]
    operations: np.ndarray  # int64 (operations, len(FIELDS))
    taps: np.ndarray  # int64 (taps, 5): buffer, di, dj, channel, K
    weights: np.ndarray
    row: tuple[int, int]
    pixel: list[tuple[int, int]]
    source: int  # the buffer of what is drawn
    embedding: np.ndarray  # (C, L, E): what a drawn level (or symbol) writes into the input, from channel c on
    parameters: int
    parameters_at: list[int]  # where channel c's begin
    parameter_count: int  # how many
    head: str  # one of ``draws.HEADS``
    components: int  # of a mixture
    per_image: dict[int, Tensor] = field(default_factory=dict)
    patch: int = 1  # side of what a place of the map stands for
    place: tuple[int, int] = (-1, -1)  # a buffer filled when a row begins: from ``position``, plus a per-image buffer
    position: np.ndarray | None = None  # (rows, columns, channels)
    context: int = -1  # a buffer of all rows, filled with what else is known of each pixel


def padded(count: int, lanes: int) -> int:
    """``count`` rounded up to whole vectors."""
    return -(-count // lanes) * lanes


class Builder:
    """Collects the buffers and operations of a network.

    Args:
        width: Columns of the images.
        dtype: Of the network.
        groups: How many times a pixel is worked on: once, or once a channel.
        vector_bytes: Width of a register.
        vectors: Widths of the kernel's tiles, in vectors, the widest first.
    """

    def __init__(
        self, width: int, dtype: torch.dtype, groups: int, vector_bytes: int, vectors: tuple[int, ...]
    ) -> None:
        self.width, self.dtype, self.vectors = width, dtype, vectors
        self.lanes = vector_bytes // dtype.itemsize
        self.buffers: list[Buffer] = []
        self.per_image: dict[int, Tensor] = {}
        self._phases: list[list[list[int]]] = [[] for _ in range(groups + 1)]  # rows first
        self._taps: list[tuple[int, ...]] = []
        self._weights: list[Tensor] = []
        self._used = 0

    def buffer(self, channels: int, *, rows: int = 1, pad: int = 0, level: int = 0) -> int:
        """A new map; ``level=FOREVER`` for what lives only while a pixel is worked on."""
        self.buffers.append(Buffer(channels, rows, -(-self.width // 2**level), pad, level))
        return len(self.buffers) - 1

    def labels(self, table: Tensor) -> int:
        """A buffer that holds for each image the row of ``table`` ``(K, N)`` that its class names."""
        index = self.buffer(table.shape[1], level=FOREVER)
        self.per_image[index] = table.detach()
        return index

    def whole(self, matrix: Tensor) -> Tensor:
        """The columns ``(..., N)`` padded to whole vectors."""
        return _pad(matrix, padded(matrix.shape[-1], self.lanes))

    def halves(self, matrix: Tensor) -> Tensor:
        """The columns ``(..., 2p)`` of a gate, each half padded to whole vectors."""
        half = matrix.shape[-1] // 2
        return torch.cat([self.whole(matrix[..., :half]), self.whole(matrix[..., half:])], -1)

    def operation(
        self,
        phase: int | None,
        taps: list[Tap],
        *,
        bias: Tensor | None = None,
        start: Source | None = None,
        activation: str = "none",
        count: int | None = None,
        raw: Dest | None = None,
        out: Dest | None = None,
        post: str = "none",
        post_to: Dest | None = None,
        add: Source | None = None,
        cell: Source | None = None,
        carry: int = 0,
        level: int = 0,
        step: int | None = None,
        phase_i: int = 0,
        phase_j: int = 0,
    ) -> None:
        """``y = start + Σ taps`` → ``raw``; ``z = activation(y) + add`` → ``out``; ``post(z)`` → ``post_to``.

        Args:
            phase: None when a row begins; else the group.
            taps: What is summed; a gate's columns come from ``halves``.
            bias: ``(N,)`` begins the sum, zeros by default.
            start: Or what a buffer holds.
            activation: One of ACTIVATIONS.
            count: Features of z; by default N.
            raw: Where y goes, padded to whole vectors.
            out: Where z goes.
            post: One of POSTS.
            post_to: Where post(z) goes; concat-elu writes its second half from the middle of the buffer on,
                one after rms-norm is of what that gives.
            add: What is added; of the post "plus" it is to z in ``post_to`` only.
            cell: Makes the sums the gates o, f, i, g of an LSTM, each padded to whole vectors, and z its hidden state.
                Where the cells go, padded likewise.
            carry: Column of the cell before, from the pixel's: -1 or 1, or 0 where it is the one that is replaced.
                With 1 a row is computed from right to left.
            level: Of the places that are computed.
            step: Rows and columns of pixels between two of them, 2^level by default.
            phase_i: Row of the first; so 1 leaves out row 0.
            phase_j: Column of the first.
        """
        outputs = taps[0].weight.shape[1]
        if outputs == 0:  # fewer features than channels
            return
        # The kernel sums at least one input.
        taps = [tap for tap in taps if len(tap.weight)] or [Tap(taps[0].buffer, torch.zeros(1, outputs))]
        width = padded(outputs, self.lanes)
        step = 2**level if step is None else step
        matrix = _pad(torch.cat([tap.weight.detach().to("cpu", self.dtype) for tap in taps]), width)  # (Σ K, N)
        same = all(self.buffers[tap.buffer].level == level for tap in taps) and step == 2**level
        of_class = start is not None and self.buffers[start.buffer].level == FOREVER
        operation = dict.fromkeys(FIELDS, -1) | {
            "step": step, "phase_i": phase_i, "phase_j": phase_j,
            "columns": -(-self.width // 2**level), "flat": int(same and not carry) * (2 if of_class else 1),
            "first_tap": len(self._taps), "taps": len(taps), "weights": self._store(matrix), "width": width,
            "inputs": len(matrix), "activation": ACTIVATIONS[activation], "post": POSTS[post],
            "count": outputs if count is None else count, "carry": carry,
        }  # fmt: skip
        if start is None:
            bias = torch.zeros(outputs) if bias is None else bias.detach().to("cpu", self.dtype)
            operation["start_at"] = self._put(_pad(bias, width).to(self.dtype))
        else:
            operation["start"], operation["start_at"] = start
        for name, place in (("raw", raw), ("out", out), ("post_to", post_to), ("add", add), ("cell", cell)):
            if place is not None:
                operation[name], operation[name.removesuffix("_to") + "_at"] = place
        self._taps += [(tap.buffer, tap.di, tap.dj, tap.at, len(tap.weight)) for tap in taps]
        self._phases[0 if phase is None else phase + 1].append([operation[name] for name in FIELDS])

    def program(
        self,
        source: int,
        embedding: Tensor,
        parameters: int,
        parameters_at: list[int],
        parameter_count: int,
        head: str,
        components: int = 1,
        **options: Any,
    ) -> Program:
        """All that was collected; the arguments are those of ``Program``."""
        ends = np.cumsum([len(phase) for phase in self._phases]).tolist()
        operations = [x for phase in self._phases for x in phase]
        return Program(
            self.buffers, np.array(operations, dtype=np.int64), np.array(self._taps, dtype=np.int64),
            torch.cat(self._weights).numpy(), (0, ends[0]), list(itertools.pairwise(ends)),
            source, self.numpy(embedding), parameters, parameters_at,
            parameter_count, head, components, self.per_image, **options,
        )  # fmt: skip

    def numpy(self, values: Tensor) -> np.ndarray:
        """Values as the program holds them."""
        return values.detach().to("cpu", self.dtype).contiguous().numpy()

    def _store(self, matrix: Tensor) -> int:
        """The weights ``(K, N)`` as panels, each as wide as a tile: all of its rows one after the other."""
        at, left = self._used, 0
        while left < matrix.shape[1]:
            tile = next(v for v in self.vectors if v * self.lanes <= matrix.shape[1] - left) * self.lanes
            self._put(matrix[:, left : left + tile])
            left += tile
        return at

    def _put(self, values: Tensor) -> int:
        at = self._used
        self._weights.append(values.reshape(-1))
        self._used += values.numel()
        return at


def _pad(matrix: Tensor, width: int) -> Tensor:
    """Zero columns up to ``width``."""
    return torch.nn.functional.pad(matrix, (0, width - matrix.shape[-1]))
