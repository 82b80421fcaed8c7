import math

import pytest
import torch

from limner.data.imageset import ImageSet, MemoryStore, Split
from limner.errors import LimnerError
from limner.evaluation import Inception, measure_fidelity
from limner.evaluation.distances import (
    _good_share,
    clipped_density_coverage,
    frechet_distance,
    kernel_distance,
    precision_recall,
    precision_recall_of_subsets,
)
from limner.evaluation.fidelity import class_figures
from limner.evaluation.jackknife import all_but_one, halves, standard_errors
from limner.evaluation.patches import blurred
from limner.runs import beside_training


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def gaussian(n, mean, deviations, generator):
    """Features whose sample mean and covariance are exactly these."""
    x = torch.randn(n, len(mean), generator=generator, dtype=torch.float64)
    x = x - x.mean(0)
    x = x @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(x.T))).T
    return x * torch.tensor(deviations, dtype=torch.float64) + torch.tensor(mean, dtype=torch.float64)


def test_frechet_distance_of_gaussians_is_the_closed_form(generator):
    a = gaussian(100, [0.0, 1.0, 2.0], [1.0, 2.0, 3.0], generator)
    b = gaussian(70, [1.0, 1.0, 0.0], [2.0, 2.0, 0.5], generator)
    # independent coordinates: Σ (μ − ν)² + (σ − τ)²
    assert frechet_distance(a, b) == pytest.approx(1 + 0 + 4 + 1 + 0 + 6.25, rel=1e-9)
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(12.25, rel=1e-6)
    assert frechet_distance(b, a) == pytest.approx(12.25, rel=1e-6)


def test_frechet_distance_is_that_of_torchmetrics(generator):
    from torchmetrics.image.fid import FrechetInceptionDistance

    a = torch.randn(40, 64, generator=generator, dtype=torch.float64)  # covariances without an inverse
    b = (
        2
        + torch.randn(300, 64, generator=generator, dtype=torch.float64)
        @ torch.rand(64, 64, generator=generator).double()
    )
    fid = FrechetInceptionDistance(feature=torch.nn.Identity(), input_img_size=(64,))
    fid.update(a, real=True)
    fid.update(b, real=False)
    assert frechet_distance(a, b) == pytest.approx(float(fid.compute()), rel=1e-6)


def test_precision_and_recall_of_subsets_are_those_of_sets_as_small(generator):
    a, b = (torch.randn(120, 3, generator=generator) for _ in range(2))
    kept = halves(120, generator)
    assert torch.equal(kept[:10], ~kept[10:])
    shares = precision_recall_of_subsets(a, b, 3, kept)
    for subset, each in zip(kept, shares.tolist(), strict=True):
        assert tuple(each) == precision_recall(a[subset], b[subset])


def test_the_jackknife_of_a_mean_is_its_standard_error(generator):
    x = torch.randn(2000, generator=generator, dtype=torch.float64)
    for kept in (all_but_one(2000), halves(2000, generator)):
        assert kept.shape == (20, 2000)
        (error,) = standard_errors([[float(x[subset].mean())] for subset in kept], kept)
        assert error == pytest.approx(2000**-0.5, rel=0.4)  # of 20 subsets it is known to a sixth


def test_two_standard_errors_decide_what_is_nearer():
    for ratio, said in ((0.55, "nearer"), (0.65, "as near"), (1.35, "as near"), (1.45, "farther")):
        assert beside_training({"frechet_ratio": ratio, "frechet_ratio_standard_error": 0.2}) == said
    assert beside_training({"frechet_ratio": 0.1}) is None


