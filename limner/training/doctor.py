"""The doctor: what is wrong with a GAN's training, read from the metrics of its steps, and what to do about it.

Steps are averaged in blocks of ``BLOCK``, and a rule looks at the last ``WINDOW`` of them. A failure is named when
every block of the window is beyond its limit, and stays named while the window's mean is beyond a laxer one: metrics
that waver about a limit neither accuse a healthy run nor flicker. All limits stand below, with their reasons; what they
were tried on is in docs/notes/gan.md.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, median
from typing import Any

from torch import Tensor

__all__ = [
    "FEWEST_UNSEEN",
    "FURTHER",
    "Diagnosis",
    "Doctor",
    "Nearness",
    "block",
    "diagnose",
    "memorisation",
    "nearness",
    "worse_than_blurred",
]

BLOCK = 25  # steps in a block
WINDOW = 8  # blocks that a rule looks at
SETTLING = 100  # steps at the beginning that count for divergence only: two networks that know nothing

# Pairs of limits: where a failure is named, and up to where it then stays so.
SATURATED_ACCURACY = (0.99, 0.97)  # share of real images whose logit is above a fake's
SATURATED_GAP = (10.0, 7.0)  # between the mean logits of real and fake: at ±5 the sigmoid's slope is 0.7 %
# Of the discriminator, whatever its loss: at a gap of 10 the logistic one is 0.013; a hinge starts at 2.
SATURATED_LOSS = (0.02, 0.05)
# Mean gap of the window's second half, as a part of the first half's, under a discriminator that is always right: the
# samples of a generator that learns come nearer, by a half in 100 steps of the young runs seen.
STUCK_GAP = (0.95, 0.8)
VANISHED_GRADIENT = (0.01, 0.03)  # norm of the generator's; it is 0.1 to 10 while there is something to learn
COLLAPSED_DIVERSITY = (0.5, 0.65)  # mean distance of two samples, as a part of that of two images of the data
DIVERGED_LOSS = (5.0, 3.0)  # of the discriminator: guessing costs 1.4 (logistic) or 2 (hinge), being sure and wrong 5
DIVERGED_GAP = (100.0, 50.0)  # between the mean logits, and of a critic's loss: no images in [-1, 1] need it
# Of the discriminator's gradient, weighted: 0.1 to 10 in the healthy runs seen, 10,000 where a critic came apart.
DIVERGED_PENALTY = (1000.0, 50.0)
# Standard deviation of the accuracy over steps: chance gives at most 0.06 at 64 images, 0.13 at 16, 0.35 at 2.
UNSTABLE_ACCURACY = (0.15, 0.12)
# Of the discriminator's loss, as a part of its mean: 0.02 to 0.1 at 64 images, 0.17 to 1.3 at 2. For small batches.
UNSTABLE_LOSS = (0.15, 0.1)

RECOVERING = 1.15  # diversity that grew by this factor within the window is on its way, not collapsed
SMALL_BATCH = 16  # images; below, the batch is to blame for steps that contradict each other, above it the rate
# Of the samples that single a training image out more than 99 % of the held-out images do: chance gives 0.01.
MEMORISED_SHARE = 0.3
# The nearest training image's distance counts as a part of that of so many further ones: an image without detail is
# near to many, a copy to one (Carlini et al. 2023, arXiv 2301.13188).
FURTHER = 20
# Held-out images for that: all of n are farther than 0.3 of a healthy model's samples with chance 0.7^n, 3 % of 10.
FEWEST_UNSEEN = 10

Block = Mapping[str, float]


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong, the metric that shows it, and what to do."""

    name: str
    observed: str
    remedy: str


