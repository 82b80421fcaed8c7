"""The one training loop: learning rate → step → log → evaluate, image, checkpoint.

The loop knows nothing of models: an objective makes the step, hooks show progress and draw images.
"""

from __future__ import annotations

import math
import time
import warnings
from collections import deque
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from limner.data.batches import Batches, sequential
from limner.data.imageset import Split
from limner.errors import LimnerError, LimnerWarning, setting
from limner.files import sweep
from limner.models.cost import images_at_once
from limner.training.augmentation import augmented
from limner.training.checkpoints import MODEL, STATE, read_header, read_tensors, save_model, save_state
from limner.training.hooks import Hooks, Outcome, Progress
from limner.training.interrupts import asked_to_stop
from limner.training.journal import Journal, NoJournal
from limner.training.objectives import Objective
from limner.training.schedules import Schedule, for_steps, replan
from limner.training.state import read_numbers

__all__ = ["Hooks", "Outcome", "Progress", "train"]

LOG_PART = 0.01  # of the run between two lines of training metrics in the journal
EVALUATIONS_PART = 0.2  # of a time budget that evaluations may take, but for the last


def train(
    objective: Objective[Any],
    training: Split,
    validation: Split,
    folder: Path,
    *,
    resume: bool = False,
    hooks: Hooks | None = None,
    began: float | None = None,
) -> Outcome:
    """Train until the budget is spent; everything is kept in ``folder`` on the way.

    Args:
        objective: Makes the steps, as its ``config`` says (``minutes`` > 0 is a budget of wall-clock time, evaluations
            included); on return its average holds the last weights (the best are in the folder). Of its ``processes``
            the first writes and shows, and its clock is that of all.
        training: What the model learns from.
        validation: Chooses the best weights; never the test split. Where it is empty the training images do.
        folder: The run folder, which exists.
        resume: Go on from the state in ``folder``.
        hooks: Progress and images.
        began: When a time budget began, by ``time.perf_counter()``; by default now.

    Raises:
        LimnerError: A loss is not finite (the checkpoints stay), or the state to resume from does not fit.
    """
    return _Run(objective, training, validation, folder, hooks or Hooks()).run(resume, began)


