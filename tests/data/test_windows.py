import itertools

import numpy as np
import pytest
import torch

from limner.data import Batches, FileStore, MemoryStore, Split, imageset
from limner.data.windows import BUFFER, windowed_order


def large(n, window, in_memory=False):
    """n images of one pixel, in a split of another order than the source's."""
    positions = torch.randperm(n, generator=torch.Generator().manual_seed(1))
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1)
    read = FileStore(lambda i: images[i].numpy(), positions.numpy(), (1, 1, 1))
    return Split(MemoryStore(images[positions]) if in_memory else read, positions, (), positions, window)


@pytest.mark.parametrize(("n", "window"), [(1, 64), (64, 64), (65, 64), (1000, 7), (5000, 64), (20, 100)])
def test_orders_are_permutations_by_seed_and_epoch(n, window):
    positions = torch.randperm(2 * n)[:n]
    order = windowed_order(positions, window, 3, 5)
    assert order.sort().values.tolist() == list(range(n))
    assert torch.equal(order, windowed_order(positions, window, 3, 5))
    if n > 10:
        assert not torch.equal(order, windowed_order(positions, window, 3, 6))
        assert not torch.equal(order, windowed_order(positions, window, 4, 5))


def test_what_is_read_together_lies_together():
    n, window = 20_000, 16
    seen = windowed_order(torch.arange(n), window, 0, 0)
    for part in seen.split(window * BUFFER)[:-1]:
        windows = (part // window).unique()
        assert len(windows) <= BUFFER + 1  # the smaller last window may stand before
        assert windows.diff().max() > 1  # they are from all over the set
        assert (part.diff().abs() > window).float().mean() > 0.9  # and images of a batch from all of them


def test_only_the_order_along_the_source_counts():
    positions = torch.tensor([4, 90, 17, 3, 60, 22])
    sparse = windowed_order(positions, 2, 0, 0)
    assert torch.equal(sparse, windowed_order(positions * 1000, 2, 0, 0))
    assert torch.equal(sparse, windowed_order(positions.argsort().argsort(), 2, 0, 0))


@pytest.mark.parametrize("start", [0, 3, 14, 33])
def test_batches_from_any_step_are_those_of_the_unbroken_run(start):
    unbroken = [Batches(large(200, 8, in_memory=True), 13, seed=2).at(step) for step in range(start + 40)]
    stream = Batches(large(200, 8), 13, seed=2).from_step(start)
    for step, batch in enumerate(itertools.islice(stream, 40), start):
        assert batch.images.flatten().tolist() == batch.labels.tolist() == unbroken[step].labels.tolist()
    stream.close()


def test_each_rank_can_take_its_slice():
    """Indices alone say who meets in a step: nothing need be read for it, and slices of ranks make the whole."""
    read = []
    store = FileStore(lambda i: read.append(i) or np.zeros((1, 1, 1), np.uint8), np.arange(100), (1, 1, 1))
    batches = Batches(Split(store, window=8), 30, seed=0)
    parts = [batches.indices(7).tensor_split(3)[rank] for rank in range(3)]
    assert read == []
    for part in parts:
        batches.split.take(part)
    assert sorted(read) == sorted(batches.indices(7).tolist())


def test_small_sets_keep_their_order():
    """Runs that exist go on: the first images of the order of single images, as they have been."""
    split = Split(MemoryStore(torch.zeros(1000, 1, 1, 1, dtype=torch.uint8)), positions=torch.randperm(1000))
    assert Batches(split, 5, seed=3).indices(0).tolist() == [166, 416, 505, 249, 790]


def test_what_has_to_lie_in_memory_is_bounded_where_the_set_does_not(monkeypatch):
    monkeypatch.setattr(imageset, "HELD_AT_ONCE", 7)
    assert [large(20, 4).held_at_once(limit) for limit in (None, 5, 15, 99)] == [7, 5, 15, 20]
    assert [large(20, 4, in_memory=True).held_at_once(limit) for limit in (None, 15, 99)] == [20, 15, 20]
