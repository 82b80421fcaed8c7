import math
import os
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from limner import files
from limner.errors import LimnerError
from limner.reports.draw import class_sheet, contact_sheet, curves, first_columns, grid, pairs, save_png, strip
from limner.reports.grids import png_bytes
from limner.reports.plots import _limits, _thinned, inline_svg

GAP = 128


def some(n, c=1, h=4, w=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, c, h, w), generator=generator, dtype=torch.uint8)


def expected(images, columns, gap, scale):
    """The sheet pixel by pixel, the slow way."""
    n, c, h, w = images.shape
    rows = -(-n // columns)
    height, width = scale * (rows * (h + gap) + gap), scale * (columns * (w + gap) + gap)
    sheet = np.full((height, width, c), GAP, dtype=np.uint8)
    for y in range(height):
        for x in range(width):
            i, v = divmod(y // scale - gap, h + gap)
            j, u = divmod(x // scale - gap, w + gap)
            k = i * columns + j
            if i >= 0 and j >= 0 and v < h and u < w and k < n:
                sheet[y, x] = images[k, :, v, u].numpy()
    return sheet[..., 0] if c == 1 else sheet


@pytest.mark.parametrize("c", [1, 3])
@pytest.mark.parametrize(("n", "columns"), [(1, 1), (6, 3), (7, 3), (2, 5)])
@pytest.mark.parametrize(("gap", "scale"), [(0, 1), (1, 1), (1, 3), (2, 2)])
def test_grid_puts_every_pixel_in_its_place(c, n, columns, gap, scale):
    images = some(n, c, 3, 5)
    sheet = grid(images, columns=columns, gap=gap, scale=scale)
    assert sheet.mode == ("L" if c == 1 else "RGB")
    assert np.array_equal(np.asarray(sheet), expected(images, columns, gap, scale))


@pytest.mark.parametrize("n", [1, 2, 5, 12, 36, 64, 100])
@pytest.mark.parametrize("side", [8, 28, 32, 64])
def test_grid_is_comfortable_and_rather_wide(n, side):
    sheet = grid(some(n, 1, side, side))
    assert sheet.width >= sheet.height
    columns = n if n < 6 else math.ceil(math.sqrt(n))
    scale, rest = divmod(sheet.width, columns * (side + 1) + 1)
    assert rest == 0
    assert 48 <= scale * side <= 128
    assert max(sheet.size) <= 1200


def test_many_or_large_images_are_not_enlarged():
    assert grid(some(2, 3, 256, 256)).size == (2 * 257 + 1, 257 + 1)
    assert grid(some(4, 1, 700, 700)).size == (1403, 1403)  # past 1200, but never shrunk


def test_flat_images_make_few_columns():
    assert grid(some(9, 1, 2, 18), scale=1, gap=0).size == (18, 18)


def test_grid_takes_any_memory_layout():
    images = some(4, 3).permute(0, 1, 3, 2)
    assert np.array_equal(np.asarray(grid(images)), np.asarray(grid(images.contiguous())))


def test_grid_takes_arrays():
    grey, colour = some(4, 1), some(4, 3)
    arrays = [grey.numpy(), grey[:, 0].numpy(), grey.permute(0, 2, 3, 1).numpy()]
    assert all(grid(array).tobytes() == grid(grey).tobytes() for array in arrays)
    assert grid(colour.permute(0, 2, 3, 1).numpy()).tobytes() == grid(colour).tobytes()
    with pytest.raises(LimnerError, match=r"uint8 .* not float64 \(4, 8, 8\)"):
        grid(np.zeros((4, 8, 8)))


@pytest.mark.parametrize(
    "images",
    [torch.zeros(4, 1, 8, 8), some(4)[0], some(4, 2), some(4, 4), some(0), some(4)[:, :, :0]],
    ids=["float", "three axes", "two channels", "four channels", "none", "no height"],
)
def test_wrong_images_are_refused(images):
    with pytest.raises(LimnerError, match="uint8"):
        grid(images)


@pytest.mark.parametrize("bad", [{"columns": 0}, {"gap": -1}, {"scale": 0}])
def test_wrong_numbers_are_refused(bad):
    with pytest.raises(LimnerError, match="needs"):
        grid(some(4), **bad)


@pytest.mark.parametrize("scale", [1, 3, 10])
@pytest.mark.parametrize("columns", [1, 2, 4])
def test_first_columns_of_a_grid(columns, scale):
    images = some(12, 1, 5, 8)
    sheet = grid(images, columns=4, scale=scale)
    kept = first_columns(sheet, (5, 8), columns, scale=scale)
    chosen = images.view(3, 4, 1, 5, 8)[:, :columns].flatten(0, 1)
    assert kept.tobytes() == grid(chosen, columns=columns, scale=scale).tobytes()
    small = first_columns(sheet, (5, 8), columns, scale=2)
    assert small.tobytes() == grid(chosen, columns=columns, scale=2).tobytes()


def test_first_columns_of_a_strange_sheet_are_all():
    sheet = grid(some(4, 1, 5, 8), columns=2, scale=3)
    assert first_columns(sheet, (7, 7), 1, scale=3).size == sheet.size
    assert first_columns(sheet, (5, 8), 9, scale=3).size == sheet.size


def test_pairs_alternate_and_bands_stand_apart():
    a, b = some(11, 1, 3, 2, seed=1), some(11, 1, 3, 2, seed=2)
    sheet = np.asarray(pairs(a, b, scale=1))
    first = expected(torch.cat([a[:6], b[:6]]), 6, 1, 1)
    assert np.array_equal(sheet[:9], first)
    assert (sheet[9] == GAP).all()
    # the second band holds five images a row, so its rows have an empty place
    assert np.array_equal(sheet[11:14, 1:3], a[6, 0].numpy())
    assert np.array_equal(sheet[11:14, 4:6], a[7, 0].numpy())
    assert np.array_equal(sheet[15:18, 1:3], b[6, 0].numpy())
    assert (sheet[11:18, 16:] == GAP).all()
    assert sheet.shape == (19, 19)


@pytest.mark.parametrize("n", [2, 4, 6, 10, 12, 16, 18, 30, 64, 70, 96, 100, 160])
def test_sheets_have_no_holes(n):
    white = torch.full((n, 1, 8, 8), 255, dtype=torch.uint8)
    for sheet in (grid(white, scale=1), pairs(white, scale=1), class_sheet(white, torch.arange(n) % 2)):
        images = np.asarray(sheet)[:, int(sheet.info.get("limner-margin", 0)) :] == 255
        rows, columns = images.any(1), images.any(0)
        assert images[np.ix_(rows, columns)].all()


@pytest.mark.parametrize(("each", "wide"), [(1, 1), (7, 7), (16, 16), (32, 16), (18, 9), (33, 11)])
def test_a_class_sheet_has_the_names_beside_their_rows(each, wide):
    images, labels = some(2 * each, 3, 14, 14), torch.arange(2 * each) % 2
    sheet = class_sheet(images, labels, ("left", "right"))
    rows = 2 * each // wide
    body = expected(torch.cat([images[labels == k] for k in (0, 1)]), wide, 1, 1)
    assert np.array_equal(np.asarray(first_columns(sheet, (14, 14), wide, scale=1)), body)
    left = int(sheet.info["limner-margin"])
    scale = (sheet.width - left) // (wide * 15 + 1)
    names = np.asarray(sheet.convert("L"))[:, :left]
    ink = [(names[scale * (15 * i + 1) : scale * (15 * i + 15)] < 60).any() for i in range(rows)]
    assert [i for i, one in enumerate(ink) if one] == [0, rows // 2]


def test_the_margin_of_names_is_kept_in_the_file(tmp_path):
    sheet = class_sheet(some(8, 1, 5, 8), torch.arange(8) % 2, ("a", "b"))
    save_png(sheet, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as again:
        assert first_columns(again, (5, 8), 2, scale=1).tobytes() == first_columns(sheet, (5, 8), 2, scale=1).tobytes()
    assert class_sheet(some(6), None).tobytes() == grid(some(6)).tobytes()


def test_pairs_take_more_than_two_sets():
    a, b, c = (some(2, 3, seed=k) for k in range(3))
    sheet = np.asarray(pairs(a, b, c, scale=1))
    assert np.array_equal(sheet, expected(torch.cat([a, b, c]), 2, 1, 1))


def test_pairs_must_match():
    with pytest.raises(LimnerError, match="agree"):
        pairs(some(3), some(2))


def test_contact_sheet_without_labels_is_a_grid():
    images = some(7)
    assert np.array_equal(np.asarray(contact_sheet(images)), np.asarray(grid(images)))


def test_contact_sheet_has_a_named_row_a_class():
    images, labels = some(6, 1, 8, 8), torch.tensor([2, 0, 2, 2, 0, 7])
    sheet = np.asarray(contact_sheet(images, labels, ("zero", "one", "two"), columns=2))
    s = 16  # enlargement
    body = expected(images[[1, 4, 0, 2]], 2, 1, s)  # class 1 has no image, the third of class 2 is left out
    margin = sheet.shape[1] - body.shape[1]
    assert np.array_equal(sheet[: body.shape[0], margin:], body)
    last = images[5, 0].numpy().repeat(s, 0).repeat(s, 1)
    assert np.array_equal(sheet[19 * s : 27 * s, margin + s : margin + 9 * s], last)
    names = sheet[:, :margin]
    for i in range(3):
        assert (names[(9 * i + 1) * s : (9 * i + 9) * s] < 60).any()  # ink beside every row
    assert sheet.shape[0] == 28 * s


def test_contact_sheet_says_how_many_classes_are_missing():
    images, labels = some(30, 3, 8, 8), torch.arange(30)
    few, all_of_them = contact_sheet(images, labels, rows=5), contact_sheet(images, labels, rows=30)
    assert few.mode == "RGB"
    assert few.height == 13 * (5 * 9 + 1) + 26
    assert all_of_them.height == 4 * (30 * 9 + 1)


def test_contact_sheet_bears_any_name():
    names = ("Привет", "x" * 500, "", "two\nlines", "猫", "Ω ≤ 3")
    sheet = contact_sheet(some(6, 1, 1, 1), torch.arange(6), names)
    assert sheet.width < 600


def test_strip_lays_frames_side_by_side():
    frames = [grid(some(4)), grid(some(4, 3, 5, 5))]
    sheet = strip(frames, ["epoch 1", "epoch 2"], space=4)
    assert sheet.mode == "RGB"
    assert sheet.width == frames[0].width + frames[1].width + 4
    assert np.array_equal(np.asarray(sheet)[: frames[1].height, frames[0].width + 4 :], np.asarray(frames[1]))
    assert strip(frames[:1]).size == frames[0].size


# Curves


def falling(n, start=500.0, end=90.0):
    return [(float(k), end + start * math.exp(-40 * k / n)) for k in range(n)]


def test_curves_are_svg_that_takes_the_colour_of_the_page():
    svg = curves({"a & <b>": falling(50), "_c $x$": [(0, 1)]}, xlabel="steps", ylabel="nats")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert b"currentColor" in svg
    assert b"#0a0b0c" not in svg
    assert b"<!DOCTYPE" not in svg
    assert b"<metadata" not in svg


@pytest.mark.parametrize(
    "series", [{}, {"a": []}, {"a": [(0, math.nan)]}, {"a": [(3, 2.0)]}, {"a": [(0, math.inf), (1, 2)]}]
)
def test_curves_bear_little_or_nothing(series):
    assert curves(series, xlabel="x", ylabel="y").startswith(b"<svg")


def test_curves_leave_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    curves({"a": falling(20)}, xlabel="x", ylabel="y")
    assert dict(matplotlib.rcParams) == before


def test_an_early_outlier_does_not_squash_the_rest():
    low, high, beyond = _limits([np.array(falling(100))])
    assert low < 90
    assert 91 < high < 110
    assert beyond > 0


def test_a_late_explosion_is_shown():
    points = np.array([*falling(100), (100, 5000.0)])
    _, high, _ = _limits([points])
    assert high > 5000


def test_every_curve_counts_alike():
    dense, sparse = np.array([(k, 80.0) for k in range(1000)]), np.array([(k * 100, 95.0 + k) for k in range(10)])
    low, high, beyond = _limits([dense, sparse])
    assert low < 80
    assert high > 104
    assert beyond == 0


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0])
def test_a_flat_curve_has_a_range(value):
    low, high, _ = _limits([np.array([(0, value), (1, value)])])
    assert low < value < high


def test_thinning_keeps_the_peaks():
    points = np.array([(k, math.sin(k)) for k in range(20_000)])
    points[7777, 1], points[9999, 1], points[:100, 1] = 50, -50, np.nan
    few = _thinned(points)
    assert len(few) <= 1000
    assert (np.diff(few[:, 0]) > 0).all()
    assert np.nanmax(few[:, 1]) == 50
    assert np.nanmin(few[:, 1]) == -50
    assert len(_thinned(points[:10])) == 10


def test_inline_svg_has_its_own_ids_and_no_namespace():
    svg = curves({"a": falling(20)}, xlabel="x", ylabel="y")
    text = inline_svg(svg, "p1", 'loss of "a" <b>')
    root = ElementTree.fromstring(text)
    assert root.tag == "svg"
    assert root.get("aria-label") == 'loss of "a" <b>'
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert all(name.startswith("p1-") for name in ids)
    targets = {e.get("href")[1:] for e in root.iter() if e.get("href")}
    assert targets
    assert targets <= set(ids)
    clips = {e.get("clip-path")[5:-1] for e in root.iter() if e.get("clip-path")}
    assert clips
    assert clips <= set(ids)
    assert "http" not in text
    assert text == inline_svg(curves({"a": falling(20)}, xlabel="x", ylabel="y"), "p1", 'loss of "a" <b>')


# Files


def test_png_keeps_every_pixel(tmp_path):
    for sheet in (grid(some(5)), grid(some(5, 3))):
        save_png(sheet, tmp_path / "a.png")
        with Image.open(tmp_path / "a.png") as back:
            assert back.mode == sheet.mode
            assert np.array_equal(np.asarray(back), np.asarray(sheet))
        assert (tmp_path / "a.png").read_bytes() == png_bytes(sheet)
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "interrupt"]
)
def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch, step, error):
    path = tmp_path / "a.png"
    files.write_bytes(path, b"old")

    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(os, step, fail)
        with pytest.raises((LimnerError, KeyboardInterrupt)) as caught:
            save_png(grid(some(4)), path)
    if isinstance(error, OSError):
        assert str(caught.value) == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]
