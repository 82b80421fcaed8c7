r"""PixelRNN: Row LSTM and Diagonal BiLSTM (van den Oord et al. 2016, arXiv 1601.06759, section 3 and table 1).

.. math:: p(x) = \prod_{i=1}^{n^2} p(x_{i,R} \mid x_{<i})\, p(x_{i,G} \mid x_{<i}, x_{i,R})\,
          p(x_{i,B} \mid x_{<i}, x_{i,R}, x_{i,G})

A 7×7 convolution with mask A, residual layers of a two-dimensional LSTM (``limner.nn.recurrent``), and two 1×1 layers
with mask B before the softmax (the sigmoid for binary images). The Row LSTM's state convolves the row above:
its context is a triangle above the pixel. The Diagonal BiLSTM goes along both diagonals: its context is all before.

Between the layers maps are held as ``(H, W, B, 2h)``, as the recurrence wants them: a 1×1 convolution is a product.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.distributions import Head
from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import ConditionalConfig
from limner.models.families import Family
from limner.models.recipes import DEMO, MUON, Recipe
from limner.nn.masked import MaskedConv2d, MaskedLinear
from limner.nn.memories import RecurrentMemory
from limner.nn.recurrent import DIAGONAL, diagonal_lstm, row_direction, row_lstm
from limner.nn.streaming import Memory, Stream, current_stream
from limner.ranges import Positive, odd

__all__ = ["DiagonalBiLSTM", "DiagonalBiLSTMConfig", "PixelRNN", "RecurrentLayer", "RowLSTM", "RowLSTMConfig"]


@dataclass(frozen=True)
class DiagonalBiLSTMConfig(ConditionalConfig):
    """The PixelRNN of Diagonal BiLSTM layers."""

    hidden: Positive = 32
    """Features h of a layer's hidden state, in each direction; between the layers there are 2h maps."""
    layers: Positive = 1
    """LSTM layers, each with a residual connection."""
    first_kernel: Positive = 7
    """Side of the first convolution (mask A); odd."""
    head_features: Positive = 64
    """Feature maps of the last two 1×1 layers."""
    head: Head = "auto"
    """The distribution of a pixel: softmax, sigmoid, gaussian, or auto (sigmoid if binary, else softmax)."""

    def __post_init__(self) -> None:
        odd(first_kernel=self.first_kernel)


@dataclass(frozen=True)
class RowLSTMConfig(DiagonalBiLSTMConfig):
    """The PixelRNN of Row LSTM layers."""

    kernel: Positive = 3
    """Width of the rows that an LSTM convolves: of its input (mask B) and of the state above (no mask); odd."""

    def __post_init__(self) -> None:
        super().__post_init__()
        odd(kernel=self.kernel)


