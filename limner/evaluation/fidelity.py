"""How near samples come to the data, whether or not their model has a likelihood: distances between sets of images.

Every figure is of features (``features.py``), so it has no meaning of its own: the same figure between training and
test images, in sets of the same size, stands beside it.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limner.data.imageset import ImageSet, MemoryStore, Split
from limner.errors import LimnerError
from limner.evaluation.features import FeatureNetwork
from limner.evaluation.inception import Inception
from limner.noise import seeded

__all__ = [
    "FEWEST",
    "Fidelity",
    "class_figures",
    "frechet_distance",
    "kernel_distance",
    "measure_fidelity",
    "precision_recall",
    "set_size",
]

FEWEST = 50  # images in a set, below which none of this means anything
PARTS = 5  # of the training split, whose distances from the reference are averaged
SUBSETS, SUBSET = 100, 1000  # of the kernel distance
ROUNDING = 1e-6  # of distances between features of variance 1: equal images are at a distance of 0


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½) of features ``(N, D)`` and ``(M, D)``.

    The squared 2-Wasserstein distance of the Gaussians with their moments (Heusel et al. 2017,
    https://arxiv.org/abs/1706.08500, equation 6), in float64.
    """
    fid = _torchmetrics().fid.FrechetInceptionDistance(feature=torch.nn.Identity(), input_img_size=(a.shape[1],))
    fid.update(a.double().cpu(), real=True)
    fid.update(b.double().cpu(), real=False)
    return float(fid.compute())


def kernel_distance(a: Tensor, b: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """The squared maximum mean discrepancy for the kernel (xᵀy / D + 1)³ of features ``(N, D)`` and ``(M, D)``.

    Binkowski et al. 2018, https://arxiv.org/abs/1801.01401, section 4: the mean over 100 random subsets of 1,000
    images (half of them, if there are fewer than 2,000), and the standard deviation over these. Unbiased, so it may
    be a little below 0.
    """
    kid = _torchmetrics().kid
    size = min(SUBSET, len(a) // 2, len(b) // 2)
    with seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the features are kept in memory
        metric = kid.KernelInceptionDistance(feature=torch.nn.Identity(), subsets=SUBSETS, subset_size=size)
        metric.update(a.double().cpu(), real=True)
        metric.update(b.double().cpu(), real=False)
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def _torchmetrics() -> Any:
    """``torchmetrics.image``, which takes two seconds to import.

    Raises:
        LimnerError: It does not work here.
    """
    try:
        import torchmetrics.image.fid
        import torchmetrics.image.kid
    except (ImportError, RuntimeError) as error:  # it imports a torchvision that it finds, whether or not that fits
        raise LimnerError(
            f"torchmetrics cannot be imported ({error}): install it, and a torchvision that fits this torch or none"
        ) from error
    return torchmetrics.image


def precision_recall(generated: Tensor, reference: Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Which share of the generated lies within the data's manifold, and of the data within the generated one.

    A set's manifold is the union of balls around its features ``(N, D)``, each as far as the k-th nearest of the same
    set, k = ``neighbours`` (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, equations 1 and 2, with k = 3).

    Raises:
        LimnerError: There are not as many neighbours.
    """
    if not 1 <= neighbours < min(len(generated), len(reference)):
        raise LimnerError(f"{neighbours} neighbours: choose at least 1, fewer than there are samples")
    a, b = generated.double().cpu(), reference.double().cpu()
    return _share_within(a, b, neighbours), _share_within(b, a, neighbours)


def _share_within(points: Tensor, centres: Tensor, neighbours: int) -> float:
    """The share of ``points`` that lie in a ball around any of ``centres``."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    x, y = points.numpy(), centres.numpy()
    distances, _ = NearestNeighbors(n_neighbors=neighbours, algorithm="brute").fit(y).kneighbors()  # not to itself
    reach = distances[:, -1] + ROUNDING
    within = pairwise_distances_chunked(x, y, reduce_func=lambda d, start: (d <= reach).any(axis=1), working_memory=64)
    return float(sum(part.sum() for part in within)) / len(x)


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
        feature_task: What the feature network was trained to tell: ``labels`` or ``orientation``.
        feature_accuracy: How often it is right on held-out images.
        fidelity_seconds: Time taken, without the sampling.
        classes_covered: How many classes the network sees among the samples; None without labels, as the next.
        class_kl: KL(histogram of these classes ‖ histogram of the training labels), nats.
        inception: The file whose features were taken in place of the network's, for all but the classes.
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
    feature_task: str
    feature_accuracy: float
    fidelity_seconds: float
    classes_covered: int | None = None
    class_kl: float | None = None
    inception: str | None = None


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
    real = [_features(looks, train, part) for part in others.split(n)[:PARTS] if len(part) == n]
    ours = _features(looks, Split(MemoryStore(generated)), torch.arange(n))
    between = max(sum(frechet_distance(part, reference) for part in real) / len(real), 1e-12)
    frechet = frechet_distance(ours, reference)
    kernel, deviation = kernel_distance(ours, reference, seed=seed)
    precision, recall = precision_recall(ours, reference, neighbours=neighbours)
    data_precision, data_recall = precision_recall(real[0], reference, neighbours=neighbours)
    covered, kl = None, None
    if network.classes and train.labels is not None:
        classes = torch.cat([network.classify(part) for part in generated[:n].split(500)])
        covered, kl = class_figures(classes, train.labels, network.classes)
    return Fidelity(
        n, frechet, between, frechet / between, kernel, deviation,
        neighbours, precision, recall, data_precision, data_recall,
        network.figures["task"], network.figures["accuracy"], time.perf_counter() - start, covered, kl,
        None if inception is None else inception.name,
    )  # fmt: skip


def set_size(data: ImageSet, split: str, limit: int | None = None) -> int:
    """How many samples to draw: as many as the split has, and the training split, and ``limit``.

    Of the training split half: the other half is what real images reach.

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
    return n if limit is None else min(n, limit)


@torch.no_grad()
def _features(network: torch.nn.Module, split: Split, chosen: Tensor) -> Tensor:
    """Features ``(n, D)`` of the images at ``chosen``."""
    return torch.cat([network(split.take(part)) for part in chosen.split(500)]).cpu()
