"""What the report says of how a run came about: curves, samples over time, the doctor's table."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from limner import workbench
from limner.evaluation import active_units
from limner.reports import codes, curves, draw

SICK = {"name": "collapse", "observed": "0.11 times", "remedy": "a larger batch"}
PLAYERS = {"discriminator": 1.2, "generator": 0.9, "real_logit": 0.5, "fake_logit": -0.4, "accuracy": 0.7}


def journal(run, diagnoses):
    """A GAN's journal, of a line a hundred steps with the names of its diagnoses, in place of the run's own."""
    lines = []
    for i, names in enumerate(diagnoses, 1):
        line = {"step": 100 * i, "seconds": 2.0 * i, "train": PLAYERS}
        standing = [SICK | {"name": name, "observed": f"at {100 * i}"} for name in names]
        lines.append(line | ({"diagnoses": standing} if names else {}))
    lines.append({"step": 100 * len(diagnoses), "seconds": 9.0, "validation": {"real_logit": 0.4, "accuracy": 0.7}})
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def run(home):
    return workbench.open_run("vae")


def test_curves_of_a_likelihood_are_one_plot(run):
    (block,) = curves.curves([run.view()])
    assert b"bits/dim" in block.data


def test_curves_of_a_gan_are_losses_and_logits(run):
    journal(run, [[], [], []])
    (row,) = curves.curves([run.view()])
    losses, logits = row.blocks
    assert b"loss" in losses.data
    assert b"logit" in logits.data
    assert "each player" in losses.caption


def test_both_kinds_stand_side_by_side(home, run):
    journal(run, [[], []])
    blocks = curves.curves([workbench.open_run("pixelcnn").view(), run.view()])
    assert [type(block).__name__ for block in blocks] == ["Svg", "Row"]
    assert blocks[1].blocks[0].caption.startswith("vae: ")


def test_only_a_gan_has_a_doctor(run):
    assert curves.doctor(run.view()) == []


def test_the_doctor_found_nothing(run):
    journal(run, [[], [], []])
    (section,) = curves.doctor(run.view())
    assert "Nothing was found in 300 steps" in section.blocks[0].text


def test_spells_of_a_failure_have_their_steps(run):
    journal(run, [[], ["collapse"], ["collapse", "divergence"], ["divergence"], [], ["collapse"]])
    (section,) = curves.doctor(run.view())
    assert [row[:3] for row in section.blocks[0].rows] == [
        ["collapse", "200 to 300", "at 300"],
        ["divergence", "300 to 400", "at 400"],
        ["collapse", "600 to 600", "at 600"],
    ]


def test_the_report_of_a_gan_has_it_all(run):
    journal(run, [[], ["collapse"], []])
    text = run.report().read_text()
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert titles[-3:] == ["Learning curves", "The doctor", "Configuration"]
    assert "collapse" in text
    assert "samples at the steps below them" in text


@pytest.mark.parametrize("model", ["pixelcnn", "vae"])
def test_reports_without_a_gan_have_no_doctor(home, model):
    run = workbench.open_run(model)
    text = run.report().read_text()
    assert "The doctor" not in text
    assert text.count("samples at the steps below them") == 1


def test_the_strip_shows_every_evaluation(run):
    files = sorted((run.folder / "samples").glob("*.png"))
    assert len(files) == 4
    (image,) = curves.over_time(run.view())
    with Image.open(files[0]) as sheet:
        each = draw.first_columns(sheet, (8, 8), 6, scale=5)  # the sheets have 2
    assert each.width == 5 * (2 * 9 + 1)
    assert image.image.width == 4 * each.width + 3 * 6
    assert image.image.height > each.height
    assert image.image.crop((0, 0, *each.size)).tobytes() == each.convert(image.image.mode).tobytes()
    for file in files[1:]:
        file.unlink()
    assert curves.over_time(run.view()) == []


def test_many_evaluations_are_spread(run):
    first = sorted((run.folder / "samples").glob("*.png"))[0]
    for step in range(1, 40):
        (run.folder / "samples" / f"{step:06d}.png").write_bytes(first.read_bytes())
    (image,) = curves.over_time(run.view())
    assert 900 < image.image.width < 1300


@pytest.mark.parametrize(("step", "said"), [(7, "7"), (4321, "4,321"), (10_000, "10k"), (123_456, "123k")])
def test_captions_are_short(step, said):
    assert curves._steps(step) == said


def test_a_report_shows_codes_and_reconstructions_in_colour(tmp_path):
    """A VAE of RGB images: originals above reconstructions, its active units, the codes by class."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (120, 9, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "rgb.npz", x=x, y=np.arange(120) % 2)
    settings = ("latent=3", "features=4", "precision=float32")
    run = workbench.train("vae", tmp_path / "rgb.npz", name="v", runs=tmp_path, epochs=1, settings=settings)
    view = run.view()
    rebuilt, where = codes.latent_sections([view])
    assert (rebuilt.title, where.title) == ("Reconstructions", "Codes")
    (image,) = rebuilt.blocks
    originals = view.held_out[:30]
    assert image.image.mode == "RGB"
    assert image.image.tobytes() == draw.pairs(originals, run.reconstruct(originals)).tobytes()
    text, mapped = where.blocks
    active = int(active_units(run.model.encode(view.held_out_split.first(2000))).sum())
    assert text.text.startswith(f"v: {active} of 3 latents are active")
    assert f"{len(view.held_out_split)} held-out images, coloured by class" in mapped.caption
    html = run.report().read_text(encoding="utf-8")
    assert text.text in html
    assert mapped.caption in html


