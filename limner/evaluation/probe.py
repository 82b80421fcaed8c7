"""What a trained network is worth where labels are few: a classifier from it, beside three that begin elsewhere.

All are a linear layer on features, given the same few labelled images, and tell the classes of the same test
images. The layer is fitted by logistic regression to the features as they are: of the trained network (``frozen``),
or the pixels (``pixels``). Then all weights are trained: from the trained ones (``fine-tuned``), or from new ones in
the same way (``scratch``). A layer that is fitted before anything else moves spares the features the large first steps
towards it (Kumar et al. 2022, arXiv 2202.10054).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.data.imageset import Split
from limner.errors import LimnerError, option
from limner.evaluation.features import OnProgress
from limner.models.contracts import Features, Model

__all__ = ["METHODS", "Accuracy", "Classifier", "few_labels", "fine_tune", "measure_probe"]

Method = Literal["fine-tuned", "frozen", "scratch", "pixels"]
METHODS: tuple[Method, ...] = get_args(Method)

BATCH = 100
RATE = 5e-4
FEWEST_STEPS, EPOCHS, MOST_STEPS = 300, 20, 2000  # of training with labels: 20 epochs, but within these
LOOKED_AT = 1000  # images that the scale of the features is of; their labels are not


@dataclass(frozen=True)
class Accuracy:
    """What share of the test images a method tells right.

    Attributes:
        labels_per_class: Images of each class that it was given with their labels.
        method: One of ``METHODS``.
        accuracies: Of each seed, which decides the labelled images, new weights and the order of the batches.
    """

    labels_per_class: int
    method: Method
    accuracies: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.accuracies)

    @property
    def deviation(self) -> float:
        """The sample standard deviation over the seeds; 0 of one."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else 0.0


class Classifier(nn.Module):
    """A linear layer on a model's features, which are centred and have a mean variance of 1 as it begins.

    Args:
        model: Any that has ``Features``; trained with the rest.
        classes: K.
        images: Images uint8 ``(N, C, H, W)`` that decide the features' centre and scale.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, model: Features, classes: int, images: Tensor) -> None:
        super().__init__()
        self.model = model
        z = _over(model.features, images)
        self.register_buffer("mean", z.mean(0))
        self.register_buffer("scale", z.var(0, correction=0).mean().sqrt().clamp_min(1e-12))
        self.out = nn.Linear(z.shape[1], classes, device=z.device, dtype=z.dtype)

    def features(self, images: Tensor) -> Tensor:
        """Of uint8 images, ``(B, D)``."""
        return (self.model.features(images) - self.mean) / self.scale

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(B, K)`` of uint8 images ``(B, C, H, W)``."""
        return self.out(self.features(images))

    @torch.no_grad()
    def fit_head(self, images: Tensor, labels: Tensor) -> None:
        """Set the linear layer to the logistic regression of ``labels`` int64 ``(N,)`` on the features as they are."""
        from sklearn.linear_model import LogisticRegression

        z = _over(self.features, images).cpu().double().numpy()
        fitted = LogisticRegression(max_iter=1000).fit(z, labels.numpy())
        weight, bias = torch.from_numpy(fitted.coef_), torch.from_numpy(fitted.intercept_)
        if len(weight) == 1:  # of two classes, the logit of the second
            weight, bias = torch.cat([-weight, weight]) / 2, torch.cat([-bias, bias]) / 2
        self.out.weight.copy_(weight)
        self.out.bias.copy_(bias)


