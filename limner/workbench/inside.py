"""The inside of a variational autoencoder, for those who learn how it draws: z, then μ and σ, then x."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from limner.data import OneImage
from limner.data.levels import dequantize
from limner.devices import exact_device
from limner.errors import LimnerError
from limner.models import with_article
from limner.models.bounded import Bounded
from limner.models.contracts import standard_normal
from limner.workbench.classes import ClassLabel
from limner.workbench.run import Run

__all__ = ["Inside", "Posterior", "look_inside"]


@runtime_checkable
class Posterior(Protocol):
    """Encodes an image as a Gaussian: μ and ln σ of q(z|x)."""

    def posterior(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """μ and ln σ, each ``(B, latent)``, of intensities ``(B, C, H, W)``."""


@dataclass(frozen=True)
class Inside:
    """What a variational autoencoder does, step by step.

    Attributes:
        z: The code, ``(D,)``: as given, drawn from q(z|x) of an image, or from the prior.
        mean: μ of p(x|z), uint8 ``(C, H, W)``.
        deviation: σ of p(x|z), intensities of which white is 1, ``(C, H, W)``.
        sample: A draw from p(x|z), uint8 ``(C, H, W)``.
        label: The class, of a conditional model.
        original: The image, where one was given.
        posterior: μ and σ of q(z|x), each ``(D,)``, where an image was given and q is one Gaussian.
        reconstruction: -ln p(x|z) of the image, in nats.
        kl: KL(q(z|x) ‖ p(z)) of the image in nats, of each dimension or group of z.
    """

    z: Tensor
    mean: Tensor
    deviation: Tensor
    sample: Tensor
    label: int | None = None
    original: Tensor | None = None
    posterior: tuple[Tensor, Tensor] | None = None
    reconstruction: float | None = None
    kl: tuple[float, ...] | None = None


@torch.no_grad()
def look_inside(
    run: Run,
    z: Sequence[float] | None = None,
    image: OneImage | None = None,
    *,
    label: ClassLabel | None = None,
    seed: int = 0,
) -> Inside:
    """The way of a variational autoencoder: (x → q(z|x) →) z → μ, σ → x; see ``Inside``.

    Args:
        run: Of a model with an encoder and a bound.
        z: The code, in place of one that is drawn.
        image: To begin from: a file, an image of Pillow's, ``test:7``, an array.
        label: The class, of a conditional model; by default that of the image, or 0.
        seed: Of the random numbers.

    Raises:
        LimnerError: The model is no such one, or the image or the code does not fit it.
    """
    model = run.model
    if not isinstance(model, Bounded):
        raise LimnerError(f"{with_article(run.config.model)} is no variational autoencoder: it has no p(x|z)")
    generator, y, known = torch.Generator().manual_seed(seed), run.class_of(label), dict[str, Any]()
    labels = torch.tensor([y or 0]) if model.classes else None
    codes = run.checked_codes(z) if z is not None else None
    if image is not None:
        pixels, _, found = run.encoded([image], y)
        labels = labels if found is None else found
        levels, seen = model.checked_levels(pixels), model.checked_labels(labels, 1)
        drawn = _of_image(model, levels, seen, generator)
        known = {"original": pixels[0], **drawn}
        if codes is None:
            q = drawn["posterior"]
            codes = run.encode(pixels, labels) if q is None else _draw(q[0], q[1], generator)[None]
    if codes is None:
        codes = model.latents(1, generator=generator).cpu()
    p = model.likelihood(codes.to(model.device, model.dtype), labels)
    u = torch.rand(1, *model.shape, generator=generator, dtype=torch.float64)
    return Inside(
        codes[0],
        torch.round(p.mean[0] * 255).to(torch.uint8).cpu(),
        p.variance[0].sqrt().float().cpu(),
        dequantize(p.icdf(u.to(exact_device(model.device))), model.levels)[0].cpu(),
        None if labels is None else int(labels[0]),
        **known,
    )


def _of_image(model: Bounded, levels: Tensor, labels: Tensor | None, generator: torch.Generator) -> dict[str, Any]:
    """q(z|x) and the two terms of the ELBO, of levels ``(1, C, H, W)``."""

    def noise(s: int, shape: tuple[int, ...]) -> Tensor:
        return standard_normal((s, 1, *shape), generator, levels.device, images=1)

    posterior = None
    if isinstance(model, Posterior):
        mean, log_std = model.posterior(model.intensities(levels), labels)
        posterior = mean[0].cpu(), log_std[0].exp().cpu()
    weights = model.weights(levels, model.infer(levels, labels), labels, 1, noise)
    kl = tuple(weights.kl[:, 0, 0].double().tolist())
    return {"posterior": posterior, "reconstruction": -float(weights.log_x[0, 0]), "kl": kl}


def _draw(mean: Tensor, deviation: Tensor, generator: torch.Generator) -> Tensor:
    return mean + deviation * torch.randn(mean.shape, generator=generator)
