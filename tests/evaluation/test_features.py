import pytest
import torch

from limner.data import load
from limner.data.imageset import ImageSet, MemoryStore, Split
from limner.data.named import STACKED
from limner.errors import LimnerError
from limner.evaluation import FeatureNetwork, feature_network, train_features
from limner.evaluation import features as module
from limner.evaluation.features import data_digest
from limner.evaluation.patches import PatchFeatures, blurred


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 3)


def unlabelled(data):
    return ImageSet(data.source, data.shape, data.levels, {k: Split(s.store) for k, s in data.splits.items()})


def test_digits_are_told_apart(digits, network):
    test = digits.split("test")
    right = (network.classify(test.first(999)) == test.labels).double().mean()
    assert right > 0.93
    assert network.figures["accuracy"] > 0.93
    assert (network.figures["version"], network.figures["data"]) == (2, data_digest(digits))


def test_features_have_a_unit(digits, network):
    z = network(digits.split("train").first(9999))
    assert z.shape == (1297, 64)
    assert z.mean(0).abs().max() < 1e-4
    assert z.var(0).mean() == pytest.approx(1, abs=0.01)
    assert (torch.corrcoef(z.T) - torch.eye(64)).abs().max() < 1e-3


def test_the_same_seed_trains_the_same_network(digits, quick):
    first, again, other = (train_features(digits, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])
    before = torch.random.get_rng_state()
    train_features(digits)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_it_is_trained_once_and_kept(digits, quick, tmp_path):
    told = []
    made = feature_network(digits, tmp_path / "new", on_progress=lambda *words: told.append(words))
    assert told[-1] == ("training the classifier of samples", 3, 3)
    read = feature_network(digits, tmp_path / "new", on_progress=lambda *words: pytest.fail("trained again"))
    x = digits.split("test").first(9)
    assert torch.equal(made(x), read(x))
    assert torch.equal(made.classify(x), read.classify(x))
    assert made.figures == read.figures
    (file,) = (tmp_path / "new").iterdir()
    assert file.name == f"{data_digest(digits)}-2.safetensors"


@pytest.mark.parametrize("damage", [b"", b"no network", None])
def test_a_damaged_file_is_replaced(digits, quick, tmp_path, damage):
    feature_network(digits, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(LimnerError, match="damaged"):
        FeatureNetwork.load(file)
    feature_network(digits, tmp_path)
    assert file.read_bytes() == whole


def test_where_it_cannot_be_kept_it_is_used_all_the_same(digits, quick, tmp_path):
    (tmp_path / "file").touch()
    x = digits.split("test").first(9)
    assert torch.equal(feature_network(digits, tmp_path / "file" / "features")(x), train_features(digits)(x))


def test_other_data_have_another_name(digits):
    changed = load("digits").splits["train"].store.images.clone()
    changed[0] = 255 - changed[0]
    other = ImageSet("x", digits.shape, 17, {**digits.splits, "train": Split(MemoryStore(changed))}, digits.label_names)
    names = {data_digest(data) for data in (digits, other, unlabelled(digits), load("digits", size=(6, 6)))}
    assert len(names) == 4
    assert data_digest(load("digits")) == data_digest(digits)


@pytest.mark.parametrize("n", [1, 2, 60])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 1), (4, 32, 20)])
def test_any_size_channels_and_number_without_labels(shape, n):
    pixels = torch.randint(0, 256, (n, *shape), generator=torch.Generator().manual_seed(0)).byte()
    splits = {name: Split(MemoryStore(pixels)) for name in ("train", "validation", "test")}
    network = train_features(ImageSet("x", shape, 256, splits))
    assert network.classes == 0
    assert not list(network.parameters())  # nothing to train
    assert network(pixels).shape == (n, 64)
    assert network(pixels).isfinite().all()
    assert network(255 - pixels).isfinite().all()


def test_features_know_no_labels(digits, network, quick):
    x = digits.split("test").first(9)
    assert torch.equal(train_features(unlabelled(digits))(x), network(x))


def test_a_linear_layer_reads_the_labels_off_the_features(digits, network):
    from sklearn.linear_model import LogisticRegression

    train, test = digits.split("train"), digits.split("test")
    z, y = network(train.first(500)).numpy(), train.labels[:500].numpy()
    assert LogisticRegression(max_iter=300).fit(z, y).score(network(test.first(250)).numpy(), test.labels) > 0.9


def test_more_scales_for_larger_images():
    assert [PatchFeatures((1, side, side)).scales for side in (1, 8, 28, 32, 64, 128)] == [1, 1, 2, 2, 3, 4]


def test_a_blurred_point_is_a_gaussian():
    image = torch.zeros(1, 2, 15, 15, dtype=torch.uint8)
    image[0, 1, 7, 7] = 255
    seen = blurred(image, 1.0).double()
    assert seen[0, 0].sum() == 0
    assert seen[0, 1, 7, 7] == pytest.approx(255 / (2 * torch.pi), abs=1)
    assert seen[0, 1, 7, 8] / seen[0, 1, 7, 7] == pytest.approx(torch.e**-0.5, abs=0.02)
    flat = torch.full((1, 1, 5, 3), 77, dtype=torch.uint8)
    assert torch.equal(blurred(flat, 2.0), flat)  # the border darkens nothing


def test_stacked_digits_are_counted_by_channel(digits, monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 100)
    generator = torch.Generator().manual_seed(0)
    splits = {}
    for name, split in digits.splits.items():
        chosen = torch.randint(len(split), (len(split), 3), generator=generator)
        images = split.take(chosen.flatten()).view(-1, 3, 8, 8)
        splits[name] = Split(MemoryStore(images), split.labels[chosen] @ torch.tensor([100, 10, 1]))
    network = train_features(ImageSet(STACKED, (3, 8, 8), 17, splits, tuple(f"{k:03d}" for k in range(1000))))
    test = splits["test"]
    assert (network.classify(test.first(999)) == test.labels).double().mean() > 0.8  # all three digits
    assert network.targets(torch.tensor([7, 123])).tolist() == [0, 0, 7, 1, 2, 3]
    assert network(test.first(9)).shape == (9, 64)
