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
    Inception,
    feature_network,
    measure_fidelity,
    measure_likelihood,
    measure_reconstruction,
    sleep_phase,
)
from limner.evaluation.fidelity import set_size
from limner.models import Autoencoder, Samples, Scores, with_article
from limner.models.bounded import Bounded

if TYPE_CHECKING:
    from limner.workbench.run import Run

__all__ = ["FEATURES", "measured"]

FEATURES = ".features"  # beside the runs, which share what they are looked at with


def measured(
    run: Run,
    images: ImageSet,
    *,
    split: str,
    importance_samples: int | None,
    proposal_scale: float,
    proposal_steps: int,
    decode_all: bool,
    with_fidelity: bool,
    neighbours: int,
    limit: int | None,
    seed: int,
    features: Path | None,
    quiet: bool,
) -> dict[str, Any]:
    """The figures of a run on a split, those that apply; the arguments are those of ``Run.evaluate``."""
    model = run.model
    figures: dict[str, Any] = {}
    if isinstance(model, Scores):
        usual = model.default_importance_samples if isinstance(model, Bounded) else 1
        k, proposal = usual if importance_samples is None else importance_samples, None
        if proposal_steps:
            if not isinstance(model, Bounded) or k == 1:
                raise LimnerError(
                    "a proposal draws the samples of a bound of K > 1 importance samples, which this is not"
                )
            with display.bar("the proposal learns", quiet) as update:
                proposal = sleep_phase(model, proposal_steps, seed=seed, on_progress=update)
        with display.bar(f"scoring {split}", quiet) as update:
            likelihood = measure_likelihood(
                model,
                images.split(split),
                importance_samples=k,
                proposal_scale=proposal_scale,
                proposal=proposal,
                decode_all=decode_all,
                limit=limit,
                seed=seed,
                on_progress=update,
            )
        figures |= asdict(likelihood) | {"proposal_steps": proposal_steps or None}
    elif proposal_scale != 1 or proposal_steps or (importance_samples is not None and importance_samples > 1):
        raise LimnerError(f"importance samples tighten a bound; {with_article(run.config.model)} has no likelihood")
    elif isinstance(model, Autoencoder):
        if with_fidelity:
            raise LimnerError("an autoencoder draws no samples to compare with the data: leave --fidelity out")
        with display.bar(f"reconstructing {split}", quiet) as update:
            figures |= asdict(
                measure_reconstruction(model, images.split(split), limit=limit, seed=seed, on_progress=update)
            )
    if with_fidelity or (isinstance(model, Samples) and not isinstance(model, Scores)):
        inception = Inception(Path(where), model.device) if (where := os.environ.get("LIMNER_INCEPTION")) else None
        n = set_size(images, split, limit)  # too few: said before the network is trained
        with display.stages(quiet) as progress:
            network = feature_network(
                images, features or run.folder.parent / FEATURES, device=model.device, on_progress=progress
            )
        samples = run.sample(n, seed=seed, quiet=quiet)
        figures |= asdict(
            measure_fidelity(
                samples, images, network, split=split, seed=seed, neighbours=neighbours, inception=inception
            )
        )
    return {name: value for name, value in figures.items() if value is not None}
