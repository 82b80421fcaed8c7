import pytest
import torch

from limner.data import load
from limner.data.imageset import ImageSet, MemoryStore, Split
from limner.data.named import STACKED
from limner.errors import LimnerError
from limner.evaluation import FeatureNetwork, feature_network, train_features
from limner.evaluation import features as module
from limner.evaluation.features import data_digest, turned


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
    assert (network.figures["task"], network.figures["data"]) == ("labels", data_digest(digits))


def test_features_have_a_unit(digits, network):
    z = network(digits.split("train").first(9999))
    assert z.shape == (1297, 64)
    assert z.mean(0).abs().max() < 0.2
    assert z.var(0).mean() == pytest.approx(1, abs=0.1)


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
    assert told[-1] == ("training the feature network", 3, 3)
    read = feature_network(digits, tmp_path / "new", on_progress=lambda *words: pytest.fail("trained again"))
    x = digits.split("test").first(9)
    assert torch.equal(made(x), read(x))
    assert torch.equal(made.classify(x), read.classify(x))
    assert made.figures == read.figures
    (file,) = (tmp_path / "new").iterdir()
    assert file.name == f"{data_digest(digits)}.safetensors"


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


@pytest.mark.parametrize("shape", [(3, 5, 7), (1, 1, 1), (4, 32, 20)])
def test_any_size_and_channels_without_labels(quick, shape):
    pixels = torch.randint(0, 256, (60, *shape), generator=torch.Generator().manual_seed(0)).byte()
    splits = {name: Split(MemoryStore(pixels)) for name in ("train", "validation", "test")}
    network = train_features(ImageSet("x", shape, 256, splits))
    assert network.figures["task"] == "orientation"
    assert network.classes == 0
    assert network(pixels).shape == (60, 64)
    assert network(pixels).isfinite().all()


def test_without_labels_it_learns_how_digits_are_turned(digits, monkeypatch):
    monkeypatch.setattr(module, "MOST_STEPS", 150)
    network = train_features(unlabelled(digits))
    assert network.orientations == 8
    assert network.figures["accuracy"] > 3 / 8  # thrice chance; 0, 1 and 8 look alike in several ways


def test_turned_images_are_the_symmetries():
    square = torch.arange(9, dtype=torch.uint8).view(1, 1, 3, 3).repeat(8, 1, 1, 1)
    every = turned(square, torch.arange(8))
    assert len(every.flatten(1).unique(dim=0)) == 8
    assert torch.equal(every[0], square[0])
    assert torch.equal(every[3], square[0].rot90(2, (-2, -1)))
    wide = torch.arange(6, dtype=torch.uint8).view(1, 1, 2, 3).repeat(4, 1, 1, 1)
    assert len(turned(wide, torch.arange(4)).flatten(1).unique(dim=0)) == 4


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
    assert network(test.first(9)).shape == (9, 192)
