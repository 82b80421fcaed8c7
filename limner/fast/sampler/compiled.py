"""The compiled cached sampler: the images in as many shares as there are threads, each with caches of its own."""

from __future__ import annotations

import functools
import itertools
import weakref
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limner.fast.sampler.draws import HEADS
from limner.fast.sampler.interpreter import CHUNK, PLACES, draw_row
from limner.fast.sampler.lowering import can_lower, lower
from limner.fast.sampler.program import FIELDS, Buffer, Program, padded
from limner.fast.threads import run_parallel
from limner.fast.tile import ROWS, VECTOR_BYTES, VECTORS
from limner.models.autoregressive import Autoregressive
from limner.sampling.rows import RowSampler

__all__ = ["CompiledRowSampler", "compiled_sampler", "program_of"]

_programs: weakref.WeakKeyDictionary[nn.Module, tuple[Any, Program]] = weakref.WeakKeyDictionary()


def program_of(model: Autoregressive) -> Program:
    """The model's program, made anew when its weights have changed."""
    state = [(p.data_ptr(), p._version) for p in model.parameters()]
    if model not in _programs or _programs[model][0] != state:
        with torch.no_grad():
            _programs[model] = state, lower(model, VECTOR_BYTES, VECTORS)
    return _programs[model][1]


def compiled_sampler(model: Autoregressive) -> type[RowSampler] | None:
    """The compiled sampler, if there is one for the model, its device and its precision."""
    plain = model.device.type == "cpu" and model.dtype in (torch.float32, torch.float64)
    return CompiledRowSampler if plain and can_lower(model) else None


class CompiledRowSampler(RowSampler):
    """See ``RowSampler``; for models that ``lower`` knows, on the CPU."""

    def __init__(self, model: Autoregressive, n: int, **options: Any) -> None:
        super().__init__(model, n, **options)
        self.program = program_of(model)
        if self.program.head == "DiscretizedGaussian":
            self.uniforms = torch.special.ndtri(self.uniforms)
        count = min(torch.get_num_threads(), n)
        ends = [n * x // count for x in range(count + 1)]
        self.parts = [_Part(self.program, slice(a, b), model.levels) for a, b in itertools.pairwise(ends)]
        for part in self.parts:
            for buffer, table in self.program.per_image.items():
                part.view(buffer)[0, 0] = table[self.labels].to(model.dtype).numpy()[part.span]
            if self.context is not None:
                part.view(self.program.context)[:] = self.context.permute(2, 3, 0, 1).numpy()[:, :, part.span]

    def _draw_row(self, i: int) -> Tensor | None:
        k, uniforms = self.k.numpy(), self.uniforms.numpy()
        given = None if self.given is None else self.given.numpy()
        jobs = [functools.partial(part.draw_row, i, k, uniforms, given) for part in self.parts]
        records = run_parallel(jobs)
        if given is None:
            return None
        record = torch.from_numpy(np.concatenate(records, 1))  # (W, n, padded parameters)
        size, starts = self.program.parameter_count, dict.fromkeys(self.program.parameters_at)
        return torch.cat([record[..., at : at + size] for at in starts], 2).permute(1, 2, 0).unsqueeze(2)

    def _select(self, index: Tensor) -> None:
        order = index.numpy()
        for b in range(len(self.program.buffers)):
            views = [part.view(b) for part in self.parts]
            whole = np.concatenate(views, 2)[:, :, order]
            for part, view in zip(self.parts, views, strict=True):
                view[:] = whole[:, :, part.span]

    @property
    def state_bytes(self) -> int:
        """Memory of the caches."""
        return sum(part.acts.nbytes for part in self.parts)


class _Part:
    """Neighbouring images: their caches, and the room that one thread works in."""

    def __init__(self, program: Program, span: slice, levels: int) -> None:
        self.program, self.span, self.images, self.levels = program, span, span.stop - span.start, levels
        dtype = program.weights.dtype
        line = 64 // dtype.itemsize
        rows, used = [], 0
        for b in program.buffers:
            rows.append((used, b.channels, b.rows, b.columns + 2 * b.pad, b.pad, b.level))
            used += -(-b.size * self.images // line) * line
        self.buffers = np.array(rows, dtype=np.int64)
        # The kernel reads and writes whole vectors, a little past the end of a buffer.
        self.acts = _aligned(used + 4 * line, dtype)
        widest = max(int(program.operations[:, FIELDS.index("width")].max()), *(b.channels for b in program.buffers))
        self.found = np.empty((int(program.operations[:, FIELDS.index("taps")].max()), 3), dtype=np.int64)
        self.scratch = _aligned(max(ROWS * widest, CHUNK // dtype.itemsize, len(program.embedding[0]) + line), dtype)
        self.work = np.zeros((5, padded(max(program.components, levels // 2 + 1), 8)))
        self.places = np.empty((len(program.operations), PLACES, 4), dtype=np.int64)
        self.sources = np.empty((len(program.taps), 1, 4), dtype=np.int64)
        self.position = np.empty((0, 0, 0), dtype) if program.position is None else program.position
        c, w = len(program.embedding), max(b.columns for b in program.buffers)
        self.record = np.empty((w, self.images, program.buffers[program.parameters].channels), dtype)
        self.groups = np.array(program.pixel, dtype=np.int64)
        at = program.parameters_at * (c // len(program.parameters_at))
        self.parameters_at = np.array(at, dtype=np.int64)

    def view(self, buffer: int) -> np.ndarray:
        """A buffer as ``(rows, columns, images, channels)``."""
        b: Buffer = self.program.buffers[buffer]
        start = self.buffers[buffer, 0]
        shape = (b.rows, b.columns + 2 * b.pad, self.images, b.channels)
        return self.acts[start : start + b.size * self.images].reshape(shape)

    def draw_row(self, i: int, k: np.ndarray, uniforms: np.ndarray, given: np.ndarray | None) -> np.ndarray:
        """Draw row i into ``k``; returns its parameters ``(W, images, ·)`` where pixels are given."""
        p = self.program
        record = self.record[:0] if given is None else self.record
        keep = np.empty((0, 0, 0), dtype=np.bool_) if given is None else given[self.span]
        draw_row(
            self.acts, p.weights, p.operations, p.taps, self.buffers, p.row, self.groups, self.images,
            p.source, p.embedding, HEADS.index(p.head), p.components, self.levels, p.patch, p.parameters,
            self.parameters_at, uniforms[self.span], k[self.span], keep, record, self.places, self.sources, self.found,
            self.scratch, self.work, i // p.patch, *p.place, self.position,
        )  # fmt: skip
        return record


def _aligned(count: int, dtype: np.dtype) -> np.ndarray:
    """Zeros that begin with a cache line."""
    room = np.zeros(count + 64 // dtype.itemsize, dtype)
    shift = -room.ctypes.data % 64 // dtype.itemsize
    return room[shift : shift + count]
