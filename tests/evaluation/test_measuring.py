"""`limner evaluate --fidelity` and `limner compare`, for models with a likelihood and without."""

import json
import re

import numpy as np
import pytest
import torch

from limner import workbench
from limner.evaluation.features import data_digest

LIKELIHOOD = {"n", "nats_per_image", "nats_standard_error", "bits_per_dim", "bound", "seconds"}
FIDELITY = {
    "samples", "frechet", "data_frechet", "frechet_ratio", "kernel", "kernel_deviation", "neighbours",
    "precision", "recall", "data_precision", "data_recall", "clipped_density", "clipped_coverage",
    "data_clipped_density", "data_clipped_coverage", "blurred_ratio", "feature_version", "fidelity_seconds",
    *(f"{name}_standard_error" for name in ("frechet", "frechet_ratio", "precision", "recall")),
    "clipped_density_standard_error", "clipped_coverage_standard_error",
}  # fmt: skip
CLASSES = {"classifier_accuracy", "classes_covered", "class_kl", "class_kl_standard_error"}
NAMED = {"run", "model", "step", "data", "split"}


@pytest.fixture
def home(home, digits, network):
    """The trained runs, with the feature network beside them."""
    (home / "runs" / ".features").mkdir()
    network.save(home / "runs" / ".features" / f"{data_digest(digits)}-2.safetensors")
    return home


@pytest.mark.parametrize("model", ["vae", "pixelcnn"])
def test_any_model_that_samples_is_compared_with_the_data(home, limner, model):
    said = limner("evaluate", model, "--fidelity", "--importance-samples", "1", "--json")
    assert said.err == ""
    assert set(said.record) == NAMED | LIKELIHOOD | FIDELITY | CLASSES
    assert said.record["samples"] == said.record["n"] == 250
    assert said.record["frechet_ratio"] > 2  # an epoch makes no digits
    assert 0 <= said.record["precision"] <= 1
    assert 1 <= said.record["classes_covered"] <= 10


def test_the_samples_are_those_of_the_seed(home, limner):
    records = [limner("evaluate", "vae", "--fidelity", "--seed", seed, "--json").record for seed in (0, 0, 1)]
    assert records[0]["frechet"] == records[1]["frechet"] != records[2]["frechet"]


