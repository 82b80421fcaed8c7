"""How near a reconstruction comes to its image: mean squared error a value, and its peak signal-to-noise ratio.

Neither is a likelihood, and no error of models with codes of different lengths says which is the better model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from limner.data.batches import sequential
from limner.data.imageset import Split
from limner.devices import wide
from limner.errors import LimnerError
from limner.models.contracts import ReconstructionErrors
from limner.models.cost import images_at_once

__all__ = ["Reconstruction", "measure_reconstruction", "psnr", "squared_error"]


def squared_error(images: Tensor, again: Tensor) -> Tensor:
    """Mean over the values of each image of (x − x̂)², intensities in [0, 1], ``(B,)``; uint8 ``(B, C, H, W)``."""
    return ((wide(images) - wide(again.to(images.device))) / 255).square().flatten(1).mean(1)


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio of a mean squared error of intensities in [0, 1], dB: −10 log₁₀ of it."""
    return -10 * math.log10(mse) if mse > 0 else math.inf


@dataclass(frozen=True)
class Reconstruction:
    """Errors of ``n`` reconstructions; of all images' values, intensities in [0, 1].

    Attributes:
        n: Images.
        mse: Mean squared error a value.
        mse_standard_error: Over the images: sample standard deviation over √n; None for one image.
        psnr: −10 log₁₀ of the ``mse``, dB; None where that is 0.
        cross_entropy: Mean cross-entropy of the values of binary images, nats; None of others.
        corrupted_mse: Of a denoising autoencoder's inputs with noise as in training, as they are; else None.
        denoised_mse: Of what it makes of these; else None.
        reconstruction_seconds: Time taken.
    """

    n: int
    mse: float
    mse_standard_error: float | None
    psnr: float | None
    cross_entropy: float | None
    corrupted_mse: float | None
    denoised_mse: float | None
    reconstruction_seconds: float


@torch.no_grad()
def measure_reconstruction(
    model: ReconstructionErrors,
    split: Split,
    *,
    batch_size: int = 100,
    limit: int | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Reconstruction:
    """Errors of the reconstructions of a split's images.

    Args:
        model: The autoencoder.
        split: Its images, in order.
        batch_size: Images coded together; fewer where they would take too much memory.
        limit: Only the first so many images.
        seed: Of the corruption, where it was trained with one.
        on_progress: Called with images done and images in all.

    Raises:
        LimnerError: The limit is no number of images, or an error is not finite.
    """
    if limit is not None and limit < 1:
        raise LimnerError(f"the limit of images must be 1 or more, not {limit}")
    start = time.perf_counter()
    generator = torch.Generator(model.device).manual_seed(seed)
    found: dict[str, list[Tensor]] = {}
    done, total = 0, len(split) if limit is None else min(limit, len(split))
    for batch in sequential(split, images_at_once(model, batch_size), limit):
        errors = model.reconstruction_errors(batch.images, generator)
        for name, error in errors.items():
            found.setdefault(name, []).append(wide(error).flatten(1).mean(1).cpu())
        done += len(batch.images)
        if on_progress is not None:
            on_progress(done, total)
    per_image = {name: torch.cat(parts) for name, parts in found.items()}
    squared = per_image["squared_error"]
    if not squared.isfinite().all():
        bad = int((~squared.isfinite()).nonzero()[0])
        raise LimnerError(f"image {bad} has an error of {float(squared[bad])}: the model's weights are not usable")
    means = {name: float(values.mean()) for name, values in per_image.items()}
    return Reconstruction(
        n=len(squared),
        mse=means["squared_error"],
        mse_standard_error=float(squared.std()) / math.sqrt(len(squared)) if len(squared) > 1 else None,
        psnr=psnr(means["squared_error"]) if means["squared_error"] > 0 else None,
        cross_entropy=means.get("cross_entropy"),
        corrupted_mse=means.get("corrupted"),
        denoised_mse=means.get("denoised"),
        reconstruction_seconds=time.perf_counter() - start,
    )
