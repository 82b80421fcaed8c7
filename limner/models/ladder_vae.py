r"""Hierarchical VAE: a ladder (Sønderby et al. 2016, arXiv 1602.02282) of residual blocks (Child 2021, 2011.10650).

Latents z_1 .. z_L lie on maps that double in size on the way down, several layers at each size, and each layer's
prior and posterior know all layers above:

.. math:: p(x, z) = p(x \mid z) \prod_l p(z_l \mid z_{<l}), \quad q(z \mid x) = \prod_l q(z_l \mid z_{<l}, x)

One deterministic pass up reads the image; the pass down is shared by both. Both are normal, the posterior said
relative to the prior (Vahdat and Kautz 2020, arXiv 2007.03898, equation 2):

.. math:: p = N(μ, σ^2), \quad q = N(μ + σ\,Δμ, (σ\,Δσ)^2), \quad z_l = μ + σ\,ε_l

so that ε is standard normal under the prior, whatever lies above, N(Δμ, Δσ²) under the posterior, and
:math:`KL(q \| p) = \frac{1}{2} \sum (Δμ^2 + Δσ^2 - 1 - \ln Δσ^2)`. The ε of all layers in one row are an image's code.
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

from limner.distributions import PixelDistribution
from limner.models.autoregressive import ClassBias
from limner.models.bounded import Bounded, BoundedConfig
from limner.models.contracts import Numbers, standard_normal
from limner.models.families import Family
from limner.models.heads import HeadConfig, PixelHead, usual_head
from limner.models.importance import Draw, Weights, gaussian_kl, log_likelihood, mean_log_std
from limner.models.recipes import DEMO, MUON, Recipe, is_large
from limner.nn.coders import halvings
from limner.nn.ladder import Bottleneck, Gather, ResidualBlock, Size, Spread, activated
from limner.ranges import Decay, Positive

__all__ = ["LadderVAE", "LadderVAEConfig"]


@dataclass(frozen=True)
class LadderVAEConfig(BoundedConfig, HeadConfig):
    """The hierarchical variational autoencoder."""

    features: Positive = 48
    """Feature maps at the finest size, doubled at each coarser one."""
    latent: Positive = 4
    """Maps of z in each layer of the finest size, doubled likewise."""
    layers: Positive = 2
    """Stochastic layers at each size, and residual blocks of the pass up."""
    patch: Positive = 2
    """Side of the squares of pixels that are one place of the finest maps."""
    dropout: Decay = 0.0
    """Probability that a feature map is dropped in training, before the last filters of each block."""
    layer_norm: bool = False
    """What is read of the feature maps has mean 0 and variance 1 at each place: without it a σ far out in one layer is
    multiplied by those below it, and training of larger images may end."""


class StochasticLayer(nn.Module):
    """One stochastic layer of the pass down, of F feature maps and Z maps of z: p(z_l | z_<l) and q(z_l | z_<l, x)."""

    def __init__(self, features: int, latent: int, size: Size, dropout: float, layer_norm: bool) -> None:
        super().__init__()
        self.shape, self.layer_norm = (latent, *size), layer_norm
        width = (features + 1) // 2
        self.unit = ResidualBlock(features, size, dropout, layer_norm)
        self.prior = nn.Conv2d(features, 2 * latent, 1)
        self.above = nn.Conv2d(features, width, 1)
        self.below = nn.Conv2d(features, width, 1)
        self.posterior = Bottleneck(width, 2 * latent, size, dropout)
        self.join = nn.Conv2d(latent, features, 1)

    def relative_posterior(self, h: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Δμ and ln Δσ of q(z_l | z_<l, x), each ``(N, Z, H, W)``, N = S·B.

        Of the activated features ``h`` of what lies above, ``(N, F, H, W)``, and of what is ``seen`` of the image:
        ``below`` of the maps of the pass up, ``(B, F/2, H, W)``.
        """
        above = self.above(h).unflatten(0, (-1, len(seen)))  # (S, B, F/2, H, W)
        return mean_log_std(self.posterior((above + seen).flatten(0, 1)))

    def forward(self, h: Tensor, epsilon_of: EpsilonOf) -> Tensor:
        """h ``(N, F, H, W)`` → h with z let in."""
        h = self.unit(h)
        read = activated(h, self.layer_norm)
        mean, log_std = mean_log_std(self.prior(read))  # p(z_l | z_<l) = N(μ, σ²)
        z = mean + torch.exp(log_std) * epsilon_of(self, read)  # z_l = μ + σ ε_l
        return h + self.join(z)


