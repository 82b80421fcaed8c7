"""Whether the error bars of fidelity are as long as they should be: real images, drawn again and again.

    python -m benchmarks.error_bars [--json] [--draws 200]

The 1,797 digits are divided at random: 250 in place of samples, 250 as the test split, the others as training images.
Nothing tells these sets apart, so that the true ratio is 1, and the spread of a figure over the draws is its true
standard error. Beside it stands the (root mean square) error that each draw reports, and how often the ratio is said to
be nearer or farther than 1.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import torch

from limner.data import load
from limner.data.imageset import ImageSet, MemoryStore, Split
from limner.evaluation import measure_fidelity, train_features
from limner.runs import beside_training

SIZE = 250
FIGURES = ("frechet", "frechet_ratio", "precision", "recall", "clipped_density", "clipped_coverage")


def measure(draws: int) -> dict[str, Any]:
    """The figures of so many draws."""
    digits = load("digits")
    network = train_features(digits)
    images = torch.cat([split.first(len(split)) for split in digits.splits.values()])
    records = []
    for seed in range(draws):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        ours, test, train = images[order].split([SIZE, SIZE, len(images) - 2 * SIZE])
        splits = {"train": Split(MemoryStore(train)), "test": Split(MemoryStore(test))}
        data = ImageSet("digits", digits.shape, digits.levels, splits)
        records.append(asdict(measure_fidelity(ours, data, network, seed=seed)))
    result: dict[str, Any] = {"draws": draws, "said": Counter(map(beside_training, records))}
    for name in FIGURES:
        values, errors = (torch.tensor([r[key] for r in records]) for key in (name, f"{name}_standard_error"))
        within = (values - (1 if name == "frechet_ratio" else values.mean())).abs() <= 2 * errors
        figures = (values.min(), values.max(), values.std(), errors.square().mean().sqrt(), within.double().mean())
        names = ("smallest", "largest", "standard_deviation", "standard_error", "within_two_errors")
        result[name] = {key: round(float(x), 4) for key, x in zip(names, figures, strict=True)}
    return result


def main() -> None:
    """Print a line for each figure, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    result = measure(arguments.draws)
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(name, value)


if __name__ == "__main__":
    main()
