"""The learning rate is a pure function of the step and of the plan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.training.schedules import Schedule, replan


def test_warm_up_plateau_cooldown():
    schedule = Schedule.of_steps(100, warmup=10, cooldown=0.4)
    factors = [schedule.factor(step) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[9] == pytest.approx(10 / 11)
    assert factors[10:61] == [1.0] * 51
    assert factors[80] == pytest.approx(0.5)
    assert 0 < factors[99] == pytest.approx(1 / 40)


@given(st.integers(1, 500), st.integers(0, 1000), st.floats(0, 1))
def test_factor_lies_in_zero_to_one(steps, warmup, cooldown):
    schedule = Schedule.of_steps(steps, warmup, cooldown)
    assert all(0 < schedule.factor(step) <= 1 for step in range(steps))
    assert schedule.factor(steps) in (0.0, pytest.approx(schedule.factor(steps)))


def test_budget_plans_no_cooldown_before_its_share():
    schedule = Schedule(warmup=10)
    assert replan(schedule, 50, elapsed=30.0, budget=100.0, cooldown=0.4) == schedule


def test_budget_cooldown_ends_in_time_and_bends_when_the_machine_slows():
    schedule = replan(Schedule(warmup=10), 600, elapsed=60.0, budget=100.0, cooldown=0.4)
    assert (schedule.cooldown_start, schedule.end) == (600, 1000)
    assert schedule.factor(800) == pytest.approx(0.5)
    slower = replan(schedule, 800, elapsed=90.0, budget=100.0, cooldown=0.4)  # 200 steps took 30 s
    assert slower.end < 1000
    assert slower.factor(800) == pytest.approx(0.5)  # goes on from where it was
    assert slower.factor(slower.end) == 0.0


def test_budget_spent_ends_at_once():
    schedule = replan(Schedule(warmup=10), 700, elapsed=101.0, budget=100.0, cooldown=0.4)
    assert schedule.end == 700
