"""Work shared among threads: torch's own, or others where these cannot be had."""

import gc
import sys
import threading
import weakref

import pytest
import torch

from limner import threads


@pytest.fixture(params=["torch's", "others"])
def whose(request, monkeypatch):
    """Both ways to have threads."""
    if request.param == "others":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    return request.param


@pytest.mark.skipif(sys.platform != "linux", reason="torch has other threads there")
def test_torch_has_threads_to_share():
    assert threads._openmp() is not None


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_results_are_in_the_order_of_the_jobs(whose, count):
    assert threads.together([lambda i=i: i * i for i in range(count)]) == [i * i for i in range(count)]


def test_jobs_run_at_once(whose):
    meet = threading.Barrier(2, timeout=20)  # which a job alone would not pass
    assert sorted(threads.together([meet.wait, meet.wait])) == [0, 1]


def test_the_first_error_is_raised_and_the_others_end(whose):
    ended = []

    def job(i):
        if i % 2:
            raise ValueError(f"job {i}")
        ended.append(i)

    with pytest.raises(ValueError, match="job 1"):
        threads.together([lambda i=i: job(i) for i in range(4)])
    assert sorted(ended) == [0, 2]
    assert threads.together([lambda: 1, lambda: 2]) == [1, 2]


def test_what_a_job_held_is_free_at_once(whose):
    """Not when Python next looks for cycles of references: an evaluation would grow by 100 MB a call."""
    gone = []

    def work():
        array = torch.zeros(3)
        gone.append(weakref.ref(array))
        threads.together([lambda: array.sum(), array.max])

    work()
    gc.disable()
    try:
        work()
        assert gone[-1]() is None
    finally:
        gc.enable()


def test_an_interrupt_in_a_job_arrives(whose):
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        threads.together([stop, stop])


def test_shares_cover_all_items_once(whose):
    taken = torch.zeros(11, dtype=torch.int64)

    def share(first, last):
        taken[first:last] += 1

    threads.in_shares(share, len(taken))
    assert taken.tolist() == [1] * 11


def test_from_another_thread(whose):
    found = []
    thread = threading.Thread(target=lambda: found.extend(threads.together([lambda: 1, lambda: 2])))
    thread.start()
    thread.join(20)
    assert found == [1, 2]
