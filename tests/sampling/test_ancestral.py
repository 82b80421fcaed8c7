"""The fast sampler draws the naive sampler's images, from the right distribution."""

import itertools
import math
import time

import pytest
import torch

from limner import sampling
from limner.config.settings import with_settings
from limner.data import dequantize
from limner.errors import LimnerError
from limner.models import families
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from limner.models.multiscale import MultiScalePixelRNN, MultiScalePixelRNNConfig
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.models.vae import VAE, VAEConfig
from limner.sampling import ancestral, class_rows, manifold, sample, sample_in

CASES = [
    ((1, 6, 5), 2, "auto", {}),
    ((1, 5, 6), 17, "softmax", {"kernel": 5, "first_kernel": 5}),
    ((3, 4, 5), 4, "softmax", {}),
    ((3, 4, 5), 256, "gaussian", {"kernel": 1}),
    ((1, 1, 4), 3, "softmax", {"first_kernel": 3}),
]


def tiny(shape, levels, head, **sizes):
    torch.manual_seed(0)
    config = PixelCNNConfig(features=12, blocks=2, head=head, head_features=12, **sizes)
    model = PixelCNN(config, shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize(("shape", "levels", "head", "sizes"), CASES)
def test_fast_equals_naive(shape, levels, head, sizes):
    model = tiny(shape, levels, head, **sizes)
    naive = model.sample(16, generator=torch.Generator().manual_seed(3))
    fast = sample(model, 16, generator=torch.Generator().manual_seed(3))
    assert naive.float().std() > 0
    assert torch.equal(naive, fast)


@pytest.mark.parametrize(("shape", "levels", "head", "sizes"), CASES)
def test_fast_equals_naive_gated(shape, levels, head, sizes):
    torch.manual_seed(0)
    config = GatedPixelCNNConfig(features=12, blocks=2, head=head, head_features=12, **sizes)
    model = GatedPixelCNN(config, shape, levels).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    naive = model.sample(16, generator=torch.Generator().manual_seed(3))
    assert naive.float().std() > 0
    assert torch.equal(naive, sample(model, 16, generator=torch.Generator().manual_seed(3)))


def test_fast_samples_follow_the_model():
    """Frequencies of all 64 images of 2×3 binary pixels against their exact probabilities: a chi-squared test."""
    model = tiny((1, 2, 3), 2, "sigmoid")
    everything = torch.tensor(list(itertools.product(range(2), repeat=6))).view(-1, 1, 2, 3)
    with torch.no_grad():
        probabilities = model.log_prob(dequantize(everything, 2)).exp()
    n = 20_000
    drawn = sample(model, n, generator=torch.Generator().manual_seed(0), batch_size=5000)
    codes = ((drawn.flatten(1) > 0).long() * (2 ** torch.arange(5, -1, -1))).sum(1)
    counts = torch.bincount(codes, minlength=64).double()
    expected = n * probabilities
    common = expected > 5
    chi2 = ((counts - expected) ** 2 / expected)[common].sum().item()
    freedom = int(common.sum()) - 1
    assert freedom > 10
    assert chi2 < freedom + 5 * (2 * freedom) ** 0.5


def test_rows_are_streamed_from_top_to_bottom():
    model = tiny((3, 4, 5), 4, "softmax")
    seen = []
    final = sample(
        model, 2, generator=torch.Generator().manual_seed(0), on_row=lambda row, images: seen.append((row, images))
    )
    assert [row for row, _ in seen] == [0, 1, 2, 3]
    for row, images in seen:
        assert torch.equal(images[:, :, : row + 1], final[:, :, : row + 1])
        assert (images[:, :, row + 1 :] == 0).all()


def test_batches_bound_the_memory_and_make_all_images():
    model = tiny((1, 3, 3), 2, "sigmoid")
    images = sample(model, 10, generator=torch.Generator().manual_seed(0), batch_size=4)
    assert images.shape == (10, 1, 3, 3)
    assert len({tuple(i.flatten().tolist()) for i in images}) > 4


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("pixelcnn", []),
        ("pixelcnn", ["classes=3"]),
        ("made", ["orders=3"]),
        ("multi-scale-pixelrnn", ["scales=3", "classes=3"]),
        ("vae", ["classes=3", "latent=3"]),
        ("vae", ["prior=mixture", "latent=20"]),
        ("ladder-vae", ["latent=3"]),
        ("gan", ["classes=3", "latent=19"]),
    ],
)
def test_fewer_images_are_the_first_of_more_whatever_the_batches(family, settings, tiny):
    torch.manual_seed(0)
    found = families()[family]
    recipe = with_settings(found.recipe("default", (1, 4, 6)), [*tiny[family], *settings])
    model = found.model(recipe.network, (1, 4, 6), 4).eval()
    whole = sample(model, 10, generator=torch.Generator().manual_seed(3))
    assert len(whole.unique(dim=0)) > 5
    for size in (256, 3):
        generator = torch.Generator().manual_seed(3)
        assert torch.equal(sample(model, 7, generator=generator, batch_size=size), whole[:7])
        # What comes next goes on where these ended.
        assert torch.equal(sample(model, 3, generator=generator, batch_size=size), whole[7:])
    assert torch.equal(model.sample(10, generator=torch.Generator().manual_seed(3)), whole)


