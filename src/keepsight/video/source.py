"""What every source of frames offers, and the one that holds its frames in memory."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Frame, InputError

RgbArray = NDArray[np.uint8]

# A damaged file can hold thousands of bad frames; a person reads the first few.
_MAX_WARNINGS = 100


class VideoSource(ABC):
    """A sequence of upright RGB frames in display order.

    A frame's index is its position in display order; it is the same whether the frame was reached forward, backward or by
    :meth:`read`. Iterators are independent of each other and of :meth:`read`, so one may run in another thread.

    Attributes:
        name: what a person calls it; the file's stem unless given.
        path: file or folder, ``None`` for arrays, cameras and streams.
        height, width: frame size in px, rotation metadata applied.
        live: frames come once, in order, and their number is unknown.
        warnings: what went wrong without stopping the work (damaged frames, a file that was cut off).
    """

    name: str
    path: Path | None = None
    height: int
    width: int
    live: bool = False
    warnings: list[str]

    @property
    @abstractmethod
    def fps(self) -> float:
        """Average frame rate in frames per second."""

    @property
    @abstractmethod
    def frame_count(self) -> int | None:
        """How many frames there are; ``None`` for a live source."""

    @property
    @abstractmethod
    def times_s(self) -> NDArray[np.float64]:
        """Presentation time of every frame in seconds from the first one, ``(frame_count,)``, never decreasing.

        Raises:
            InputError: a live source, whose times are not known beforehand.
        """

    @abstractmethod
    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        """Yields the frames of ``range(start, stop, step)``, cut to the frames that exist.

        Args:
            start: first frame index.
            stop: end, exclusive; ``None`` runs to the last frame, or down to and including frame 0 when ``step < 0``.
            step: distance between frames; negative goes backward (``start > stop``).

        Raises:
            InputError: ``step`` is 0, a bound is negative, or a live source is asked to rewind.
        """

    @abstractmethod
    def read(self, index: int) -> Frame:
        """One frame by index.

        Raises:
            InputError: there is no such frame, it is damaged, or the source is live.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Short hexadecimal id of the content: equal content gives an equal id; cheap whatever the length."""

    def close(self) -> None:
        """Releases files and devices; iterators that still run end by themselves."""

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.width}x{self.height} px)"

    def _warn(self, message: str) -> None:
        if message not in self.warnings and len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(message)

    def _range(self, start: int, stop: int | None, step: int) -> range:
        """The indices that exist among ``range(start, stop, step)``."""
        if step == 0:
            raise InputError(f"{self.name}: the step between frames cannot be 0; use 1, or -1 to go backward.")
        if start < 0 or (stop is not None and stop < 0):
            raise InputError(f"{self.name}: frame numbers start at 0, got start {start} and stop {stop}.")
        return range(*slice(start, stop, step).indices(self.frame_count or 0))

    def _check_index(self, index: int) -> None:
        count = self.frame_count or 0
        if not 0 <= index < count:
            raise InputError(f"{self.name}: there is no frame {index}; the frames are 0 to {count - 1}.")


class IndexedSource(VideoSource):
    """A source whose frames are read one by one and keep their times in an array: images and arrays."""

    _fps: float

    @property
    def fps(self) -> float:
        return self._fps

    @property
    def times_s(self) -> NDArray[np.float64]:
        return np.arange(self.frame_count or 0, dtype=np.float64) / self._fps

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        # The range is checked here and not in a generator, so that a bad one fails at the call.
        return self._each(self._range(start, stop, step))

    def _each(self, indices: range) -> Iterator[Frame]:
        for index in indices:
            yield self.read(index)


class ArrayVideo(IndexedSource):
    """A video in memory, for tests and notebooks.

    Args:
        frames: uint8 ``(T, H, W, 3)``, or a list of uint8 ``(H, W, 3)``; not copied.
        fps: frames per second, > 0.
        name: shown to people.

    Raises:
        InputError: no frame, another shape or type, sizes that differ, or a frame rate that is not positive.
    """

    def __init__(self, frames: RgbArray | Sequence[RgbArray], fps: float = 25.0, name: str = "array") -> None:
        if len(frames) == 0:
            raise InputError(f"{name}: a video needs at least one frame.")
        first = np.asarray(frames[0])
        for index, frame in enumerate(frames):
            array = np.asarray(frame)
            if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or array.size == 0:
                raise InputError(
                    f"{name}: frame {index} must be uint8 of shape (height, width, 3), got {array.dtype} {array.shape}."
                )
            if array.shape != first.shape:
                raise InputError(
                    f"{name}: all frames must have one size; frame {index} is {array.shape[1]}x{array.shape[0]} px, "
                    f"frame 0 is {first.shape[1]}x{first.shape[0]} px."
                )
        self._frames = frames
        self._fps = check_fps(fps, name)
        self.name = name
        self.height, self.width = int(first.shape[0]), int(first.shape[1])
        self.warnings = []

    @property
    def frame_count(self) -> int:
        return len(self._frames)

    def read(self, index: int) -> Frame:
        self._check_index(index)
        return Frame(index, index / self._fps, np.asarray(self._frames[index]))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(f"array {len(self._frames)} {self.height} {self.width} {self._fps:g}".encode())
        # First, last and 16 between: enough to tell two videos apart, cheap for a long one.
        for index in np.unique(np.linspace(0, len(self._frames) - 1, 18).astype(int)):
            digest.update(np.ascontiguousarray(self._frames[int(index)]).tobytes())
        return digest.hexdigest()[:32]


def check_fps(fps: float, name: str) -> float:
    """``fps`` as a float.

    Raises:
        InputError: not a finite number above 0.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise InputError(f"{name}: the frame rate must be above 0 frames per second, got {fps}.")
    return float(fps)


def hash_file(path: Path) -> str:
    """Id of a file's content from its size, its first and its last 256 KiB.

    Raises:
        InputError: the file cannot be read.
    """
    edge = 256 * 1024
    try:
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        with path.open("rb") as file:
            digest.update(file.read(edge))
            if size > edge:
                file.seek(max(edge, size - edge))
                digest.update(file.read(edge))
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror or error}.") from error
    return digest.hexdigest()[:32]
