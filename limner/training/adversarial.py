"""The adversarial objective: a discriminator and a generator in turn, k steps of the one for each of the other.

The two players and the losses of their game are in ``limner/models/gan.py``; here is who moves when (Goodfellow et al.
2014, algorithm 1), the penalties on the discriminator, the optimizers, and which weights are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from lightning_fabric import Fabric
from torch import Tensor

from limner.data.batches import Batch
from limner.devices import beside, wide
from limner.distributions import at_least_float32
from limner.errors import LimnerError
from limner.models.contracts import uniform
from limner.models.gan import GAN, OBJECTIVES, relativistic
from limner.models.recipes import AdversarialConfig
from limner.training.diffaugment import changed
from limner.training.doctor import Doctor
from limner.training.objectives import Objective, add_share
from limner.training.optimizers import Optimizers
from limner.training.processes import ALONE, Processes

__all__ = ["Adversarial", "gradient_penalty", "zero_centred_penalty"]

STATISTICS_BATCHES = 16  # 4 to 50 are alike
Measure = Callable[[GAN, Sequence[Batch]], Mapping[str, float]]


def gradient_penalty(logits: Tensor, x: Tensor) -> Tensor:
    r""":math:`(\|\nabla_x D(x)\| - 1)^2`, ``(B,)``, of the logits ``(B,)`` of images ``x`` between real and fake.

    WGAN-GP (Gulrajani et al. 2017, arXiv 1704.00028, equation 3).
    """
    return (_slopes(logits, x).norm(dim=1) - 1) ** 2


def zero_centred_penalty(logits: Tensor, x: Tensor) -> Tensor:
    r""":math:`\tfrac12 \|\nabla_x D(x)\|^2`, ``(B,)``: R1 of real images ``x``, R2 of samples.

    Mescheder et al. 2018 (arXiv 1801.04406), equations 9 and 10.
    """
    return 0.5 * _slopes(logits, x).square().sum(1)


def _slopes(logits: Tensor, x: Tensor) -> Tensor:
    """The gradient of each image's logit in the image, ``(B, C·H·W)``, itself differentiable."""
    return torch.autograd.grad(logits.sum(), x, create_graph=True)[0].flatten(1)


