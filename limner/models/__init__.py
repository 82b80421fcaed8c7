"""The models: one file a family, each with its paper and its equation at the top and its ``FAMILIES`` at the end."""

from limner.models.contracts import Features, Latents, Model, Reconstructs, Samples, Scores
from limner.models.families import Family, families, family, register, with_article
from limner.models.recipes import AdversarialConfig, Recipe, TrainingConfig

__all__ = [
    "AdversarialConfig",
    "Family",
    "Features",
    "Latents",
    "Model",
    "Recipe",
    "Reconstructs",
    "Samples",
    "Scores",
    "TrainingConfig",
    "families",
    "family",
    "register",
    "with_article",
]