EpsilonOf = Callable[[StochasticLayer, Tensor], Tensor]
"""ε ``(N, Z, H, W)`` of a layer and its activated features ``(N, F, H, W)``: drawn from its prior or its posterior, or
the posterior's mean."""


class LadderVAE(Bounded):
    """See the module's text."""

    config: LadderVAEConfig

    def __init__(self, config: LadderVAEConfig, shape: tuple[int, int, int], levels: int) -> None:
        super().__init__(config, shape, levels)
        (c, h, w), p, drop, norm = shape, config.patch, config.dropout, config.layer_norm
        sizes = halvings(-(-h // p), -(-w // p))
        if sizes[-1] != (1, 1):
            sizes.append((1, 1))
        maps = [config.features * 2**i for i in range(len(sizes))]
        self.first = nn.Conv2d(c, maps[0], 2 * p + 1, stride=p, padding=p)
        self.seen_label = ClassBias(config.classes, maps[0])
        self.up = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(m, size, drop, norm) for _ in range(config.layers)))
            for m, size in zip(maps, sizes, strict=True)
        )
        self.coarser, self.finer = nn.ModuleList(), nn.ModuleList()  # finer: from the top down
        for (before, after), (size, smaller) in zip(pairwise(maps), pairwise(sizes), strict=True):
            whole = smaller == (1, 1)
            self.coarser.append(Gather(before, after, size) if whole else nn.Conv2d(before, after, 3, 2, 1))
            self.finer.insert(0, Spread(after, before, size) if whole else nn.ConvTranspose2d(after, before, 2, 2))
        self.start = nn.Parameter(torch.zeros(maps[-1], 1, 1))
        self.drawn_label = ClassBias(config.classes, maps[-1])
        self.down = nn.ModuleList(
            StochasticLayer(config.features * 2**i, config.latent * 2**i, sizes[i], drop, norm)
            for i in reversed(range(len(sizes)))
            for _ in range(config.layers)
        )
        self.head = PixelHead(config, shape, levels)
        self.out = nn.Conv2d(maps[0], self.head.maps * p * p, 3, padding=1)
        self.sizes = sizes
        self.decoded_values = maps[0] * math.prod(sizes[0])

    @property
    def stochastic_layers(self) -> list[StochasticLayer]:
        """From the top down."""
        return cast("list[StochasticLayer]", list(self.down))

    def muon_parameters(self) -> dict[str, int]:
        """The weights that Muon takes: the filters of the blocks and between them."""
        parts = ("up", "coarser", "down", "finer")
        return {n: 1 for n, p in self.named_parameters() if p.dim() >= 2 and n.startswith(parts)}

    def maps(self, levels: Tensor, labels: Tensor | None) -> list[Tensor]:
        """The pass up: activated maps ``(B, F, H, W)`` of levels int64 ``(B, C, H, W)``, the finest size first."""
        x = self.seen_label(self.first(self.intensities(levels).to(memory_format=torch.channels_last)), labels)
        maps: list[Tensor] = []
        for i, blocks in enumerate(self.up):
            x = blocks(self.coarser[i - 1](maps[-1]) if i else x)
            maps.append(activated(x, self.config.layer_norm))
        return maps

    def infer(self, levels: Tensor, labels: Tensor | None) -> tuple[Tensor, ...]:
        """What each layer sees of the image, ``(B, F/2, H, W)``, from the top down."""
        maps = self.maps(levels, labels)[::-1]
        return tuple(layer.below(maps[i // self.config.layers]) for i, layer in enumerate(self.stochastic_layers))

    def descend(self, epsilon_of: EpsilonOf, n: int, labels: Tensor | None) -> Tensor:
        """The pass down: the parameters of p(x|z), ``(n, P, H, W)``, of the ε that each layer is given."""
        h, norm = self.drawn_label(self.start.expand(n, -1, -1, -1), labels), self.config.layer_norm
        for i, layer in enumerate(self.down):
            scale, within = divmod(i, self.config.layers)
            if scale and within == 0:  # the first layer of a finer size
                rows, columns = self.sizes[-1 - scale]  # where a side is odd, what was doubled is one too many
                h = self.finer[scale - 1](activated(h, norm))[:, :, :rows, :columns]
                h = h.to(memory_format=torch.channels_last)
            h = layer(h, epsilon_of)
        _, rows, columns = self.shape
        return F.pixel_shuffle(self.out(activated(h, norm)), self.config.patch)[:, :, :rows, :columns]

    def _likelihood(self, z: Tensor, labels: Tensor | None) -> PixelDistribution:
        """p(x|z) of codes ε ``(N, latent)``."""
        parts = iter(z.split([math.prod(layer.shape) for layer in self.stochastic_layers], 1))  # from the top down
        return self.head(self.descend(lambda layer, h: next(parts).unflatten(1, layer.shape), len(z), labels))

    def weights(
        self, levels: Tensor, inferred: tuple[Tensor, ...], labels: Tensor | None, num_samples: int, draw: Draw
    ) -> Weights:
        """See ``Bounded.weights``: the groups of the KL are the layers from the top down."""
        b, seen = len(levels), iter(inferred)
        kl, log_ratio = [], []

        def from_posterior(layer: StochasticLayer, h: Tensor) -> Tensor:
            mean, log_std = layer.relative_posterior(h, next(seen))  # q(ε|x) = N(Δμ, Δσ²)
            maps, rows, columns = layer.shape  # the noise in the maps' order in memory
            noise = draw(num_samples, (rows, columns, maps)).flatten(0, 1).permute(0, 3, 1, 2).to(mean)
            epsilon = mean + torch.exp(log_std) * noise
            # ln p(ε) - ln q(ε|x): the 2π of both cancel, and the σ by which both are shorter than those of z.
            log_ratio.append((0.5 * (noise**2 - epsilon**2) + log_std).flatten(1).sum(1).view(num_samples, b))
            kl.append(gaussian_kl(mean, log_std).flatten(1).sum(1).view(num_samples, b))
            return epsilon

        labels = None if labels is None else labels.repeat(num_samples)
        p = self.head(self.descend(from_posterior, num_samples * b, labels))  # p(x|z)
        return Weights(log_likelihood(p, levels, num_samples), torch.stack(log_ratio).sum(0), torch.stack(kl))

    def codes(self, generator: torch.Generator | None) -> Numbers:
        """Codes ε ~ N(0, I), ``(n, latent)``."""
        size = sum(math.prod(layer.shape) for layer in self.stochastic_layers)
        return lambda n: standard_normal((n, size), generator, self.device).to(self.dtype)

    def features(self, images: Tensor) -> Tensor:
        """The maps of the pass up, averaged over their places, ``(B, D)``, of uint8 images, with their gradient."""
        maps = self.maps(self.checked_levels(images), self.likeliest(images))
        return torch.cat([x.mean((2, 3)) for x in maps], 1)

    def _code(self, levels: Tensor, labels: Tensor | None) -> Tensor:
        """The ε of all layers: Δμ of each, given those above."""
        seen = iter(self.infer(levels, labels))
        code = []

        def posterior_mean(layer: StochasticLayer, h: Tensor) -> Tensor:
            mean, _ = layer.relative_posterior(h, next(seen))
            code.append(mean.flatten(1))
            return mean

        self.descend(posterior_mean, len(levels), labels)
        return torch.cat(code, 1)


def _default(shape: tuple[int, int, int]) -> Recipe:
    """For about half an hour of one core on binary 28×28 images; of larger ones more, smaller steps, normalised."""
    small = math.prod(shape) <= 1024
    batch, patch = 128 if small else 32, 4 if is_large(shape) else 2
    training = replace(MUON, batch_size=batch, weight_decay=0.1, warmup_steps=100, ema_decay=0.999)
    network = LadderVAEConfig(dropout=0.1, patch=patch, layer_norm=not small, head=usual_head(shape))
    return Recipe(network, training)


def _strong(shape: tuple[int, int, int]) -> Recipe:
    """Wider and regularised: for a GPU, or for longer runs."""
    default = _default(shape)
    network = replace(default.network, features=64, patch=2, dropout=0.2)
    return Recipe(network, replace(default.training, ema_decay=0.9995))


FAMILIES = (
    Family(
        name="ladder-vae",
        model=LadderVAE,
        config=LadderVAEConfig,
        paper="Sønderby et al. 2016, arXiv 1602.02282",
        summary="The tightest bound here: a hierarchy of latents on maps of growing size.",
        recipes={"default": _default, "strong": _strong},
        demo=lambda shape: Recipe(LadderVAEConfig(features=16), replace(DEMO, learning_rate=2e-3)),
        tiny=("features=4", "latent=1", "layers=1"),
    ),
)
