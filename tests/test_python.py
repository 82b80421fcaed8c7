"""limner as a library: arrays in and out, runs in a notebook, and errors in the words of Python."""

import base64
import io
import re
import sys
import types

import numpy as np
import pytest
import torch
from PIL import Image

import limner as face
from limner import LimnerError, workbench
from limner.display import console, stages
from limner.errors import command, on_command_line, option, setting
from limner.files import read_json_lines

ARRAY = np.random.default_rng(0).integers(0, 2, (60, 8, 8))
LABELS = np.arange(60) % 2


@pytest.fixture(scope="module")
def own(tmp_path_factory, tiny):
    """A run that was trained on an array with labels, one epoch."""
    runs = tmp_path_factory.mktemp("own")
    return face.train("vae", (ARRAY, LABELS), name="own", runs=runs, epochs=1, settings=tiny["vae"])


@pytest.fixture(scope="module")
def digits():
    return workbench.load_data("digits")


@pytest.fixture
def run(trained):
    return lambda name: workbench.open_run(trained / name)


def test_every_form_of_the_same_images_scores_the_same(run, digits, tmp_path):
    vae, test = run("vae"), digits.split("test").first(5)
    wanted = vae.log_prob(test)
    assert wanted.shape == (5,)
    arrays = [
        test.numpy(),
        test[:, 0].numpy(),
        test.permute(0, 2, 3, 1).numpy(),
        test / 255,
        test.double().numpy() / 255,
    ]
    pillow = [Image.fromarray(image[0].numpy()) for image in test]
    for i, image in enumerate(pillow):
        image.save(tmp_path / f"{i}.png")
    lists = [list(test), list(test[:, 0].numpy()), pillow, [tmp_path / f"{i}.png" for i in range(5)]]
    lists += [[f"test:{i}" for i in range(5)], [(image, 3) for image in test], (test, [0] * 5)]
    for given in (*arrays, *lists):
        assert torch.equal(vae.log_prob(given), wanted)
    assert torch.equal(vae.log_prob("test:0"), vae.log_prob(test[0]))
    assert torch.equal(vae.log_prob(pillow[0]), vae.log_prob(test[0, 0].numpy()))


def test_a_run_encodes_decodes_and_walks(run, digits):
    images = digits.split("test").first(4)
    for name in ("vae", "autoencoder"):
        opened = run(name)
        codes = opened.encode(images[:, 0].numpy())
        assert torch.equal(codes, opened.model.encode(images))
        back = opened.decode(codes.numpy())
        assert back.numpy().dtype == np.uint8
        assert torch.equal(back, opened.reconstruct(images.numpy()))
        assert torch.equal(opened.decode(codes[1]), back[1:2])
        walk = opened.interpolate(images[0].numpy(), images[1], steps=5)
        assert torch.equal(walk[[0, -1]], back[:2])
    assert torch.equal(run("vae").interpolate(steps=3, seed=1), run("vae").interpolate(steps=3, seed=1))
    assert run("gan").decode(np.zeros((2, run("gan").model.config.latent))).shape == (2, 1, 8, 8)


def test_many_images_are_scored_in_parts(run, digits):
    """251 images and one: the network sees no more than a batch at once."""
    images, seen = digits.split("train").first(251), []
    opened = run("pixelcnn")
    inner = opened.model.log_prob

    def watched(part, **more):
        seen.append(len(part))
        return inner(part, **more)

    opened.model.log_prob = watched
    assert torch.allclose(opened.log_prob(images)[-1:], inner(images[-1:]), atol=1e-4)
    assert seen == [250, 1]


