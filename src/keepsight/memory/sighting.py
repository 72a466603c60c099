"""What a policy saw of an object on a frame, and where motion has taken it since: its points, or its mask, moved on."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, Region, mask_box

WARP_CELLS = 512
"""Cells along a side of a carried mask at most; a mask that moves further is carried more coarsely."""

STRAY = 0.01
"""Share of a carried mask that may stick out of each side of its box, so that single wrong flow vectors do not widen it."""

Points = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Sighting:
    """A mask as it was chosen on a frame.

    Attributes:
        frame: frame index.
        iou: IoU estimate of the mask in [0, 1].
        region: part of the frame that was decoded.
        grid: cells ``(h, w)`` over the region.
        corner: cell ``(row, column)`` of the mask's first row and column.
        mask: the mask cut to its box, bool, not empty.
    """

    frame: int
    iou: float
    region: Region
    grid: tuple[int, int]
    corner: tuple[int, int]
    mask: BoolArray

    @classmethod
    def of(cls, frame: int, iou: float, region: Region, mask: BoolArray) -> Sighting | None:
        """A sighting of a mask ``(h, w)`` over ``region``; ``None`` when it is empty."""
        box = mask_box(mask)
        if box is None:
            return None
        left, top, right, bottom = (int(value) for value in box)
        cut = np.ascontiguousarray(mask[top:bottom, left:right])
        return cls(frame, iou, region, (mask.shape[0], mask.shape[1]), (top, left), cut)

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell in px of the frame."""
        return self.region.width / self.grid[1], self.region.height / self.grid[0]

    @property
    def box(self) -> Box:
        """Box of the mask in px of the frame."""
        (top, left), (height, width) = self.corner, self.mask.shape
        return self.region.box_from_grid((left, top, left + width, top + height), *self.grid)

    def key_points(self) -> Points:
        """Centroid, and the points half way from it to the mask's top, bottom, left and right, in px of the frame.

        Returns:
            ``(5, 2)`` x, y. The end of a side is the middle of the cells that reach it.
        """
        rows, columns = np.nonzero(self.mask)
        across, down = self.cell
        x = self.region.x1 + (self.corner[1] + columns + 0.5) * across
        y = self.region.y1 + (self.corner[0] + rows + 0.5) * down
        centre = np.array([x.mean(), y.mean()])
        height, width = self.mask.shape
        ends = [
            np.array([x[side].mean(), y[side].mean()])
            for side in (rows == 0, rows == height - 1, columns == 0, columns == width - 1)
        ]
        return np.array([centre, *((centre + end) / 2 for end in ends)])

    def holds(self, points: Points) -> BoolArray:
        """Which of the points ``(P, 2)`` in px of the frame lie on the mask."""
        return self._sample(points[:, 0], points[:, 1])

    def _sample(self, x: NDArray[Any], y: NDArray[Any]) -> BoolArray:
        across, down = self.cell
        columns = np.floor((x - self.region.x1) / across).astype(np.int64) - self.corner[1]
        rows = np.floor((y - self.region.y1) / down).astype(np.int64) - self.corner[0]
        height, width = self.mask.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        found = np.zeros(inside.shape, np.bool_)
        found[inside] = self.mask[rows[inside], columns[inside]]
        return found

    def carried(self, flow: NDArray[np.float32], size: tuple[int, int]) -> Carried | None:
        """The mask moved along with the picture.

        Args:
            flow: backward flow ``(h, w, 2)`` of the next frame, in cells of a grid over the whole frame.
            size: ``(height, width)`` of the frame in px.

        Returns:
            Where it is now, as far as it is inside the frame; ``None`` when nothing of it is left.
        """
        height, width = size
        rows, columns = flow.shape[:2]
        per_x, per_y = width / columns, height / rows
        # Coarsely: cells whose origin lies in (or one cell around) the mask's box say where to look at all.
        x1, y1, x2, y2 = self.box
        from_x = (np.arange(columns) + 0.5 + flow[..., 0]) * per_x
        from_y = (np.arange(rows)[:, None] + 0.5 + flow[..., 1]) * per_y
        near = mask_box((from_x > x1 - per_x) & (from_x < x2 + per_x) & (from_y > y1 - per_y) & (from_y < y2 + per_y))
        if near is None:
            return None
        window = (
            max(near[0] - 1, 0) * per_x,
            max(near[1] - 1, 0) * per_y,
            min(near[2] + 1, columns) * per_x,
            min(near[3] + 1, rows) * per_y,
        )
        # Finely: at the mask's own resolution, so that a small object is not blurred to the cells of the flow.
        across = max(self.cell[0], (window[2] - window[0]) / WARP_CELLS)
        down = max(self.cell[1], (window[3] - window[1]) / WARP_CELLS)
        x = np.arange(window[0] + across / 2, window[2], across)
        y = np.arange(window[1] + down / 2, window[3], down)
        map_x = np.broadcast_to((x / per_x - 0.5).astype(np.float32), (len(y), len(x)))
        map_y = np.broadcast_to((y / per_y - 0.5).astype(np.float32)[:, None], (len(y), len(x)))
        fine = cv2.remap(flow, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        mask = self._sample(x + fine[..., 0] * per_x, y[:, None] + fine[..., 1] * per_y)
        area = int(mask.sum())
        if area == 0:
            return None
        left, right = _without_stray(mask.sum(0), area)
        top, bottom = _without_stray(mask.sum(1), area)
        box = (
            window[0] + left * across,
            window[1] + top * down,
            window[0] + right * across,
            window[1] + bottom * down,
        )
        before = int(self.mask.sum()) * self.cell[0] * self.cell[1]
        return Carried(box, area * across * down / before)

    def state(self) -> list[Any]:
        """JSON values for :meth:`restored`."""
        return [self.frame, self.iou, list(self.region), list(self.grid), list(self.corner), pack_mask(self.mask)]

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Sighting:
        """Inverse of :meth:`state`."""
        frame, iou, region, grid, corner, mask = state
        return cls(frame, iou, Region(*region), (grid[0], grid[1]), (corner[0], corner[1]), unpack_mask(mask))


@dataclass(frozen=True)
class Carried:
    """A mask that was moved by flow: its box in px of the frame, and its area as a share of what it was."""

    box: Box
    growth: float


def _without_stray(profile: NDArray[Any], total: int) -> tuple[int, int]:
    """First cell and end of a profile of counts, without up to :data:`STRAY` of the total on each side."""
    reached = np.cumsum(profile)
    least = int(total * STRAY)
    return int(np.argmax(reached > least)), int(np.argmax(reached >= total - least)) + 1


def extrapolated(now: Points, earlier: Points, ahead: float = 1.0) -> Points:
    """Points moved on in a straight line: ``now + (now - earlier) * ahead``.

    Args:
        now, earlier: ``(P, 2)``.
        ahead: the time to go, by the time between them.
    """
    return now + (now - earlier) * ahead


def pack_mask(mask: BoolArray) -> list[Any]:
    """A bool array ``(h, w)`` as JSON values."""
    return [*mask.shape, base64.b64encode(zlib.compress(np.packbits(mask).tobytes())).decode("ascii")]


def unpack_mask(packed: Sequence[Any]) -> BoolArray:
    """Inverse of :func:`pack_mask`."""
    height, width, text = packed
    bits = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(np.bool_)
