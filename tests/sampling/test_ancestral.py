"""The fast sampler draws the naive sampler's images, from the right distribution."""

import itertools

import pytest
import torch

from limner.config.settings import with_settings
from limner.data import dequantize
from limner.models import families
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.models.vae import VAE, VAEConfig
from limner.sampling import manifold, sample

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
    images = manifold(model, side=3)
    assert images.shape == (9, 1, 4, 4)
    low, high = torch.special.ndtri(torch.tensor([1 / 6, 5 / 6]))
    corners = torch.stack([torch.stack([low, high]), torch.stack([high, low])])  # (x, y): upper left, lower right
    assert torch.equal(images[[0, 8]], model.decode(corners))
    assert torch.equal(images[4], model.decode(torch.zeros(1, 2))[0])
