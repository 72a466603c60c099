"""Pictures of the rows that came out worst: truth and prediction over the frame on which they differ most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import FrameResult, Mask, TrackedObject
from keepsight.core.geometry import BoolArray
from keepsight.evaluation.report import Picture
from keepsight.evaluation.results import Results, Row
from keepsight.evaluation.vos.clips import Clip, Dataset
from keepsight.evaluation.vos.maps import empty_masks
from keepsight.evaluation.vos.sources import MaskSource
from keepsight.render.overlay import OverlayStyle, draw_overlay
from keepsight.video import open_video

_WIDTH_PX = 480
_A_VIDEO = 2
_TRUTH, _FOUND = "#35c759", "#ff3b6b"
_GREY = 96


def worst_pictures(
    results: Results, dataset: Dataset, found: Callable[[str], MaskSource | None], count: int = 8
) -> list[Picture]:
    """The worst objects by J&F, not more than two of a video, each on its worst frame.

    Args:
        found: predictions by the clip's name.
    """
    clips = {clip.name: clip for clip in dataset.clips}
    taken: Counter[str] = Counter()
    pictures: list[Picture] = []
    for row in sorted(results.rows, key=lambda row: (row.values["J&F"], row.video, row.item)):
        if len(pictures) == count:
            break
        if taken[row.video] < _A_VIDEO:
            taken[row.video] += 1
            pictures.append(_picture(row, clips[row.video], found(row.video)))
    return pictures


def _picture(row: Row, clip: Clip, found: MaskSource | None) -> Picture:
    assert clip.truth is not None
    values = row.series["J&F"]
    place = min(range(len(values)), key=lambda index: values[index] or 0.0)
    frame = row.frames[place]
    number = clip.numbers[frame] if clip.numbers else frame
    truth = clip.truth.read(number)
    guess = empty_masks(truth.shape)
    if found is not None and number in found.numbers:
        guess = found.read(number)
    object_id = int(row.item)
    rgb = _frame(clip, frame, truth.shape)
    caption = (
        f"frame {number}: J {row.series['J'][place]:.2f}, F {row.series['F'][place]:.2f}; truth green, prediction red"
    )
    return Picture(row.name, caption, _drawn(rgb, guess.pixels(object_id), truth.pixels(object_id)))


def _frame(clip: Clip, frame: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """The frame, or grey where there are only masks."""
    if clip.video is not None and clip.video.exists():
        with open_video(clip.video) as video:
            rgb = video.read(frame).rgb
        if rgb.shape[:2] == shape:
            return rgb
        return np.asarray(cv2.resize(rgb, shape[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return np.full((*shape, 3), _GREY, np.uint8)


def _drawn(rgb: NDArray[np.uint8], found: BoolArray, truth: BoolArray) -> NDArray[np.uint8]:
    """The prediction tinted, the truth as an outline above it, as wide as a report shows it."""
    height, width = (max(1, round(side * _WIDTH_PX / rgb.shape[1])) for side in rgb.shape[:2])
    small = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    for number, mask, fill, colour in ((1, found, 0.45, _FOUND), (2, truth, 0.0, _TRUTH)):
        pixels = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        item = TrackedObject(number, Mask.from_array(pixels), 1.0, 1.0)
        style = OverlayStyle(fill=fill, contour_px=2, tags=False, colours={number: colour})
        small = draw_overlay(small, FrameResult(0, 0.0, height, width, (item,)), style=style)
    return small
