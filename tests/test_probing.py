"""`limner probe`, and what an autoencoder's run says of itself."""

import json
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image

from limner import workbench
from limner.models import families

NAMED = {"run", "model", "step", "data", "split"}
ERRORS = {"n", "mse", "mse_standard_error", "psnr", "reconstruction_seconds"}
METHODS = ["fine-tuned", "frozen", "scratch", "pixels"]


@pytest.fixture
def short(monkeypatch):
    """Few steps with labels."""
    from limner.evaluation import probe

    monkeypatch.setattr("limner.evaluation.probe.FEWEST_STEPS", 5)
    monkeypatch.setattr("limner.evaluation.probe.MOST_STEPS", 5)
    return probe


def text_of(page):
    return unescape(re.sub(r"<[^>]+>", " ", page.read_text(encoding="utf-8")))


def test_probe_says_what_it_found(home, limner, short):
    said = limner("probe", "autoencoder", "--labels-per-class", "5,1", "--seeds", "2", "--json")
    assert said.err == ""
    record = said.record
    assert set(record) == NAMED | {"n", "seeds", "seconds", "accuracies", "out"}
    assert (record["n"], record["seeds"], record["split"]) == (250, 2, "test")
    kinds = [(a["labels_per_class"], a["method"]) for a in record["accuracies"]]
    assert kinds == [(n, method) for n in (1, 5) for method in METHODS]
    for a in record["accuracies"]:
        assert len(a["accuracies"]) == 2
        assert a["mean"] == pytest.approx(sum(a["accuracies"]) / 2)
        assert a["deviation"] == pytest.approx(np.std(a["accuracies"], ddof=1))
        assert a["mean"] > 0.15  # ten classes
    with Image.open(home / "runs" / "autoencoder" / "probe.png") as plot:
        assert plot.size == (1080, 600)
    last = (home / "runs" / "autoencoder" / "evaluations.jsonl").read_text().splitlines()[-1]
    assert json.loads(last) == {k: v for k, v in record.items() if k != "out"}
    text = text_of(home / "runs" / "autoencoder" / "report.html")
    assert "Few labels" in text
    for a in record["accuracies"]:
        assert f"{100 * a['mean']:.1f} ± {100 * a['deviation']:.1f}" in text
    assert "Few labels" not in text_of(workbench.open_run("vae").report())


def test_probe_speaks_to_people(home, limner, short):
    words = ("--labels-per-class", "2", "--seeds", "1", "--methods", "pixels,frozen", "--limit", "100", "--quiet")
    said = limner("probe", "vae", *words, "--out", "here.png")
    assert said.err == ""
    first, header, *rows, path = said.out.splitlines()
    assert first == "vae (vae) on digits: 100 test images classified right, %, over 1 seed"
    assert header.split() == ["labels", "a", "class", "2"]
    assert [row.split()[0] for row in rows] == ["pixels", "frozen"]
    assert path == "here.png"
    assert (home / "here.png").is_file()


@pytest.mark.parametrize("model", families())
def test_every_family_has_something_to_probe(home, short, model):
    run = workbench.open_run(model)
    methods = METHODS if model in ("pixelcnn", "gan") else ["frozen"]
    _, record = workbench.probe(run, labels_per_class=[4], seeds=1, methods=methods, limit=50)
    assert [a["method"] for a in record["accuracies"]] == methods
    assert all(0 <= a["mean"] <= 1 for a in record["accuracies"])


def test_the_numbers_of_labels_are_those_that_there_are(home, short):
    _, record = workbench.probe(workbench.open_run("vae"), seeds=1, methods=["frozen"])
    assert [a["labels_per_class"] for a in record["accuracies"]] == [1, 10, 100]  # no digit has 1,000 images


def test_labels_come_from_elsewhere(home, short, tmp_path):
    """A run on images without labels is probed with others of their shape."""
    run = workbench.open_run("autoencoder")
    for label in "ab":
        (tmp_path / "tones" / label).mkdir(parents=True)
        for i in range(30):
            tone = 8 * i if label == "a" else 255 - 8 * i
            Image.new("L", (10, 10), tone).save(tmp_path / "tones" / label / f"{i}.png")
    _, record = workbench.probe(run, tmp_path / "tones", seeds=1, labels_per_class=[3], methods=["frozen"])
    assert record["data"] == str(tmp_path / "tones")
    assert record["n"] < 30


