"""DiffAugment: what it does to an image, that its gradient is right, and that images and samples are changed alike."""

import pytest
import torch
from lightning_fabric import Fabric

from limner.data import Batch
from limner.models.gan import GAN, GANConfig
from limner.models.recipes import AdversarialConfig
from limner.training.adversarial import Adversarial
from limner.training.diffaugment import changed


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(n, c=3, h=8, w=8, dtype=torch.float64):
    return torch.rand(n, c, h, w, generator=generator(1), dtype=dtype) * 2 - 1


def test_colours_change_brightness_saturation_and_contrast_within_the_papers_ranges():
    """Of a grey image brightness and contrast; the deviations from the image's mean are multiplied by 0.5 to 1.5."""
    grey = noise(2000, c=1).expand(-1, 3, -1, -1)
    out = changed(grey, ["color"], generator())
    means, before = out.mean((1, 2, 3)), grey.mean((1, 2, 3))
    assert (means - before).abs().max() <= 0.5
    assert (means - before).std() == pytest.approx((1 / 12) ** 0.5, rel=0.05)
    factors = (out - means.view(-1, 1, 1, 1)) / (grey - before.view(-1, 1, 1, 1))
    assert torch.allclose(factors, factors[:, :1, :1, :1].expand_as(factors), atol=1e-5)  # one an image
    assert 0.5 <= factors.min() < 0.51 < 1.49 < factors.max() <= 1.5
    coloured = noise(2000)
    after, before = (
        (x - x.mean(1, keepdim=True)).flatten(1).norm(dim=1)
        for x in (changed(coloured, ["color"], generator()), coloured)
    )
    assert 0 <= (after / before).min() < 0.1
    assert 2.5 < (after / before).max() <= 3.0  # saturation 2, contrast 1.5


def test_images_are_translated_by_up_to_an_eighth_and_grey_comes_in():
    dot = torch.zeros(3000, 1, 16, 24)
    dot[:, 0, 8, 12] = 1
    places = changed(dot, ["translation"], generator())[:, 0].nonzero()
    assert len(places) == 3000
    assert set(places[:, 1].tolist()) == set(range(6, 11))
    assert set(places[:, 2].tolist()) == set(range(9, 16))
    ones = changed(torch.ones(50, 2, 16, 24), ["translation"], generator())
    assert set(ones.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(ones[:, 0], ones[:, 1])


@pytest.mark.parametrize(("h", "w"), [(8, 8), (7, 10)])
def test_a_rectangle_of_half_the_sides_becomes_grey(h, w):
    cut = changed(torch.ones(4000, 2, h, w), ["cutout"], generator()) == 0
    rows, columns = cut[:, 0].any(2), cut[:, 0].any(1)
    assert torch.equal(cut, (rows[:, None, :, None] & columns[:, None, None, :]).expand_as(cut))
    assert (rows.sum(1).max(), columns.sum(1).max()) == (round(h / 2), round(w / 2))
    for places, side in ((rows, h), (columns, w)):
        part = round(side / 2) / (side + 1 - round(side / 2) % 2)  # of the centres, those that reach the middle
        assert places[:, side // 2].double().mean().item() == pytest.approx(part, abs=0.03)
    dot = torch.ones(5, 1, 1, 1)
    assert torch.equal(changed(dot, ["cutout"], generator()), dot)


def test_the_gradient_passes_through_all_of_them():
    x = noise(2, c=2, h=3, w=4).requires_grad_()
    names = ["color", "translation", "cutout"]
    assert torch.autograd.gradcheck(lambda x: changed(x, names, generator()), x)
    assert torch.autograd.gradgradcheck(lambda x: changed(x, names, generator()) ** 2, x)


def test_each_image_draws_its_own_and_the_generator_decides():
    x = noise(1).expand(64, -1, -1, -1)
    first = changed(x, ["color", "translation", "cutout"], generator(3))
    assert len(first.flatten(1).unique(dim=0)) == 64
    assert torch.equal(first, changed(x, ["color", "translation", "cutout"], generator(3)))
    assert torch.equal(changed(x, [], generator()), x)


def test_the_discriminator_sees_both_changed_in_training_and_neither_when_it_is_measured(monkeypatch):
    torch.manual_seed(0)
    model = GAN(GANConfig(network="dense", hidden=8, latent=2), (1, 6, 6), 256)
    config = AdversarialConfig(augment="cutout", penalty="r1+r2", batch_size=8)
    players = Adversarial(model, config, Fabric(accelerator="cpu", devices=1))
    seen = []
    model.discriminator.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].detach()))
    images = torch.full((8, 1, 6, 6), 255, dtype=torch.uint8)
    metrics = players.step(Batch(images), 1.0, 0)
    assert all(torch.isfinite(torch.tensor(v)) for v in metrics.values())
    assert len(seen) == 4  # images and samples, for either player
    assert all(((x == 0).flatten(1).sum(1) >= 1).all() for x in seen)
    seen.clear()
    players.validate([Batch(images)])
    assert len(seen) == 2
    assert (seen[0] == 1).all()
    assert not (seen[1] == 0).any()
