"""Samples as files, sheets of other formats, the time lapse, `limner show`, running runs, several seeds."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from limner import workbench
from limner.data import load
from limner.files import is_locked
from limner.runs import LOCK, list_runs, locked_run

TINY = ("--epochs", "0.1", "--quiet", "--set", "features=4", "blocks=1", "sample_images=4", "validation_images=50")


def test_samples_become_a_folder_of_files(home, limner, refused):
    said = limner("sample", "vae", "-n", "11", "--out", "drawn", "--quiet")
    assert (said.code, said.out) == (0, "drawn: 11 images, the first drawn/00.png\n")
    files = sorted((home / "drawn").iterdir())
    assert [f.name for f in files] == [f"{i:02}.png" for i in range(11)]
    images = workbench.open_run("vae").sample(11)
    for file, image in zip(files, images, strict=True):
        assert np.array_equal(np.asarray(Image.open(file)), image[0].numpy())
    assert "drawn/ is not empty" in refused("sample", "vae", "--out", "drawn", "--quiet")


def test_samples_of_classes_are_a_labelled_source(home, limner):
    workbench.train("pixelcnn", name="ten", conditional=True, epochs=0.1, settings=TINY[4:])
    assert limner("sample", "ten", "-n", "40", "--out", "drawn", "--quiet").code == 0
    assert load(home / "drawn").label_names == tuple("0123456789")
    assert all(len(list(f.iterdir())) == 4 for f in (home / "drawn").iterdir())
    limner("sample", "ten", "-n", "40", "--label", "7", "--out", "seven", "--quiet")
    assert len(list((home / "seven" / "7").iterdir())) == 40
    limner("sample", "ten", "-n", "15", "--out", "sheet.png", "--quiet")
    with Image.open(home / "sheet.png") as sheet:
        assert "limner-margin" in sheet.info  # names beside rows


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP"), ("a.png", "PNG")]
)
def test_a_sheet_is_what_its_name_says(home, limner, name, kind):
    assert limner("sample", "vae", "-n", "4", "--out", name, "--quiet").code == 0
    assert limner("complete", "pixelcnn", "test:0", "--mask", "top-half", "--out", f"c{name}", "--quiet").code == 0
    for file in (name, f"c{name}"):
        with Image.open(home / file) as image:
            assert image.format == kind


def test_a_format_that_is_not_written_is_refused(home, refused):
    for words in (("sample", "vae"), ("latent", "vae", "interpolate"), ("data", "digits")):
        assert "a.tiff: limner writes .png, .jpg and .webp images, no .tiff" in refused(*words, "--out", "a.tiff")


def test_the_time_lapse_shows_every_evaluation(home, limner, refused):
    said = limner("sample", "pixelcnn", "--over-time")
    assert said.out == "runs/pixelcnn/over-time.gif\n"
    steps = sorted((home / "runs" / "pixelcnn" / "samples").glob("*.png"))
    with Image.open(home / "runs" / "pixelcnn" / "over-time.gif") as film:
        assert film.format == "GIF"
        assert film.n_frames == len(steps) == 4
        for i, step in enumerate(steps):
            film.seek(i)
            with Image.open(step) as sheet:
                seen = np.asarray(film.convert("L").crop((0, 0, *sheet.size)), dtype=int)
                assert np.abs(seen - np.asarray(sheet.convert("L"))).max() <= 4
        assert film.info["duration"] > 1000  # the last one stays
    assert "a time lapse is a .gif" in refused("sample", "pixelcnn", "--over-time", "--out", "a.png")
    for step in steps[1:]:
        step.unlink()
    assert "needs samples of 2 evaluations, and there are 1" in refused("sample", "pixelcnn", "--over-time")


def test_show_says_what_differs_from_the_recipe(home, limner, refused):
    workbench.train("pixelcnn", name="x", epochs=0.1, settings=["features=6", "blocks=1", "sample_images=4"])
    facts = limner("show", "x", "--json").record
    assert (facts["run"], facts["model"], facts["recipe"], facts["status"]) == ("x", "pixelcnn", "default", "finished")
    assert {name: value["run"] for name, value in facts["settings"].items()} == {
        "features": 6, "blocks": 1, "sample_images": 4, "epochs": 0.1,
    } | ({"minutes": 0.0} if "minutes" in facts["settings"] else {})  # fmt: skip
    assert facts["images"] == "8×8 (width × height), grey; train 1,297, validation 250, test 250; 17 levels"
    said = limner("show", "x").out
    assert "x (pixelcnn), finished at step " in said
    assert "features = 6 (recipe: " in said
    for path in ("report", "samples"):
        assert (home / facts[path]).is_file()
        assert facts[path] in said
    shutil.rmtree(home / "runs" / "x" / "samples")
    assert "samples" not in limner("show", "x", "--json").record
    assert "no run 'nothing'" in refused("show", "nothing")


def test_a_run_that_is_being_trained_is_said(home, limner):
    folder = home / "runs" / "vae"
    status = lambda: next(row["status"] for row in list_runs() if row["run"] == "vae")  # noqa: E731
    assert status() == "finished"
    with locked_run(folder):
        assert is_locked(folder / LOCK)
        assert status() == "running"
    assert not is_locked(folder / LOCK)
    assert not is_locked(folder / "nothing")
    assert status() == "finished"


def test_evaluating_refreshes_the_report(home, limner):
    report = home / "runs" / "vae" / "report.html"
    assert "Not measured on the test split yet" in report.read_text()
    record = limner("evaluate", "vae", "--limit", "20", "--json").record
    assert f"≤ {record['bits_per_dim']:.4f}" in report.read_text()
    before = report.read_bytes()
    with locked_run(report.parent):  # it trains: it writes the report itself
        assert limner("evaluate", "vae", "--limit", "10", "--json").code == 0
    assert report.read_bytes() == before


def test_several_seeds_give_a_mean_and_its_deviation(home, limner, refused):
    said = limner("train", "pixelcnn", "--seeds", "2", "--name", "x", *TINY, "seed=5")
    *paths, last = said.out.splitlines()
    assert paths == [f"runs/x-seed{s}/report.html" for s in (5, 6)]
    values = []
    for s in (5, 6):
        lines = (home / "runs" / f"x-seed{s}" / "metrics.jsonl").read_text().splitlines()
        kept = [line for line in map(json.loads, lines) if line.get("kept")]
        values.append(kept[-1]["validation"]["nats"] / 64 / np.log(2))
        assert f"seed = {s}" in (home / "runs" / f"x-seed{s}" / "config.toml").read_text()
    figure = f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f} bits/dim"
    assert last == f"validation {figure} (mean ± standard deviation of 2 seeds)"
    assert "run 'x-seed6' exists" in refused("train", "pixelcnn", "--seeds", "2", "--name", "x", *TINY, "seed=6")
    assert not (home / "runs" / "x-seed7").exists()


def test_the_version(limner):
    from limner.version import version

    assert limner("--version").out == f"limner {version()}\n"
