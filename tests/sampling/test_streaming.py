"""Any model made of causal layers streams; samplers of one model do not meet; what cannot stream does not try."""

import gc
import threading
import weakref
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limner.errors import LimnerError
from limner.models.autoregressive import Autoregressive, ClassBias
from limner.models.contracts import ConditionalConfig
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from limner.models.multiscale import MultiScalePixelRNN, MultiScalePixelRNNConfig
from limner.models.pixelrnn import DiagonalBiLSTM, DiagonalBiLSTMConfig
from limner.nn import MaskedConv2d, RowsAbove
from limner.nn.streaming import current_stream, map_here, row_wise
from limner.sampling import sample
from limner.sampling.methods import row_methods, row_sampler


class Toy(Autoregressive):
    """A network that limner does not know: layers before and beside the strict ones, rows above of hidden maps."""

    streams: ClassVar[bool] = True

    def __init__(self, shape, levels, classes=0):
        super().__init__(ConditionalConfig(classes), shape, levels, "auto")
        c, f = shape[0], 12
        self.first = MaskedConv2d(c, f, (3, 5), "A", c)
        self.widen = nn.Conv2d(c, 4, 1)  # of the image itself
        self.beside = RowsAbove(4, f, 3, strict=True)
        self.label = ClassBias(classes, f)
        self.position = nn.Parameter(torch.zeros(1, f, *shape[1:]))
        self.above = RowsAbove(f, f, 5, strict=True)  # of a pixel's map
        self.below = RowsAbove(f, f, 3, strict=False)
        self.link = nn.Conv2d(2 * f, f, 1)
        self.second = MaskedConv2d(f, f, 5, "B", c)
        self.point = MaskedConv2d(f, f, 1, "B", c)
        self.out = MaskedConv2d(f, c * self.parameters_per_channel, 1, "B", c)

    def maps(self, x, labels=None):
        h = self.label(self.first(x) + map_here(self.position, x.shape[2]), labels)
        h = h + self.beside(F.elu(self.widen(x)))
        v, link = self.rows(self.above(torch.tanh(h)))
        return torch.tanh(self.second(h + link) + self.point(h) + v)

    @row_wise
    def rows(self, v):
        below = self.below(torch.tanh(v))
        return v + below, self.link(torch.cat([v, below], 1))

    def logits(self, x, labels=None):
        return self.out(self.maps(x, labels))


class Unmarked(Toy):
    """The same, where nothing says what is computed once a row."""

    def maps(self, x, labels=None):
        h = self.label(self.first(x) + map_here(self.position, x.shape[2]), labels)
        h = h + self.beside(F.elu(self.widen(x)))
        v = self.above(torch.tanh(h))
        below = self.below(torch.tanh(v))
        return torch.tanh(self.second(h + self.link(torch.cat([v, below], 1))) + self.point(h) + v + below)


class Joined(Toy):
    """Maps of the pixels and maps of the rows above in one layer."""

    def maps(self, x, labels=None):
        h = self.label(self.first(x), labels)
        (v, _) = self.rows(self.above(h))
        return torch.tanh(self.second(self.link(torch.cat([v, h], 1))))


class Sideways(Toy):
    """What it computes once a row depends on the row."""

    def maps(self, x, labels=None):
        return self.rows(self.first(x))[0]


class Twice(Toy):
    """One layer in two places."""

    def maps(self, x, labels=None):
        return self.second(torch.tanh(self.second(self.first(x))))


class Bare(Toy):
    """No layer hides the image."""

    def maps(self, x, labels=None):
        return self.second(self.link(F.pad(x, (0, 0, 0, 0, 0, 23))))


class Open(Toy):
    """Works on each pixel alone, and so sees the one that is drawn."""

    def maps(self, x, labels=None):
        return self.point(self.link(F.pad(x, (0, 0, 0, 0, 0, 23))))