def test_models_without_codes_show_none(home):
    assert codes.latent_sections([workbench.open_run("pixelcnn").view()]) == []
    titles = [s.title for s in codes.latent_sections([workbench.open_run("autoencoder").view()])]
    assert titles == ["Reconstructions", "Codes"]
    titles = [s.title for s in codes.latent_sections([workbench.open_run("vae").view()])]
    assert titles == ["Reconstructions", "Codes", "The latent plane"]


def test_images_come_before_tables(home):
    for name in ("gan", "vae", "pixelcnn"):
        run = workbench.open_run(name)
        run.evaluate(limit=60)
        page = run.report().read_text("utf-8")
        assert page.index("<img") < page.index("<table")
        assert page.index(">Samples<") < page.index(">Likelihood<") < page.index(">Configuration<")


def test_a_comparison_begins_with_a_row_of_samples_of_each_model(home):
    path, _ = workbench.compare(["pixelcnn", "autoencoder", "vae", "gan"], introduction="Four of them.")
    page = path.read_text("utf-8")
    first = re.search(r"<section.*?</section>", page, re.DOTALL)[0]
    assert re.findall(r"<figcaption>(\S+)", first) == ["data:", "pixelcnn:", "vae:", "gan:"]
    assert first.index("Four of them.") < first.index("<img")
    sizes = {tuple(map(int, size)) for size in re.findall(r'width="(\d+)" height="(\d+)"', first)}
    assert len(sizes) == 1  # one row each
    ((width, height),) = sizes
    assert width > 8 * height
    assert "<table" in page
    assert page.index("<table") > page.index(first) + len(first)


def test_nothing_is_scrolled_sideways_and_a_cell_knows_its_column(home):
    """On a narrow screen a table's rows become cards; navigation wraps."""
    run = workbench.open_run("gan")
    run.evaluate(limit=60)
    page = run.report().read_text("utf-8")
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    for rule in re.findall(r"([^{}]*)\{([^{}]*)\}", style):
        assert "overflow-x" not in rule[1] or rule[0].strip() == "pre"
    assert re.search(r"nav ul \{[^}]*flex-wrap: wrap", style)
    assert re.search(r"max-width: 44rem\) \{.*content: attr\(data-column\)", style, re.DOTALL)
    header = re.findall(r'<th scope="col"[^>]*>([^<]+)<', page)
    assert re.findall(r'<td[^>]*data-column="([^"]+)"', page)[: len(header) - 1] == header[1:]
