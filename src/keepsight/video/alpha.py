"""WebM with transparency."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from keepsight.core import InputError, StoreError
from keepsight.video.source import check_fps

_TICK = Fraction(1, 1000)  # what WebM counts in


class AlphaWriter:
    """Encodes RGBA frames as VP9 with an alpha channel, which browsers and editors show on any background.

    Until the ``with`` block is left the file grows under ``<path>.part``, which an exception removes: a file under its own name
    is whole.

    Args:
        path: target, ``.webm``.
        height, width: frame size in px; an odd side gains one transparent row or column.
        fps: frames per second.

    Raises:
        InputError: this FFmpeg has no VP9 encoder.
        StoreError: the target cannot be written.
    """

    def __init__(self, path: Path, *, height: int, width: int, fps: float) -> None:
        self.path, self.height, self.width = path, height, width
        self._target = path.with_name(path.name + ".part")
        try:
            self._container = av.open(str(self._target), "w", format="webm")
            rate = Fraction(check_fps(fps, path.name)).limit_denominator(1001)
            # alt-ref frames and transparency do not go together in this encoder
            options = {"crf": "30", "b": "0", "cpu-used": "5", "row-mt": "1", "auto-alt-ref": "0"}
            self._stream = self._container.add_stream("libvpx-vp9", rate=rate, options=options)
        except OSError as error:
            raise StoreError(f"Cannot write {path}: {error.strerror or error}.") from error
        except (av.error.FFmpegError, ValueError) as error:
            raise InputError(
                f"{path}: this FFmpeg cannot write VP9 with transparency ({error}); use alpha-png."
            ) from error
        self._stream.pix_fmt = "yuva420p"
        self._stream.height, self._stream.width = height + height % 2, width + width % 2
        self._stream.codec_context.time_base = _TICK
        self._last = -1

    def write(self, rgba: NDArray[np.uint8], time_s: float) -> None:
        """Adds a frame, uint8 ``(height, width, 4)``, at a time that rises from frame to frame."""
        padded = np.pad(rgba, ((0, self.height % 2), (0, self.width % 2), (0, 0)))
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgba").reformat(format="yuva420p")
        self._last = max(self._last + 1, round(time_s * 1000))
        picture.pts, picture.time_base = self._last, _TICK
        self._encode(picture)

    def _encode(self, picture: VideoFrame | None) -> None:
        try:
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except OSError as error:
            raise StoreError(f"Cannot write {self.path}: {error.strerror or error}; free some space.") from error

    def __enter__(self) -> AlphaWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._encode(None)
                self._container.close()
                self._target.replace(self.path)
        except OSError as failure:
            raise StoreError(f"Cannot write {self.path}: {failure.strerror or failure}; free some space.") from failure
        finally:
            with suppress(av.error.FFmpegError, OSError):
                self._container.close()
            with suppress(OSError):
                self._target.unlink(missing_ok=True)
