"""Every pixel likelihood sums to 1, far into the tails; its gradients and its draws are right."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.distributions import (
    HEADS,
    Bernoulli,
    Categorical,
    DiscretizedGaussian,
    LogisticMixture,
    LogisticPixels,
    default_head,
)
from limner.errors import LimnerError


def over_all_levels(distribution, levels):
    """The log-probabilities ``(levels, B, C, H, W)`` of every level at every pixel."""
    shape = distribution.mean.shape
    return torch.stack([distribution.log_prob(torch.full(shape, k)) for k in range(levels)])


def random_parameters(head, levels, spread, seed=0):
    generator = torch.Generator().manual_seed(seed)
    count = HEADS[head].count(levels)
    return spread * torch.randn(3, 2, count, 4, 5, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
@pytest.mark.parametrize(
    ("head", "levels"), [("sigmoid", 2), ("softmax", 2), ("softmax", 256), ("gaussian", 2), ("gaussian", 256)]
)
def test_sums_to_one(head, levels, spread):
    p = HEADS[head].from_parameters(random_parameters(head, levels, spread), levels)
    log_probs = over_all_levels(p, levels)
    assert log_probs.shape == (levels, 3, 2, 4, 5)
    assert log_probs.exp().sum(0) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("head", "levels"), [("sigmoid", 2), ("softmax", 4), ("gaussian", 4), ("logistic", 4)])
def test_a_sum_of_one_and_finite_gradients_at_ten_thousand(head, levels, dtype):
    """Whatever parameters are ±10,000, and in all combinations with 0."""
    count = LogisticMixture.count(1, 2) if head == "logistic" else HEADS[head].count(levels)
    every = list(itertools.product((-1e4, 0.0, 1e4), repeat=count))
    parameters = torch.tensor(every, dtype=dtype).view(-1, 1, count, 1, 1).requires_grad_()
    if head == "logistic":
        p = LogisticPixels(parameters.squeeze(1), 1, levels)
    else:
        p = HEADS[head].from_parameters(parameters, levels)
    log_probs = over_all_levels(p, levels)
    assert (log_probs.detach().exp().sum(0) - 1).abs().max() < 1e-6
    log_probs.sum().backward()
    assert torch.isfinite(parameters.grad).all()
    for u in (0.0, 0.5, 1 - 1e-12):
        k = p.icdf(torch.full((len(every), 1, 1, 1), u, dtype=torch.float64))
        assert ((k >= 0) & (k < levels)).all()
        assert torch.isfinite(p.log_prob(k)).all()


@pytest.mark.parametrize("mean", [-40.0, -1.0, 0.0, 0.5, 1.0, 1.3, 40.0])
@pytest.mark.parametrize("log_std", [-30.0, -6.0, -2.0, 0.0, 30.0])
def test_discretized_gaussian_in_the_tails(mean, log_std):
    p = DiscretizedGaussian(torch.full((1, 1, 1, 1), mean), torch.full((1, 1, 1, 1), log_std), 256)
    log_probs = over_all_levels(p, 256).flatten()
    assert torch.isfinite(log_probs).all()
    assert float(log_probs.exp().sum()) == pytest.approx(1.0, abs=1e-12)


def test_discretized_gaussian_against_mpmath_free_closed_form():
    """20 σ out, the mass of a bin is the tail's integral: Φ(-a) - Φ(-b) by the asymptotic series, to 1e-10."""
    levels, std = 256, 0.05
    p = DiscretizedGaussian(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), math.log(std)), levels)

    def log_tail(z):  # ln Φ(-z) for large z (Abramowitz and Stegun 26.2.12), enough terms for 1e-12 at z > 15
        series = 1 - 1 / z**2 + 3 / z**4 - 15 / z**6 + 105 / z**8 - 945 / z**10
        return -0.5 * z**2 - math.log(z) - 0.5 * math.log(2 * math.pi) + math.log(series)

    for k in (220, 250):
        a, b = ((k - 0.5) / 255 / p.log_std.exp().item(), (k + 0.5) / 255 / p.log_std.exp().item())
        expected = log_tail(a) + math.log1p(-math.exp(log_tail(b) - log_tail(a)))
        assert p.log_prob(torch.full((1, 1, 1, 1), k)).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("head", list(HEADS))
