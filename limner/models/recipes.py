"""How a model is trained: every number that decides the weights, with its default; and what a recipe is.

Plain dataclasses below the models, so that a family can name its recipes beside its network. The objective is named by
the kind of training configuration and imported by nobody here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

from msgspec import Meta

from limner.errors import LimnerError, suggestion
from limner.ranges import Decay, Fraction, NotNegative, NotNegativeReal, Positive, PositiveReal, Seed

__all__ = [
    "DEMO",
    "MUON",
    "PIXELCNN",
    "AdversarialConfig",
    "ChecksTraining",
    "ConditionalConfig",
    "Precision",
    "Recipe",
    "RecipeOf",
    "TrainingConfig",
    "is_large",
]

Precision = Literal["auto", "float32", "bf16"]
DIFFERENTIABLE = ("color", "translation", "cutout")  # what DiffAugment does to the images of both players


def chosen_augmentations(text: str, known: Mapping[str, float | None]) -> dict[str, float]:
    """The strengths that ``flip,shift=2`` gives each augmentation; 1 where one is on and has no strength.

    ``known`` are the names, with their usual strengths where they have one.

    Raises:
        LimnerError: An unknown name, or a strength that is none.
    """
    chosen: dict[str, float] = {}
    for part in () if text in ("none", "auto") else text.split(","):
        name, equals, amount = part.strip().partition("=")
        if name not in known:
            raise LimnerError(f"augment={text}: {suggestion(name, ('none', *known))}")
        try:
            chosen[name] = float(amount) if equals else known[name] or 1.0
        except ValueError:
            chosen[name] = math.nan
        whole = name != "shift" or chosen[name].is_integer()
        if not (0 < chosen[name] <= 100 and whole) or (equals and known[name] is None):
            takes = "no number" if known[name] is None else "a whole number" if name == "shift" else "a number"
            raise LimnerError(f"augment={text}: {name} takes {takes}, above 0 and at most 100, as in {name}=1")
    return chosen


@dataclass(frozen=True)
class TrainingConfig:
    """One training run; recipes choose these for each model."""

    OBJECTIVE: ClassVar[Literal["single loss", "two players"]] = "single loss"
    AUGMENTATIONS: ClassVar[Mapping[str, float | None]] = {"flip": None, "shift": 1.0, "elastic": 1.0}

    batch_size: Positive = 64
    """Images in a step."""
    accumulate: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    """Parts of a batch that go through the network one after the other: less memory, the same gradient; chosen by
    itself where a batch does not fit."""
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
    augment: str = "none"
    """How training images are changed, never those that are measured: none, or some of flip (mirrored half of the
    time), shift=N (moved by up to N pixels each way, 1 unless said) and elastic=S (bent by a smooth field whose 5 × 5
    knots have this standard deviation in pixels, 1 unless said), joined by commas; the last two less often as the
    learning rate falls, and not at all below a sixth of it."""
    clip_norm: NotNegativeReal = 0.0
    """Largest norm of the gradient of the mean loss in nats an image; 0 turns clipping off."""
    precision: Precision = "auto"
    """Training arithmetic: float32, bf16 (autocast), or auto: timed on this machine when the run starts."""
    seed: Seed = 0
    """Decides the initial weights, the order of the data, the noise."""
    evaluations: Positive = 12
    """How many times a run is evaluated on the validation split, checkpointed, and samples are drawn."""
    patience: NotNegative = 5
    """Evaluations in a row without a better one after which training stops; 0: it goes on to its end."""
    validation_images: NotNegative = 2000
    """Images of the validation split that choose the best weights; 0 uses all."""
    sample_images: NotNegative = 16
    """Images in the grid drawn at each evaluation; 0 draws none."""
    checkpoint_seconds: NotNegativeReal = 60.0
    """A checkpoint is also written when this much time has passed since the last one."""

    def __post_init__(self) -> None:
        chosen_augmentations(self.augment, self.AUGMENTATIONS)

    @property
    def augmentations(self) -> dict[str, float]:
        """``augment`` as strengths by name, none for ``auto``, which is settled when a run starts."""
        return chosen_augmentations(self.augment, self.AUGMENTATIONS)


@dataclass(frozen=True)
class AdversarialConfig(TrainingConfig):
    """One training run of two players. A step is one of the discriminator, on one batch."""

    OBJECTIVE = "two players"
    AUGMENTATIONS: ClassVar[Mapping[str, float | None]] = {
        **TrainingConfig.AUGMENTATIONS,
        **dict.fromkeys(DIFFERENTIABLE),
    }

    batch_size: Annotated[int, Meta(ge=2, le=1_000_000)] = 64
    """Images of the data, and as many of the generator's, in a step."""
    optimizer: Literal["adamw"] = "adamw"
    """Of both players."""
    learning_rate: PositiveReal = 5e-4
    """The generator's learning rate between warm-up and cooldown."""
    discriminator_learning_rate: PositiveReal = 5e-4
    """The discriminator's, likewise; twice to four times the generator's is the two-time-scale rule (1706.08500)."""
    weight_decay: NotNegativeReal = 0.0
    """AdamW's decoupled weight decay, on weights of two or more dimensions."""
    augment: str = "auto"
    """As for one loss; and some of color, translation and cutout, by which images and samples alike are changed before
    the discriminator sees them (DiffAugment, 2006.10738); auto: these three below 500 training images in a run of 1,000
    passes or of minutes, else none."""
    patience: Annotated[int, Meta(ge=0, le=0)] = 0
    """Training does not stop early: two players have no figure that says when."""
    beta1: Decay = 0.0
    """AdamW's decay of the first moment: none, as momentum makes players of a game turn around its equilibrium."""
    objective: Literal["minimax", "non-saturating", "least-squares", "hinge", "wasserstein", "relativistic"] = (
        "relativistic"
    )
    """The game, see docs/gan.md."""
    discriminator_steps: Positive = 1
    """k: steps of the discriminator for each of the generator."""
    penalty: Literal["auto", "none", "gradient", "r1", "r1+r2"] = "auto"
    """On the discriminator's gradient in its images: to have norm 1 between data and samples (gradient), to vanish on
    the data (r1) and on the samples too (r1+r2); auto: gradient for wasserstein, r1+r2 for relativistic, else none."""
    penalty_every: Positive = 1
    """Steps of the discriminator for each with a penalty, which then counts as many times (lazy, 1912.04958)."""
    gradient_penalty: NotNegativeReal = 10.0
    """λ, the weight of the gradient penalty."""
    zero_penalty: NotNegativeReal = 1.0
    """γ, the weight of R1 and of R2."""
    keep: Literal["best", "last"] = "best"
    """Which weights are kept: the latest whose Fréchet distance to the validation images is at most a fifth above the
    smallest, or the last."""

    @property
    def chosen_penalty(self) -> Literal["none", "gradient", "r1", "r1+r2"]:
        """``penalty``, or what ``auto`` stands for."""
        if self.penalty != "auto":
            return self.penalty
        if self.objective == "wasserstein":
            return "gradient"
        return "r1+r2" if self.objective == "relativistic" else "none"


