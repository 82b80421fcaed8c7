"""`limner advise`: purposes from capabilities, ranks from measured steps, which are kept; hopeless trainings."""

import time

import pytest

from limner import workbench
from limner.config.run_config import DataConfig, RunConfig
from limner.data import ImageSet
from limner.errors import LimnerError
from limner.models import Reconstructs, Samples, Scores, families
from limner.training.objectives import SingleLoss
from limner.workbench import advice
from limner.workbench.advice import advise, kept_advice, say_if_hopeless

NAMES = ("made", "vae", "autoencoder", "gan", "pixelcnn")


@pytest.fixture
def measured(tmp_path, monkeypatch):
    """Advice kept in a cache folder of the test's own; each family's step takes as long as is written here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(advice.pooch, "os_cache", lambda name: tmp_path / name)
    some = {name: families()[name] for name in NAMES}
    monkeypatch.setattr(advice, "families", lambda: some)
    seconds, asked = {}, []

    def measure(family, recipe, data, limit):
        asked.append(family.name)
        return seconds[family.name]

    monkeypatch.setattr(advice, "_measured", measure)
    monkeypatch.setattr(advice, "_is_busy", lambda: False)
    return seconds, asked


@pytest.fixture(scope="module")
def digits():
    return workbench.load_data("digits")


def test_families_serve_the_purposes_that_they_are_able_to(measured, digits):
    measured[0].update(dict.fromkeys(NAMES, 0.1))
    found = advise(digits)
    able = {"likelihood": Scores, "samples": Samples, "codes": Reconstructs}
    for purpose, choices in found.purposes.items():
        models = {
            name: f.model(f.recipe("default", digits.shape).network, digits.shape, digits.levels)
            for name, f in families().items()
            if name in NAMES
        }
        assert {c.model for c in choices} == {n for n, m in models.items() if isinstance(m, able[purpose])}


def test_they_rank_by_the_steps_of_those_needed_and_then_by_computation(measured, digits):
    """Of 1,297 digits 20 epochs are few steps: each family needs 1,000."""
    seconds, asked = measured
    seconds.update(made=0.1, vae=0.2, autoencoder=9.0, gan=0.3, pixelcnn=48.0)
    found = advise(digits, minutes=10)
    assert [c.model for c in found.purposes["likelihood"]] == [
        "vae",
        "made",
        "pixelcnn",
    ]  # both have enough: the slower
    assert [c.model for c in found.purposes["samples"]] == ["gan", "vae", "made", "pixelcnn"]
    by_name = {c.model: c for c in found.purposes["samples"]}
    assert (by_name["pixelcnn"].steps, by_name["pixelcnn"].needed_steps, by_name["pixelcnn"].part) == (10, 1000, 0.01)
    assert by_name["gan"].command == "limner train gan --data digits --minutes 10"
    assert len(asked) == len(NAMES)
    assert advise(digits, minutes=10) == found
    assert len(asked) == len(NAMES)  # nothing is measured twice
    assert kept_advice(digits, minutes=10) == found
    assert advise(digits, minutes=1000).purposes["likelihood"][0].model == "pixelcnn"


def test_times_of_a_busy_machine_are_said_to_be_so_and_not_kept(measured, digits, monkeypatch, limner, tmp_path):
    monkeypatch.chdir(tmp_path)
    seconds, asked = measured
    seconds.update(dict.fromkeys(NAMES, 0.1))
    monkeypatch.setattr(advice, "_is_busy", lambda: True)
    assert limner("advise", "digits", "--json").record["busy"]
    assert "other work holds the cores" in limner("advise", "digits").out
    assert len(asked) == 2 * len(NAMES)
    assert kept_advice(digits) is None
    monkeypatch.setattr(advice, "_is_busy", lambda: False)
    alone = advise(digits)
    monkeypatch.setattr(advice, "_is_busy", lambda: True)
    assert advise(digits) == alone  # nothing is measured, so nothing is disturbed
    assert not alone.busy


def test_what_cannot_be_measured_is_named_and_nothing_is_kept_of_it(measured, digits, monkeypatch, tmp_path):
    seconds, _ = measured
    seconds.update(dict.fromkeys(NAMES, 0.1))

    def refuse(family, recipe, data, limit):
        if family.name == "vae":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
        return 0.1

    monkeypatch.setattr(advice, "_measured", refuse)
    assert kept_advice(digits) is None
    assert advise(digits).left_out == {"vae": "there is not enough memory for it"}
    assert "vae" not in {c.model for c in kept_advice(digits).purposes["likelihood"]}
    (tmp_path / "limner" / "steps.json").write_text('{"damaged": "yes", "x": -1', "utf-8")
    assert kept_advice(digits) is None


def test_what_does_not_fit_is_not_measured(digits, monkeypatch):
    made = families()["made"]
    huge = ImageSet("photos", (3, 600, 800), 256, {})
    with pytest.raises(LimnerError, match=r"800×600 are too large to be measured: give size=\(64, 64\)"):
        advice._measured(made, made.recipe("default", huge.shape), huge, 1.0)
    assert advice._measured(made, made.recipe("default", digits.shape), digits, 0.1) > 0
    monkeypatch.setenv("LIMNER_NETWORK_MEMORY", "100")
    with pytest.raises(LimnerError, match=r"one image takes .* GB: give a smaller size"):
        advice._measured(made, made.recipe("default", digits.shape), digits, 0.1)


def test_the_commands_print_it_and_data_only_what_is_kept(measured, limner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    measured[0].update(dict.fromkeys(NAMES, 1.0))
    said = limner("data", "digits")
    assert "`limner advise digits` says which models suit these images" in said.out
    assert "steps of" not in said.out
    assert not measured[1]
    record = limner("advise", "digits", "--minutes", 5, "--json").record
    assert set(record["purposes"]) == {"likelihood", "samples", "codes"}
    assert record["purposes"]["codes"][0]["steps"] == 240
    said = limner("advise", "digits", "--minutes", 5)
    assert "240 steps of 1,000 (24 %)" in said.out
    assert said.out.count("limner train vae --data digits --minutes 5") == 1
    said = limner("data", "digits")
    assert said.out.count("480 steps of 1,000 (48 %)") == 6
    assert "advice" in limner("data", "digits", "--json").record


def test_a_hopeless_training_is_named_with_what_would_do_better(measured, digits, capfd):
    measured[0].update(dict.fromkeys(NAMES, 0.1) | {"pixelcnn": 60.0})
    recipe = families()["pixelcnn"].recipe("default", digits.shape)
    config = RunConfig("pixelcnn", DataConfig.of(digits, "crop"), recipe).with_training(minutes=10)
    say_if_hopeless(config, digits, False, 3.4)
    assert "3 steps in 10 minutes" in (line := capfd.readouterr().err)
    assert "`limner advise digits --minutes 10` measures" in line
    advise(digits)
    say_if_hopeless(config, digits, False, 8.0)
    line = capfd.readouterr().err
    assert "8 steps in 10 minutes: pixelcnn learns nothing in so few; in that time" in line
    assert "made makes 4,800" in line
    say_if_hopeless(config, digits, False, 800.0)
    assert capfd.readouterr().err == ""


def test_a_slow_training_warns_once(measured, tmp_path, monkeypatch, limner, tiny):
    monkeypatch.chdir(tmp_path)
    step = SingleLoss.step

    def slow(*arguments):
        time.sleep(0.25)
        return step(*arguments)

    monkeypatch.setattr(SingleLoss, "step", slow)
    said = limner("train", "vae", "--minutes", 0.03, "--set", *tiny["vae"])
    assert said.code == 0
    assert said.err.count("learns nothing in so few") == 1
