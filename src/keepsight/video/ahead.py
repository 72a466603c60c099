"""Running an iterator a few items ahead in a thread, so that decoding overlaps with the work on the frame before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
# The worker is a daemon: one stuck in a camera's driver must not keep the program alive.
_JOIN_S = 5.0


class _End:
    """Says that the iterator ended, and with which error if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


def prefetch(iterator: Iterable[T], depth: int = 4) -> Generator[T, None, None]:
    """Yields the items of ``iterator``, taken by a thread that runs up to ``depth`` items ahead.

    The thread starts with the first item asked for and ends with the iterator, or as soon as this generator is closed or
    collected; the iterator is closed with it, in that thread.

    Args:
        iterator: anything to iterate over; nobody else may use it meanwhile.
        depth: items held ready, >= 1; more smooths an uneven decoder and holds that many frames in memory.

    Raises:
        Whatever ``iterator`` raises, after the items before it.
    """
    ready: queue.Queue[T | _End] = queue.Queue(maxsize=max(1, depth))
    stop = threading.Event()
    # The thread's target is a plain function: a reference to this generator would keep it from being collected.
    worker = threading.Thread(target=_run, args=(iter(iterator), ready, stop), name="keepsight-prefetch", daemon=True)
    worker.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item
    finally:
        stop.set()
        # A worker that waits for room gets it, then sees the stop; it cannot fill the queue twice.
        while True:
            try:
                ready.get_nowait()
            except queue.Empty:
                break
        if worker is not threading.current_thread():
            worker.join(_JOIN_S)


def _run(items: Iterator[T], ready: queue.Queue[T | _End], stop: threading.Event) -> None:
    end = _End()
    try:
        while not stop.is_set():
            try:
                item = next(items)
            except StopIteration:
                break
            ready.put(item)
            del item
    except BaseException as error:
        end = _End(error)
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            try:
                close()
            except BaseException as error:
                end = end if end.error is not None else _End(error)
        if not stop.is_set():
            ready.put(end)
