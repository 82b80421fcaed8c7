"""PixelRNN: what the compiled recurrence gains over the plain loop, and what a sample costs in forward passes.

    python -m benchmarks.recurrence [--json] [--only MODEL] [--batches 16 64] [--repeats 3] [--no-sampling]

Binary images of 28×28, float32, seven layers of 16 features and one of 32. A training step is the loss, its gradient
and clearing the gradients; the core is the recurrence of one layer alone, forward and backward. The compiled and the
plain loop take turns in one process and the medians are reported. Sampling is measured as in ``benchmarks.sampling``,
by the fastest sampler there is.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.sampling import BINARY, identical, measure, shaken
from limner.models import family
from limner.models.pixelrnn import PixelRNN, RecurrentLayer
from limner.sampling.methods import row_methods
from limner.training.memory import keep_freed_memory

MODELS = ("diagonal-bilstm", "row-lstm")
SIZES = [(16, 7), (32, 1)]
"""Features h and layers: the paper's two networks for MNIST."""


def build(name: str, hidden: int, layers: int) -> PixelRNN:
    """The paper's network."""
    model = shaken(family(name).model(family(name).config(hidden=hidden, layers=layers), *BINARY))
    assert isinstance(model, PixelRNN)
    return model


def step(model: PixelRNN, images: Tensor) -> None:
    """Forward, backward and clearing the gradients."""
    model(images)["nll"].mean().backward()
    model.zero_grad(set_to_none=True)


def core(layer: RecurrentLayer, inputs: Tensor) -> None:
    """The recurrence of one layer alone, there and back."""
    layer.states(inputs).sum().backward()
    inputs.grad = layer.state.grad = None


def both(run: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Median seconds with the compiled and with the plain loop, in turn; the first of each does not count."""
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for repeat in range(repeats + 1):
        for compiled, took in seconds.items():
            with patch.dict("os.environ", LIMNER_ACCELERATE=str(int(compiled))):
                start = time.perf_counter()
                run()
            if repeat:
                took.append(time.perf_counter() - start)
    return statistics.median(seconds[True]), statistics.median(seconds[False])


def main() -> None:
    """Print a row for each case, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--only", choices=MODELS, help="one model's cases")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind, in turn; medians are reported")
    parser.add_argument("--no-sampling", action="store_true", help="training alone")
    arguments = parser.parse_args()
    keep_freed_memory()  # as in training, for both loops
    rows: list[dict[str, Any]] = []
    (c, h, w), levels = BINARY
    for name in MODELS:
        for hidden, layers in SIZES if arguments.only in (None, name) else []:
            model = build(name, hidden, layers)
            same = {} if arguments.no_sampling else {"identical": identical(model, False)}
            for batch in arguments.batches:
                row: dict[str, Any] = {"model": name, "hidden": hidden, "layers": layers, "batch": batch}
                images = 255 * torch.randint(levels, (batch, c, h, w), dtype=torch.uint8)
                layer = model.layers[0]
                assert isinstance(layer, RecurrentLayer)
                inputs = torch.randn(h, w, batch, len(layer.input.weight), requires_grad=True)
                for part, run in (("step", partial(step, model, images)), ("core", partial(core, layer, inputs))):
                    compiled, plain = both(run, arguments.repeats)
                    row |= {f"{part}_seconds": round(compiled, 4), f"plain_{part}_seconds": round(plain, 4)}
                    row[f"{part}_plain_over_compiled"] = round(plain / compiled, 2)
                if not arguments.no_sampling:
                    row |= {"sampler": row_methods(model)[0], **measure(model, batch, arguments.repeats), **same}
                rows.append(row)
                if not arguments.json:
                    print(row, flush=True)
    if arguments.json:
        print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads(), "rows": rows}))


if __name__ == "__main__":
    main()
