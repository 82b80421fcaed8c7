"""The probe against features whose worth is known: the class itself, and noise."""

import math

import pytest
import torch
from torch import nn

from limner.data.imageset import MemoryStore, Split
from limner.errors import LimnerError
from limner.evaluation.probe import METHODS, Accuracy, Classifier, few_labels, fine_tune, measure_probe
from limner.models.autoencoder import Autoencoder, AutoencoderConfig

CLASSES = 4


class Known(nn.Module):
    """A model whose features are chosen: ``tell(images)``, times weights that begin at 1."""

    classes = 0
    device = torch.device("cpu")

    def __init__(self, tell):
        super().__init__()
        self.tell = tell
        self.weight = nn.Parameter(torch.ones(CLASSES))

    def features(self, images):
        return self.tell(images) * self.weight


def images(n, seed):
    """Noise whose first pixel alone says the class: it is a multiple of 60 + the class, the rest is noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (n,), generator=generator)
    images = torch.randint(0, 256, (n, 1, 4, 4), generator=generator, dtype=torch.uint8)
    images[:, 0, 0, 0] = labels * 60
    return Split(MemoryStore(images), labels)


def true_class(images):
    return torch.nn.functional.one_hot(images[:, 0, 0, 0].long() // 60, CLASSES).float()


def noise(images):
    return images[:, 0, 1].float()


def probed(tell, **words):
    train, test = images(200, 0), images(1000, 1)
    words = {"labels_per_class": [2, 5], "seeds": 2} | words
    found = measure_probe(Known(tell), lambda seed: Known(noise), train, test, CLASSES, **words)
    return {(a.labels_per_class, a.method): a for a in found}


def test_features_that_are_the_class_need_one_label():
    found = probed(true_class, labels_per_class=[1, 5])
    for n in (1, 5):
        assert found[n, "frozen"].accuracies == found[n, "fine-tuned"].accuracies == (1.0, 1.0)
        for method in ("scratch", "pixels"):
            assert found[n, method].mean < 0.7
    assert list(found) == [(n, method) for n in (1, 5) for method in METHODS]


def test_features_that_are_noise_are_worth_chance():
    chance = 1 / CLASSES
    found = probed(noise, methods=["frozen", "fine-tuned"])
    for accuracy in found.values():
        assert accuracy.mean == pytest.approx(chance, abs=5 * math.sqrt(chance * (1 - chance) / 1000))


def test_it_is_repeatable_and_each_seed_is_its_own():
    first = probed(noise, methods=["frozen", "scratch"])
    assert first == probed(noise, methods=["frozen", "scratch"])
    assert all(a.accuracies[0] != a.accuracies[1] for a in first.values())


def test_the_trained_model_is_left_as_it_was():
    def fresh(seed):
        torch.manual_seed(seed)
        return Autoencoder(AutoencoderConfig(latent=3, network="dense", hidden=8), (1, 4, 4), 256)

    model = fresh(0).requires_grad_(False).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    words = {"labels_per_class": [3], "seeds": 1, "limit": 50}
    measure_probe(model, fresh, images(50, 0), images(60, 1), CLASSES, **words)
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(p.requires_grad for p in model.parameters())


def test_few_labels_are_as_many_of_each_class_and_nested():
    labels = images(200, 0).labels
    few, more = few_labels(labels, CLASSES, 3, seed=0), few_labels(labels, CLASSES, 10, seed=0)
    assert labels[more].bincount().tolist() == [10] * CLASSES
    assert set(few.tolist()) < set(more.tolist())
    assert set(few.tolist()) != set(few_labels(labels, CLASSES, 3, seed=1).tolist())
    with pytest.raises(LimnerError, match=r"100 labels of each class: class \d has \d+ training images"):
        few_labels(labels, CLASSES, 100, seed=0)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_head_is_the_logistic_regression(classes):
    from sklearn.linear_model import LogisticRegression

    split = images(80, 0)
    labels = split.labels % classes
    network = Classifier(Known(noise), classes, split.first(80))
    z = network.features(split.first(80)).detach()
    assert z.mean(0) == pytest.approx(torch.zeros(4), abs=1e-5)
    assert float(z.var(0, correction=0).mean()) == pytest.approx(1.0, rel=1e-5)
    network.fit_head(split.first(80), labels)
    expected = LogisticRegression(max_iter=1000).fit(z.double().numpy(), labels.numpy()).predict_proba(z.numpy())
    assert network(split.first(80)).softmax(1).detach() == pytest.approx(torch.from_numpy(expected), abs=1e-3)


def test_fine_tuning_moves_all_weights_and_learns_the_labels():
    split = images(40, 0)
    torch.manual_seed(0)
    model = Autoencoder(AutoencoderConfig(latent=8, network="dense", hidden=32), (1, 4, 4), 256)
    before = {k: v.clone() for k, v in model.encoder.state_dict().items()}
    network = Classifier(model, CLASSES, split.first(40))
    network.fit_head(split.first(40), split.labels)
    fine_tune(network, split.first(40), split.labels, seed=0)
    assert (network(split.first(40)).argmax(1) == split.labels).float().mean() > 0.95
    assert all(not torch.equal(before[k], v) for k, v in model.encoder.state_dict().items())
    assert not network.training


def test_mean_and_deviation():
    assert Accuracy(1, "frozen", (0.5, 0.7)).mean == pytest.approx(0.6)
    assert Accuracy(1, "frozen", (0.5, 0.7)).deviation == pytest.approx(math.sqrt(0.02))
    assert Accuracy(1, "frozen", (0.5,)).deviation == 0.0


def test_what_cannot_be_probed():
    train, test, model = images(20, 0), images(20, 1), Known(noise)
    words = {"labels_per_class": [1], "seeds": 1}
    with pytest.raises(LimnerError, match="a probe needs labels"):
        measure_probe(model, Known, Split(train.store), test, CLASSES, **words)
    with pytest.raises(LimnerError, match="has no features to probe"):
        measure_probe(type("Bare", (), {"classes": 0})(), Known, train, test, CLASSES, **words)
    model.classes = 3
    with pytest.raises(LimnerError, match="is given the class"):
        measure_probe(model, Known, train, test, CLASSES, **words)
    with pytest.raises(LimnerError, match="needs two classes or more"):
        measure_probe(Known(noise), Known, train, test, 1, **words)
