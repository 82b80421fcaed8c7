import threading

import numpy as np
import pytest
import torch

from limner.data import Batches, FileStore, MemoryStore, Split, epoch_order, sequential
from limner.errors import LimnerError


def numbered(n, in_memory=True):
    """n images of one pixel, which is their number; labelled with it."""
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1)
    store = MemoryStore(images) if in_memory else FileStore(lambda i: images[i].numpy(), np.arange(n), (1, 1, 1))
    return Split(store, torch.arange(n))


def numbers(batch):
    assert batch.images.dtype == torch.uint8
    assert batch.images.flatten().tolist() == batch.labels.tolist()
    return batch.labels.tolist()


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("limner-ahead")]


def test_orders_are_permutations_that_differ():
    orders = {tuple(epoch_order(20, seed, epoch).tolist()) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert torch.equal(epoch_order(20, 3, 7), epoch_order(20, 3, 7))


def test_orders_ignore_the_global_generator():
    before = torch.get_rng_state()
    torch.manual_seed(1)
    first = epoch_order(50, 0, 0)
    torch.manual_seed(2)
    assert torch.equal(first, epoch_order(50, 0, 0))
    torch.set_rng_state(before)


@pytest.mark.parametrize("in_memory", [True, False])
def test_an_epoch_shows_each_image_once(in_memory):
    batches = Batches(numbered(12, in_memory), 4, seed=1)
    assert batches.steps_per_epoch == 3
    first, second = ([n for s in steps for n in numbers(batches.at(s))] for steps in (range(3), range(3, 6)))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second


@pytest.mark.parametrize(("n", "size", "steps", "each"), [(10, 4, 2, 4), (3, 8, 1, 3), (8, 8, 1, 8), (1, 1, 1, 1)])
def test_sizes_of_batches(n, size, steps, each):
    batches = Batches(numbered(n), size, seed=0)
    assert batches.steps_per_epoch == steps
    assert all(len(numbers(batches.at(step))) == each for step in range(3 * steps))


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("start", [0, 1, 5, 11])
def test_resuming_goes_on_with_the_same_batches(in_memory, start):
    batches = Batches(numbered(11, in_memory), 3, seed=5)
    stream = batches.from_step(start)
    again = Batches(numbered(11), 3, seed=5)
    assert [numbers(next(stream)) for _ in range(10)] == [numbers(again.at(start + i)) for i in range(10)]
    stream.close()


def test_no_thread_for_images_in_memory_and_none_left_behind():
    stream = Batches(numbered(9), 2, seed=0).from_step(0)
    next(stream)
    assert not readers()
    stream = Batches(numbered(9, in_memory=False), 2, seed=0).from_step(0)
    next(stream)
    assert len(readers()) == 1
    stream.close()
    assert not readers()
    forgotten = Batches(numbered(9, in_memory=False), 2, seed=0).from_step(0)
    next(forgotten)
    del forgotten
    assert not readers()


def test_errors_of_the_reading_thread_arrive():
    def read(i):
        raise LimnerError(f"image {i} is gone")

    split = Split(FileStore(read, np.arange(4), (1, 1, 1)))
    with pytest.raises(LimnerError, match="is gone"):
        next(Batches(split, 2, seed=0).from_step(0))
    assert not readers()


def test_sequential_keeps_the_order_and_the_rest():
    assert [numbers(b) for b in sequential(numbered(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert [numbers(b) for b in sequential(numbered(7), 3, limit=4)] == [[0, 1, 2], [3]]
    assert [numbers(b) for b in sequential(numbered(7), 3, limit=99)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(sequential(numbered(0), 3)) == []


def test_batches_without_labels():
    split = Split(MemoryStore(torch.zeros(4, 1, 2, 2, dtype=torch.uint8)))
    assert Batches(split, 2, seed=0).at(0).labels is None


def test_nothing_to_batch():
    with pytest.raises(LimnerError, match="the split is empty"):
        Batches(numbered(0), 4, seed=0)
    with pytest.raises(LimnerError, match="at least 1, not 0"):
        Batches(numbered(4), 0, seed=0)
    with pytest.raises(LimnerError, match="at least 1, not -1"):
        sequential(numbered(4), -1)
