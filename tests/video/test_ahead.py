"""The thread that runs ahead ends with its consumer, whichever way that ends."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator

import pytest

from keepsight.video import open_video, prefetch


def _threads() -> int:
    return sum(thread.name == "keepsight-prefetch" for thread in threading.enumerate())


class _Count:
    """Counts up for ever and remembers how far it got and whether it was closed."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.given, self.closed, self.fail_at = 0, False, fail_at

    def __iter__(self) -> Iterator[int]:
        try:
            while True:
                if self.given == self.fail_at:
                    raise ValueError("no more")
                self.given += 1
                yield self.given
        finally:
            self.closed = True


@pytest.mark.parametrize("depth", [1, 4])
def test_same_items_in_order(depth):
    assert list(prefetch(range(200), depth)) == list(range(200))
    assert list(prefetch([], depth)) == []
    assert _threads() == 0


def test_runs_ahead_but_no_further_than_depth():
    source = _Count()
    items = prefetch(source, depth=3)
    assert next(items) == 1
    deadline = time.monotonic() + 5
    while source.given < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert source.given == 5  # one handed out, three ready, one waiting for room
    items.close()
    assert (source.closed, _threads()) == (True, 0)


def test_error_comes_after_the_items_before_it():
    items = prefetch(_Count(fail_at=3), depth=2)
    assert [next(items) for _ in range(3)] == [1, 2, 3]
    with pytest.raises(ValueError, match="no more"):
        next(items)
    assert _threads() == 0


@pytest.mark.parametrize("way", ["collected", "broken off", "failed"])
def test_no_thread_is_left_behind(way):
    source = _Count()

    def consume() -> None:
        for number in prefetch(source):
            if number == 3:
                if way == "failed":
                    raise RuntimeError("consumer")
                break

    if way == "collected":
        items = prefetch(source)
        next(items)
        del items
    elif way == "failed":
        with pytest.raises(RuntimeError):
            consume()
    else:
        consume()
    gc.collect()
    assert (source.closed, _threads()) == (True, 0)


def test_a_file_is_read_ahead(clips):
    with open_video(clips("b.mp4", "libx264")) as video:
        assert [frame.index for frame in prefetch(video.frames(30, None, -1))] == list(range(30, -1, -1))
