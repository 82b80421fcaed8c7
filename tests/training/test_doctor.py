"""The doctor on made-up runs: each failure is named in time, a healthy run is never accused."""

import json
import math
import random

import msgspec
import pytest
import torch

from limner.data.neighbours import nearest
from limner.training import doctor
from limner.training.doctor import (
    BLOCK,
    WINDOW,
    Diagnosis,
    Doctor,
    block,
    diagnose,
    memorisation,
    nearness,
    worse_than_blurred,
)
from limner.training.state import DoctorState

HEALTHY = {
    "discriminator": 1.1,
    "generator": 1.2,
    "real_logit": 1.0,
    "fake_logit": -0.9,
    "accuracy": 0.75,
    "generator_gradient_norm": 0.8,
    "discriminator_gradient_norm": 1.5,
    "sample_diversity": 0.95,
}


def treated(change=lambda step: {}, steps=500, objective="non-saturating", batch_size=64, seed=0):
    """A doctor who has seen a noisy run, and the step at which each name first stood."""
    noise = random.Random(seed)
    seen, watching = {}, Doctor(objective, batch_size)
    for step in range(1, steps + 1):
        figures = {name: value * (1 + 0.04 * noise.gauss(0, 1)) for name, value in HEALTHY.items()}
        watching.see(figures | change(step), step)
        for diagnosis in watching.standing:
            seen.setdefault(diagnosis.name, step)
    return watching, seen


def saturated(step):
    return {"accuracy": 1.0, "real_logit": 9.0, "fake_logit": -8.0, "discriminator": 4e-4}


FAILURES = {
    "divergence": lambda step: {"discriminator": 40.0, "real_logit": 60.0 - step, "fake_logit": 90.0},
    "saturated discriminator": saturated,
    "vanished generator gradient": lambda step: {"generator_gradient_norm": 2e-4},
    "collapse": lambda step: {"sample_diversity": 0.05},
    "unstable steps": lambda step: {"accuracy": 0.5 + 0.4 * (step % 2)},
}


@pytest.mark.parametrize("name", FAILURES)
def test_each_failure_is_named_within_500_steps(name):
    watching, seen = treated(FAILURES[name])
    assert list(seen) == [name]
    found = watching.standing[0]
    assert found.name == name
    assert any(character.isdigit() for character in found.observed)
    assert found.remedy


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_run_is_not_accused(seed):
    assert treated(steps=3000, seed=seed)[1] == {}


def test_a_bad_start_is_not_a_failure():
    """Fakes of a young generator are alike and easily told, until it learns."""

    def young(step):
        rise = min(1.0, step / 400)
        near = {"real_logit": 2 - rise, "fake_logit": rise - 2}
        return near | {"sample_diversity": 0.1 + 0.85 * rise, "accuracy": 0.995 - 0.2 * rise}

    assert treated(young, steps=1000)[1] == {}


def test_one_bad_block_is_not_a_failure():
    for name, change in FAILURES.items():
        passing = treated(lambda step, change=change: change(step) if 500 < step <= 500 + BLOCK else {}, steps=1200)[1]
        assert passing == {}, name


def test_a_named_failure_stays_until_it_is_clearly_over():
    """Between its two limits a figure neither accuses nor acquits."""

    def between(step):
        return {"sample_diversity": 0.57}

    def first_bad(step):
        return {"sample_diversity": 0.3} if step <= 500 else between(step)

    assert treated(between, steps=1500)[1] == {}
    assert [d.name for d in treated(first_bad, steps=1500)[0].standing] == ["collapse"]
    over = treated(lambda step: {"sample_diversity": 0.3} if step <= 500 else {}, steps=1500)[0]
    assert over.standing == ()


def test_a_penalty_that_explodes_is_named_until_it_is_over():
    watching, seen = treated(lambda step: {"penalty": 53_000.0 if 40 <= step < 45 else 1.0}, objective="wasserstein")
    assert seen == {"divergence": 50}
    assert watching.standing == ()


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["discriminator", "generator", "fake_logit", "generator_gradient_norm"])
def test_a_number_that_is_none_is_named_at_the_next_block(bad, name):
    watching, seen = treated(lambda step: {name: bad}, steps=BLOCK)
    assert seen == {"divergence": BLOCK}
    assert str(bad) in watching.standing[0].observed


