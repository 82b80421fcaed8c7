"""Runs of VAEs whose training loss is not the ELBO: what they say of it, and that what is measured is a bound."""

import json

import pytest

from limner import workbench
from limner.config.recipes import named_recipe
from limner.models import VAE


def test_a_loss_that_is_no_bound_is_said_and_named(limner, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = limner("train", "vae", "--epochs", "1", "--name", "x", "--set", *tiny["vae"], "beta=3", "free_bits=0.5")
    assert "beta=3 and free_bits=0.5: the training loss is no bound of -ln p(x)" in said.err
    assert "beta=3 and free_bits=0.5: the training loss is no bound" in (tmp_path / "runs/x/report.html").read_text(
        "utf-8"
    )
    lines = [json.loads(line) for line in (tmp_path / "runs/x/metrics.jsonl").read_text().splitlines()]
    train = next(line["train"] for line in lines if "train" in line)
    assert train["beta"] == pytest.approx(2 * train["kl"], rel=1e-5)
    assert train["free_bits"] >= 0
    validation = next(line["validation"] for line in lines if "validation" in line)
    assert set(validation) == {"nats", "reconstruction", "kl"}  # the ELBO
    assert validation["nats"] == pytest.approx(validation["reconstruction"] + validation["kl"])


def test_k_samples_are_trained_and_the_elbo_of_the_same_run_is_measured(tiny, tmp_path):
    settings = [*tiny["vae"], "importance_samples=5", "prior=vamp", "prior_components=4"]
    run = workbench.train("vae", "digits", name="k", runs=tmp_path, epochs=1, settings=settings)
    assert run.model.loss_note is None
    record = run.evaluate(importance_samples=20)
    assert record["nats_per_image"] < record["elbo_nats_per_image"]


def test_a_run_begins_with_few_samples_and_ends_with_all(tiny, tmp_path, monkeypatch):
    trained, loss_terms = [], VAE.loss_terms

    def spy(self, *arguments):
        if self.training:
            trained.append(self.samples)
        return loss_terms(self, *arguments)

    monkeypatch.setattr(VAE, "loss_terms", spy)
    settings = [*tiny["vae"], "importance_samples=20", "first_samples=2", "warmup_steps=0", "cooldown=1"]
    run = workbench.train("vae", "digits", name="k", runs=tmp_path, epochs=1, settings=settings)
    assert trained == sorted(trained)
    assert trained[0] == 2
    assert 15 < trained[-1] <= 20
    assert run.model.samples == 20  # what is opened later is measured with all


def test_a_wider_proposal_is_said_with_its_bound(home, limner):
    words = ("evaluate", "vae", "--importance-samples", "5", "--limit", "50", "--proposal-scale", "1.2")
    record = limner(*words, "--json").record
    assert record["proposal_scale"] == 1.2
    assert "elbo_nats_per_image" not in record
    said = limner(*words).out
    assert "bound, K = 5 drawn from q(z|x) with 1.2 σ; " in said
    assert "effective samples" in said
    run = workbench.open_run("vae")
    assert "K = 5, σ of q × 1.2" in run.report().read_text("utf-8")
    assert "lower, K = 5, σ of q × 1.2" in (run.folder / "README.md").read_text("utf-8")


def test_decoded_samples_are_counted_and_all_can_be_asked_for(home, limner):
    words = ("evaluate", "vae", "--importance-samples", "2000", "--limit", "20")
    every = limner(*words, "--decode-all", "--json").record
    record = limner(*words, "--json").record
    assert set(record) - set(every) == {"decoded_samples", "decoding_nats"}
    assert record["decoded_samples"] == 200
    assert record["nats_per_image"] == pytest.approx(every["nats_per_image"], abs=0.05)
    assert "bound, K = 2000, 200 of them decoded (about 0.00" in limner(*words).out
    assert "K = 2000, 200 decoded" in workbench.open_run("vae").report().read_text("utf-8")


def test_a_proposal_learns_before_it_draws_and_the_run_stays_as_it_is(home, limner, refused):
    words = ("evaluate", "vae", "--importance-samples", "5", "--limit", "50")
    own = limner(*words, "--json").record
    record = limner(*words, "--proposal-steps", "20", "--json").record
    assert record["proposal_steps"] == 20
    assert "elbo_nats_per_image" not in record
    assert record["nats_per_image"] != own["nats_per_image"]
    said = limner(*words, "--proposal-steps", "20", "--proposal-scale", "1.2")
    assert "drawn from an encoder with 20 steps on the model's own images with 1.2 σ; " in said.out
    assert limner(*words, "--json").record | {"seconds": 0} == own | {"seconds": 0}
    run = workbench.open_run("vae")
    assert "K = 5, q after 20 steps on own images, σ of q × 1.2" in run.report().read_text("utf-8")
    assert "K > 1 importance samples" in refused(
        "evaluate", "vae", "--proposal-steps", "5", "--importance-samples", "1"
    )
    assert "K > 1 importance samples" in refused("evaluate", "pixelcnn", "--proposal-steps", "5")
    assert "a gan has no likelihood" in refused("evaluate", "gan", "--proposal-steps", "5")
    assert "'-1'" in refused("evaluate", "vae", "--proposal-steps", "-1")


def test_recipes_of_the_published_network():
    for name, samples in (("published", 1), ("iwae", 50)):
        network = named_recipe("vae", name, (1, 28, 28)).network
        assert (network.latent, network.hidden, network.activation) == (50, 200, "tanh")
        assert network.importance_samples == samples
        assert network.first_samples == (5 if name == "iwae" else 0)
        assert network.output_scale
