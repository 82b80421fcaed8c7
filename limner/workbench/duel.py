"""The two players of a GAN, stepped by hand: small ones, on the digits or on points of a plane, in memory only.

A point of the plane is an image of two pixels, whose grey levels are its coordinates; so the players, the losses and
the steps are those that ``limner train gan`` has.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from lightning_fabric import Fabric
from torch import Tensor

from limner.data import Batches, ImageSet, MemoryStore, Split
from limner.errors import LimnerError
from limner.models.gan import GAN, OBJECTIVES, GANConfig
from limner.models.recipes import AdversarialConfig
from limner.noise import seeded
from limner.training.adversarial import Adversarial
from limner.workbench.loading import load_data

__all__ = ["Duel", "Player", "ring"]

Player = Literal["discriminator", "generator", "both"]
SHOWN = {"ring": 128, "digits": 16}  # samples
KEPT = 2000  # of each player's losses
GAUSSIANS, RADIUS, DEVIATION, POINTS = 8, 0.7, 0.04, 2048


def ring(seed: int = 0) -> Tensor:
    """Points of eight Gaussians on a ring, as images of two pixels, uint8 ``(2048, 1, 1, 2)``."""
    generator = torch.Generator().manual_seed(seed)
    angle = torch.randint(GAUSSIANS, (POINTS,), generator=generator) * (2 * math.pi / GAUSSIANS)
    points = RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
    points = points + DEVIATION * torch.randn(POINTS, 2, generator=generator)  # (N, 2) in [-1, 1]
    return ((points.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).view(-1, 1, 1, 2)


@dataclass(frozen=True)
class Field:
    """How probable the discriminator holds it that a point is from the data, on a square of points.

    Attributes:
        values: ``(side, side)``, the top row first.
        reach: The square goes from -reach to reach, both ways.
    """

    values: Tensor
    reach: float


class Duel:
    """A game between a generator and a discriminator, of which each step is asked for.

    Args:
        source: ``ring``, points of a plane, or ``digits``.
        objective: What they play for, one of ``limner.models.gan.OBJECTIVES``.
        seed: Of weights and noise.

    Attributes:
        moves: Steps that each player has made.
        metrics: Of the last step of each; see ``Adversarial.step``.
        history: Of each player, (its move, its loss), the last 2,000.

    Raises:
        LimnerError: There is no such source or objective.
    """

    def __init__(self, source: str = "ring", objective: str = "non-saturating", seed: int = 0) -> None:
        if source not in SHOWN:
            raise LimnerError(f"source {source!r}: the two players play on {' or '.join(SHOWN)}")
        if objective not in OBJECTIVES:
            raise LimnerError(f"objective {objective!r}: choose one of {', '.join(OBJECTIVES)}")
        self.source, self.images = source, _images(source, seed)
        latent, hidden = (8, 64) if source == "ring" else (16, 128)
        network = GANConfig(network="dense", latent=latent, hidden=hidden)
        config = AdversarialConfig(objective=objective, learning_rate=1e-3, seed=seed)  # type: ignore[arg-type]
        config = replace(config, discriminator_learning_rate=1e-3, augment="none", ema_decay=0.0, precision="float32")
        with seeded(seed):
            self.model = GAN(network, self.images.shape, self.images.levels)
        self.players = Adversarial(self.model, config, Fabric(accelerator="cpu", devices=1))
        self.batches = Batches(self.images.split("train"), config.batch_size, seed)
        self.z = torch.randn(SHOWN[source], latent, generator=torch.Generator().manual_seed(seed))
        self.moves = {"discriminator": 0, "generator": 0}
        self.metrics: dict[str, float] = {}
        self.history: dict[str, list[tuple[int, float]]] = {"discriminator": [], "generator": []}

    def play(self, player: Player = "both", steps: int = 1) -> Mapping[str, float]:
        """Let a player, or both in turn, the discriminator first, make so many steps; gives the last metrics.

        Raises:
            LimnerError: There is no such player, or a loss is no number any more: the game is lost.
        """
        if player not in get_args(Player):
            raise LimnerError(f"player {player!r}: choose one of {', '.join(get_args(Player))}")
        for _ in range(steps):
            for name, move in (
                ("discriminator", self.players.discriminator_step),
                ("generator", self.players.generator_step),
            ):
                if player in (name, "both"):
                    step = self.moves[name]
                    self.metrics |= move(self.batches.at(step), 1.0, step)
                    self.moves[name] += 1
                    self.history[name] = [*self.history[name], (self.moves[name], self.metrics[name])][-KEPT:]
        return self.metrics

    @torch.no_grad()
    def samples(self) -> tuple[Tensor, Tensor]:
        """What G makes of always the same noise, in [-1, 1], ``(n, C, H, W)``, and σ(D) of each, ``(n,)``."""
        drawn = self.model.generator(self.z)
        return drawn, self.judged(drawn)

    @torch.no_grad()
    def judged(self, x: Tensor) -> Tensor:
        """σ(D(x)) of images in [-1, 1], ``(B, C, H, W)``: how probable D holds it that they are data, ``(B,)``."""
        return self.model.discriminator(x).sigmoid()

    def field(self, side: int = 24, reach: float = 1.0) -> Field | None:
        """The discriminator over the plane; None where the data are no points."""
        if self.source != "ring":
            return None
        axis = torch.linspace(-reach, reach, side)
        y, x = torch.meshgrid(axis.flip(0), axis, indexing="ij")
        return Field(self.judged(torch.stack([x, y], -1).view(-1, 1, 1, 2)).view(side, side), reach)


def _images(source: str, seed: int) -> ImageSet:
    if source == "digits":
        return load_data("digits", quiet=True)
    points = ring(seed)
    return ImageSet("ring", (1, 1, 2), 256, {"train": Split(MemoryStore(points))})
