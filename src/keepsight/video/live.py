"""Cameras and network streams: frames that come once, in order."""

from __future__ import annotations

import hashlib
import threading
import time
from abc import abstractmethod
from collections.abc import Iterator

import av
import cv2
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from keepsight.core import Frame, InputError
from keepsight.video.media import Converter, demux, display_matrix, open_media
from keepsight.video.source import RgbArray, VideoSource

# A stream that is silent for this long has ended.
_TIMEOUT_S = 15.0


class LiveSource(VideoSource):
    """A source that cannot be rewound; its frames are handed out once, whoever asks."""

    live = True

    def __init__(self, name: str) -> None:
        self.name = name
        self.warnings = []
        self._fps = 0.0
        self._next = 0
        self._closed = False
        self._lock = threading.Lock()
        self._id = hashlib.sha256(f"live {name} {time.time_ns()}".encode()).hexdigest()[:32]

    @property
    def fps(self) -> float:
        return self._fps

    @property
    def frame_count(self) -> None:
        return None

    @property
    def times_s(self) -> NDArray[np.float64]:
        raise InputError(f"{self.name} is live: the times of its frames are known only as they come.")

    def read(self, index: int) -> Frame:
        raise InputError(
            f"{self.name} is live: frames cannot be read by number; take them in order, or record it first."
        )

    def fingerprint(self) -> str:
        """Another one every time it is opened: a live source never shows the same again."""
        return self._id

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        if step < 1 or start < self._next:
            raise InputError(f"{self.name} is live and cannot be rewound; record it first to go backward.")
        return self._live_frames(start, stop, step)

    def _live_frames(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        while not self._closed and (stop is None or self._next < stop):
            with self._lock:
                taken = None if self._closed else self._grab()
                index = self._next
                self._next += 1
            if taken is None:
                return
            if index >= start and (index - start) % step == 0:
                yield Frame(index, taken[0], taken[1])

    @abstractmethod
    def _grab(self) -> tuple[float, RgbArray] | None:
        """Next time (seconds from the first frame) and picture; ``None`` at the end."""

    def close(self) -> None:
        self._closed = True
        # A frame that is being waited for holds the lock until it comes or its wait ends.
        with self._lock:
            self._release()

    @abstractmethod
    def _release(self) -> None:
        """Lets the device or connection go."""


class CameraSource(LiveSource):
    """A camera of this computer, by number (0 is usually the built-in one).

    Raises:
        InputError: no such camera, or another program holds it.
    """

    def __init__(self, number: int, name: str | None = None) -> None:
        super().__init__(name or f"camera {number}")
        self._capture = cv2.VideoCapture(number)
        first = self._capture.read() if self._capture.isOpened() else (False, None)
        if not first[0] or first[1] is None:
            self._capture.release()
            raise InputError(
                f"Camera {number} cannot be opened; check that it is plugged in and not used by another program."
            )
        self.height, self.width = int(first[1].shape[0]), int(first[1].shape[1])
        rate = float(self._capture.get(cv2.CAP_PROP_FPS) or 0)
        self._fps = rate if 1 <= rate <= 1000 else 30.0
        self._began_s: float | None = None

    def _grab(self) -> tuple[float, RgbArray] | None:
        # The frame that told the size is stale by the time that somebody asks: only its size is used.
        got, bgr = self._capture.read()
        if not got or bgr is None:
            return None
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        return now_s - self._began_s, cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)

    def _release(self) -> None:
        self._capture.release()


class StreamSource(LiveSource):
    """A network stream (RTSP, HTTP, UDP, ...).

    Raises:
        InputError: it does not answer, or shows no picture.
    """

    def __init__(self, address: str, name: str | None = None) -> None:
        super().__init__(name or address)
        options = {"rtsp_transport": "tcp"} if address.lower().startswith("rtsp") else {}
        self._container, self._stream = open_media(address, options=options, timeout_s=_TIMEOUT_S)
        self._packets = demux(
            self._container, self._stream, lambda: self._warn("Part of the stream was lost on the way and was skipped.")
        )
        self._pictures = self._decode()
        self._first: VideoFrame | None = next(self._pictures, None)
        if self._first is None:
            self._container.close()
            raise InputError(f"The stream {address} shows no picture; check that it plays elsewhere.")
        matrix = display_matrix(self._first)
        turned = matrix is not None and matrix[0, 0] == 0
        size = (self._first.height, self._first.width)
        self.height, self.width = size[::-1] if turned else size
        self._fps = float(self._stream.average_rate or self._stream.guessed_rate or 25)
        self._convert = Converter(self.height, self.width)
        self._origin_s: float | None = None
        self._last_s = -1.0 / self._fps

    def _decode(self) -> Iterator[VideoFrame]:
        for packet in self._packets:
            try:
                yield from self._stream.decode(packet)
            except av.error.FFmpegError:
                self._warn("Part of the stream was damaged and was skipped.")
        try:
            yield from self._stream.decode(None)
        except av.error.FFmpegError:
            return

    def _grab(self) -> tuple[float, RgbArray] | None:
        picture, self._first = (self._first, None) if self._first is not None else (next(self._pictures, None), None)
        if picture is None:
            return None
        step_s = 1.0 / self._fps
        stamp_s = picture.time
        if stamp_s is not None and self._origin_s is None:
            self._origin_s = stamp_s
        time_s = self._last_s + step_s
        if stamp_s is not None and self._origin_s is not None:
            passed = stamp_s - self._origin_s
            if self._last_s < passed < self._last_s + 60:
                time_s = passed
            else:
                # The sender restarted its clock: go on from here without a jump.
                self._origin_s = stamp_s - time_s
        self._last_s = time_s
        return time_s, self._convert(picture)

    def _release(self) -> None:
        self._pictures = iter(())
        self._first = None
        self._container.close()


def camera_number(text: str | int) -> int | None:
    """The number in ``0`` or ``"0"``; ``None`` for anything else."""
    if isinstance(text, bool):
        return None
    if isinstance(text, int):
        return text if text >= 0 else None
    return int(text) if text.isascii() and text.isdigit() else None
