"""Several processes against one: the same gradients, the same weights, the same images, whatever stops on the way.

    python -m benchmarks.ranks [--json] [--steps 200] [--models pixelcnn vae gan patch-pixelcnn] [--ranks 2 3]

Of each model, on the digits: how far the gradients of one step in float32 are from those of one process, as a part of
their norm; the weights after ``--steps`` steps in float64, the largest difference; and a training of two processes that
is stopped in the middle of an epoch, goes on on one, is stopped, goes on on three: the images it saw, where it ends.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.crashes import CONTEXT
from limner.config.settings import with_settings
from limner.data import Batches, load
from limner.errors import LimnerError
from limner.models import family
from limner.models.recipes import AdversarialConfig
from limner.noise import seeded
from limner.training.adversarial import Adversarial
from limner.training.loop import train
from limner.training.objectives import Objective, SingleLoss
from limner.training.processes import Processes, joined

MODELS = ("pixelcnn", "vae", "gan", "patch-pixelcnn")


def objective_of(model: str, settings: Sequence[str], dtype: torch.dtype, processes: Processes) -> Objective[Any]:
    """What trains a small ``model`` of the digits; its dropout, noise and moments are those of the whole batch."""
    data = load("digits")
    chosen = family(model)
    recipe = chosen.recipe("default", data.shape)
    recipe = with_settings(recipe, [*chosen.tiny, "precision=float32", *settings], model)
    with seeded(0):
        network: Any = chosen.model(recipe.network, data.shape, data.levels).to(dtype)
    fabric, config = Fabric(accelerator="cpu", devices=1), recipe.training
    if isinstance(config, AdversarialConfig):
        return Adversarial(network, config, fabric, processes=processes)
    return SingleLoss(network, config, fabric, processes)


def watch_gradients(objective: Objective[Any]) -> dict[str, Tensor]:
    """The gradients of the first step of each optimizer, once it is made."""
    found: dict[str, Tensor] = {}
    for kind, optimizers in objective.optimizers.items():
        step = optimizers.clipped_step

        def watched(factor: float, clip: float, kind: str = kind, own: Any = optimizers, step: Any = step) -> float:
            for name, parameter in own.names.items():
                if parameter.grad is not None:
                    found.setdefault(f"{kind}.{name}", parameter.grad.clone().contiguous())
            return float(step(factor, clip))

        optimizers.clipped_step = watched  # type: ignore[method-assign, assignment]
    return found


def gradients(processes: Processes, folder: Path, model: str, settings: Sequence[str]) -> dict[str, Tensor]:
    """Of one step in float32; by plain kernels: oneDNN's own error depends on how many images they are given."""
    objective = objective_of(model, settings, torch.float32, processes)
    found = watch_gradients(objective)
    config = objective.config
    with torch.backends.mkldnn.flags(enabled=False):
        objective.step(Batches(load("digits").split("train"), config.batch_size, 0).at(0), 1.0, 0)
    return found


def weights(processes: Processes, folder: Path, model: str, settings: Sequence[str], steps: int) -> dict[str, Tensor]:
    """After so many steps in float64, with what was measured on the way."""
    objective = objective_of(model, settings, torch.float64, processes)
    batches = Batches(load("digits").split("train"), objective.config.batch_size, 0)
    measured = [objective.step(batches.at(step), 1.0, step) for step in range(steps)]
    rows = [[row.get(name, 0.0) for name in sorted(measured[0])] for row in measured]  # a penalty is not always due
    held_out = objective.validate([batches.at(0), batches.at(1)[:1]])
    everything = {k: v.contiguous() for k, v in objective.model.state_dict().items()}
    more = torch.tensor(list(held_out.values()), dtype=torch.float64)
    return everything | {"metrics": torch.tensor(rows, dtype=torch.float64), "validation": more}


def training(
    processes: Processes,
    folder: Path,
    model: str,
    settings: Sequence[str],
    stop_at: int | None = None,
    kill_at: int | None = None,
    resume: bool = False,
) -> dict[str, Tensor]:
    """A training, stopped or killed at a step of its last process: a hash of each batch, and the weights."""
    objective = objective_of(model, settings, torch.float64, processes)
    data = load("digits")
    seen, step_of = [], objective.step
    last = processes.rank == processes.count - 1

    def step(batch: Any, factor: float, number: int) -> Mapping[str, float]:
        seen.append(int(hashlib.blake2b(batch.images.numpy().tobytes(), digest_size=7).hexdigest(), 16))
        if last and number == stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        if last and number == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return step_of(batch, factor, number)

    objective.step = step  # type: ignore[method-assign, assignment]
    train(objective, data.split("train"), data.split("validation"), folder, resume=resume)
    found = {k: v.contiguous() for k, v in objective.model.state_dict().items()}
    return found | {"seen": torch.tensor(seen)}


