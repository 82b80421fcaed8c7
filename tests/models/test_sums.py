"""The probabilities of all images of a tiny size sum to 1 under bf16, and where logits are ten thousand."""

import pytest
import torch

from benchmarks.samplers import MODELS, build, every_image
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig


def of_head(head):
    torch.manual_seed(0)
    model = PixelCNN(PixelCNNConfig(features=9, blocks=1, head_features=9, head=head), (1, 2, 2), 4).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


@pytest.mark.parametrize("size", ["2×2 of four levels", "1×2 binary colours"])
@torch.no_grad()
def test_they_sum_to_one(size):
    models = {name: build(name, size) for name in MODELS} | {head: of_head(head) for head in ("softmax", "gaussian")}
    for name, model in models.items():
        if model is None:  # patches do not tile it
            continue
        images = every_image(model)
        with torch.autocast("cpu", torch.bfloat16):
            assert float(model.log_prob(images).double().exp().sum()) == pytest.approx(1, abs=1e-5), name
        model.double()
        for _ in range(8):
            log_p = model.log_prob(images)
            assert torch.isfinite(log_p).all(), name
            assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-9), name
            if reached := float(log_p.min()) < -1e4 * model.dimensions:
                break
            for parameter in model.parameters():
                parameter.mul_(2)
        assert reached, name
