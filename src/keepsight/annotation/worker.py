"""One thread a device that does all model work, the most urgent first, and futures to wait for it."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, TypeVar

Result = TypeVar("Result")


class Urgency(IntEnum):
    """What goes first. Work of one urgency is done in the order in which it came, so jobs take turns frame by frame."""

    CLICK = 0
    HOVER = 1
    LOOK = 2
    TRACK = 3


@dataclass(order=True)
class _Task:
    urgency: Urgency
    number: int
    work: Callable[[], Any] = field(compare=False)
    future: Future[Any] = field(compare=False)
    key: Hashable | None = field(compare=False)


class Worker:
    """Does one thing at a time in a thread of its own.

    Work that takes long must come in pieces: what is more urgent waits for the piece in hand, never for the rest.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._tasks: list[_Task] = []
        self._keyed: dict[Hashable, _Task] = {}
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(
        self, work: Callable[[], Result], urgency: Urgency, key: Hashable | None = None
    ) -> Future[Result | None]:
        """Queues a piece of work.

        Args:
            key: at most one piece of this key waits: an older one is dropped, and its future gives ``None``.

        Returns:
            A future; cancelling it takes the work out of the queue.
        """
        future: Future[Any] = Future()
        dropped: _Task | None = None
        with self._changed:
            if self._closed:
                future.cancel()
                return future
            task = _Task(urgency, next(self._numbers), work, future, key)
            if key is not None:
                dropped = self._keyed.get(key)
                self._keyed[key] = task
            heapq.heappush(self._tasks, task)
            self._changed.notify()
        if dropped is not None and dropped.future.set_running_or_notify_cancel():
            dropped.future.set_result(None)
        return future

    @property
    def waiting(self) -> int:
        """Pieces in the queue."""
        return len(self._tasks)

    def is_mine(self) -> bool:
        """Whether the caller is the worker's own thread."""
        return threading.current_thread() is self._thread

    def close(self) -> None:
        """Ends after the piece in hand; what waits is cancelled."""
        with self._changed:
            self._closed = True
            left, self._tasks = self._tasks, []
            self._changed.notify()
        for task in left:
            task.future.cancel()
        if not self.is_mine():
            self._thread.join()

    def _run(self) -> None:
        while (task := self._next()) is not None:
            if not task.future.set_running_or_notify_cancel():
                continue
            try:
                task.future.set_result(task.work())
            except BaseException as error:
                task.future.set_exception(error)

    def _next(self) -> _Task | None:
        with self._changed:
            while True:
                while not self._tasks and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return None
                task = heapq.heappop(self._tasks)
                if task.key is None:
                    return task
                if self._keyed.get(task.key) is task:
                    del self._keyed[task.key]
                    return task
                # A newer one of its key took its place.
