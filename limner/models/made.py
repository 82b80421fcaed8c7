r"""MADE, the masked autoencoder (Germain, Gregor, Murray, Larochelle 2015, arXiv 1502.03509).

.. math:: p(x) = \prod_{d=1}^{D} p(x_d \mid x_{<d})

The simplest fully visible belief network: an autoencoder of dense layers, whose masks leave no way from x_d to the
output of any d' ≤ d. Each hidden unit k has a degree m(k), and (equations 8 and 9)

.. math:: M^W_{k,d} = 1_{m(k) \ge d}, \quad M^V_{d,k} = 1_{d > m(k)}

With one order it is the raster order, R before G before B within a pixel. With M orders, drawn once and for all, p(x)
is their exact mixture :math:`\frac{1}{M} \sum_m p_m(x)`: probabilities are averaged, and a sample draws one order.
Training takes one order a step, as published, whose loss is in the mean no less than -ln of the mixture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.levels import dequantize
from limner.devices import exact_device, wide
from limner.distributions import Head
from limner.errors import LimnerError, option
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import describe_images
from limner.models.families import Family
from limner.models.recipes import DEMO, Recipe, TrainingConfig
from limner.ranges import Positive

__all__ = ["MADE", "MADEConfig"]

MOST_WEIGHTS = 50_000_000  # of the last layer, which has one row a parameter of each value


@dataclass(frozen=True)
class MADEConfig:
    """The masked autoencoder."""

    hidden: Positive = 500
    """Units of each hidden layer."""
    layers: Positive = 2
    """Hidden layers."""
    orders: Positive = 1
    """Orders of the values: 1 is the raster order, more are an exact mixture, which completes no images."""
    head: Head = "auto"
    """The distribution of a value: softmax, sigmoid, gaussian, or auto (sigmoid if binary, else softmax)."""


class MADE(Autoregressive):
    """See the module's text.

    Raises:
        LimnerError: The last layer would be too large for these images.
    """

    config: MADEConfig
    degree: Tensor
    places: Tensor

    def __init__(self, config: MADEConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels, config.head)
        self.raster = config.orders == 1
        d, p = self.dimensions, self.parameters_per_channel
        if d * p * config.hidden > MOST_WEIGHTS:
            raise LimnerError(
                f"a MADE of images {describe_images(shape)} with {levels} levels has {d * p * config.hidden:,} weights "
                f"in its last layer, more than {MOST_WEIGHTS:,}: choose a smaller {option('size')}, fewer "
                f"{option('levels')}, head=gaussian"
            )
        if d * config.orders > MOST_WEIGHTS:
            raise LimnerError(f"orders={config.orders} of {d} values each: more than {MOST_WEIGHTS:,} places")
        sizes = [d, *[config.hidden] * config.layers]
        self.hidden = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))
        self.out = nn.Linear(config.hidden, d * p)
        # Degrees 0 .. D - 2 in turn: a unit of degree m sees the values at places 0 .. m of the order.
        self.register_buffer("degree", torch.arange(config.hidden) % max(1, d - 1), persistent=False)
        places = [torch.arange(d)]  # the place of each value in the order, the raster order first
        places += [torch.randperm(d, generator=torch.Generator().manual_seed(m)) for m in range(1, config.orders)]
        self.register_buffer("places", torch.stack(places), persistent=False)  # (M, D)

    def _units(self, x: Tensor, order: int) -> Tensor:
        """The last hidden units ``(B, hidden)``, of intensities in raster order ``(B, D)``."""
        place, degree = self.places[order], self.degree
        mask = degree[:, None] >= place  # (hidden, D)
        for layer in cast("list[nn.Linear]", list(self.hidden)):
            x = F.relu(F.linear(x, layer.weight * mask, layer.bias))
            mask = degree[:, None] >= degree
        return x

    def _logits(self, x: Tensor, order: int) -> Tensor:
        """Parameters ``(B, C·P, H, W)`` of p_m(x_d | those before it), of intensities ``(B, C, H, W)``."""
        (c, h, w), p, b = self.shape, self.parameters_per_channel, len(x)
        mask = (self.places[order][:, None] > self.degree).repeat_interleave(p, 0)  # (D·P, hidden)
        units = self._units(x.permute(0, 2, 3, 1).reshape(b, -1), order)  # raster order, R G B within a pixel
        out = F.linear(units, self.out.weight * mask, self.out.bias)
        return out.view(b, h, w, c * p).permute(0, 3, 1, 2)

    def logits(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Parameters ``(B, C·P, H, W)`` in raster order, of the first rows ``(B, C, h ≤ H, W)`` in [-1, 1]."""
        rows = x.shape[2]
        return self._logits(F.pad(x, (0, 0, 0, self.shape[1] - rows)), 0)[:, :, :rows]

    def maps(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """The last hidden units as maps of one place, ``(B, hidden, 1, 1)``, of intensities ``(B, C, H, W)``."""
        return self._units(x.permute(0, 2, 3, 1).flatten(1), 0)[:, :, None, None]

    def _log_prob_of(self, k: Tensor, order: int) -> Tensor:
        p = self.distribution(self._logits(self.intensities(k), order), k)
        return wide(p.log_prob(k)).flatten(1).sum(1)

    def _log_prob(self, k: Tensor, labels: Tensor | None) -> Tensor:
        """ln 1/M Σ_m p_m(x)."""
        each = torch.stack([self._log_prob_of(k, m) for m in range(self.config.orders)])
        return torch.logsumexp(each, 0) - math.log(self.config.orders)

    @property
    def loss_note(self) -> str | None:
        """That a mixture is trained an order a step."""
        if self.raster:
            return None
        return f"orders={self.config.orders}: each step trains one order, so the training loss is above -ln p(x)"

    def loss_terms(
        self, images: Tensor, generator: torch.Generator | None = None, labels: Tensor | None = None
    ) -> dict[str, Tensor]:
        """``nll``, nats ``(B,)``: -ln p(x); in training a mixture's -ln p_m(x) of a drawn order."""
        if self.raster or not self.training:
            return super().loss_terms(images, generator, labels)
        device = self.device if generator is None else generator.device
        order = int(torch.randint(self.config.orders, (), generator=generator, device=device))
        return {"nll": -self._log_prob_of(self.checked_levels(images), order)}

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        generator: torch.Generator | None = None,
        labels: Tensor | None = None,
        on_row: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """``n`` images, uint8 ``(n, C, H, W)``: an order for each, then a pass a value in that order.

        Raises:
            LimnerError: Labels are given.
        """
        if self.raster:
            return super().sample(n, generator=generator, labels=labels, on_row=on_row)
        c, _, w = self.shape
        _, drawn = self.drawn(
            n, generator, labels,
            lambda n: torch.randint(self.config.orders, (n,), generator=generator), self.uniforms(generator),
        )  # fmt: skip
        orders, uniforms = (numbers.to(exact_device(self.device)) for numbers in drawn)
        k = torch.zeros(n, *self.shape, dtype=torch.int64, device=self.device)
        for m in orders.unique().tolist():
            own = (orders == m).nonzero().squeeze(1)
            for value in self.places[m].argsort().tolist():
                pixel, channel = divmod(value, c)
                i, j = divmod(pixel, w)
                p = self.distribution(self._logits(self.intensities(k[own]), m), k[own])
                k[own, channel, i, j] = p.icdf(uniforms[own])[:, channel, i, j].to(k.device)
        return dequantize(k, self.levels)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """Two layers of 500 in raster order."""
    return Recipe(MADEConfig(), TrainingConfig(batch_size=100, weight_decay=0.05, ema_decay=0.999))


FAMILIES = (
    Family(
        name="made",
        model=MADE,
        config=MADEConfig,
        paper="Germain et al. 2015, arXiv 1502.03509",
        summary="The simplest exact likelihood: an autoencoder of dense layers with masks, trained in a minute.",
        recipes={"default": _default},
        demo=lambda shape: Recipe(MADEConfig(hidden=128), replace(DEMO, learning_rate=2e-3)),
        images="small ones: binary 28×28, grey 8×8 with few levels",
        tiny=("hidden=16",),
    ),
)
