"""PixelCNN++: normalised, causal at every size, odd ones too, and its streams see all that came before."""

import itertools
import math

import pytest
import torch

from limner.data import dequantize
from limner.models.pixelcnnpp import PixelCNNPP, PixelCNNPPConfig, concat_elu, maps_of
from limner.nn import normalised


def tiny(shape, levels, *, std=0.4, **sizes):
    """A small one in float64 whose weights are far from their tame start."""
    torch.manual_seed(0)
    settings = {"features": 4, "blocks": 1, "components": 3} | sizes
    model = PixelCNNPP(PixelCNNPPConfig(**settings), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval()


@pytest.mark.parametrize("rms_norm", [False, True])
@pytest.mark.parametrize(
    ("shape", "levels"), [((1, 2, 2), 4), ((1, 3, 3), 2), ((3, 1, 2), 3), ((3, 2, 1), 3), ((2, 2, 1), 4)]
)
def test_probabilities_of_all_images_sum_to_one(shape, levels, rms_norm):
    model = tiny(shape, levels, rms_norm=rms_norm)
    everything = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)
    with torch.no_grad():
        log_probs = model.log_prob(dequantize(everything, levels))
    assert log_probs.exp().std() > 0
    assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize("rms_norm", [False, True])
@pytest.mark.parametrize(
    ("shape", "levels", "halvings"), [((1, 5, 7), 2, 2), ((1, 6, 8), 2, 2), ((3, 4, 5), 4, 1), ((1, 7, 4), 3, 3)]
)
def test_flipping_a_value_changes_every_parameter_after_it_and_none_before(shape, levels, halvings, rms_norm):
    """The network's output at a pixel sees no channel of the pixel itself, and all of every pixel before."""
    model = tiny(shape, levels, blocks=2, halvings=halvings, std=0.2, rms_norm=rms_norm)
    c, h, w = shape
    k = torch.randint(levels, (1, *shape), generator=torch.Generator().manual_seed(0))
    same = k.repeat(c * h * w, 1, 1, 1)  # batches of one size, which are computed in the same order
    places = torch.arange(c * h * w)
    flips = same.flatten(1).clone()
    flips[places, places] = (flips[places, places] + 1) % levels
    with torch.no_grad():
        before = model.logits(model.intensities(same))
        changed = model.logits(model.intensities(flips.view(-1, *shape))) != before
    changed = changed.any(1).flatten(1)  # (flipped value, pixel)
    pixel = places % (h * w)  # of the flipped value
    expected = torch.arange(h * w) > pixel[:, None]
    assert torch.equal(changed, expected)


def test_a_pixel_needs_only_the_rows_so_far():
    """What the samplers rely on: cut off below a row, at any parity, the network says the same of that row."""
    model = tiny((1, 7, 6), 3, blocks=2)
    k = torch.randint(3, (2, 1, 7, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = model.logits(model.intensities(k))
        for rows in range(1, 8):
            assert torch.allclose(model.logits(model.intensities(k[:, :, :rows])), whole[:, :, :rows], atol=1e-12)


def test_what_a_block_adds_is_bounded_however_large_its_input():
    """Else a saturated pixel makes the next one more so, and single samples run off into noise."""
    x = torch.randn(1, 4, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    added = {}
    for rms_norm in (False, True):
        model = tiny((1, 6, 6), 4, rms_norm=rms_norm)
        block = model.descent[0].down
        with torch.no_grad():
            added[rms_norm] = [
                float((block(maps_of(scale * x, model.config), None, None) - scale * x).norm()) for scale in (1, 100)
            ]
    assert added[True][1] == pytest.approx(added[True][0], rel=1e-4)
    assert added[False][1] > 10 * added[False][0]


def test_dropout_is_noise_in_training_and_nothing_in_evaluation():
    model = tiny((1, 4, 4), 2, dropout=0.5, std=0.2)
    images = dequantize(torch.zeros(2, 1, 4, 4, dtype=torch.int64), 2)
    assert torch.equal(model.log_prob(images), model.log_prob(images))
    model.train()
    assert not torch.equal(model.log_prob(images), model.log_prob(images))


def test_an_untrained_one_begins_near_the_uniform_distribution():
    torch.manual_seed(0)
    model = PixelCNNPP(PixelCNNPPConfig(features=8), (1, 6, 6), 256)
    images = torch.randint(256, (20, 1, 6, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        bits = -model.log_prob(images).mean() / (36 * math.log(2))
    assert 8.0 < float(bits) < 8.3


def test_red_and_blue_are_drawn_together():
    """With one component each and a slope of 1, green and blue follow the red that was drawn."""
    model = tiny((3, 2, 2), 256, components=1)
    with torch.no_grad():
        model.out.weight.zero_()
        # logit; means R, G, B; log-scales R, G, B before 1/1.5; slopes G on R, B on R, B on G
        model.out.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, -1.0, -4.0, -4.0, 9.0, 9.0, 0.0]))
    images = model.sample(200, generator=torch.Generator().manual_seed(0)).float().flatten(2)
    red, green, blue = images.permute(1, 0, 2).flatten(1)
    correlation = torch.corrcoef(torch.stack([red, green, blue]))
    assert red.std() > 40
    assert (correlation > 0.9).all()


def test_normalised_maps_have_a_root_mean_square_of_one():
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    active = maps_of(x, PixelCNNPPConfig(rms_norm=True)).active
    assert active == pytest.approx(concat_elu(normalised(x)), abs=1e-12)
    assert torch.equal(maps_of(x, PixelCNNPPConfig()).active, concat_elu(x))
