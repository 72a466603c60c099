"""Regions as VOT writes them, one line a frame: rectangles, polygons, masks, or a number that says that there is none.

Overlaps are those of pixels: corners and sides are rounded to whole pixels, and what lies outside the frame does not count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import cv2
import numpy as np

from keepsight.core import InputError, Mask
from keepsight.evaluation.box.overlaps import Bools, Floats

_MOST_PIXELS = 1 << 26
"""No frame has more; a file that says so is broken."""
_MOST_PX = 1e6


class Nothing(IntEnum):
    """A line with one number. In truth: 0, nobody knows; 1, not visible. In results: 1, given here; nothing was found else."""

    UNKNOWN = 0
    ABSENT = 1
    FAILURE = 2


@dataclass(frozen=True)
class Rectangle:
    """Left, top, width and height in px; without a size it is empty."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Polygon:
    """Corners ``((x, y), ...)`` in px."""

    points: tuple[tuple[float, float], ...]


Region: TypeAlias = Nothing | Rectangle | Polygon | Mask


def read_region(line: str, size: tuple[int, int], where: str) -> Region:
    """Reads one line.

    Args:
        line: of a groundtruth or results file.
        size: height and width of the frame in px.
        where: file and line, for errors.

    Raises:
        InputError: none of the four forms, numbers that are none or no place in a picture.
    """
    line = line.strip()
    if line.startswith("m"):
        return _read_mask(line[1:], size, where)
    try:
        numbers = [float(word) for word in line.split(",")]
    except ValueError:
        raise InputError(f"{where}: '{line[:60]}' is no rectangle, polygon, mask or number.") from None
    if len(numbers) == 1 and numbers[0] in (0, 1, 2):
        return Nothing(int(numbers[0]))
    if len(numbers) < 4 or len(numbers) % 2:
        raise InputError(
            f"{where}: {len(numbers)} numbers; a rectangle has 4, a polygon 6, 8, ..., and a frame without either 0 or 1."
        )
    if any(math.isnan(number) for number in numbers):
        return Nothing.UNKNOWN
    if max(map(abs, numbers)) > _MOST_PX:
        raise InputError(f"{where}: {max(numbers, key=abs):g} is no place in a picture.")
    if len(numbers) == 4:
        return Rectangle(*numbers)
    return Polygon(tuple(zip(numbers[::2], numbers[1::2], strict=True)))


def write_region(region: Region) -> str:
    """The line that :func:`read_region` reads back; masks are cut to their box."""
    if isinstance(region, Nothing):
        return str(int(region))
    if isinstance(region, Rectangle):
        return ",".join(f"{value:.3f}" for value in (region.x, region.y, region.width, region.height))
    if isinstance(region, Polygon):
        return ",".join(f"{value:.3f}" for point in region.points for value in point)
    if region.box is None:
        return str(int(Nothing.UNKNOWN))
    left, top, right, bottom = (int(side) for side in region.box)
    pixels = region.to_array()[top:bottom, left:right].ravel()
    edges = np.flatnonzero(np.diff(pixels)) + 1
    runs = np.diff([*([0] if pixels[0] else []), 0, *edges, len(pixels)])
    return "m" + ",".join(map(str, (left, top, right - left, bottom - top, *runs.tolist())))


def _read_mask(text: str, size: tuple[int, int], where: str) -> Mask:
    try:
        left, top, width, height, *runs = [int(word) for word in text.split(",")]
    except ValueError:
        raise InputError(f"{where}: a mask is m followed by whole numbers: x, y, width, height, run lengths.") from None
    return mask_from_runs(left, top, width, height, runs, size, where)


def mask_from_runs(
    left: int, top: int, width: int, height: int, runs: Sequence[int], size: tuple[int, int], where: str
) -> Mask:
    """A mask as VOT has it: run lengths of its box, row by row, background first; the rest of the box is background.

    Args:
        left, top, width, height: of the box in px, which may lie outside the frame in part.
        size: height and width of the frame in px.
        where: for errors.

    Raises:
        InputError: run lengths or a box that are no mask of a picture.
    """
    if min(width, height, *runs, 0) < 0 or width * height > _MOST_PIXELS or max(abs(left), abs(top)) > _MOST_PX:
        raise InputError(f"{where}: a mask of {width}x{height} px at {left},{top} is no mask of a picture.")
    if sum(runs) > width * height:
        raise InputError(f"{where}: the mask's run lengths add up to {sum(runs)}, more than its {width}x{height} px.")
    pixels = np.zeros(width * height, bool)
    pixels[: sum(runs)] = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    frame = np.zeros(size, bool)
    part = pixels.reshape(height, width)[max(0, -top) : max(0, size[0] - top), max(0, -left) : max(0, size[1] - left)]
    y, x = max(0, top), max(0, left)
    frame[y : y + part.shape[0], x : x + part.shape[1]] = part
    return Mask.from_array(frame)


