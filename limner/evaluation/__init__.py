"""Measuring models."""

from limner.evaluation.features import FeatureNetwork, feature_network, train_features
from limner.evaluation.fidelity import Fidelity, measure_fidelity
from limner.evaluation.inception import Inception
from limner.evaluation.latents import Codes, active_units, encode_split
from limner.evaluation.likelihood import Likelihood, bits_per_dim, measure_likelihood
from limner.evaluation.options import EvaluationOptions
from limner.evaluation.probe import Accuracy, measure_probe
from limner.evaluation.reconstruction import Reconstruction, measure_reconstruction, psnr, squared_error

__all__ = [
    "Accuracy",
    "Codes",
    "EvaluationOptions",
    "FeatureNetwork",
    "Fidelity",
    "Inception",
    "Likelihood",
    "Reconstruction",
    "active_units",
    "bits_per_dim",
    "encode_split",
    "feature_network",
    "measure_fidelity",
    "measure_likelihood",
    "measure_probe",
    "measure_reconstruction",
    "psnr",
    "squared_error",
    "train_features",
]
