"""Where the time of a job goes."""

from __future__ import annotations

import time
from typing import Self


class StageClock:
    """Adds the time between :meth:`enter` calls to the stage that was entered; exclusive, so the stages add up to the whole.

    Args:
        times_s: seconds a stage, added to.
        first: stage that begins with the ``with`` block.
    """

    def __init__(self, times_s: dict[str, float], first: str = "track") -> None:
        self._times_s = times_s
        self._stage = first
        self._since = 0.0

    def __enter__(self) -> Self:
        self._since = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.enter(self._stage)

    def enter(self, stage: str) -> None:
        """Ends the current stage and begins another."""
        now = time.perf_counter()
        self._times_s[self._stage] = self._times_s.get(self._stage, 0.0) + now - self._since
        self._stage, self._since = stage, now
