"""Doing work in a thread while the caller goes on: what :func:`~keepsight.video.ahead.prefetch` is, at the other end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Beside:
    """A thread that does what it is given, one piece after the other.

    Leaving the ``with`` block waits for all of it; leaving it by an exception drops what has not begun.

    Args:
        room: pieces of work that may wait, >= 1; the caller waits for room then. Up: smooths uneven work, and holds what that
            many pieces hold (a frame each, as a rule).

    Attributes:
        times_s: seconds of work by stage.
    """

    def __init__(self, room: int = 8) -> None:
        self.times_s: dict[str, float] = {}
        self._waiting: queue.Queue[tuple[str, Callable[[], object]] | None] = queue.Queue(max(1, room))
        self._error: BaseException | None = None
        self._dropped = False
        self._thread = threading.Thread(target=self._work, name="keepsight-beside", daemon=True)
        self._thread.start()

    def do(self, stage: str, work: Callable[[], object]) -> None:
        """Hands work over.

        Raises:
            Whatever earlier work has raised; nothing more is done then.
        """
        self._raise()
        self._waiting.put((stage, work))

    def finish(self) -> None:
        """Waits until all is done, and ends the thread; see :meth:`do` for what it raises."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        self._raise()

    def drop(self) -> None:
        """Ends the thread after the piece in hand."""
        self._dropped = True
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._dropped or self._error is not None:
                continue
            stage, work = item
            begin = time.perf_counter()
            try:
                work()
            except BaseException as error:
                self._error = error
            self.times_s[stage] = self.times_s.get(stage, 0.0) + time.perf_counter() - begin
            # Otherwise the frame that it holds lives until the next one comes.
            del item, work

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.drop()