def test_real_images_are_within_the_error_of_training_images(digits, network, generator):
    """python -m benchmarks.error_bars: of 200 such draws the ratio was 0.85 to 1.14, in 198 within two errors of 1."""
    everything = torch.cat([split.first(9999) for split in digits.splits.values()])
    ratios, errors = [], []
    for seed in range(4):
        ours, test, train = everything[torch.randperm(1797, generator=generator)].split([250, 250, 1297])
        splits = {"train": Split(MemoryStore(train)), "test": Split(MemoryStore(test))}
        f = measure_fidelity(ours, ImageSet("x", digits.shape, 17, splits), network, seed=seed)
        ratios.append(f.frechet_ratio)
        errors.append(f.frechet_ratio_standard_error)
        assert 0.01 < f.precision_standard_error < 0.05  # 0.020 over many draws
        assert 0.01 < f.recall_standard_error < 0.05
        assert 0 < f.clipped_density_standard_error < 0.15  # 0 where all halves read 1
    away = abs(torch.tensor(ratios) - 1)
    assert (away <= 2 * torch.tensor(errors)).all()
    assert 0.03 < min(errors) < max(errors) < 0.3  # 0.05 over many draws


def test_kernel_distance_of_points_is_the_closed_form():
    a, b = torch.zeros(40, 2), torch.ones(40, 2)  # k: 1 within a, (2 / 2 + 1)³ within b, 1 between
    mean, deviation = kernel_distance(a, b)
    assert mean == pytest.approx(1 + 8 - 2)
    assert deviation == pytest.approx(0, abs=1e-12)


def test_kernel_distance_is_about_nothing_for_equal_distributions(generator):
    a, b = (torch.randn(400, 8, generator=generator) for _ in range(2))
    mean, deviation = kernel_distance(a, b)
    assert abs(mean) < deviation
    assert kernel_distance(a, b) == (mean, deviation)
    shifted, _ = kernel_distance(a, b + 1)
    assert shifted > 10 * deviation


def test_identical_sets(generator):
    a = torch.randn(200, 8, generator=generator)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-8)
    assert precision_recall(a, a) == (1.0, 1.0)
    twice = a[:50].repeat(4, 1)  # balls of radius 0
    assert precision_recall(twice, twice) == (1.0, 1.0)


def test_disjoint_sets(generator):
    a = torch.randn(200, 8, generator=generator)
    assert precision_recall(a, a + 100) == (0.0, 0.0)


def test_the_order_of_images_means_nothing(generator):
    a, b = (torch.randn(100, 8, generator=generator) for _ in range(2))
    shuffled = a[torch.randperm(100, generator=generator)]
    assert frechet_distance(shuffled, b) == pytest.approx(frechet_distance(a, b), rel=1e-9)
    assert precision_recall(shuffled, b) == precision_recall(a, b)


def test_precision_and_recall_tell_quality_from_variety(generator):
    data = torch.cat([torch.randn(100, 4, generator=generator) + 20 * side for side in (0, 1)])
    half = torch.randn(200, 4, generator=generator)  # one of two modes
    precision, recall = precision_recall(half, data)
    assert precision > 0.8
    assert recall < 0.55
    noisy = torch.cat([data[::2] + 0.01, 20 * torch.randn(100, 4, generator=generator) - 100])  # half is rubbish
    precision, recall = precision_recall(noisy, data)
    assert precision == 0.5
    assert recall > 0.8


def test_class_figures():
    labels = torch.arange(4).repeat(5)
    assert class_figures(labels, labels, 4) == (4, 0.0)
    covered, kl = class_figures(torch.tensor([0, 0, 0, 1]), labels, 4)
    assert covered == 2
    assert kl == pytest.approx(0.75 * math.log(3) + 0.25 * math.log(1))


def test_real_images_are_as_near_as_the_data(digits, network):
    f = measure_fidelity(digits.split("validation").first(250), digits, network)
    assert (f.samples, f.classes_covered) == (250, 10)
    assert 0.6 < f.frechet_ratio < 1.6
    assert f.frechet_ratio == pytest.approx(f.frechet / f.data_frechet)
    assert f.precision == pytest.approx(f.data_precision, abs=0.1)
    assert f.recall == pytest.approx(f.data_recall, abs=0.1)
    assert f.class_kl < 0.05


