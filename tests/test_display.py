"""What is printed while a run trains, where stderr is no terminal: lines that stay."""

import pytest

from limner import display
from limner.training.doctor import Diagnosis
from limner.training.loop import Progress

SICK = Diagnosis("collapse", "two samples differ 0.10 times [as much]", "a larger batch_size")


def at(step, *diagnoses, validation=None):
    return Progress(step, 1000, step / 1000, 9.0, 100.0, {"discriminator": 1.0}, validation, diagnoses)


@pytest.fixture
def said(capfd):
    """The lines that a series of moments of a run leaves on stderr."""

    def show(*moments):
        capfd.readouterr()
        with display.training("net", 64) as tell:
            for moment in moments:
                tell(moment)
        return [line for line in capfd.readouterr().err.splitlines() if line.strip()]

    return show


def test_a_diagnosis_is_said_once_while_it_stands(said):
    (line,) = said(at(100), at(300, SICK), at(325, SICK), at(350, SICK))
    assert line == "net  step 300  collapse: two samples differ 0.10 times [as much]; try a larger batch_size"


def test_a_diagnosis_that_comes_back_is_said_again(said):
    assert len(said(at(300, SICK), at(400), at(500, SICK))) == 2


def test_two_diagnoses_are_two_lines(said):
    other = Diagnosis("divergence", "loss 9", "a tenth of learning_rate")
    lines = said(at(300, SICK), at(325, other, SICK))
    assert [line.split(":")[0].split()[-1] for line in lines] == ["collapse", "divergence"]


def test_healthy_runs_leave_their_validations_only(said):
    assert said(at(1), at(2)) == []
    (line,) = said(at(5, validation={"nats": 12.5}), at(6, validation={"nats": 12.5}))
    assert "validation 12.500 nats" in line
