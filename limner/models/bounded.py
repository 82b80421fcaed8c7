"""Models p(x, z) with an encoder q(z|x), of which ln p(x) is bounded from below: what variational autoencoders share.

The ELBO itself is written out in ``vae.py``; the bound of K importance samples is in ``importance.py``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.data.levels import dequantize
from limner.devices import exact_device
from limner.distributions import PixelDistribution
from limner.errors import LimnerError
from limner.models.contracts import Bound, ConditionalConfig, Explicit, Numbers, standard_normal
from limner.models.importance import DECODED_BYTES, SAMPLES, Draw, ImportanceBound, Weights, log_sums, own_noise
from limner.ranges import NotNegativeReal, Positive

__all__ = ["Bounded", "BoundedConfig"]


@dataclass(frozen=True)
class BoundedConfig(ConditionalConfig):
    """Which bound is trained."""

    GONE: ClassVar[dict[str, Any]] = {"first_samples": 0}

    importance_samples: Positive = 1
    """K of the bound that is trained: 1 is the ELBO, more the IWAE (1509.00519)."""
    beta: NotNegativeReal = 1.0
    """β, the weight of the KL in training (1804.03599); the training loss is a bound where it is 1."""
    free_bits: NotNegativeReal = 0.0
    """λ: nats below which the KL of each group of latents, a batch's mean, is not pushed down in training (1606.04934,
    equation 15); the training loss is a bound where it is 0."""

    def __post_init__(self) -> None:
        if self.importance_samples > 1 and (self.beta != 1 or self.free_bits):
            raise LimnerError(
                f"importance_samples={self.importance_samples}: beta and free_bits change the ELBO; "
                "leave them at 1 and 0, or importance_samples at 1"
            )


class Bounded(Explicit):
    """A model with an encoder, trained and measured by a lower bound."""

    bound: ClassVar[Bound] = "lower"
    config: BoundedConfig
    default_importance_samples: int = 100  # K of the bound that is reported where nobody says otherwise
    decoded_values: int  # of the largest map while one sample is decoded
    normal_prior: bool = True  # whether p(z) is N(0, I)

    @abstractmethod
    def infer(self, levels: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        """What q(z|x) needs of ``levels`` int64 ``(B, C, H, W)``: tensors ``(B, ...)``, computed once an image."""

    @abstractmethod
    def weights(
        self, levels: Tensor, inferred: tuple[Tensor, ...], labels: Tensor | None, num_samples: int, draw: Draw
    ) -> Weights:
        """``num_samples`` z ~ q(z|x) for each image, and what the bounds are made of.

        Of levels int64 ``(B, C, H, W)``, of what ``infer`` gave of them and the labels, and of the noise of ``draw``.
        """

    @abstractmethod
    def codes(self, generator: torch.Generator | None) -> Numbers:
        """A function of n that draws ``n`` codes z ~ p(z), ``(n, latent)``."""

    @torch.no_grad()
    def latents(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """``n`` codes z ~ p(z), ``(n, latent)``."""
        return self.codes(generator)(n)

    @abstractmethod
    def _likelihood(self, z: Tensor, labels: Tensor | None) -> PixelDistribution:
        """p(x|z) over ``(B, C, H, W)``, of codes ``(B, latent)`` and, where there are classes, int64 ``(B,)``."""

    def likelihood(self, z: Tensor, labels: Tensor | None = None) -> PixelDistribution:
        """p(x|z) over ``(B, C, H, W)``, of codes ``(B, latent)``.

        Raises:
            LimnerError: There are classes and no labels, or labels that the model does not know.
        """
        labels = self.checked_labels(labels, len(z))
        if self.classes and labels is None:
            raise LimnerError(f"a code is decoded to an image of one of {self.classes} classes: give labels")
        return self._likelihood(z, labels)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of p(x|z), uint8 ``(B, C, H, W)``, of codes ``(B, latent)``; see ``likelihood``."""
        return torch.round(self.likelihood(z.to(self.device, self.dtype), labels).mean * 255).to(torch.uint8)

    @torch.no_grad()
    def sample(self, n: int, *, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """``n`` images, uint8 ``(n, C, H, W)``: z ~ p(z), then x ~ p(x|z), not only its mean.

        Of ``labels`` int64 ``(n,)``, or of classes drawn uniformly where the model has classes.

        Raises:
            LimnerError: Labels that the model does not know.
        """
        p, uniforms = self._drawn_likelihoods(n, generator, labels)
        return dequantize(p.icdf(uniforms.to(exact_device(self.device))), self.levels)

    @torch.no_grad()
    def sample_means(self, n: int, *, generator: torch.Generator | None = None, labels: Tensor | None = None) -> Tensor:
        """The mean of each p(x|z) that ``sample`` draws from with the same generator, uint8 ``(n, C, H, W)``.

        Raises:
            LimnerError: Labels that the model does not know.
        """
        return torch.round(self._drawn_likelihoods(n, generator, labels)[0].mean * 255).to(torch.uint8)

    def _drawn_likelihoods(
        self, n: int, generator: torch.Generator | None, labels: Tensor | None
    ) -> tuple[PixelDistribution, Tensor]:
        """p(x|z) of ``n`` codes z ~ p(z), and the uniforms to draw from it with."""
        labels, (z, uniforms) = self.drawn(n, generator, labels, self.codes(generator), self.uniforms(generator))
        return self.likelihood(z, labels), uniforms

    @property
    def loss_note(self) -> str | None:
        """That the training loss is no bound of -ln p(x), where it is none; what is validated and measured is one."""
        beta, free = self.config.beta, self.config.free_bits
        changes = [f"beta={beta:g}"] * (beta != 1) + [f"free_bits={free:g}"] * (free > 0)
        return f"{' and '.join(changes)}: the training loss is no bound of -ln p(x)" if changes else None

    @property
    def statistics_of_batch(self) -> list[str]:
        """The mean KL that ``free_bits`` looks at, too."""
        return super().statistics_of_batch + (["free_bits' mean KL"] if self.config.free_bits else [])

    def loss_terms(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``reconstruction`` = -ln p(x|z) of one z ~ q and ``kl``, nats, each ``(B,)``; their sum is -ELBO.

        With K > 1 importance samples only ``nll``, minus their bound, and likewise of a conditional model without
        labels. In training also what the loss is more than -ELBO, see ``elbo_terms``.
        """
        if self.config.importance_samples > 1 or (self.classes and labels is None):
            return {"nll": -self.log_prob(images, labels=labels, generator=generator)}
        levels = self.checked_levels(images)
        w = self._drawn_weights(levels, self.checked_labels(labels, len(levels)), generator)
        return self.elbo_terms(-w.log_x[0], w.kl[:, 0])

    def elbo_terms(self, reconstruction: Tensor, kl: Tensor) -> dict[str, Tensor]:
        """The named terms of a training step, of -ln p(x|z) ``(B,)`` and the KL of each group of latents ``(G, B)``.

        In training also ``beta``, (β - 1) KL, and ``free_bits``, β Σ_g max(0, λ - KL_g) of the batch's mean KL.
        """
        total, beta, free = kl.sum(0), self.config.beta, self.config.free_bits
        terms = {"reconstruction": reconstruction, "kl": total}
        if self.training and beta != 1:
            terms["beta"] = (beta - 1) * total
        if self.training and free:
            terms["free_bits"] = (beta * (free - kl.mean(1)).relu().sum()).expand_as(total)
        return terms

    def log_prob(
        self, images: Tensor, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The bound of ln p(x|y) that is trained, the ELBO or that of K samples, nats an image ``(B,)``.

        Without labels: of ln p(x), which a conditional model has as the mean of its classes' bounds' exponentials.

        Raises:
            LimnerError: Images of another shape or other levels than the model's, or labels it does not know.
        """
        levels = self.checked_levels(images)
        labels = self.checked_labels(labels, len(levels))
        ys = self._each_class(levels) if labels is None else [labels]
        bounds = torch.stack([self._drawn_weights(levels, y, generator).bound for y in ys])
        return torch.logsumexp(bounds, 0) - math.log(len(ys))

    @torch.no_grad()
    def importance_bound(self, images: Tensor, num_samples: int, *, seed: int = 0, first: int = 0) -> ImportanceBound:
        """The bound of ``num_samples`` samples (IWAE equation 8) of uint8 images ``(B, C, H, W)``.

        A limited number of samples goes through the decoder in one pass, so that memory does not grow with K; the
        weights are kept as running log-sums. Of a conditional model: of ln p(x), where p(x) is the mean of p(x|y) over
        the classes, and of each class.

        Args:
            images: The images.
            num_samples: K.
            seed: Of the noise, which is a function of it, of the image's index, and of the sample.
            first: Index of the first image.

        Raises:
            LimnerError: Images of another shape or other levels than the model's.
        """
        levels, parts = self.checked_levels(images), []
        for index in torch.arange(len(levels)).split(max(1, self.samples_per_pass // min(num_samples, SAMPLES))):
            part, names = levels[index], [f"{seed}/{first + i}" for i in index.tolist()]
            parts.append(torch.stack([self._log_sums(part, y, num_samples, names) for y in self._each_class(part)]))
        log_w, log_w2, elbo = torch.cat(parts, 2).unbind(1)  # each (classes, B)
        given_class = log_w - math.log(num_samples) if num_samples > 1 else elbo
        return ImportanceBound(
            log_prob=torch.logsumexp(given_class, 0) - math.log(len(elbo)),
            elbo=torch.logsumexp(elbo, 0) - math.log(len(elbo)),
            effective_samples=torch.exp(2 * torch.logsumexp(log_w, 0) - torch.logsumexp(log_w2, 0)),
            class_log_probs=given_class.T if self.classes else None,
        )

    @property
    def samples_per_pass(self) -> int:
        """Samples that go through the decoder in one pass when a bound is measured, by ``DECODED_BYTES``."""
        room = DECODED_BYTES.get(self.device.type, DECODED_BYTES["cpu"])
        return max(1, room // (self.decoded_values * self.dtype.itemsize))

    @torch.no_grad()
    def likeliest(self, images: Tensor) -> Tensor | None:
        """The class int64 ``(B,)`` whose ELBO, at the mean of q(z|x, y), is largest; None without classes."""
        if not self.classes:
            return None
        levels = self.checked_levels(images)

        def noiseless(s: int, shape: tuple[int, ...]) -> Tensor:
            return torch.zeros(s, len(levels), *shape, device=levels.device)

        weights = [self.weights(levels, self.infer(levels, y), y, 1, noiseless) for y in self._each_class(levels)]
        return torch.stack([w.bound for w in weights]).argmax(0)

    def _code(self, levels: Tensor, labels: Tensor | None) -> Tensor:
        """The mean of q(z|x), ``(B, latent)``."""
        return self.infer(levels, labels)[0]

    def features(self, images: Tensor) -> Tensor:
        """The mean of q(z|x), ``(B, latent)``, of uint8 images ``(B, C, H, W)``, with its gradient."""
        return self._code(self.checked_levels(images), self.likeliest(images))

    @torch.no_grad()
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean of q(z|x, y), ``(B, latent)``, of uint8 images; without labels of the ``likeliest`` class."""
        levels = self.checked_levels(images)
        labels = self.likeliest(images) if labels is None else self.checked_labels(labels, len(levels))
        return self._code(levels, labels)

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each image's code, uint8 ``(B, C, H, W)``."""
        labels = self.likeliest(images) if labels is None else labels
        return self.decode(self.encode(images, labels), labels)

    def _each_class(self, levels: Tensor) -> list[Tensor | None]:
        """The labels ``(B,)`` of each class; ``[None]`` without classes."""
        return [torch.full_like(levels[:, 0, 0, 0], y) for y in range(self.classes)] or [None]

    def _drawn_weights(self, levels: Tensor, labels: Tensor | None, generator: torch.Generator | None) -> Weights:
        """Of as many samples as the training bound has."""

        def draw(s: int, shape: tuple[int, ...]) -> Tensor:
            return standard_normal((s, len(levels), *shape), generator, levels.device, images=1)

        return self.weights(levels, self.infer(levels, labels), labels, self.config.importance_samples, draw)

    def _log_sums(self, levels: Tensor, y: Tensor | None, num_samples: int, names: Sequence[str]) -> Tensor:
        """``log_sums`` of samples whose noise has ``names``, of each class its own, ``(3, B)``."""
        if y is not None:
            names = [f"{name}/{int(y[0])}" for name in names]
        draw, inferred = own_noise(names, levels.device), self.infer(levels, y)
        return log_sums(lambda s: self.weights(levels, inferred, y, s, draw), num_samples)