def fine_tune(network: Classifier, images: Tensor, labels: Tensor, *, seed: int) -> None:
    """Train all of ``network`` on labelled images, in place: 20 epochs, 300 steps at least, 2,000 at most.

    AdamW, the rate falling to zero.

    Args:
        network: Its features as trained, or new.
        images: uint8 ``(N, C, H, W)``.
        labels: int64 ``(N,)``.
        seed: Of the batches.
    """
    size = min(BATCH, len(images))
    steps = min(max(FEWEST_STEPS, EPOCHS * len(images) // size), MOST_STEPS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, steps)
    generator = torch.Generator().manual_seed(seed)
    network.train()
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(len(images), generator=generator)
        batch, order = order[:size], order[size:]
        optimizer.zero_grad()
        logits = network(images[batch])
        F.cross_entropy(logits, labels[batch].to(logits.device)).backward()
        optimizer.step()
        schedule.step()
    network.eval()


def few_labels(labels: Tensor, classes: int, per_class: int, seed: int) -> Tensor:
    """Positions int64 ``(classes · per_class,)`` of so many images of each class; more of a seed hold the fewer.

    Raises:
        LimnerError: A class has fewer images.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    members = [order[labels[order] == k][:per_class] for k in range(classes)]
    for k, found in enumerate(members):
        if len(found) < per_class:
            raise LimnerError(f"{per_class} labels of each class: class {k} has {len(found)} training images")
    return torch.cat(members)


def measure_probe(
    model: Model,
    fresh: Callable[[int], Model],
    train: Split,
    test: Split,
    classes: int,
    *,
    labels_per_class: Sequence[int],
    seeds: int = 5,
    methods: Sequence[Method] = METHODS,
    limit: int | None = None,
    on_progress: OnProgress | None = None,
) -> list[Accuracy]:
    """Accuracies of each method with each number of labels.

    Args:
        model: The trained one.
        fresh: Gives the same network with new weights, of a seed.
        train: Where the labelled images are from.
        test: The images to be told.
        classes: K of the labels.
        labels_per_class: How many labelled images of each class there are, one experiment each.
        seeds: Experiments of each kind.
        methods: Which of ``METHODS``.
        limit: Only the first so many test images; by default all, of a set that is not kept in memory 10,000.
        on_progress: Told ``(stage, done, total)``.

    Raises:
        LimnerError: The model has no features or is told the class, there are no labels, or too few of a class.
    """
    if not isinstance(model, Features) or model.classes:
        why = "is given the class" if model.classes else "has no features to probe"
        apart = option("conditional", True)
        raise LimnerError(f"this {type(model).__name__} {why}: probe a run trained without {apart}")
    if train.labels is None or test.labels is None:
        raise LimnerError("a probe needs labels: sub-folders or a labels array make them")
    if classes < 2:
        raise LimnerError(f"a probe needs two classes or more to tell apart, not {classes}")
    few_labels(train.labels, classes, max(labels_per_class), 0)  # too few are said before anything is measured
    test_images = test.first(test.held_at_once(limit))
    test_labels = test.labels[: len(test_images)]
    looked_at = train.first(LOOKED_AT)
    fixed = {"frozen": Classifier(model, classes, looked_at), "pixels": Classifier(Pixels(), classes, looked_at)}
    seen = {kind: _over(fixed[kind].features, test_images) for kind in methods if kind in fixed}

    def accuracy(kind: Method, images: Tensor, labels: Tensor, seed: int) -> float:
        if kind in fixed:
            fixed[kind].fit_head(images, labels)
            logits = _over(fixed[kind].out, seen[kind])
        else:
            start = copy.deepcopy(model) if kind == "fine-tuned" else fresh(seed).to(model.device)
            network = Classifier(start.requires_grad_(True).eval(), classes, looked_at)  # type: ignore[arg-type]
            network.fit_head(images, labels)
            fine_tune(network, images, labels, seed=seed)
            logits = _over(network, test_images)
        return float((logits.argmax(1).cpu() == test_labels).double().mean())

    found: dict[tuple[int, Method], list[float]] = {(n, kind): [] for n in labels_per_class for kind in methods}
    for done, (n, kind) in enumerate(found):
        for seed in range(seeds):
            if on_progress is not None:
                on_progress(f"{n} labels a class, {kind}", done * seeds + seed, len(found) * seeds)
            chosen = few_labels(train.labels, classes, n, seed)
            found[n, kind].append(accuracy(kind, train.take(chosen), train.labels[chosen], seed))
    return [Accuracy(n, kind, tuple(rates)) for (n, kind), rates in found.items()]


class Pixels(nn.Module):
    """The pixels themselves as features."""

    def features(self, images: Tensor) -> Tensor:
        """``(B, C · H · W)`` of uint8 images ``(B, C, H, W)``."""
        return images.flatten(1).float() / 255


@torch.no_grad()
def _over(function: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    return torch.cat([function(part) for part in images.split(BATCH)])
