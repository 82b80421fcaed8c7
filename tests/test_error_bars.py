import io
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from limner.reports.plots import error_bars, inline_svg

SERIES = {"frozen": [(1, 40.0, 5.0), (10, 80.0, 2.0), (100, 90.0, 0.5)], "_pixels": [(10, 70.0, 0.0), (1, 35.0, 4.0)]}


def drawn(**words):
    return error_bars(SERIES, xlabel="labels", ylabel="%", **words)


def test_it_is_a_drawing_for_a_page():
    svg = drawn()
    assert b"currentColor" in svg
    page = inline_svg(svg, "plot0", "accuracies")
    assert page.startswith("<svg")
    assert 'aria-label="accuracies"' in page


def bars(series):
    """Heights in the drawing of the error bars of the only name in ``series``, by their order on the page."""
    root = ElementTree.fromstring(error_bars(series, xlabel="x", ylabel="y"))
    group = next(g for g in root.iter() if g.get("id", "").startswith("LineCollection"))  # the next is the legend's
    heights = []
    for path in group:
        if path.get("d"):
            numbers = [float(word) for word in path.get("d").split() if word not in ("M", "L")]
            heights.append(abs(numbers[1] - numbers[3]))
    return heights


def test_bars_are_as_long_as_the_deviations():
    heights = bars({"a": [(100, 90.0, 1.0), (1, 40.0, 4.0), (10, 60.0, 2.0)]})
    assert len(heights) == 3
    assert heights[0] / heights[1] == pytest.approx(2.0, rel=1e-3)  # in the order of x
    assert heights[1] / heights[2] == pytest.approx(2.0, rel=1e-3)


def test_a_png_is_on_white_paper():
    with Image.open(io.BytesIO(drawn(png=True))) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert image.format == "PNG"
    assert (pixels[0, 0] == 255).all()
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20
