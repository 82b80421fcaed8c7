"""Runs of VAEs whose training loss is not the ELBO: what they say of it, and that what is measured is a bound."""

import json

import pytest

from limner import workbench
from limner.models import family


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


def test_records_of_older_versions_are_still_read(home):
    """Of a bound whose samples came from another distribution than q, or of which a part was decoded."""
    run = workbench.open_run("vae")
    record = run.evaluate(importance_samples=5, limit=50)
    old = record | {"proposal_steps": 20, "proposal_scale": 1.2, "decoded_samples": 2.0, "decoding_nats": 0.001}
    with (run.folder / "evaluations.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(old) + "\n")
    assert "K = 5, 2 decoded, q after 20 steps on own images, σ of q × 1.2" in run.report().read_text("utf-8")


def test_a_setting_that_is_gone_is_ignored_at_its_default_else_named(home, refused):
    config = home / "runs" / "vae" / "config.toml"
    text = config.read_text("utf-8")
    config.write_text(text.replace("[network]\n", "[network]\nfirst_samples = 0\noutput_scale = false\n"), "utf-8")
    assert workbench.open_run("vae").model.config.latent == 2
    config.write_text(text.replace("[network]\n", "[network]\noutput_scale = true\n"), "utf-8")
    assert "output_scale=true: this setting is gone" in refused("evaluate", "vae")


def test_recipes_of_the_published_network():
    for name, samples in (("published", 1), ("iwae", 50)):
        network = family("vae").recipe(name, (1, 28, 28)).network
        assert (network.latent, network.hidden, network.activation) == (50, 200, "tanh")
        assert network.importance_samples == samples
        assert network.gradient == "doubly-reparameterized"
