"""The conformance suite: what every model must do, whatever its family. More shapes of a family are lines in CASES."""

import copy
import math

import pytest
import torch

from limner.config.settings import with_settings
from limner.models import Features, Reconstructs, Samples, Scores, families
from limner.models.autoencoder import AutoencoderConfig
from limner.models.gan import GAN, GANConfig
from limner.models.gated_pixelcnn import GatedPixelCNNConfig
from limner.models.ladder_vae import LadderVAEConfig
from limner.models.multiscale import MultiScalePixelRNNConfig
from limner.models.patch_pixelcnn import PatchPixelCNNConfig
from limner.models.pixelcnn import PixelCNNConfig
from limner.models.pixelcnnpp import PixelCNNPPConfig
from limner.models.pixelrnn import DiagonalBiLSTMConfig, RowLSTMConfig
from limner.models.vae import VAEConfig
from limner.training.checkpoints import load_model, save_model

CASES = {
    "pixelcnn binary": ("pixelcnn", PixelCNNConfig(features=8, blocks=2, head_features=8), (1, 6, 7), 2),
    "pixelcnn softmax": ("pixelcnn", PixelCNNConfig(features=8, blocks=2, head_features=8), (1, 5, 4), 17),
    "pixelcnn rgb": ("pixelcnn", PixelCNNConfig(features=9, blocks=1, head_features=9), (3, 4, 5), 256),
    "pixelcnn gaussian": ("pixelcnn", PixelCNNConfig(features=6, blocks=1, head="gaussian"), (3, 4, 3), 256),
    "gated binary": ("gated-pixelcnn", GatedPixelCNNConfig(features=6, blocks=2, head_features=8), (1, 6, 7), 2),
    "gated rgb": ("gated-pixelcnn", GatedPixelCNNConfig(features=7, blocks=1, head_features=9), (3, 4, 5), 256),
    "masked of a class": ("pixelcnn", PixelCNNConfig(features=8, blocks=2, head_features=8, classes=2), (1, 6, 7), 2),
    "gated of a class": ("gated-pixelcnn", GatedPixelCNNConfig(features=4, blocks=1, classes=3), (1, 5, 4), 17),
    "++ binary": ("pixelcnn++", PixelCNNPPConfig(features=4, blocks=1, components=2), (1, 6, 7), 2),
    "++ rgb": ("pixelcnn++", PixelCNNPPConfig(features=4, blocks=1, components=3, dropout=0.2), (3, 4, 5), 256),
    "++ of a class": ("pixelcnn++", PixelCNNPPConfig(features=3, blocks=1, halvings=1, classes=2), (1, 5, 4), 17),
    "patches binary": ("patch-pixelcnn", PatchPixelCNNConfig(features=8, blocks=2, first_kernel=3), (1, 6, 8), 2),
    "patches of a class": (
        "patch-pixelcnn",
        PatchPixelCNNConfig(features=6, blocks=1, first_kernel=3, classes=3, dropout=0.2),
        (1, 4, 4),
        3,
    ),
    "patches of pixels": ("patch-pixelcnn", PatchPixelCNNConfig(features=6, blocks=1, patch=1), (1, 5, 4), 17),
    "diagonal binary": ("diagonal-bilstm", DiagonalBiLSTMConfig(hidden=5, layers=2, head_features=8), (1, 6, 7), 2),
    "diagonal rgb of a class": (
        "diagonal-bilstm",
        DiagonalBiLSTMConfig(hidden=6, head_features=9, classes=2),
        (3, 4, 5),
        256,
    ),
    "row binary": ("row-lstm", RowLSTMConfig(hidden=5, layers=2, head_features=8), (1, 6, 7), 2),
    "row rgb of a class": ("row-lstm", RowLSTMConfig(hidden=6, head_features=9, classes=2), (3, 4, 5), 256),
    "multi-scale binary": (
        "multi-scale-pixelrnn",
        MultiScalePixelRNNConfig(network="row", scales=3, hidden=5, small_hidden=4, context=5, head_features=8),
        (1, 6, 7),
        2,
    ),
    "multi-scale rgb of a class": (
        "multi-scale-pixelrnn",
        MultiScalePixelRNNConfig(hidden=6, small_hidden=6, context=5, head_features=9, factor=3, classes=2),
        (3, 4, 5),
        256,
    ),
    "vae dense binary": ("vae", VAEConfig(latent=3, network="dense", hidden=16), (1, 6, 7), 2),
    "vae conv rgb": ("vae", VAEConfig(latent=3, network="conv", features=4), (3, 9, 8), 256),
    "ladder binary": ("ladder-vae", LadderVAEConfig(features=4, latent=1, layers=1), (1, 6, 7), 2),
    "ladder rgb": ("ladder-vae", LadderVAEConfig(features=3, latent=1, dropout=0.2), (3, 9, 8), 256),
    "ladder of a class": ("ladder-vae", LadderVAEConfig(features=3, latent=2, layers=1, classes=2), (1, 5, 4), 17),
    "gan dense of a class": ("gan", GANConfig(latent=3, network="dense", hidden=16, classes=2), (1, 6, 7), 2),
    "gan dcgan": ("gan", GANConfig(latent=3, features=4, hidden=8, discriminator_norm="batch"), (3, 9, 8), 256),
    "gan residual of a class": (
        "gan",
        GANConfig(latent=3, network="residual", features=4, hidden=8, classes=3, discriminator_norm="spectral"),
        (3, 8, 9),
        256,
    ),
    "autoencoder dense binary": (
        "autoencoder",
        AutoencoderConfig(latent=3, network="dense", hidden=16, corruption="masking"),
        (1, 6, 7),
        2,
    ),
    "autoencoder conv rgb": ("autoencoder", AutoencoderConfig(latent=3, features=4), (3, 9, 8), 256),
    "autoencoder affine": ("autoencoder", AutoencoderConfig(latent=3, features=4, corruption="affine"), (1, 5, 4), 17),
    "vae of a class": ("vae", VAEConfig(latent=3, features=4, classes=3), (1, 6, 7), 2),
    "vae vamp of K samples": (
        "vae",
        VAEConfig(latent=2, network="dense", hidden=16, prior="vamp", prior_components=3, importance_samples=3),
        (1, 4, 5),
        2,
    ),
    "vae mixtures of a class": (
        "vae",
        VAEConfig(latent=2, features=4, head="logistic", components=2, prior="mixture", prior_components=3, classes=2),
        (3, 4, 5),
        256,
    ),
    "vae shared covariance": (
        "vae",
        VAEConfig(latent=2, network="dense", activation="tanh", hidden=16, covariance="shared"),
        (3, 4, 5),
        17,
    ),
    "vae softmax": ("vae", VAEConfig(latent=2, network="dense", hidden=16, head="softmax"), (1, 5, 4), 17),
}
# And a family's own tiny network, so that a new family is here at once.
CASES |= {
    f"tiny {name}": (name, with_settings(f.recipe("default", (1, 6, 8)), f.tiny).network, (1, 6, 8), 2)
    for name, f in families().items()
}