class Doctor:
    """Watches one run. ``standing`` are the diagnoses that hold now, gravest first.

    Args:
        objective: Name of the loss: a critic (``wasserstein``) is meant to win, and is not called saturated.
        batch_size: Images in a step.
    """

    def __init__(self, objective: str, batch_size: int) -> None:
        self.objective, self.batch_size = objective, batch_size
        self.standing: tuple[Diagnosis, ...] = ()
        self._latest: dict[str, float] = {}  # of each metric: the generator's are not there at each step
        self._steps: list[Block] = []
        self._window: deque[Block] = deque(maxlen=WINDOW)

    def see(self, metrics: Mapping[str, float], step: int) -> None:
        """Take in the metrics of ``step`` (from 1); those that it lacks are the last known."""
        self._latest |= metrics
        self._steps.append(dict(self._latest))
        if len(self._steps) == BLOCK:
            self._window.append(block(self._steps) | {"step": step})
            self._steps = []
            names = [d.name for d in self.standing]
            found = diagnose(list(self._window), self.objective, self.batch_size, names)
            self.standing = (*found, *(d for d in self.standing if d.name in EVALUATED))

    def compare(self, measured: Nearness) -> None:
        """Take in how near an evaluation's samples were to the training images."""
        self._replace(MEMORISATION, memorisation(measured))

    def compare_with_blur(self, distance: float, blurred: float) -> None:
        """Take in an evaluation's Fréchet distances from held-out images: of the samples, and of blurred images."""
        self._replace(BLURRED, worse_than_blurred(distance, blurred))

    def _replace(self, name: str, found: Diagnosis | None) -> None:
        self.standing = (*(d for d in self.standing if d.name != name), *([found] if found else []))

    def state(self) -> dict[str, Any]:
        """All that it remembers, for JSON."""
        window, standing = list(self._window), [asdict(d) for d in self.standing]
        return {"latest": self._latest, "steps": self._steps, "window": window, "standing": standing}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take over a ``state``."""
        self._latest, self._steps = dict(state["latest"]), list(state["steps"])
        self._window = deque(state["window"], maxlen=WINDOW)
        self.standing = tuple(Diagnosis(**d) for d in state["standing"])


def block(steps: Sequence[Block]) -> dict[str, float]:
    """Means of the metrics of some steps that have them, and standard deviations.

    ``accuracy_deviation``, and ``loss_deviation``, of the discriminator's loss as a part of its mean size.
    """
    means = {name: fmean(step[name] for step in steps if name in step) for name in steps[-1]}
    size = fmean(abs(step["discriminator"]) for step in steps)
    accuracy, loss = (_deviation([step[name] for step in steps]) for name in ("accuracy", "discriminator"))
    return means | {"accuracy_deviation": accuracy, "loss_deviation": loss / max(size, 1e-12)}


def _deviation(values: Sequence[float]) -> float:  # statistics.stdev fails where one is infinite
    mean = fmean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def diagnose(
    window: Sequence[Block], objective: str, batch_size: int, standing: Collection[str] = ()
) -> list[Diagnosis]:
    """What the last blocks show, gravest first.

    The ``window`` are blocks of metrics as ``block`` makes them, oldest first, each with the ``step`` at its end;
    ``standing`` are the names of the failures that were found before.
    """
    found = [_divergence(window[-2:], objective, DIVERGENCE in standing)]
    settled = [b for b in window if b["step"] > SETTLING and "generator" in b]
    if len(settled) >= WINDOW:
        if objective != "wasserstein":
            found.append(_saturation(settled, SATURATION in standing))
        found.append(_vanishing(settled, VANISHING in standing))
        if not any(found):  # else the generator has not learnt yet, and its samples are alike for that reason
            found.append(_collapse(settled, COLLAPSE in standing))
        found.append(_instability(settled, batch_size, INSTABILITY in standing))
    return [d for d in found if d is not None]


DIVERGENCE, SATURATION, VANISHING = "divergence", "saturated discriminator", "vanished generator gradient"
COLLAPSE, INSTABILITY, MEMORISATION = "collapse", "unstable steps", "memorisation"
BLURRED = "worse than blurred images"
EVALUATED = (MEMORISATION, BLURRED)  # found at evaluations, not in the metrics of steps

# Each rule is told whether its failure ``was`` named before.


def _divergence(window: Sequence[Block], objective: str, was: bool) -> Diagnosis | None:
    remedy = "a tenth of learning_rate and discriminator_learning_rate, penalty=r1 or discriminator_norm=spectral"
    for name in ("discriminator", "generator", "real_logit", "fake_logit", "generator_gradient_norm"):
        if not math.isfinite(value := window[-1].get(name, 0.0)):
            return Diagnosis(DIVERGENCE, f"{name.replace('_', ' ')} is {value}", remedy)
    if _beyond([penalty := window[-1].get("penalty", 0.0)], DIVERGED_PENALTY, was):
        return Diagnosis(DIVERGENCE, f"penalty of the discriminator's gradient {penalty:.3g}", remedy)
    gaps = [abs(b["real_logit"] - b["fake_logit"]) for b in window]
    losses = [abs(b["discriminator"]) for b in window]
    limits = DIVERGED_GAP if objective == "wasserstein" else DIVERGED_LOSS
    if len(window) < 2 or not (_beyond(losses, limits, was) or _beyond(gaps, DIVERGED_GAP, was)):
        return None
    observed = f"discriminator's loss {losses[-1]:.3g}, its logits of real and fake {gaps[-1]:.3g} apart"
    return Diagnosis(DIVERGENCE, observed, remedy)


def _saturation(window: Sequence[Block], was: bool) -> Diagnosis | None:
    gaps = [b["real_logit"] - b["fake_logit"] for b in window]
    sure = _beyond([b["accuracy"] for b in window], SATURATED_ACCURACY, was)
    far = _beyond(gaps, SATURATED_GAP, was)
    easy = _beyond([b["discriminator"] for b in window], SATURATED_LOSS, was)
    stuck = _beyond([_growth(gaps)], STUCK_GAP, was)
    if not (sure and (far or easy or stuck)):
        return None
    last = window[-1]
    observed = f"accuracy {last['accuracy']:.3f}, logits {gaps[-1]:.3g} apart, loss {last['discriminator']:.2g}"
    remedy = "discriminator_steps=1, a lower discriminator_learning_rate, penalty=r1 or discriminator_norm=spectral"
    return Diagnosis(SATURATION, observed, remedy)


def _vanishing(window: Sequence[Block], was: bool) -> Diagnosis | None:
    norms = [b["generator_gradient_norm"] for b in window]
    if not _beyond(norms, VANISHED_GRADIENT, was):
        return None
    observed = f"norm {norms[-1]:.1e}, with fakes at logit {window[-1]['fake_logit']:.3g}"
    remedy = (
        "objective=non-saturating, whose slope is largest where fakes are poor; what helps a saturated discriminator"
    )
    return Diagnosis(VANISHING, observed, remedy)


def _collapse(window: Sequence[Block], was: bool) -> Diagnosis | None:
    ratios = [b["sample_diversity"] for b in window]
    if not all(map(math.isfinite, ratios)) or not _beyond(ratios, COLLAPSED_DIVERSITY, was):
        return None
    if not was and _growth(ratios) > RECOVERING:
        return None
    observed = f"two samples differ {ratios[-1]:.2f} times as much as two images of the data"
    return Diagnosis(
        COLLAPSE, observed, "objective=relativistic penalty=r1+r2, a larger batch_size, a lower learning_rate"
    )


def _instability(window: Sequence[Block], batch_size: int, was: bool) -> Diagnosis | None:
    # Medians: one calm block acquits nobody.
    accuracy, loss = (median(b[f"{name}_deviation"] for b in window) for name in ("accuracy", "loss"))
    small = batch_size < SMALL_BATCH
    if small and _beyond([loss], UNSTABLE_LOSS, was):
        observed = f"discriminator's loss varies by ±{loss:.0%} from step to step"
    elif _beyond([accuracy], UNSTABLE_ACCURACY, was):
        observed = f"accuracy varies by ±{accuracy:.2f} from step to step"
    else:
        return None
    remedy = "a larger batch_size (64)" if small else "a lower learning_rate, penalty=r1, beta1=0"
    return Diagnosis(INSTABILITY, f"{observed}, {batch_size} images each", remedy)


def _growth(values: Sequence[float]) -> float:
    """Sum of the second half by that of the first."""
    half = len(values) // 2
    return sum(values[half:]) / max(sum(values[:half]), 1e-12)


def _beyond(values: Sequence[float], limits: tuple[float, float], was: bool) -> bool:
    """Whether all ``values`` reach the first limit or, where the failure ``was`` named before, their mean the second.

    Reaching is rising to a limit, or falling to one that is the smaller of its pair.
    """
    named, cleared = limits
    if named < cleared:
        return fmean(values) <= cleared if was else max(values) <= named
    return fmean(values) >= cleared if was else min(values) >= named


@dataclass(frozen=True)
class Nearness:
    """How near samples lie to one training image, by what the next ``FURTHER`` are, beside held-out images.

    Attributes:
        samples: The distance of a sample to its nearest training image, as a part of the mean of those to the next; the
            median. 0 is a copy, 1 nearest to none.
        held_out: The same of held-out images.
        share: Of the samples, those at a smaller part than 99 % of the held-out images.
    """

    samples: float
    held_out: float
    share: float


def nearness(samples: Tensor, held_out: Tensor) -> Nearness:
    """Of the distances ``(N, K)`` and ``(M, K)`` of samples and of held-out images to their nearest training images."""
    ours, theirs = (d[:, 0] / d[:, 1:].mean(1).clamp_min(1e-12) for d in (samples, held_out))
    share = (ours < theirs.quantile(0.01)).double().mean()
    return Nearness(float(ours.median()), float(theirs.median()), float(share))


def memorisation(measured: Nearness) -> Diagnosis | None:
    """Whether samples lie so near to single training images that they must have been learnt by heart."""
    if measured.share < MEMORISED_SHARE:
        return None
    observed = (
        f"{measured.share:.0%} of the samples are nearer to one training image, beside the next {FURTHER}, than 99 % "
        f"of unseen images are (median {measured.samples:.2f}, of unseen images {measured.held_out:.2f})"
    )
    return Diagnosis(MEMORISATION, observed, "more images, fewer features, a shorter run, penalty=r1")


def worse_than_blurred(distance: float, blurred: float) -> Diagnosis | None:
    """Whether samples are farther from held-out images than training images under a Gaussian of one pixel are."""
    if distance <= blurred:
        return None
    observed = f"distance {distance:.3g} from unseen images, of a blurred copy of the data (σ = 1) {blurred:.3g}"
    return Diagnosis(BLURRED, observed, "more steps; if it stands, more features, a lower learning_rate, penalty=r1")
