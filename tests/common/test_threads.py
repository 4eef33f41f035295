"""Work done by threads: in order, a few items ahead, and ended at once."""

import threading
import time

import pytest

from mrcnn.common.threads import cores, map_all


def test_cores():
    assert cores() >= 1


@pytest.mark.parametrize("workers", [1, 3])
def test_in_order(workers):
    def slow_where_early(number):
        time.sleep(0.01 / (1 + number))
        return number**2

    made = map_all(slow_where_early, range(8), "Squaring", False, workers)
    assert list(made) == [number**2 for number in range(8)]


def test_several_at_once():
    meeting = threading.Barrier(3, timeout=10)  # breaks unless three come at one time
    assert len(list(map_all(lambda _: meeting.wait(), range(6), "Meeting", False, 3))) == 6


def test_one_worker_is_the_caller():
    threads = set(map_all(lambda _: threading.get_ident(), range(3), "Asking", False))
    assert threads == {threading.get_ident()}


def test_no_more_than_a_few_wait():
    started = []
    made = map_all(started.append, range(100), "Starting", False, 4)
    next(made)
    time.sleep(0.05)
    assert len(started) <= 5  # one is yielded, four wait
    made.close()


def test_interrupted():
    """What Ctrl-C raises comes at once, and nothing more is begun."""
    started, free = [], threading.Event()

    def work(number):
        started.append(number)
        if number >= 3:
            free.wait(10)
        return number

    made = map_all(work, range(100), "Working", False, 2)
    assert next(made) == 0
    threading.Timer(0.1, free.set).start()
    with pytest.raises(KeyboardInterrupt):
        made.throw(KeyboardInterrupt)
    assert max(started) <= 4


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_are_raised(workers):
    with pytest.raises(ZeroDivisionError):
        list(map_all(lambda number: 1 / number, [1, 0, 2], "Dividing", False, workers))
    with pytest.raises(ValueError, match="workers is 0; it must be at least 1"):
        list(map_all(abs, [1], "Nothing", False, 0))


def test_bar(capsys):
    list(map_all(abs, range(3), "Counting", True, 2))
    assert "Counting" in capsys.readouterr().err
