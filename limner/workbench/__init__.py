"""The library's face: train, resume, load, sample, evaluate. The command line and the studio call nothing else."""

from limner.workbench import latent, samples
from limner.workbench.advice import advise, kept_advice
from limner.workbench.comparing import compare
from limner.workbench.loading import load_data
from limner.workbench.probing import probe
from limner.workbench.run import Run, open_run
from limner.workbench.seeds import train_seeds
from limner.workbench.showing import show
from limner.workbench.training import resume, train

__all__ = [
    "Run",
    "advise",
    "compare",
    "kept_advice",
    "latent",
    "load_data",
    "open_run",
    "probe",
    "resume",
    "samples",
    "show",
    "train",
    "train_seeds",
]
