"""The PixelCNN over patches: normalised, causal in its own order, a joint softmax that is the product of its values."""

import itertools
import math

import pytest
import torch

from limner.data import dequantize
from limner.errors import LimnerError
from limner.models.patch_pixelcnn import PatchPixelCNN, PatchPixelCNNConfig


def tiny(shape, levels, *, std=0.3, **sizes):
    torch.manual_seed(0)
    settings = {"patch": 2, "features": 8, "blocks": 2, "embedding": 4, "first_kernel": 3} | sizes
    model = PatchPixelCNN(PatchPixelCNNConfig(**settings), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval()


def order_of(model):
    c, h, _ = model.shape
    return [(i, j, ch) for top in range(0, h, model.patch) for i, j in model.row_order(top) for ch in range(c)]


@pytest.mark.parametrize(
    ("shape", "levels", "patch"),
    [((1, 4, 2), 2, 2), ((1, 2, 4), 2, 2), ((1, 2, 2), 4, 2), ((2, 2, 2), 2, 2), ((1, 2, 3), 3, 1), ((2, 1, 2), 3, 1)],
)
def test_probabilities_of_all_images_sum_to_one(shape, levels, patch):
    model = tiny(shape, levels, patch=patch)
    everything = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)
    with torch.no_grad():
        log_probs = model.log_prob(dequantize(everything, levels))
    assert log_probs.exp().std() > 0
    assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(
    ("shape", "levels", "patch"), [((1, 6, 8), 2, 2), ((2, 4, 4), 2, 2), ((1, 6, 6), 2, 3), ((1, 4, 5), 7, 1)]
)
def test_joint_softmax_is_the_product_over_its_values(shape, levels, patch):
    model = tiny(shape, levels, patch=patch, features=4)
    k = torch.randint(levels, (5, *shape), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        by_value = model.conditionals(k).log_prob(k).flatten(1).sum(1)
        joint = model.log_prob(dequantize(k, levels))
    assert by_value == pytest.approx(joint, abs=1e-10)
    assert torch.equal(model.pixels(model.patches(k)), k)


@pytest.mark.parametrize(("shape", "levels", "patch"), [((1, 6, 8), 2, 2), ((2, 4, 4), 2, 2), ((1, 4, 5), 5, 1)])
def test_flipping_a_value_changes_every_logit_after_it_and_none_before(shape, levels, patch):
    """As wide a first kernel as these images leaves no blind spot."""
    model = tiny(shape, levels, patch=patch, first_kernel=9, blocks=3)
    k = torch.randint(levels, (1, *shape), generator=torch.Generator().manual_seed(0))
    order = order_of(model)
    assert sorted(order) == sorted((i, j, c) for i in range(shape[1]) for j in range(shape[2]) for c in range(shape[0]))
    with torch.no_grad():
        before = model.conditionals(k).logits
        for place, (i, j, ch) in enumerate(order):
            flipped = k.clone()
            flipped[0, ch, i, j] = (flipped[0, ch, i, j] + 1) % levels
            # Ratios of probabilities, as a constant on all logits means nothing.
            new = model.conditionals(flipped).logits
            changed = ((new - before) - (new - before)[:, :, :1]).abs().amax(2)[0] > 1e-12
            for a, b, c2 in order[: place + 1]:
                assert not changed[c2, a, b], f"value {(i, j, ch)} leaks into {(a, b, c2)}"
            for a, b, c2 in order[place + 1 :]:
                assert changed[c2, a, b], f"value {(i, j, ch)} is not seen at {(a, b, c2)}"


def test_samples_have_the_probabilities_of_the_model():
    model = tiny((1, 2, 2), 2)
    drawn = model.sample(4000, generator=torch.Generator().manual_seed(0))
    everything = torch.tensor(list(itertools.product(range(2), repeat=4))).view(-1, 1, 2, 2)
    with torch.no_grad():
        p = model.log_prob(dequantize(everything, 2)).exp()
    counts = torch.bincount(model.symbols_of((drawn > 0).long()).flatten(), minlength=16)
    assert ((counts / 4000 - p).abs() < 5 * (p * (1 - p) / 4000).sqrt() + 1e-9).all()


def test_blocks_start_as_the_identity_and_the_network_as_uniform():
    model = PatchPixelCNN(PatchPixelCNNConfig(features=8, blocks=2), (1, 6, 6), 2)
    images = torch.randint(0, 2, (2, 1, 6, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8) * 255
    assert model.log_prob(images).detach() == pytest.approx(
        torch.full((2,), -36 * math.log(2), dtype=torch.float64), abs=1e-4
    )


def test_what_one_softmax_cannot_hold_is_said():
    with pytest.raises(LimnerError, match="do not tile images of 7×8"):
        PatchPixelCNN(PatchPixelCNNConfig(patch=2), (1, 7, 8), 2)
    with pytest.raises(LimnerError, match=r"256\^3 symbols"):
        PatchPixelCNN(PatchPixelCNNConfig(), (3, 8, 8), 256)
    with pytest.raises(LimnerError, match=r"256\^4 symbols"):
        PatchPixelCNN(PatchPixelCNNConfig(patch=2), (1, 8, 8), 256)


@pytest.mark.parametrize(
    ("shape", "levels", "patch"), [((1, 6, 8), 2, 2), ((1, 6, 8), 4, 2), ((1, 6, 7), 2, 1), ((1, 6, 8), 17, 1)]
)
def test_patches_are_taken_where_one_softmax_holds_them(shape, levels, patch):
    assert PatchPixelCNN(PatchPixelCNNConfig(features=4, blocks=1), shape, levels).patch == patch
