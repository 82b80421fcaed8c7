"""How near samples come to the data, whether or not their model has a likelihood: distances between sets of images.

Every figure is of features (``features.py``), so it has no meaning of its own: the same figure between training and
test images, in sets of the same size, stands beside it, and its standard error (``jackknife.py``; the kernel distance
brings a deviation of its own).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limner.data.imageset import ImageSet, MemoryStore, Split
from limner.errors import LimnerError
from limner.evaluation.distances import (
    Moments,
    clipped_density_coverage,
    kernel_distance,
    precision_recall,
    precision_recall_of_subsets,
)
from limner.evaluation.features import FeatureNetwork
from limner.evaluation.inception import Inception
from limner.evaluation.jackknife import all_but_one, halves, standard_errors
from limner.evaluation.patches import blurred
from limner.version import FEATURES

__all__ = ["FEWEST", "Fidelity", "class_figures", "measure_fidelity", "set_size"]

FEWEST = 50  # images in a set, below which none of this means anything
BLUR = 1.0  # σ in pixels of the copy of the data that samples should be better than
CLIPPED = 4000  # images at most, in halves of which Clipped Density and Coverage are read for their errors
PARTS = 5  # of the training split, whose distances from the reference are averaged


def class_figures(classes: Tensor, labels: Tensor, k: int) -> tuple[int, float]:
    """How many of ``k`` classes occur among ``classes``, and KL(their histogram ‖ that of ``labels``) in nats.

    Of classes alike probable, n images that are drawn rightly have a KL of about (k − 1) / 2n.
    """
    ours = torch.bincount(classes.cpu(), minlength=k).double() / len(classes)
    theirs = torch.bincount(labels.cpu(), minlength=k).double() / len(labels)
    return int((ours > 0).sum()), float((torch.special.xlogy(ours, ours) - torch.special.xlogy(ours, theirs)).sum())


@dataclass(frozen=True)
class Fidelity:
    """Samples beside a split's images. ``data_*`` are the same figures of training images in place of samples.

    Attributes:
        samples: How many samples, beside as many reference and as many training images.
        frechet: The Fréchet distance of the samples' features from the reference's.
        data_frechet: Of training images from the reference: the mean over up to 5 disjoint sets.
        frechet_ratio: ``frechet / data_frechet``: 1 is as good as the data.
        kernel: The kernel distance; about 0 for the data.
        kernel_deviation: Its standard deviation over random subsets.
        neighbours: k of precision and recall.
        precision: Share of samples within the reference's manifold.
        recall: Share of the reference within the samples' manifold.
        data_precision: What real images reach.
        data_recall: What real images reach.
        clipped_density: The share of good samples, by whether they lie where data lie.
        clipped_coverage: The share of good samples, by how much of the data has some near it.
        data_clipped_density: What real images reach, the mean over the same sets as ``data_frechet``.
        data_clipped_coverage: What real images reach.
        blurred_ratio: The Fréchet ratio of blurred training images: samples with a larger one are worse.
        feature_version: Of the features: figures of different versions do not compare.
        fidelity_seconds: Time taken, without the sampling.
        classifier_accuracy: How often the network's classifier is right on held-out images; None without labels, as the
            next two.
        classes_covered: How many classes it sees among the samples.
        class_kl: KL(histogram of these classes ‖ histogram of the training labels), nats.
        inception: The file whose features were taken in place of the network's, for all but the classes.
        frechet_standard_error: Over the choice of all images, as the others.
        frechet_ratio_standard_error: What the choice of the reference does to both distances cancels.
        precision_standard_error: Of ``precision``.
        recall_standard_error: Of ``recall``.
        clipped_density_standard_error: Of ``clipped_density``.
        clipped_coverage_standard_error: Of ``clipped_coverage``.
        class_kl_standard_error: None without labels. The training labels are taken as they are.
    """

    samples: int
    frechet: float
    data_frechet: float
    frechet_ratio: float
    kernel: float
    kernel_deviation: float
    neighbours: int
    precision: float
    recall: float
    data_precision: float
    data_recall: float
    clipped_density: float
    clipped_coverage: float
    data_clipped_density: float
    data_clipped_coverage: float
    blurred_ratio: float
    feature_version: int
    fidelity_seconds: float
    classifier_accuracy: float | None = None
    classes_covered: int | None = None
    class_kl: float | None = None
    inception: str | None = None
    frechet_standard_error: float | None = None
    frechet_ratio_standard_error: float | None = None
    precision_standard_error: float | None = None
    recall_standard_error: float | None = None
    clipped_density_standard_error: float | None = None
    clipped_coverage_standard_error: float | None = None
    class_kl_standard_error: float | None = None


def measure_fidelity(
    generated: Tensor,
    data: ImageSet,
    network: FeatureNetwork,
    *,
    split: str = "test",
    seed: int = 0,
    neighbours: int = 3,
    inception: Inception | None = None,
) -> Fidelity:
    """Compare samples with the images of ``split``, as many as there are samples (or as the set has).

    Args:
        generated: uint8 ``(N, C, H, W)``, of any model.
        data: What the model was trained on.
        network: Its feature network.
        split: The reference.
        seed: Of the choice of images and of the kernel distance's subsets.
        neighbours: k of precision and recall.
        inception: Whose features to take in place of the network's, which still tells the classes.

    Raises:
        LimnerError: There are too few images, or they differ in shape.
    """
    start = time.perf_counter()
    train = data.split("train")
    n = set_size(data, split, len(generated))
    if tuple(generated.shape[1:]) != tuple(data.shape):
        raise LimnerError(f"samples are {tuple(generated.shape[1:])} where {data.source} has {tuple(data.shape)}")
    looks = inception or network
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data.split(split)), generator=generator)
    reference = _features(looks, data.split(split), order[:n])
    others = order[n:] if split == "train" else torch.randperm(len(train), generator=generator)
    sets = [part for part in others.split(n)[:PARTS] if len(part) == n]
    real = [_features(looks, train, part) for part in sets]
    worse = _features(looks, Split(MemoryStore(blurred(train.take(sets[0]), BLUR))), torch.arange(n))
    ours = _features(looks, Split(MemoryStore(generated)), torch.arange(n))
    labels = train.labels if network.classes else None
    classes = None if labels is None else torch.cat([network.classify(x).cpu() for x in generated[:n].split(500)])

    def distances(kept: Tensor) -> list[float]:
        """Of these images, bool ``(n,)``: of the training images' and the samples' features, the ratio, classes' KL."""
        target = Moments.of(reference[kept])
        between = max(sum(target.distance(Moments.of(x[kept])) for x in real) / len(real), 1e-12)
        frechet = target.distance(Moments.of(ours[kept]))
        kl = math.nan
        if classes is not None and labels is not None:
            kl = class_figures(classes[kept], labels, network.classes)[1]
        return [between, frechet, frechet / between, kl]

    between, frechet, ratio, kl = distances(torch.ones(n, dtype=torch.bool))
    kept = all_but_one(n)
    _, frechet_error, ratio_error, kl_error = standard_errors([distances(x) for x in kept], kept)
    data_precision, data_recall = precision_recall(real[0], reference, neighbours=neighbours)
    kept = torch.cat([torch.ones(1, n, dtype=torch.bool), halves(n, generator)])
    (precision, recall), *shares = precision_recall_of_subsets(ours, reference, neighbours, kept).tolist()
    precision_error, recall_error = standard_errors(shares, kept[1:])
    kernel, deviation = kernel_distance(ours, reference, seed=seed)
    density, coverage = clipped_density_coverage(ours, reference)
    data_density, data_coverage = torch.tensor([clipped_density_coverage(z, reference) for z in real]).mean(0).tolist()
    few = min(n, CLIPPED)
    kept = halves(few, generator)
    read = [clipped_density_coverage(ours[:few][half], reference[:few][half]) for half in kept]
    density_error, coverage_error = (error * math.sqrt(few / n) for error in standard_errors(read, kept))
    found = Fidelity(
        samples=n,
        frechet=frechet,
        data_frechet=between,
        frechet_ratio=ratio,
        kernel=kernel,
        kernel_deviation=deviation,
        neighbours=neighbours,
        precision=precision,
        recall=recall,
        data_precision=data_precision,
        data_recall=data_recall,
        clipped_density=density,
        clipped_coverage=coverage,
        data_clipped_density=data_density,
        data_clipped_coverage=data_coverage,
        blurred_ratio=Moments.of(reference).distance(Moments.of(worse)) / between,
        feature_version=FEATURES,
        fidelity_seconds=time.perf_counter() - start,
        inception=None if inception is None else inception.name,
        frechet_standard_error=frechet_error,
        frechet_ratio_standard_error=ratio_error,
        precision_standard_error=precision_error,
        recall_standard_error=recall_error,
        clipped_density_standard_error=density_error,
        clipped_coverage_standard_error=coverage_error,
    )
    if classes is None:
        return found
    accuracy, covered = network.figures["accuracy"], len(classes.unique())
    return replace(
        found, classifier_accuracy=accuracy, classes_covered=covered, class_kl=kl, class_kl_standard_error=kl_error
    )


def set_size(data: ImageSet, split: str, limit: int | None = None) -> int:
    """How many samples to draw: as many as the split has, and the training split, and ``limit``.

    Of the training split half: the other half is what real images reach. Of a set that is not kept in memory 10,000 at
    most, unless ``limit`` says how many.

    Raises:
        LimnerError: They are too few.
    """
    train = len(data.split("train"))
    n = train // 2 if split == "train" else min(len(data.split(split)), train)
    if n < FEWEST:
        there = len(data.split(split))
        raise LimnerError(
            f"split {split!r} of {data.source} has {there} images: fidelity needs {FEWEST}, and as many to train on"
        )
    if limit is not None and limit < FEWEST:
        raise LimnerError(f"{limit} samples: fidelity needs at least {FEWEST}")
    return min(n, data.split(split).held_at_once(limit))


@torch.no_grad()
def _features(network: torch.nn.Module, split: Split, chosen: Tensor) -> Tensor:
    """Features ``(n, D)`` of the images at ``chosen``."""
    return torch.cat([network(split.take(part)) for part in chosen.split(500)]).cpu()
