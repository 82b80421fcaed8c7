"""Every row sampler draws the naive sampler's images: whatever the model, head, class, batch and known pixels."""

import pytest
import torch

from limner import accelerate
from limner.errors import LimnerError
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from limner.models.patch_pixelcnn import PatchPixelCNN, PatchPixelCNNConfig
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.models.pixelcnnpp import PixelCNNPP, PixelCNNPPConfig
from limner.models.pixelrnn import DiagonalBiLSTM, DiagonalBiLSTMConfig, RowLSTM, RowLSTMConfig
from limner.models.recipes import TrainingConfig
from limner.sampling import sample
from limner.sampling.methods import row_methods, row_sampler
from limner.sampling.streaming import StreamingRowSampler
from limner.training.optimizers import Optimizers

needs_numba = pytest.mark.skipif(accelerate.hooks() is None, reason="nothing is compiled")
COMPILED = pytest.param("compiled", marks=needs_numba)


def masked(**sizes):
    return PixelCNN, PixelCNNConfig(**{"features": 12, "blocks": 2, "head_features": 12} | sizes)


def gated(**sizes):
    return GatedPixelCNN, GatedPixelCNNConfig(**{"features": 12, "blocks": 2, "head_features": 12} | sizes)


def plusplus(**sizes):
    return PixelCNNPP, PixelCNNPPConfig(**{"features": 10, "blocks": 1, "components": 3} | sizes)


def patches(**sizes):
    given = {"features": 16, "blocks": 2, "embedding": 5, "first_kernel": 5} | sizes
    return PatchPixelCNN, PatchPixelCNNConfig(**given)


def diagonal(**sizes):
    return DiagonalBiLSTM, DiagonalBiLSTMConfig(**{"hidden": 9, "head_features": 10, "first_kernel": 5} | sizes)


def row(**sizes):
    return RowLSTM, RowLSTMConfig(**{"hidden": 9, "head_features": 10, "first_kernel": 5} | sizes)


CASES = {
    **{
        f"{name}-{case}": (make(**sizes), shape, levels)
        for name, make in (("masked", masked), ("gated", gated))
        for case, shape, levels, sizes in (
            ("binary", (1, 6, 5), 2, {}),
            ("grey", (1, 4, 6), 17, {"head": "softmax", "kernel": 5, "first_kernel": 5}),
            ("colour", (3, 3, 4), 256, {"features": 19, "blocks": 1}),
            ("colour-gaussian", (3, 4, 3), 256, {"head": "gaussian", "kernel": 1}),
            ("one-row", (1, 1, 5), 3, {"first_kernel": 3, "head": "gaussian"}),
            ("one-column-classes", (1, 5, 1), 4, {"classes": 3}),
            ("colour-classes-narrow", (3, 3, 4), 4, {"features": 13, "head_features": 2, "classes": 3}),
        )
    },
    **{
        f"{name}-{case}": (make(**sizes), shape, levels)
        for name, make in (("diagonal", diagonal), ("row", row))
        for case, shape, levels, sizes in (
            ("binary", (1, 5, 7), 2, {"hidden": 8}),
            ("grey-three-layers", (1, 5, 7), 17, {"layers": 3}),
            ("colour", (3, 3, 4), 256, {"hidden": 19, "layers": 2}),
            ("colour-classes-narrow", (3, 3, 4), 4, {"hidden": 2, "layers": 3, "classes": 3}),
            ("one-row", (1, 1, 5), 3, {"head": "gaussian"}),
            ("one-column-classes", (1, 5, 1), 4, {"classes": 3}),
        )
    },
    "row-wide": (row(kernel=5, layers=2), (1, 5, 7), 2),
    "row-pointwise": (row(kernel=1), (3, 3, 4), 4),
    "gated-no-blocks": (gated(blocks=0), (1, 4, 4), 2),
    "masked-classes-no-rows-above": (masked(kernel=1, classes=2), (1, 3, 4), 2),
    "++-binary": (plusplus(), (1, 5, 6), 2),
    "++-colour": (plusplus(), (3, 7, 5), 256),
    "++-normalised": (plusplus(rms_norm=True), (3, 7, 5), 256),
    "++-normalised-classes": (plusplus(rms_norm=True, classes=3, blocks=2), (1, 6, 5), 4),
    "++-classes": (plusplus(classes=3, halvings=1), (3, 4, 5), 4),
    "++-one-row": (plusplus(features=17), (1, 1, 5), 16),
    "++-no-halving": (plusplus(halvings=0, blocks=2), (1, 4, 4), 256),
    "patches-binary": (patches(), (1, 6, 8), 2),
    "patches-pixelwise-classes": (patches(patch=1, classes=3, features=9), (1, 4, 5), 2),
    "patches-classes": (patches(classes=2, kernel=5), (1, 4, 6), 3),
    "patches-colour": (patches(patch=1), (3, 3, 4), 4),
}


