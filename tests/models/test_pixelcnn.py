"""PixelCNN: a normalised probability over all images, and no pixel that sees its own future."""

import itertools
import math

import pytest
import torch

from limner.data import dequantize
from limner.errors import LimnerError
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig


def tiny(shape, levels, head, *, blocks=2, seed=0):
    """A small PixelCNN in float64 whose weights are far from their tame start."""
    torch.manual_seed(seed)
    model = PixelCNN(PixelCNNConfig(features=12, blocks=blocks, head=head, head_features=12), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.eval()


CASES = [
    ((1, 2, 2), 4, "softmax"),
    ((1, 2, 2), 4, "gaussian"),
    ((1, 3, 3), 2, "sigmoid"),
    ((1, 3, 3), 2, "softmax"),
    ((1, 3, 3), 2, "gaussian"),
    ((3, 1, 2), 3, "softmax"),
    ((3, 1, 2), 3, "gaussian"),
]


@pytest.mark.parametrize(("shape", "levels", "head"), CASES)
def test_probabilities_of_all_images_sum_to_one(shape, levels, head):
    model = tiny(shape, levels, head)
    everything = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)
    with torch.no_grad():
        log_probs = model.log_prob(dequantize(everything, levels))
    assert log_probs.exp().std() > 0  # it is no uniform distribution
    assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-10)
    with torch.no_grad():
        float32 = model.float().log_prob(dequantize(everything, levels))
    assert float(float32.exp().sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("shape", "levels"), [((1, 5, 7), 2), ((3, 4, 5), 4)])
def test_flipping_a_value_changes_no_logit_at_or_before_it(shape, levels):
    model = tiny(shape, levels, "softmax")
    c, h, w = shape
    k = torch.randint(levels, (1, *shape), generator=torch.Generator().manual_seed(0))
    order = [(i, j, ch) for i in range(h) for j in range(w) for ch in range(c)]  # raster, R G B within a pixel
    with torch.no_grad():
        before = model.conditionals(k).logits
        for place, (i, j, ch) in enumerate(order):
            flipped = k.clone()
            flipped[0, ch, i, j] = (flipped[0, ch, i, j] + 1) % levels
            changed = (model.conditionals(flipped).logits != before).any(2)[0]  # (C, H, W)
            for a, b, c2 in order[: place + 1]:
                assert not changed[c2, a, b], f"value {(i, j, ch)} leaks into {(a, b, c2)}"
            if place + 1 < len(order):
                assert changed.any(), f"value {(i, j, ch)} is used by nobody"


def test_each_channel_depends_on_the_channels_before_it():
    model = tiny((3, 2, 2), 4, "softmax")
    k = torch.zeros(1, 3, 2, 2, dtype=torch.int64)
    with torch.no_grad():
        before = model.conditionals(k).logits[0, :, :, 1, 1]
        for source in range(3):
            flipped = k.clone()
            flipped[0, source, 1, 1] = 3
            after = model.conditionals(flipped).logits[0, :, :, 1, 1]
            assert [(after[c] != before[c]).any().item() for c in range(3)] == [c > source for c in range(3)]


def test_blind_spot_is_where_the_paper_has_it():
    """With 3×3 kernels alone, what lies far right above a pixel is not seen: the wedge that the gated net closes."""
    torch.manual_seed(0)
    config = PixelCNNConfig(features=8, blocks=1, first_kernel=3, head_features=8)
    model = PixelCNN(config, (1, 5, 9), 2).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.zeros(1, 1, 5, 9, dtype=torch.float64, requires_grad=True)
    model.logits(x)[0, 0, 4, 4].backward()
    seen = x.grad[0, 0] != 0
    assert seen[4].tolist() == [False, False, True, True] + [False] * 5  # two to the left, not itself
    assert seen[3].tolist() == [False, False, True, True, True, True, False, False, False]
    assert seen[2].tolist() == [False, False, True, True, True, True, True, False, False]
    assert not seen[:2].any()


def test_log_prob_is_the_sum_of_the_conditionals_of_the_chain_rule():
    """ln p(x) from one pass equals the chain rule with a pass for each value, each seeing the past alone."""
    model = tiny((3, 3, 2), 3, "softmax")
    k = torch.randint(3, (4, 3, 3, 2), generator=torch.Generator().manual_seed(1))
    total = torch.zeros(4, dtype=torch.float64)
    with torch.no_grad():
        for i, j, c in itertools.product(range(3), range(2), range(3)):
            past = torch.zeros_like(k)
            past[:, :, :i] = k[:, :, :i]
            past[:, :, i, :j] = k[:, :, i, :j]
            past[:, :c, i, j] = k[:, :c, i, j]
            total += model.conditionals(past).log_prob(k)[:, c, i, j]
        assert torch.allclose(model.log_prob(dequantize(k, 3)), total, atol=1e-10)


def test_refuses_images_it_was_not_made_for():
    model = tiny((1, 4, 4), 2, "sigmoid")
    with pytest.raises(LimnerError, match="1×4×4"):
        model.log_prob(torch.zeros(1, 1, 4, 5, dtype=torch.uint8))
    with pytest.raises(LimnerError, match="130"):
        model.log_prob(torch.full((1, 1, 4, 4), 130, dtype=torch.uint8))
    with pytest.raises(LimnerError, match="uint8"):
        model.log_prob(torch.zeros(1, 1, 4, 4))
