"""Gated PixelCNN: normalised, causal, and without a blind spot."""

import itertools
import math

import pytest
import torch

from limner.data import dequantize
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig


def tiny(shape, levels, head="auto", *, blocks=2, std=0.4, **sizes):
    torch.manual_seed(0)
    settings = {"features": 12, "head_features": 24} | sizes
    model = GatedPixelCNN(GatedPixelCNNConfig(blocks=blocks, head=head, **settings), shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return model.eval()


@pytest.mark.parametrize(
    ("shape", "levels", "head"),
    [
        ((1, 2, 2), 4, "softmax"),
        ((1, 2, 2), 4, "gaussian"),
        ((1, 3, 3), 2, "sigmoid"),
        ((3, 1, 2), 3, "softmax"),
        ((3, 2, 1), 3, "gaussian"),
    ],
)
def test_probabilities_of_all_images_sum_to_one(shape, levels, head):
    model = tiny(shape, levels, head)
    everything = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)
    with torch.no_grad():
        log_probs = model.log_prob(dequantize(everything, levels))
    assert log_probs.exp().std() > 0
    assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-10)


@pytest.mark.parametrize(("shape", "levels"), [((1, 5, 7), 2), ((3, 4, 5), 4)])
def test_flipping_a_value_changes_every_logit_after_it_and_none_before(shape, levels):
    """Causal, and with enough blocks each value is used by *every* later pixel: there is no blind spot."""
    model = tiny(shape, levels, "softmax", blocks=6, std=0.15)  # larger weights saturate the gates to the last bit
    c, h, w = shape
    k = torch.randint(levels, (1, *shape), generator=torch.Generator().manual_seed(0))
    order = [(i, j, ch) for i in range(h) for j in range(w) for ch in range(c)]
    with torch.no_grad():
        before = model.conditionals(k).logits
        for place, (i, j, ch) in enumerate(order):
            flipped = k.clone()
            flipped[0, ch, i, j] = (flipped[0, ch, i, j] + 1) % levels
            changed = (model.conditionals(flipped).logits != before).any(2)[0]
            for a, b, c2 in order[: place + 1]:
                assert not changed[c2, a, b], f"value {(i, j, ch)} leaks into {(a, b, c2)}"
            for a, b, c2 in order[place + 1 :]:
                assert changed[c2, a, b], f"value {(i, j, ch)} is not seen at {(a, b, c2)}"