class RecurrentLayer(nn.Module):
    """A layer of an LSTM over pixels, ``(H, W, B, 2h)`` → the same, with its residual connection (figure 5 right).

    Args:
        config, channels, context: Those of its model.
        row_kernel: Places k of a row that a Row LSTM convolves; 0 makes a Diagonal BiLSTM, of D = 2 directions.
        first: Whether it is the first layer: where a direction counts a row lower, it then reads the pixels too.
            The maps do not hold them at their own places, so nothing else would carry a row's last pixel along.
    """

    def __init__(
        self, config: DiagonalBiLSTMConfig, channels: int, context: int, row_kernel: int, *, first: bool
    ) -> None:
        super().__init__()
        self.directions = [row_direction(row_kernel)] if row_kernel else DIAGONAL
        h, count, taps = config.hidden, len(self.directions), len(self.directions[0].taps)
        self.input = MaskedLinear(2 * h, h, channels, 4 * count, row_kernel or 1)
        self.state = nn.Parameter(torch.empty(count, 4 * h, taps * h))  # K^ss, which needs no mask
        self.label = nn.Parameter(torch.zeros(config.classes, 4 * count * h)) if config.classes else None
        self.context = nn.Linear(context, 4 * count * h, bias=False) if context else None
        reads_pixels = first and self.directions[-1].lower
        self.pixels = nn.Parameter(torch.zeros(4 * h, channels)) if reads_pixels else None  # last direction; no mask
        self.out = MaskedLinear(h, 2 * h, channels)
        for weight in (self.input.weight, self.state):
            bound = weight.shape[-1] ** -0.5
            nn.init.uniform_(weight, -bound, bound)
        nn.init.zeros_(self.out.weight)  # each layer starts as the identity

    def forward(self, x: Tensor, pixels: Tensor, labels: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """``x`` ``(H, W, B, 2h)`` → the same shape.

        Given intensities ``(H, W, B, C)``, and where there are some labels int64 ``(B,)`` and context ``(H, W, B, ·)``.
        """
        stream = current_stream()
        if self.pixels is None or stream is not None:  # a stream's memory adds the pixels, a row later
            inputs = self.input(x)
        else:
            weight = self.input.masked_weight()
            of_pixels = F.pad(self.pixels, (0, 0, len(weight) - len(self.pixels), 0))  # 0 for the other directions
            inputs = F.linear(torch.cat([x, pixels], -1), torch.cat([weight, of_pixels], 1), self.input.bias)
        if self.label is not None:
            inputs = inputs + self.label[labels]
        if self.context is not None:
            inputs = inputs + self.context(context)
        states = self.states(inputs) if stream is None else stream.run(self, self.memory, inputs, pixels)
        return x + self.out(states)

    def memory(self, stream: Stream) -> Memory:
        """What a stream remembers of this layer's states."""
        return RecurrentMemory(stream, self.state, self.directions, self.pixels)

    def states(self, inputs: Tensor) -> Tensor:
        """Hidden states ``(H, W, B, h)`` from the input-to-state share ``(H, W, B, 4·D·h)`` of all gates."""
        if len(self.directions) == 2:
            return diagonal_lstm(inputs.unflatten(-1, (2, -1)), self.state)
        return row_lstm(inputs, self.state[0])


class PixelRNN(Autoregressive):
    """See the module's text; a larger model may give ``context`` more features of each pixel."""

    config: DiagonalBiLSTMConfig
    streams = True

    def __init__(
        self, config: DiagonalBiLSTMConfig, shape: tuple[int, int, int], levels: int, context: int = 0
    ) -> None:
        super().__init__(config, shape, levels, config.head)
        self.context = context
        channels, features = shape[0], 2 * config.hidden
        self.first = MaskedConv2d(channels, features, config.first_kernel, "A", channels)
        self.layers = nn.ModuleList(
            RecurrentLayer(config, channels, context, self.row_kernel, first=i == 0) for i in range(config.layers)
        )
        self.head_1 = MaskedLinear(features, config.head_features, channels)
        self.head_2 = MaskedLinear(config.head_features, self.parameters_per_channel * channels, channels)
        nn.init.zeros_(self.head_2.weight)  # uniform over the levels until something is learned

    @property
    def row_kernel(self) -> int:
        """Of Row LSTM layers, or 0."""
        return 0

    def muon_parameters(self) -> dict[str, int]:
        """The weights that Muon takes: those of the layers, each gate's on its own, and the head's first."""
        parameters, h = dict(self.named_parameters()), self.config.hidden
        gates = {n: p.shape[:-1].numel() // h for n, p in parameters.items() if n.endswith(("input.weight", "state"))}
        return gates | {n: 1 for n in parameters if n.endswith(("out.weight", "head_1.weight"))}

    def maps(self, x: Tensor, labels: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, 2h, H, W)``; ``context`` ``(B, ·, H, W)`` where there is some.

        Raises:
            LimnerError: There are classes and no labels.
        """
        if self.classes and labels is None:
            raise LimnerError(f"this model has {self.classes} classes: one pixel's probabilities need labels")
        pixels = x.permute(2, 3, 0, 1)
        x = self.first(x).permute(2, 3, 0, 1).contiguous()  # (H, W, B, 2h)
        if context is not None:
            context = context.permute(2, 3, 0, 1)
        for layer in self.layers:
            x = layer(x, pixels, labels, context)
        return F.relu(x).permute(2, 3, 0, 1)

    def logits(self, x: Tensor, labels: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """``(B, C, H, W)`` in [-1, 1] → ``(B, C·P, H, W)``; the rest is as in ``maps``."""
        x = self.maps(x, labels, context).permute(2, 3, 0, 1)  # (H, W, B, 2h) again
        return self.head_2(F.relu(self.head_1(x))).permute(2, 3, 0, 1)


class RowLSTM(PixelRNN):
    """The PixelRNN of Row LSTM layers."""

    config: RowLSTMConfig

    @property
    def row_kernel(self) -> int:
        """Places of the row above that the states see."""
        return self.config.kernel


class DiagonalBiLSTM(PixelRNN):
    """The PixelRNN of Diagonal BiLSTM layers."""


# Without decay the state-to-state matrices grow until the recurrence comes apart (docs/notes/recurrence.md).
RECURRENT = replace(MUON, cooldown=0.8, weight_decay=0.3)
_DEMO = replace(DEMO, optimizer="muon", learning_rate=6e-3, weight_decay=0.0)
_SMALL: dict[str, Any] = {"hidden": 24, "first_kernel": 5, "head_features": 48}


def _diagonal(shape: tuple[int, int, int]) -> Recipe:
    """Four layers."""
    return Recipe(DiagonalBiLSTMConfig(layers=4), RECURRENT)


def _row(shape: tuple[int, int, int]) -> Recipe:
    """Three layers that see seven places of the row above."""
    return Recipe(RowLSTMConfig(layers=3, kernel=7), RECURRENT)


FAMILIES = (
    Family(
        name="diagonal-bilstm",
        model=DiagonalBiLSTM,
        config=DiagonalBiLSTMConfig,
        paper="van den Oord et al. 2016, arXiv 1601.06759",
        summary="The best exact likelihood of small images, by an LSTM along both diagonals.",
        recipes={"default": _diagonal},
        demo=lambda shape: Recipe(DiagonalBiLSTMConfig(**_SMALL), _DEMO),
        tiny=("hidden=6", "first_kernel=3", "head_features=8"),
        in_demo=True,
    ),
    Family(
        name="row-lstm",
        model=RowLSTM,
        config=RowLSTMConfig,
        paper="van den Oord et al. 2016, arXiv 1601.06759",
        summary="Exact likelihoods by an LSTM from row to row: faster than along diagonals, with a narrower view.",
        recipes={"default": _row},
        demo=lambda shape: Recipe(RowLSTMConfig(**_SMALL), _DEMO),
        tiny=("hidden=6", "first_kernel=3", "head_features=8"),
    ),
)
