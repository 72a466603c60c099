"""Masks that may be wanted later, kept small: the part of the logits around the mask, at half precision.

The only place in this package that looks into a tensor, by the methods that tensors have and without importing torch.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from keepsight.memory.records import FrameRecord

MARGIN = 2
"""Cells kept around the mask; bilinear upsampling reaches one."""
OUTSIDE = -32.0
"""Logit of what was cut off."""

_PLACE = ("shelf_top", "shelf_left", "shelf_height", "shelf_width")


def fold(record: FrameRecord) -> None:
    """Keeps what is needed of a record's logits to show its mask again; a few KiB for most objects."""
    if record.logits is None or _PLACE[0] in record.marks or not hasattr(record.logits, "half"):
        return
    positive = np.asarray((record.logits > 0).cpu())
    rows, columns = np.flatnonzero(positive.any(axis=1)), np.flatnonzero(positive.any(axis=0))
    top, left, bottom, right = 0, 0, 1, 1
    if len(rows):
        top, left = max(int(rows[0]) - MARGIN, 0), max(int(columns[0]) - MARGIN, 0)
        bottom, right = int(rows[-1]) + 1 + MARGIN, int(columns[-1]) + 1 + MARGIN
    height, width = positive.shape
    record.marks.update(zip(_PLACE, map(float, (top, left, height, width)), strict=True))
    # Cloned: a view would keep the whole alive.
    record.logits = record.logits[top:bottom, left:right].half().clone()


def unfolded(record: FrameRecord) -> FrameRecord:
    """The record with logits of their full size again; itself when they were never folded."""
    if _PLACE[0] not in record.marks:
        return record
    crop: Any = record.logits
    top, left, height, width = (int(record.marks[name]) for name in _PLACE)
    logits = crop.float().new_full((height, width), OUTSIDE)
    logits[top : top + crop.shape[0], left : left + crop.shape[1]] = crop.float()
    marks = {name: value for name, value in record.marks.items() if name not in _PLACE}
    return replace(record, logits=logits, marks=marks)