class Adversarial(Objective[GAN]):
    """Two players, each with its optimizer and its rate, and moving averages of their weights.

    Args:
        model: The players; their parameters are changed in place.
        config: The numbers.
        fabric: Device and precision.
        measure: Metrics of the averaged GAN on validation batches, ``distance`` (the smaller the better) among them:
            it chooses the weights to keep. Without it the last are kept. ``blurred_distance``, that of blurred images,
            is for the doctor.
        yardstick: What ``measure`` measures with.
        processes: Which train it together.
    """

    config: AdversarialConfig
    doctor: Doctor
    # Of the distance of 2,000 samples: at a plateau the later weights are the more precise (docs/notes/gan.md).
    tolerance = 0.2

    def __init__(
        self,
        model: GAN,
        config: AdversarialConfig,
        fabric: Fabric,
        measure: Measure | None = None,
        yardstick: str | None = None,
        processes: Processes = ALONE,
    ) -> None:
        model.train()
        self.yardstick = yardstick
        self.losses, self.measure = OBJECTIVES[config.objective], measure
        self.metric = None if measure is None else "distance"
        other = replace(config, learning_rate=config.discriminator_learning_rate)
        optimizers = {
            "generator_optimizer": Optimizers(model.generator, config),
            "discriminator_optimizer": Optimizers(model.discriminator, other),
        }
        super().__init__(model, config, fabric, optimizers, processes)
        self.doctor = Doctor(config.objective, config.batch_size)

    def step(self, batch: Batch, factor: float, step: int) -> dict[str, float]:
        """One step of the discriminator with the rates times ``factor``, and of the generator after every k-th.

        Returns:
            ``discriminator``, ``generator`` (losses), ``penalty`` (weighted; where it is due), ``real_logit``,
            ``fake_logit`` (means), ``accuracy`` (of the pairs of an image and a sample, those in which the image has
            the larger logit), the norm of each player's gradient, and ``sample_diversity`` (mean distance of two
            samples, divided by that of two images). Those of the generator only where it made a step.

        Raises:
            LimnerError: A loss or a gradient is not finite; no weight has been changed by it then.
        """
        metrics = self.discriminator_step(batch, factor, step)
        if (step + 1) % self.config.discriminator_steps == 0:
            metrics |= self.generator_step(batch, factor, step)
            self.average.update(step // self.config.discriminator_steps)
        if self.doctor:
            self.doctor.see(metrics, step + 1)
        return metrics

    def discriminator_step(self, batch: Batch, factor: float, step: int) -> dict[str, float]:
        """One step of the discriminator; see ``step``."""
        means: dict[str, float] = {}
        losses = self.discriminator_losses(batch, means, step)
        norm = self.descend(losses, means, "discriminator_optimizer", factor, step)
        return means | {"discriminator_gradient_norm": norm}

    def discriminator_losses(self, batch: Batch, means: dict[str, float], step: int) -> Iterator[Tensor]:
        """The loss of each part; ``means`` get what ``step`` gives but the norm."""
        every = self.config.penalty_every
        penalty = self.config.chosen_penalty if step % every == 0 else "none"
        for part, share in self.parts(batch):
            x, y = self._images(part)
            with torch.no_grad():
                samples = self._samples(len(x), y)
            x.requires_grad_(penalty in ("r1", "r1+r2"))
            samples.requires_grad_(penalty == "r1+r2")
            real, fake = self._logits(x, y), self._logits(samples, y)
            loss = self.losses(real, fake)[0].mean()
            found = {"discriminator": loss.item()}
            if penalty != "none":
                weighted = self._penalty(real, x, fake, samples, y).mean()
                found["penalty"] = weighted.item()
                loss = loss + every * weighted
            found |= {"real_logit": real.mean().item(), "fake_logit": fake.mean().item()}
            add_share(means, found | {"accuracy": wide(real > fake).mean().item()}, share)
            del real, fake
            yield share * loss if share < 1 else loss
            del loss

    def _penalty(self, real: Tensor, x: Tensor, fake: Tensor, samples: Tensor, y: Tensor | None) -> Tensor:
        """The weighted penalty of each pair, ``(B,)``."""
        if self.config.chosen_penalty == "gradient":
            share = uniform((len(x), 1, 1, 1), self.random, x.device)
            between = (samples + share * (x - samples)).requires_grad_()
            return self.config.gradient_penalty * gradient_penalty(self._logits(between, y), between)
        penalty = zero_centred_penalty(real, x)
        if self.config.chosen_penalty == "r1+r2":
            penalty = penalty + zero_centred_penalty(fake, samples)
        return self.config.zero_penalty * penalty

    def generator_step(self, batch: Batch, factor: float, step: int) -> dict[str, float]:
        """One step of the generator; see ``step``."""
        drawn: list[Tensor] = []
        metrics: dict[str, float] = {}
        losses = self.generator_losses(batch, drawn, metrics)
        metrics["generator_gradient_norm"] = self.descend(losses, metrics, "generator_optimizer", factor, step)
        both = (self.processes.gathered(torch.cat(drawn)), self._images(batch)[0])
        distance, real_distance = (torch.pdist(beside(i.flatten(1).float())).mean().item() for i in both)
        metrics["sample_diversity"] = distance / max(real_distance, 1e-9)
        return metrics

    def generator_losses(self, batch: Batch, drawn: list[Tensor], means: dict[str, float]) -> Iterator[Tensor]:
        """The loss of each part; ``drawn`` get its samples, ``means`` the loss."""
        for part, share in self.parts(batch):
            x, y = self._images(part)
            samples = self._samples(len(x), y)
            real = torch.zeros_like(x[:, 0, 0, 0])
            if self.losses is relativistic:  # the only one whose generator looks at the data
                with torch.no_grad():
                    real = self._logits(x, y)
            self.model.discriminator.requires_grad_(False)
            loss = self.losses(real, self._logits(samples, y))[1].mean()
            self.model.discriminator.requires_grad_(True)
            add_share(means, {"generator": loss.item()}, share)
            drawn.append(samples.detach())
            del samples
            yield share * loss if share < 1 else loss
            del loss

    @torch.no_grad()
    def validate(self, batches: Iterable[Batch]) -> dict[str, float]:
        """``real_logit`` of ``batches``, ``fake_logit`` of the averaged generator's samples (means), ``accuracy``.

        And what ``measure`` says. The averaged generator's BatchNorm gets its standing statistics first. The logits are
        the discriminator's as it is: a ``real_logit`` far below that of the training says that it has learnt the
        training images by heart.
        """
        kept = list(batches)
        random = torch.Generator(self.model.device).manual_seed(self.config.seed + 1)
        averaged, player = self.average.averaged, self.model.discriminator.eval()
        steps = self.optimizers[
            "generator_optimizer"
        ].steps  # after a few on large images many batches would take longer
        size = max(2, self.config.batch_size // self.config.accumulate)
        averaged.take_standing_statistics(size, min(STATISTICS_BATCHES, max(1, steps)))
        sums: dict[str, float] = {}
        for batch, counts in self.slices(kept):
            x, y = self._images(batch)
            real = player(x, y)
            fake = player(averaged.generator(averaged.latents(len(x), generator=random), y), y)
            of_each = {"real_logit": real, "fake_logit": fake, "accuracy": real > fake}
            add_share(sums, {name: float(wide(values).sum()) for name, values in of_each.items()}, counts)
        player.train()
        n = sum(len(batch.images) for batch in kept)
        metrics = {name: total / n for name, total in self.processes.sums(sums).items()}
        metrics |= dict(self.measure(averaged, kept)) if self.measure else {}
        if "blurred_distance" in metrics:
            self.doctor.compare_with_blur(metrics["distance"], metrics["blurred_distance"])
        return metrics

    def _images(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """x in [-1, 1], ``(B, C, H, W)``, and the classes where the model has some."""
        x = self.model.intensities(self.model.checked_levels(batch.images))
        if self.model.classes and batch.labels is None:
            raise LimnerError("a conditional GAN learns from images with labels: these have none")
        return x, self.model.checked_labels(batch.labels, len(x)) if self.model.classes else None

    def _samples(self, n: int, y: Tensor | None) -> Tensor:
        """``n`` new images G(z) of the generator as it is, ``(n, C, H, W)``, of classes ``y``."""
        z = self.model.latents(n, generator=self.random)
        with self.fabric.autocast():
            return at_least_float32(self.model.generator(z, y))

    def _logits(self, x: Tensor, y: Tensor | None) -> Tensor:
        """D of images ``(B, C, H, W)`` of classes ``y``, ``(B,)``; of what ``config.augment`` makes of them."""
        x = changed(x, self.config.augmentations, self.random)
        with self.fabric.autocast():
            return at_least_float32(self.model.discriminator(x, y))
