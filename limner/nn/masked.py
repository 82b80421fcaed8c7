"""Causal convolutions: masked (arXiv 1601.06759, section 3.4, figure 2 right), and of rows above (1606.05328)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.nn.memories import ConvolutionMemory, RowsMemory
from limner.nn.streaming import Memory, Stream, current_stream

__all__ = ["MaskedConv2d", "MaskedLinear", "RowsAbove", "channel_groups", "raster_mask"]


def channel_groups(features: int, channels: int) -> Tensor:
    """Which of the ``channels`` (R, G, B) each feature map belongs to, int64 ``(features,)``, in equal runs."""
    return torch.tensor([place * channels // features for place in range(features)])


def raster_mask(kernel: tuple[int, int], kind: Literal["A", "B"], outputs: Tensor, inputs: Tensor) -> Tensor:
    """The mask ``(out, in, kh // 2 + 1, kw)`` of the rows of a ``kernel`` that lie not below its centre.

    Above the centre and left of it every weight is open. At the centre, an output map of group g (of ``outputs``)
    sees the input maps of groups < g (mask A), or ≤ g (mask B): R before G before B within one pixel.
    """
    height, width = kernel
    rows, centre = height // 2 + 1, width // 2
    mask = torch.ones(len(outputs), len(inputs), rows, width)
    mask[:, :, -1, centre + 1 :] = 0
    g_out, g_in = outputs[:, None], inputs[None, :]
    mask[:, :, -1, centre] = (g_in < g_out if kind == "A" else g_in <= g_out).float()
    return mask


class _Masked(nn.Module):
    """Weights and a mask, which multiplies them in the forward pass: parameters are never overwritten."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)
        self.masked = bool((mask == 0).any())
        self.weight = nn.Parameter(torch.empty_like(mask))
        self.bias = nn.Parameter(torch.zeros(len(mask)))
        # Kaiming's bound with the fan-in that the mask leaves open.
        bound = (3.0 / max(1.0, float(mask.sum()) / len(mask))) ** 0.5
        nn.init.uniform_(self.weight, -bound, bound)

    def masked_weight(self) -> Tensor:
        """The weights with the future closed."""
        return self.weight * self.mask if self.masked else self.weight


class MaskedConv2d(_Masked):
    """A convolution whose output at pixel i sees only pixels before i in raster order (and i itself, mask B).

    The weights hold the kernel's rows down to its centre only, ``(out, in, kh // 2 + 1, kw)``: the rows below are
    masked whole, so a third of the multiplications is saved.

    Args:
        inputs, outputs: Feature maps in and out.
        kernel: Odd height and width of the full kernel.
        kind: ``"A"`` hides the centre from itself (first layer), ``"B"`` shows it.
        channels: Image channels C; feature maps are split into C groups, R first.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int | tuple[int, int], kind: Literal["A", "B"], channels: int = 1
    ) -> None:
        size = (kernel, kernel) if isinstance(kernel, int) else kernel
        super().__init__(raster_mask(size, kind, channel_groups(outputs, channels), channel_groups(inputs, channels)))
        self.kind, self.padding = kind, (size[0] // 2, size[1] // 2)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W)`` → ``(B, out, H, W)``."""
        if (stream := current_stream()) is not None:
            return stream.run(self, self.memory, x)
        y = F.conv2d(x, self.masked_weight(), self.bias, padding=self.padding)
        return y[:, :, : x.shape[2]]  # the rows that the bottom padding added see the future's place only

    def memory(self, stream: Stream) -> Memory:
        """What a stream remembers of this layer's input."""
        return ConvolutionMemory(stream, self.masked_weight(), self.bias, strict=self.kind == "A")

    def extra_repr(self) -> str:
        """Mask and shape, for ``print(model)``."""
        out, inp, rows, width = self.weight.shape
        return f"{inp}, {out}, kernel=({2 * rows - 1}, {width}), mask={self.kind}"


class RowsAbove(nn.Conv2d):
    """A convolution over the ``rows`` rows that end with the own row, or with the one above it (``strict``).

    Without ``strict`` its input must be a map of the rows above already, or it would see pixels to the right.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, strict: bool) -> None:
        rows = kernel // 2 + (not strict)
        super().__init__(inputs, outputs, (rows, kernel), padding=(kernel // 2, kernel // 2))
        self.strict = strict

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in, H, W)`` → ``(B, out, H, W)``."""
        if (stream := current_stream()) is not None:
            return stream.run(self, self.memory, x)
        return super().forward(x)[:, :, : x.shape[2]]

    def memory(self, stream: Stream) -> Memory:
        """What a stream remembers of this layer's input."""
        return RowsMemory(stream, self.weight, self.bias, strict=self.strict)


class MaskedLinear(_Masked):
    """A 1×1 convolution, or a k×1 one with mask B, of maps ``(H, W, B, in)``: R before G before B within a pixel.

    The weights are ``(out, k // 2 + 1 places from the left · in)``.

    Args:
        inputs, outputs: Feature maps in and out, these ``repeats`` times, each time split into the channels' groups.
        channels: Image channels C.
        kernel: Width k; the places to the right of the centre are masked whole and not held.
    """

    def __init__(self, inputs: int, outputs: int, channels: int, repeats: int = 1, kernel: int = 1) -> None:
        of_output = channel_groups(outputs, channels).repeat(repeats)
        centre = (channel_groups(inputs, channels) <= of_output[:, None]).float()  # (out, in)
        super().__init__(torch.cat([torch.ones(len(of_output), inputs * (kernel // 2)), centre], 1))
        self.span = kernel // 2 + 1

    def forward(self, x: Tensor) -> Tensor:
        """``(H, W, B, in)`` → ``(H, W, B, out)``."""
        if (stream := current_stream()) is not None:
            return stream.run(self, self.memory, x.permute(2, 3, 0, 1)).permute(2, 3, 0, 1)
        if self.span > 1:
            w, left = x.shape[1], self.span - 1
            padded = F.pad(x, (0, 0, 0, 0, left, 0))
            x = torch.cat([padded[:, t : t + w] for t in range(self.span)], -1)
        return F.linear(x, self.masked_weight(), self.bias)

    def memory(self, stream: Stream) -> Memory:
        """What a stream remembers of this layer's input."""
        kernel = self.masked_weight().unflatten(1, (self.span, -1)).movedim(1, -1).unsqueeze(2)  # (out, in, 1, span)
        return ConvolutionMemory(stream, F.pad(kernel, (0, self.span - 1)), self.bias, strict=False)
