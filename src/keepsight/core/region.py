"""A rectangular part of a frame, and how places move between parts."""

from __future__ import annotations

from typing import NamedTuple

from keepsight.core.geometry import Box

Placement = tuple[float, float, float, float]
"""``(scale_x, scale_y, shift_x, shift_y)``: a place ``p`` of one region, in [0, 1] of its sides, lies at ``scale * p + shift``
of another."""


class Region(NamedTuple):
    """Whole pixels ``[x1, x2) x [y1, y2)`` of a frame; lies inside it and is not empty."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        return self.y2 - self.y1

    @classmethod
    def whole(cls, height: int, width: int) -> Region:
        """All of a frame."""
        return cls(0, 0, width, height)

    def share(self, height: int, width: int) -> float:
        """Part of a frame's area in (0, 1]."""
        return self.width * self.height / (height * width)

    def within(self, other: Region) -> Region:
        """What of it lies in another one that it overlaps."""
        return Region(max(self.x1, other.x1), max(self.y1, other.y1), min(self.x2, other.x2), min(self.y2, other.y2))

    def box_from_grid(self, box: Box, rows: int, columns: int) -> Box:
        """A box in cells of a ``rows`` x ``columns`` grid over this region, in px of the frame."""
        x1, y1, x2, y2 = box
        across, down = self.width / columns, self.height / rows
        return (self.x1 + x1 * across, self.y1 + y1 * down, self.x1 + x2 * across, self.y1 + y2 * down)

    def point_to_grid(self, x: float, y: float, rows: int, columns: int) -> tuple[float, float]:
        """A point in px of the frame, in cells of a ``rows`` x ``columns`` grid over this region; it may lie beside it."""
        return (x - self.x1) / self.width * columns, (y - self.y1) / self.height * rows

    def box_to_grid(self, box: Box, rows: int, columns: int) -> Box:
        """The way back from :meth:`box_from_grid`."""
        x1, y1, x2, y2 = box
        return (*self.point_to_grid(x1, y1, rows, columns), *self.point_to_grid(x2, y2, rows, columns))

    def placement_in(self, other: Region) -> Placement:
        """How places of this region are placed in ``other``."""
        return (
            self.width / other.width,
            self.height / other.height,
            (self.x1 - other.x1) / other.width,
            (self.y1 - other.y1) / other.height,
        )
