"""One decoder for several readers that go through a video in step."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Frame
from keepsight.video.source import VideoSource


class SharedVideo:
    """Gives out readers of a video; every frame is decoded once, for whoever comes first.

    Readers must ask for the same sweeps in the same order and stay close to each other: what the slowest one has not seen
    is held. They may be in different threads.

    Args:
        video: one that can be rewound; nobody else may close it meanwhile.
        readers: how many there will be.
    """

    def __init__(self, video: VideoSource, readers: int) -> None:
        self.video = video
        self.count = readers
        self._lock = threading.Lock()
        self._sweeps: list[_Sweep] = []
        self._latest: Frame | None = None

    def readers(self) -> list[VideoSource]:
        """The readers, videos like the one behind them."""
        return [_Reader(self, number) for number in range(self.count)]

    def sweep(self, number: int, wanted: tuple[int, int | None, int]) -> _Sweep:
        """The sweep that readers share as their ``number``-th one."""
        with self._lock:
            if number == len(self._sweeps):
                self._sweeps.append(_Sweep(self.video.frames(*wanted), wanted, self.count))
            found = self._sweeps[number]
            if found.wanted != wanted:
                raise ValueError(f"readers go different ways: {found.wanted} and {wanted}")
            return found

    def read(self, index: int) -> Frame:
        """One frame; the one read last is held."""
        with self._lock:
            if self._latest is None or self._latest.index != index:
                self._latest = self.video.read(index)
            return self._latest


class _Sweep:
    """Frames of one range, each held until all readers have had it."""

    def __init__(self, frames: Iterator[Frame], wanted: tuple[int, int | None, int], readers: int) -> None:
        self.wanted = wanted
        self._frames = frames
        self._lock = threading.Lock()
        self._held: deque[Frame] = deque()
        self._first = 0
        self._places: dict[int, int] = dict.fromkeys(range(readers), 0)

    def next(self, reader: int) -> Frame | None:
        with self._lock:
            place = self._places[reader]
            if place == self._first + len(self._held):
                fresh = next(self._frames, None)
                if fresh is None:
                    return None
                self._held.append(fresh)
            frame = self._held[place - self._first]
            self._places[reader] = place + 1
            self._let_go()
            return frame

    def leave(self, reader: int) -> None:
        with self._lock:
            self._places.pop(reader, None)
            self._let_go()
            close = getattr(self._frames, "close", None)
            if not self._places and close is not None:
                with suppress(ValueError):
                    close()

    def _let_go(self) -> None:
        slowest = min(self._places.values(), default=self._first + len(self._held))
        while self._first < slowest:
            self._held.popleft()
            self._first += 1


class _Reader(VideoSource):
    def __init__(self, shared: SharedVideo, number: int) -> None:
        video = shared.video
        self._shared, self._number, self._next_sweep = shared, number, 0
        self.name, self.path = video.name, getattr(video, "path", None)
        self.height, self.width, self.live = video.height, video.width, video.live

    path: Path | None

    @property
    def warnings(self) -> list[str]:  # type: ignore[override]
        return self._shared.video.warnings

    @property
    def fps(self) -> float:
        return self._shared.video.fps

    @property
    def frame_count(self) -> int | None:
        return self._shared.video.frame_count

    @property
    def times_s(self) -> NDArray[np.float64]:
        return self._shared.video.times_s

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        sweep = self._shared.sweep(self._next_sweep, (start, stop, step))
        self._next_sweep += 1
        return self._each(sweep)

    def _each(self, sweep: _Sweep) -> Iterator[Frame]:
        try:
            while (frame := sweep.next(self._number)) is not None:
                yield frame
        finally:
            sweep.leave(self._number)

    def read(self, index: int) -> Frame:
        return self._shared.read(index)

    def fingerprint(self) -> str:
        return self._shared.video.fingerprint()
