"""Everything runs on a device without float64, a Mac's: each family, each objective, each sampler."""

import copy
import sys

import pytest
import torch
from lightning_fabric import Fabric

from limner import devices, sampling
from limner.config.settings import with_settings
from limner.data import Batches, load
from limner.errors import LimnerError
from limner.evaluation.features import patch_features
from limner.models import families, family
from limner.models.contracts import Features, Latents, Reconstructs, Samples, Scores
from limner.models.recipes import AdversarialConfig
from limner.nn import recurrent
from limner.noise import seeded
from limner.training.adversarial import Adversarial
from limner.training.objectives import SingleLoss
from tests.mac import MPS, Mac, Refused


@pytest.fixture
def mac(monkeypatch):
    """A Mac: its device, on which generators are the CPU's."""
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", {"mps", MPS.type})
    monkeypatch.setattr(recurrent, "hooks", lambda: None)  # its loops take meta for what memory is counted on
    generator = torch.Generator
    monkeypatch.setattr(torch, "Generator", lambda device="cpu": generator())
    adam = sys.modules["torch.optim.adam"]
    monkeypatch.setattr(adam, "_device_dtype_check_for_fused", lambda *args, **kwargs: None)  # it knows mps
    with Mac():
        yield MPS


def small(name, *settings):
    """A small model of the digits, its recipe, and some images."""
    data, chosen = load("digits"), family(name)
    recipe = with_settings(chosen.recipe("default", data.shape), [*chosen.tiny, "precision=float32", *settings], name)
    with seeded(0):
        return chosen.model(recipe.network, data.shape, data.levels), recipe.training, data.split("train")


def test_it_refuses_what_a_mac_refuses(mac):
    x = torch.ones(2, 3).to(mac)
    assert float((x + x).cpu().sum()) == 12
    with pytest.raises(Refused, match="no float64"):
        x.double()
    with pytest.raises(Refused, match="on mps and on the CPU"):
        x + torch.ones(2, 3)
    with pytest.raises(Refused, match="no _pdist_forward"):
        torch.pdist(x)


VARIANTS = {
    **{name: (name,) for name in families()},
    "mixture of orders": ("made", "orders=3"),
    "classes": ("pixelcnn", "classes=10"),
    "bins": ("gated-pixelcnn", "head=gaussian"),
    "a learned prior": ("vae", "prior=mixture", "optimizer=muon"),
    "importance samples": ("vae", "importance_samples=3", "head=logistic", "network=conv", "features=4"),
    "without noise of the score": ("vae", "gradient=doubly-reparameterized", "prior=vamp", "prior_components=4"),
    "of several samples": ("vae", "gradient=doubly-reparameterized", "importance_samples=2"),
    "a penalty of slopes": ("gan", "objective=wasserstein", "penalty=gradient", "augment=color,translation,cutout"),
    "pairs": ("gan", "objective=relativistic", "classes=10", "network=residual"),
}


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_every_family_trains_and_says_the_same_there(mac, variant):
    here, config, images = small(*VARIANTS[variant])
    there = copy.deepcopy(here).to(mac)
    kind = Adversarial if isinstance(config, AdversarialConfig) else SingleLoss
    batch, fabric = Batches(images, 16, 0).at(0), Fabric(accelerator="cpu", devices=1)
    both = [kind(model, config, fabric) for model in (here, there)]
    first, second = ([o.step(batch, 1.0, 0), o.validate([batch])] for o in both)
    for a, b in zip(first, second, strict=True):
        assert b == pytest.approx(a, rel=1e-3, abs=1e-4)
    assert all(tensor.device.type == mac.type for tensor in there.state_dict().values())
    there.load_state_dict(here.state_dict())
    here, there = here.eval(), there.eval()
    few = images.first(3)
    labels = images.labels[:3] if here.classes else None
    two = None if labels is None else labels[:2]

    def generator():
        return torch.Generator().manual_seed(1)

    with torch.no_grad():
        if isinstance(here, Scores):
            scores = [m.log_prob(few, generator=generator(), labels=labels) for m in (here, there)]
            assert scores[1].cpu() == pytest.approx(scores[0], rel=1e-5)
        if isinstance(here, Samples):
            drawn = [sampling.sample(m, 3, generator=generator()).cpu() for m in (here, there)]
            assert (drawn[0] == drawn[1]).double().mean() > 0.99
        if isinstance(here, Features) and labels is None:
            assert torch.allclose(there.features(few).cpu(), here.features(few), atol=1e-4)
        if isinstance(here, Reconstructs):
            again = [m.decode(m.encode(few)).cpu() for m in (here, there)]
            assert (again[0] == again[1]).double().mean() > 0.99
        if isinstance(here, Latents):
            codes = here.latents(2, generator=generator())
            assert torch.equal(there.decode(codes.to(mac), two).cpu(), here.decode(codes, two))


@pytest.mark.parametrize(
    ("name", "method"),
    [("pixelcnn", "naive"), ("pixelcnn", "streaming"), ("patch-pixelcnn", "streaming"), ("pixelcnn++", "jacobi")],
)
def test_every_sampler_draws_the_same_there(mac, name, method):
    here, _, _ = small(name)
    there = copy.deepcopy(here).to(mac)
    drawn = []
    for model in (here.eval(), there.eval()):
        generator = torch.Generator().manual_seed(1)
        drawn.append(sampling.sample(model, 2, generator=generator, method=method).cpu())
    assert (drawn[0] == drawn[1]).double().mean() > 0.99


@pytest.mark.parametrize(("rows", "columns"), [((6, 8), (0, 8)), ((3, 5), (1, 4))])
def test_images_are_completed_there(mac, rows, columns):
    here, _, images = small("pixelcnn", "classes=10")
    missing = torch.zeros(8, 8, dtype=torch.bool)
    missing[slice(*rows), slice(*columns)] = True
    found = []
    for model in (here.eval(), copy.deepcopy(here).to(mac)):
        generator = torch.Generator().manual_seed(1)
        found.append(
            sampling.complete(model, images.first(1)[0], missing, 2, particles=4, generator=generator, gibbs=1)
        )
    assert (found[0].images == found[1].images).double().mean() > 0.97


def test_features_are_computed_there(mac):
    images = load("digits")
    few = images.split("train").first(8)
    here, there = (patch_features(images, device=device) for device in (torch.device("cpu"), mac))
    assert torch.allclose(there(few).cpu(), here(few), atol=1e-3)


@pytest.mark.parametrize(("name", "word"), [("tpu", "choose one of"), ("cuda:99", "CUDA device"), ("mps", "no Metal")])
def test_a_device_that_is_not_there_is_refused(monkeypatch, name, word):
    monkeypatch.setattr(devices, "_chosen", None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)

    def choose():
        devices.use_device(name)
        devices.device()

    with pytest.raises(LimnerError, match=word):
        choose()


def test_the_environment_says_the_device_where_nobody_does(monkeypatch):
    monkeypatch.setattr(devices, "_chosen", None)
    monkeypatch.setenv("LIMNER_DEVICE", "cuda:99")
    with pytest.raises(LimnerError, match="cuda:99"):
        devices.device()
    devices.use_device("cpu")
    assert devices.device().type == "cpu"
    devices.use_device("auto")
    monkeypatch.setenv("LIMNER_DEVICE", "cpu")
    assert devices.device().type == "cpu"
