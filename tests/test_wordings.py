"""What is said where a number, a name or a reason decides the words."""

import numpy as np
import pytest
import torch

from limner import display, workbench
from limner.data import ImageSet, MemoryStore, Split
from limner.data.layout import arrange
from limner.data.splitting import doubles
from limner.errors import LimnerError, counted
from limner.reports.grids import grid
from limner.reports.metrics import validation_note
from limner.training.loop import Progress


def test_numbers_agree_with_their_nouns():
    assert [counted(n, "file") for n in (0, 1, 2000)] == ["0 files", "1 file", "2,000 files"]
    assert counted(1, "class", "classes") == "1 class"
    assert counted(2, "class", "classes") == "2 classes"
    (one,) = arrange(["a.png", "b.txt"], {".png"}).notes
    assert one == "1 file that is no image was ignored (1 .txt)"
    (two,) = arrange(["a.png", "b.txt", "c"], {".png"}).notes
    assert two.startswith("2 files that are no images were ignored")
    assert doubles({"train": [b"a"], "test": [b"a"]}) == ["1 image of test is also in train, pixel for pixel"]


def test_the_images_that_chose_the_weights_are_counted(home):
    view = workbench.open_run("vae").view()  # validation_images=100 of 250
    (note,) = validation_note(view)
    assert note.text.startswith("Best on the first 100 of 250 images of the validation split: ≤ ")

    def with_validation(n):
        image = torch.zeros(8, 1, 8, 8, dtype=torch.uint8)
        splits = {"train": Split(MemoryStore(image)), "validation": Split(MemoryStore(image[:n]))}
        (note,) = validation_note(
            type(view)(
                view.name,
                view.folder,
                view.config,
                view.model,
                ImageSet("x", (1, 8, 8), 17, splits | {"test": splits["train"]}),
            )
        )
        return note.text

    assert with_validation(5).startswith("Best on all 5 images of the validation split: ")
    assert with_validation(1).startswith("Best on 1 image of the validation split: ")


def test_a_player_and_its_figures_are_named(capfd):
    with display.training("net", 64, None) as tell:
        tell(Progress(1, 9, 0.1, 9.0, 100.0, {}, {"accuracy": 0.98, "distance": 8.91}))
    assert "validation D accuracy 0.98 · Fréchet distance of samples 8.91" in capfd.readouterr().err


def test_changed_data_is_said_in_words(home):
    config = workbench.open_run("vae").config.data
    other = type(config)(config.source, (1, 8, 8), 17, {"train": 1298, "validation": 250, "test": 249})
    with pytest.raises(LimnerError) as said:
        other.load()
    grey = "8×8 (width × height), grey; train"
    assert str(said.value) == (
        f"digits has changed since the run began: {grey} 1,297, validation 250, test 250 "
        f"instead of {grey} 1,298, validation 250, test 249"
    )


def test_what_is_no_tensor_is_called_by_its_type(home):
    array = np.zeros((1, 1, 8, 8), np.uint8)
    model = workbench.open_run("pixelcnn").model
    with pytest.raises(LimnerError, match=r"torch tensor uint8 .*, not ndarray"):
        model.checked_levels(array)
    with pytest.raises(LimnerError, match=r"torch tensor uint8 .*, not torch.float32"):
        model.checked_levels(torch.zeros(1, 1, 8, 8))
    with pytest.raises(LimnerError, match=r"not of shape \(8, 8\)"):
        grid(torch.zeros(8, 8, dtype=torch.uint8))


def test_a_bound_of_nats_is_said_as_an_upper_one(home, limner):
    said = limner("evaluate", "vae", "--limit", "9", "--importance-samples", "3").out
    record = limner("evaluate", "vae", "--limit", "9", "--importance-samples", "3", "--json").record
    assert f"by the ELBO (K = 1) ≤ {record['elbo_nats_per_image']:.3f} nats" in said
    assert record["nats_per_image"] < record["elbo_nats_per_image"]


def test_images_of_another_kind_are_described_in_the_order_of_the_command_line(home, refused):
    assert "was trained on images of 8×8 (width × height), grey, 17 levels; " in refused(
        "evaluate", "pixelcnn", "--data", _wide(home)
    )
    assert "has 9×7 (width × height), grey, 256 levels: give images like its own" in refused(
        "evaluate", "pixelcnn", "--data", _wide(home)
    )


def _wide(home):
    np.save(home / "wide.npy", np.random.default_rng(0).integers(0, 256, (40, 7, 9), dtype=np.uint8))
    return home / "wide.npy"
