"""One discrete protocol for every explicit model: nats an image, bits/dim, exact or lower bound, standard error.

All images are counted, the last partial batch too, in the model's own float32 with float64 sums.
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
from limner.errors import LimnerError
from limner.models.autoregressive import Tractable
from limner.models.bounded import Bounded
from limner.models.contracts import Bound, Model, Scores
from limner.models.cost import images_at_once
from limner.models.importance import SAMPLES

__all__ = ["Likelihood", "bits_per_dim", "measure_likelihood"]


def bits_per_dim(nats: float, dimensions: int) -> float:
    """Bits per dimension of ``nats`` an image with ``dimensions`` = C × H × W values."""
    return nats / (dimensions * math.log(2))


@dataclass(frozen=True)
class Likelihood:
    """Mean negative log-likelihood of ``n`` images.

    Attributes:
        n: Images.
        nats_per_image: Mean of -ln p(x), or of its upper bound where ``bound`` is "lower" (a lower bound of ln p).
            Of a model with classes too: ln p(x) = ln 1/K Σ_y p(x|y), so that models with and without compare.
        nats_standard_error: Sample standard deviation over √n; None for one image.
        bits_per_dim: The same in bits per C·H·W.
        bound: "exact" or "lower".
        seconds: Time taken.
        importance_samples: K of the bound; None where it does not apply, as in the next two.
        elbo_nats_per_image: -ELBO from the same K samples, with the closed-form KL.
        effective_samples: Mean effective sample size of the K weights.
        classes: K of a conditional model.
        conditional_nats_per_image: Mean of its -ln p(x|y), where the images have labels.
    """

    n: int
    nats_per_image: float
    nats_standard_error: float | None
    bits_per_dim: float
    bound: Bound
    seconds: float
    importance_samples: int | None = None
    elbo_nats_per_image: float | None = None
    effective_samples: float | None = None
    classes: int | None = None
    conditional_nats_per_image: float | None = None


@torch.no_grad()
def measure_likelihood(
    model: Model,
    split: Split,
    *,
    importance_samples: int = 1,
    batch_size: int = 100,
    limit: int | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Likelihood:
    """-ln p of a split's images.

    Args:
        model: Any model that ``Scores``.
        split: Its images, in order.
        importance_samples: K of a VAE's bound (1: the ELBO).
        batch_size: Images scored together; fewer where they would take too much memory.
        limit: Only the first so many images.
        seed: Of a bound's noise, which is a function of it and the image's place in the split: the batch size changes
            no figure. Nothing is drawn where the likelihood is exact.
        on_progress: Called with images done and images in all.

    Raises:
        LimnerError: The model has no likelihood, K does not apply, or a value is not finite.
    """
    if not isinstance(model, Scores):
        raise LimnerError(f"a {type(model).__name__} has no likelihood, nor a bound of one")
    if importance_samples < 1:
        raise LimnerError(f"importance samples must be 1 or more, not {importance_samples}")
    if limit is not None and limit < 1:
        raise LimnerError(f"the limit of images must be 1 or more, not {limit}")
    if importance_samples > 1 and not isinstance(model, Bounded):
        raise LimnerError(
            f"importance samples tighten a bound; the likelihood of a {type(model).__name__} is exact already"
        )
    start = time.perf_counter()
    model.eval()
    scores: list[Tensor] = []
    elbos: list[Tensor] = []
    effective: list[Tensor] = []
    conditional: list[Tensor] = []
    done, total = 0, len(split) if limit is None else min(limit, len(split))
    if isinstance(model, Bounded):
        batch_size = max(batch_size, model.samples_per_pass // SAMPLES)
    for batch in sequential(split, images_at_once(model, batch_size), limit):
        given_class = None  # ln p(x|y), (B, classes)
        if isinstance(model, Bounded):
            bound = model.importance_bound(batch.images, importance_samples, seed=seed, first=done)
            scores.append(bound.log_prob)
            elbos.append(bound.elbo)
            effective.append(bound.effective_samples)
            given_class = bound.class_log_probs
        elif isinstance(model, Tractable) and model.classes:
            given_class = model.class_log_probs(batch.images)
            scores.append(torch.logsumexp(given_class, 1) - math.log(model.classes))
        else:
            scores.append(model.log_prob(batch.images))
        if given_class is not None and batch.labels is not None:
            labels = model.checked_labels(batch.labels, len(given_class))
            conditional.append(given_class.gather(1, labels[:, None]).squeeze(1))
        done += len(batch.images)
        if on_progress is not None:
            on_progress(done, total)
    nats = -torch.cat(scores).cpu().double()
    if not nats.isfinite().all():
        bad = int((~nats.isfinite()).nonzero()[0])
        raise LimnerError(f"image {bad} scored {float(-nats[bad])} nats: the model's weights are not usable")
    several = importance_samples > 1
    return Likelihood(
        n=len(nats),
        nats_per_image=float(nats.mean()),
        nats_standard_error=float(nats.std()) / math.sqrt(len(nats)) if len(nats) > 1 else None,
        bits_per_dim=bits_per_dim(float(nats.mean()), model.dimensions),
        bound=model.bound,
        seconds=time.perf_counter() - start,
        importance_samples=importance_samples if several else None,
        elbo_nats_per_image=-float(torch.cat(elbos).mean()) if several else None,
        effective_samples=float(torch.cat(effective).mean()) if several else None,
        classes=model.classes or None,
        conditional_nats_per_image=-float(torch.cat(conditional).mean()) if conditional else None,
    )
