"""Measuring models."""

from limner.evaluation.likelihood import Likelihood, bits_per_dim, measure_likelihood

__all__ = ["Likelihood", "bits_per_dim", "measure_likelihood"]
