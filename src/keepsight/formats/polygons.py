"""Masks as outlines and back.

An outline runs through the centres of the outermost pixels, and a pixel belongs to a polygon when its centre lies inside or on
it. So an outline gives back its mask exactly, with a vertex only where the direction changes, and a polygon that a person drew
covers the pixels one would expect. (``cv2.fillPoly`` would also take pixels that an edge merely touches.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError, Mask
from keepsight.core.geometry import BoolArray

Points = Sequence[Sequence[float]] | NDArray[np.float64]
_MAX_SPAN_PX = 10**6


def outlines(mask: Mask, simplify_px: float = 0.0) -> tuple[list[NDArray[np.float64]], int, int]:
    """Outer outlines of the mask's parts, largest first, and the number and area (px) of the holes that they cover.

    Args:
        simplify_px: how far a simplified outline may lie from the true one; 0 keeps all.

    Returns:
        ``(N, 2)`` x, y in px for every part that is not touched by another, not even at a corner; holes; px in holes.
    """
    if mask.box is None:
        return [], 0, 0
    x1, y1, x2, y2 = (int(side) for side in mask.box)
    pixels = np.ascontiguousarray(mask.to_array()[y1:y2, x1:x2], np.uint8)
    found, _ = cv2.findContours(pixels, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled = cv2.drawContours(np.zeros_like(pixels), found, -1, 1, cv2.FILLED)
    hidden = filled & ~pixels & 1
    holes = cv2.connectedComponents(hidden, connectivity=4)[0] - 1
    if simplify_px > 0:
        found = [cv2.approxPolyDP(outline, simplify_px, True) for outline in found]
    parts = [outline[:, 0, :].astype(np.float64) + (x1 + 0.5, y1 + 0.5) for outline in found]
    parts.sort(key=lambda part: (-np.ptp(part[:, 0]) * np.ptp(part[:, 1]), part.tolist()))
    return parts, holes, int(hidden.sum())


def fill_polygons(polygons: Iterable[Points], height: int, width: int) -> Mask:
    """All pixels whose centre lies inside or on one of the polygons.

    Args:
        polygons: each ``(N, 2)`` x, y in px, closed by itself; one or two points make a dot or a line. Inside is what an
            outline that crosses itself winds around an odd number of times.

    Raises:
        InputError: not pairs of finite numbers, or coordinates beyond any frame.
    """
    pixels = np.zeros((height, width), bool)
    for polygon in polygons:
        try:
            points = np.asarray(polygon, np.float64)
        except (TypeError, ValueError) as error:
            raise InputError("a polygon is a list of x, y") from error
        if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
            raise InputError("a polygon is a list of x, y")
        if not np.isfinite(points).all() or np.abs(points).max() > _MAX_SPAN_PX:
            raise InputError("a polygon has coordinates that are not finite numbers of px")
        _fill(points - 0.5, pixels)  # pixel centres become whole numbers
    return Mask.from_array(pixels)


def _fill(points: NDArray[np.float64], pixels: BoolArray) -> None:
    height, width = pixels.shape
    xa, ya = points.T
    xb, yb = np.roll(points, -1, axis=0).T
    low, high = np.minimum(ya, yb), np.maximum(ya, yb)
    first = np.clip(np.ceil(low), 0, height).astype(np.int64)
    last = np.clip(np.floor(high), -1, height - 1).astype(np.int64)
    spans = np.maximum(last - first + 1, 0)
    spans[ya == yb] = 0
    # One entry for every row of pixel centres that an edge meets.
    edge = np.repeat(np.arange(len(points)), spans)
    row = first[edge] + np.arange(len(edge)) - np.repeat(np.cumsum(spans) - spans, spans)
    x = xa[edge] + (row - ya[edge]) * (xb - xa)[edge] / (yb - ya)[edge]
    crosses = row < high[edge]  # the upper end belongs to the next edge
    column = np.clip(np.ceil(x[crosses]), 0, width).astype(np.int64)
    toggles = np.bincount(row[crosses] * (width + 1) + column, minlength=height * (width + 1))
    inside = np.cumsum(toggles.reshape(height, width + 1)[:, :width], axis=1) % 2
    pixels |= inside == 1
    on = (x == np.round(x)) & (x >= 0) & (x < width)
    pixels[row[on], x[on].astype(np.int64)] = True
    # Edges along a row of centres.
    level = (ya == yb) & (ya == np.round(ya)) & (ya >= 0) & (ya < height)
    left = np.clip(np.ceil(np.minimum(xa, xb)[level]), 0, width).astype(np.int64)
    right = np.clip(np.floor(np.maximum(xa, xb)[level]) + 1, 0, width).astype(np.int64)
    keep = right > left
    rows = ya[level].astype(np.int64)[keep]
    steps = np.zeros(height * (width + 1), np.int64)
    np.add.at(steps, rows * (width + 1) + left[keep], 1)
    np.add.at(steps, rows * (width + 1) + right[keep], -1)
    pixels |= np.cumsum(steps.reshape(height, width + 1)[:, :width], axis=1) > 0
