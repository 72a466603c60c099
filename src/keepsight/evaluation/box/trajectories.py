"""Results in the binary form of vot-toolkit, which its workspaces are full of: ``NAME_001.bin``.

Little-endian: a version (int16, 1) and the number of frames (uint32); then for every frame its kind (uint8) and

* for 0 a code (uint32);
* for 1 a rectangle, four float32;
* for 2 a polygon, its number of corners (uint16) and two float32 each;
* for 3 a mask: left and top (int16), width, height and number of run lengths (uint16), and these (uint16), row by row,
  background first;
* for 4 a point.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.box.regions import Nothing, Polygon, Rectangle, Region, mask_from_runs
from keepsight.evaluation.box.tables import check_size

_HEAD = struct.Struct("<hI")
_MASK = struct.Struct("<hhHHH")


def read_binary(path: Path, size: tuple[int, int]) -> list[Region]:
    """The regions of a binary file.

    Args:
        size: height and width of the frames in px.

    Raises:
        InputError: another version or kind, cut off, or no place in a picture.
    """
    check_size(path)
    data = path.read_bytes()
    try:
        version, count = _HEAD.unpack_from(data)
        if version != 1 or count > len(data):
            raise InputError(f"{path} is no trajectory of version 1.")
        place, regions = _HEAD.size, []
        for frame in range(count):
            region, place = _read_one(data, place, size, f"{path}, frame {frame}")
            regions.append(region)
    except struct.error:
        raise InputError(f"{path} is cut off.") from None
    return regions


def _read_one(data: bytes, place: int, size: tuple[int, int], where: str) -> tuple[Region, int]:
    """A region, and where the next one begins."""
    kind, place = data[place] if place < len(data) else 255, place + 1
    if kind == 0:
        (code,) = struct.unpack_from("<I", data, place)
        if code not in (0, 1, 2):
            raise InputError(f"{where}: {code} is no code of a frame without a region.")
        return Nothing(code), place + 4
    if kind == 1:
        numbers = struct.unpack_from("<4f", data, place)
        return (Rectangle(*numbers) if np.isfinite(numbers).all() else Nothing.UNKNOWN), place + 16
    if kind == 2:
        (corners,) = struct.unpack_from("<H", data, place)
        numbers = struct.unpack_from(f"<{2 * corners}f", data, place + 2)
        if corners < 3 or not np.isfinite(numbers).all():
            raise InputError(f"{where}: a polygon of {corners} corners, or with corners that are nowhere.")
        return Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True))), place + 2 + 8 * corners
    if kind == 3:
        left, top, width, height, count = _MASK.unpack_from(data, place)
        runs = struct.unpack_from(f"<{count}H", data, place + _MASK.size)
        return mask_from_runs(left, top, width, height, runs, size, where), place + _MASK.size + 2 * count
    raise InputError(f"{where}: " + ("cut off." if kind == 255 else "a point is no region."))
