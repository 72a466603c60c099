"""How well a mask agrees with another one: the two measures of DAVIS (Perazzi et al., CVPR 2016).

J, region similarity, is :meth:`keepsight.core.Mask.iou`, or :func:`region_similarity` on arrays; F, contour accuracy, is
:func:`boundary_accuracy`. Both are 1 where both masks are empty and 0 where one is.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from keepsight.core.errors import InputError
from keepsight.core.geometry import BoolArray

TOLERANCE = 0.008
"""How far apart two contours may lie and still agree, as a share of the frame's diagonal (DAVIS)."""


def region_similarity(found: BoolArray, truth: BoolArray) -> float:
    """J: intersection over union of two bool ``(H, W)`` masks, in [0, 1].

    Raises:
        InputError: masks of different sizes.
    """
    _check_sizes(found, truth)
    union = int(np.count_nonzero(found | truth))
    return 1.0 if union == 0 else float(np.count_nonzero(found & truth) / union)


def boundary_accuracy(found: BoolArray, truth: BoolArray, tolerance: float = TOLERANCE) -> float:
    """F: harmonic mean of the contours' precision and recall, in [0, 1].

    A contour pixel counts as matched when a pixel of the other contour lies in the disk around it whose radius is
    ``ceil(tolerance x diagonal)`` px.

    Args:
        found, truth: bool ``(H, W)``.
        tolerance: share of the diagonal; from 1 on it is a radius in px. Up: more lenient.

    Raises:
        InputError: masks of different sizes.
    """
    _check_sizes(found, truth)
    height, width = truth.shape
    radius_px = tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(height, width))
    ours, theirs = boundary(found), boundary(truth)
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    # What lies outside the box around both contours changes nothing, and objects are small.
    rows, columns = (np.flatnonzero((ours | theirs).any(axis=axis)) for axis in (1, 0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ours, theirs = ours[window], theirs[window]
    precision = np.count_nonzero(ours & _near(theirs, radius_px)) / np.count_nonzero(ours)
    recall = np.count_nonzero(theirs & _near(ours, radius_px)) / np.count_nonzero(theirs)
    return 0.0 if precision + recall == 0 else float(2 * precision * recall / (precision + recall))


def boundary(mask: BoolArray) -> BoolArray:
    """Contour, one pixel wide: pixels that differ from the one to the right, below, or diagonally below (DAVIS' seg2bmap).

    The frame's border is no contour.
    """
    mask = np.asarray(mask, dtype=bool)
    # Beyond the frame everything is as at its edge.
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask ^ padded[:-1, 1:]) | (mask ^ padded[1:, :-1]) | (mask ^ padded[1:, 1:])


def _near(contour: BoolArray, radius_px: float) -> BoolArray:
    """Pixels within ``radius_px`` of a contour; what dilation by a disk gives, at a cost that does not hang on the radius."""
    away = cv2.distanceTransform((~contour).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Distances are roots of whole numbers, so the next one above a radius of less than 200 px is further off than this.
    return np.asarray(away) <= radius_px + 1e-3


def _check_sizes(found: BoolArray, truth: BoolArray) -> None:
    if found.shape != truth.shape or found.ndim != 2:
        raise InputError(f"Masks of different frames: {found.shape} and {truth.shape}.")
