"""One door for every kind of video."""

from __future__ import annotations

import re
from pathlib import Path

from keepsight.core import InputError
from keepsight.video.file import FileVideo
from keepsight.video.images import IMAGE_SUFFIXES, ImageVideo
from keepsight.video.live import CameraSource, StreamSource, camera_number
from keepsight.video.source import VideoSource

# One letter before the colon is a Windows drive.
_ADDRESS = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")


def open_video(
    source: str | Path | int | VideoSource, *, camera: bool = False, name: str | None = None, fps: float | None = None
) -> VideoSource:
    """Opens anything that shows frames.

    Args:
        source: a video file; a folder of images; an image; a camera number; a stream address such as ``rtsp://...``; or a
            source that is open already, which is returned as it is.
        camera: read a string of digits as a camera number instead of a file name.
        name: what to call it in projects and messages.
        fps: frames per second of a folder of images (25 unless given); anything else knows its own.

    Raises:
        InputError: nothing that can be opened; the line says what to do.
    """
    if isinstance(source, VideoSource):
        if name is not None:
            source.name = name
        return source
    if camera or isinstance(source, int):
        number = camera_number(source) if isinstance(source, str | int) else None
        if number is None:
            raise InputError(f"{source!r} is not a camera number; use 0 for the first camera.")
        return CameraSource(number, name)
    if not isinstance(source, str | Path):
        raise InputError(
            f"A video cannot be opened from {type(source).__name__}; give a path, or ArrayVideo(frames) for frames in memory."
        )
    if isinstance(source, str) and _ADDRESS.match(source):
        if not source.lower().startswith("file://"):
            return StreamSource(source, name)
        source = source[len("file://") :]
    text = str(source)
    if not text or "\0" in text:
        raise InputError(
            "The name of the video is empty or malformed; give a file, a folder of images or a stream address."
        )
    path = Path(text).expanduser()
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}.") from error
    if is_folder:
        return ImageVideo(path, fps or 25.0, name)
    if is_file and path.suffix.lower() in IMAGE_SUFFIXES:
        return ImageVideo(path, fps or 25.0, name)
    return FileVideo(path, name)