def test_without_a_likelihood_fidelity_is_what_there_is(home, limner):
    said = limner("evaluate", "gan", "--json")
    assert set(said.record) == NAMED | FIDELITY | CLASSES
    lines = (home / "runs" / "gan" / "evaluations.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == said.record
    row = next(row for row in limner("runs", "--json").record if row["run"] == "gan")
    assert "test_nats" not in row
    said = limner("evaluate", "gan", "--limit", "60")
    assert "gan (gan) on digits, test, 60 samples:\n  no likelihood\n" in said.out
    assert re.search(r"Fréchet distance [0-9.]+ ± [0-9.]+ \([0-9.]+\), ratio [0-9.]+ ± [0-9.]+\n", said.out)
    assert "  beside training images: farther, as far as two standard errors tell\n" in said.out
    assert re.search(
        r"precision [0-9.]+ ± [0-9.]+ \([0-9.]+\), recall [0-9.]+ ± [0-9.]+ \([0-9.]+\), k = 3\n", said.out
    )
    assert re.search(r"KL of their histogram from the data's [0-9.]+ ± [0-9.]+ nats\n", said.out)
    assert "± " in limner("runs").out
    assert "small filters (version 2); a classifier with accuracy 0.9" in said.out
    assert re.search(r"(better|worse) than a blurred copy of the data \(σ = 1\), whose ratio is [0-9.]+\n", said.out)
    assert re.search(
        r"clipped density [0-9.]+ ± [0-9.]+ \([0-9.]+\), clipped coverage [0-9.]+ ± [0-9.]+ \([0-9.]+\)", said.out
    )


def test_more_neighbours_make_a_wider_manifold(home, limner, refused):
    three, five = (limner("evaluate", "gan", "--json", *words).record for words in ([], ["--neighbours", "5"]))
    assert (three["neighbours"], five["neighbours"]) == (3, 5)
    assert five["data_precision"] > three["data_precision"]
    assert "60 neighbours: choose" in refused("evaluate", "gan", "--limit", "60", "--neighbours", "60")


def test_inception_comes_from_the_environment(home, limner, refused, monkeypatch):
    monkeypatch.setenv("LIMNER_INCEPTION", "nowhere.pt")
    assert "LIMNER_INCEPTION=nowhere.pt: there is no such file" in refused("evaluate", "vae", "--fidelity")
    assert limner("evaluate", "vae", "--json").code == 0


def test_importance_samples_need_a_bound(home, refused):
    assert "a gan has no likelihood" in refused("evaluate", "gan", "--importance-samples", "5")


def test_pages_say_what_was_measured(home, limner):
    record = limner("evaluate", "pixelcnn", "--fidelity", "--json").record
    page = workbench.open_run("pixelcnn").report().read_text(encoding="utf-8")
    assert "Fidelity of samples" in page
    assert f"{record['frechet']:.3f} ± {record['frechet_standard_error']:.3f} ({record['data_frechet']:.3f})" in page
    assert ">farther</td>" in page
    card = (home / "runs" / "pixelcnn" / "README.md").read_text(encoding="utf-8")
    figures = {"frechet_ratio": ".2f", "precision": ".3f", "recall": ".3f"}
    cells = (f"{record[name]:{form}} ± {record[f'{name}_standard_error']:{form}}" for name, form in figures.items())
    assert f"| {' | '.join(cells)} |" in card
    assert "Fidelity of samples" not in workbench.open_run("vae").report().read_text(encoding="utf-8")


def test_figures_of_earlier_versions_have_no_error_and_stay(home, limner):
    record = limner("evaluate", "gan", "--json").record
    old = {name: value for name, value in record.items() if not name.endswith("_standard_error")}
    (home / "runs" / "gan" / "evaluations.jsonl").write_text(json.dumps(old) + "\n")
    page = workbench.open_run("gan").report().read_text(encoding="utf-8")
    assert f">{record['frechet_ratio']:.2f}</td>" in page
    assert "farther<" not in page
    card = (home / "runs" / "gan" / "README.md").read_text(encoding="utf-8")
    assert f"| {record['frechet_ratio']:.2f} | {record['precision']:.3f} | {record['recall']:.3f} |" in card
    assert next(row for row in limner("runs", "--json").record if row["run"] == "gan")["status"] == "finished"


def test_figures_of_other_features_are_left_out_with_a_word(home, limner):
    record = limner("evaluate", "gan", "--json").record
    path = home / "runs" / "gan" / "evaluations.jsonl"
    old = {"feature_task": "labels", "feature_accuracy": 0.97, "frechet_ratio": 0.123}
    old = {k: v for k, v in record.items() if k not in ("feature_version", "blurred_ratio")} | old
    path.write_text(json.dumps(old) + "\n" + json.dumps(record) + "\n")
    page = workbench.open_run("gan").report().read_text(encoding="utf-8")
    assert "0.12 ±" not in page
    assert "1 evaluations with other features are left out" in page
    assert "0.12 ±" not in (home / "runs" / "gan" / "README.md").read_text(encoding="utf-8")
    row = next(row for row in limner("runs", "--json").record if row["run"] == "gan")
    assert row["frechet_ratio"] == record["frechet_ratio"]  # not the smaller
    path.write_text(json.dumps(old) + "\n")
    row = next(row for row in limner("runs", "--json").record if row["run"] == "gan")
    assert "frechet_ratio" not in row
    assert "old features" in limner("runs").out
    page = workbench.open_run("gan").report().read_text(encoding="utf-8")
    assert "Features of a network that tells labels (version 1)" in page


def test_compare_puts_all_families_on_one_page(home, limner):
    said = limner("compare", "pixelcnn", "vae", "gan", "--importance-samples", "2", "--json")
    assert said.err == ""
    exact, bound, implicit = said.record
    assert set(exact) == NAMED | LIKELIHOOD | FIDELITY | CLASSES  # measured because one has no likelihood
    assert set(bound) >= NAMED | LIKELIHOOD | FIDELITY | CLASSES
    assert set(implicit) == NAMED | FIDELITY | CLASSES
    page = (home / "comparison.html").read_text(encoding="utf-8")
    assert "no likelihood" in page
    assert f"{exact['nats_per_image']:.2f}" in page
    for record in said.record:
        assert (
            f"{record['frechet']:.3f} ± {record['frechet_standard_error']:.3f} ({record['data_frechet']:.3f})" in page
        )
        assert record["data_frechet"] == exact["data_frechet"]  # the same yardstick
    said = limner("compare", "gan")
    assert re.search(
        r"gan +gan +no likelihood  Fréchet ratio [0-9.]+ ± .+, precision .+ ± .+, recall .+ ± .+\n", said.out
    )


def test_compare_measures_likelihoods_alone_unless_asked(home, limner):
    assert "frechet" not in limner("compare", "vae", "--importance-samples", "2", "--json").record[0]
    assert "frechet" in limner("compare", "vae", "--importance-samples", "2", "--fidelity", "--json").record[0]


def test_too_few_samples_are_refused_before_anything_is_trained(home, refused):
    (file,) = (home / "runs" / ".features").iterdir()
    file.unlink()
    assert "20 samples: fidelity needs at least 50" in refused("evaluate", "vae", "--fidelity", "--limit", "20")
    assert list((home / "runs" / ".features").iterdir()) == []


def test_other_data_are_their_own_yardstick(home, digits, tmp_path):
    images = torch.cat([split.first(9999) for split in digits.splits.values()])
    np.save(tmp_path / "unlabelled.npy", images.squeeze(1).numpy())
    run = workbench.open_run("vae")
    other = workbench.load_data(tmp_path / "unlabelled.npy", levels=17)
    record = run.evaluate(other, importance_samples=1, fidelity=True, features=tmp_path / "elsewhere")
    assert set(record) == NAMED | LIKELIHOOD | FIDELITY  # no labels, no classes
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
