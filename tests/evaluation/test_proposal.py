"""A proposal that learned from the model's own pictures: of the same p(x), nearer to its posterior."""

import itertools
import math

import pytest
import torch

from limner.errors import LimnerError
from limner.evaluation import measure_likelihood, sleep_phase
from limner.models.ladder_vae import LadderVAE, LadderVAEConfig
from limner.models.vae import VAE, VAEConfig
from tests.evaluation.test_likelihood import split


def usable(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.double().eval().requires_grad_(False)


def vae(**config):
    return usable(VAE(VAEConfig(latent=2, network="dense", hidden=6, **config), (1, 2, 2), 2))


def ladder(**config):
    return usable(LadderVAE(LadderVAEConfig(features=4, latent=1, **config), (1, 2, 2), 2))


MODELS = {
    "vae": vae,
    "mixture": lambda: vae(prior="mixture", prior_components=3),
    "vamp": lambda: vae(prior="vamp", prior_components=3),
    "conditional": lambda: vae(classes=3),
    "ladder": ladder,
    "conditional ladder": lambda: ladder(classes=3),
}
ALL = 255 * torch.tensor(list(itertools.product(range(2), repeat=4)), dtype=torch.uint8).view(-1, 1, 2, 2)


@pytest.fixture(params=MODELS)
def model(request):
    return MODELS[request.param]()


def grid():
    """Codes of two numbers, and the area of each."""
    axis = torch.linspace(-8, 8, 81, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


def labelled(model, n):
    return torch.arange(n) % 3 if model.classes else None


def test_the_posterior_is_a_density(model):
    code, area = grid()
    labels = labelled(model, 3)
    k = model.checked_levels(ALL[3:6])
    for i in range(3):
        y = None if labels is None else labels[i : i + 1]
        inferred = tuple(x.expand(len(code), *x.shape[1:]) for x in model.infer(k[i : i + 1], y))
        many = None if y is None else y.expand(len(code))
        assert model.log_posterior(inferred, many, code).exp().sum() * area == pytest.approx(1, abs=1e-3)


def test_the_posterior_is_what_samples_are_weighed_with(model):
    labels, k = labelled(model, 16), model.checked_levels(ALL)
    inferred = model.infer(k, labels)

    def noiseless(s, shape):
        return torch.zeros(s, 16, *shape, dtype=torch.float64)

    weights = model.weights(k, inferred, labels, 1, noiseless)
    z = model.encode(ALL, labels)
    prior = model.prior() if isinstance(model, VAE) else None
    log_p = -(0.5 * z**2 + 0.5 * math.log(2 * math.pi)).sum(1) if prior is None else prior.log_prob(z)
    assert weights.log_ratio[0] == pytest.approx(log_p - model.log_posterior(inferred, labels, z), abs=1e-9)


def test_it_comes_nearer_to_the_posterior_of_the_same_model(model, monkeypatch):
    """-ln q(z|x) averaged over p(x, z), all pictures and a grid of codes, falls towards the posterior's entropy."""
    monkeypatch.setattr("limner.evaluation.proposal.LEARNING_RATE", 3e-3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    seen = []
    proposal = sleep_phase(model, 300, seed=3, on_progress=lambda *at: seen.append(at))
    assert seen[-1] == (300, 300)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name])
    code, area = grid()
    k = model.checked_levels(ALL)
    prior = model.prior() if isinstance(model, VAE) else None
    log_p = -(0.5 * code**2 + 0.5 * math.log(2 * math.pi)).sum(1) if prior is None else prior.log_prob(code)
    total = own = learned = entropy = 0.0
    for y in model._each_class(k):
        p = model.likelihood(code, None if y is None else y[:1].expand(len(code)))
        inferred = [q.infer(k, y) for q in (model, proposal)]
        for i in range(len(k)):
            joint = p.log_prob(k[i].expand(len(code), *model.shape)).flatten(1).sum(1) + log_p + math.log(area)
            weight = joint.exp()
            total += weight.sum()
            entropy -= weight @ (joint - torch.logsumexp(joint, 0) - math.log(area))
            many = None if y is None else y[:1].expand(len(code))
            given = [tuple(x[i : i + 1].expand(len(code), *x.shape[1:]) for x in each) for each in inferred]
            own, learned = (
                sum_ - weight @ model.log_posterior(each, many, code)
                for sum_, each in zip((own, learned), given, strict=True)
            )
    assert total == pytest.approx(max(1, model.classes), rel=1e-3)
    assert entropy < learned < entropy + 0.9 * (own - entropy)


def test_samples_from_it_bound_the_same_likelihood():
    model = vae()
    truth = model.importance_bound(ALL, 20_000).log_prob
    proposal = sleep_phase(model, 30)
    few, many = (model.importance_bound(ALL, k, proposal=proposal).log_prob for k in (5, 20_000))
    assert not torch.equal(few, model.importance_bound(ALL, 5).log_prob)
    assert many == pytest.approx(truth, abs=0.03)


def test_it_is_a_function_of_its_seed():
    one, again, other = (sleep_phase(vae(), 5, seed=seed).encoder[1].weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_it_is_said_where_there_is_nothing_to_tighten():
    model = VAE(VAEConfig(latent=2, network="dense", hidden=8), (1, 4, 4), 2)
    with pytest.raises(LimnerError, match="K > 1 importance samples, not for the ELBO"):
        measure_likelihood(model, split(3), proposal=sleep_phase(model, 1))
    figures = measure_likelihood(model, split(3), importance_samples=5, proposal=sleep_phase(model, 1))
    assert figures.elbo_nats_per_image is None
    torch.nn.init.constant_(model.encoder[1].weight, math.nan)
    with pytest.raises(LimnerError, match="step 0 of the proposal"):
        sleep_phase(model, 3)
