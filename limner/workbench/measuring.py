"""What `limner evaluate` measures: the likelihood; where there is none, or if asked, the fidelity of samples.

Of an autoencoder, which has neither, the errors of its reconstructions.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from limner import display
from limner.data import ImageSet
from limner.errors import LimnerError, option
from limner.evaluation import (
    EvaluationOptions,
    Inception,
    feature_network,
    measure_fidelity,
    measure_likelihood,
    measure_reconstruction,
)
from limner.evaluation.fidelity import set_size
from limner.models import Model, Samples, Scores, with_article
from limner.models.bounded import Bounded
from limner.models.contracts import ReconstructionErrors

__all__ = ["FEATURES", "measured"]

FEATURES = ".features"  # beside the runs, which share what they are looked at with


def measured(
    model: Model,
    name: str,
    images: ImageSet,
    options: EvaluationOptions,
    sample: Callable[[int], Tensor],
    features: Path,
    quiet: bool | None,
) -> dict[str, Any]:
    """What a model of the family ``name`` measures on a split, by name, as far as it applies.

    ``sample(n)`` draws images of the model, uint8 ``(n, C, H, W)``; ``features`` is the folder of feature networks.
    """
    split, limit, seed = options.split, options.limit, options.seed
    figures: dict[str, Any] = {}
    if isinstance(model, Scores):
        default = model.default_importance_samples if isinstance(model, Bounded) else 1
        k = default if options.importance_samples is None else options.importance_samples
        with display.bar(f"scoring {split}", quiet) as update:
            found = measure_likelihood(
                model, images.split(split), importance_samples=k, limit=limit, seed=seed, on_progress=update
            )
        figures |= asdict(found)
    elif options.importance_samples is not None and options.importance_samples > 1:
        raise LimnerError(f"importance samples tighten a bound; {with_article(name)} has no likelihood")
    elif isinstance(model, ReconstructionErrors):
        if options.fidelity:
            leave = f"leave {option('fidelity')} out"
            raise LimnerError(f"{with_article(name)} draws no samples to compare with the data: {leave}")
        with display.bar(f"reconstructing {split}", quiet) as update:
            errors = measure_reconstruction(model, images.split(split), limit=limit, seed=seed, on_progress=update)
        figures |= asdict(errors)
    if options.fidelity or (isinstance(model, Samples) and not isinstance(model, Scores)):
        inception = Inception(Path(where), model.device) if (where := os.environ.get("LIMNER_INCEPTION")) else None
        n = set_size(images, split, limit)  # too few: said before the network is trained
        with display.stages(quiet) as progress:
            network = feature_network(images, features, device=model.device, on_progress=progress)
        fidelity = measure_fidelity(
            sample(n), images, network, split=split, seed=seed, neighbours=options.neighbours, inception=inception
        )
        figures |= asdict(fidelity)
    return {name: value for name, value in figures.items() if value is not None}
