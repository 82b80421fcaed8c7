r"""A proposal for importance samples that has learned from the model's own pictures.

.. math:: \min_q E_{p(x, z)}\left[-\ln q(z \mid x)\right] = \min_q E_{p(x)} KL(p(z \mid x) \,\|\, q(z \mid x)) + const

is the sleep phase of wake-sleep (Hinton et al. 1995; Bornschein and Bengio 2014, arXiv 1406.2751). Pictures that are
drawn with their codes never run out, so that q does not learn a training set by heart; and a q that covers the
posterior, which this divergence asks for and the ELBO does not, is the better proposal for many samples.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch

from limner.errors import LimnerError
from limner.models.bounded import Bounded
from limner.training.ema import MovingAverage

__all__ = ["sleep_phase"]

BATCH = 128
LEARNING_RATE = 3e-4
DECAY = 0.998  # of the moving average


def sleep_phase(
    model: Bounded, steps: int, *, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> Bounded:
    """A copy of ``model`` whose ``infer`` has learned, in ``steps`` of Adam, from pictures drawn with their codes.

    To be given to ``Bounded.importance_bound`` as its proposal: p(x, z), and with it ln p(x), stay the model's.

    Args:
        model: It is not changed.
        steps: Each of 128 new pictures; the learning rate falls from 3e-4 to 0.
        seed: Of the pictures.
        on_progress: Called with steps done and steps in all.

    Raises:
        LimnerError: The model's weights are not usable.
    """
    model = copy.deepcopy(model).eval().requires_grad_(False)
    proposal = copy.deepcopy(model).requires_grad_(True)
    average = MovingAverage(proposal, DECAY)
    parameters = list(proposal.parameters())
    adam = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        labels = model.drawn_labels(BATCH, generator, None)
        with torch.no_grad():
            z = model.latents(BATCH, generator=generator)
            uniforms = torch.rand((BATCH, *model.shape), generator=generator, dtype=torch.float64)
            k = model.likelihood(z, labels).icdf(uniforms.to(model.device))
        with torch.enable_grad():
            loss = -model.log_posterior(proposal.infer(k, labels), labels, z).mean()
        if not loss.isfinite():
            raise LimnerError(f"step {step} of the proposal: -ln q(z|x) became {loss.item()}; leave it out")
        adam.zero_grad()
        loss.backward()
        adam.param_groups[0]["lr"] = LEARNING_RATE * (1 - step / steps)
        adam.step()
        average.update(step)
        if on_progress is not None:
            on_progress(step + 1, steps)
    return average.averaged
