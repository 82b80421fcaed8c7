"""The library's face: train, resume, load, sample, evaluate. The command line and the studio call nothing else."""

from limner.workbench import latent
from limner.workbench.advice import advise, kept_advice
from limner.workbench.comparing import compare
from limner.workbench.probing import probe
from limner.workbench.run import Run, load_data, open_run
from limner.workbench.training import resume, train

__all__ = ["Run", "advise", "compare", "kept_advice", "latent", "load_data", "open_run", "probe", "resume", "train"]
