"""Muon: each matrix moves along an orthogonal matrix, kernels as matrices, and a restored state goes on alike."""

from dataclasses import replace

import pytest
import torch

from limner.models.patch_pixelcnn import PatchPixelCNN, PatchPixelCNNConfig
from limner.models.recipes import TrainingConfig
from limner.training.optimizers import Optimizers

CONFIG = TrainingConfig(optimizer="muon", learning_rate=1e-3, matrix_learning_rate=0.02, weight_decay=0.0)


def network(memory_format=torch.channels_last):
    torch.manual_seed(0)
    model = PatchPixelCNN(PatchPixelCNNConfig(features=8, blocks=1, first_kernel=3), (1, 4, 4), 2)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model.to(memory_format=memory_format)


def with_gradients(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 2, (8, 1, 4, 4), generator=generator).to(torch.uint8) * 255
    model.zero_grad()
    model(images)["nll"].mean().backward()
    return model


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_kernels_move_along_a_nearly_orthogonal_matrix(memory_format):
    model = with_gradients(network(memory_format))
    optimizers = Optimizers(model, CONFIG)
    assert set(optimizers.matrices) == {"blocks.0.convolve.weight", "blocks.0.out.weight", "head_1.weight"}
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizers.step(0.5)
    for name, parameter in model.named_parameters():
        moved = (parameter.detach() - before[name]).flatten(1) if parameter.dim() > 1 else parameter - before[name]
        if name in optimizers.matrices:
            rows, columns = moved.shape
            values = torch.linalg.svdvals(moved / (0.5 * 0.02 * max(1.0, rows / columns) ** 0.5))
            rank = int(torch.linalg.matrix_rank(parameter.grad.flatten(1)))
            assert (values[:rank] < 1.3).all(), name  # the five steps of Newton-Schulz end between 0.7 and 1.2
            assert values[: rank // 2].min() > 0.5, name
        else:
            assert float(moved.detach().abs().max()) <= 0.5 * 1e-3 * 1.01, name


def test_memory_format_does_not_change_the_step():
    models = [with_gradients(network(f)) for f in (torch.channels_last, torch.contiguous_format)]
    for model in models:
        Optimizers(model, CONFIG).step(1.0)
    for (name, a), b in zip(models[0].named_parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5), name


def test_kernels_move_in_the_precision_of_the_training():
    def moved(precision, dtype=torch.float32):
        model = with_gradients(network())
        gradients = {name: p.grad.to(dtype) for name, p in model.named_parameters()}
        model = model.to(dtype)
        for name, parameter in model.named_parameters():
            parameter.grad = gradients[name]
        Optimizers(model, replace(CONFIG, precision=precision)).step(1.0)
        return model.get_parameter("blocks.0.out.weight").detach().double()

    exact = moved("float32", torch.float64)
    assert (moved("float32") - exact).abs().max() < 1e-6
    assert 1e-6 < (moved("bf16") - exact).abs().max() < 1e-3


def test_a_restored_state_goes_on_alike():
    model = with_gradients(network())
    optimizers = Optimizers(model, CONFIG)
    optimizers.step(1.0)
    other = network()
    other.load_state_dict(model.state_dict())
    restored = Optimizers(other, CONFIG)
    restored.restore({f"optimizer.{k}": v.clone() for k, v in optimizers.state().items()}, "optimizer.")
    for one, both in ((model, optimizers), (other, restored)):
        with_gradients(one, seed=1)
        both.step(1.0)
    for (name, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b), name
    with pytest.raises(KeyError):
        restored.restore({}, "optimizer.")


def test_a_state_is_restored_to_where_the_weights_are():
    """torch's fused AdamW on a GPU takes no count of steps that is elsewhere."""
    model = with_gradients(network())
    optimizers = Optimizers(model, CONFIG)
    optimizers.step(1.0)
    elsewhere = Optimizers(network().to("meta"), CONFIG)
    elsewhere.restore({f"optimizer.{k}": v for k, v in optimizers.state().items()}, "optimizer.")
    assert {t.device.type for t in elsewhere.state().values()} == {"meta"}
    assert elsewhere.state().keys() == optimizers.state().keys()


def test_adamw_takes_everything_by_default():
    assert not Optimizers(network(), TrainingConfig()).matrices
