"""The numbers of a run's state: those that a run writes are read, all others refused by the file's name."""

from pathlib import Path

import pytest

from limner.errors import LimnerError
from limner.training.state import DoctorState, Numbers, read_numbers

MOST = 2**53
STEP = {"discriminator": 1.0, "accuracy": 0.5, "real_logit": 0.0, "fake_logit": 0.0}
GENERATOR = {"generator": 1.0, "generator_gradient_norm": 1.0, "sample_diversity": 1.0}
SUMMED = {"step": 3.0, "accuracy_deviation": 0.1, "loss_deviation": 0.1}
GOOD = {
    "step": 3, "seconds": 1.5, "evaluations": 1, "validation": {"nll": 2.0}, "log": {"loss": [1.0, 2]},
    "next_log": 0.5, "schedule": {"warmup": 3}, "budget": 60.0, "threads": 2,
}  # fmt: skip


def test_what_older_versions_did_not_write_has_its_value():
    numbers = read_numbers(GOOD, Path("state"))
    assert isinstance(numbers, Numbers)
    assert (numbers.step, numbers.log, numbers.schedule.warmup) == (3, {"loss": (1.0, 2)}, 3)
    assert (numbers.doctor, numbers.finished, numbers.skipped, numbers.stale, numbers.processes) == (
        None, False, 0, 0, 1,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("step", 0, MOST), ("evaluations", 0, MOST), ("skipped", 0, MOST), ("stale", 0, MOST), ("processes", 1, MOST),
        ("threads", 1, 1024), ("seconds", 0.0, 1e12), ("next_log", 0.0, 1e12), ("budget", 0.0, 1e12),
    ],
)  # fmt: skip
def test_a_number_that_no_run_writes_is_refused(name, least, most):
    beyond = most * (1 + 1e-9) if isinstance(most, float) else most + 1
    below = -1e-9 if isinstance(least, float) else least - 1
    for value in (least, most):
        assert getattr(read_numbers(GOOD | {name: value}, Path("state")), name) == value
    for value in (beyond, below, float("nan"), "3", None):
        with pytest.raises(LimnerError, match=r"^runs/x/state lacks a piece of the training state: "):
            read_numbers(GOOD | {name: value}, Path("runs/x/state"))


@pytest.mark.parametrize("count", [0, MOST + 1])
def test_a_mean_of_no_numbers_is_refused(count):
    assert read_numbers(GOOD | {"log": {"loss": [1.0, 1]}}, Path("state")).log == {"loss": (1.0, 1)}
    assert read_numbers(GOOD | {"log": {"loss": [1.0, MOST]}}, Path("state")).log == {"loss": (1.0, MOST)}
    with pytest.raises(LimnerError, match="lacks a piece"):
        read_numbers(GOOD | {"log": {"loss": [1.0, count]}}, Path("state"))


@pytest.mark.parametrize("name", ["step", "schedule", "log", "validation", "threads"])
def test_a_number_that_is_missing_is_refused(name):
    with pytest.raises(LimnerError, match="lacks a piece"):
        read_numbers({k: v for k, v in GOOD.items() if k != name}, Path("state"))


def doctor(steps=(), window=()):
    return {"doctor": {"latest": {}, "steps": list(steps), "window": list(window), "standing": []}}


def test_the_doctor_needs_every_metric_and_the_generators_all_or_none():
    good = doctor([STEP, STEP | GENERATOR, STEP | {"more": 1.0}], [STEP | GENERATOR | SUMMED, STEP | SUMMED])
    assert isinstance(read_numbers(GOOD | good, Path("state")).doctor, DoctorState)
    assert read_numbers(GOOD | doctor(), Path("state")).doctor == DoctorState({}, [], [], [])
    for whole, kind in (
        (STEP, "steps"), (STEP | GENERATOR, "steps"), (STEP | SUMMED, "window"), (STEP | GENERATOR | SUMMED, "window"),
    ):  # fmt: skip
        for name in whole:
            lacking = {k: v for k, v in whole.items() if k != name}
            with pytest.raises(LimnerError, match="lacks metrics"):
                read_numbers(GOOD | doctor(**{kind: [whole, lacking]}), Path("state"))
