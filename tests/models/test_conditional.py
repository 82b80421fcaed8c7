"""Models of p(x|y): each class is a distribution of its own, and p(x) is their mean."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from limner.data import MemoryStore, Split, dequantize
from limner.errors import LimnerError
from limner.evaluation import measure_likelihood
from limner.models import family
from limner.models.gated_pixelcnn import GatedPixelCNN, GatedPixelCNNConfig
from limner.models.pixelcnn import PixelCNN, PixelCNNConfig
from limner.models.pixelcnnpp import PixelCNNPP, PixelCNNPPConfig
from limner.models.pixelrnn import DiagonalBiLSTM, DiagonalBiLSTMConfig, RowLSTM, RowLSTMConfig
from limner.sampling import class_rows, sample

KINDS = {
    "masked": (PixelCNN, PixelCNNConfig(features=6, blocks=2, head_features=6, classes=3)),
    "gated": (GatedPixelCNN, GatedPixelCNNConfig(features=6, blocks=2, head_features=6, classes=3)),
    "++": (PixelCNNPP, PixelCNNPPConfig(features=4, blocks=1, components=2, halvings=1, classes=3)),
    "diagonal": (DiagonalBiLSTM, DiagonalBiLSTMConfig(hidden=6, head_features=6, classes=3)),
    "row": (RowLSTM, RowLSTMConfig(hidden=6, head_features=6, classes=3)),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def tiny(kind, shape=(1, 2, 3), levels=2):
    torch.manual_seed(0)
    model = kind[0](kind[1], shape, levels).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def everything(shape=(1, 2, 3), levels=2):
    k = torch.tensor(list(itertools.product(range(levels), repeat=math.prod(shape)))).view(-1, *shape)
    return dequantize(k, levels)


def test_each_class_and_their_mean_are_distributions(kind):
    model, images = tiny(kind), everything()
    with torch.no_grad():
        given = torch.stack([model.log_prob(images, labels=torch.full((64,), y)) for y in range(3)], 1)
        assert torch.allclose(given.exp().sum(0), torch.ones(3, dtype=torch.float64), atol=1e-10)
        assert (given.exp().std(1) > 0).any()
        marginal = model.log_prob(images)
        assert torch.allclose(marginal.exp(), given.exp().mean(1), atol=1e-14)
        assert torch.equal(given, model.class_log_probs(images))


def test_the_class_reaches_every_pixel(kind):
    model = tiny(kind, (3, 3, 4), 4)
    k = torch.randint(4, (1, 3, 3, 4), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        x = model.intensities(k)
        one, other = (model.logits(x, torch.tensor([y])) for y in (0, 1))
    assert (one != other).any(1).all()


def test_with_a_class_it_is_causal(kind):
    model = tiny(kind, (1, 4, 5), 2)
    k = torch.randint(2, (1, 1, 4, 5), generator=torch.Generator().manual_seed(0))
    same = k.repeat(20, 1, 1, 1)  # batches of one size, which are computed in the same order
    flips = same.flatten(1).clone()
    flips[range(20), range(20)] ^= 1
    labels = torch.ones(20, dtype=torch.int64)
    with torch.no_grad():
        before = model.logits(model.intensities(same), labels)
        changed = (model.logits(model.intensities(flips.view(20, 1, 4, 5)), labels) != before).any(1).flatten(1)
    assert not changed.tril().any()
    assert changed[:-1].any(1).all()


def test_loss_is_given_the_class(kind):
    model, images = tiny(kind), everything()[:7]
    labels = torch.arange(7) % 3
    loss = model(images, labels=labels)["nll"]
    assert torch.allclose(loss, -model.log_prob(images, labels=labels))
    loss.sum().backward()
    bias = next(p for name, p in model.named_parameters() if "label" in name)
    assert (bias.grad.abs().sum(1) > 0).all()


def test_samples_of_a_class_follow_it(kind):
    """Frequencies of all 64 images against p(x|y) of the class that was asked for: a chi-squared test."""
    model, n = tiny(kind), 4000
    images = model.sample(n, generator=torch.Generator().manual_seed(0), labels=torch.full((n,), 2))
    codes = ((images.flatten(1) > 0).long() * (2 ** torch.arange(5, -1, -1))).sum(1)
    with torch.no_grad():
        expected = n * model.log_prob(everything(), labels=torch.full((64,), 2)).exp()
    common = expected > 5
    chi2 = ((torch.bincount(codes, minlength=64) - expected) ** 2 / expected)[common].sum().item()
    freedom = int(common.sum()) - 1
    assert freedom > 5
    assert chi2 < freedom + 5 * (2 * freedom) ** 0.5


def test_without_a_label_each_image_draws_its_class_first(kind):
    model = tiny(kind)
    generator = torch.Generator().manual_seed(5)
    labels, expected = torch.zeros(9, dtype=torch.int64), []
    for i in range(9):
        labels[i] = torch.randint(3, (), generator=generator)
        expected.append(model.sample(1, generator=generator, labels=labels[i : i + 1]))
    expected = torch.cat(expected)
    assert len(labels.unique()) > 1
    assert torch.equal(model.sample(9, generator=torch.Generator().manual_seed(5)), expected)
    assert torch.equal(sample(model, 9, generator=torch.Generator().manual_seed(5)), expected)
    given = sample(model, 9, generator=torch.Generator().manual_seed(1), labels=labels)
    assert torch.equal(given, model.sample(9, generator=torch.Generator().manual_seed(1), labels=labels))


def test_evaluation_counts_the_marginal_and_says_the_conditional_too(kind):
    model, images = tiny(kind), everything()[:50]
    labels = torch.arange(50) % 3
    measured = measure_likelihood(model, Split(MemoryStore(images), labels), batch_size=20)
    with torch.no_grad():
        assert measured.nats_per_image == pytest.approx(-model.log_prob(images).mean().item())
        given = -model.log_prob(images, labels=labels).mean().item()
    assert measured.conditional_nats_per_image == pytest.approx(given)
    assert (measured.classes, measured.bound) == (3, "exact")
    unlabelled = measure_likelihood(model, Split(MemoryStore(images)))
    assert unlabelled.nats_per_image == pytest.approx(measured.nats_per_image)
    assert unlabelled.conditional_nats_per_image is None


def test_labels_that_it_does_not_know(kind):
    model, images = tiny(kind), everything()[:2]
    for labels, message in (
        (torch.tensor([0, 3]), "label 3: .* 0 to 2"),
        (torch.tensor([-1, 0]), "label -1"),
        (torch.tensor([0]), r"int64 \(2,\)"),
        (torch.tensor([0.0, 1.0]), "float32"),
    ):
        with pytest.raises(LimnerError, match=message):
            model.log_prob(images, labels=labels)
        with pytest.raises(LimnerError, match=message):
            model.sample(2, labels=labels)
    with pytest.raises(LimnerError, match="need labels"):
        model.conditionals(torch.zeros(1, 1, 2, 3, dtype=torch.int64))
    plain = PixelCNN(PixelCNNConfig(features=4, blocks=1), (1, 2, 3), 2)
    with pytest.raises(LimnerError, match="no classes"):
        plain.log_prob(images, labels=torch.zeros(2, dtype=torch.int64))


def test_a_class_that_nothing_sees_is_refused():
    with pytest.raises(LimnerError, match="blocks=0"):
        GatedPixelCNNConfig(blocks=0, classes=2)


def test_rows_of_classes():
    model = tiny(KINDS["masked"])
    labels, columns = class_rows(model, 7)
    assert (labels.tolist(), columns) == ([0, 0, 0, 1, 1, 1, 2, 2, 2], 3)
    labels, columns = class_rows(model, 2)
    assert (labels.tolist(), columns) == ([0, 2], 1)
    assert class_rows(PixelCNN(PixelCNNConfig(features=4, blocks=1), (1, 2, 3), 2), 7) == (None, None)


@pytest.mark.parametrize("name", ["pixelcnn", "gated-pixelcnn", "pixelcnn++", "patch-pixelcnn"])
def test_muon_takes_kernels_and_leaves_tables_of_classes_to_adamw(name):
    """A row of a table is a class's own: making it orthogonal to the others' would mix them."""
    network = replace(family(name).recipe("default", (1, 8, 8)).network, classes=3)
    model = family(name).model(network, (1, 8, 8), 2)
    parameters = dict(model.named_parameters())
    taken = model.muon_parameters()
    assert {n for n, p in parameters.items() if p.dim() == 2 and len(p) == 3}  # there are tables
    assert taken
    assert all(parameters[n].dim() == 4 and count == 1 for n, count in taken.items())
