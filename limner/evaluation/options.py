"""What an evaluation measures, in one place."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EvaluationOptions"]


@dataclass(frozen=True)
class EvaluationOptions:
    """What ``limner evaluate`` may be told."""

    split: str = "test"
    """``train``, ``validation`` or ``test``."""
    importance_samples: int | None = None
    """K of a VAE's bound, 1 is the ELBO; None is the model's ``default_importance_samples``."""
    fidelity: bool = False
    """Compare samples with the split as well; a model without a likelihood always does."""
    neighbours: int = 3
    """k of the samples' precision and recall."""
    limit: int | None = None
    """Only the first so many images, and as many samples."""
    seed: int = 0
    """Decides the noise of a bound and the samples."""
