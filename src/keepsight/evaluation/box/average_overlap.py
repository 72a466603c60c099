"""The measures of GOT-10k (Huang et al., TPAMI 2021): average overlap and success rates.

The frames of all sequences are one heap, so that long sequences weigh more; the first frame, which is given, and frames on
which nothing of the object is visible are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keepsight.evaluation.box.overlaps import Bools, Floats, box_overlaps

THRESHOLDS = np.linspace(0, 1, 101)
"""Of GOT-10k's success plot."""


def visible_overlaps(found: Floats, truth: Floats, visible: Bools, size: tuple[int, int] | None) -> Floats:
    """IoU on the frames that count, ``(N,)``, in order; 0 where no box was found.

    Args:
        found, truth: ``(T, 4)``, ``(x, y, w, h)`` in px.
        visible: ``(T,)``.
        size: height and width of the frames in px, to which both boxes are cut; ``None``: they are not.
    """
    if size is not None:
        found, truth = _cut(found, size), _cut(truth, size)
    counted = visible.copy()
    counted[0] = False
    return box_overlaps(found, truth)[counted]


def average_overlap(overlaps: Floats) -> dict[str, float]:
    """AO, SR 0.50 and SR 0.75 over frames, as shares; nothing where there is no frame."""
    if not len(overlaps):
        return {}
    return {
        "AO": float(overlaps.mean()),
        "SR 0.50": float((overlaps > 0.5).mean()),
        "SR 0.75": float((overlaps > 0.75).mean()),
    }


def success_curve(overlaps: Sequence[Floats]) -> Floats:
    """Shares of all frames with more overlap than each of :data:`THRESHOLDS`."""
    heap = np.sort(np.concatenate([*overlaps, np.empty(0)]))
    return 1 - np.searchsorted(heap, THRESHOLDS, side="right") / max(len(heap), 1)


def _cut(boxes: Floats, size: tuple[int, int]) -> Floats:
    """As the toolkit cuts: the near corner into the frame first, then the size to what is left of the frame from there."""
    limit = np.array([size[1], size[0]], float)
    corner = np.clip(boxes[..., :2], 0, limit)
    return np.concatenate([corner, np.clip(boxes[..., 2:], 0, limit - corner)], axis=-1)
