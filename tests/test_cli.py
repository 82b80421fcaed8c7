import importlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from limner.cli.commands import COMMANDS
from limner.models import families

MEASURED = {
    "run",
    "model",
    "step",
    "data",
    "split",
    "n",
    "nats_per_image",
    "nats_standard_error",
    "bits_per_dim",
    "bound",
    "seconds",
}
BOUND = {"importance_samples", "elbo_nats_per_image", "effective_samples"}


def loaded_modules(code, cwd):
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\nprint('torch' in sys.modules, 'numpy' in sys.modules)"],
        capture_output=True, text=True, timeout=60, cwd=cwd, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()[-1]


# Answers at once


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["runs"], ["runs", "--json"], ["trian"]])
def test_small_answers_do_not_wait_for_torch(home, words):
    code = f"from limner.cli import main\ntry:\n    main({words})\nexcept SystemExit:\n    pass"
    assert loaded_modules(code, home) == "False False"


def test_help_names_every_command(limner):
    for said in (limner("--help"), limner()):
        assert said.code == 0
        for command in COMMANDS:
            assert f"• {command} " in said.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_free_of_the_parsers_words(limner, command):
    said = limner(command, "--help")
    assert said.code == 0
    assert said.err == ""
    shown = said.out.replace("--no-browser", "")  # is meant
    for noise in ("None", "{", "--no-", "(default: )", "INT", "FLOAT"):
        assert noise not in shown.replace("{crop,pad,stretch}", "").replace("{train,validation,test}", "")


