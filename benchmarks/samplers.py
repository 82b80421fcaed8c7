"""Every sampler against its model's own exact probabilities: a chi-square test over all images of a tiny size.

    python -m benchmarks.samplers [--json] [--draws 100000] [--only MODEL]

Images are 3×3 binary, 2×2 of four levels and 1×2 binary colours, of which there are 512, 256 and 64 (2×4 binary where
patches tile nothing else), so that the model's probability of each is known. Each sampler that a model has draws so
many, without classes and with, drawn or given; ``reordered`` permutes the images after each row. Images that are
expected less than five times are counted as one. The p-values together are held against 0.001 (Bonferroni: each against
0.001 divided by their number). Weights are random and large, so that images differ much in probability.

Then the faults of ``FAULTS`` are planted in a sampler, one at a time: each must be caught by the same test.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from limner.data import dequantize, quantize
from limner.errors import LimnerError
from limner.models import family
from limner.models.autoregressive import Autoregressive, Tractable
from limner.nn.streaming import Stream
from limner.sampling import sample
from limner.sampling.methods import row_methods, row_sampler
from limner.sampling.rows import NaiveRowSampler, RowSampler

SIGNIFICANCE = 0.001
SHAPES = {"3×3 binary": ((1, 3, 3), 2), "2×2 of four levels": ((1, 2, 2), 4), "1×2 binary colours": ((3, 1, 2), 2)}
SHAPES |= {"2×4 binary": ((1, 2, 4), 2)}  # for patches
SMALL = {"features": 9, "blocks": 1}
RECURRENT = {"hidden": 9, "head_features": 9, "first_kernel": 3}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "pixelcnn": ("pixelcnn", SMALL | {"head_features": 9}),
    "gated-pixelcnn": ("gated-pixelcnn", SMALL | {"head_features": 9}),
    "pixelcnn++": ("pixelcnn++", SMALL | {"components": 2}),
    "patch-pixelcnn of pixels": ("patch-pixelcnn", SMALL | {"patch": 1, "first_kernel": 3}),
    "patch-pixelcnn of patches": ("patch-pixelcnn", SMALL | {"patch": 2, "first_kernel": 3}),
    "diagonal-bilstm": ("diagonal-bilstm", RECURRENT),
    "row-lstm": ("row-lstm", RECURRENT),
    "made": ("made", {"hidden": 24}),
    "made of three orders": ("made", {"hidden": 24, "orders": 3}),
    "multi-scale-pixelrnn": ("multi-scale-pixelrnn", RECURRENT | {"small_hidden": 9, "context": 4}),
}
CLASSES = 3
FEWEST = 10  # cells of a test, below which it could hardly fail


def build(name: str, size: str, classes: int = 0) -> Tractable | None:
    """A model with large random weights; None where there is none of this size, or with classes."""
    of, sizes = MODELS[name]
    chosen, (shape, levels) = family(of), SHAPES[size]
    if classes and not chosen.conditional:
        return None
    if size == "2×4 binary" and sizes.get("patch") != 2:
        return None
    torch.manual_seed(0)
    try:
        model = chosen.model(chosen.config(**sizes, **({"classes": classes} if classes else {})), shape, levels)
    except LimnerError:  # patches that do not tile the image
        return None
    assert isinstance(model, Tractable)
    for parameter_name, parameter in model.named_parameters():
        inputs = parameter[0].numel() if parameter.dim() > 1 else 10
        # Classes differ much; nothing explodes in a deep model, which would draw one image only.
        nn.init.normal_(parameter, std=2.0 if parameter_name.endswith("table") else 1.5 * inputs**-0.5)
    return model.eval()


def samplers(model: Tractable) -> list[str]:
    """The samplers that a model has, as ``draw`` takes them."""
    if not isinstance(model, Autoregressive):
        return [*row_methods(model.large), "jacobi"]  # type: ignore[arg-type]  # in scales
    if not model.raster:
        return ["auto"]
    own = row_methods(model)
    return [*own, "jacobi", *(f"{method}, reordered" for method in own if method != "naive")]


def draw(model: Any, n: int, sampler: str, labels: Tensor | None, seed: int) -> tuple[Tensor, Tensor | None]:
    """Levels int64 ``(n, C, H, W)``, and the classes that were given, as they are ordered then."""
    method: Any = sampler.removesuffix(", reordered")
    generator = torch.Generator().manual_seed(seed)
    if method == sampler:
        images = sample(model, n, generator=generator, labels=labels, batch_size=n, method=method)
        return quantize(images, model.levels), labels
    rows = row_sampler(model, n, method=method, generator=generator, labels=labels)
    while rows.row < model.shape[1]:
        rows.draw_row()
        order = torch.randperm(n, generator=generator)
        rows.select(order)
        labels = None if labels is None else labels[order]
    return rows.k, labels


def every_image(model: Tractable) -> Tensor:
    """All images that a model knows, in the order of their values, uint8 ``(N, C, H, W)``."""
    every = itertools.product(range(model.levels), repeat=model.dimensions)
    return dequantize(torch.tensor(list(every)).view(-1, *model.shape), model.levels)


@torch.no_grad()
def p_value(model: Tractable, k: Tensor, labels: Tensor | None) -> float:
    """Of the chi-square test of drawn levels ``k``, each of a class where ``labels`` are given.

    The cells are the images, or pairs of class and image.
    """
    images = every_image(model)
    cell = (k.flatten(1) * model.levels ** torch.arange(model.dimensions - 1, -1, -1)).sum(1)
    if labels is None:
        p = model.log_prob(images).double().exp()
    else:
        cell = cell + len(images) * labels
        of_class = torch.bincount(labels, minlength=model.classes) / len(k)
        p = (model.class_log_probs(images).double().exp() * of_class).T.flatten()
    assert abs(float(p.sum()) - 1) < 1e-4
    counts, expected = torch.bincount(cell, minlength=len(p)).double(), len(k) * p / p.sum()
    rare = expected < 5
    if rare.any():
        counts, expected = (torch.cat([x[~rare], x[rare].sum().view(1)]) for x in (counts, expected))
    if len(counts) < FEWEST or not expected.all():
        raise ValueError(f"{len(counts)} cells: the model draws nearly always the same image, there is nothing to test")
    statistic = ((counts - expected).square() / expected).sum()
    return float(torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2, dtype=torch.float64), statistic / 2))


def checks(draws: int, names: Iterable[str] = MODELS, sizes: Iterable[str] = SHAPES) -> Iterator[dict[str, Any]]:
    """A record with its p-value for each model, size, sampler, and way to have classes."""
    seeds = itertools.count()  # all draw the same images from the same
    for name, size, classes in itertools.product(names, sizes, (0, CLASSES)):
        model = build(name, size, classes)
        for sampler in [] if model is None else samplers(model):
            for given in (False, True) if classes else (False,):
                labels = torch.arange(draws) % classes if given else None
                assert model is not None
                p = p_value(model, *draw(model, draws, sampler, labels, next(seeds)))
                how = "given" if given else "drawn" if classes else "none"
                yield {"model": name, "images": size, "sampler": sampler, "classes": how, "p": p}


def _wrong_row() -> AbstractContextManager[Any]:
    """The naive sampler sees the rows above one row too low."""
    right = NaiveRowSampler._logits

    def logits(self: NaiveRowSampler, seen: Tensor) -> Tensor:
        return right(self, torch.cat([seen[:, :, :1], seen[:, :, :-2], seen[:, :, -1:]], 2)[:, :, -seen.shape[2] :])

    return mock.patch.object(NaiveRowSampler, "_logits", logits)


def _stale_memory() -> AbstractContextManager[Any]:
    """Reordered images go on with the memory of those that were in their places."""
    return mock.patch.object(Stream, "select")


def _wrong_channel() -> AbstractContextManager[Any]:
    """All channels of a pixel are drawn with the uniform of the first."""
    right = RowSampler.__init__

    def init(self: RowSampler, *words: Any, **options: Any) -> None:
        right(self, *words, **options)
        self.uniforms = self.uniforms[:, :1].expand_as(self.uniforms).contiguous()

    return mock.patch.object(RowSampler, "__init__", init)


def _wrong_label() -> AbstractContextManager[Any]:
    """Images are of the class after the one that was asked for."""
    right = Autoregressive.drawn

    def drawn(self: Autoregressive, *words: Any) -> tuple[Tensor | None, list[Tensor]]:
        labels, numbers = right(self, *words)
        return None if labels is None else (labels + 1) % self.classes, numbers

    return mock.patch.object(Autoregressive, "drawn", drawn)


def _shifted_border() -> AbstractContextManager[Any]:
    """In the last column a tenth of the lowest levels are drawn one too high."""
    right = RowSampler._put

    def put(self: RowSampler, drawn: Tensor, channel: int, i: int, j: int) -> None:
        low = (drawn == 0) & (self.uniforms[:, channel, i, j] % 0.1 < 0.01)
        right(self, drawn + (low & (j == self.model.shape[2] - 1)), channel, i, j)

    return mock.patch.object(RowSampler, "_put", put)


FAULTS = {f.__name__[1:]: f for f in (_wrong_row, _stale_memory, _wrong_channel, _wrong_label, _shifted_border)}


def caught(fault: str, draws: int) -> bool:
    """Whether the tests of the PixelCNN's samplers, fewer than 100, find a planted fault at their Bonferroni bound."""
    with FAULTS[fault]():
        return any(record["p"] < SIGNIFICANCE / 100 for record in checks(draws, ["pixelcnn"]))


def main() -> None:
    """Print a line for each test and each fault, or all as JSON; exit with 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--only", choices=list(MODELS), help="one model's samplers")
    arguments = parser.parse_args()
    records = []
    for record in checks(arguments.draws, [arguments.only] if arguments.only else MODELS):
        records.append(record)
        if not arguments.json:
            print(*record.values(), flush=True)
    found = {name: caught(name, arguments.draws // 5) for name in FAULTS}
    bound = SIGNIFICANCE / len(records)
    failed = [record for record in records if not record["p"] >= bound]  # also what is no number
    result = {
        "tests": len(records),
        "draws": arguments.draws,
        "bound": bound,
        "smallest_p": min(r["p"] for r in records),
    }
    result |= {"failed": failed, "faults_caught": found}
    if arguments.json:
        print(json.dumps(result | {"records": records}))
    else:
        print(result)
    raise SystemExit(bool(failed) or not all(found.values()))


if __name__ == "__main__":
    main()
