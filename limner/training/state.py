"""The numbers of ``state.safetensors``: written by the loop, and checked when a run goes on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from limner.errors import LimnerError, reason_of
from limner.training.doctor import Diagnosis
from limner.training.schedules import Schedule

__all__ = ["DoctorState", "Numbers", "read_numbers"]

_MOST = 2**53  # what JSON keeps of whole numbers
_Count = Annotated[int, Meta(ge=0, le=_MOST)]
_Seconds = Annotated[float, Meta(ge=0, le=1e12)]


@dataclass(frozen=True)
class DoctorState:
    """All that the doctor of a GAN remembers."""

    latest: dict[str, float]
    steps: list[dict[str, float]]
    window: list[dict[str, float]]
    standing: list[Diagnosis]

    def __post_init__(self) -> None:
        needed = {"discriminator", "accuracy", "real_logit", "fake_logit"}
        generator = {"generator", "generator_gradient_norm", "sample_diversity"}
        summed = {"step", "accuracy_deviation", "loss_deviation"}
        whole = all(
            needed <= row.keys() and (generator <= row.keys() or not generator & row.keys())
            for row in (*self.steps, *self.window)
        )
        if not whole or not all(summed <= row.keys() for row in self.window):
            raise ValueError("the doctor lacks metrics of a step")


@dataclass(frozen=True)
class Numbers:
    """What a run knows besides its tensors."""

    step: _Count
    seconds: _Seconds
    evaluations: _Count
    validation: dict[str, float] | None
    log: dict[str, tuple[float, Annotated[int, Meta(ge=1, le=_MOST)]]]
    next_log: _Seconds
    schedule: Schedule
    budget: _Seconds
    threads: Annotated[int, Meta(ge=1, le=1024)]
    doctor: DoctorState | None = None
    finished: bool = False
    skipped: _Count = 0
    stale: _Count = 0
    processes: Annotated[int, Meta(ge=1, le=_MOST)] = 1


def read_numbers(header: Mapping[str, Any], path: Path) -> Numbers:
    """The numbers in the ``header`` of the file at ``path``.

    Raises:
        LimnerError: One is missing, or is none that a run writes.
    """
    try:
        return msgspec.convert(dict(header), Numbers)
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        raise LimnerError(f"{path} lacks a piece of the training state: {reason_of(error)}") from error
