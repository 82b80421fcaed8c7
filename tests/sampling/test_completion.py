"""Completions follow p(missing | given), checked against the enumeration of every completion of tiny images."""

import itertools

import pytest
import torch

from limner.data import dequantize
from limner.errors import LimnerError
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from limner.models.patch_pixelcnn import PatchPixelCNN, PatchPixelCNNConfig
from limner.sampling import complete, completion, is_suffix
from limner.sampling.completion import _effective_samples, gibbs_passes


def model_of(shape=(1, 3, 3), levels=2, classes=0, seed=1):
    """Far from the tame start; its classes differ."""
    torch.manual_seed(seed)
    config = GatedPixelCNNConfig(features=12, blocks=1, head_features=12, first_kernel=3, classes=classes)
    model = GatedPixelCNN(config, shape, levels).double().eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, std=4 if "label" in name else 0.6)
    return model.requires_grad_(False)


def mask_of(*rows):
    """``"?"`` is missing."""
    return torch.tensor([[pixel == "?" for pixel in row] for row in rows])


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def every_completion(model, image, missing):
    """All completions uint8 ``(M, C, H, W)`` and their exact p(missing | given), ``(M,)``."""
    hidden = missing.expand_as(image)
    values = torch.tensor(list(itertools.product(range(model.levels), repeat=int(hidden.sum()))))
    every = model.checked_levels(image[None]).repeat(len(values), 1, 1, 1)
    every[:, hidden] = values
    images = dequantize(every, model.levels)
    return images, torch.softmax(model.log_prob(images), 0)


def frequencies(drawn, images):
    """How often each of ``images`` is among ``drawn``; every drawn one must be among them."""
    index = {tuple(p.flatten().tolist()): i for i, p in enumerate(images)}
    found = torch.tensor([index[tuple(p.flatten().tolist())] for p in drawn])
    return torch.bincount(found, minlength=len(images)).double() / len(drawn)


def distance(a, b):
    """Total variation."""
    return float((a - b).abs().sum() / 2)


IMAGE = dequantize(torch.tensor([[[1, 0, 1], [0, 1, 1], [1, 0, 0]]]), 2)
TOP = mask_of("???", "?..", "...")
BOX = mask_of("...", "??.", "??.")
SCATTERED = mask_of("?.?", ".?.", "?..")
SUFFIX = mask_of("...", ".??", "???")


def clamped(model, image, missing, n):
    """What clamping alone draws: the given pixels kept, nothing weighted."""
    w = missing.shape[1]
    k = model.checked_levels(image[None]).repeat(n, 1, 1, 1)
    u = torch.rand(n, *model.shape, generator=seeded(), dtype=torch.float64)
    for place, c in itertools.product(model.order.tolist(), range(model.shape[0])):
        i, j = divmod(place, w)
        if missing[i, j]:
            k[:, c, i, j] = model.conditionals(k).icdf(u)[:, c, i, j]
    return dequantize(k, model.levels)


@pytest.mark.parametrize("missing", [TOP, BOX, SCATTERED], ids=["top", "box", "scattered"])
def test_particles_approach_the_conditional_and_clamping_does_not(missing):
    model = model_of()
    images, exact = every_completion(model, IMAGE, missing)
    assert exact.max() > 1.5 / len(exact)  # it is no uniform distribution
    assert distance(frequencies(clamped(model, IMAGE, missing, 5000), images), exact) > 0.1
    far = []
    for particles in (20, 5000):
        drawn = [
            complete(model, IMAGE, missing, n, particles=particles, generator=seeded(seed))
            for seed, n in (enumerate([20] * 20) if particles == 20 else [(0, 5000)])
        ]
        far.append(distance(frequencies(torch.cat([d.images for d in drawn]), images), exact))
        assert all(not d.exact and 1 <= d.lowest_effective_samples <= d.particles == particles for d in drawn)
    assert far[1] < 0.05
    assert far[1] < far[0]