@pytest.fixture(params=CASES, ids=lambda name: name.replace(" ", "-"))
def case(request):
    name, config, shape, levels = CASES[request.param]
    torch.manual_seed(0)
    model = families()[name].model(config, shape, levels)
    for parameter in model.parameters():  # away from a start in which zeros hide half of the network
        torch.nn.init.normal_(parameter, std=0.2)
    k = torch.randint(0, levels, (6, *shape), generator=torch.Generator().manual_seed(1))
    return model.eval(), torch.round(k * 255 / (levels - 1)).to(torch.uint8)


def scores(model, images):
    """A number of each image: ln p, the logit of a discriminator, or a reconstruction's error."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(model, Scores):
        return model.log_prob(images, generator=generator)
    return next(iter(model(images, generator).values()))


def test_loss_terms_are_named_and_per_image(case):
    model, images = case
    terms = model(images, torch.Generator().manual_seed(0))
    assert terms
    for term in terms.values():
        assert term.shape == (len(images),)
        assert torch.isfinite(term).all()


def test_every_parameter_gets_a_gradient(case):
    model, images = case
    torch.stack([t.mean() for t in model(images).values()]).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert (parameter.grad != 0).any(), name


def assert_finite_step(model, images, bf16):
    model.train().zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        terms = model(images, torch.Generator().manual_seed(0))
    torch.stack([term.float().mean() for term in terms.values()]).sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    for name, x in (terms | gradients).items():
        assert torch.isfinite(x).all(), name


def test_extreme_images_and_weights_give_numbers(case):
    """All black, all white, one pixel; weights as they are, and so large that a value has a logit of ten thousand."""
    model, _ = case
    dot = torch.zeros(1, *model.shape, dtype=torch.uint8)
    dot[0, 0, model.shape[1] // 2, model.shape[2] // 2] = 255
    images = torch.cat([torch.zeros_like(dot), torch.full_like(dot, 255), dot, 255 - dot])
    assert_finite_step(model, images, bf16=False)
    assert_finite_step(model, images, bf16=True)
    with torch.no_grad():
        for _ in range(14):  # to 128 times where nothing grows: a bounded error, a spectral norm
            terms = model(images, torch.Generator().manual_seed(0)).values()
            if max(float(term.abs().max()) for term in terms) > 1e4 * model.dimensions:
                break
            for parameter in model.parameters():
                parameter.mul_(2**0.5)
    assert_finite_step(model, images, bf16=False)
    assert_finite_step(model, images, bf16=True)
    if isinstance(model.eval(), Samples):
        drawn = model.sample(2, generator=torch.Generator().manual_seed(0))
        assert torch.isfinite(scores(model, drawn)).all()


def test_gradient_matches_float64(case):
    model, images = case
    gradients = {}
    for dtype in (torch.float32, torch.float64):
        model.to(dtype).zero_grad()
        generator = torch.Generator().manual_seed(0)
        torch.stack([t.mean() for t in model(images, generator).values()]).sum().backward()
        gradients[dtype] = {n: p.grad.double().clone() for n, p in model.named_parameters()}
    for name, exact in gradients[torch.float64].items():
        error = (gradients[torch.float32][name] - exact).norm() / (exact.norm() + 1e-12)
        assert error < 1e-3, name


def test_loss_is_the_negative_log_prob(case):
    model, images = case
    if not isinstance(model, Scores):
        assert not callable(getattr(model, "log_prob", None))
        assert not callable(getattr(model, "loss_terms", None))
        return
    assert model.bound in ("exact", "lower")
    loss = sum(model(images, torch.Generator().manual_seed(5)).values())
    log_prob = model.log_prob(images, generator=torch.Generator().manual_seed(5))
    assert log_prob.shape == (len(images),)
    assert -log_prob.detach().double() == pytest.approx(loss.detach().double(), rel=1e-4)


def test_an_image_scores_the_same_in_any_company(case):
    """No statistics over the batch: BatchNorm in a likelihood would let test images see each other."""
    model, images = case
    if isinstance(model, Scores) and model.bound == "lower":
        alone = model.double().encode(images[:1])
        assert alone == pytest.approx(model.encode(images)[:1], abs=1e-9)
    else:
        alone = scores(model.double(), images[:1]).detach()
        assert alone == pytest.approx(scores(model, images)[:1].detach(), abs=1e-9)
    assert not isinstance(model, Scores) or not any(
        isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules()
    )


def test_samples_are_images_of_its_levels_and_repeatable(case):
    model, _ = case
    if not isinstance(model, Samples):
        assert not callable(getattr(model, "sample", None))
        assert not callable(getattr(model, "latents", None))
        return
    first = model.sample(3, generator=torch.Generator().manual_seed(2))
    again = model.sample(3, generator=torch.Generator().manual_seed(2))
    other = model.sample(3, generator=torch.Generator().manual_seed(3))
    assert first.dtype == torch.uint8
    assert first.shape == (3, *model.shape)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.isfinite(scores(model, first)).all()  # every pixel is one of the levels


def test_reconstructions_where_it_reconstructs(case):
    model, images = case
    if not isinstance(model, Reconstructs):
        assert not callable(getattr(model, "encode", None))
        return
    codes = model.encode(images)
    assert codes.shape[0] == len(images)
    again = model.reconstruct(images)
    assert again.dtype == torch.uint8
    assert again.shape == images.shape


def test_features_have_a_gradient_and_draw_nothing(case):
    model, images = case
    assert isinstance(model, Features)
    if model.classes:
        pytest.skip("it would have to be told the class")
    features = model.features(images)
    assert features.shape[0] == len(images)
    assert features.dim() == 2
    assert torch.equal(features, model.features(images))
    alone = model.double().features(images[:1])
    assert alone.detach() == pytest.approx(model.features(images)[:1].detach(), abs=1e-9)
    alone.sum().backward()
    assert sum(p.grad is not None and bool((p.grad != 0).any()) for p in model.parameters()) >= 4


def test_saved_and_loaded_it_gives_the_same_numbers(case, tmp_path):
    model, images = case
    fresh = type(model)(model.config, model.shape, model.levels)
    save_model(tmp_path, model, copy.deepcopy(model), {"step": 1})
    assert load_model(tmp_path, fresh)["step"] == 1
    for a, b in zip(model.state_dict().values(), fresh.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    fresh.eval()
    assert torch.equal(scores(model, images), scores(fresh, images))


def test_training_on_one_image_lowers_its_loss(case):
    model, images = case
    if isinstance(model, GAN):
        pytest.skip("two players: tests/training/test_adversarial.py")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = sum(model(images[:1], torch.Generator().manual_seed(0)).values()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert math.isfinite(losses[-1])
    assert losses[-1] < losses[0]


def test_repr_names_its_parts(case):
    model, _ = case
    assert type(model).__name__ in repr(model)
    assert "Conv2d" in repr(model) or "Linear" in repr(model)
