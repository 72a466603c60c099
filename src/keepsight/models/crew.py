"""Work side by side: pieces that know nothing of each other, each on one core.

A small model gains little when every operation is split over the cores, and loses much when the machine has other work, for
then the threads of an operation wait for each other. Pieces that know nothing of each other (views of a frame, objects) gain
all of it, and as every operation runs on one thread the numbers do not hang on how many cores there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crew:
    """A pool of threads, each of which runs torch operations by itself; as many as torch may use when first led."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._starting = threading.Lock()
        self._mine = threading.local()

    @contextmanager
    def lead(self) -> Iterator[None]:
        """While this lasts :meth:`map` shares its work out, and operations of the calling thread stay on it as well: those
        that are split keep a core busy waiting for the next one. Where torch may use one thread only, nothing changes."""
        threads = torch.get_num_threads()
        if threads == 1:
            yield
            return
        with self._starting:
            self._pool = self._pool or _started(threads)
        self._mine.pool = self._pool
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            self._mine.pool = None

    @property
    def size(self) -> int:
        """How many items :meth:`map` works on side by side."""
        pool: ThreadPoolExecutor | None = getattr(self._mine, "pool", None)
        return 1 if pool is None else pool._max_workers

    def map(self, work: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """``work`` on every item, in any order; results in the order of the items. Work may not call this itself."""
        pool: ThreadPoolExecutor | None = getattr(self._mine, "pool", None)
        if pool is None:
            return [work(item) for item in items]
        inference = torch.is_inference_mode_enabled()

        def run(item: Item) -> Result:
            with torch.inference_mode(inference):
                return work(item)

        return list(pool.map(run, items))


def _started(workers: int) -> ThreadPoolExecutor:
    """A pool whose threads all run.

    The number of threads of an operation is each thread's own, but setting it in one sets it for threads that are still to
    come as well, which is put right at the end.
    """
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "keepsight-crew", initializer=_use_one_core)
    ready = threading.Barrier(workers + 1)
    for _ in range(workers):
        pool.submit(ready.wait)
    ready.wait()
    torch.set_num_threads(before)
    return pool


def _use_one_core() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread takes the common number when it first asks, and must not do so later
