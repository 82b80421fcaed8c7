"""Points of a plane, coloured by class."""

import numpy as np
import torch

from limner.reports import draw

BLUE, ORANGE = (31, 119, 180), (255, 127, 14)  # the first two of matplotlib's ten


def places(image, colour):
    """Where a colour is, (row, column) as shares of the image; the legend at the right left out."""
    pixels = np.asarray(image).astype(int)[:, : int(0.92 * image.width)]
    rows, columns = np.nonzero((abs(pixels - colour) < 12).all(2))
    return rows / image.height, columns / image.width


def test_each_class_has_its_colour_and_its_place():
    points = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(200, 1)
    labels = torch.tensor([3, 5]).repeat(200)
    image = draw.scatter(points, labels, ("a", "b", "c", "d"), xlabel="x", ylabel="y")
    below, left = places(image, BLUE)
    above, right = places(image, ORANGE)
    assert 10 < len(left) < 1000
    assert left.max() < 0.5 < right.min()
    assert above.max() < 0.5 < below.min()


def test_without_labels_all_are_alike_and_nothing_is_named():
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    image = draw.scatter(points, xlabel="x", ylabel="y")
    assert len(places(image, BLUE)[0]) > 1000
    assert len(places(image, ORANGE)[0]) == 0
    named = draw.scatter(points, torch.zeros(300, dtype=torch.int64), ("$x_1$",), xlabel="x", ylabel="y")
    assert named.size == image.size
    assert named != image


def test_the_same_points_give_the_same_image():
    points = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(50) % 25  # more classes than are named
    one, two = (draw.scatter(points, labels, xlabel="x", ylabel="y") for _ in range(2))
    assert one == two