def seed(number=3):
    return torch.Generator().manual_seed(number)


def build(case, dtype=torch.float64):
    (family, config), shape, levels = CASES[case]
    torch.manual_seed(0)
    model = family(config, shape, levels).to(dtype).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return model


def draw(model, n, method, *, known=None, labels=None):
    """The images, and the sum of what the known pixels weigh."""
    rows = row_sampler(model, n, generator=seed(), known=known, labels=labels, method=method)
    weight = torch.zeros(n, dtype=torch.float64)
    while rows.row < model.shape[1]:
        rows.draw_row()
        weight += rows.log_prob_known_row
    return rows.images, weight


def methods(model):
    return [method for method in row_methods(model) if method != "naive"]


def some_images(model, n):
    k = torch.randint(model.levels, (n, *model.shape), generator=seed(5))
    return (k * 255 / (model.levels - 1)).round().to(torch.uint8)


@pytest.fixture(params=[1, 3])
def threads(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [1, 3, 17])
def test_all_methods_draw_the_same_images(case, n):
    model = build(case)
    naive = model.sample(n, generator=seed())
    for method in methods(model):
        assert torch.equal(draw(model, n, method)[0], naive), method


@pytest.mark.parametrize("case", CASES)
def test_known_pixels_are_kept_and_weighed(case):
    model = build(case)
    n, (_, h, w) = 5, model.shape
    images, mask = some_images(model, n), torch.rand(n, h, w, generator=seed()) < 0.5
    anything = images.masked_fill(~mask[:, None], 77)  # what is not given need be no level
    drawn, weight = draw(model, n, "naive", known=(anything, mask))
    assert torch.equal(drawn.movedim(1, -1)[mask], images.movedim(1, -1)[mask])
    assert not torch.equal(drawn, images)
    for method in methods(model):
        fast, fast_weight = draw(model, n, method, known=(anything, mask))
        assert torch.equal(fast, drawn), method
        torch.testing.assert_close(fast_weight, weight, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", CASES)
def test_what_all_pixels_weigh_is_the_likelihood(case, dtype):
    """Of each conditional, from what is remembered: in float32 the whole network differs by rounding alone."""
    model = build(case, dtype)
    n, images = 4, some_images(model, 4)
    labels = torch.arange(n) % model.classes if model.classes else None
    everything = torch.ones(model.shape[1:], dtype=torch.bool)
    with torch.no_grad():
        exact = model.log_prob(images, labels=labels)
    error = {torch.float32: 2e-4, torch.float64: 1e-9}[dtype]
    for method in methods(model):
        same, weight = draw(model, n, method, known=(images, everything), labels=labels)
        assert torch.equal(same, images)
        torch.testing.assert_close(weight, exact, rtol=error, atol=error)


@pytest.mark.parametrize("case", CASES)
def test_selected_images_go_on_with_their_memory(case, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model = build(case)
    n, (_, h, w) = 5, model.shape
    known = (some_images(model, n), torch.rand(n, h, w, generator=seed()) < 0.3)
    index = torch.tensor([4, 4, 0, 1, 4])
    drawn = {}
    for method in ["naive", *methods(model)]:
        rows = row_sampler(model, n, generator=seed(), known=known, method=method)
        while rows.row < h:
            rows.draw_row()
            if rows.row <= (h + 1) // 2:
                before, weight = rows.images, rows.log_prob_known_row
                rows.select(index)
                assert torch.equal(rows.images, before[index])
                assert torch.equal(rows.log_prob_known_row, weight[index])
        drawn[method] = rows.images
    for method in methods(model):
        assert torch.equal(drawn[method], drawn["naive"]), method


@pytest.mark.parametrize("make", [diagonal, row])
@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 2, 3)])
def test_each_image_has_its_context(make, shape):
    """Whatever the method, in batches, with known pixels, and after an exchange of images."""
    family, config = make(layers=2, classes=2)
    model = family(config, shape, 3, context=4).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    n, index = 5, torch.tensor([4, 4, 0, 1, 3])
    options = {
        "known": (some_images(model, n), torch.rand(n, *shape[1:], generator=seed()) < 0.3),
        "context": 20 * torch.randn(n, 4, *shape[1:], dtype=torch.float64, generator=seed()),
    }
    drawn, exchanged = {}, {}
    for method in ("jacobi", *row_methods(model)):
        drawn[method] = sample(model, n, generator=seed(), batch_size=3, method=method, **options)
        if method != "jacobi":
            rows = row_sampler(model, n, generator=seed(), method=method, **options)
            rows.draw_row()
            rows.select(index)
            while rows.row < shape[1]:
                rows.draw_row()
            exchanged[method] = rows.images
    for method, images in drawn.items():
        assert torch.equal(images, drawn["naive"]), method
    for method, images in exchanged.items():
        assert torch.equal(images, exchanged["naive"]), method
    other = sample(model, n, generator=seed(), **options | {"context": -options["context"]})
    assert not torch.equal(other, drawn["naive"])


