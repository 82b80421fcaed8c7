"""Mixtures of discretized logistics: normalised, right in the tails, and the paper's joint probability of a pixel."""

import itertools
import math

import pytest
import torch

from limner.distributions import LogisticMixture, LogisticPixels
from limner.distributions.base import softly_bounded


def parameters(channels, components, *, pixels=6, spread=1.0, seed=0):
    count = LogisticMixture.count(channels, components)
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(1, count, 1, pixels, generator=generator, dtype=torch.float64)


def all_pixels(channels, levels):
    """Every value of one pixel, int64 ``(N, C, 1, 1)``."""
    return torch.tensor(list(itertools.product(range(levels), repeat=channels))).view(-1, channels, 1, 1)


@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
@pytest.mark.parametrize(("channels", "levels"), [(1, 2), (1, 5), (1, 256), (2, 7), (3, 2), (3, 6)])
def test_probabilities_of_a_pixel_sum_to_one(channels, levels, spread):
    k = all_pixels(channels, levels)
    for seed in range(4):
        p = parameters(channels, 3, pixels=1, spread=spread, seed=seed).expand(len(k), -1, 1, 1)
        log_prob = LogisticMixture.given(p, k, levels).log_prob(k).sum(1)
        assert torch.isfinite(log_prob).all()
        assert float(log_prob.exp().sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_joint_is_the_papers(channels):
    """Σ_m π_m P(r|m) P(g|r, m) P(b|r, g, m), written out as in section 2.2."""
    levels, m = 6, 4
    pairs = channels * (channels - 1) // 2
    p = parameters(channels, m)
    k = torch.randint(levels, (1, channels, 1, 6), generator=torch.Generator().manual_seed(1))
    x = k.double()[0, :, 0] * 2 / (levels - 1) - 1
    logits, means, scales, slopes = p.split([m, channels * m, channels * m, pairs * m], 1)
    # Where the network says nothing, M logistics stand side by side, a scale of 2/3 of half their distance.
    means = means.view(channels, m, 6) + ((2 * torch.arange(m) + 1) / m - 1).view(m, 1)
    low, high = math.log(0.05 * 2 / (levels - 1)), math.log(4)
    scales = torch.exp(softly_bounded(scales.view(channels, m, 6) - math.log(1.5 * m), low, high))
    slope = iter(torch.tanh(slopes.view(pairs, m, 6)))
    centres = [means[c] + sum(next(slope) * x[before] for before in range(c)) for c in range(channels)]
    joint = torch.softmax(logits[0, :, 0], 0)
    for channel, centre in enumerate(centres):
        value, half = x[channel], 1 / (levels - 1)
        upper = torch.sigmoid((value + half - centre) / scales[channel])
        lower = torch.sigmoid((value - half - centre) / scales[channel])
        upper[:, value == 1] = 1.0
        lower[:, value == -1] = 0.0
        joint = joint * (upper - lower)
    ours = LogisticMixture.given(p, k, levels).log_prob(k).sum(1)
    assert ours.flatten() == pytest.approx(joint.sum(0).log(), rel=1e-9)


def test_a_channel_reads_the_channels_before_it_and_no_other():
    p = parameters(3, 2)
    k = torch.full((1, 3, 1, 6), 2)
    before = LogisticMixture.given(p, k, 5).cdf(k)
    for source in range(3):
        other = k.clone()
        other[:, source] = 4
        after = LogisticMixture.given(p, other, 5).cdf(k)
        assert [(after[:, c] != before[:, c]).any().item() for c in range(3)] == [c > source for c in range(3)]


@pytest.mark.parametrize("mean", [-40.0, 0.0, 0.3, 1.0, 40.0])
@pytest.mark.parametrize("log_scale", [-30.0, -6.0, -2.0, 30.0])
def test_tails(mean, log_scale):
    """Finite values and gradients, a sum of 1, and the closed form of a logistic's far tail: slope 1/s a unit."""
    one = torch.zeros(1, 1, 1, 1, 256, dtype=torch.float64)
    mean, log_scale = (one + mean).requires_grad_(), (one + log_scale).requires_grad_()
    p = LogisticMixture(one, mean, log_scale, 256)
    log_prob = p.log_prob(torch.arange(256).view(1, 1, 1, 256))
    assert torch.isfinite(log_prob).all()
    assert float(log_prob.detach().exp().sum()) == pytest.approx(1.0, abs=1e-12)
    for gradient in torch.autograd.grad(log_prob.sum(), (mean, log_scale)):
        assert torch.isfinite(gradient).all()
    if mean[0, 0, 0, 0, 0] == -40.0:
        slope = log_prob[0, 0, 0, 2:-1] - log_prob[0, 0, 0, 1:-2]
        assert slope.detach() == pytest.approx(-2 / 255 * p.per_scale[0, 0, 0, 0, 2:-1].detach(), rel=1e-6, abs=1e-6)


def test_gradients_match_finite_differences():
    k = torch.randint(5, (1, 3, 1, 2), generator=torch.Generator().manual_seed(0))
    p = parameters(3, 2, pixels=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: LogisticMixture.given(p, k, 5).log_prob(k), p)


def test_gradients_of_float32_parameters_match_float64():
    k = torch.randint(256, (1, 3, 1, 6), generator=torch.Generator().manual_seed(0))
    gradients = []
    for dtype in (torch.float32, torch.float64):
        p = parameters(3, 5, spread=2.0).to(dtype).requires_grad_()
        (gradient,) = torch.autograd.grad(LogisticMixture.given(p, k, 256).log_prob(k).sum(), p)
        gradients.append(gradient.double())
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("levels", [2, 7])
def test_icdf_draws_from_the_distribution(levels):
    """Equally spaced uniforms through the inverse CDF give each level its probability, in every channel."""
    n = 20_000
    k = torch.randint(levels, (1, 3, 1, 1), generator=torch.Generator().manual_seed(2)).expand(-1, -1, 1, n)
    p = LogisticMixture.given(parameters(3, 3, pixels=1).expand(-1, -1, 1, n), k, levels)
    u = ((torch.arange(n, dtype=torch.float64) + 0.5) / n).expand(1, 3, 1, n)
    drawn = p.icdf(u)
    for channel in range(3):
        frequencies = torch.bincount(drawn[0, channel, 0], minlength=levels) / n
        expected = torch.stack([p.log_prob(torch.full((1, 3, 1, n), v))[0, channel, 0, 0].exp() for v in range(levels)])
        assert frequencies.double() == pytest.approx(expected, abs=2 / n)


def test_icdf_is_the_first_level_whose_cdf_passes():
    p = LogisticMixture.given(parameters(1, 3, pixels=50), torch.zeros(1, 1, 1, 50, dtype=torch.int64), 11)
    u = torch.rand(1, 1, 1, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cdf = torch.stack([p.cdf(torch.full((1, 1, 1, 50), level)) for level in range(10)])
    assert torch.equal(p.icdf(u), (u >= cdf).sum(0))


def test_mean_and_variance_are_those_of_the_levels():
    levels = 9
    k = torch.randint(levels, (1, 2, 1, 6), generator=torch.Generator().manual_seed(0))
    p = LogisticMixture.given(parameters(2, 3), k, levels)
    probabilities = torch.stack([p.log_prob(torch.full((1, 2, 1, 6), v)).exp() for v in range(levels)])
    x = (torch.arange(levels, dtype=torch.float64) / (levels - 1)).view(-1, 1, 1, 1, 1)
    mean = (probabilities * x).sum(0)
    assert p.mean == pytest.approx(mean)
    assert p.variance == pytest.approx((probabilities * (x - mean) ** 2).sum(0))


def test_a_pixels_channels_are_drawn_together():
    levels = 4
    k = all_pixels(3, levels)
    joint = LogisticPixels(parameters(3, 2, pixels=1).expand(len(k), -1, 1, 1), 3, levels)
    probabilities = joint.log_prob(k).sum((1, 2, 3)).exp()
    assert float(probabilities.sum()) == pytest.approx(1.0, abs=1e-12)
    n = 40_000
    many = LogisticPixels(parameters(3, 2, pixels=1).expand(n, -1, 1, 1), 3, levels)
    drawn = many.icdf(torch.rand(n, 3, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    counts = torch.bincount((drawn.flatten(1) * torch.tensor([16, 4, 1])).sum(1), minlength=len(k)) / n
    assert ((counts - probabilities).abs() < 5 * (probabilities / n).sqrt() + 1e-4).all()


def test_moments_are_those_of_what_is_drawn_away_from_the_ends():
    p = 0.3 * parameters(3, 3, pixels=4)
    p[:, 12:21] -= 1.5  # narrow, and about mid grey: next to no mass lies beyond black and white
    p[:, 3:12] = p[:, 3:12] * 0.3 - torch.tensor([-0.5, 0.0, 0.5]).repeat(3).view(-1, 1, 1)
    n = 20_000
    many = LogisticPixels(p.expand(n, -1, -1, -1), 3, 256)
    drawn = many.icdf(torch.rand(n, 3, 1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)) / 255
    assert drawn.mean(0) == pytest.approx(many.mean[0], abs=0.02)
    assert drawn.var(0) == pytest.approx(many.variance[0], rel=0.1)


@pytest.mark.parametrize("levels", [2, 256])
def test_scales_are_bounded(levels):
    one = torch.zeros(1, 1, 1, 1, 1, dtype=torch.float64)
    for far, bound in ((-1e3, 0.05 * 2 / (levels - 1)), (1e3, 4.0)):
        assert LogisticMixture(one, one, one + far, levels).per_scale.item() == pytest.approx(1 / bound, rel=0.03)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_zeros_are_logistics_side_by_side(channels):
    m = 5
    zeros = torch.zeros(1, LogisticMixture.count(channels, m), 2, 2)
    logits, means, log_scales, slopes = LogisticMixture.split(zeros, channels)
    assert logits.shape == (1, 1, m, 2, 2)
    assert means.shape == log_scales.shape == (1, channels, m, 2, 2)
    assert slopes.shape == (1, channels * (channels - 1) // 2, m, 2, 2)
    assert means[0, -1, :, 0, 0].tolist() == pytest.approx([-0.8, -0.4, 0.0, 0.4, 0.8])
    assert log_scales.exp().unique().tolist() == pytest.approx([1 / 7.5])
    assert not logits.any()
    assert not slopes.any()


def test_moments_of_a_pixel_are_the_closed_form():
    """One component: x_2 = μ_2 + α x_1 + e_2, so Var x_2 = α² Var e_1 + Var e_2, Var e = (s π)² / 3, on [-1, 1]."""
    s1, s2, alpha, mu1, mu2 = 0.1, 0.2, math.tanh(0.5), 0.2, -0.1
    log = math.log(1.5)
    numbers = [0.0, mu1, mu2, math.log(s1) + log, math.log(s2) + log, 0.5]
    p = LogisticPixels(torch.tensor(numbers, dtype=torch.float64).view(1, 6, 1, 1), 2, 256)
    low, high = math.log(0.05 * 2 / 255), math.log(4)
    s1, s2 = (
        float(torch.exp(softly_bounded(torch.tensor(math.log(s), dtype=torch.float64), low, high))) for s in (s1, s2)
    )
    var1, var2 = ((s * math.pi) ** 2 / 3 for s in (s1, s2))
    assert p.mean.flatten().tolist() == pytest.approx([(mu1 + 1) / 2, (mu2 + alpha * mu1 + 1) / 2])
    assert p.variance.flatten().tolist() == pytest.approx([var1 / 4, (alpha**2 * var1 + var2) / 4])


def test_what_is_measured_is_float64_and_what_is_differentiated_float32():
    """A training step takes a third of the time; its loss and gradient are right to the digits it has."""
    p, k = (
        parameters(3, 5, spread=2.0).float(),
        torch.randint(256, (1, 3, 1, 6), generator=torch.Generator().manual_seed(0)),
    )
    measured = LogisticMixture.given(p, k, 256).log_prob(k)
    trained = LogisticMixture.given(p.requires_grad_(), k, 256).log_prob(k)
    with torch.no_grad():
        again = LogisticMixture.given(p * 1, k, 256).log_prob(k)
    assert (measured.dtype, trained.dtype, again.dtype) == (torch.float64, torch.float32, torch.float64)
    assert torch.equal(measured, again)
    assert trained.detach().double() == pytest.approx(measured, rel=1e-4)


def test_levels_that_it_was_given_are_not_computed_twice(monkeypatch):
    calls, compute = [], LogisticMixture.log_components
    monkeypatch.setattr(LogisticMixture, "log_components", lambda self, k: calls.append(k) or compute(self, k))
    k = torch.randint(5, (1, 3, 1, 6), generator=torch.Generator().manual_seed(0))
    p = LogisticMixture.given(parameters(3, 2), k, 5)
    own = p.log_prob(k)
    assert len(calls) == 1
    assert torch.equal(p.log_prob(k.clone()), own)
    assert len(calls) == 2
    assert not torch.equal(p.log_prob(4 - k), own)


@pytest.mark.parametrize("inference", [False, True])
def test_levels_that_were_changed_in_place_are_computed_again(inference):
    with torch.inference_mode(inference):
        k = torch.zeros(1, 3, 1, 6, dtype=torch.int64)
        p = LogisticMixture.given(parameters(3, 2), k, 5)
        k += 4
        assert torch.equal(p.log_prob(k), p.log_prob(k.clone()))