def test_gradients_match_finite_differences(head):
    levels = 2 if head == "sigmoid" else 5
    parameters = random_parameters(head, levels, 1.0)[:1, :1, :, :2, :2].clone().requires_grad_()
    k = torch.arange(4).view(1, 1, 2, 2) % levels

    def log_prob(parameters):
        return HEADS[head].from_parameters(parameters, levels).log_prob(k)

    assert torch.autograd.gradcheck(log_prob, parameters)


def test_gradients_are_finite_far_out():
    parameters = torch.tensor([[-60.0, 0.0], [60.0, -40.0], [0.5, -80.0]]).view(3, 1, 2, 1, 1).requires_grad_()
    for k in (0, 100, 255):
        p = DiscretizedGaussian.from_parameters(parameters, 256)
        (gradient,) = torch.autograd.grad(p.log_prob(torch.full((3, 1, 1, 1), k)).sum(), parameters)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("head", "levels"), [("sigmoid", 2), ("softmax", 7), ("gaussian", 7)])
def test_icdf_draws_from_the_distribution(head, levels):
    """Equally spaced uniforms through the inverse CDF give each level its probability."""
    n = 20_000
    parameters = random_parameters(head, levels, 0.1)[:1, :1, :, :1, :1]
    p = HEADS[head].from_parameters(parameters.expand(1, 1, -1, 1, n), levels)
    u = ((torch.arange(n, dtype=torch.float64) + 0.5) / n).view(1, 1, 1, n)
    k = p.icdf(u).flatten()
    assert (k.diff() >= 0).all()
    frequencies = torch.bincount(k, minlength=levels) / n
    expected = over_all_levels(p, levels)[..., 0].flatten().exp()
    assert (expected > 0.03).sum() >= min(levels, 3)
    assert frequencies.double() == pytest.approx(expected.double(), abs=2 / n)


@given(u=st.floats(0, 1, exclude_max=True), logit=st.floats(-50, 50))
@settings(max_examples=100, deadline=None)
def test_bernoulli_and_two_way_softmax_agree(u, logit):
    bernoulli = Bernoulli(torch.full((1, 1, 1, 1), logit, dtype=torch.float64))
    softmax = Categorical(torch.tensor([0.0, logit], dtype=torch.float64).view(1, 1, 2, 1, 1))
    for k in (0, 1):
        x = torch.full((1, 1, 1, 1), k)
        assert bernoulli.log_prob(x).item() == pytest.approx(softmax.log_prob(x).item(), abs=1e-12)
    assert bernoulli.variance.item() == pytest.approx(softmax.variance.item(), abs=1e-12)


@pytest.mark.parametrize(("head", "levels"), [("sigmoid", 2), ("softmax", 5)])
def test_mean_and_variance_are_those_of_the_levels(head, levels):
    p = HEADS[head].from_parameters(random_parameters(head, levels, 1.0), levels)
    probabilities = over_all_levels(p, levels).exp()
    x = (torch.arange(levels, dtype=torch.float64) / (levels - 1)).view(-1, 1, 1, 1, 1)
    mean = (probabilities * x).sum(0)
    assert p.mean == pytest.approx(mean)
    assert p.variance == pytest.approx((probabilities * (x - mean) ** 2).sum(0))


def test_gaussian_moments_are_those_of_its_draws():
    """Where σ spans many levels, the discretized moments are the normal's (plus 1/12 of a level squared)."""
    p = DiscretizedGaussian(torch.full((1, 1, 1, 1), 0.4), torch.full((1, 1, 1, 1), math.log(0.1)), 256)
    probabilities = over_all_levels(p, 256).exp().flatten()
    x = torch.arange(256, dtype=torch.float64) / 255
    mean = (probabilities * x).sum()
    assert p.mean.item() == pytest.approx(mean.item(), abs=1e-4)
    assert p.variance.item() == pytest.approx(((x - mean) ** 2 * probabilities).sum().item(), rel=1e-2)


def test_bf16_parameters_are_scored_in_float32():
    parameters = random_parameters("softmax", 4, 1.0).bfloat16()
    p = Categorical.from_parameters(parameters, 4)
    assert p.log_prob(torch.zeros(3, 2, 4, 5, dtype=torch.int64)).dtype == torch.float32