def test_manifold_walks_the_plane_from_the_lower_left():
    torch.manual_seed(0)
    model = VAE(VAEConfig(latent=2, network="dense", hidden=8), (1, 4, 4), 256)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    images = manifold(model, side=3)
    assert len(images.unique(dim=0)) == 9  # each place of the plane is another image
    assert images.shape == (9, 1, 4, 4)
    low, high = torch.special.ndtri(torch.tensor([1 / 6, 5 / 6]))
    corners = torch.stack([torch.stack([low, high]), torch.stack([high, low])])  # (x, y): upper left, lower right
    assert torch.equal(images[[0, 8]], model.decode(corners))
    assert torch.equal(images[4], model.decode(torch.zeros(1, 2))[0])


def test_samples_in_a_time_are_the_first_ones():
    model = PixelCNN(PixelCNNConfig(features=4, blocks=1, head_features=4), (1, 6, 6), 2).eval()
    drawn = sampling.sample(model, 5, generator=torch.Generator().manual_seed(0))
    for seconds in (60.0, math.inf):
        again = sampling.sample_in(seconds, model, 5, generator=torch.Generator().manual_seed(0))
        assert torch.equal(again, drawn)
    assert sampling.sample_in(-1.0, model, 5).shape == (0, 1, 6, 6)
    with pytest.raises(TimeoutError):
        sampling.sample(model, 1, until=time.monotonic() - 1)


def dense_vae():
    torch.manual_seed(0)
    return VAE(VAEConfig(latent=2, network="dense", hidden=8), (1, 4, 4), 256).eval()


def test_what_a_model_cannot_do_is_refused():
    pixels, vae = tiny((1, 2, 3), 2, "sigmoid"), dense_vae()
    scales = MultiScalePixelRNN(MultiScalePixelRNNConfig(hidden=4, small_hidden=4, context=4), (1, 4, 6), 2)
    known = torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.bool)
    for model, words, said in (
        (pixels, {"means": True}, "PixelCNN draws no image from a p"),
        (vae, {"known": known}, "VAE draws all pixels at once: no known ones, no context"),
        (vae, {"context": torch.zeros(2, 1, 4, 4)}, "VAE draws all pixels at once"),
        (scales, {"known": known}, "draws the small image first: no pixels of the large one"),
    ):
        with pytest.raises(LimnerError, match=said):
            sample(model, 2, **words)


def test_means_are_those_of_the_drawn_images():
    """The same latents, and the mean of p(x|z) in the place of a draw from it."""
    model = dense_vae()
    seeded = torch.Generator().manual_seed
    means = sample(model, 5, generator=seeded(1), means=True, batch_size=2)
    assert torch.equal(means, model.sample_means(5, generator=seeded(1)))
    drawn = sample(model, 5, generator=seeded(1), batch_size=2)
    assert torch.equal(drawn, model.sample(5, generator=seeded(1)))
    assert not torch.equal(means, drawn)


