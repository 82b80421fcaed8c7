"""Nearest neighbours against all distances computed plainly."""

import pytest
import torch

from limner.data import neighbours
from limner.data.neighbours import nearest
from limner.errors import LimnerError


def images(n, seed=0, shape=(3, 4, 5)):
    return torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunk", [7, 1000])
@pytest.mark.parametrize("k", [1, 4, 50])
def test_they_are_exact(monkeypatch, chunk, k):
    monkeypatch.setattr(neighbours, "CHUNK", chunk)
    queries, references = images(9), images(50, seed=1)
    distances, positions = nearest(queries, references, k)
    plain = torch.cdist(queries.flatten(1).double() / 255, references.flatten(1).double() / 255)
    expected, order = plain.sort(dim=1, stable=True)
    assert torch.equal(positions, order[:, :k])
    torch.testing.assert_close(distances, expected[:, :k], rtol=1e-6, atol=1e-6)


def test_planted_copies_lie_at_nothing():
    references = images(40, seed=1)
    queries = references[[31, 4, 17]].clone()
    queries[2, 0, 0, 0] ^= 1
    distances, positions = nearest(queries, references)
    assert positions[:, 0].tolist() == [31, 4, 17]
    assert distances[:2, 0].tolist() == [0.0, 0.0]
    assert distances[2, 0].item() == pytest.approx(1 / 255, rel=1e-5)


def test_features_are_taken_as_they_are():
    references = torch.tensor([[0.0, 0.0], [3.0, 4.0], [-300.0, 1.0]])
    distances, positions = nearest(torch.tensor([[3.0, 3.0]]), references, 2)
    assert positions.tolist() == [[1, 0]]
    assert distances[0].tolist() == pytest.approx([1.0, 18**0.5])


@pytest.mark.parametrize("k", [0, 6])
def test_there_must_be_k(k):
    with pytest.raises(LimnerError, match=f"{k} nearest"):
        nearest(images(2), images(5), k)


def test_unlike_images_are_refused():
    with pytest.raises(LimnerError, match="not alike"):
        nearest(images(2), images(5, shape=(3, 5, 4)))