WORK: dict[str, Callable[..., dict[str, Tensor]]] = {"gradients": gradients, "weights": weights, "training": training}


def _rank(rank: int, count: int, folder: str, jobs: Sequence[tuple[str, str, dict[str, Any]]]) -> None:
    """What one process does: all jobs, one after the other; the first keeps what it found."""
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(count), LIMNER_RENDEZVOUS=f"file://{folder}/rendezvous")
    with joined() as processes:
        for name, work, options in jobs:
            place = Path(options.pop("folder", folder))
            try:
                found = WORK[work](processes, place, **options)
            except LimnerError as error:
                Path(folder, f"{name}.{rank}.error").write_text(f"{type(error).__name__}: {error}")
                raise SystemExit(error.exit_code) from None
            if processes.first:
                save_file(found, Path(folder, f"{name}.safetensors"))


def together(count: int, jobs: Sequence[tuple[str, str, dict[str, Any]]], folder: Path) -> list[int | None]:
    """Do the ``jobs`` (name, work, options) in ``count`` processes; what is found is in ``folder``; the exit codes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rendezvous").unlink(missing_ok=True)
    ranks = [CONTEXT.Process(target=_rank, args=(r, count, str(folder), jobs)) for r in range(count)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    return [process.exitcode for process in ranks]


def found(folder: Path, name: str) -> dict[str, Tensor]:
    """What the first process found in a job."""
    return load_file(folder / f"{name}.safetensors")


def furthest(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The largest difference of tensors of the same names."""
    assert a.keys() == b.keys()
    return max(float((a[name].double() - b[name].double()).abs().max()) for name in a)


def apart(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """The norm of the difference of tensors of the same names, as a part of the norm of ``b``."""
    whole = [torch.cat([x[name].double().flatten() for name in b]) for x in (a, b)]
    return float((whole[0] - whole[1]).norm() / whole[1].norm())


def stops(model: str, settings: Sequence[str], at: Sequence[int]) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """A training of two processes that goes on on one and ends on three: how many, name, options of each part."""
    common = {"model": model, "settings": settings}
    yield 2, "on-2", common | {"stop_at": at[0]}
    yield 1, "on-1", common | {"stop_at": at[1], "resume": True}
    yield 3, "on-3", common | {"resume": True}


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as temporary:
        yield Path(temporary)


def compare(model: str, count: int, steps: int) -> dict[str, float]:
    """How far ``count`` processes are from one."""
    settings = ["batch_size=37"]  # which no number of ranks divides
    jobs: list[tuple[str, str, dict[str, Any]]] = [
        ("gradients", "gradients", {"model": model, "settings": settings}),
        ("weights", "weights", {"model": model, "settings": settings, "steps": steps}),
    ]
    with _folder() as folder:
        for ranks in (1, count):
            assert together(ranks, [(f"{n}-{ranks}", w, dict(o)) for n, w, o in jobs], folder) == [0] * ranks
        pairs = {name: [found(folder, f"{name}-{ranks}") for ranks in (count, 1)] for name, _, _ in jobs}
    return {
        "gradients_relative": apart(*pairs["gradients"]),
        "weights_after_steps": furthest(*pairs["weights"]),
    }


def broken(model: str) -> dict[str, Any]:
    """A training that is stopped twice and goes on on other numbers of processes, against one that is not."""
    settings = ["batch_size=37", "epochs=2", "evaluations=2"]
    with _folder() as folder:
        for name in ("whole", "broken"):
            (folder / name).mkdir()
        whole = {"model": model, "settings": settings, "folder": str(folder / "whole")}
        assert together(1, [("whole", "training", whole)], folder) == [0]
        seen = []
        for count, name, options in stops(model, settings, (13, 41)):
            job = (name, "training", options | {"folder": str(folder / "broken")})
            assert together(count, [job], folder) == [0] * count
            seen.append(found(folder, name).pop("seen"))
        expected, last = found(folder, "whole"), found(folder, "on-3")
    same = torch.equal(torch.cat(seen), expected.pop("seen"))
    last.pop("seen")
    return {
        "same_images": same,
        "images_of_parts": [len(s) for s in seen],
        "weights": furthest(last, expected),
    }


def main() -> None:
    """Print a line a model and number of ranks, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 3])
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    for model in arguments.models:
        for count in arguments.ranks:
            row = {"model": model, "ranks": count}
            results.append(row | compare(model, count, arguments.steps))
        results.append({"model": model, "stopped": "2 -> 1 -> 3"} | broken(model))
        if not arguments.json:
            for row in results[-1 - len(arguments.ranks) :]:
                print(row, flush=True)
    if arguments.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
