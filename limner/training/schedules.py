"""Learning rate over a run: warm-up, plateau, linear cooldown; a pure function of the step.

A run of known length knows its cooldown from the start. A run with a time budget learns its length on the way:
``replan`` writes down, at a step, how many steps are left, and from then on the factor is again a pure function of
the step and of what was written down. The plan is part of the checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["Schedule", "for_steps", "replan"]

REPORT_PART = 0.1  # of a time budget that the report may take
SLACK_PART, SLACK_SECONDS = 0.1, 10.0  # of a time budget, the larger of which a run may be late


@dataclass(frozen=True)
class Schedule:
    """A learning-rate plan; None stands for what is not planned yet."""

    warmup: int  # steps of linear warm-up
    cooldown_start: int | None = None  # step at which the (last planned) cooldown begins
    cooldown_from: float = 1.0  # the factor there
    end: int | None = None  # steps in the whole run

    @classmethod
    def of_steps(cls, steps: int, warmup: int, cooldown: float) -> Schedule:
        """A run of ``steps`` whose last fraction ``cooldown`` cools down; the warm-up takes a quarter at most."""
        return cls(min(warmup, steps // 4), steps - round(steps * cooldown), 1.0, steps)

    def factor(self, step: int) -> float:
        """What the learning rate is multiplied by at ``step`` (0 is the first), in (0, 1]."""
        rise = min(1.0, (step + 1) / (self.warmup + 1))
        if self.cooldown_start is None or self.end is None or step < self.cooldown_start:
            return rise
        left = (self.end - step) / max(1, self.end - self.cooldown_start)
        return min(rise, self.cooldown_from * max(0.0, left))


def replan(
    schedule: Schedule, step: int, elapsed: float, budget: float, cooldown: float, before: float = 0.0
) -> Schedule:
    """The plan after ``step`` steps in ``elapsed`` of ``budget`` seconds: the cooldown bends to end in time.

    Before the cooldown's share of the budget begins nothing is planned; after that the factor goes on from where
    it is, straight to zero over the steps that the time left allows at the rate seen so far, ``before`` seconds of
    ``elapsed`` having been over before the first step.
    """
    if step == 0 or elapsed < budget * (1 - cooldown):
        return schedule
    left = max(0, int((budget - elapsed) * step / max(elapsed - before, 1e-9)))
    return replace(schedule, cooldown_start=step, cooldown_from=schedule.factor(step), end=step + left)


def for_steps(budget: float, evaluation: float) -> float:
    """The seconds of a ``budget`` that are for steps, where an evaluation takes as long as ``evaluation``.

    An evaluation and the report come after the last step; half of the time that a run may be late is for them.
    """
    late = max(SLACK_SECONDS, SLACK_PART * budget) / 2
    return budget - max(0.0, min(evaluation + REPORT_PART * budget - late, budget / 2))
