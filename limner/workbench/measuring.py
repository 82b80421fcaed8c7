"""What `limner evaluate` measures: the likelihood, if there is one; the fidelity of samples, if asked or if not.

Of an autoencoder, which has neither, the errors of its reconstructions.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner import display
from limner.data import ImageSet
from limner.errors import LimnerError
from limner.evaluation import (
    EvaluationOptions,
    Inception,
    feature_network,
    measure_fidelity,
    measure_likelihood,
    measure_reconstruction,
)
from limner.evaluation.fidelity import set_size
from limner.models import Autoencoder, Samples, Scores, with_article
from limner.models.bounded import Bounded

if TYPE_CHECKING:
    from limner.workbench.run import Run

__all__ = ["FEATURES", "measured"]

FEATURES = ".features"  # beside the runs, which share what they are looked at with


def measured(run: Run, images: ImageSet, options: EvaluationOptions, features: Path, quiet: bool) -> dict[str, Any]:
    """What a run's model measures on a split, by name, as far as it applies.

    Args:
        run: Whose model is measured.
        images: The data.
        options: What is asked for.
        features: Folder of feature networks.
        quiet: No progress.
    """
    model, split, limit, seed = run.model, options.split, options.limit, options.seed
    figures: dict[str, Any] = {}
    if isinstance(model, Scores):
        default = model.default_importance_samples if isinstance(model, Bounded) else 1
        k = default if options.importance_samples is None else options.importance_samples
        with display.bar(f"scoring {split}", quiet) as update:
            likelihood = measure_likelihood(
                model, images.split(split), importance_samples=k, limit=limit, seed=seed, on_progress=update
            )
        figures |= asdict(likelihood)
    elif options.importance_samples is not None and options.importance_samples > 1:
        raise LimnerError(f"importance samples tighten a bound; {with_article(run.config.model)} has no likelihood")
    elif isinstance(model, Autoencoder):
        if options.fidelity:
            raise LimnerError("an autoencoder draws no samples to compare with the data: leave --fidelity out")
        with display.bar(f"reconstructing {split}", quiet) as update:
            figures |= asdict(
                measure_reconstruction(model, images.split(split), limit=limit, seed=seed, on_progress=update)
            )
    if options.fidelity or (isinstance(model, Samples) and not isinstance(model, Scores)):
        inception = Inception(Path(where), model.device) if (where := os.environ.get("LIMNER_INCEPTION")) else None
        n = set_size(images, split, limit)  # too few: said before the network is trained
        with display.stages(quiet) as progress:
            network = feature_network(images, features, device=model.device, on_progress=progress)
        samples = run.sample(n, seed=seed, quiet=quiet)
        figures |= asdict(
            measure_fidelity(
                samples, images, network, split=split, seed=seed, neighbours=options.neighbours, inception=inception
            )
        )
    return {name: value for name, value in figures.items() if value is not None}