def test_python_m(home):
    done = subprocess.run(
        [sys.executable, "-m", "limner", "resume", "nothing"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    here = ", ".join(sorted(families())[:8])
    assert done.stderr == f"limner: no run 'nothing' in runs/ (runs here: {here} …)\n"


def test_a_reader_that_leaves_is_no_error(home):
    code = "from limner.cli import main; main(['train', '--help'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 141


# data


def test_data_says_what_it_is(home, limner):
    said = limner("data", "digits", "--json")
    facts = said.record
    assert said.err == ""
    assert facts["images"] == 1797 == sum(facts["splits"].values())
    assert (facts["channels"], facts["levels"], facts["broken"]) == (1, 17, [])
    assert facts["labels"] == list("0123456789")
    with Image.open(home / "contact-sheet.png") as sheet:
        assert sheet.size > (100, 100)

    said = limner("data", "digits", "--out", "sheet.png", "--size", "6x4", "--fit", "stretch")
    assert said.code == 0
    assert "6×4 (width × height)" in said.out
    assert "sheet.png" in said.out
    assert (home / "sheet.png").is_file()


# train, runs


@pytest.mark.parametrize("model", ["pixelcnn", "vae"])
def test_train_leaves_a_whole_run(home, limner, tiny, model):
    said = limner("train", model, "--epochs", "0.5", "--quiet", "--set", *tiny[model])
    assert (said.code, said.err) == (0, "")
    folder = home / "runs" / f"{model}-digits-1"
    assert said.out == f"runs/{folder.name}/report.html\n"
    names = {p.name for p in folder.iterdir()} - {"tensorboard"}
    assert names == {
        "config.toml", "model.safetensors", "state.safetensors", "state.json", "metrics.jsonl", "report.html",
        "README.md", "samples", ".lock",
    }  # fmt: skip
    assert len(list((folder / "samples").glob("*.png"))) == 4
    assert json.loads((folder / "state.json").read_text())["finished"] is True


def test_progress_stays_on_stderr_a_line_each(home, limner, tiny):
    said = limner("train", "vae", "--epochs", "1", "--name", "new", "--set", *tiny["vae"])
    assert said.out == "runs/new/report.html\n"
    assert re.fullmatch(
        r"(new  step .* validation ≤ [0-9.]+ nats .* left\n|splits of .*\n|new  samples: .*/\d{6}.png, .*\n"
        r"|needs .* a step: about 20 steps .*\n)+",
        said.err,
    )
    assert said.err.count("validation ≤") == 4
    (path,) = re.findall(r"samples: (\S+), and at each evaluation", said.err)
    assert sorted((home / "runs" / "new" / "samples").glob("*.png"))[0] == home / path


def test_both_spellings_of_set(home, limner, tiny):
    first, second, *rest = tiny["vae"]
    said = limner(
        "train", "--set", first, "vae", f"--set={second}", "--quiet", "--set", *rest, "--epochs", "0.2", "--name", "new"
    )  # fmt: skip
    assert said.code == 0
    config = (home / "runs" / "new" / "config.toml").read_text()
    assert 'network = "dense"' in config
    assert "hidden = 16" in config
    assert "latent = 2" in config


def test_size_and_levels_reach_the_model(home, limner, tiny):
    words = ("--size", "7x5", "--levels", "2", "--epochs", "0.2", "--quiet", "--name", "new")
    assert limner("train", "pixelcnn", *words, "--set", *tiny["pixelcnn"]).code == 0
    assert limner("evaluate", "new", "--json").record["n"] == 250
    with Image.open(home / "runs" / "new" / "samples" / "000004.png") as sheet:
        assert {value for _, value in sheet.convert("L").getcolors()} <= {0, 255} | set(range(256))
    assert "shape = [\n    1,\n    5,\n    7,\n]" in (home / "runs" / "new" / "config.toml").read_text()


def test_runs_lists_them(home, limner):
    rows = {row["run"]: row for row in limner("runs", "--json").record}
    assert set(rows) == set(families())
    assert all(row["status"] == "finished" for row in rows.values())
    assert {name for name, row in rows.items() if row.get("validation_nats", 0) > 0} == set(families()) - {
        "gan",
        "autoencoder",
    }
    assert "test_nats" not in rows["vae"]
    limner("evaluate", "vae", "--json")
    rows = {row["run"]: row for row in limner("runs", "--json").record}
    assert rows["vae"]["bound"] == "lower"
    said = limner("runs")
    assert said.code == 0
    assert re.search(r"vae +vae +digits +finished +20 +≤ [0-9.]+ +≤ [0-9.]+ +≤ [0-9.]+", said.out)
    assert re.search(r"ladder-vae +ladder-vae +digits +finished +20 +≤ [0-9.]+ ", said.out)
    assert re.search(r"pixelcnn +pixelcnn +digits +finished +20 +[0-9.]+ ", said.out)


def test_no_runs_yet(tmp_path, monkeypatch, limner):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_RUNS", raising=False)
    assert limner("runs", "--json").record == []
    assert limner("runs").out.startswith("no runs in runs/ yet: limner train")


# sample


@pytest.mark.parametrize("model", ["pixelcnn", "multi-scale-pixelrnn", "vae"])
def test_same_seed_same_image(home, limner, model):
    def drawn(name, *words):
        said = limner("sample", model, "-n", "7", "--out", name, *words)
        assert (said.code, said.out, said.err) == (0, f"{name}\n", "")
        return (home / name).read_bytes()

    first = drawn("a.png", "--seed", "3")
    assert drawn("b.png", "--seed", "3") == first
    assert drawn("c.png", "--seed", "4") != first
    assert limner("sample", model, "-n", "1").out == f"runs/{model}/samples-0.png\n"


# evaluate


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_evaluate_counts_every_image(home, limner, split):
    said = limner("evaluate", "pixelcnn", "--split", split, "--json")
    assert said.err == ""
    record = said.record
    assert set(record) == MEASURED
    assert record["n"] == {"train": 1297, "validation": 250, "test": 250}[split]  # no multiple of the batch size
    assert (record["bound"], record["split"]) == ("exact", split)
    assert record["nats_standard_error"] > 0


def test_the_figure_is_the_mean_over_single_images(home, limner):
    import torch

    from limner import workbench

    run = workbench.open_run("pixelcnn")
    images = run.data().split("test").first(10_000)
    alone = torch.cat([run.log_prob(image[None]) for image in images])
    record = limner("evaluate", "pixelcnn", "--json").record
    assert record["nats_per_image"] == pytest.approx(-float(alone.mean()), rel=1e-6)
    assert record["nats_standard_error"] == pytest.approx(float(alone.std()) / 250**0.5, rel=1e-6)
    assert record["bits_per_dim"] == pytest.approx(record["nats_per_image"] / 64 / 0.6931471805599453)


def test_fields_that_do_not_apply_are_absent(home, limner):
    record = limner("evaluate", "pixelcnn", "--limit", "1", "--json").record
    assert set(record) == MEASURED - {"nats_standard_error"}
    assert record["n"] == 1
    assert set(limner("evaluate", "vae", "--importance-samples", "1", "--json").record) == MEASURED
    assert None not in record.values()


def test_a_bound_says_so(home, limner):
    record = limner("evaluate", "vae", "--importance-samples", "20", "--json").record
    assert set(record) == MEASURED | BOUND
    assert (record["bound"], record["importance_samples"]) == ("lower", 20)
    assert limner("evaluate", "vae", "--limit", "9", "--json").record["importance_samples"] == 100  # of 17 levels
    assert 1 <= record["effective_samples"] <= 20
    assert record["nats_per_image"] < record["elbo_nats_per_image"]
    again = limner("evaluate", "vae", "--importance-samples", "20", "--json").record
    assert again["nats_per_image"] == record["nats_per_image"]


def test_evaluate_speaks_to_people(home, limner):
    said = limner("evaluate", "vae", "--importance-samples", "5", "--limit", "50")
    assert "vae (vae) on digits, test, 50 images:" in said.out
    assert re.search(r"  ≤ [0-9.]+ ± [0-9.]+ nats an image, ≤ [0-9.]+ bits/dim\n  bound, K = 5; ", said.out)
    assert re.search(r"effective samples [1-5]\.\d of 5", said.out)
    assert "exact;" in limner("evaluate", "pixelcnn", "--limit", "50").out


def test_evaluations_are_kept(home, limner):
    limner("evaluate", "vae", "--json")
    limner("evaluate", "vae", "--limit", "3", "--json")
    lines = (home / "runs" / "vae" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == [250, 3]


# compare, demo


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.outside, self.images = [], 0
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.images += tag in ("img", "svg")
        self.outside += [
            value for name, value in attrs
            if name in ("src", "href", "data", "action", "srcset") and not value.startswith(("#", "data:image/"))
        ]  # fmt: skip
        assert tag not in ("script", "link", "iframe")


def test_compare_is_one_page_that_needs_nothing_else(home, limner):
    said = limner("compare", "pixelcnn", "vae", "--importance-samples", "5", "--out", "both.html", "--json")
    assert said.err == ""
    exact, bound = said.record
    assert (exact["run"], exact["bound"], bound["run"], bound["bound"]) == ("pixelcnn", "exact", "vae", "lower")
    text = (home / "both.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.outside == []
    assert page.images >= 4
    assert f"{exact['nats_per_image']:.2f}" in text
    (scales,) = limner("compare", "multi-scale-pixelrnn", "--json").record
    assert set(scales) == MEASURED
    assert (scales["bound"], scales["n"]) == ("exact", 250)
    said = limner("compare", "vae", "--importance-samples", "2")
    assert said.out.splitlines()[-1] == "comparison.html"


@pytest.fixture
def small_demo(monkeypatch, tiny):
    from limner.config.settings import with_settings

    module = importlib.import_module("limner.workbench.demo")

    def small(family):
        return lambda shape: with_settings(family.demo(shape), [*tiny[family.name], "epochs=0.3"])

    shown = [replace(family, demo=small(family)) for family in families().values() if family.in_demo]
    assert len(shown) == 5
    monkeypatch.setattr(module, "_shown", lambda: shown)


def test_demo_ends_with_a_page(tmp_path, monkeypatch, limner, small_demo):
    monkeypatch.chdir(tmp_path)
    said = limner("demo", "--quiet")
    assert (said.code, said.out, said.err) == (0, "demo/report.html\n", "")
    page = Page((tmp_path / "demo" / "report.html").read_text(encoding="utf-8"))
    assert page.outside == []
    assert {p.name for p in (tmp_path / "demo").iterdir()} == {
        ".limner-demo",
        ".lock",
        ".features",
        *(f.name for f in families().values() if f.in_demo),
        "report.html",
    }
    (tmp_path / "demo" / "mine.txt").write_text("kept")
    assert limner("demo", "--quiet").code == 0  # an earlier demo is replaced
    assert (tmp_path / "demo" / "mine.txt").read_text() == "kept"
    assert limner("evaluate", "demo/vae", "--json").record["n"] == 250


def test_an_interrupted_demo_stops(tmp_path, monkeypatch, limner, small_demo):
    import os
    import signal

    from limner.models.pixelcnn import PixelCNN

    before = PixelCNN.loss_terms

    def interrupted(*words):
        os.kill(os.getpid(), signal.SIGINT)
        return before(*words)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(PixelCNN, "loss_terms", interrupted)
    said = limner("demo", "--quiet")
    assert said.code == 130
    assert said.err == "limner: interrupted\n"
    assert not (tmp_path / "demo" / "vae").exists()
