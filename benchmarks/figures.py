"""The images of docs/: what reaches one pixel's logit, by each network's gradients; where a GAN's generator learns.

    python -m benchmarks.figures [--out docs/figures]

contexts: random weights, float64, 16 features, 15×15 pixels. A square is a pixel: the darker, the larger the gradient
of the logit of the pixel marked ×, on a logarithmic scale; where it is exactly zero the pixel is white.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.sampling import shaken
from limner.models.autoregressive import Autoregressive
from limner.models.gan import OBJECTIVES
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.models.pixelrnn import DiagonalBiLSTM, DiagonalBiLSTMConfig, RowLSTM, RowLSTMConfig

SIDE, PLACE = 15, (9, 6)


def gradients(model: Autoregressive) -> Tensor:
    """|∂ logit of PLACE / ∂ x| ``(H, W)``."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 1, SIDE, SIDE, generator=generator, dtype=torch.float64).requires_grad_()
    (gradient,) = torch.autograd.grad(shaken(model.double()).logits(x)[0, 0][PLACE], x)
    return gradient[0, 0].abs()


def contexts() -> Figure:
    """PixelCNN, Row LSTM and Diagonal BiLSTM side by side."""
    shape = (1, SIDE, SIDE)
    models = {
        "PixelCNN, 3 blocks": PixelCNN(PixelCNNConfig(features=16, blocks=3, first_kernel=3), shape, 2),
        "Row LSTM, 1 layer": RowLSTM(RowLSTMConfig(hidden=16, first_kernel=3), shape, 2),
        "Diagonal BiLSTM, 1 layer": DiagonalBiLSTM(DiagonalBiLSTMConfig(hidden=16, first_kernel=3), shape, 2),
    }
    figure = Figure(figsize=(7.2, 2.6), layout="constrained")
    for axes, (title, model) in zip(figure.subplots(1, 3), models.items(), strict=True):
        axes.imshow(gradients(model).log10(), cmap="YlGnBu", vmin=-10)  # log10(0) is left white
        axes.plot(*PLACE[::-1], "x", color="black")
        axes.set_title(title, fontsize=9)
        axes.set_xticks(torch.arange(0.5, SIDE - 1), [])
        axes.set_yticks(torch.arange(0.5, SIDE - 1), [])
        axes.tick_params(length=0)
        axes.grid(color="white", linewidth=0.5)
    return figure


def saturation() -> Figure:
    """What each objective's generator minimises, and how steep that is, by the logit of a fake; reals at logit 2."""
    fake = torch.linspace(-8, 4, 241, dtype=torch.float64).requires_grad_()
    figure = Figure(figsize=(7.2, 2.8), layout="constrained")
    value, slope = figure.subplots(1, 2)
    for name, game in OBJECTIVES.items():
        _, loss = game(torch.full_like(fake, 2.0), fake)
        (gradient,) = torch.autograd.grad(loss.sum(), fake)
        style = "--" if name == "wasserstein" else "-"  # it lies on the hinge's
        value.plot(fake.detach(), loss.detach(), style, label=name, linewidth=1.4)
        slope.plot(fake.detach(), gradient.abs(), style, linewidth=1.4)
    value.set_ylim(-6, 10)
    slope.set_ylim(0, 3)
    value.set_title("loss of the generator", fontsize=9)
    slope.set_title("size of its slope", fontsize=9)
    for axes in (value, slope):
        axes.set_xlabel("D(G(z)), the logit of a fake: left, the discriminator is sure", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.2)
    value.legend(fontsize=7, frameon=False)
    return figure


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs/figures"))
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for figure in (contexts, saturation):
        figure().savefig(out / f"{figure.__name__}.png", dpi=100, metadata={"Software": None})


if __name__ == "__main__":
    main()