def test_a_winning_critic_is_no_failure():
    """Wasserstein: the critic is meant to be right, its loss is minus a distance of any size below the alarming."""

    def critic(step):
        return {"accuracy": 1.0, "real_logit": 12.0, "fake_logit": -8.0, "discriminator": -18.0}

    assert treated(critic, objective="wasserstein")[1] == {}
    assert "saturated discriminator" in treated(saturated)[1]


def test_missing_diversity_is_passed_over():
    assert treated(lambda step: {"sample_diversity": math.nan}, batch_size=1)[1] == {}


def test_the_remedy_fits_the_batch():
    small, large = (treated(FAILURES["unstable steps"], batch_size=b)[0].standing[0] for b in (2, 64))
    assert "batch_size" in small.remedy
    assert "2 images" in small.observed
    assert "learning_rate" in large.remedy


def test_chance_alone_is_not_unstable_from_16_images_on():
    """The standard deviation of the accuracy of a coin over 16 pairs."""

    def binomial(images):
        noise = random.Random(1)
        return lambda step: {"accuracy": sum(noise.random() < 0.5 for _ in range(images)) / images}

    assert treated(binomial(16), batch_size=16, steps=2000)[1] == {}
    assert list(treated(binomial(2), batch_size=2)[1]) == ["unstable steps"]


def test_a_block_is_means_and_the_deviation_of_the_accuracy():
    steps = [HEALTHY | {"accuracy": a, "generator": g} for a, g in ((0.5, 1.0), (0.7, 2.0), (0.9, 6.0))]
    made = block(steps)
    assert made["accuracy"] == pytest.approx(0.7)
    assert made["generator"] == pytest.approx(3.0)
    assert made["accuracy_deviation"] == pytest.approx(0.2)
    assert made["loss_deviation"] == 0
    swings = block([HEALTHY | {"discriminator": d} for d in (-1.0, -3.0, -2.0)])
    assert swings["loss_deviation"] == pytest.approx(0.5)


@pytest.mark.parametrize("k", [2, 50])
def test_many_discriminator_steps_have_few_generator_figures(k):
    generators = ("generator", "generator_gradient_norm", "sample_diversity")

    def told(change, steps=1000):
        watching = Doctor("non-saturating", 64)
        for step in range(1, steps + 1):
            figures = HEALTHY | change
            watching.see(figures if step % k == 0 else {n: v for n, v in figures.items() if n not in generators}, step)
        return [d.name for d in watching.standing]

    assert told({}) == []
    assert told(saturated(0), 500) == ["saturated discriminator"]
    assert told({"generator_gradient_norm": 1e-5}, 500) == ["vanished generator gradient"]
    assert told({}, 20) == []


def test_a_doctor_who_is_called_again_goes_on():
    """Whatever the step at which the state is kept, through JSON."""
    for kept in (10, BLOCK, 290, 300):
        whole = Doctor("hinge", 64)
        parts = Doctor("hinge", 64)
        for step in range(1, 400):
            figures = HEALTHY | FAILURES["collapse"](step)
            if step % 2:
                del figures["sample_diversity"]
            whole.see(figures, step)
            parts.see(figures, step)
            if step == kept:
                again = Doctor("hinge", 64)
                again.restore(json.loads(json.dumps(parts.state())))
                parts = again
            assert whole.standing == parts.standing
        assert [d.name for d in whole.standing] == ["collapse"]


@pytest.mark.parametrize("rows", ["steps", "window"])
@pytest.mark.parametrize("metric", ["accuracy", "generator_gradient_norm"])
def test_a_state_that_lacks_a_metric_is_refused(rows, metric):
    seen = Doctor("hinge", 64)
    for step in range(1, 130):
        seen.see(HEALTHY, step)
    state = seen.state()
    msgspec.convert(state, DoctorState)
    del state[rows][-1][metric]
    with pytest.raises(msgspec.ValidationError, match="lacks metrics"):
        msgspec.convert(state, DoctorState)


