"""How well a mask agrees with another one: the two measures of DAVIS (Perazzi et al., CVPR 2016).

J, region similarity, is :meth:`keepsight.core.Mask.iou`, or :func:`region_similarity` on arrays; F, contour accuracy, is
:func:`boundary_accuracy`; :func:`agreement` gives both at once. Both are 1 where both masks are empty and 0 where one is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from keepsight.core.errors import InputError
from keepsight.core.geometry import BoolArray

TOLERANCE = 0.008
"""How far apart two contours may lie and still agree, as a share of the frame's diagonal (DAVIS)."""

ByteArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two masks of one object on one frame.

    Attributes:
        j, f: region similarity and contour accuracy, in [0, 1].
        found_px, truth_px: areas.
    """

    j: float
    f: float
    found_px: int
    truth_px: int


def agreement(found: BoolArray | ByteArray, truth: BoolArray | ByteArray, tolerance: float = TOLERANCE) -> Agreement:
    """J and F of two ``(H, W)`` masks, bool or uint8 (0 is the background); for ``tolerance`` see :func:`boundary_accuracy`.

    Only the box around both masks is looked at, which changes no value: what lies outside has no contour.

    Raises:
        InputError: masks of different sizes.
    """
    _check_sizes(found, truth)
    ours, theirs = _cropped(found, truth)
    found_px, truth_px = cv2.countNonZero(ours), cv2.countNonZero(theirs)
    shared_px = cv2.countNonZero(cv2.bitwise_and(ours, theirs))
    union_px = found_px + truth_px - shared_px
    j = 1.0 if union_px == 0 else shared_px / union_px
    return Agreement(j, _contour_agreement(ours, theirs, _radius_px(truth.shape, tolerance)), found_px, truth_px)


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
    return _contour_agreement(*_cropped(found, truth), _radius_px(truth.shape, tolerance))


def boundary(mask: BoolArray) -> BoolArray:
    """Contour, one pixel wide: pixels that differ from the one to the right, below, or diagonally below (DAVIS' seg2bmap).

    The frame's border is no contour.
    """
    return _contour(np.asarray(mask, dtype=bool).view(np.uint8)).astype(bool)


def _radius_px(shape: tuple[int, ...], tolerance: float) -> float:
    return tolerance if tolerance >= 1 else math.ceil(tolerance * math.hypot(*shape))


def _cropped(found: BoolArray | ByteArray, truth: BoolArray | ByteArray) -> tuple[ByteArray, ByteArray]:
    """Both masks as zeros and ones inside the box around both, with the pixel on every side that a contour may lie on."""
    pair = [np.ascontiguousarray(mask).view(np.uint8) for mask in (found, truth)]
    boxes = [box for box in map(cv2.boundingRect, pair) if box[2]]
    left = max(min((x for x, _, _, _ in boxes), default=0) - 1, 0)
    top = max(min((y for _, y, _, _ in boxes), default=0) - 1, 0)
    right = max((x + width for x, _, width, _ in boxes), default=0) + 1
    bottom = max((y + height for _, y, _, height in boxes), default=0) + 1
    ours, theirs = ((mask[top:bottom, left:right] != 0).view(np.uint8) for mask in pair)
    return ours, theirs


def _contour(mask: ByteArray) -> ByteArray:
    """:func:`boundary` of zeros and ones, as zeros and ones."""
    out = np.zeros_like(mask)
    np.bitwise_xor(mask[:, :-1], mask[:, 1:], out=out[:, :-1])
    out[:-1] |= mask[:-1] ^ mask[1:]
    out[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return out


def _contour_agreement(found: ByteArray, truth: ByteArray, radius_px: float) -> float:
    ours, theirs = _contour(found), _contour(truth)
    ours_px, theirs_px = cv2.countNonZero(ours), cv2.countNonZero(theirs)
    if not ours_px or not theirs_px:
        return float(ours_px == theirs_px)
    precision = _matched(ours, theirs, radius_px) / ours_px
    recall = _matched(theirs, ours, radius_px) / theirs_px
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _matched(contour: ByteArray, other: ByteArray, radius_px: float) -> int:
    """Pixels of a contour within ``radius_px`` of another one, as dilation of the other by a disk counts them.

    Dilation by a square costs a twentieth of that by a disk. The square inside the disk settles nearly all pixels, the one
    around it most of the rest, and only those between the two are measured.
    """
    near = cv2.bitwise_and(contour, _grown(other, int(radius_px / math.sqrt(2))))
    matched = int(cv2.countNonZero(near))
    unsettled = cv2.findNonZero(cv2.bitwise_and(contour - near, _grown(other, int(radius_px))))
    if unsettled is None:
        return matched
    tree = cKDTree(cv2.findNonZero(other).reshape(-1, 2))
    away_px, _ = tree.query(unsettled.reshape(-1, 2), distance_upper_bound=radius_px + 1)
    return matched + int(np.count_nonzero(away_px <= radius_px))


def _grown(contour: ByteArray, reach_px: int) -> ByteArray:
    square = np.ones((2 * reach_px + 1, 2 * reach_px + 1), np.uint8)
    return np.asarray(cv2.dilate(contour, square), np.uint8)


def _check_sizes(found: BoolArray | ByteArray, truth: BoolArray | ByteArray) -> None:
    if found.shape != truth.shape or found.ndim != 2:
        raise InputError(f"Masks of different frames: {found.shape} and {truth.shape}.")
