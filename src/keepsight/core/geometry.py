"""Boxes and points.

Convention: coordinates are continuous pixels of the displayed frame, ``x`` to the right and ``y`` down; pixel ``(r, c)``
covers ``[c, c+1) x [r, r+1)``. A box is ``(x1, y1, x2, y2)`` with ``x2``/``y2`` on the far *edge*, so its width is ``x2 - x1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from keepsight.core.errors import InputError

Box: TypeAlias = tuple[float, float, float, float]
BoolArray: TypeAlias = NDArray[np.bool_]


def as_box(values: Sequence[float]) -> Box:
    """Four numbers from outside as a box.

    Raises:
        InputError: there are not four.
    """
    if len(values) != 4:
        raise InputError(f"A box is x1, y1, x2, y2, got {len(values)} numbers.")
    x1, y1, x2, y2 = (float(value) for value in values)
    return x1, y1, x2, y2


def box_area(box: Box) -> float:
    """Area in px²; 0 for a box with no extent."""
    x1, y1, x2, y2 = box
    return max(0.0, x2 - x1) * max(0.0, y2 - y1)


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union in [0, 1]; 0 when both boxes are empty."""
    intersection = box_area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))
    union = box_area(a) + box_area(b) - intersection
    return intersection / union if union > 0 else 0.0


def clip_box(box: Box, height: int, width: int) -> Box:
    """The part of ``box`` inside a frame of ``height`` x ``width`` px (may be empty: ``x2 <= x1``)."""
    x1, y1, x2, y2 = box
    return (
        min(max(x1, 0.0), float(width)),
        min(max(y1, 0.0), float(height)),
        min(max(x2, 0.0), float(width)),
        min(max(y2, 0.0), float(height)),
    )


def mask_box(mask: BoolArray) -> Box | None:
    """Tight box of a boolean ``(H, W)`` mask, ``None`` for an empty one."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def pad_box(box: Box, *, margin: float, square: bool = False) -> Box:
    """Grows ``box`` by ``margin`` times its longer side on every side; ``square`` then makes both sides the longer one."""
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    pad = margin * max(width, height)
    half_width, half_height = width / 2 + pad, height / 2 + pad
    if square:
        half_width = half_height = max(half_width, half_height)
    centre_x, centre_y = (x1 + x2) / 2, (y1 + y2) / 2
    return (centre_x - half_width, centre_y - half_height, centre_x + half_width, centre_y + half_height)
