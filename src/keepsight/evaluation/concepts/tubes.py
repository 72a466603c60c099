"""Tubes, and how much they overlap: counted on run lengths, one call a frame for all pairs of tubes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from keepsight.core.mask import Mask, mask_areas, mask_ious

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Tube:
    """One object through a video: its masks by frame.

    Attributes:
        masks: by frame, counted among the frames that are scored; masks without a pixel are left out.
        score: how sure the detector is, in [0, 1]; 1 for the truth.
        crowd: a region in which single objects were not told apart; only tube AP treats it in another way than an object.
    """

    masks: Mapping[int, Mask]
    score: float = 1.0
    crowd: bool = False

    @cached_property
    def areas(self) -> IntArray:
        """``(len(masks),)`` px, in the order of ``masks``."""
        return mask_areas(list(self.masks.values()))

    @property
    def area_px(self) -> float:
        """Mean area over the frames on which it is there (YTVIS' size of a tube); 0 for one without masks."""
        return float(self.areas.mean()) if len(self.masks) else 0.0


@dataclass(frozen=True, eq=False)
class Overlaps:
    """N true tubes and M found ones of one video and one phrase.

    Attributes:
        frames: those on which there is any mask, ascending.
        truth_at, found_at: by frame, int ``(n,)`` and ``(m,)``: which tubes are there.
        ious: by frame, ``(n, m)`` in [0, 1].
        truth_areas, found_areas: by frame, ``(n,)`` and ``(m,)`` px.
        truth_px, found_px: ``(N,)`` and ``(M,)``, px of each tube summed over all frames.
        common_px: ``(N, M)``, px that two tubes share, summed over all frames.
    """

    frames: tuple[int, ...]
    truth_at: tuple[IntArray, ...]
    found_at: tuple[IntArray, ...]
    ious: tuple[FloatArray, ...]
    truth_areas: tuple[IntArray, ...]
    found_areas: tuple[IntArray, ...]
    truth_px: IntArray
    found_px: IntArray
    common_px: IntArray

    @cached_property
    def tube_ious(self) -> FloatArray:
        """``(N, M)``: px shared over px covered by either, both summed over frames; 0 where both tubes are empty."""
        either = self.truth_px[:, None] + self.found_px[None] - self.common_px
        return self.common_px / np.maximum(either, 1)

    @cached_property
    def shares_inside(self) -> FloatArray:
        """``(N, M)``: how much of a found tube lies in a true one; what counts where the true one is a crowd."""
        return self.common_px / np.maximum(self.found_px[None], 1)


def overlap(truth: Sequence[Tube], found: Sequence[Tube]) -> Overlaps:
    """Overlaps of all true tubes with all found ones; all masks are of one size."""
    truth_on, found_on = _by_frame(truth), _by_frame(found)
    frames = sorted(truth_on.keys() | found_on.keys())
    nothing: tuple[list[int], list[Mask], list[int]] = ([], [], [])
    common = np.zeros((len(truth), len(found)), np.int64)
    truth_at, found_at, ious, truth_areas, found_areas = [], [], [], [], []
    for frame in frames:
        rows, true_masks, true_px = truth_on.get(frame, nothing)
        columns, found_masks, found_px = found_on.get(frame, nothing)
        iou = mask_ious(true_masks, found_masks) if rows and columns else np.zeros((len(rows), len(columns)))
        common[np.ix_(rows, columns)] += shared_px(iou, np.array(true_px), np.array(found_px))
        truth_at.append(np.array(rows, np.int64))
        found_at.append(np.array(columns, np.int64))
        ious.append(iou)
        truth_areas.append(np.array(true_px, np.int64))
        found_areas.append(np.array(found_px, np.int64))
    return Overlaps(
        frames=tuple(frames),
        truth_at=tuple(truth_at),
        found_at=tuple(found_at),
        ious=tuple(ious),
        truth_areas=tuple(truth_areas),
        found_areas=tuple(found_areas),
        truth_px=_sizes(truth),
        found_px=_sizes(found),
        common_px=common,
    )


def shared_px(iou: FloatArray, areas: IntArray, others: IntArray) -> IntArray:
    """Px that masks share, ``(n, m)``, of their IoUs ``(n, m)`` and areas ``(n,)`` and ``(m,)``.

    With i px shared and u covered by either, i + u is the sum of both areas, and i / u exact enough to give i back whole.
    """
    return np.rint(np.add.outer(areas, others) * iou / (1 + iou)).astype(np.int64)


def _by_frame(tubes: Sequence[Tube]) -> dict[int, tuple[list[int], list[Mask], list[int]]]:
    """By frame: numbers, masks and areas of the tubes that are there."""
    on: dict[int, tuple[list[int], list[Mask], list[int]]] = {}
    for number, tube in enumerate(tubes):
        for (frame, mask), area in zip(tube.masks.items(), tube.areas.tolist(), strict=True):
            numbers, masks, areas = on.setdefault(frame, ([], [], []))
            numbers.append(number)
            masks.append(mask)
            areas.append(area)
    return on


def _sizes(tubes: Sequence[Tube]) -> IntArray:
    return np.array([tube.areas.sum() for tube in tubes], np.int64)
