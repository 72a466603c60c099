"""Looks at what went worst: frames with the true box and the found one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError
from keepsight.evaluation.box.layouts import Layout
from keepsight.evaluation.box.overlaps import Floats, there
from keepsight.evaluation.box.sequences import Prediction, Target
from keepsight.evaluation.report import Picture
from keepsight.evaluation.results import Results, Row
from keepsight.video import open_video

_ROWS, _FRAMES = 6, 3
_WIDTH_PX = 480
_BAD = 0.5
TRUE, FOUND = (60, 220, 120), (255, 120, 40)
"""Green and orange, also for eyes that do not tell red from green: the true box is drawn broad, the found one narrow."""


def worst_pictures(
    results: Results, layout: Layout, folder: Path, tell: Callable[[int], None] = lambda done: None
) -> list[Picture]:
    """Up to three frames of each of the six worst rows.

    Args:
        folder: of the predictions.
        tell: told the number of rows done.
    """
    measure = results.headline[0]
    rows = sorted((row for row in results.rows if measure in row.values), key=lambda row: row.values[measure])
    pictures: list[Picture] = []
    for done, row in enumerate(rows[:_ROWS], start=1):
        pictures += _of_row(row, layout, folder)
        tell(done)
    return pictures


def _of_row(row: Row, layout: Layout, folder: Path) -> Iterator[Picture]:
    sequence = layout.read(row.video)
    [(target, prediction)] = [
        pair for pair in zip(sequence.targets, layout.load(folder, sequence), strict=True) if pair[0].name == row.item
    ]
    overlaps = dict(zip(row.frames, row.series["IoU"], strict=True))
    with open_video(sequence.frames) as video:
        for frame in telling_frames(row, prediction):
            try:
                rgb = video.read(frame).rgb
            except InputError:
                continue  # a damaged frame shows nothing
            yield Picture(
                row.name, _caption(frame, overlaps[frame], target, prediction), _draw(rgb, frame, target, prediction)
            )


def telling_frames(row: Row, prediction: Prediction) -> list[int]:
    """Frames that say most about what went wrong: where the longest failure begins, its middle, and a box where the object is
    not; the worst frame of a row without a failure."""
    frames = np.array(row.frames, int)
    if not len(frames):
        return []
    overlaps = np.array([np.nan if value is None else value for value in row.series["IoU"]], float)
    chosen = []
    first, last = _longest(overlaps < _BAD)
    if last > first:
        chosen += [int(frames[first]), int(frames[(first + last - 1) // 2])]
    elif np.isfinite(overlaps).any():
        chosen.append(int(frames[int(np.nanargmin(overlaps))]))
    ghosts = frames[np.isnan(overlaps) & there(prediction.boxes[frames])]
    if len(ghosts):
        chosen.append(int(ghosts[len(ghosts) // 2]))
    return list(dict.fromkeys(chosen))[:_FRAMES]


def _longest(bad: NDArray[np.bool_]) -> tuple[int, int]:
    """First and end of the longest run of true values; equal where there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
    if not len(edges):
        return 0, 0
    runs = edges.reshape(-1, 2)
    first, last = runs[int(np.argmax(runs[:, 1] - runs[:, 0]))]
    return int(first), int(last)


def _caption(frame: int, overlap: float | None, target: Target, prediction: Prediction) -> str:
    if overlap is None:
        return f"frame {frame}: the object is not there, but something was found (narrow orange)"
    if not there(prediction.boxes[frame : frame + 1])[0]:
        return f"frame {frame}: nothing was found; truth broad green"
    return f"frame {frame}: overlap {overlap:.2f}; truth broad green, found narrow orange"


def _draw(rgb: NDArray[np.uint8], frame: int, target: Target, prediction: Prediction) -> NDArray[np.uint8]:
    scale = min(1.0, _WIDTH_PX / rgb.shape[1])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else rgb.copy()
    shown = np.ascontiguousarray(small)
    if target.visible[frame]:
        _outline(shown, target.boxes[frame] * scale, TRUE, 4)
    _outline(shown, prediction.boxes[frame] * scale, FOUND, 2)
    return shown


def _outline(rgb: NDArray[np.uint8], box: Floats, colour: Sequence[int], width_px: int) -> None:
    if np.isfinite(box).all():
        x, y, width, height = box.tolist()
        corners = (round(x), round(y)), (round(x + width), round(y + height))
        cv2.rectangle(rgb, *corners, tuple(colour), width_px, cv2.LINE_AA)