def test_sigmoid_head_refuses_more_than_two_levels():
    with pytest.raises(LimnerError, match="17 levels"):
        HEADS["sigmoid"].count(17)
    with pytest.raises(LimnerError, match="binary"):
        HEADS["sigmoid"].from_parameters(torch.zeros(1, 1, 1, 2, 2), 17)


def test_default_head():
    assert default_head(2, "softmax") == "sigmoid"
    assert default_head(256, "gaussian") == "gaussian"


def test_a_uniform_that_equals_a_cumulative_probability_takes_the_next_level():
    """Levels are the half-open intervals of [0, 1): u = 0 is the first level that has any mass."""
    half = torch.full((1, 1, 1, 1), 0.5, dtype=torch.float64)
    assert Bernoulli(torch.zeros(1, 1, 1, 1)).icdf(half).item() == 1
    four = Categorical(torch.zeros(1, 1, 4, 1, 1))
    assert [four.icdf(u * half).item() for u in (0, 0.4, 0.5, 1, 1.4, 1.5, 1.9)] == [0, 0, 1, 2, 2, 3, 3]
    assert Categorical(torch.tensor([-torch.inf, 0.0]).view(1, 1, 2, 1, 1)).icdf(0 * half).item() == 1


@pytest.mark.parametrize("levels", [2, 5, 256])
def test_a_standard_deviation_lies_between_a_twentieth_of_a_level_and_twice_the_range(levels):
    for far, bound in ((-1e3, 0.05 / (levels - 1)), (1e3, 2.0)):
        p = DiscretizedGaussian(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), far), levels)
        assert p.log_std.exp().item() == pytest.approx(bound, rel=0.03)  # soft: the two bounds know each other
        assert p.variance.item() == pytest.approx(bound**2, rel=0.06)
    p = DiscretizedGaussian(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 1e3), levels, bounded=False)
    assert p.log_std.item() == 1e3


def test_a_gaussian_head_starts_about_mid_grey_with_a_quarter_of_the_range():
    p = DiscretizedGaussian.from_parameters(torch.zeros(1, 1, 2, 1, 1), 256)
    assert p.mean.item() == 0.5
    assert p.variance.item() ** 0.5 == pytest.approx(0.25, rel=0.15)  # softly bounded
    assert DiscretizedGaussian.count(256) == 2


@pytest.mark.parametrize("mean", [-0.3, 0.0, 0.37, 0.5, 1.0, 1.2])
@pytest.mark.parametrize("std", [0.02, 0.3, 1.5])
def test_a_bin_has_the_mass_between_its_edges(mean, std):
    """Against the difference of two cumulative probabilities, near the middle, where that is exact enough."""
    levels = 6
    log_std = torch.full((1, 1, 1, 1), math.log(std))
    p = DiscretizedGaussian(torch.full((1, 1, 1, 1), mean), log_std, levels, bounded=False)
    assert p.mean.item() == pytest.approx(min(max(mean, 0), 1))
    edges = [-math.inf, *((k + 0.5) / (levels - 1) for k in range(levels - 1)), math.inf]
    cdf = [0.5 * (1 + math.erf((e - mean) / std / math.sqrt(2))) for e in edges]
    expected = [b - a for a, b in itertools.pairwise(cdf)]
    assert over_all_levels(p, levels).exp().flatten().tolist() == pytest.approx(expected, abs=1e-7)
    for k in range(levels):
        if expected[k] > 1e-3:
            for u, level in ((cdf[k] + 1e-4, k), (cdf[k + 1] - 1e-4, k)):
                assert p.icdf(torch.full((1, 1, 1, 1), u, dtype=torch.float64)).item() == level


@pytest.mark.parametrize("levels", [3, 7, 256])
def test_the_largest_uniform_takes_the_last_level(levels):
    """Whatever the cumulative sum of the probabilities has been rounded to."""
    u = torch.full((64, 1, 1, 1), math.nextafter(1, 0), dtype=torch.float64)
    logits = torch.randn(64, 1, levels, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert (torch.softmax(logits, 2).cumsum(2)[:, :, -1] <= u).any()
    assert (Categorical(logits).icdf(u) == levels - 1).all()
