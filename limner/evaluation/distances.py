"""Distances between two sets of images, of their features ``(N, D)``: Fréchet, kernel, shares within neighbours."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limner.errors import LimnerError
from limner.noise import seeded

__all__ = [
    "Moments",
    "clipped_density_coverage",
    "frechet_distance",
    "kernel_distance",
    "precision_recall",
    "precision_recall_of_subsets",
]

SUBSETS, SUBSET = 100, 1000  # of the kernel distance
ROWS = 500  # of a matrix of distances at a time
ROUNDING = 1e-6  # of distances between features of variance 1: equal images are at a distance of 0


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """‖μ_a − μ_b‖² + Tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½) of features ``(N, D)`` and ``(M, D)``.

    The squared 2-Wasserstein distance of the Gaussians with their moments (Heusel et al. 2017,
    https://arxiv.org/abs/1706.08500, equation 6), in float64.
    """
    return Moments.of(a).distance(Moments.of(b))


@dataclass(frozen=True)
class Moments:
    """Mean ``(D,)``, covariance Σ ``(D, D)``, and R with Σ = R Rᵀ: computed once for many distances."""

    mean: Tensor
    covariance: Tensor
    root: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Of features ``(N, D)``."""
        x = features.cpu().double()
        covariance = torch.cov(x.T).view(x.shape[1], -1)
        values, vectors = torch.linalg.eigh(covariance)
        return cls(x.mean(0), covariance, vectors * values.clamp_min(0).sqrt())

    def distance(self, other: Moments) -> float:
        """See ``frechet_distance``."""
        # (Σ_a Σ_b)^½ has the trace of (Rᵀ Σ_b R)^½, whose eigenvalues are those of a symmetric matrix: faster
        product = torch.linalg.eigvalsh(self.root.T @ other.covariance @ self.root).clamp_min(0).sqrt().sum()
        spread = self.covariance.trace() + other.covariance.trace() - 2 * product
        return float((self.mean - other.mean).square().sum() + spread)


def kernel_distance(a: Tensor, b: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """The squared maximum mean discrepancy for the kernel (xᵀy / D + 1)³ of features ``(N, D)`` and ``(M, D)``.

    Binkowski et al. 2018, https://arxiv.org/abs/1801.01401, section 4: the mean over 100 random subsets of 1,000
    images (half of them, if there are fewer than 2,000), and the standard deviation over these. Unbiased, so it may
    be a little below 0.
    """
    kid = _torchmetrics()
    size = min(SUBSET, len(a) // 2, len(b) // 2)
    with seeded(seed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the features are kept in memory
        metric = kid.KernelInceptionDistance(feature=torch.nn.Identity(), subsets=SUBSETS, subset_size=size)
        metric.update(a.cpu().double(), real=True)
        metric.update(b.cpu().double(), real=False)
        mean, deviation = metric.compute()
    return float(mean), float(deviation)


def _torchmetrics() -> Any:
    """``torchmetrics.image.kid``, which takes two seconds to import.

    Raises:
        LimnerError: It does not work here.
    """
    try:
        import torchmetrics.image.kid
    except (ImportError, RuntimeError) as error:  # it imports a torchvision that it finds, whether or not that fits
        raise LimnerError(
            f"torchmetrics cannot be imported ({error}): install it, and a torchvision that fits this torch or none"
        ) from error
    return torchmetrics.image.kid


def precision_recall(generated: Tensor, reference: Tensor, *, neighbours: int = 3) -> tuple[float, float]:
    """Which share of the generated lies within the data's manifold, and of the data within the generated one.

    A set's manifold is the union of balls around its features ``(N, D)``, each as far as the k-th nearest of the same
    set, k = ``neighbours`` (Kynkäänniemi et al. 2019, https://arxiv.org/abs/1904.06991, equations 1 and 2, with k = 3).

    Raises:
        LimnerError: There are not as many neighbours.
    """
    each = precision_recall_of_subsets(generated, reference, neighbours, None)
    return float(each[0, 0]), float(each[0, 1])


def precision_recall_of_subsets(a: Tensor, b: Tensor, neighbours: int, kept: Tensor | None) -> Tensor:
    """``precision_recall`` of S subsets of both sets, float64 ``(S, 2)``: of the images ``kept``, bool ``(S, N)``.

    None: of all images, S = 1.
    """
    if not 1 <= neighbours < min(len(a), len(b)):
        raise LimnerError(f"{neighbours} neighbours: choose at least 1, fewer than there are samples")
    x, y = a.cpu().double().numpy(), b.cpu().double().numpy()
    of_a, of_b = (np.ones((1, len(z)), bool) if kept is None else kept.numpy() for z in (x, y))
    shares = [_shares_within(x, y, neighbours, of_a, of_b), _shares_within(y, x, neighbours, of_b, of_a)]
    return torch.from_numpy(np.stack(shares, 1))


def _shares_within(
    points: np.ndarray, centres: np.ndarray, neighbours: int, points_kept: np.ndarray, centres_kept: np.ndarray
) -> np.ndarray:
    """For each subset the share of its points that lie in a ball around any of its centres, ``(S,)``."""
    from sklearn.metrics import pairwise_distances_chunked
    from sklearn.neighbors import NearestNeighbors

    n = len(centres)
    most = min(n - 1, 4 * neighbours + 12)  # among which a half has its k-th neighbour, but for once in 50,000
    distances, nearest = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(centres).kneighbors()
    reach = np.full(centres_kept.shape, -1.0)
    for own, kept in zip(reach, centres_kept, strict=True):
        counted = kept[nearest].cumsum(1)
        counted[:, -1] = neighbours
        own[kept] = distances[np.arange(n), (counted >= neighbours).argmax(1)][kept] + ROUNDING
    within = pairwise_distances_chunked(
        points,
        centres,
        reduce_func=lambda d, start: np.stack([(d <= own).any(1) for own in reach], 1),
        working_memory=2,  # MiB: each chunk is read once a subset
    )
    return (np.concatenate(list(within)).T & points_kept).sum(1) / points_kept.sum(1)


def clipped_density_coverage(generated: Tensor, reference: Tensor, *, neighbours: int = 5) -> tuple[float, float]:
    """Clipped Density and Clipped Coverage of features ``(M, D)`` beside ``(N, D)``: which share of them is good.

    Salvy, Talbot and Thirion 2025, https://arxiv.org/abs/2507.01761, k = 5. Both are 1 for data, and fall as the share
    of samples that are none rises. Density: in how many balls of the reference a sample lies, at most k of them
    counted, as a part of what the reference's own images reach; a ball reaches to the k-th neighbour, but no farther
    than the median ball. Coverage: how many of k samples a ball to the k-th neighbour holds, as the share of good
    samples of which so many are expected.

    Raises:
        LimnerError: There are not as many neighbours.
    """
    k = neighbours
    if not 1 <= k < min(len(generated), len(reference)):
        raise LimnerError(f"{k} neighbours: choose at least 1, fewer than there are samples")
    x, y = generated.cpu().double(), reference.cpu().double()
    reach = torch.cat([torch.cdist(part, y).topk(k + 1, largest=False).values[:, -1] for part in y.split(ROWS)])
    reach = reach + ROUNDING  # (N,)
    short = reach.clamp_max(float(reach.median()))
    held, real = torch.zeros(len(y), dtype=torch.long), torch.full((len(y),), -1)  # but for each ball's own centre
    inside = torch.zeros(len(x), dtype=torch.long)
    for chosen in torch.arange(len(y)).split(ROWS):
        apart = torch.cdist(y[chosen], x)  # (rows, M)
        held[chosen] = (apart <= reach[chosen, None]).sum(1)
        inside += (apart <= short[chosen, None]).sum(0)
        real += (torch.cdist(y[chosen], y) <= short[chosen, None]).sum(0)
    ideal = real.clamp_max(k).double().mean().clamp_min(1 / len(y))
    density = float((inside.clamp_max(k).double().mean() / ideal).clamp_max(1))
    return density, _good_share(float(held.clamp_max(k).double().mean()) / k, k, len(y), len(x))


def _good_share(filled: float, k: int, n: int, m: int) -> float:
    """Of ``m`` samples the share that are good, where balls to the k-th of ``n`` neighbours are ``filled`` to a part.

    The part of the data in such a ball is Beta(k, n − k), so of g good samples j lie in it with the beta-binomial
    P(j), and it is filled to 1 − Σ_{j<k} (1 − j/k) P(j), which rises with g.
    """
    good, j = np.arange(m + 1.0)[:, None], np.arange(float(k))
    with np.errstate(invalid="ignore", divide="ignore"):
        logs = _ln_choose(good, j) + _ln_beta(k + j, n - k + good - j) - _ln_beta(k, n - k)
    chances = np.where(j <= good, np.exp(logs), 0.0)  # (m + 1, k)
    expected = 1 - (chances * (1 - j / k)).sum(1)
    return float(np.interp(filled, expected, good[:, 0] / m))


def _ln_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    return -np.log(n + 1) - _ln_beta(n - k + 1, k + 1)


def _ln_beta(a: Any, b: Any) -> np.ndarray:
    a, b = torch.as_tensor(a, dtype=torch.float64), torch.as_tensor(b, dtype=torch.float64)
    return (torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)).numpy()
