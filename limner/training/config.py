"""How a model is trained: every number that decides the weights, with its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from limner.checks import Decay, Fraction, NotNegative, NotNegativeReal, Positive, PositiveReal, Seed

__all__ = ["Precision", "TrainingConfig"]

Precision = Literal["auto", "float32", "bf16"]


@dataclass(frozen=True)
class TrainingConfig:
    """One training run; recipes choose these for each model."""

    batch_size: Positive = 64
    """Images in a step."""
    optimizer: Literal["adamw", "muon"] = "adamw"
    """adamw, or muon: Muon for the inner weight matrices and AdamW for the rest."""
    learning_rate: PositiveReal = 1e-3
    """AdamW's learning rate between warm-up and cooldown."""
    matrix_learning_rate: PositiveReal = 0.02
    """Muon's learning rate, likewise."""
    weight_decay: NotNegativeReal = 0.01
    """AdamW's decoupled weight decay, on weights of two or more dimensions."""
    beta1: Decay = 0.9
    """AdamW's decay of the first moment."""
    beta2: Decay = 0.99
    """AdamW's decay of the second moment."""
    warmup_steps: NotNegative = 100
    """Steps over which the learning rate rises linearly."""
    cooldown: Fraction = 0.4
    """The last part of the run, as a fraction, over which the learning rate falls linearly to zero."""
    epochs: PositiveReal = 20.0
    """Passes over the training split, where `minutes` is 0."""
    minutes: NotNegativeReal = 0.0
    """Time budget in minutes; 0 trains for `epochs`."""
    ema_decay: Decay = 0.998
    """Decay of the moving average of the weights, the weights that are evaluated and kept; 0 turns it off."""
    clip_norm: NotNegativeReal = 0.0
    """Largest norm of the gradient of the mean loss in nats an image; 0 turns clipping off."""
    precision: Precision = "auto"
    """Training arithmetic: float32, bf16 (autocast), or auto: timed on this machine when the run starts."""
    seed: Seed = 0
    """Decides the initial weights, the order of the data, the noise."""
    evaluations: Positive = 12
    """How many times a run is evaluated on the validation split, checkpointed and pictured."""
    validation_images: NotNegative = 2000
    """Images of the validation split that choose the best weights; 0 uses all."""
    sample_images: NotNegative = 16
    """Pictures in the grid drawn at each evaluation; 0 draws none."""
    checkpoint_seconds: NotNegativeReal = 60.0
    """A checkpoint is also written when this much time has passed since the last one."""