class Foreign(Toy):
    """A causal convolution that is no layer of limner's."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.shifted = nn.Conv2d(12, 12, (2, 1))

    def maps(self, x, labels=None):
        return torch.tanh(self.shifted(F.pad(self.first(x), (0, 0, 1, 0))))


class Undeclared(Toy):
    """It could."""

    streams = False


def shaken(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double().eval()


def seed(number=3):
    return torch.Generator().manual_seed(number)


def finish(rows):
    while rows.row < rows.model.shape[1]:
        rows.draw_row()
    return rows.images


@pytest.mark.parametrize("kind", [Toy, Unmarked, Joined])
@pytest.mark.parametrize(
    ("shape", "levels", "classes"), [((1, 6, 7), 2, 0), ((3, 4, 5), 4, 3), ((1, 1, 4), 3, 0), ((3, 4, 1), 3, 2)]
)
def test_a_model_from_outside_streams(kind, shape, levels, classes):
    model = shaken(kind(shape, levels, classes))
    assert row_methods(model) == ["streaming", "naive"]
    naive = model.sample(9, generator=seed())
    assert naive.float().std() > 0
    assert torch.equal(sample(model, 9, generator=seed(), method="streaming"), naive)


@pytest.mark.parametrize("kind", [Toy, Unmarked])
@pytest.mark.parametrize(("shape", "levels", "classes"), [((1, 6, 7), 2, 0), ((3, 4, 5), 4, 3)])
def test_a_model_from_outside_keeps_known_pixels_and_is_selected(kind, shape, levels, classes):
    model, n = shaken(kind(shape, levels, classes)), 5
    k = torch.randint(levels, (n, *shape), generator=seed(5))
    known = ((k * 255 / (levels - 1)).round().to(torch.uint8), torch.rand(n, *shape[1:], generator=seed()) < 0.4)
    drawn = {}
    for method in ("naive", "streaming"):
        rows = row_sampler(model, n, generator=seed(), known=known, method=method)
        weights = []
        for _ in range(shape[1]):
            rows.draw_row()
            weights.append(rows.log_prob_known_row)
            rows.select(torch.tensor([4, 4, 0, 1, 3]))
        drawn[method] = rows.images, torch.stack(weights)
    assert torch.equal(drawn["streaming"][0], drawn["naive"][0])
    torch.testing.assert_close(drawn["streaming"][1], drawn["naive"][1], rtol=1e-9, atol=1e-9)


def test_a_row_wise_method_runs_once_a_row(monkeypatch):
    model, calls = shaken(Toy((1, 4, 5), 2)), []
    monkeypatch.setattr(model.link, "forward", lambda x: calls.append(x.shape) or F.conv2d(x, model.link.weight))
    sample(model, 2, generator=seed(), method="streaming")
    assert calls == [(2, 24, 1, 5)] * 4


@pytest.mark.parametrize("kind", [Undeclared, Foreign])
def test_what_cannot_stream_is_sampled_naively(kind):
    model = shaken(kind((1, 4, 5), 2))
    assert row_methods(model) == ["naive"]
    with pytest.raises(LimnerError, match="has no streaming sampler: naive"):
        row_sampler(model, 2, method="streaming")
    assert torch.equal(sample(model, 3, generator=seed()), model.sample(3, generator=seed()))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Sideways, "depends on the row itself"),
        (Twice, "runs one of its causal layers twice"),
        (Bare, "without mask A"),
        (Open, "no layer hides the image"),
    ],
)
def test_a_wrong_declaration_is_refused_and_not_sampled(kind, said):
    model = shaken(kind((1, 3, 4), 2))
    with pytest.raises(LimnerError, match=said):
        sample(model, 3, generator=seed(), method="streaming")
    assert current_stream() is None


def some_models():
    gated = GatedPixelCNN(GatedPixelCNNConfig(features=8, blocks=2, head_features=8), (1, 8, 7), 2)
    return [shaken(gated), shaken(DiagonalBiLSTM(DiagonalBiLSTMConfig(hidden=6, layers=2), (1, 8, 7), 2))]


@pytest.mark.parametrize("which", [0, 1])
def test_two_samplers_of_one_model_take_turns(which):
    """And the model is used in between, even with gradients."""
    model = some_models()[which]
    alone = [model.sample(n, generator=seed(n)) for n in (3, 5)]
    rows = [row_sampler(model, n, generator=seed(n), method="streaming") for n in (3, 5)]
    exact = model.log_prob(alone[0])
    for _ in range(8):
        for each in rows:
            each.draw_row()
        assert torch.equal(model.log_prob(alone[0]), exact)
    exact.sum().backward()
    assert [torch.equal(each.images, images) for each, images in zip(rows, alone, strict=True)] == [True, True]


@pytest.mark.parametrize("which", [0, 1])
def test_samplers_in_threads_do_not_meet(which):
    model = some_models()[which]
    drawn, inside = {}, threading.Barrier(3)

    def draw(number):
        rows = row_sampler(model, 4, generator=seed(number), method="streaming")
        for _ in range(8):
            inside.wait(60)
            rows.draw_row()
        drawn[number] = rows.images

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for number in range(3):
        assert torch.equal(drawn[number], model.sample(4, generator=seed(number)))


@pytest.mark.parametrize("which", [0, 1])
def test_what_is_remembered_is_free_with_the_sampler(which):
    rows = row_sampler(some_models()[which], 3, generator=seed(), method="streaming")
    rows.draw_row()
    memory = weakref.ref(next(iter(rows.stream.memories.values())))
    gc.disable()
    try:
        del rows
        assert memory() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("network", ["diagonal", "row"])
def test_the_scales_of_a_multi_scale_model_stream(network):
    config = MultiScalePixelRNNConfig(network=network, hidden=6, small_hidden=5, context=4, scales=3, classes=2)
    model = shaken(MultiScalePixelRNN(config, (1, 6, 7), 3))
    naive = model.sample(4, generator=seed())
    assert torch.equal(sample(model, 4, generator=seed(), method="streaming"), naive)


def test_float32_differs_where_a_uniform_lies_within_rounding_only():
    model = some_models()[0].float()
    drawn = sample(model, 64, generator=seed(), method="streaming")
    uniforms = torch.rand(64, 1, 8, 7, generator=seed(), dtype=torch.float64)
    k = model.checked_levels(drawn)
    with torch.no_grad():
        p = model.conditionals(k)
        odds = p.log_prob(torch.ones_like(k)).double().exp()
    solved = p.icdf(uniforms) == k
    assert ((1 - odds - uniforms).abs()[~solved] < 1e-5).all()
    assert solved.double().mean() > 0.999


def test_memory_grows_with_a_row_not_with_the_image():
    """Bytes of all that the layers remember, weights aside."""
    held = {}
    for side in ((16, 16), (48, 16), (16, 48)):
        model = GatedPixelCNN(GatedPixelCNNConfig(features=8, blocks=2, head_features=8), (1, *side), 2)
        rows = row_sampler(model, 2, generator=seed(), method="streaming")
        finish(rows)
        memories = rows.stream.memories.values()
        kept = [x for m in memories for name in ("row", "history") if (x := getattr(m, name, None)) is not None]
        held[side] = sum(x.numel() for x in kept)
    assert held[48, 16] == held[16, 16] > 0
    assert held[16, 16] < held[16, 48] < 3.2 * held[16, 16]