def test_the_reference_itself_is_at_no_distance(digits, network):
    f = measure_fidelity(digits.split("test").first(250), digits, network)
    assert f.frechet_ratio == pytest.approx(0, abs=1e-6)
    assert (f.precision, f.recall) == (1.0, 1.0)


def test_collapse_is_seen(digits, network):
    train = digits.split("train")
    threes = train.take((train.labels == 3).nonzero().flatten())
    f = measure_fidelity(threes.repeat(2, 1, 1, 1)[:250], digits, network)
    assert f.classes_covered < 6
    assert f.class_kl == pytest.approx(math.log(10), abs=0.5)
    assert f.recall < 0.3
    assert f.precision > 0.7
    assert f.frechet_ratio > 4


def test_noise_is_seen(digits, network, generator):
    noise = torch.randint(0, 256, (250, 1, 8, 8), generator=generator).byte()
    f = measure_fidelity(noise, digits, network)
    assert f.frechet_ratio > 20
    assert f.precision < 0.1


def test_the_choice_of_images_is_the_seeds(digits, network):
    samples = digits.split("validation").first(100)
    first, again, other = (measure_fidelity(samples, digits, network, seed=seed) for seed in (0, 0, 1))
    assert first.frechet == again.frechet
    assert first.kernel == again.kernel
    assert first.frechet != other.frechet


def test_too_few_images(digits, network):
    with pytest.raises(LimnerError, match="49 samples: fidelity needs at least 50"):
        measure_fidelity(digits.split("validation").first(49), digits, network)
    few = ImageSet("x", digits.shape, 17, {**digits.splits, "test": Split(MemoryStore(digits.split("test").first(9)))})
    with pytest.raises(LimnerError, match="split 'test' of x has 9 images: fidelity needs 50"):
        measure_fidelity(digits.split("validation").first(250), few, network)


def test_training_images_are_compared_with_others(digits, network):
    f = measure_fidelity(digits.split("validation").first(250), digits, network, split="train")
    assert f.samples == 250
    whole = measure_fidelity(digits.split("train").first(9999), digits, network, split="train")
    assert whole.samples == 648  # one half beside the other
    assert f.data_frechet > whole.data_frechet > 0.1


def test_samples_of_another_shape(digits, network):
    with pytest.raises(LimnerError, match=r"samples are \(3, 8, 8\)"):
        measure_fidelity(torch.zeros(60, 3, 8, 8, dtype=torch.uint8), digits, network)


def test_a_torchvision_that_does_not_fit_is_named(monkeypatch):
    import builtins

    before = builtins.__import__

    def broken(name, *words, **more):
        if name.startswith("torchmetrics"):
            raise RuntimeError("operator torchvision::nms does not exist")
        return before(name, *words, **more)

    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(LimnerError, match=r"torchmetrics cannot be imported \(operator torchvision::nms"):
        kernel_distance(torch.zeros(5, 2), torch.ones(5, 2))


