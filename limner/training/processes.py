"""Which processes train together, and what they tell each other; nothing else asks ``torch.distributed``.

Each process is a *rank* and works on its slice of every batch, with its slice of the noise that is drawn for the whole
batch. Between backward and step the gradients of all are added up in one go, so that the same batch gives the same step
on any number of ranks, whatever the loss, and each keeps the whole state. It is StyleGAN's and R3GAN's way and not
DDP's: a wrapper sees neither two players, nor penalties with a gradient of the gradient.
"""

from __future__ import annotations

import copy
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from limner.devices import wide
from limner.distributions import at_least_float32
from limner.errors import LimnerError, LostProcess, setting

__all__ = ["ALONE", "Processes", "joined", "share_moments"]

TIMEOUT = timedelta(seconds=120)  # of an exchange in a step: a machine that was cut off does not say so
PATIENCE = timedelta(hours=1)  # of one before the first step: data are read, and step times measured


@dataclass(frozen=True)
class Processes:
    """This process among those that train together; by default it trains alone, and every exchange is nothing.

    All ranks call the same methods in the same order.

    Attributes:
        rank: Which it is, from 0.
        count: How many there are.

    Raises:
        LimnerError: In every exchange: another process has ended, or cannot be reached.
    """

    rank: int = 0
    count: int = 1
    steps: Any = None
    """The process group of training's exchanges; None is that of all others."""

    @property
    def first(self) -> bool:
        """Whether it is the one that writes and speaks."""
        return self.rank == 0

    def slice(self, n: int) -> tuple[int, int]:
        """Where this rank's part of ``n`` images begins and ends; no two parts differ by more than one image."""
        return n * self.rank // self.count, n * (self.rank + 1) // self.count

    def check_enough(self, images: int) -> None:
        """Raise a ``LimnerError`` where a batch has fewer ``images`` than there are ranks."""
        if images < self.count:
            raise LimnerError(
                f"{self.count} processes need as many images in a batch at least, not {images}: "
                f"take a larger {setting('batch_size', '...')} or fewer processes"
            )

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Each becomes its sum over all ranks, in place."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([tensor.flatten() for tensor in tensors])
        with _exchange():
            dist.all_reduce(flat, group=self.steps)
        for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view_as(tensor))

    def sums(self, numbers: Mapping[str, float]) -> dict[str, float]:
        """Each number's sum over all ranks."""
        if self.count == 1:
            return dict(numbers)
        total = torch.tensor(list(numbers.values()), dtype=torch.float64)
        self.add([total])
        return dict(zip(numbers, total.tolist(), strict=True))

    def agreed(self, number: float) -> float:
        """The ``number`` of rank 0."""
        return self.largest(number if self.first else -math.inf)

    def largest(self, number: float) -> float:
        """The largest ``number`` of all ranks."""
        if self.count == 1:
            return number
        found = torch.tensor(number, dtype=torch.float64)
        with _exchange():
            dist.all_reduce(found, dist.ReduceOp.MAX, self.steps)
        return found.item()

    def told(self, what: Any) -> Any:
        """``what`` rank 0 has, of what JSON knows; the others give anything."""
        if self.count == 1:
            return what
        text = torch.frombuffer(bytearray(json.dumps(what).encode()), dtype=torch.uint8)
        size = torch.tensor(len(text))
        with _exchange():
            dist.broadcast(size, 0)
            text = text if self.first else torch.empty(int(size), dtype=torch.uint8)
            dist.broadcast(text, 0)
        return json.loads(bytes(text.tolist()))

    def tensors(self, found: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors of rank 0 by name, on the CPU; the others give anything."""
        if self.count == 1:
            return dict(found)
        kinds = self.told({n: (str(t.dtype).removeprefix("torch."), list(t.shape)) for n, t in found.items()})
        everything = {}
        for name, (dtype, shape) in kinds.items():
            tensor = found[name] if self.first else torch.empty(shape, dtype=getattr(torch, dtype))
            raw = tensor.contiguous().view(-1).view(torch.uint8) if tensor.numel() else tensor
            with _exchange():
                dist.broadcast(raw, 0)
            everything[name] = tensor
        return everything

    def gathered(self, tensor: Tensor) -> Tensor:
        """The rows of all ranks ``(n, ...)``, as many as each has, one below the other."""
        if self.count == 1:
            return tensor
        sizes = self.sums({str(rank): float(len(tensor) * (rank == self.rank)) for rank in range(self.count)})
        most = int(max(sizes.values()))
        padded = torch.cat([tensor, tensor.new_zeros(most - len(tensor), *tensor.shape[1:])]).contiguous()
        parts = [torch.empty_like(padded) for _ in range(self.count)]
        with _exchange():
            dist.all_gather(parts, padded, self.steps)
        return torch.cat([part[: int(n)] for part, n in zip(parts, sizes.values(), strict=True)])

    def check_alike(self, tensors: Sequence[Tensor]) -> None:
        """Raise a ``LimnerError`` where ``tensors`` are not the same on all ranks, bit for bit."""
        if self.count == 1:
            return
        total = float(sum(wide(tensor.detach()).sum().item() for tensor in tensors))
        if self.largest(total) != -self.largest(-total):
            raise LimnerError(
                "the weights of the processes are no longer the same: they run on different processors or versions of "
                "torch; the last checkpoint is whole, go on from it on like machines"
            )


ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """The processes that were started together, as the environment says in torchrun's words; else this one alone.

    Raises:
        LimnerError: The others cannot be reached.
    """
    count, rank = (int(os.environ.get(name, default)) for name, default in (("WORLD_SIZE", "1"), ("RANK", "0")))
    if count == 1:
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    where = os.environ.get("LIMNER_RENDEZVOUS", "env://")
    with _exchange():
        dist.init_process_group(backend, init_method=where, rank=rank, world_size=count, timeout=PATIENCE)
        steps = dist.new_group(timeout=TIMEOUT)
    try:
        yield Processes(rank, count, steps)
    finally:
        dist.destroy_process_group()


@contextmanager
def _exchange() -> Iterator[None]:
    """One exchange, in which another process may prove to be gone."""
    try:
        yield
    except RuntimeError as error:  # gloo's and nccl's are of this kind
        raise LostProcess(
            "another process of this training has ended or cannot be reached: the last checkpoint is whole, go on from "
            "it with `limner resume`"
        ) from error


def share_moments(model: nn.Module, processes: Processes) -> None:
    """Let the BatchNorm layers of ``model`` take mean and variance over the images of all ranks."""
    for module in model.modules() if processes.count > 1 else ():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.__class__, module.group = _BatchNormOfAll, processes.steps


class _Total(torch.autograd.Function):
    """The sum of all ranks' tensors; each has a part in the gradient of all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: Any) -> Tensor:
        ctx.group, total = group, x.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].clone()
        with _exchange():
            dist.all_reduce(total, group=ctx.group)
        return total, None


class _BatchNormOfAll(nn.modules.batchnorm._BatchNorm):
    """BatchNorm over the images of all ranks; torch's own (``SyncBatchNorm``) knows no CPU."""

    group: Any

    def __deepcopy__(self, memo: dict[int, Any]) -> _BatchNormOfAll:
        """A copy of its own weights in the same group, which cannot be copied."""
        memo[id(self.group)] = self.group
        copied = self.__class__.__new__(self.__class__)
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return copied

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - torch's name
        pass

    def _total(self, x: Tensor) -> Tensor:
        total: Tensor = _Total.apply(x, self.group)
        return total

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        dims = [d for d in range(x.dim()) if d != 1]
        wide, shape = at_least_float32(x), [1, -1, *[1] * (x.dim() - 2)]
        with _exchange():
            n = self._total(wide.new_tensor(float(x.numel() // x.shape[1])))
            mean = self._total(wide.sum(dims)) / n
            rest = wide - mean.view(shape)
            variance = self._total(rest.square().sum(dims)) / n
        self._remember(mean.detach(), (variance * n / (n - 1)).detach())
        y = rest * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(x.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), share)
        self.running_var.lerp_(variance.to(self.running_var), share)
