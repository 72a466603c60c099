"""Parts of frames around objects, kept in a file while these are followed, so that nothing is decoded again to cut them out."""

from __future__ import annotations

import os
import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np

from keepsight.core import StoreError
from keepsight.render.tags import RgbArray

Rect: TypeAlias = tuple[int, int, int, int]
"""``(left, top, right, bottom)`` in px of a frame, the last two exclusive."""

LIMIT_BYTES = 4 * 2**30
_RECORD = struct.Struct("<4sIqIIIII")  # mark, frame, object, x, y, width, height, CRC-32
_MARK = b"KSPX"


class DamagedPatchesError(StoreError):
    """A patch is not what was written; the file is to be thrown away, for it only saves work."""


@dataclass(frozen=True)
class Patch:
    """Pixels of a frame: uint8 ``(h, w, 3)`` whose upper left px is ``(x, y)``."""

    x: int
    y: int
    rgb: RgbArray

    @classmethod
    def of(cls, rgb: RgbArray, rect: Rect) -> Patch:
        """A view of a part of a frame."""
        left, top, right, bottom = rect
        return cls(left, top, rgb[top:bottom, left:right])

    @property
    def rect(self) -> Rect:
        return self.x, self.y, self.x + self.rgb.shape[1], self.y + self.rgb.shape[0]

    def part(self, rect: Rect) -> RgbArray:
        """The pixels of ``rect``, which lies inside."""
        left, top, right, bottom = rect
        return self.rgb[top - self.y : bottom - self.y, left - self.x : right - self.x]


def covers(outer: Rect, inner: Rect) -> bool:
    """Whether ``inner`` lies in ``outer``."""
    return outer[0] <= inner[0] and outer[1] <= inner[1] and outer[2] >= inner[2] and outer[3] >= inner[3]


class PatchFile:
    """Patches by frame and object, uncompressed.

    The file only ever grows at its end, and what a killed writer left unfinished there is cut off when it is opened again. Of two
    patches of one frame and object the later one counts. Reading is safe from several threads.

    Args:
        path: made where it is missing, begun anew where it is of another video.
        fingerprint: of the video.
        limit_bytes: no patch is added beyond; up: fewer frames of long clips with many objects are decoded again, more disk.

    Raises:
        StoreError: it cannot be read or written.
    """

    def __init__(self, path: Path, fingerprint: str, limit_bytes: int = LIMIT_BYTES) -> None:
        self.path, self.limit_bytes = path, limit_bytes
        self._index: dict[tuple[int, int], tuple[int, Rect, int]] = {}
        self._lock = threading.Lock()
        head = f"keepsight patches 1 {fingerprint}\n".encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if path.exists() else "w+b")
            if self._file.read(len(head)) != head:
                self._file.truncate(0)
                self._file.seek(0)
                self._file.write(head)
            self._end = self._scan(len(head))
            self._file.truncate(self._end)
        except OSError as error:
            raise StoreError(f"{path} cannot be used: {error.strerror or error}.") from error

    def _scan(self, place: int) -> int:
        """Finds the patches from ``place`` on; returns where the last whole one ends."""
        size = self._file.seek(0, os.SEEK_END)
        while place + _RECORD.size <= size:
            self._file.seek(place)
            mark, frame, object_id, x, y, width, height, check = _RECORD.unpack(self._file.read(_RECORD.size))
            end = place + _RECORD.size + 3 * width * height
            if mark != _MARK or end > size:
                break
            self._index[frame, object_id] = (place + _RECORD.size, (x, y, x + width, y + height), check)
            place = end
        return place

    def __len__(self) -> int:
        return len(self._index)

    @property
    def size_bytes(self) -> int:
        return self._end

    def add(self, frame: int, object_id: int, patch: Patch) -> bool:
        """Keeps a patch; ``False`` where there is no room for it.

        Raises:
            StoreError: the disk is full.
        """
        left, top, right, bottom = patch.rect
        data = np.ascontiguousarray(patch.rgb).data
        if self._end + _RECORD.size + data.nbytes > self.limit_bytes:
            return False
        check = zlib.crc32(data)
        head = _RECORD.pack(_MARK, frame, object_id, left, top, right - left, bottom - top, check)
        try:
            with self._lock:
                self._file.seek(self._end)
                self._file.write(head)
                self._file.write(data)
                self._index[frame, object_id] = (self._end + _RECORD.size, patch.rect, check)
                self._end += _RECORD.size + data.nbytes
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}.") from error
        return True

    def holds(self, frame: int, object_id: int, rect: Rect) -> bool:
        """Whether there is a patch with all of ``rect``."""
        found = self._index.get((frame, object_id))
        return found is not None and covers(found[1], rect)

    def get(self, frame: int, object_id: int) -> Patch | None:
        """A patch.

        Raises:
            DamagedPatchesError: it is not what was written.
        """
        found = self._index.get((frame, object_id))
        if found is None:
            return None
        place, (left, top, right, bottom), check = found
        shape = (bottom - top, right - left, 3)
        try:
            with self._lock:
                self._file.seek(place)
                data = self._file.read(shape[0] * shape[1] * 3)
        except OSError as error:
            raise DamagedPatchesError(f"{self.path} cannot be read: {error.strerror or error}.") from error
        if zlib.crc32(data) != check:
            raise DamagedPatchesError(f"{self.path} is damaged; remove it.")
        return Patch(left, top, np.frombuffer(data, np.uint8).reshape(shape))

    def close(self) -> None:
        """Lets go of the file, which stays.

        Raises:
            StoreError: the disk is full.
        """
        try:
            self._file.close()
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