class Means(torch.nn.Module):
    """The rows' means of three channels."""

    def forward(self, x: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        assert x.size(1) == 3
        assert x.dtype == torch.uint8
        return x.float().mean(3).flatten(1) / 255 if return_features else x.new_zeros(x.size(0), 1).float()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_inception_is_used_where_it_is_at_hand(digits, network, tmp_path):
    torch.jit.script(Means()).save(tmp_path / "means.pt")
    inception = Inception(tmp_path / "means.pt")
    assert inception(digits.split("test").first(7)).shape == (7, 24)
    f = measure_fidelity(digits.split("validation").first(250), digits, network, inception=inception)
    assert (f.inception, f.feature_version, f.classes_covered) == ("means.pt", 2, 10)
    assert 0.5 < f.frechet_ratio < 2
    assert f.frechet != measure_fidelity(digits.split("validation").first(250), digits, network).frechet


def test_a_file_that_is_no_inception(tmp_path):
    (tmp_path / "x.pt").write_bytes(b"no archive")
    with pytest.raises(LimnerError, match=r"LIMNER_INCEPTION=.*x\.pt is no TorchScript"):
        Inception(tmp_path / "x.pt")
    with pytest.raises(LimnerError, match="there is no such file"):
        Inception(tmp_path / "y.pt")


def test_clipped_density_and_coverage_read_the_share_of_good_samples(generator):
    """Of normal features; the others lie nowhere near. Means over 5 draws, each within about 0.04 by chance."""
    read = []
    for _ in range(5):
        data, good = (torch.randn(400, 8, generator=generator) for _ in range(2))
        bad = good + 100
        read.append([clipped_density_coverage(torch.cat([bad[:k], good[k:]]), data) for k in range(0, 401, 80)])
    means = torch.tensor(read).mean(0)  # (6, 2)
    assert (means - torch.linspace(1, 0, 6)[:, None]).abs().max() < 0.05


def test_density_is_blind_to_collapse_and_coverage_is_not(generator):
    data = torch.cat([torch.randn(200, 4, generator=generator) + 20 * side for side in (0, 1)])
    density, coverage = clipped_density_coverage(torch.randn(400, 4, generator=generator), data)
    assert density > 0.9
    assert 0.3 < coverage < 0.6  # one mode of two, which all samples share
    once = data[:1].repeat(400, 1)
    assert clipped_density_coverage(once, data)[1] < 0.1


def test_one_far_image_makes_no_sample_good(generator):
    data = torch.cat([torch.randn(200, 4, generator=generator), torch.full((6, 4), 1e3)])
    data[200:] += 300 * torch.randn(6, 4, generator=generator)  # whose balls hold everything between them
    between = torch.full((200, 4), 900.0)
    assert precision_recall(between, data)[0] == 1
    assert clipped_density_coverage(between, data)[0] == 0


def test_the_expected_coverage_is_that_of_many_draws(generator):
    k, n, m = 3, 50, 30
    part = torch.distributions.Beta(float(k), float(n - k)).sample((20_000,))
    held = torch.rand(20_000, m) < part[:, None]
    filled = float(held.sum(1).clamp_max(k).double().mean()) / k
    assert _good_share(filled, k, n, m) == pytest.approx(1, abs=0.03)
    filled = float(held[:, :12].sum(1).clamp_max(k).double().mean()) / k
    assert _good_share(filled, k, n, m) == pytest.approx(12 / 30, abs=0.02)
    assert _good_share(0.0, k, n, m) == 0
    assert _good_share(1.0, k, n, m) == 1


def test_too_many_neighbours_for_clipping():
    with pytest.raises(LimnerError, match="5 neighbours: choose at least 1, fewer than there are samples"):
        clipped_density_coverage(torch.zeros(5, 2), torch.zeros(9, 2))


def test_the_worse_real_images_are_made_the_larger_their_ratio(digits, network, generator):
    """python -m benchmarks.corruptions does it for larger sets."""
    x = digits.split("validation").first(250)

    target = network(digits.split("test").first(250))
    between = frechet_distance(network(digits.split("train").first(250)), target)

    def ratio(images):
        return frechet_distance(network(images.round().clamp(0, 255).byte()), target) / between

    noise = torch.randn(x.shape, generator=generator)
    real = ratio(x.float())
    assert 0.7 < real < 1.4
    blur = [ratio(blurred(x, sigma).float()) for sigma in (0.5, 1, 2)]
    assert real < blur[0] < blur[1] < blur[2]
    assert blur[1] > 2
    assert blur[2] > 5
    assert real < ratio(x + 32 * noise) < ratio(x + 64 * noise)
    assert real < ratio(x + 16.0) < ratio(x + 32.0)
    found = measure_fidelity(x, digits, network)
    assert found.blurred_ratio == pytest.approx(blur[1], rel=0.2)
