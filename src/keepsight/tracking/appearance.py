"""What an object looks like, in colours: enough to tell a lost object from the next one of its kind.

The memory of a frame says where things like the object are; when the object has left the picture, the thing most like it may
be somebody else. A histogram of colours under the mask, kept from the frames on which the object was certain, is compared
with what was found before anybody is told.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Region
from keepsight.memory import FrameRecord, Step
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import Track

BINS = (8, 8, 8)
"""Lightness, green to red, blue to yellow."""

_BLUR = 0.5 * np.eye(8, dtype=np.float32) + 0.25 * (
    np.eye(8, k=1, dtype=np.float32) + np.eye(8, k=-1, dtype=np.float32)
)
_BLUR[0, 0] += 0.25  # beyond the ends it is as at them
_BLUR[-1, -1] += 0.25

_SIDE = 64

COLOURS_EVERY = 4
"""Steps between two looks at an object's colours."""

COLOURS_RATE = 0.2
"""Weight of a new look."""

SURE_IOU, SURE_PRESENCE = 0.6, 2.0
"""IoU estimate and presence logit from which a frame teaches what an object looks like."""


def colours_of(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float32] | None:
    """Histogram of colours under a mask, summing to 1.

    Args:
        rgb: uint8 ``(H, W, 3)``, the part of the frame that the mask covers.
        mask: boolean ``(h, w)`` over the same part, at any size.

    Returns:
        ``(512,)`` float32, blurred over neighbouring bins so that a change of light moves it little; ``None`` for a mask
        with fewer than four cells.
    """
    # Colours are counted on a small picture, whatever the object's size: speed, and noise that averages out.
    small = cv2.resize(rgb, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    inside = cv2.resize(mask.astype(np.uint8), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(bool)
    if int(inside.sum()) < 4:
        return None
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)[inside]
    # The chroma of natural pictures fills the middle of its range only.
    ranges = [0, 256, 104, 152, 104, 152]
    lab = np.clip(lab, (0, 104, 104), (255, 151, 151)).astype(np.uint8)
    counts = cv2.calcHist([lab[None]], [0, 1, 2], None, list(BINS), ranges).astype(np.float32)
    for axis in range(3):
        counts = np.moveaxis(np.tensordot(_BLUR, counts, (1, axis)), 0, axis)
    return (counts / counts.sum()).ravel()


def likeness(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Bhattacharyya coefficient of two histograms in [0, 1]; 1 for the same colours."""
    return float(np.sqrt(a * b).sum())


# -- of the objects that are followed ------------------------------------------------------------------------------------
def colours_in(logits: Tensor, region: Region, sight: Sight, part: Region | None = None) -> NDArray[np.float32] | None:
    """:func:`colours_of` a mask, logits ``(h, w)`` over a region of the frame, or of what of it lies in a part of the region; of
    at least a cell of the mask."""
    part = part or region
    mask = (logits > 0).cpu().numpy()
    x1, y1, x2, y2 = (round(at) for at in region.box_to_grid((part.x1, part.y1, part.x2, part.y2), *mask.shape))
    return colours_of(sight.pixels(part), mask[y1:y2, x1:x2])


def resemblance(track: Track, logits: Tensor, region: Region, sight: Sight, part: Region | None = None) -> float:
    """How much a mask looks like the object, in [0, 1]; 1 when that is not known, 0 for a mask too small to tell.

    Args:
        part: of the region, outside of which the mask does not count.
    """
    if track.colours is None:
        return 1.0
    seen = colours_in(logits, region, sight, part)
    return 0.0 if seen is None else likeness(track.colours, seen)


def learn_colours(track: Track, record: FrameRecord, sight: Sight) -> None:
    """Takes an object's colours from a frame on which somebody said where it is."""
    if record.logits is None:
        return
    seen = colours_in(record.logits, record.region or sight.whole, sight)
    if seen is not None:
        track.colours = seen


def refresh_colours(track: Track, record: FrameRecord, step: Step, sight: Sight) -> None:
    """Keeps an object's colours up to date, now and then, from frames on which it is certain."""
    # Counted in steps: a run need not begin on a multiple of its stride.
    due = step.frame // step.stride % COLOURS_EVERY == 0
    sure = record.lost == 0 and record.iou >= SURE_IOU and record.object_score >= SURE_PRESENCE
    if record.logits is None or not (due and sure):
        return
    seen = colours_in(record.logits, record.region or sight.whole, sight)
    if seen is not None:
        track.colours = seen if track.colours is None else track.colours + COLOURS_RATE * (seen - track.colours)