def test_no_images_are_an_empty_batch():
    for model in (tiny((1, 2, 3), 2, "sigmoid"), dense_vae()):
        for images in (sample(model, 0), sample_in(60.0, model, 0)):
            assert images.shape == (0, *model.shape)
            assert images.dtype == torch.uint8


class Counting:
    """Draws the numbers 0, 1, 2..., each for ``seconds`` of a clock of its own."""

    shape, classes, device = (1, 1, 1), 0, torch.device("cpu")

    def __init__(self, seconds):
        self.seconds, self.now, self.asked = seconds, 0.0, []

    def sample(self, n, *, generator=None, labels=None):
        self.asked.append((n, None if labels is None else labels.tolist()))
        start = sum(n for n, _ in self.asked[:-1])
        self.now += n * self.seconds
        return torch.arange(start, start + n, dtype=torch.uint8).view(n, 1, 1, 1)


def test_the_batches_of_a_call(monkeypatch):
    monkeypatch.setattr(ancestral, "images_at_once", lambda model, most: most)
    for n, size, sizes in ((7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 3, [2]), (300, None, [256, 44])):
        model = Counting(0)
        images = sample(model, n, labels=torch.arange(n), **({} if size is None else {"batch_size": size}))
        assert [asked for asked, _ in model.asked] == sizes
        assert [label for _, labels in model.asked for label in labels] == list(range(n))
        assert images.flatten().tolist() == [i % 256 for i in range(n)]


def test_as_many_are_drawn_together_as_fit_in_what_is_left(monkeypatch):
    """The first alone, which takes a second; then nine of the ten that are left of eleven seconds, and no more."""
    monkeypatch.setattr(ancestral, "images_at_once", lambda model, most: most)
    for n, sizes in ((100, [1, 10]), (6, [1, 5]), (1, [1])):
        model = Counting(1.0)
        monkeypatch.setattr(time, "monotonic", lambda model=model: model.now)
        drawn = sample_in(11.0, model, n, labels=torch.arange(n))
        assert [asked for asked, _ in model.asked] == sizes
        assert [label for _, labels in model.asked for label in labels] == list(range(sum(sizes)))
        assert drawn.flatten().tolist() == list(range(sum(sizes)))
    model = Counting(1.0)
    assert len(sample_in(math.inf, model, 40)) == 40
    assert model.asked == [(40, None)]


def test_rows_of_a_multi_scale_model_are_those_of_its_largest_images(monkeypatch):
    torch.manual_seed(0)
    config = MultiScalePixelRNNConfig(hidden=4, small_hidden=4, context=4, scales=3)
    model = MultiScalePixelRNN(config, (1, 8, 8), 2).eval()
    seen = []
    images = sample(model, 2, on_row=lambda row, images: seen.append((row, images.shape)), until=time.monotonic() + 600)
    assert seen == [(row, (2, 1, 8, 8)) for row in range(8)]
    assert images.shape == (2, 1, 8, 8)
    with pytest.raises(TimeoutError, match="over at row 0"):  # of the smallest images already
        sample(model, 2, on_row=lambda *_: seen.append(None), until=-1.0)
    assert None not in seen


def test_every_class_has_its_row():
    class Of:
        def __init__(self, classes):
            self.classes = classes

    assert class_rows(Of(0), 5) == (None, None)
    for classes, n, shown, each in (
        (3, 3, [0, 1, 2], 1), (3, 4, [0, 1, 2], 2), (3, 6, [0, 1, 2], 2), (3, 7, [0, 1, 2], 3),
        (10, 3, [0, 4, 9], 1), (10, 10, list(range(10)), 1), (1, 2, [0], 2), (11, 3, [0, 5, 10], 1),
    ):  # fmt: skip
        labels, columns = class_rows(Of(classes), n)
        assert labels.tolist() == [label for label in shown for _ in range(each)]
        assert labels.dtype == torch.int64
        assert columns == each
