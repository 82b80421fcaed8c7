"""How a model is trained: every number that decides the weights, with its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Precision", "TrainingConfig"]

Precision = Literal["auto", "float32", "bf16"]


@dataclass(frozen=True)
class TrainingConfig:
    """One training run; recipes choose these for each model."""

    batch_size: int = 64
    """Images in a step."""
    learning_rate: float = 1e-3
    """AdamW's learning rate between warm-up and cooldown."""
    weight_decay: float = 0.01
    """AdamW's decoupled weight decay, on weights of two or more dimensions."""
    beta1: float = 0.9
    """AdamW's decay of the first moment."""
    beta2: float = 0.99
    """AdamW's decay of the second moment."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises linearly."""
    cooldown: float = 0.4
    """The last part of the run, as a fraction, over which the learning rate falls linearly to zero."""
    epochs: float = 20.0
    """Passes over the training split, where `minutes` is 0."""
    minutes: float = 0.0
    """Time budget in minutes; 0 trains for `epochs`."""
    ema_decay: float = 0.998
    """Decay of the moving average of the weights, the weights that are evaluated and kept; 0 turns it off."""
    clip_norm: float = 0.0
    """Largest norm of the gradient of the mean loss in nats an image; 0 turns clipping off."""
    precision: Precision = "auto"
    """Training arithmetic: float32, bf16 (autocast), or auto: timed on this machine when the run starts."""
    seed: int = 0
    """Decides the initial weights, the order of the data, the noise."""
    evaluations: int = 12
    """How many times a run is evaluated on the validation split, checkpointed and pictured."""
    validation_images: int = 2000
    """Images of the validation split that choose the best weights; 0 uses all."""
    sample_images: int = 16
    """Pictures in the grid drawn at each evaluation; 0 draws none."""
    checkpoint_seconds: float = 60.0
    """A checkpoint is also written when this much time has passed since the last one."""