@pytest.mark.parametrize(("missing", "seed"), [(TOP, 2), (SCATTERED, 5)], ids=["top", "scattered"])
def test_particles_whose_weights_differ_are_drawn_anew(missing, seed):
    model, generator = model_of(seed=seed), seeded(seed)
    for parameter in model.parameters():
        parameter.copy_(0.8 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    images, exact = every_completion(model, IMAGE, missing)
    done = complete(model, IMAGE, missing, 4000, particles=4000, generator=seeded())
    assert done.lowest_effective_samples < 2000
    assert distance(frequencies(done.images, images), exact) < 0.05


@pytest.mark.parametrize(("shape", "levels", "missing"), [
    ((1, 3, 3), 2, SUFFIX),
    ((1, 2, 3), 2, mask_of("???", "???")),
    ((3, 2, 2), 2, mask_of("..", ".?")),
    ((3, 2, 2), 2, mask_of("..", "??")),
])  # fmt: skip
def test_a_raster_suffix_is_exact(shape, levels, missing):
    model = model_of(shape, levels)
    image = dequantize(torch.randint(levels, shape, generator=seeded(2)), levels)
    images, exact = every_completion(model, image, missing)
    done = complete(model, image, missing, 5000, gibbs=2, generator=seeded())
    assert (done.exact, done.gibbs) == (True, 0)  # nothing is left to do for Gibbs passes
    assert done.distinct == len({tuple(image.flatten().tolist()) for image in done.images})
    assert done.effective_samples == done.lowest_effective_samples == done.particles == 5000
    assert distance(frequencies(done.images, images), exact) < 0.05


@pytest.mark.parametrize(("missing", "suffix"), [
    (mask_of("..??", "..??"), True),  # patches are drawn one after the other: the right one is the last
    (mask_of("....", "????"), False),
    (mask_of(".?..", "?..?"), False),
])  # fmt: skip
@pytest.mark.parametrize("gibbs", [0, 1])
def test_patches_are_completed_in_their_own_order(missing, suffix, gibbs):
    torch.manual_seed(5)
    model = PatchPixelCNN(PatchPixelCNNConfig(features=8, blocks=1, embedding=8, first_kernel=3), (1, 2, 4), 2).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model.eval().requires_grad_(False)
    image = dequantize(torch.randint(2, (1, 2, 4), generator=seeded(2)), 2)
    images, exact = every_completion(model, image, missing)
    done = complete(model, image, missing, 2000, particles=4000, gibbs=gibbs, generator=seeded())
    assert done.exact == suffix
    assert distance(frequencies(done.images, images), exact) < 0.07
    if not suffix:
        start = clamped(model, image, missing, 2000)
        assert distance(frequencies(start, images), exact) > 0.1
        after = gibbs_passes(model, start, missing, 6, generator=seeded(1))
        assert distance(frequencies(after, images), exact) < 0.07


def test_channels_of_a_missing_pixel_are_drawn_together():
    model = model_of((3, 2, 2), 2)
    missing = mask_of("?.", "..")
    image = dequantize(torch.randint(2, (3, 2, 2), generator=seeded(2)), 2)
    images, exact = every_completion(model, image, missing)
    drawn = complete(model, image, missing, 5000, particles=5000, generator=seeded()).images
    assert distance(frequencies(drawn, images), exact) < 0.05


MIDDLE = mask_of("...", ".?.", "?..")  # begins within a row, part of which says something of the class


@pytest.mark.parametrize("missing", [BOX, SUFFIX, MIDDLE], ids=["box", "suffix", "middle"])
def test_the_class_is_inferred_from_all_that_is_given(missing):
    """log_prob without labels is the marginal over classes: so must the completions be."""
    model = model_of(classes=3, seed=6)
    images, exact = every_completion(model, IMAGE, missing)
    drawn = complete(model, IMAGE, missing, 5000, particles=5000, generator=seeded()).images
    assert distance(frequencies(drawn, images), exact) < 0.05
    each = [torch.softmax(model.log_prob(images, labels=torch.full((len(images),), label)), 0) for label in range(3)]
    one = each[1]
    assert distance(one, exact) > 0.1
    assert distance(sum(each) / 3, exact) > 0.06  # the classes are not equally probable, given what is given
    drawn = complete(model, IMAGE, missing, 5000, particles=5000, label=1, generator=seeded()).images
    assert distance(frequencies(drawn, images), one) < 0.05


@pytest.mark.parametrize("levels", [2, 3])
def test_gibbs_passes_lead_from_the_wrong_start_to_the_conditional(levels):
    model = model_of(levels=levels)
    image = dequantize(torch.randint(levels, (1, 3, 3), generator=seeded(2)), levels)
    missing = mask_of("?.?", "...", "...") if levels == 3 else TOP
    images, exact = every_completion(model, image, missing)
    start = clamped(model, image, missing, 2000)
    assert distance(frequencies(start, images), exact) > 0.15
    after = gibbs_passes(model, start, missing, 6, generator=seeded(1))
    assert distance(frequencies(after, images), exact) < 0.07


def test_gibbs_leaves_the_conditional_as_it_is():
    model = model_of()
    images, exact = every_completion(model, IMAGE, SCATTERED)
    done = complete(model, IMAGE, SCATTERED, 2000, particles=4000, gibbs=1, generator=seeded())
    assert done.gibbs == 1
    assert distance(frequencies(done.images, images), exact) < 0.07


def test_same_generator_same_completions_and_given_pixels_are_kept():
    model = model_of((3, 4, 5), 4)
    image = dequantize(torch.randint(4, (3, 4, 5), generator=seeded(1)), 4)
    missing = torch.rand(4, 5, generator=seeded(2)) < 0.5
    first, again, other = (
        complete(model, image, missing, 6, particles=40, gibbs=1, generator=seeded(s)).images for s in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert (first[:, :, ~missing] == image[:, ~missing]).all()
    hidden = image.clone()
    hidden[:, missing] = 7  # what stands in the missing part does not matter
    assert torch.equal(first, complete(model, hidden, missing, 6, particles=40, gibbs=1, generator=seeded()).images)


def test_rows_and_gibbs_values_are_reported():
    model = model_of((1, 4, 3), 2)
    image = torch.zeros(1, 4, 3, dtype=torch.uint8)
    missing = mask_of("...", "??.", "...", "...")
    rows, values = [], []
    complete(
        model, image, missing, 3, particles=9, gibbs=2, generator=seeded(),
        on_row=lambda row, images: rows.append((row, images.shape)), on_gibbs=lambda *done: values.append(done),
    )  # fmt: skip
    assert rows == [(row, (3, 1, 4, 3)) for row in range(4)]
    assert values == [(i, 4) for i in range(1, 5)]


def test_effective_samples_of_equal_weights_are_all_and_of_one_that_outweighs_them_one():
    assert _effective_samples(torch.zeros(5)) == pytest.approx(5)
    assert _effective_samples(torch.tensor([0.0, -50.0, -60.0])) == pytest.approx(1)


def test_is_suffix():
    assert is_suffix(SUFFIX.flatten())
    assert is_suffix(torch.ones(6, dtype=torch.bool))
    for mask in (TOP, BOX, SCATTERED):
        assert not is_suffix(mask.flatten())


@pytest.mark.parametrize(("words", "said"), [
    ({"missing": mask_of("...", "...", "...")}, "nothing is missing"),
    ({"missing": mask_of("??", "..")}, "bool mask of 3×3"),
    ({"image": IMAGE[None]}, "image of 1×3×3"),
    ({"image": torch.zeros(1, 2, 3, dtype=torch.uint8)}, "1×2×3"),
    ({"n": 0}, "n must be 1 or more"),
    ({"gibbs": -1}, "gibbs 0 or more"),
    ({"particles": 3}, "8 completions cannot be drawn from 3 particles"),
    ({"label": 1}, "has no classes"),
])  # fmt: skip
def test_refusals(words, said):
    words = {"image": IMAGE, "missing": TOP, **words}
    with pytest.raises(LimnerError, match=said):
        complete(model_of(), **words)
    with pytest.raises(LimnerError, match="this model has 256"):
        complete(model_of((1, 3, 3), 256), IMAGE, TOP, gibbs=1)


def test_one_completion_of_one_particle_is_enough():
    for missing in (TOP, SUFFIX):
        done = complete(model_of(), IMAGE, missing, 1, particles=1, generator=seeded())
        assert done.images.shape == (1, 1, 3, 3)
        assert (done.particles, done.distinct, done.effective_samples) == (1, 1, pytest.approx(1))


def test_particles_of_equal_weight_are_not_drawn_anew(monkeypatch):
    """Whatever lies above, each given pixel is as probable: nothing is resampled but at the end."""
    model, calls = model_of(), []
    for parameter in model.parameters():
        parameter.zero_()
    monkeypatch.setattr(completion, "_systematic", lambda w, n, g: calls.append(w) or torch.arange(n))
    done = complete(model, IMAGE, SCATTERED, 5, particles=64, generator=seeded())
    assert len(calls) == 1
    assert calls[0] == pytest.approx(calls[0][:1].expand(64))
    assert done.effective_samples == pytest.approx(64) == done.lowest_effective_samples


def test_what_is_done_where_nothing_is_said():
    done = complete(model_of(), IMAGE, TOP, generator=seeded())
    assert (len(done.images), done.particles, done.gibbs) == (8, 512, 0)
