"""Objectives: what one training step does. Each owns its optimizers and its moving average.

The single-loss objective serves every model that is a sum of named terms: exact likelihood, ELBO, reconstruction. The
adversarial one, of two players, has a file of its own.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Generic, TypeVar

import torch
from lightning_fabric import Fabric
from torch import Tensor

from limner.data.batches import Batch
from limner.devices import beside, wide
from limner.distributions import at_least_float32
from limner.errors import LimnerError, setting
from limner.models.contracts import Model, Scores
from limner.models.recipes import TrainingConfig
from limner.noise import part_of_batch
from limner.training.checkpoints import restore_module, with_prefix
from limner.training.doctor import Diagnosis, Doctor
from limner.training.dropout import draw_dropout_from
from limner.training.ema import MovingAverage
from limner.training.optimizers import Optimizers
from limner.training.processes import ALONE, Processes, share_moments

__all__ = ["Objective", "SingleLoss", "add_share", "check_finite"]

M = TypeVar("M", bound=Model)
GENERATOR_BYTES = {"cpu": 5056, "cuda": 16}  # of a generator's state, where it is known


class Objective(ABC, Generic[M]):
    """What the loop drives.

    Attributes:
        metric: The validation metric that chooses the weights to keep, the smaller the better; None: the last are kept.
        yardstick: What it is measured with, where that may change from one limner to the next: the values do not
            compare then.
        tolerance: How far, as a fraction, it may exceed the smallest before it is worse: the later weights are kept up
            to there.
        most_skipped: Steps in a row that are skipped where the loss is finite and its gradient is not.
        doctor: Says what is wrong with the run; None where there is none.
        model: What is trained; its parameters are changed in place.
        processes: Which train it together.
        average: The moving average of its weights.
        optimizers: By the names of their state.
    """

    metric: str | None = None
    yardstick: str | None = None
    tolerance: float = 0.0
    most_skipped: int = 0
    doctor: Doctor | None = None

    def __init__(
        self,
        model: M,
        config: TrainingConfig,
        fabric: Fabric,
        optimizers: Mapping[str, Optimizers],
        processes: Processes = ALONE,
    ) -> None:
        self.model, self.config, self.fabric, self.optimizers = model, config, fabric, optimizers
        self.processes = processes
        self.average = MovingAverage(model, config.ema_decay)
        share_moments(model, processes)
        self.skipped = 0  # in a row
        self.random = torch.Generator(model.device).manual_seed(config.seed)
        self.dropout = torch.Generator(model.device).manual_seed(config.seed)
        draw_dropout_from(self.dropout, model)

    @abstractmethod
    def step(self, batch: Batch, factor: float, step: int) -> dict[str, float]:
        """One step with the learning rates times ``factor``; gives what it measured, by name.

        Raises:
            LimnerError: Something is not finite; no weight has been changed by it then.
        """

    @abstractmethod
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Metrics of the averaged weights on ``batches``, ``metric`` among them; the same at each call."""

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """What is wrong with the run now."""
        return self.doctor.standing if self.doctor else ()

    def parts(self, batch: Batch) -> Iterator[tuple[Batch, float]]:
        """This process's slice of the batch in ``accumulate`` parts, one after the other, each with its share of all.

        While a part is at work what is drawn is its share of the whole batch's noise.
        """
        n = len(batch.images)
        first, last = self.processes.slice(n)
        parts = min(self.config.accumulate, n // self.processes.count)  # the same number in all processes
        if parts == self.processes.count == 1:
            yield batch, 1.0
            return
        generators = (self.random, self.dropout)
        states = [g.get_state() for g in generators]
        for i in range(parts):
            start, stop = (first + (last - first) * part // parts for part in (i, i + 1))
            for generator, state in zip(generators, states, strict=True):
                generator.set_state(state)
            with part_of_batch(start, stop, n):
                yield batch[start:stop], (stop - start) / n

    def slices(self, batches: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
        """This process's slice of each batch, to be measured: each image counts in one process."""
        for batch in batches:
            n = len(batch.images)
            if n < self.processes.count:  # not one each
                yield batch, float(self.processes.first)
                continue
            start, stop = self.processes.slice(n)
            with part_of_batch(start, stop, n):
                yield batch[start:stop], 1.0

    def descend(
        self, losses: Iterable[Tensor], means: dict[str, float], optimizer: str, factor: float, step: int
    ) -> float:
        """Move the parameters of the ``optimizer`` of that name against the gradient of the sum of ``losses``.

        Each is forgotten before the next is asked for; ``means`` are what they add up to by name, of this process's
        images, and become those of all. Gives the gradient's norm; where that is not finite nothing moves.

        Raises:
            LimnerError: A mean is not finite, or the norm has not been for more than ``most_skipped`` steps; no weight
                has been changed then.
        """
        self.clear_gradients()
        for loss in losses:
            self.fabric.backward(loss)
            del loss
        means.update(self.processes.sums(means))
        check_finite(means, step)
        parameters = self.optimizers[optimizer].names.values()
        self.processes.add([p.grad for p in parameters if p.grad is not None])
        norm = self.optimizers[optimizer].clipped_step(factor, self.config.clip_norm)
        self.skipped = 0 if math.isfinite(norm) else self.skipped + 1
        if self.skipped > self.most_skipped:
            gradients = ((n, p.grad) for n, p in self.model.named_parameters() if p.grad is not None)
            infinite = (name for name, gradient in gradients if not gradient.isfinite().all())
            worst = next(infinite, "the whole network (its norm overflows)")
            raise _diverged(f"the gradient of {worst}", norm, step)
        return norm

    def clear_gradients(self) -> None:
        """What ``optimizer.zero_grad`` does, in a fifth of its time."""
        for optimizer in self.optimizers.values():
            for parameter in optimizer.names.values():
                parameter.grad = None

    def state(self) -> dict[str, Tensor]:
        """Weights, average, optimizers and random generators, by name."""
        tensors = with_prefix("weights", self.model.state_dict())
        tensors |= with_prefix("ema", self.average.averaged.state_dict())
        for name, optimizer in self.optimizers.items():
            tensors |= with_prefix(name, optimizer.state())
        return tensors | {"generator": self.random.get_state(), "dropout_generator": self.dropout.get_state()}

    def restore(self, tensors: Mapping[str, Tensor], path: Path) -> None:
        """Take over a ``state`` read from ``path``; of another kind of device all but the random numbers.

        Raises:
            LimnerError: A piece is missing or does not fit: a run never goes on from half a state.
        """
        restore_module(self.model, "weights", tensors, path)
        restore_module(self.average.averaged, "ema", tensors, path)
        try:
            for name, optimizer in self.optimizers.items():
                optimizer.restore(tensors, f"{name}.")
            noise, own = tensors["generator"], self.random.device.type
            if len(noise) in (size for kind, size in GENERATOR_BYTES.items() if kind != own):
                return  # the run was on another kind of device, whose random numbers do not go on here
            # Of an older run, whose dropout drew from torch's global generator, which began alike.
            before = tensors.get("cuda_generator" if own == "cuda" else "global_generator")
            self.random.set_state(noise)
            self.dropout.set_state(tensors["dropout_generator"] if before is None else before)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise LimnerError(f"{path} lacks a piece of the training state: {error}") from error

    def check_weights(self, step: int) -> None:
        """Raise a ``LimnerError`` where a weight is not finite: what is about to be saved must be of use."""
        for name, parameter in self.model.named_parameters():
            if not parameter.isfinite().all():
                raise _diverged(f"the weight {name}", math.nan, step)


class SingleLoss(Objective[Model]):
    """Minimise the images' mean sum of the model's terms, by AdamW or Muon, clipped, with a moving average.

    The sum is called ``nats`` where it is -ln p(x) or a bound of it, else ``error``. A batch whose gradient overflows,
    of which a hierarchical VAE may have one in thousands, is skipped (docs/notes/gpu.md; large ones are in Child
    2021, arXiv 2011.10650).
    """

    metric: str
    most_skipped = 3

    def __init__(self, model: Model, config: TrainingConfig, fabric: Fabric, processes: Processes = ALONE) -> None:
        self.metric = "nats" if isinstance(model, Scores) else "error"
        super().__init__(model, config, fabric, {"optimizer": Optimizers(model.train(), config)}, processes)

    def step(self, batch: Batch, factor: float, step: int) -> dict[str, float]:
        """One step with the learning rate times ``factor``; gives the loss, its terms, and the gradient's norm.

        Of a skipped step: ``skipped``, 1, in place of the norm.

        Raises:
            LimnerError: A term is not finite, or the gradient of too many steps; no weight has been changed then.
        """
        means: dict[str, float] = {}
        norm = self.descend(self.losses(batch, means), means, "optimizer", factor, step)
        self.average.update(step)
        size = {"gradient_norm": norm} if math.isfinite(norm) else {"skipped": 1.0}
        return {self.metric: sum(means.values())} | means | size

    def losses(self, batch: Batch, means: dict[str, float]) -> Iterator[Tensor]:
        """The loss of each part of the batch; ``means`` get the terms of all."""
        for part, share in self.parts(batch):
            loss, terms = self.loss(part)
            add_share(means, terms, share)
            yield share * loss if share < 1 else loss
            del loss

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, float]]:
        """The mean over the batch of the sum of all terms, and each term's mean."""
        with self.fabric.autocast():
            terms = self.model(batch.images, self.random, batch.labels)
        averages = {name: beside(at_least_float32(term).mean()) for name, term in terms.items()}
        return torch.stack(list(averages.values())).sum(), {name: mean.item() for name, mean in averages.items()}

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """Mean of each term over ``batches`` under the averaged weights, and their sum; in float32.

        Of p(x|y) where the model has classes and the batches labels, else of p(x). The noise of a bound is the same at
        each call, so that two evaluations differ by their weights only.
        """
        model = self.average.averaged
        generator = torch.Generator(model.device).manual_seed(self.config.seed + 1)
        sums: dict[str, float] = {"images": 0.0}
        for batch, counts in self.slices(batches):
            terms = model(batch.images.to(model.device), generator, batch.labels)
            found = {name: float(wide(term).sum()) for name, term in terms.items()}
            add_share(sums, found | {"images": float(len(batch.images))}, counts)
        sums = self.processes.sums(sums)
        n = sums.pop("images")
        means = {name: total / n for name, total in sums.items()}
        return {self.metric: sum(means.values())} | means


def add_share(means: dict[str, float], found: Mapping[str, float], share: float) -> None:
    """Add what was ``found`` in a part of the images to the ``means`` of all; nothing where its share is 0."""
    for name, value in found.items():
        means[name] = means.get(name, 0.0) + (share * value if share else 0.0)


def check_finite(means: Mapping[str, float], step: int) -> None:
    """Raise a ``LimnerError`` where a term is not finite."""
    for name, value in means.items():
        if not math.isfinite(value):
            raise _diverged(f"the term {name!r}", value, step)


def _diverged(what: str, value: float, step: int) -> LimnerError:
    return LimnerError(
        f"training stopped at step {step}: {what} became {value}; the last good checkpoint is kept: "
        f"resume from it with a lower rate ({setting('learning_rate', '...')}), or in float32 "
        f"({setting('precision', 'float32')})"
    )
