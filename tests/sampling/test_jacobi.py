"""The fixed point is the naive sampler's image, in far fewer passes."""

import pytest
import torch

from limner.data import dequantize
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from limner.models.patch_pixelcnn import PatchPixelCNN, PatchPixelCNNConfig
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.sampling import ancestral
from limner.sampling.jacobi import jacobi

CASES = [((1, 7, 5), 2, 0), ((1, 8, 6), 17, 3), ((3, 4, 5), 4, 0), ((1, 1, 4), 3, 0)]


def model_of(kind, shape, levels, classes, std=0.4):
    torch.manual_seed(0)
    sizes = {"features": 12, "blocks": 2, "head_features": 12, "first_kernel": 3, "classes": classes}
    if kind == "gated":
        model = GatedPixelCNN(GatedPixelCNNConfig(**sizes), shape, levels)
    else:
        model = PixelCNN(PixelCNNConfig(**sizes), shape, levels)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.double().eval()


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ["masked", "gated"])
@pytest.mark.parametrize(("shape", "levels", "classes"), CASES)
@pytest.mark.parametrize("window", [1, 3, 100])
def test_equals_naive(kind, shape, levels, classes, window):
    model = model_of(kind, shape, levels, classes)
    naive = model.sample(12, generator=seeded())
    assert naive.float().std() > 0
    assert torch.equal(naive, jacobi(model, 12, generator=seeded(), window=window))


@pytest.mark.parametrize("window", [1, 3, 100])
def test_a_row_of_patches_is_solved_together(window):
    torch.manual_seed(0)
    model = PatchPixelCNN(PatchPixelCNNConfig(features=8, blocks=1, embedding=8, first_kernel=3), (1, 6, 8), 2).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    naive = model.eval().sample(12, generator=seeded())
    seen = []
    drawn = jacobi(model, 12, generator=seeded(), window=window, on_row=lambda row, images: seen.append((row, images)))
    assert torch.equal(naive, drawn)
    for row, images in seen:
        assert torch.equal(images[:, :, : row + 1], naive[:, :, : row + 1])


def test_equals_naive_for_given_labels():
    model = model_of("masked", (1, 6, 5), 2, 3)
    labels = torch.tensor([2, 0, 1, 1, 2, 0])
    naive = model.sample(6, generator=seeded(), labels=labels)
    assert torch.equal(naive, jacobi(model, 6, generator=seeded(), labels=labels))
    assert not torch.equal(naive, jacobi(model, 6, generator=seeded(), labels=labels.flip(0)))


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 3, 4)])
def test_known_pixels_are_kept_and_seen(shape):
    """Every missing value solves its own equation, the given ones in their places."""
    model = model_of("gated", shape, 4, 0)
    images = dequantize(torch.randint(4, (6, *shape), generator=seeded(1)), 4)
    given = torch.rand(6, *shape[1:], generator=seeded(2)) < 0.5
    drawn = jacobi(model, 6, generator=seeded(), known=(images, given))
    expanded = given.unsqueeze(1).expand_as(images)
    assert torch.equal(drawn[expanded], images[expanded])
    uniforms = torch.rand(6, *shape, generator=seeded(), dtype=torch.float64)
    with torch.no_grad():
        solved = dequantize(model.conditionals(model.checked_levels(drawn)).icdf(uniforms), 4)
    assert torch.equal(drawn[~expanded], solved[~expanded])
    one = jacobi(model, 6, generator=seeded(), known=(images, given[0]))  # the same mask for all
    assert torch.equal(one[:, :, given[0]], images[:, :, given[0]])
    assert torch.equal(one[0], drawn[0])


def test_rows_are_streamed_once_each_when_they_are_final():
    model = model_of("masked", (3, 7, 5), 4, 0)
    seen = []
    final = jacobi(model, 3, generator=seeded(), on_row=lambda row, images: seen.append((row, images.clone())))
    assert [row for row, _ in seen] == list(range(7))
    for row, images in seen:
        assert torch.equal(images[:, :, : row + 1], final[:, :, : row + 1])


@pytest.mark.parametrize(("std", "fewest", "most"), [(0.0, 1, 6), (0.15, 4, 60)])
def test_fewer_passes_than_values(monkeypatch, std, fewest, most):
    """A model that looks at nothing needs two passes a window, a weakly linked one far fewer than its 108 values."""
    model = model_of("masked", (1, 12, 9), 4, 0, std)
    passes = []
    before = model.conditionals
    monkeypatch.setattr(model, "conditionals", lambda *words: passes.append(1) or before(*words))
    drawn = jacobi(model, 4, generator=seeded())
    count = len(passes)
    assert fewest <= count <= most
    assert torch.equal(drawn, model.sample(4, generator=seeded()))


@pytest.mark.parametrize(
    ("known_methods", "n", "wins"),
    [
        (["compiled", "streaming", "naive"], 1, False),
        (["streaming", "naive"], 1, True),
        (["streaming", "naive"], 2, False),
        (["naive"], 2, True),
    ],
)
def test_front_door_takes_fixed_points_where_they_win(monkeypatch, known_methods, n, wins):
    model = PixelCNN(PixelCNNConfig(features=4, blocks=1, head_features=4), (1, 4, 4), 2).double()
    called = []
    monkeypatch.setattr(ancestral, "row_methods", lambda _: known_methods)
    monkeypatch.setattr(ancestral, "jacobi", lambda *a, **o: called.append(1) or jacobi(*a, **o))
    drawn = ancestral.sample(model, n, generator=torch.Generator().manual_seed(0))
    assert bool(called) == wins
    assert torch.equal(drawn, model.sample(n, generator=torch.Generator().manual_seed(0)))