def is_empty(region: Region) -> bool:
    """Whether nothing is said to be there."""
    if isinstance(region, Mask):
        return region.area == 0
    if isinstance(region, Rectangle):
        return not (region.width > 0 and region.height > 0)
    if isinstance(region, Polygon):
        return any(min(side) == max(side) for side in zip(*region.points, strict=True))
    return True


def box_of(region: Region) -> tuple[float, float, float, float] | None:
    """The tight box ``(x, y, w, h)``, ``None`` for an empty region."""
    if is_empty(region) or isinstance(region, Nothing):
        return None
    if isinstance(region, Rectangle):
        return (region.x, region.y, region.width, region.height)
    if isinstance(region, Polygon):
        (left, top), (right, bottom) = np.min(region.points, axis=0), np.max(region.points, axis=0)
    else:
        left, top, right, bottom = region.box or (0, 0, 0, 0)
    return (float(left), float(top), float(right - left), float(bottom - top))


def mask_of(region: Region, size: tuple[int, int]) -> Mask:
    """The region's pixels on a frame of ``size`` (height, width)."""
    height, width = size
    if isinstance(region, Mask):
        return region
    if isinstance(region, Polygon):
        return Mask.from_array(_fill(region, size))
    if isinstance(region, Rectangle) and not is_empty(region):
        left, top, right, bottom = _sides(np.array([[region.x, region.y, region.width, region.height]]), size)[0]
        if right > left and bottom > top:
            return Mask.from_box(height, width, int(left), int(top), int(right), int(bottom))
    return Mask.empty(height, width)


def region_overlaps(found: Sequence[Region], truth: Sequence[Region], size: tuple[int, int]) -> Floats:
    """Intersection over union of pairs of regions as pixels, ``(T,)``; 1 where both are empty, 0 where one is.

    Args:
        found, truth: as long as each other.
        size: height and width of the frames in px.
    """
    empty = np.array([[is_empty(region) for region in side] for side in (found, truth)], bool).reshape(2, -1)
    overlaps = np.where(empty.all(axis=0), 1.0, 0.0)
    pairs = list(zip(found, truth, strict=True))
    plain: Bools = np.array([isinstance(a, Rectangle) and isinstance(b, Rectangle) for a, b in pairs], bool)
    plain &= ~empty.any(axis=0)
    chosen = [pair for pair, kept in zip(pairs, plain, strict=True) if kept]
    if chosen:
        ours, theirs = (np.array([_numbers(pair[side]) for pair in chosen]) for side in (0, 1))
        overlaps[plain] = _of_rectangles(ours, theirs, size)
    for place in np.flatnonzero(~empty.any(axis=0) & ~plain):
        a, b = (mask_of(region, size) for region in pairs[place])
        overlaps[place] = a.iou(b) if a.area or b.area else 0.0
    return overlaps


def _of_rectangles(found: Floats, truth: Floats, size: tuple[int, int]) -> Floats:
    a, b = _sides(found, size), _sides(truth, size)
    common = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None).prod(axis=1)
    areas = [np.clip(sides[:, 2:] - sides[:, :2], 0, None).prod(axis=1) for sides in (a, b)]
    union = areas[0] + areas[1] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _sides(boxes: Floats, size: tuple[int, int]) -> Floats:
    """``(N, 4)`` boxes of whole pixels as left, top, right, bottom, cut to the frame."""
    limit = np.array([size[1], size[0]], float)
    whole = np.round(boxes)
    return np.concatenate(
        [np.clip(whole[:, :2], 0, limit), np.clip(whole[:, :2] + whole[:, 2:], 0, limit)],
        axis=1,
    )


def _fill(polygon: Polygon, size: tuple[int, int]) -> Bools:
    """The pixels in a polygon and on its outline, corners rounded to whole pixels."""
    frame = np.zeros(size, np.uint8)
    cv2.fillPoly(frame, [np.round(polygon.points).astype(np.int32)], 1)
    return frame.astype(bool)


def _numbers(region: Region) -> tuple[float, float, float, float]:
    if not isinstance(region, Rectangle):
        raise TypeError(f"{type(region).__name__} is no rectangle")
    return (region.x, region.y, region.width, region.height)
