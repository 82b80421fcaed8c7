"""PixelRNN: normalised, causal, and each network with the context that the paper draws."""

import itertools
import math

import pytest
import torch

from limner.data import dequantize
from limner.errors import LimnerError
from limner.models.pixelrnn import DiagonalBiLSTM, DiagonalBiLSTMConfig, RowLSTM, RowLSTMConfig

NETWORKS = {"diagonal": (DiagonalBiLSTM, DiagonalBiLSTMConfig), "row": (RowLSTM, RowLSTMConfig)}


@pytest.fixture(params=NETWORKS)
def network(request):
    return request.param


def tiny(network, shape, levels=2, *, std=0.3, **sizes):
    """A small network in float64 whose every weight matters and whose gates are not saturated."""
    torch.manual_seed(0)
    model, config = NETWORKS[network]
    built = model(config(**({"hidden": 6, "head_features": 12} | sizes)), shape, levels).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=std)
    return built.eval()


@pytest.mark.parametrize(
    ("shape", "levels", "head"),
    [
        ((1, 3, 3), 2, "sigmoid"),
        ((1, 3, 3), 2, "softmax"),
        ((1, 2, 2), 4, "softmax"),
        ((1, 2, 2), 4, "gaussian"),
        ((3, 1, 2), 3, "softmax"),
        ((3, 2, 1), 3, "gaussian"),
    ],
)
def test_probabilities_of_all_images_sum_to_one(network, shape, levels, head):
    model = tiny(network, shape, levels, head=head, layers=2)
    everything = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)
    with torch.no_grad():
        log_probs = model.log_prob(dequantize(everything, levels))
        assert log_probs.exp().std() > 0  # it is no uniform distribution
        assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-10)
        float32 = model.float().log_prob(dequantize(everything, levels))
    assert float(float32.exp().sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("numba", [True, False])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize(("shape", "levels"), [((1, 5, 7), 2), ((3, 5, 7), 4)])
def test_flipping_a_value_changes_no_logit_at_or_before_it(network, shape, levels, layers, numba, monkeypatch):
    monkeypatch.setenv("LIMNER_ACCELERATE", str(int(numba)))
    model = tiny(network, shape, levels, layers=layers)
    n = math.prod(shape)
    k = torch.randint(levels, (1, *shape), generator=torch.Generator().manual_seed(0)).expand(n, *shape)
    flipped = k.movedim(1, -1).flatten(1).clone()  # raster, R G B within a pixel
    flipped[range(n), range(n)] = (flipped[range(n), range(n)] + 1) % levels
    flipped = flipped.view(n, *shape[1:], shape[0]).movedim(-1, 1)
    with torch.no_grad():  # batches of one size and layout: the same sums
        before, after = (model.logits(model.intensities(x.contiguous())) for x in (k, flipped))
    changed = (before != after).unflatten(1, (shape[0], -1)).any(2).movedim(1, -1).flatten(1)  # (flip, logits of value)
    assert not changed.tril().any()
    assert changed[:-1].any(1).all()  # each is used by somebody


def context(model, i, j):
    """The pixels of which the logits of pixel (i, j) are functions: gradients that are not zero, ``(H, W)``."""
    c, h, w = model.shape
    x = 0.1 * torch.randn(1, c, h, w, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(model.logits(x)[0, :, i, j].sum(), x)
    return gradient[0].ne(0).all(0)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_diagonal_lstm_carries_the_whole_context_to_every_pixel(layers, channels):
    h, w = 5, 7
    model = tiny("diagonal", (channels, h, w), layers=layers, first_kernel=3)
    for i, j in itertools.product(range(h), range(w)):
        expected = (torch.arange(h * w) < i * w + j).view(h, w)
        assert torch.equal(context(model, i, j), expected), (i, j)


def test_the_row_lstms_context_is_the_triangle_of_figure_four():
    """Kernels of 3: a pixel wider on both sides with each row up; the mask lets the row itself reach to the left."""
    model = tiny("row", (1, 5, 9), layers=1, first_kernel=3)
    assert context(model, 4, 4).int().tolist() == [
        [1, 1, 1, 1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1, 1, 1, 0],
        [1, 1, 1, 1, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 1, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(("kernel", "first_kernel"), [(1, 1), (1, 3), (3, 1), (3, 5), (5, 3)])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_row_lstms_context_follows_from_its_kernels(layers, kernel, first_kernel):
    """Written as sets: what the first convolution sees, then in each layer the input and the states above."""
    h, w = 4, 9
    near, far = kernel // 2, first_kernel // 2
    pixels = list(itertools.product(range(h), range(w)))
    seen = {
        (i, j): {p for p in pixels if i - far <= p[0] and abs(p[1] - j) <= far and p < (i, j)} for i, j in pixels
    }  # p < (i, j) is the raster order
    for _ in range(layers):
        state = {}
        for i, j in pixels:
            inputs = [seen.get((i, j - t), set()) for t in range(near + 1)]
            above = [state.get((i - 1, j + t), set()) for t in range(-near, near + 1)]
            state[i, j] = set().union(*inputs, *above)
        seen = {p: seen[p] | state[p] for p in pixels}
    model = tiny("row", (1, h, w), layers=layers, kernel=kernel, first_kernel=first_kernel)
    for i, j in pixels if kernel == 3 else [(3, 4), (2, 8), (3, 0)]:
        assert {tuple(p) for p in context(model, i, j).nonzero().tolist()} == seen[i, j], (i, j)


def test_each_channel_depends_on_the_channels_before_it(network):
    model = tiny(network, (3, 2, 3), 4, head_features=24)
    k = torch.zeros(4, 3, 2, 3, dtype=torch.int64)
    k[range(3), range(3), 1, 1] = 3  # image c differs in channel c from the last one
    with torch.no_grad():
        logits = model.conditionals(k).logits[..., 1, 1]
    assert (logits[:3] != logits[3]).any(2).tolist() == [
        [False, True, True],
        [False, False, True],
        [False, False, False],
    ]


def test_a_image_does_not_depend_on_the_others_of_its_batch(network):
    model = tiny(network, (3, 4, 5), 4, layers=2)
    k = torch.randint(4, (7, 3, 4, 5), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        together = model.logits(model.intensities(k))
        alone = torch.cat([model.logits(model.intensities(one)) for one in k.split(1)])
    assert torch.allclose(together, alone, atol=1e-12)


def test_layers_begin_as_the_identity_and_all_learn(network):
    torch.manual_seed(0)
    model, config = NETWORKS[network]
    built = model(config(hidden=6, layers=2, head_features=8), (1, 4, 5), 2)
    images = dequantize(torch.randint(2, (5, 1, 4, 5)), 2)
    assert torch.allclose(built.log_prob(images).exp(), torch.tensor(2.0**-20, dtype=torch.float64))
    torch.nn.init.normal_(built.head_2.weight)
    built(images)["nll"].sum().backward()
    for layer in built.layers:
        assert layer.out.weight.grad.abs().sum() > 0


def test_a_context_reaches_every_pixel_without_looking_back(network):
    """What else is known of a pixel counts there, and is carried on with the states to the pixels after it alone."""
    torch.manual_seed(0)
    model, config = NETWORKS[network]
    built = model(config(hidden=6, head_features=12), (1, 3, 4), 2, 2).double()
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.zeros(1, 1, 3, 4, dtype=torch.float64)
    known = torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    for i, j in itertools.product(range(3), range(4)):
        (gradient,) = torch.autograd.grad(built.logits(x, context=known)[0, 0, i, j], known)
        seen = gradient[0].ne(0).all(0)
        assert seen[i, j]
        assert not gradient[0].flatten(1)[:, i * 4 + j + 1 :].any()


def test_even_kernels_are_refused():
    with pytest.raises(LimnerError, match="first_kernel"):
        DiagonalBiLSTMConfig(first_kernel=4)
    with pytest.raises(LimnerError, match="kernel"):
        RowLSTMConfig(kernel=2)
