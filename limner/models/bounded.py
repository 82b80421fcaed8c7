r"""Models p(x, z) of which ln p(x) is bounded from below with an encoder q(z|x): variational autoencoders.

.. math:: \ln p(x) \ge E_q\left[\ln p(x \mid z)\right] - KL(q(z \mid x) \,\|\, p(z))

is the ELBO (Kingma and Welling 2013, arXiv 1312.6114), and K importance samples tighten it (Burda et al. 2015, arXiv
1509.00519, equation 8):

.. math:: \ln p(x) \ge E \ln \frac{1}{K} \sum_k w_k, \quad w_k = p(x, z_k) / q(z_k \mid x)

The gradient of the latter, K > 1 in training, is :math:`E \sum_k \tilde w_k ∇ \ln w_k` with normalised weights
(equation 13). Given a class y everything is of p(x|y); without one :math:`p(x) = \frac{1}{K} \sum_y p(x \mid y)`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.data.levels import dequantize
from limner.distributions import PixelDistribution
from limner.errors import LimnerError
from limner.models.contracts import Bound, ConditionalConfig, Explicit, standard_normal
from limner.models.importance import SAMPLES, Draw, ImportanceBound, Weights, at_once, log_sums, own_noise
from limner.ranges import NotNegative, NotNegativeReal, Positive

__all__ = ["Bounded", "BoundedConfig", "Draw", "ImportanceBound", "Weights"]


@dataclass(frozen=True)
class BoundedConfig(ConditionalConfig):
    """Which bound is trained."""

    importance_samples: Positive = 1
    """K of the bound that is trained: 1 is the ELBO, more the IWAE (1509.00519)."""
    first_samples: NotNegative = 0
    """K of the first steps, which grows to importance_samples as the learning rate falls: early steps need no bound so
    tight, and are cheaper with a looser one; 0 trains with all samples from the start."""
    beta: NotNegativeReal = 1.0
    """β, the weight of the KL in training (1804.03599); the training loss is a bound where it is 1."""
    free_bits: NotNegativeReal = 0.0
    """λ: nats below which the KL of each group of latents, a batch's mean, is not pushed down in training (1606.04934,
    equation 15); the training loss is a bound where it is 0."""

    def __post_init__(self) -> None:
        if self.first_samples and not 2 <= self.first_samples <= self.importance_samples:
            raise LimnerError(
                f"first_samples={self.first_samples}: 0, or from 2 to importance_samples={self.importance_samples}"
            )
        if self.importance_samples > 1 and (self.beta != 1 or self.free_bits):
            raise LimnerError(
                f"importance_samples={self.importance_samples}: beta and free_bits change the ELBO; "
                "leave them at 1 and 0, or importance_samples at 1"
            )


class Bounded(Explicit):
    """A model with an encoder, trained and measured by a lower bound.

    Attributes:
        default_importance_samples: K of the bound that is reported where nobody says otherwise.
        rows: Most samples (images × S) that go through the decoder together on the CPU when a bound is measured.
        samples: K of the bound that is trained at this moment, see ``at_rate``.

    Args:
        config: Its sizes.
        shape: ``(C, H, W)``.
        levels: Values of a pixel, L.
    """

    bound: ClassVar[Bound] = "lower"
    config: BoundedConfig
    default_importance_samples: int = 100
    rows: int = 1000

    def __init__(self, config: Any, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        self.classes = config.classes
        self.samples: int = config.importance_samples

    def at_rate(self, factor: float) -> None:
        """From ``first_samples`` to ``importance_samples`` in equal ratios, the more the lower the learning rate is."""
        first, last = self.config.first_samples, self.config.importance_samples
        if first:
            self.samples = round(last * (first / last) ** factor)

    def decodes(self, samples: int, one_in: int) -> int:
        """How many of an image's ``samples`` are decoded in ``importance_bound`` where one in ``one_in`` would do."""
        return samples

    @abstractmethod
    def infer(self, k: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        """What q(z|x) needs of levels ``k`` int64 ``(B, C, H, W)``: tensors ``(B, ...)``, computed once an image."""

    @abstractmethod
    def weights(
        self,
        k: Tensor,
        inferred: tuple[Tensor, ...],
        labels: Tensor | None,
        samples: int,
        draw: Draw,
        scale: float = 1.0,
    ) -> Weights:
        """``samples`` z ~ q(z|x) for each image, and what the bounds are made of.

        Args:
            k: Levels int64 ``(B, C, H, W)``.
            inferred: What ``infer`` gave.
            labels: Classes int64 ``(B,)`` of a conditional model.
            samples: S.
            draw: The only source of noise.
            scale: What every σ of q is multiplied by.
        """

    @abstractmethod
    def log_posterior(self, inferred: tuple[Tensor, ...], labels: Tensor | None, z: Tensor) -> Tensor:
        """ln q(z|x), nats ``(B,)``, of codes ``(B, latent)``, given what ``infer`` gave."""

    @abstractmethod
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The code of each image, ``(B, latent)``; a conditional model without labels takes ``likeliest``."""

    @abstractmethod
    def latents(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """``n`` codes z ~ p(z), ``(n, latent)``."""

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
        labels = self.drawn_labels(n, generator, labels)
        p = self.likelihood(self.latents(n, generator=generator), labels)
        uniforms = torch.rand((n, *self.shape), generator=generator, dtype=torch.float64)
        return dequantize(p.icdf(uniforms.to(self.device)), self.levels)

    @property
    def loss_note(self) -> str | None:
        """That the training loss is no bound of -ln p(x), where it is none; what is validated and measured is one."""
        beta, free = self.config.beta, self.config.free_bits
        changes = [f"beta={beta:g}"] * (beta != 1) + [f"free_bits={free:g}"] * (free > 0)
        return f"{' and '.join(changes)}: the training loss is no bound of -ln p(x)" if changes else None

    def loss_terms(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``reconstruction`` = -ln p(x|z) of one z ~ q and ``kl``, nats, each ``(B,)``; their sum is -ELBO.

        With K > 1 importance samples only ``nll``, minus their bound, and likewise of a conditional model without
        labels. In training also what the loss is more than -ELBO: ``beta``, (β - 1) KL, and ``free_bits``,
        β Σ_g max(0, λ - KL_g).
        """
        if self.samples > 1 or (self.classes and labels is None):
            return {"nll": -self.log_prob(images, labels=labels, generator=generator)}
        k = self.checked_levels(images)
        return self.elbo_terms(self._weights(k, self.checked_labels(labels, len(k)), generator))

    def elbo_terms(self, w: Weights) -> dict[str, Tensor]:
        """``loss_terms`` of one sample."""
        terms = {"reconstruction": -w.log_x[0], "kl": w.total_kl}
        if self.training and self.config.beta != 1:
            terms["beta"] = (self.config.beta - 1) * w.total_kl
        if self.training and self.config.free_bits:
            missing = (self.config.free_bits - w.kl.flatten(1).mean(1)).relu().sum()  # the groups' means of the batch
            terms["free_bits"] = (self.config.beta * missing).expand_as(w.total_kl)
        return terms

    def log_prob(
        self, images: Tensor, *, labels: Tensor | None = None, generator: torch.Generator | None = None
    ) -> Tensor:
        """The bound of ln p(x|y) that is trained, the ELBO or that of K samples, nats an image ``(B,)``.

        Without labels: of ln p(x), of a conditional model ln 1/K Σ_y p(x|y).

        Raises:
            LimnerError: Images of another shape or other levels than the model's, or labels it does not know.
        """
        k = self.checked_levels(images)
        labels = self.checked_labels(labels, len(k))
        ys = self._each_class(k) if labels is None else [labels]
        bounds = torch.stack([self._weights(k, y, generator).bound for y in ys])
        return torch.logsumexp(bounds, 0) - math.log(len(ys))

    @torch.no_grad()
    def importance_bound(
        self,
        images: Tensor,
        samples: int,
        *,
        seed: int = 0,
        first: int = 0,
        scale: float = 1.0,
        proposal: Bounded | None = None,
        one_in: int = 1,
    ) -> ImportanceBound:
        """The ``samples``-sample bound (IWAE equation 8) of uint8 images ``(B, C, H, W)``.

        A limited number of samples goes through the decoder together, so that memory does not grow with K; the weights
        are kept as running log-sums. Of a conditional model: of ln p(x) = ln 1/K Σ_y p(x|y), and of each class.

        Args:
            images: The images.
            samples: K.
            seed: Of the noise, which is a function of it, of the image's index, and of the sample.
            first: Index of the first image.
            scale: What every σ of q is multiplied by. The samples may come from any distribution: what they give is a
                bound of the same ln p(x), and one trained on the ELBO is narrower than the posterior.
            proposal: Whose ``infer`` says where they are drawn, by default the model's own; ``evaluation.sleep_phase``.
            one_in: Decode one in so many, where there are many and the model can: ``two_phase``.

        Raises:
            LimnerError: Images of another shape or other levels than the model's.
        """
        k = self.checked_levels(images)
        together = max(1, at_once(self.rows, self.shape, k.device) // min(samples, SAMPLES))
        names, q = [f"{seed}/{first + i}" for i in range(len(k))], proposal or self
        parts = []
        for at, part in zip(range(0, len(k), together), k.split(together), strict=True):
            own = names[at : at + together]
            each = [(y, own if y is None else [f"{name}/{int(y[0])}" for name in own]) for y in self._each_class(part)]
            parts.append(torch.stack([self._sums(part, q, y, samples, scale, ns, one_in) for y, ns in each]))
        log_w, log_w2, elbo, decoded, variance = torch.cat(parts, 2).unbind(1)  # each (classes, B)
        given_class = log_w - math.log(samples) if samples > 1 else elbo
        return ImportanceBound(
            log_prob=torch.logsumexp(given_class, 0) - math.log(len(elbo)),
            elbo=torch.logsumexp(elbo, 0) - math.log(len(elbo)),
            effective_samples=torch.exp(2 * torch.logsumexp(log_w, 0) - torch.logsumexp(log_w2, 0)),
            decoded=decoded.mean(0),
            variance=(torch.softmax(log_w, 0) ** 2 * variance).sum(0),
            class_log_probs=given_class.T if self.classes else None,
        )

    @torch.no_grad()
    def likeliest(self, images: Tensor) -> Tensor | None:
        """The class int64 ``(B,)`` whose ELBO, at the mean of q(z|x, y), is largest; None without classes."""
        if not self.classes:
            return None
        k = self.checked_levels(images)

        def noiseless(s: int, shape: tuple[int, ...]) -> Tensor:
            return torch.zeros(s, len(k), *shape, device=k.device)

        weights = [self.weights(k, self.infer(k, y), y, 1, noiseless) for y in self._each_class(k)]
        return torch.stack([w.bound for w in weights]).argmax(0)

    def reconstruct(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        """The mean image of each image's code, uint8 ``(B, C, H, W)``."""
        labels = self.likeliest(images) if labels is None else labels
        return self.decode(self.encode(images, labels), labels)

    def _each_class(self, k: Tensor) -> list[Tensor | None]:
        """The labels ``(B,)`` of each class; ``[None]`` without classes."""
        return [torch.full_like(k[:, 0, 0, 0], y) for y in range(self.classes)] or [None]

    def _weights(self, k: Tensor, labels: Tensor | None, generator: torch.Generator | None) -> Weights:
        """Of as many samples as the training bound has."""

        def draw(s: int, shape: tuple[int, ...]) -> Tensor:
            return standard_normal((s, len(k), *shape), generator, k.device)

        return self.weights(k, self.infer(k, labels), labels, self.samples, draw)

    def _sums(
        self, k: Tensor, q: Bounded, y: Tensor | None, samples: int, scale: float, names: list[str], one_in: int
    ) -> Tensor:
        """``log_sums`` of samples whose noise has ``names``, ``(5, B)``."""
        draw, inferred = own_noise(names, k.device), q.infer(k, y)
        return log_sums(lambda s: self.weights(k, inferred, y, s, draw, scale), samples)