def test_what_cannot_be_probed(home, refused, limner, tiny, tmp_path):
    assert "1000 labels of each class: class" in refused("probe", "vae", "--labels-per-class", "1000", "--quiet")
    for words in ("0", "1,,2", "ten", "-1"):
        assert "must be a whole number from 1" in refused("probe", "vae", f"--labels-per-class={words}")
    assert "choose of fine-tuned,frozen,scratch,pixels" in refused("probe", "vae", "--methods", "frozen,knn")
    assert "no run 'nothing'" in refused("probe", "nothing")
    assert "classify those of test or validation" in refused("probe", "vae", "--split", "train")
    np.save(tmp_path / "plain.npy", np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8))
    assert "plain.npy has no labels" in refused("probe", "vae", "--data", tmp_path / "plain.npy", "--quiet")
    words = ("--conditional", "--epochs", "0.2", "--quiet", "--name", "classes", "--set", *tiny["gan"])
    assert limner("train", "gan", *words).code == 0
    assert "is given the class: probe a run trained without --conditional" in refused("probe", "classes", "--quiet")


# An autoencoder's run


def test_an_autoencoder_is_evaluated_by_its_reconstructions(home, limner):
    said = limner("evaluate", "autoencoder", "--json")
    assert said.err == ""
    record = said.record
    assert set(record) == NAMED | ERRORS
    assert record["n"] == 250
    said = limner("evaluate", "autoencoder", "--limit", "40")
    assert "autoencoder (autoencoder) on digits, test, 40 images:\n  no likelihood\n" in said.out
    assert re.search(r"squared error 0\.\d{5} ± 0\.\d{5} a value, intensities in \[0, 1\], PSNR [0-9.]+ dB\n", said.out)
    text = text_of(workbench.open_run("autoencoder").report())
    for words in ("An autoencoder has no likelihood", "how well it reconstructs", f"{record['mse']:.5f}", "its code"):
        assert words in text
    assert "p(x|z)" not in text
    assert "Samples" not in text
    card = (home / "runs" / "autoencoder" / "README.md").read_text()
    assert f"| {record['mse']:.5f} |" in card
    assert "run.reconstruct(images)" in card
    row = next(row for row in limner("runs", "--json").record if row["run"] == "autoencoder")
    assert not {"validation_nats", "test_nats", "bits_per_dim"} & set(row)


def test_a_binary_denoising_autoencoder_says_both(home, limner, tiny):
    settings = ("corruption=masking", *tiny["autoencoder"])
    words = ("--levels", "2", "--epochs", "0.3", "--quiet", "--name", "noisy", "--set", *settings)
    assert limner("train", "autoencoder", *words).code == 0
    record = limner("evaluate", "noisy", "--json").record
    assert set(record) == NAMED | ERRORS | {"cross_entropy", "corrupted_mse", "denoised_mse"}
    said = limner("evaluate", "noisy").out
    assert "no likelihood, as the code is read off x" in said
    assert (
        f"corrupted images, squared error {record['corrupted_mse']:.5f}: {record['denoised_mse']:.5f} is left" in said
    )


def test_what_an_autoencoder_has_not(home, refused):
    assert "an autoencoder does not draw samples" in refused("sample", "autoencoder")
    assert "an autoencoder draws no samples" in refused("evaluate", "autoencoder", "--fidelity")
    words = ("evaluate", "autoencoder", "--importance-samples", "5")
    assert "an autoencoder has no likelihood" in refused(*words)
    assert "an autoencoder cannot complete images" in refused("complete", "autoencoder", "test:0", "--mask", "top-half")
    assert "autoencoder has default, denoising, augmented" in refused("train", "autoencoder", "--recipe", "strong")


def test_it_stands_beside_models_with_a_likelihood(home, limner):
    said = limner("compare", "vae", "autoencoder", "--importance-samples", "2", "--json")
    assert said.err == ""
    bound, rebuilt = said.record
    assert "frechet" not in bound  # nothing that draws lacks a likelihood
    assert set(rebuilt) == NAMED | ERRORS
    text = text_of(home / "comparison.html")
    assert "no likelihood" in text
    assert f"{rebuilt['mse']:.5f}" in text
    said = limner("compare", "autoencoder")
    assert re.search(r"autoencoder +autoencoder +no likelihood  squared error 0\.\d{5} a value\n", said.out)


def test_progress_tells_the_error(home, limner, tiny):
    said = limner("train", "autoencoder", "--epochs", "1", "--name", "new", "--set", *tiny["autoencoder"])
    assert said.err.count("validation error ") == 4
    assert "nats" not in said.err
