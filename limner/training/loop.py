"""The one training loop: learning rate → step → log → evaluate, picture, checkpoint.

The loop knows nothing of models: an objective makes the step, hooks show progress and draw pictures.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from limner.data.batches import Batches, sequential
from limner.data.imageset import Split
from limner.errors import LimnerError
from limner.files import sweep
from limner.models.contracts import Model
from limner.training.checkpoints import MODEL, STATE, read_tensors, save_model, save_state
from limner.training.config import TrainingConfig
from limner.training.interrupts import asked_to_stop
from limner.training.journal import Journal
from limner.training.objectives import SingleLoss
from limner.training.schedules import Schedule, replan

__all__ = ["Hooks", "Outcome", "Progress", "train"]

LOG_PART = 0.01  # of the run between two lines of training figures in the journal


@dataclass(frozen=True)
class Progress:
    """What a person who waits wants to know."""

    step: int
    steps: int | None  # in the whole run; None while a time budget has not settled it
    fraction: float  # of the run
    seconds_left: float
    images_per_second: float
    nats: float  # training loss, nats an image, smoothed
    validation_nats: float | None  # of the last evaluation


@dataclass(frozen=True)
class Hooks:
    """What the loop calls: ``begun`` once the state to go on from has proved whole, ``progress``, ``evaluated``.

    ``progress`` comes a few times a second; ``evaluated`` is given the averaged model.
    """

    begun: Callable[[], None] = lambda: None
    progress: Callable[[Progress], None] = lambda p: None
    evaluated: Callable[[int, Model], None] = lambda step, model: None


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    step: int
    seconds: float
    best_nats: float
    best_step: int
    interrupted: bool


def train(
    objective: SingleLoss,
    training: Split,
    validation: Split,
    config: TrainingConfig,
    folder: Path,
    *,
    resume: bool = False,
    hooks: Hooks | None = None,
) -> Outcome:
    """Train until the budget is spent; everything is kept in ``folder`` on the way.

    Args:
        objective: Makes the steps; on return its average holds the last weights (the best are in the folder).
        training: What the model learns from.
        validation: Chooses the best weights; never the test split.
        config: The numbers; ``minutes`` > 0 is a budget of wall-clock time, evaluations included.
        folder: The run folder, which exists.
        resume: Go on from the state in ``folder``.
        hooks: Progress and pictures.

    Raises:
        LimnerError: A loss is not finite (the checkpoints stay), or the state to resume from does not fit.
    """
    return _Run(objective, training, validation, config, folder, hooks or Hooks()).run(resume)


class _Run:
    """One run's moving parts; ``run`` reads downward."""

    def __init__(
        self,
        objective: SingleLoss,
        training: Split,
        validation: Split,
        config: TrainingConfig,
        folder: Path,
        hooks: Hooks,
    ) -> None:
        self.objective, self.validation, self.config = objective, validation, config
        self.folder, self.hooks = folder, hooks
        self.batches = Batches(training, config.batch_size, config.seed)
        self.budget = config.minutes * 60
        if self.budget:
            self.schedule = Schedule(config.warmup_steps)
        else:
            steps = max(1, round(config.epochs * self.batches.steps_per_epoch))
            self.schedule = Schedule.of_steps(steps, config.warmup_steps, config.cooldown)
        self.step, self.seconds_before, self.evaluations = 0, 0.0, 0
        self.best_nats, self.best_step, self.saved_step = math.inf, 0, -1
        self.validation_nats: float | None = None
        self.log: dict[str, float] = {}  # sums of the terms since the last line in the journal
        self.logged_step, self.next_log = 0, LOG_PART
        self.recent: deque[tuple[float, int]] = deque(maxlen=50)  # (time, step)

    def run(self, resume: bool) -> Outcome:
        sweep(self.folder)
        if resume:
            self._restore()
        self.hooks.begun()
        self.started = self.saved = self.shown = self.planned = time.perf_counter()
        self.journal = Journal(self.folder, self.step)
        self.smoothed: float | None = None
        with asked_to_stop() as stop, closing(self.batches.from_step(self.step)) as images:
            try:
                if not resume:
                    self._checkpoint()  # from here on weights without a state are a fault, not a young run
                while not self._finished() and not stop.is_set():
                    self._plan()
                    factor = self.schedule.factor(self.step)
                    losses = self.objective.step(next(images), factor, self.step)
                    self.step += 1
                    self._log(losses, factor)
                    if self._evaluation_due():
                        self._evaluate()
                        self._checkpoint()
                    elif time.perf_counter() - self.saved > self.config.checkpoint_seconds:
                        self._checkpoint()
                if self.saved_step != self.step:
                    self._checkpoint()
            finally:
                self.journal.close()
        return Outcome(self.step, self._elapsed(), self.best_nats, self.best_step, not self._finished())

    def _elapsed(self) -> float:
        """Seconds of training, those before a resume included."""
        return self.seconds_before + time.perf_counter() - self.started

    def _finished(self) -> bool:
        return self.schedule.end is not None and self.step >= self.schedule.end

    def _plan(self) -> None:
        """With a time budget: let the cooldown end in time, looking at the clock every hundredth of the budget."""
        now = time.perf_counter()
        if self.budget and now - self.planned > self.budget / 100:
            self.planned = now
            self.schedule = replan(self.schedule, self.step, self._elapsed(), self.budget, self.config.cooldown)

    def _fraction(self) -> float:
        if self.budget and self.schedule.end is None:
            return min(1.0, self._elapsed() / self.budget)
        return min(1.0, self.step / max(1, self.schedule.end or 1))

    def _evaluation_due(self) -> bool:
        """At equal parts of the steps, or of the time where the steps are not known; and at the end."""
        if self._finished():
            return True
        part = self._elapsed() / self.budget if self.budget else self._fraction()
        return part * self.config.evaluations >= self.evaluations + 1

    def _log_mark(self) -> float:
        return self._fraction() + LOG_PART

    def _log(self, losses: dict[str, float], factor: float) -> None:
        log = self.log
        for name, value in losses.items():
            log[name] = log.get(name, 0.0) + value
        now = time.perf_counter()
        self.recent.append((now, self.step))
        if self._fraction() >= self.next_log or self._finished():
            n = self.step - self.logged_step
            means = {name: value / n for name, value in self.log.items()}
            norm = means.pop("gradient_norm")
            self.journal.write(
                self.step,
                {
                    "seconds": round(self._elapsed(), 3),
                    "epoch": round(self.step / self.batches.steps_per_epoch, 4),
                    "train": {"nats": sum(means.values())} | means,
                    "gradient_norm": norm,
                    "learning_rate": self.config.learning_rate * factor,
                    "images_per_second": round(self._rate(), 2),
                },
            )
            self.log, self.logged_step, self.next_log = {}, self.step, self._log_mark()
        if now - self.shown > 0.2:
            self.shown = now
            nats = sum(v for k, v in losses.items() if k != "gradient_norm")
            self.smoothed = nats if self.smoothed is None else 0.9 * self.smoothed + 0.1 * nats
            self._show()

    def _rate(self) -> float:
        """Images a second over the last steps."""
        (t0, s0), (t1, s1) = self.recent[0], self.recent[-1]
        return (s1 - s0) * self.batches.batch_size / (t1 - t0) if t1 > t0 else 0.0

    def _show(self) -> None:
        fraction, elapsed = self._fraction(), self._elapsed()
        left = self.budget - elapsed if self.budget else elapsed * (1 / max(fraction, 1e-9) - 1)
        self.hooks.progress(
            Progress(
                self.step,
                self.schedule.end,
                fraction,
                max(0.0, left),
                self._rate(),
                self.smoothed if self.smoothed is not None else math.nan,
                self.validation_nats,
            )
        )

    def _evaluate(self) -> None:
        self.evaluations += 1
        part = self._elapsed() / self.budget if self.budget else self._fraction()
        self.evaluations = max(self.evaluations, int(part * self.config.evaluations))
        limit = self.config.validation_images or None
        batches = sequential(self.validation, max(self.config.batch_size, 100), limit)
        means = self.objective.validate(batches)
        self.validation_nats = means["nats"]
        if not math.isfinite(means["nats"]):
            bad = next((n for n, v in means.items() if n != "nats" and not math.isfinite(v)), "nats")
            raise LimnerError(
                f"validation at step {self.step} gave {bad} = {means[bad]}; the last good checkpoint is kept: "
                "resume from it with a lower rate (--set learning_rate=...)"
            )
        self.journal.write(self.step, {"seconds": round(self._elapsed(), 3), "validation": means})
        average = self.objective.average.averaged
        if means["nats"] < self.best_nats:
            self.best_nats, self.best_step = means["nats"], self.step
            header = {"step": self.step, "validation_nats": means["nats"]}
            save_model(self.folder, self.objective.model, average, header)
        self.hooks.evaluated(self.step, average)
        self.recent.clear()
        self.recent.append((time.perf_counter(), self.step))
        self._show()

    def _checkpoint(self) -> None:
        numbers = {
            "step": self.step,
            "seconds": self._elapsed(),
            "evaluations": self.evaluations,
            "validation_nats": self.validation_nats,
            "log": self.log,
            "logged_step": self.logged_step,
            "next_log": self.next_log,
            "schedule": asdict(self.schedule),
            "budget": self.budget,
            "threads": torch.get_num_threads(),
            "finished": self._finished(),
        }
        self.objective.check_weights(self.step)
        save_state(self.folder, self.objective.state(), numbers)
        self.saved, self.saved_step = time.perf_counter(), self.step

    def _restore(self) -> None:
        path = self.folder / STATE
        tensors, numbers = read_tensors(path)
        # The best weights carry their own figure: true of that file whenever a kill came.
        best = read_tensors(self.folder / MODEL)[1] if (self.folder / MODEL).is_file() else {}
        try:
            self.step, self.seconds_before = int(numbers["step"]), float(numbers["seconds"])
            self.validation_nats = numbers["validation_nats"]
            self.log, self.logged_step = dict(numbers["log"]), int(numbers["logged_step"])
            if self.budget and numbers["budget"] == self.budget:
                self.schedule = Schedule(**numbers["schedule"])  # else: the run was given another length, it plans anew
            torch.set_num_threads(int(numbers["threads"]))  # sums in another order would give other weights
            # In a run that is longer now, the fraction done is smaller than when these were written.
            part = self.seconds_before / self.budget if self.budget else self._fraction()
            self.evaluations = min(int(numbers["evaluations"]), int(part * self.config.evaluations))
            self.next_log = min(float(numbers["next_log"]), part + LOG_PART)
            if best:
                self.best_nats, self.best_step = float(best["validation_nats"]), int(best["step"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise LimnerError(f"{path} lacks a piece of the training state: {error}") from error
        if self.step:  # before, everything is as the seed made it
            self.objective.restore(tensors, path)
