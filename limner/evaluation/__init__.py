"""Measuring models."""

from limner.evaluation.features import FeatureNetwork, feature_network, train_features
from limner.evaluation.fidelity import Fidelity, measure_fidelity
from limner.evaluation.inception import Inception
from limner.evaluation.likelihood import Likelihood, bits_per_dim, measure_likelihood

__all__ = [
    "FeatureNetwork",
    "Fidelity",
    "Inception",
    "Likelihood",
    "bits_per_dim",
    "feature_network",
    "measure_fidelity",
    "measure_likelihood",
    "train_features",
]