@dataclass(frozen=True)
class ConditionalConfig:
    """Of a model that can be of p(x|y)."""

    classes: NotNegative = 0
    """Classes K of p(x|y), as many as the data's labels; 0 is an unconditional model."""


@runtime_checkable
class ChecksTraining(Protocol):
    """A network's configuration that goes with some trainings only."""

    def check_training(self, training: TrainingConfig) -> None:
        """Raise a ``LimnerError`` where the network cannot be trained so."""


@dataclass(frozen=True)
class Recipe:
    """The sizes of a network and how it is trained."""

    network: Any
    training: TrainingConfig

    def __post_init__(self) -> None:
        if isinstance(self.network, ChecksTraining):
            self.network.check_training(self.training)


RecipeOf = Callable[[tuple[int, int, int]], Recipe]
"""The recipe for images of a shape (C, H, W). The first sentence of its docstring says what it is for."""


def is_large(shape: tuple[int, int, int]) -> bool:
    """Whether images of ``shape`` (C, H, W) are more than 48 pixels a side, where recipes have cheaper steps."""
    return max(shape[1:]) > 48


MUON = TrainingConfig(
    optimizer="muon",
    learning_rate=3e-3,
    weight_decay=0.0,
    clip_norm=200.0,
    warmup_steps=30,
    cooldown=0.5,
    evaluations=6,
)
"""What the recipes with Muon begin from."""
PIXELCNN = replace(MUON, matrix_learning_rate=6e-3, cooldown=0.8)
"""For the masked PixelCNN, whose blocks normalise nothing: at Muon's usual rate it stands still until that falls."""
DEMO = TrainingConfig(batch_size=32, precision="float32", epochs=20)
"""What the recipes of `limner demo` begin from: 8×8 digits, well under a minute each on two cores."""
