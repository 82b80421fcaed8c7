"""What a person who waits sees: rich progress on stderr, so that stdout carries results only."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from limner.evaluation import bits_per_dim
from limner.training import loop

__all__ = ["bar", "console", "duration", "stages", "told", "training", "warn"]

Listener = Callable[[str, float, loop.Progress | None], None]
"""Told the name of a stage, or of the run that trains; what is done of it, from 0 to 1; and how a training stands."""
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)

# Of two players, and of a reconstruction
_FIGURES = {
    "discriminator": "D loss",
    "generator": "G loss",
    "accuracy": "D accuracy",
    "distance": "Fréchet distance of samples",
    "error": "error",
}


def console(quiet: bool | None = False) -> Console:
    """A console on stderr; where ``quiet`` is None, quiet unless a person watches: in a terminal or a notebook."""
    where = Console(stderr=True, highlight=False)
    where.quiet = not (where.is_terminal or where.is_jupyter) if quiet is None else quiet
    return where


def warn(text: str) -> None:
    """One line on stderr that must not be missed, quiet or not."""
    console().print(f"limner: {text}", markup=False, soft_wrap=True)


@contextmanager
def told(listener: Listener) -> Iterator[None]:
    """Tell ``listener`` all progress that is shown within, also where it is quiet; in this thread.

    What it raises ends the work.
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def _tell(name: str, fraction: float, progress: loop.Progress | None = None) -> None:
    if (listener := _listener.get()) is not None:
        listener(name, fraction, progress)


def duration(seconds: float) -> str:
    """``48 s``, ``7:31`` or ``1:02:09``."""
    if not math.isfinite(seconds):
        return "?"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


class _InNotebook(Progress):
    """A bar as text that the notebook replaces as it grows: rich's own needs ipywidgets."""

    def start(self) -> None:
        """Show it."""
        from IPython.display import display

        self._shown, self._place = time.monotonic(), display({"text/plain": ""}, raw=True, display_id=True)

    def stop(self) -> None:
        """Leave nothing behind."""
        self._place.update({"text/plain": ""}, raw=True)

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """As of ``Progress``; shown twice a second at most."""
        super().update(task_id, **fields)
        if (now := time.monotonic()) - self._shown >= 0.5:
            self._shown, paper = now, Console(file=io.StringIO(), width=120, force_jupyter=False)
            with paper.capture() as text:
                paper.print(self.get_renderable())
            self._place.update({"text/plain": text.get().rstrip()}, raw=True)


def _columns(*more: ProgressColumn, quiet: bool | None) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), *more)
    where = console(quiet)
    if where.is_jupyter and not where.quiet:
        return _InNotebook(*columns, console=where, disable=True)
    return Progress(*columns, console=where, transient=True, disable=not where.is_terminal)  # no bars in a log


@contextmanager
def bar(description: str, quiet: bool | None = False) -> Iterator[Callable[[int, int], None]]:
    """A bar for work of known length: call what is yielded with (done, total)."""
    with stages(quiet, description) as update:
        yield partial(update, description)


@contextmanager
def stages(quiet: bool | None = False, first: str = "loading") -> Iterator[Callable[[str, int, int], None]]:
    """A bar for work that names its stages: call what is yielded with (stage, done, total)."""
    with _columns(MofNCompleteColumn(), TimeRemainingColumn(), quiet=quiet) as progress:
        task = progress.add_task(first, total=None)

        def update(stage: str, done: int, total: int) -> None:
            progress.update(task, description=stage, completed=done, total=total)
            _tell(stage, done / max(total, 1))

        _tell(first, 0.0)
        yield update


@contextmanager
def training(
    name: str,
    dimensions: int,
    bound: str | None = "exact",
    quiet: bool | None = False,
    note: str | None = None,
    samples: Path | None = None,
) -> Iterator[Callable[[loop.Progress], None]]:
    """The training bar: likelihood (or error, or two players' figures), rate, time left; a line for each evaluation.

    A bound of the likelihood is marked ≤: the true figure is no larger. A ``note`` says that the training loss is none.
    The first sheet in the folder ``samples`` is told.
    """
    sign = "≤ " if bound == "lower" else ""

    def said(figures: Mapping[str, float], places: int, sign: str) -> str:
        if "nats" not in figures:
            return " · ".join(f"{short} {figures[k]:.3g}" for k, short in _FIGURES.items() if k in figures)
        bits = bits_per_dim(figures["nats"], dimensions)
        return f"{sign}{figures['nats']:.{places}f} nats ({bits:.{places + 1}f} bits/dim)"

    with _columns(TextColumn("{task.fields[figures]}"), quiet=quiet) as progress:
        task = progress.add_task(name, total=1.0, figures="")
        validation: Mapping[str, float] | None = None  # the latest that was printed
        named: set[str] = set()  # what the doctor has said that still stands

        def warn(text: str) -> None:
            progress.console.print(f"{name}  {text}", style="yellow", markup=False, soft_wrap=True)

        def show(p: loop.Progress) -> None:
            nonlocal validation, named
            steps = f"{p.step:,}/{p.steps:,}" if p.steps else f"{p.step:,}"
            figures = (
                f"step {steps} · train {said(p.train, 2, '' if note else sign)} · "
                f"{p.images_per_second:.0f} images/s · {duration(p.seconds_left)} left"
                + "".join(f" · [yellow]{d.name}[/yellow]" for d in p.diagnoses)
            )
            progress.update(task, completed=p.fraction, figures=figures)
            _tell(name, p.fraction, p)
            if p.validation is not None and p.validation != validation:
                first, validation = validation is None, p.validation
                of = "validation" if p.held_out else "training images"
                text = f"{name}  step {p.step:,}  {p.fraction:4.0%}  {of} {said(validation, 3, sign)}"
                progress.console.print(f"{text}  {duration(p.seconds_left)} left", soft_wrap=True)
                if first and samples is not None and (sheet := samples / f"{p.step:06d}.png").is_file():
                    text = f"{name}  samples: {sheet}, and at each evaluation"
                    progress.console.print(text, markup=False, soft_wrap=True)
            for d in p.diagnoses:
                if d.name not in named:
                    warn(f"step {p.step:,}  {d.name}: {d.observed}; try {d.remedy}")
            named = {d.name for d in p.diagnoses}

        if note:
            warn(note)
        yield show