def test_completion_takes_arrays(run, digits):
    image = digits.split("test").first(1)[0]
    mask = np.zeros((8, 8), bool)
    mask[4:] = True
    drawn = run("pixelcnn").complete(image[0].numpy() / 255, mask, n=3)
    assert torch.equal(drawn.images, run("pixelcnn").complete("test:0", "bottom-half", n=3).images)
    assert torch.equal(drawn.images[:, 0, :4], image[0, :4].expand(3, -1, -1))


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda r: r("vae").log_prob(np.zeros((2, 9, 9))), r"\(2, 9, 9\): .*1×8×8.* \(B, 8, 8, 1\)"),
        (lambda r: r("vae").log_prob(np.full((8, 8), 3, np.uint8)), "pixel value 3 is none of the 17 levels"),
        (lambda r: r("vae").log_prob(np.full((8, 8), 3.0)), "fractions must lie in 0..1, not 3..3"),
        (lambda r: r("vae").log_prob([]), "give images as an array, a tensor or a list with one at least"),
        (lambda r: r("vae").log_prob(3), "give images as an array.*not int"),
        (lambda r: r("gan").log_prob(np.zeros((8, 8))), "a gan has no likelihood"),
        (lambda r: r("pixelcnn").encode(np.zeros((8, 8))), "a pixelcnn has no encoder"),
        (lambda r: r("pixelcnn").decode(np.zeros((1, 2))), "a pixelcnn has no latents to decode"),
        (lambda r: r("vae").decode(np.zeros((1, 99))), r"codes of run 'vae' are \(B, \d+\), not \(1, 99\)"),
        (lambda r: r("autoencoder").decode(np.zeros((1, 99))), r"codes of run 'autoencoder' are \(B, \d+\)"),
        (lambda r: r("autoencoder").interpolate(), "an autoencoder has no prior to draw from: give two images"),
        (lambda r: r("vae").interpolate(np.zeros((8, 8))), "interpolate goes between 2 images, not 1"),
        (lambda r: r("vae").encode(np.zeros((8, 8)), label=1), "label 1: .* trained without conditional=True"),
        (lambda r: r("pixelcnn").complete(np.zeros((2, 8, 8)), "top-half"), "holds 2 images where one is wanted"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_line(run, ask, said):
    with pytest.raises(LimnerError, match=said):
        ask(run)


def test_a_run_goes_on_when_it_is_given_its_images_again(own, tmp_path, tiny, refused):
    lines = (own.folder / "metrics.jsonl", own.folder / "config.toml")
    before = [path.read_bytes() for path in lines]
    there = own.folder
    for given, said in (
        (None, r"handed over in Python, so give them again: limner.open_run\(RUN, data=images\) or limner.resume"),
        ((1 - ARRAY, LABELS), "arrays has other images than the run was trained on: as many images, but others"),
        ((ARRAY[:50], LABELS[:50]), "train 40, validation 5, test 5 instead of .*train 48"),
        ((ARRAY, 1 - LABELS), r"labels: the run was trained with, and these images have others: give data=\(images"),
        (ARRAY, "labels: the run was trained with, and these images have none"),
        ("digits", "digits has other images than the run was trained on"),
    ):
        with pytest.raises(LimnerError, match=said):
            face.resume(there, epochs=2, data=given)
    assert [path.read_bytes() for path in lines] == before
    twin = face.train("vae", (ARRAY, LABELS), name="twin", runs=tmp_path, epochs=2, settings=tiny["vae"])
    longer = face.resume(there, epochs=2, data=(torch.from_numpy(ARRAY).flip(0), LABELS[::-1].tolist()))
    assert longer.outcome.step == twin.outcome.step == 2
    images = torch.from_numpy(ARRAY * 255).byte()
    assert torch.equal(longer.log_prob(images), face.open_run(there).log_prob(images))
    with pytest.raises(LimnerError, match="handed over in Python"):
        face.open_run(there).evaluate()
    assert "handed over in Python" in refused("evaluate", there)
    assert face.open_run(there, data=(ARRAY, LABELS)).evaluate()["data"] == longer.config.data.source
    other = workbench.load_data(1 - ARRAY)
    assert face.open_run(there).evaluate(other)["data"] != longer.config.data.source  # its figures are not the run's
    assert read_json_lines(there / "evaluations.jsonl")[0]["data"] == longer.config.data.source


def test_a_conditional_run_of_an_array(tmp_path, tiny):
    """Of 0 to 1 where the images say it: encoded as the class that is told, decoded as that."""
    settings = dict(text.split("=") for text in tiny["vae"] if text.split("=")[0] in ("network", "hidden"))
    settings = {key: int(value) if value.isdecimal() else value for key, value in settings.items()}
    run = face.train("vae", (ARRAY, LABELS), runs=tmp_path, epochs=1, conditional=True, settings=settings)
    images = torch.from_numpy(ARRAY[:3] * 255).byte()[:, None]
    labels = torch.tensor([1, 0, 1])
    codes = run.encode(ARRAY[:3], labels)
    assert torch.equal(codes, run.model.encode(images, labels))
    assert torch.equal(run.decode(codes, [1, 0, 1]), run.model.decode(codes, labels))
    assert torch.equal(run.encode(ARRAY[:3]), run.model.encode(images, run.model.likeliest(images)))
    for ask, said in (
        (lambda: run.decode(codes), "decodes codes of a class: say which with label"),
        (lambda: run.encode(ARRAY[:3], [0, 1]), "label must be a class, or one for each of 3 images"),
        (lambda: run.encode(ARRAY[:3], 2), "label 2: the classes of run .* are 0 to 1"),
        (lambda: run.interpolate(ARRAY[0], ARRAY[1], label=5), "label 5"),
    ):
        with pytest.raises(LimnerError, match=said):
            ask()
    with pytest.raises(LimnerError, match="conditional=True: arrays has no labels"):
        face.train("vae", ARRAY, runs=tmp_path, conditional=True)


def test_settings_are_a_mapping_or_texts():
    from limner.config.settings import with_settings
    from limner.models import family

    recipe = family("vae").recipe("default", (1, 8, 8))
    texts = with_settings(recipe, ["latent=3", "network=dense", "learning_rate=1e-3"])
    assert with_settings(recipe, {"latent": 3, "network": "dense", "learning_rate": 1e-3}) == texts
    assert with_settings(recipe, "latent=3").network.latent == 3
    for wrong, said in (
        ({"latnt": 3}, "settings latnt=3: unknown key 'latnt'"),
        ({"latent": 0.5}, "settings latent=0.5: must"),
    ):
        with pytest.raises(LimnerError, match=said):
            with_settings(recipe, wrong)


def test_a_run_shows_itself(own, run, trained):
    text = repr(run("vae"))
    assert re.fullmatch(
        r"Run\('vae': vae on digits, 8×8 \(width × height\), grey, 17 levels, step \d+, finished\)", text
    )
    html = run("vae")._repr_html_()
    assert "validation: −ln p ≤ " in html
    (png,) = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    with Image.open(io.BytesIO(base64.b64decode(png))) as shown:
        assert shown.format == "PNG"
        assert max(shown.size) <= 480
    assert "validation: −ln p " in run("pixelcnn")._repr_html_()
    assert "≤" not in run("pixelcnn")._repr_html_()
    assert "<img" in run("gan")._repr_html_()
    assert "<img" not in run("autoencoder")._repr_html_()


def test_a_damaged_run_still_shows_itself(tmp_path, own):
    folder = tmp_path / "bad"
    (folder / "samples").mkdir(parents=True)
    (folder / "samples" / "000001.png").write_bytes(b"no image")
    (folder / "state.json").write_text("{")
    workbench.Run(folder, own.config).config.write(folder)
    bad = workbench.open_run(folder)
    assert "unreadable" in repr(bad)
    assert "<img" not in bad._repr_html_()


@pytest.mark.parametrize(
    ("ask", "python", "shell"),
    [
        (lambda: face.train("vae", "digits", minutes=1, epochs=1), "minutes or epochs,", "--minutes or --epochs,"),
        (lambda: face.train("vae", "digits", minutes=-1), "^minutes must be", "^--minutes must be"),
        (lambda: face.train("vae", settings=["x"]), 'settings x: .*in settings={"learning_rate": 0.001}', "--set x: "),
        (lambda: face.train("vae", recipe="x"), "^recipe='x': vae has", "^--recipe x: vae has"),
        (lambda: face.train("autoencoder", conditional=True), "^conditional=True: an auto", "^--conditional: an auto"),
    ],
)  # fmt: skip
def test_errors_speak_of_what_the_caller_wrote(ask, python, shell):
    with pytest.raises(LimnerError, match=python) as caught:
        ask()
    assert "--" not in str(caught.value)
    with on_command_line(), pytest.raises(LimnerError, match=shell):
        ask()


def test_the_words_of_both():
    assert [option("size", (64, 64)), option("importance_samples"), setting("latent", "2")] == [
        "size=(64, 64)", "importance_samples", 'settings={"latent": 2}',
    ]  # fmt: skip
    assert command("resume", "mine", epochs=2) == "limner.resume('mine', epochs=2)"
    with on_command_line():
        assert [option("size", (64, 64)), option("size", (2, 3)), option("importance_samples", 5)] == [
            "--size 64", "--size 3x2", "--importance-samples 5",
        ]  # fmt: skip
        assert setting("latent", "2") == "--set latent=2"
        assert command("resume", "mine", epochs=2) == "limner resume mine --epochs 2"


class Notebook:
    """What IPython offers of a cell's output."""

    def __init__(self):
        self.texts = []

    def display(self, data, raw, display_id):
        assert raw
        assert display_id
        self.update(data, raw)
        return self

    def update(self, data, raw):
        self.texts.append(data["text/plain"])


def test_progress_shows_in_a_notebook(monkeypatch):
    notebook, clock = Notebook(), iter(np.arange(0, 100, 0.3))
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=notebook.display))
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("limner.display.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    with stages(None) as progress:
        for i in range(1, 6):
            progress("reading", i, 5)
    first, *shown, last = notebook.texts
    assert (first, last) == ("", "")
    assert [re.findall(r"reading .*?(\d)/5", text) for text in shown] == [["2"], ["4"]]  # twice a second at most
    notebook.texts.clear()
    with stages(True) as progress:
        progress("reading", 1, 5)
    assert notebook.texts == []


@pytest.mark.parametrize(("terminal", "quiet"), [(True, False), (False, True)])
def test_progress_shows_where_a_person_watches(monkeypatch, terminal, quiet):
    monkeypatch.setattr("rich.console.Console.is_terminal", terminal)
    assert console(None).quiet == quiet
    assert not console(False).quiet
    assert console(True).quiet


def test_public_names():
    assert {"Images", "from_arrays", "load_data", "resume", "train"} <= set(face.__all__)
    assert all(getattr(face, name) is not None for name in face.__all__)