@pytest.mark.parametrize("method", ["naive", "streaming", COMPILED, "jacobi"])
def test_a_context_that_does_not_fit_is_refused(method):
    family, config = diagonal()
    plain, biased = family(config, (1, 4, 5), 2), family(config, (1, 4, 5), 2, context=3)
    with pytest.raises(LimnerError, match=r"context .* must be \(2, 3, 4, 5\), not None"):
        sample(biased, 2, method=method)
    with pytest.raises(LimnerError, match=r"must be \(2, 3, 4, 5\), not \(2, 3, 4, 4\)"):
        sample(biased, 2, method=method, context=torch.zeros(2, 3, 4, 4))
    with pytest.raises(LimnerError, match=r"must be None, not \(2, 3, 4, 5\)"):
        sample(plain, 2, method=method, context=torch.zeros(2, 3, 4, 5))


@pytest.mark.parametrize("case", ["masked-colour", "gated-binary", "++-binary", "patches-binary", "diagonal-binary"])
def test_rows_are_streamed_from_top_to_bottom(case):
    model = build(case)
    for method in row_methods(model):
        seen = []
        final = sample(model, 2, generator=seed(), method=method, on_row=lambda *row, seen=seen: seen.append(row))
        assert [row for row, _ in seen] == list(range(model.shape[1]))
        for row, images in seen:
            band = -(-(row + 1) // model.patch) * model.patch
            assert torch.equal(images[:, :, :band], final[:, :, :band])
            assert (images[:, :, band:] == 0).all()


@needs_numba
@pytest.mark.parametrize(
    "case", ["masked-binary", "gated-binary", "++-binary", "patches-binary", "diagonal-binary", "row-binary"]
)
def test_memory_grows_with_a_row_not_with_the_image(case):
    (family, config), _, levels = CASES[case]
    size = {
        side: row_sampler(family(config, (1, *side), levels), 2, method="compiled").state_bytes
        for side in ((16, 16), (64, 16), (16, 64))
    }
    assert size[64, 16] == size[16, 16]
    assert 2 * size[16, 16] < size[16, 64] < 4.2 * size[16, 16]


@needs_numba
def test_new_weights_make_a_new_program():
    model = build("gated-binary")
    before = draw(model, 3, "compiled")[0]
    with torch.no_grad():
        model.head_2.bias.add_(20.0)
    assert (before < 255).any()
    assert (draw(model, 3, "compiled")[0] == 255).all()


@pytest.mark.parametrize("why", ["absent", "switched off"])
def test_pytorch_samples_where_nothing_is_compiled(why, monkeypatch):
    if why == "absent":
        monkeypatch.setattr(accelerate, "_loaded", lambda: None)
    else:
        monkeypatch.setenv("LIMNER_ACCELERATE", "0")
    model = build("gated-binary")
    assert isinstance(row_sampler(model, 2), StreamingRowSampler)
    with pytest.raises(LimnerError, match="no compiled sampler: streaming, naive"):
        row_sampler(model, 2, method="compiled")


@needs_numba
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_training_step_makes_a_new_program(optimizer):
    """torch's fused AdamW does not raise a parameter's version, by which programs are kept."""
    model = build("gated-binary")
    optimizers = Optimizers(model, TrainingConfig(optimizer=optimizer, learning_rate=10.0))
    versions = [p._version for p in model.parameters()]
    before = draw(model, 3, "compiled")[0]
    model.head_2.bias.grad = torch.full_like(model.head_2.bias, -1.0)
    optimizers.clipped_step(1.0, 0.0)
    assert all(p._version > version for p, version in zip(model.parameters(), versions, strict=True))
    assert (before < 255).any()
    assert (draw(model, 3, "compiled")[0] == 255).all()


def test_known_images_of_another_shape_are_refused():
    model = build("gated-binary")
    with pytest.raises(LimnerError, match=r"must be \(2, 1, 6, 5\)"):
        row_sampler(model, 2, known=(torch.zeros(2, 1, 5, 5, dtype=torch.uint8), torch.ones(5, 5, dtype=torch.bool)))
    known = torch.full((2, 1, 6, 5), 7, dtype=torch.uint8), torch.ones(6, 5, dtype=torch.bool)
    with pytest.raises(LimnerError, match="none of the 2 levels"):
        row_sampler(model, 2, known=known)
