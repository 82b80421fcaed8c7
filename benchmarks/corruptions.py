"""Whether the metrics of fidelity see what eyes see: real images, made worse step by step.

    python -m benchmarks.corruptions [--json] [--source SOURCE ...] [--classes 2] [--draws 10]

All images of a source (12,000 at most; of its first classes only, where ``--classes`` says so) are divided at random:
a sixth as reference, two sixths in place of samples, the rest to make the features from. The images in place of samples
are taken as they are, and blurred (σ in pixels), with noise (σ of 255), with shifted colours (red up, blue down by so
many of 255; grey images lighter), cut into blocks that change places (a side is cut in so many), or with so large a
part of them missing, in the order of their labels, and others of the kept classes in their place. Printed are Fréchet
ratios, means over the draws: the features are made once, and the images that are not behind them divided anew. The
errors of a single ratio are the deviations over the draws.

Then a part of the images is replaced by noise: Clipped Density and Coverage are to say how large it is; means and
deviations over the same draws, and the precision and recall of the first.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch
from torch import Tensor

import limner
from limner.data.imageset import ImageSet, MemoryStore, Split
from limner.evaluation.distances import Moments, clipped_density_coverage, precision_recall
from limner.evaluation.features import FeatureNetwork, train_features
from limner.evaluation.patches import blurred

MOST = 12_000
SIGMAS, NOISES, SHIFTS, BLOCKS, MISSING = (0.5, 1, 2), (8, 16, 32), (8, 16, 32), (2, 4, 8), (0.1, 0.25, 0.5)
PARTS = tuple(k / 10 for k in range(1, 11))  # of the images, replaced by noise


def noisy(images: Tensor, sigma: float, generator: torch.Generator) -> Tensor:
    """Normal noise added, uint8 ``(B, C, H, W)``."""
    return (images + sigma * torch.randn(images.shape, generator=generator)).round().clamp(0, 255).byte()


def shifted(images: Tensor, by: float) -> Tensor:
    """The first channel raised, the last lowered."""
    change = torch.linspace(1, -1, images.shape[1]) if images.shape[1] > 1 else torch.ones(1)
    return (images + by * change[:, None, None]).round().clamp(0, 255).byte()


def shuffled(images: Tensor, cuts: int, generator: torch.Generator) -> Tensor:
    """Blocks that change places, ``cuts`` to a side; what is left of a side that does not divide stays."""
    n, c, h, w = images.shape
    h, w = h // cuts, w // cuts
    inner = images[:, :, : h * cuts, : w * cuts]
    blocks = inner.reshape(n, c, cuts, h, cuts, w).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (N, blocks, C, h, w)
    order = torch.rand(n, cuts * cuts, generator=generator).argsort(1)
    blocks = blocks[torch.arange(n)[:, None], order].unflatten(1, (cuts, cuts))
    changed = images.clone()
    changed[:, :, : h * cuts, : w * cuts] = blocks.permute(0, 3, 1, 4, 2, 5).reshape(inner.shape)
    return changed


def corruptions(images: Tensor) -> dict[tuple[str, float], Tensor]:
    """By kind and strength, the weakest of each kind first."""
    generator = torch.Generator().manual_seed(0)
    found = {("blur", s): blurred(images, s) for s in SIGMAS}
    found |= {("noise", s): noisy(images, s, generator) for s in NOISES}
    found |= {("colour", s): shifted(images, s) for s in SHIFTS}
    found |= {("shuffle", b): shuffled(images, b, generator) for b in BLOCKS if 3 * b <= min(images.shape[2:])}
    return found


@torch.no_grad()
def features(network: FeatureNetwork, images: Tensor) -> Tensor:
    """``(N, D)``."""
    return torch.cat([network(part) for part in images.split(500)])


def divided(source: str, classes: int | None, validate: bool) -> tuple[ImageSet, Tensor, Tensor]:
    """The images that features are made from, and the others with their labels; without the test split to choose by."""
    data = limner.load_data(source)
    splits = [split for name, split in data.splits.items() if name != "test" or not validate]
    images = torch.cat([split.first(len(split)) for split in splits])
    labels = torch.cat([split.labels for split in splits if split.labels is not None])
    if len(labels) < len(images):  # none: the brightness in its place
        labels = images.flatten(1).float().mean(1)
    elif classes is not None:
        images, labels = images[labels < classes], labels[labels < classes]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:MOST]
    images, labels = images[order], labels[order]
    k = len(images) // 2
    given = None if labels.is_floating_point() else labels[k:]
    parts = {"train": Split(MemoryStore(images[k:]), given), "validation": Split(MemoryStore(images[:0]))}
    names = data.label_names[: classes or None] if given is not None else ()
    return ImageSet(source, data.shape, data.levels, parts, names), images[:k], labels[:k]


def measure(source: str, classes: int | None, draws: int, validate: bool = False) -> dict[str, Any]:
    """The ratios of each kind and strength, and what the shares of noise read as."""
    data, images, labels = divided(source, classes, validate)
    n = len(images) // 3
    start = time.perf_counter()
    network = train_features(data)
    seconds = time.perf_counter() - start
    train = features(network, data.split("train").first(5 * n))
    seen = features(network, images)
    bad = {key: features(network, changed) for key, changed in corruptions(images).items()}
    ratios: dict[tuple[str, float], list[float]] = {}
    for seed in range(draws):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
        reference, ours, others = order[:n], order[n : 2 * n], order[2 * n : 3 * n]
        target = Moments.of(seen[reference])
        parts = [part for part in train.split(n) if len(part) == n]
        between = sum(target.distance(Moments.of(part)) for part in parts) / len(parts)
        sets = {("real", 0.0): seen[ours]} | {key: z[ours] for key, z in bad.items()}
        both = torch.cat([ours, others])
        for part in MISSING:
            kept = both[labels[both].argsort(stable=True)[: round(len(both) * (1 - part))]]
            chosen = kept[torch.randperm(len(kept), generator=torch.Generator().manual_seed(seed))[:n]]
            sets["missing", part] = seen[chosen]
        for key, z in sets.items():
            ratios.setdefault(key, []).append(target.distance(Moments.of(z)) / between)
    result: dict[str, Any] = {
        "source": source, "classes": classes, "images": n, "draws": draws, "feature_seconds": round(seconds, 1),
        "ratios": {f"{kind} {strength:g}": round(sum(v) / draws, 3) for (kind, strength), v in ratios.items()},
        "deviations": {f"{k} {s:g}": round(float(torch.tensor(v).std()), 3) for (k, s), v in ratios.items()},
        "monotone": monotone({key: sum(v) / draws for key, v in ratios.items()}),
        "noise": shares(network, seen, images, draws),
    }  # fmt: skip
    return result


def monotone(ratios: dict[tuple[str, float], float]) -> bool:
    """Whether each strength of a kind has a larger ratio than the one before, the first a larger one than none."""
    last: dict[str, float] = {}
    for (kind, _), ratio in ratios.items():
        if ratio <= last.get(kind, ratios["real", 0.0] if kind != "real" else 0.0):
            return False
        last[kind] = ratio
    return True


def shares(network: FeatureNetwork, seen: Tensor, images: Tensor, draws: int) -> list[dict[str, float]]:
    """What is read where a part of the images in place of samples is replaced by uniform noise."""
    n = len(images) // 3
    noise = torch.randint(0, 256, images[:n].shape, generator=torch.Generator().manual_seed(0)).byte()
    bad = features(network, noise)
    rows = []
    for part in (0.0, *PARTS):
        replaced = round(part * n)
        found = []
        for seed in range(draws):
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
            ours = torch.cat([bad[:replaced], seen[order[n + replaced : 2 * n]]])
            found.append(clipped_density_coverage(ours, seen[order[:n]]))
            if not seed:
                precision, recall = precision_recall(ours, seen[order[:n]])
        row = {"replaced": part, "precision": precision, "recall": recall}
        for name, values in zip(("clipped_density", "clipped_coverage"), torch.tensor(found).T, strict=True):
            row |= {name: float(values.mean()), f"{name}_deviation": float(values.std())}
        rows.append({k: round(v, 3) for k, v in row.items()})
    return rows


def main() -> None:
    """Print the ratios of each source, or all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", nargs="+", default=["digits"])
    parser.add_argument("--classes", type=int, help="only the first so many")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--validate", action="store_true", help="leave the test split out, to choose features by")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    asked = parser.parse_args()
    rows = [measure(source, asked.classes, asked.draws, asked.validate) for source in asked.source]
    if asked.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print(f"{row['source']}, sets of {row['images']}; monotone: {row['monotone']}")
        for name, ratio in row["ratios"].items():
            print(f"  {name:14} {ratio:8.2f} ± {row['deviations'][name]:.2f}")
        for line in row["noise"]:
            print("  " + ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in line.items()))


if __name__ == "__main__":
    main()