class _Run:
    """One run's moving parts; ``run`` reads downward."""

    def __init__(
        self, objective: Objective[Any], training: Split, validation: Split, folder: Path, hooks: Hooks
    ) -> None:
        self.objective, self.config = objective, objective.config
        self.folder, self.hooks, self.processes = folder, hooks, objective.processes
        self.held_out = len(validation) > 0
        self.watched = validation if self.held_out else training
        self.batches = Batches(training, self.config.batch_size, self.config.seed)
        self.processes.check_enough(self.batches.batch_size)
        self.budget = self.config.minutes * 60
        if self.budget:
            self.schedule = Schedule(self.config.warmup_steps)
        else:
            steps = max(1, round(self.config.epochs * self.batches.steps_per_epoch))
            self.schedule = Schedule.of_steps(steps, self.config.warmup_steps, self.config.cooldown)
        self.step, self.seconds_before, self.evaluations = 0, 0.0, 0
        self.now = self.evaluating = self.longest = self.saving = 0.0  # the clock; all evaluations, one, a checkpoint
        self.smallest, self.saved_step = math.inf, -1  # the smallest of the metrics that choose the weights
        self.kept, self.stale = 0, 0  # the step of the weights that are kept; evaluations since that were no better
        self.validated: dict[str, float] | None = None
        self.log: dict[str, tuple[float, int]] = {}  # metrics since the last line in the journal: sum, how many
        self.next_log = LOG_PART
        self.smoothed: dict[str, float] = {}
        self.recent: deque[tuple[float, int]] = deque(maxlen=50)  # (time, step)

    def run(self, resume: bool, began: float | None) -> Outcome:
        self._look()
        self.saved = self.shown = self.planned = self.now
        self.started = self.now if began is None else self.processes.agreed(began)
        self.before = self.saved - self.started  # of what the budget has, spent before the first step
        if self.processes.first:
            sweep(self.folder)
        if resume:
            self._restore()
        self.hooks.begun()
        self.journal = Journal(self.folder, self.step) if self.processes.first else NoJournal()
        with asked_to_stop() as stop, closing(self.batches.from_step(self.step)) as images, closing(self.journal):
            if not resume:
                self._checkpoint()  # from here on weights without a state are a fault, not a young run
            while not self._finished() and not self.processes.largest(stop.is_set()):
                factor = self.schedule.factor(self.step)
                batch = augmented(next(images), self.config, factor, self.step)
                metrics = self.objective.step(batch, factor, self.step)
                self.step += 1
                self._look()
                self._plan()
                self._log(metrics, factor)
                if self._evaluation_due():
                    self._evaluate()
                    self._checkpoint()
                elif self.now - self.saved > self.config.checkpoint_seconds:
                    self._checkpoint()
            if self.saved_step != self.step:
                self._checkpoint()
        early = self._stale() and not self._spent()
        return Outcome(self.step, self._elapsed(), not self._finished(), self.kept, early)

    def _look(self) -> None:
        """Look at the clock; what depends on time is decided by what it shows, the same in all processes."""
        self.now = self.processes.agreed(time.perf_counter())

    def _elapsed(self) -> float:
        """Seconds of training, those before a resume included."""
        return self.seconds_before + self.now - self.started

    def _finished(self) -> bool:
        return self._spent() or self._stale()

    def _spent(self) -> bool:
        return self.schedule.end is not None and self.step >= self.schedule.end

    def _stale(self) -> bool:
        """Whether to stop early: what held-out images say has not become better for long enough."""
        return self.held_out and 0 < self.config.patience <= self.stale

    def _plan(self) -> None:
        """With a time budget: let the cooldown end in time, looking at the clock every hundredth of the budget."""
        if self.budget and self.now - self.planned > self.budget / 100:
            self.planned = self.now
            planned = self.schedule, self.step, self._elapsed(), for_steps(self.budget, self.longest + self.saving)
            self.schedule = replan(*planned, self.config.cooldown, self.before)

    def _part(self) -> float:
        """What is done of the run: of its time where that is the budget, else of its steps."""
        return self._elapsed() / self.budget if self.budget else self._fraction()

    def _fraction(self) -> float:
        """What is done of the run, from 0 to 1: of its steps where they are known, else of its time."""
        if self.schedule.end is None:
            return min(1.0, self._part())
        return min(1.0, self.step / max(1, self.schedule.end))

    def _evaluation_due(self) -> bool:
        """At equal parts of the run; and at the end."""
        if self._finished():
            return True
        if self.budget and self.evaluating > EVALUATIONS_PART * self._elapsed():
            return False
        return self._part() * self.config.evaluations >= self.evaluations + 1

    def _log(self, metrics: dict[str, float], factor: float) -> None:
        for name, value in metrics.items():
            total, n = self.log.get(name, (0.0, 0))
            self.log[name] = (total + value, n + 1)
        self.recent.append((self.now, self.step))
        if self._fraction() >= self.next_log or self._finished():
            means = {name: total / n for name, (total, n) in self.log.items()}
            record: dict[str, Any] = {"seconds": round(self._elapsed(), 3)}
            record |= {"epoch": round(self.step / self.batches.steps_per_epoch, 4), "train": means}
            if "gradient_norm" in means:
                record["gradient_norm"] = means.pop("gradient_norm")
            record["learning_rate"] = self.config.learning_rate * factor
            record["images_per_second"] = round(self._rate(), 2)
            if self.objective.diagnoses:
                record["diagnoses"] = [asdict(d) for d in self.objective.diagnoses]
            self.journal.write(self.step, record)
            self.log, self.next_log = {}, self._fraction() + LOG_PART
        if self.now - self.shown > 0.2:
            self.shown = self.now
            for name, value in metrics.items():
                self.smoothed[name] = 0.9 * self.smoothed.get(name, value) + 0.1 * value
            self._show()

    def _rate(self) -> float:
        """Images a second over the last steps."""
        (t0, s0), (t1, s1) = self.recent[0], self.recent[-1]
        return (s1 - s0) * self.batches.batch_size / (t1 - t0) if t1 > t0 else 0.0

    def _show(self) -> None:
        fraction, elapsed = self._fraction(), self._elapsed()
        left = max(0.0, self.budget - elapsed if self.budget else elapsed * (1 / max(fraction, 1e-9) - 1))
        wrong, rate, end = self.objective.diagnoses, self._rate(), self.schedule.end
        with suppress(OSError):  # a terminal that was closed: the last checkpoint is still to be written
            seen = (self.smoothed, self.validated, wrong, self.held_out)
            self.hooks.progress(Progress(self.step, end, fraction, left, rate, *seen))

    def _evaluate(self) -> None:
        before = self.now
        self.evaluations = max(self.evaluations + 1, int(self._part() * self.config.evaluations))
        together = images_at_once(self.objective.model, max(self.config.batch_size, 100))
        images = sequential(self.watched, together, self.config.validation_images or None)
        self.validated = self.objective.validate(images)
        bad = [name for name, value in self.validated.items() if not math.isfinite(value)]
        if bad:
            raise LimnerError(
                f"the evaluation at step {self.step} gave {bad[-1]} = {self.validated[bad[-1]]}; the last good "
                f"checkpoint is kept: resume from it with a lower rate ({setting('learning_rate', '...')})"
            )
        average, metric = self.objective.average.averaged, self.objective.metric
        value = math.inf if metric is None else self.validated[metric]
        # Of equals the later: a replayed one is kept again.
        kept = value <= self.smallest * (1 + self.objective.tolerance)
        part = "validation" if self.held_out else "training_images"
        self._look()
        self.journal.write(self.step, {"seconds": round(self._elapsed(), 3), part: self.validated, "kept": kept})
        self.stale = 0 if kept else self.stale + 1
        if kept:
            self.smallest, self.kept = min(value, self.smallest), self.step
            said: dict[str, Any] = {"step": self.step}
            said |= {} if metric is None else {f"validation_{metric}": value, "smallest": self.smallest}
            said |= {"yardstick": self.objective.yardstick} if self.objective.yardstick else {}
            if self.processes.first:
                save_model(self.folder, self.objective.model, average, said)
        self.hooks.evaluated(self.step, average)
        self._look()
        self.recent.clear()
        self.recent.append((self.now, self.step))
        self._show()
        self.evaluating += self.now - before
        self.longest = max(self.longest, self.now - before)

    def _checkpoint(self) -> None:
        self._look()
        before = self.now
        numbers = {
            "step": self.step,
            "seconds": self._elapsed(),
            "evaluations": self.evaluations,
            "stale": self.stale,
            "validation": self.validated,
            "log": self.log,
            "doctor": self.objective.doctor.state() if self.objective.doctor else None,
            "next_log": self.next_log,
            "schedule": asdict(self.schedule),
            "budget": self.budget,
            "threads": torch.get_num_threads(),
            "processes": self.processes.count,
            "finished": self._finished(),
            "skipped": self.objective.skipped,
        }
        self.objective.check_weights(self.step)
        self.processes.check_alike(list(self.objective.model.parameters()))
        if self.processes.first:
            save_state(self.folder, self.objective.state(), numbers)
        self._look()
        self.saved, self.saved_step = self.now, self.step
        self.saving = self.saved - before

    def _restore(self) -> None:
        path, mine = self.folder / STATE, self.processes.first  # the others may not even see the folder
        own = read_tensors(path) if mine else ({}, {})
        tensors, header = self.processes.tensors(own[0]), self.processes.told(own[1])
        numbers = read_numbers(header, path)
        # The best weights carry their own metric: true of that file whenever a kill came.
        best = self.processes.told(read_header(self.folder / MODEL) if mine and (self.folder / MODEL).is_file() else {})
        try:
            self.step, self.seconds_before = numbers.step, numbers.seconds
            self.validated = numbers.validation
            if self.validated is not None and self.objective.metric is not None:
                self.validated[self.objective.metric]  # or it is none of this model
            self.log, self.objective.skipped = dict(numbers.log), numbers.skipped
            if self.objective.doctor:
                self.objective.doctor.restore(asdict(numbers.doctor))  # type: ignore[arg-type]  # None is refused
            if self.budget and numbers.budget == self.budget:
                self.schedule = numbers.schedule  # else: the run was given another length, it plans anew
            if numbers.processes == self.processes.count:  # sums in another order would give other weights
                torch.set_num_threads(numbers.threads)
            # In a run that is longer now, the part done is smaller than when these were written.
            part = self._part()
            self.evaluations = min(numbers.evaluations, int(part * self.config.evaluations))
            self.next_log = min(numbers.next_log, part + LOG_PART)
            self.smallest, self.kept = float(best.get("smallest", math.inf)), int(best.get("step", 0))
            if "smallest" in best and best.get("yardstick") != self.objective.yardstick:
                warnings.warn("distances so far are of other features: the best is found anew", LimnerWarning, 2)
                self.smallest = math.inf
            self.stale = 0 if numbers.finished else numbers.stale  # a run that goes on beyond its end has time again
        except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise LimnerError(f"{path} lacks a piece of the training state: {error}") from error
        if self.step:  # before, everything is as the seed made it
            self.objective.restore(tensors, path)