def test_diagnoses_are_a_function_of_the_window():
    window = [block([HEALTHY | saturated(0)] * BLOCK) | {"step": 1000 + BLOCK * i} for i in range(WINDOW)]
    assert diagnose(window, "non-saturating", 64) == diagnose(window, "non-saturating", 64)
    assert isinstance(diagnose(window, "non-saturating", 64)[0], Diagnosis)
    assert diagnose(window[1:], "non-saturating", 64) == []  # not enough seen
    assert diagnose([b | {"step": doctor.SETTLING} for b in window], "non-saturating", 64) == []


def images(n, seed):
    return torch.randint(0, 256, (n, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def measured(samples):
    """Beside held-out images, with 300 training images."""
    training, held_out = images(300, 0), images(200, 1)
    return nearness(*(nearest(images, training, 21)[0] for images in (samples, held_out)))


def test_memorisation():
    training, fresh = images(300, 0), images(200, 2)
    assert memorisation(measured(fresh)) is None
    copies = training[:200].clone()
    copies[:, :, 0, 0] ^= 3  # nearly
    found = memorisation(measured(copies))
    assert found is not None
    assert found.name == "memorisation"
    assert found.observed.startswith("100%")
    half = measured(torch.cat([fresh[:100], training[:100]]))
    assert half.share == pytest.approx(0.5, abs=0.03)
    assert memorisation(half) is not None


@pytest.mark.parametrize("level", [118, 128, 138])
def test_images_without_detail_are_near_to_many_and_so_no_copies(level):
    """Nearer to a training image than every held-out one, but to none in particular."""
    grey = torch.full((200, 1, 6, 6), level, dtype=torch.uint8)
    training, held_out = images(300, 0), images(200, 1)
    assert nearest(grey, training)[0].max() < nearest(held_out, training)[0].min()
    assert memorisation(measured(grey)) is None
    assert measured(grey).samples > 0.8


def test_memorisation_stands_beside_the_others_until_it_is_over():
    copies, fresh = measured(images(300, 0)), measured(images(200, 2))
    watching = treated(FAILURES["collapse"])[0]
    for _ in range(2):
        watching.compare(copies)
        assert [d.name for d in watching.standing] == ["collapse", "memorisation"]
    for step in range(501, 501 + BLOCK):
        watching.see(HEALTHY | FAILURES["collapse"](step), step)
    assert [d.name for d in watching.standing] == ["collapse", "memorisation"]
    watching.compare(fresh)
    assert [d.name for d in watching.standing] == ["collapse"]


def test_samples_worse_than_blurred_images_are_said_until_they_are_better():
    assert worse_than_blurred(2.0, 3.0) is None
    watching = treated(FAILURES["collapse"])[0]
    watching.compare_with_blur(3.5, 3.0)
    assert [d.name for d in watching.standing] == ["collapse", "worse than blurred images"]
    assert "distance 3.5 from unseen images, of a blurred copy of the data (σ = 1) 3" in watching.standing[1].observed
    watching.compare(measured(images(300, 0)))
    for step in range(501, 501 + BLOCK):
        watching.see(HEALTHY | FAILURES["collapse"](step), step)
    assert {d.name for d in watching.standing} == {"collapse", "worse than blurred images", "memorisation"}
    watching.compare_with_blur(2.0, 3.0)
    assert {d.name for d in watching.standing} == {"collapse", "memorisation"}


def test_a_discriminator_that_is_always_right_though_penalised():
    """Under R1 the logits stay near; whether the samples come nearer is what tells."""

    def right(step):
        return {"accuracy": 1.0, "real_logit": 1.5, "fake_logit": -0.7, "discriminator": 0.1}

    def losing(step):
        return right(step) | {"real_logit": 1.5 * 0.995**step, "fake_logit": -0.7 * 0.995**step}

    assert list(treated(right)[1]) == ["saturated discriminator"]
    assert treated(losing)[1] == {}


def test_an_untaught_generator_is_not_collapsed():
    """Under a discriminator that is sure, samples are alike because nothing was learnt yet."""
    assert list(treated(lambda step: saturated(step) | {"sample_diversity": 0.1})[1]) == ["saturated discriminator"]


def test_the_loss_of_small_batches_may_not_swing():
    def swinging(step):
        return {"discriminator": 1.1 + 0.3 * (-1) ** step}

    small, large = (treated(swinging, batch_size=b) for b in (4, 64))
    assert list(small[1]) == ["unstable steps"]
    assert "4 images" in small[0].standing[0].observed
    assert large[1] == {}
