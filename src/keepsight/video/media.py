"""Opening a container with PyAV and turning its pictures into upright RGB arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import SideDataContainer
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from keepsight.core import InputError
from keepsight.video.source import RgbArray

# More decoding threads than this only add frames in flight (each 3 MB at 1080p), not speed.
_MAX_THREADS = 8
# A demuxer that fails this often in a row will not find its way back.
_MAX_DEMUX_ERRORS = 50


def open_media(
    source: Path | str, *, threaded: bool = True, options: dict[str, str] | None = None, timeout_s: float | None = None
) -> tuple[InputContainer, VideoStream]:
    """Opens a file or address and its main video stream, ready to decode.

    Args:
        source: file path or address.
        threaded: decode with several threads; without, errors fall on the packet that caused them.
        options: demuxer options.
        timeout_s: seconds to wait for a network source to answer; ``None`` waits without end.

    Raises:
        InputError: missing, not readable, not a video, or without a video stream.
    """
    try:
        container = av.open(str(source), options=options or {}, timeout=timeout_s)
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(_why_not_open(source, error)) from error
    # A cover picture in a music file is a video stream to the container, but not to a person.
    streams = [s for s in container.streams.video if not _is_cover(s)]
    if not streams:
        container.close()
        raise InputError(f"{source} has no video stream (only sound?); give a file with pictures.")
    stream = streams[0]
    for other in container.streams:
        if other.index != stream.index:
            # Sound that nobody listens to is not even read from disk. Older PyAV cannot say so, which is only slower.
            with suppress(AttributeError):
                other.discard = type(other.discard).all
    stream.thread_type = "AUTO" if threaded else "NONE"
    stream.codec_context.thread_count = min(os.cpu_count() or 1, _MAX_THREADS) if threaded else 1
    return container, stream


def demux(container: InputContainer, stream: VideoStream, on_error: Callable[[], None]) -> Iterator[av.Packet]:
    """Packets with content, in decode order; reading errors are reported and stepped over."""
    errors = 0
    while errors < _MAX_DEMUX_ERRORS:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    errors = 0
                    yield packet
            return
        except av.error.FFmpegError:
            errors += 1
            on_error()


class Converter:
    """Turns decoded pictures into upright RGB arrays of one size; not for several threads at once.

    Args:
        height, width: size of the result in px, after rotation; ``None`` takes each picture's own.
    """

    def __init__(self, height: int | None = None, width: int | None = None) -> None:
        self._size = (height, width) if height and width else None
        self._reformatter = VideoReformatter()

    def __call__(self, picture: VideoFrame) -> RgbArray:
        """uint8 ``(H, W, 3)``; alpha is dropped, more than 8 bits are scaled down, a stray size is resized."""
        matrix = display_matrix(picture)
        size = self._size
        if size is not None and matrix is not None and matrix[0, 0] == 0:
            size = (size[1], size[0])
        height, width = size or (picture.height, picture.width)
        picture = self._reformatter.reformat(picture, width=width, height=height, format="rgb24")
        return upright(np.asarray(picture.to_ndarray(), dtype=np.uint8), matrix)


def display_matrix(picture: VideoFrame) -> np.ndarray | None:
    """Signs of the display matrix, int ``(2, 2)`` with ``[x', y'] = [x, y] @ m``; ``None`` for a picture shown as it is.

    Every turn by a multiple of 90 degrees and every mirroring is one of the eight such matrices; other angles (a hand-made
    file) are taken to the nearest.
    """
    with suppress(KeyError, AttributeError, ValueError):
        # Not `picture.side_data`: that is kept by the picture and keeps the picture, so that each one waits for the collector of
        # cycles, which comes too seldom for megabytes.
        side_data: Any = SideDataContainer(picture)  # type: ignore[call-arg]
        values = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), dtype=np.int32)[:9].reshape(3, 3)
        turn = values[:2, :2].astype(np.int64)
        if not turn.any():
            return None
        straight = abs(turn[0, 0]) + abs(turn[1, 1]) >= abs(turn[0, 1]) + abs(turn[1, 0])
        matrix = np.sign(turn) * (np.eye(2, dtype=np.int64) if straight else 1 - np.eye(2, dtype=np.int64))
        if abs(np.linalg.det(matrix)) == 1 and not np.array_equal(matrix, np.eye(2)):
            return matrix
    return None


def upright(rgb: RgbArray, matrix: np.ndarray | None) -> RgbArray:
    """Applies a display matrix to ``(H, W, 3)``; the result is contiguous."""
    if matrix is None:
        # Rows of an odd width are padded in the decoder's memory; a copy also lets that memory go.
        return np.ascontiguousarray(rgb)
    if matrix[0, 0] == 0:
        # x' = m10 * y and y' = m01 * x: rows become columns.
        rgb = rgb.transpose(1, 0, 2)
        flip_x, flip_y = matrix[1, 0] < 0, matrix[0, 1] < 0
    else:
        flip_x, flip_y = matrix[0, 0] < 0, matrix[1, 1] < 0
    if flip_y:
        rgb = rgb[::-1]
    if flip_x:
        rgb = rgb[:, ::-1]
    return np.ascontiguousarray(rgb)


def _is_cover(stream: VideoStream) -> bool:
    with suppress(AttributeError):
        return bool(stream.disposition & type(stream.disposition).attached_pic)
    return False


def _why_not_open(source: Path | str, error: Exception) -> str:
    if isinstance(source, str):
        return f"Cannot open the stream {source}: {error.args[1] if len(error.args) > 1 else error}."
    if not source.exists():
        return f"There is no file {source}; check the path."
    if isinstance(error, PermissionError):
        return f"{source} may not be read; check its permissions."
    if source.stat().st_size == 0:
        return f"{source} is empty (0 bytes); copy or record it again."
    head = source.open("rb").read(64 * 1024)
    if b"ftyp" in head[:16] and b"moov" not in head:
        return f"{source} was cut off before its table of contents was written; copy or record it again."
    return f"{source} is not a video that can be read; give a video file, a folder of images or a stream address."
