"""Steps and seconds to the best likelihood of one class of MNIST: from nothing, and from a run on the other nine.

``python -m benchmarks.start_from [--json]`` trains a small PixelCNN on 10,000 images of the others (2 epochs) and two
on 1,000 fours (16 epochs each): minutes on one core. Seconds are of training, validation included, loading not.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch

from limner import workbench
from limner.data import ImageSet, MemoryStore, Split
from limner.training.journal import read_metrics

CLASS, COMMON = 4, ["sample_images=0", "precision=float32", "validation_images=300"]
NETWORK = ["features=16", "blocks=2", "head_features=16"]


def part(data: ImageSet, name: str, own: bool, most: int) -> ImageSet:
    """The images of the class (``own``), or of the others, ``most`` to train on and 300 in each other split."""
    splits = {}
    for split, n in (("train", most), ("validation", 300), ("test", 300)):
        labels = data.splits[split].labels
        assert labels is not None
        where = ((labels == CLASS) == own).nonzero().flatten()[:n]
        splits[split] = Split(MemoryStore(data.splits[split].take(where)))
    return ImageSet(name, data.shape, data.levels, splits)


def main() -> None:
    """Print the validation figures of both runs by step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    torch.set_num_threads(1)
    data, found = workbench.load_data("mnist"), {}
    with tempfile.TemporaryDirectory() as runs:
        settings = [*COMMON, *NETWORK, "evaluations=2", "cooldown=0.2"]
        workbench.train(
            "pixelcnn", part(data, "others", False, 10000), name="o", runs=runs, epochs=2, settings=settings
        )
        own = part(data, "own", True, 1000)
        for name, source in (("scratch", None), ("from", Path(runs) / "o")):
            settings = [*COMMON, "evaluations=16", *([] if source else NETWORK)]
            run = workbench.train(
                "pixelcnn", own, name=name, runs=runs, epochs=16, start_from=source, settings=settings
            )
            lines = read_metrics(run.folder)
            found[name] = [(r["step"], r["seconds"], r["validation"]["nats"]) for r in lines if "validation" in r]
    best, step, seconds = min((nats, step, seconds) for step, seconds, nats in found["scratch"])
    reached = next(((step, seconds) for step, seconds, nats in found["from"] if nats <= best), None)
    if as_json:
        print(json.dumps(found | {"best_from_scratch": best, "at": [step, seconds], "from_run_at": reached}))
    else:
        print(
            f"from scratch {best:.2f} nats at step {step}, {seconds:.1f} s; from the run as low at {reached} (step, s)"
        )


if __name__ == "__main__":
    main()
