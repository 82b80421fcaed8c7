"""What exact sampling costs, as a multiple of one forward pass.

    python -m benchmarks.sampling [--json] [--only MODEL] [--batches 1 16 64 256] [--repeats 5] [--naive]
        [--method streaming]
    python -m benchmarks.sampling --memory [--json]

A forward pass is ``conditionals`` of as many images, without gradients, in the same precision on the same threads. It
and the sampler take turns, and the medians are reported. The naive sampler, a pass a value through the rows known so
far, is timed on passes spread over the image and extrapolated. The weights are random, but each layer matters.

``identical`` compares every value of 16 images with the one that the naive sampler draws, in float64, where rounding
decides nothing, once for each network and shape. The naive image x of uniforms u is the one solution of
x_i = F⁻¹(u_i | x_<i) for all i, by induction over i, so one pass decides it; ``--naive`` runs the naive sampler itself,
which takes from two minutes (28×28) to half an hour (32×32 RGB) a case.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable
from typing import Any, get_args

import torch
from torch import Tensor, nn

from limner.data import quantize
from limner.fast.sampler.compiled import CompiledRowSampler
from limner.models import family
from limner.models.autoregressive import Autoregressive
from limner.models.contracts import Model
from limner.models.pixelrnn import MaskedLinear
from limner.nn import MaskedConv2d
from limner.sampling import sample
from limner.sampling.ancestral import Method
from limner.sampling.methods import row_sampler

Shape = tuple[int, int, int]
BINARY = ((1, 28, 28), 2)
SHAPES: list[tuple[Shape, int]] = [BINARY, ((1, 28, 28), 256), ((3, 32, 32), 256)]
MODELS = {"pixelcnn": SHAPES, "gated-pixelcnn": SHAPES, "pixelcnn++": SHAPES}
MODELS |= {"patch-pixelcnn": [BINARY], "diagonal-bilstm": [BINARY], "row-lstm": [BINARY]}
COMPARED = 16  # images


def build(name: str, shape: Shape, levels: int, recipe: str = "default") -> Autoregressive:
    """The network of a recipe, shaken."""
    return shaken(family(name).model(family(name).recipe(recipe, shape).network, shape, levels))


def shaken(model: Model) -> Autoregressive:
    """A network whose every layer matters: no weight is at its initial zero."""
    assert isinstance(model, Autoregressive)
    torch.manual_seed(0)
    for parameter in model.parameters():
        inputs = parameter[0].numel() if parameter.dim() > 1 else 100
        nn.init.normal_(parameter, std=inputs**-0.5)
    return model.eval()


@torch.no_grad()
def identical(model: Autoregressive, run_naive: bool, method: Method = "auto") -> bool:
    """Whether the fast sampler's images are the naive sampler's, in float64."""
    exact = copy.deepcopy(model).double()
    drawn = sample(exact, COMPARED, generator=torch.Generator().manual_seed(0), method=method)
    k = quantize(drawn, exact.levels)
    if run_naive:
        naive = sample(exact, COMPARED, generator=torch.Generator().manual_seed(0), method="naive")
        return torch.equal(quantize(naive, exact.levels), k)
    uniforms = torch.rand(k.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.equal(exact.conditionals(k).icdf(uniforms), k)


@torch.no_grad()
def measure(model: Autoregressive, batch: int, repeats: int, method: Method = "auto") -> dict[str, Any]:
    """Median seconds of a forward pass, of a sampler (the fastest, if ``auto``) and of the naive one."""
    c, h, w = model.shape
    k = torch.randint(model.levels, (batch, c, h, w))
    rows = [h * (2 * x + 1) // 8 for x in range(4)]  # a naive pass on average, as its cost is linear in the rows
    runs: dict[str, tuple[Callable[[], Any], list[float]]] = {
        "forward": (lambda: model.conditionals(k), []),
        "sampler": (lambda: sample(model, batch, method=method), []),
        "naive": (lambda: [_naive_pass(model, k[:, :, : row - row % model.patch + model.patch]) for row in rows], []),
    }
    sample(model, batch, method=method)  # the program is made once
    for repeat in range(repeats):
        for name, (run, seconds) in runs.items():
            if name == "naive" and repeat:
                continue
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    forward, sampler, naive = (statistics.median(seconds) for _, seconds in runs.values())
    naive *= c * h * w / len(rows)
    return {
        "forward_seconds": round(forward, 5),
        "sampler_seconds": round(sampler, 5),
        "naive_seconds": round(naive, 2),
        "naive_extrapolated": True,
        "sampler_over_forward": round(sampler / forward, 3),
        "naive_over_sampler": round(naive / sampler, 1),
        "images_per_second": round(batch / sampler, 1),
    }


def _naive_pass(model: Autoregressive, k: Tensor) -> Tensor:
    """One value of the naive sampler."""
    parameters = model.logits(model.intensities(k))[:, :, -1:, :1]
    here = k[:, :, -model.patch :, : model.patch]
    return model.distribution(parameters, here).icdf(torch.rand(here.shape, dtype=torch.float64))


def memory(name: str, side: int, batch: int = 16) -> dict[str, Any]:
    """Bytes of the sampler's caches, and of all activations that a forward pass computes."""
    shape = (1, side, side)
    model = build(name, shape, 2)
    rows = row_sampler(model, batch, method="compiled")
    assert isinstance(rows, CompiledRowSampler)
    outputs: list[int] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, y: outputs.append(y.numel() * y.itemsize))
        for layer in model.modules()
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, MaskedConv2d, MaskedLinear))
    ]
    with torch.no_grad():
        model.conditionals(torch.zeros(1, *shape, dtype=torch.int64))
    for hook in hooks:
        hook.remove()
    return {
        "model": name, "batch": batch, "shape": list(shape),
        "cache_bytes": rows.state_bytes, "activation_bytes": batch * sum(outputs),
    }  # fmt: skip


def main() -> None:
    """Print a row for each case, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.add_argument("--only", choices=list(MODELS), help="one model's cases")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--repeats", type=int, default=5, help="forward passes and samples of each case, in turn")
    parser.add_argument(
        "--naive", action="store_true", help="identical from the naive sampler itself, not from one pass"
    )
    parser.add_argument("--memory", action="store_true", help="bytes of the caches at three sizes instead of seconds")
    parser.add_argument(
        "--method", choices=get_args(Method), default="auto", help="the sampler; by default the fastest"
    )
    arguments = parser.parse_args()
    names = [name for name in MODELS if arguments.only in (None, name)]
    rows: list[dict[str, Any]] = []

    def show(row: dict[str, Any]) -> None:
        rows.append(row)
        if not arguments.json:
            print(row, flush=True)

    if arguments.memory:
        for name in names:
            for side in (28, 64, 128):
                show(memory(name, side))
    else:
        cases = [(name, "default", *case, arguments.batches) for name in names for case in MODELS[name]]
        if "pixelcnn" in names:
            cases.append(("pixelcnn", "small", *BINARY, [256]))
        for name, recipe, shape, levels, batches in cases:
            model = build(name, shape, levels, recipe)
            same = identical(model, arguments.naive, arguments.method)
            for batch in batches:
                row: dict[str, Any] = {"model": name, "recipe": recipe, "batch": batch}
                row |= {"shape": list(shape), "levels": levels}
                show(row | measure(model, batch, arguments.repeats, arguments.method) | {"identical": same})
    if arguments.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
