"""Work beside the caller: in order, bounded, and its errors arrive."""

from __future__ import annotations

import threading

import pytest

from keepsight.video.beside import Beside


def test_work_is_done_in_order_and_waited_for() -> None:
    done: list[int] = []
    with Beside() as beside:
        for number in range(50):
            beside.do("count", lambda number=number: done.append(number))
    assert done == list(range(50))
    assert list(beside.times_s) == ["count"]


def test_the_caller_waits_for_room() -> None:
    go, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go.wait(20)

    beside = Beside(room=2)
    beside.do("first", work)
    assert begun.wait(20)
    handed = []
    caller = threading.Thread(target=lambda: [(beside.do("more", lambda: None), handed.append(n)) for n in range(5)])
    caller.start()
    caller.join(0.3)
    assert len(handed) == 2
    go.set()
    caller.join(20)
    beside.finish()
    assert len(handed) == 5


def test_an_error_reaches_the_caller_and_ends_the_work() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("no room")

    def hand_over() -> None:
        with Beside(room=1) as beside:
            beside.do("fail", fail)
            for number in range(100):
                beside.do("count", lambda number=number: done.append(number))

    with pytest.raises(ValueError, match="no room"):
        hand_over()
    assert done == []


def test_an_exception_of_the_caller_drops_what_waits() -> None:
    go, done = threading.Event(), []

    def leave() -> None:
        with Beside() as beside:
            beside.do("wait", lambda: go.wait(20))
            beside.do("count", lambda: done.append(1))
            threading.Timer(0.1, go.set).start()
            raise KeyError("stop")

    with pytest.raises(KeyError):
        leave()
    assert done == []
