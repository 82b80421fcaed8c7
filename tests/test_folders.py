"""``limner train pixelcnn --data FOLDER`` on anybody's images, unchanged."""

import numpy as np
import pytest
from PIL import Image

from limner import cli
from limner.runs import list_runs

TINY = [
    "--epochs",
    "1",
    "--quiet",
    "--set",
    "features=6",
    "blocks=1",
    "head_features=6",
    "sample_images=2",
    "batch_size=8",
]


def drawing(rng, width, height, channels):
    """A bright disc on a dark ground, or the other way round."""
    y, x = np.mgrid[:height, :width]
    disc = (x - rng.uniform(0, width)) ** 2 + (y - rng.uniform(0, height)) ** 2 < (min(width, height) / 3) ** 2
    colour, ground = rng.integers(0, 256, (2, channels))
    return np.where(disc[..., None], colour, ground).astype(np.uint8)


def grey_pngs(folder, rng):
    for i in range(24):
        Image.fromarray(drawing(rng, 20, 28, 1)[..., 0]).save(folder / f"{i}.png")
    return (1, 28, 20)


def colour_jpegs(folder, rng):
    for kind in ("cats", "dogs"):
        (folder / kind).mkdir()
        for i in range(12):
            Image.fromarray(drawing(rng, 32, 32, 3)).save(folder / kind / f"{i}.jpg", quality=90)
    return (3, 32, 32)


def everything_mixed(folder, rng):
    for i in range(12):
        Image.fromarray(drawing(rng, 16, 16, 3)).save(folder / f"rgb{i}.png")
    Image.fromarray(drawing(rng, 40, 20, 1)[..., 0]).save(folder / "grey.png")
    Image.fromarray(drawing(rng, 24, 30, 4)).save(folder / "alpha.png")
    Image.fromarray(drawing(rng, 16, 16, 3)).convert("P").save(folder / "palette.gif")
    Image.fromarray(drawing(rng, 21, 17, 3)).convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(drawing(rng, 16, 9, 1)[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(drawing(rng, 16, 16, 1)[..., 0] > 100).save(folder / "bits.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(drawing(rng, 30, 20, 3)).save(folder / "turned.jpg", exif=turned)
    (folder / "text.png").write_text("not an image")
    whole = (folder / "print.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("ignored")
    return (3, 16, 16)


@pytest.mark.parametrize("make", [grey_pngs, colour_jpegs, everything_mixed])
def test_trains_samples_and_scores(make, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    shape = make(folder, np.random.default_rng(0))
    monkeypatch.setenv("LIMNER_RUNS", str(tmp_path / "runs"))
    cli.main(["train", "pixelcnn", "--data", str(folder), "--name", "mine", *TINY])
    cli.main(["sample", "mine", "-n", "4", "--quiet", "--out", str(tmp_path / "samples.png")])
    cli.main(["evaluate", "mine"])
    out = capsys.readouterr().out
    assert "nats an image" in out
    assert "exact" in out
    with Image.open(tmp_path / "samples.png") as sheet:
        assert sheet.mode == ("L" if shape[0] == 1 else "RGB")
    (row,) = list_runs()
    assert row["status"] == "finished"
    assert row["test_nats"] > 0
    assert (
        f"shape = [\n    {shape[0]},\n    {shape[1]},\n    {shape[2]},"
        in (tmp_path / "runs/mine/config.toml").read_text()
    )


def test_data_names_the_broken_and_draws_the_contact_sheet(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    everything_mixed(folder, np.random.default_rng(0))
    cli.main(["data", str(folder), "--out", str(tmp_path / "sheet.png")])
    out = capsys.readouterr().out
    assert "text.png" in out
    assert "cut.jpg" in out
    assert "crop" in out
    assert Image.open(tmp_path / "sheet.png").size[0] > 16
