"""Frames as JPEG, within a byte budget that all desks share."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.annotation.trouble import NotFound
from keepsight.annotation.values import Picture
from keepsight.video import VideoSource

JPEG_QUALITY = 85
LEAST_WIDTH = 16


class PictureCache:
    """Encoded pictures, least recently used out first.

    Args:
        limit_bytes: of all pictures together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit, self._held = limit_bytes, 0
        self._lock = threading.Lock()
        self._items: OrderedDict[Hashable, Picture] = OrderedDict()

    @property
    def nbytes(self) -> int:
        """What is held."""
        return self._held

    def get(self, key: Hashable, make: Callable[[], Picture]) -> Picture:
        """The picture of ``key``, made when it is not held."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        made = make()
        with self._lock:
            old = self._items.pop(key, None)
            self._held -= 0 if old is None else len(old.data)
            self._items[key] = made
            self._held += len(made.data)
            while self._held > self._limit and self._items:
                self._held -= len(self._items.popitem(last=False)[1].data)
        return made


def draw(video: VideoSource, frame: int, width: int | None) -> Picture:
    """A frame as JPEG, at most ``width`` px wide.

    Raises:
        NotFound: there is no such frame.
        InputError: it is damaged.
    """
    count = video.frame_count or 0
    if not 0 <= frame < count:
        raise NotFound(f"There is no frame {frame}; the frames are 0 to {count - 1}.")
    rgb = video.read(frame).rgb
    if width is not None and width < video.width:
        wide = max(width, min(LEAST_WIDTH, video.width))
        size = (wide, max(round(video.height * wide / video.width), 1))
        rgb = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    return Picture(frame, int(rgb.shape[1]), int(rgb.shape[0]), encode_jpeg(rgb))


def encode_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """uint8 RGB ``(H, W, 3)`` as JPEG."""
    _, data = cv2.imencode(
        ".jpg", cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    )
    return bytes(data)
