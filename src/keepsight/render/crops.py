"""One video an object: cut out, on black, in a square window that follows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, InputError, Mask
from keepsight.render.patches import Patch, Rect
from keepsight.render.regions import pixels_in_box
from keepsight.render.tags import RgbArray
from keepsight.store import TrackPoint
from keepsight.video import VideoWriter

_CHOICES = {
    "window": ("smoothed", "per_frame", "fixed"),
    "absent": ("skip", "black"),
    "background": ("black", "blur", "keep"),
}

_ROOM = 1.5
"""How much larger than a tight window the kept part of a frame is. Up: fewer frames are decoded again, more disk."""


@dataclass(frozen=True)
class CropStyle:
    """How crops are cut.

    Attributes:
        margin: room on every side, as a part of the object's longer side; more shows more surroundings.
        window: ``smoothed`` follows the object calmly and zooms slowly; ``per_frame`` takes every box as it is (tight, but it
            jitters); ``fixed`` keeps one scale for the whole video, so that size in px stays comparable.
        smooth_s: how long, in seconds, the smoothed window takes to react; more is calmer, and leaves more room around it.
        absent: ``skip`` leaves frames without the object out; ``black`` keeps them, so that the crop runs in step with the video.
        background: ``black`` outside the mask, ``blur`` the picture there, or ``keep`` it.
        size_px: side of the output; ``None`` picks one from the object's size, 64 to 640.
    """

    margin: float = 0.15
    window: Literal["smoothed", "per_frame", "fixed"] = "smoothed"
    smooth_s: float = 0.4
    absent: Literal["skip", "black"] = "skip"
    background: Literal["black", "blur", "keep"] = "black"
    size_px: int | None = None

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"Crop {name} {getattr(self, name)!r} is unknown; use {', '.join(known)}.")
        if not 0 <= self.margin <= 10:
            raise InputError(f"Crop margin {self.margin} is out of range; give 0 to 10 times the object's size.")
        if self.size_px is not None and not 16 <= self.size_px <= 4096:
            raise InputError(f"Crop size {self.size_px} px is out of range; give 16 to 4096.")


class CropPlan:
    """The window of one object on every frame where it is present: square, ``(centre x, centre y, side)`` in px.

    Made from stored boxes before anything is decoded, so that windows can look ahead and the output size is known. Holds four
    numbers a frame.

    Attributes:
        frames: int ``(N,)``, frames with the object, rising.
        windows: float ``(N, 3)``.
        size_px: side of the output, even.
    """

    def __init__(self, points: Iterable[TrackPoint], fps: float, style: CropStyle) -> None:
        found = [(point.frame, *point.box) for point in points if point.box is not None]
        table = np.array(found, dtype=np.float64).reshape(-1, 5)
        self.frames: NDArray[np.int64] = table[:, 0].astype(np.int64)
        boxes = table[:, 1:]
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=1.0)
        sides = longer * (1 + 2 * style.margin)
        if style.window != "per_frame":
            for part in _segments(self.frames, fps):
                radius = max(1, round(style.smooth_s * fps))
                centres[part] = _smooth(centres[part], radius)
                sides[part] = _smooth(_running_max(sides[part], radius)[:, None], radius)[:, 0]
        # Whatever smoothing did, the object itself stays inside.
        reach = np.maximum(np.abs(boxes[:, :2] - centres), np.abs(boxes[:, 2:] - centres)).max(axis=1, initial=0.5)
        sides = np.maximum(sides, 2 * reach)
        if style.window == "fixed" and len(sides):
            sides[:] = sides.max()
        self.windows: NDArray[np.float64] = np.column_stack([centres, sides])
        self.size_px = style.size_px or _output_size(sides)

    def __len__(self) -> int:
        return len(self.frames)

    def window(self, frame: int) -> tuple[float, float, float] | None:
        """Centre and side on ``frame``; ``None`` where the object is absent."""
        row = int(np.searchsorted(self.frames, frame))
        if row == len(self.frames) or self.frames[row] != frame:
            return None
        x, y, side = self.windows[row]
        return float(x), float(y), float(side)


class CropWriter:
    """Writes one object's video."""

    def __init__(self, path: Path, plan: CropPlan, fps: float, style: CropStyle) -> None:
        self._plan, self._style = plan, style
        self._black = np.zeros((plan.size_px, plan.size_px, 3), np.uint8)
        # There are many of these at a time.
        self.writer = VideoWriter(path, height=plan.size_px, width=plan.size_px, fps=fps, threads=1)

    def write(self, rgb: RgbArray, frame: int, mask: Mask | None, time_s: float) -> None:
        """Adds a frame of the source; without a mask, what the style says about absence."""
        window = self._plan.window(frame)
        if window is None or mask is None or mask.area == 0:
            if self._style.absent == "black":
                self.writer.write(self._black, time_s)
            return
        self.write_from(Patch(0, 0, rgb), (rgb.shape[0], rgb.shape[1]), mask, window, time_s)

    def write_from(
        self,
        patch: Patch,
        frame_size: tuple[int, int],
        mask: Mask,
        window: tuple[float, float, float],
        time_s: float | None = None,
    ) -> None:
        """Adds a frame on which the object is present, from a part of it that holds what :func:`needed_rect` says."""
        picture = cut_from(patch, frame_size, mask, window, self._plan.size_px, background=self._style.background)
        # Skipped frames leave no holes: what is left plays at an even pace.
        self.writer.write(picture, time_s if self._style.absent == "black" else None)


def cut(
    rgb: RgbArray, mask: Mask, window: tuple[float, float, float], size_px: int, *, background: str = "black"
) -> RgbArray:
    """A square ``window`` (centre x, centre y, side) of a frame, as ``(size_px, size_px, 3)``; black outside the frame."""
    return cut_from(Patch(0, 0, rgb), (rgb.shape[0], rgb.shape[1]), mask, window, size_px, background=background)


def window_rect(window: tuple[float, float, float], frame_size: tuple[int, int]) -> Rect:
    """What a window (centre x, centre y, side) shows of a frame ``(height, width)``; inside out where that is nothing."""
    height, width = frame_size
    centre_x, centre_y, side = window
    x0, y0 = centre_x - side / 2, centre_y - side / 2
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    return left, top, min(width, int(np.ceil(x0 + side)) + 1), min(height, int(np.ceil(y0 + side)) + 1)


def needed_rect(
    box: Box, window: tuple[float, float, float], frame_size: tuple[int, int], background: str
) -> Rect | None:
    """The pixels that :func:`cut_from` reads for an object with that tight box, ``None`` for none."""
    left, top, right, bottom = window_rect(window, frame_size)
    if background == "black":
        x1, y1, x2, y2 = (int(side) for side in box)
        left, top, right, bottom = max(left, x1), max(top, y1), min(right, x2), min(bottom, y2)
    return (left, top, right, bottom) if left < right and top < bottom else None


def likely_rect(box: Box, style: CropStyle, frame_size: tuple[int, int]) -> Rect:
    """What of a frame is worth keeping for an object with that tight box, before its window is known.

    On black it is all that can be needed; a window that is smoothed may turn out to reach beyond it.
    """
    height, width = frame_size
    x1, y1, x2, y2 = box
    if style.background == "black":
        return max(0, int(x1)), max(0, int(y1)), min(width, int(x2)), min(height, int(y2))
    side = max(x2 - x1, y2 - y1) * (1 + 2 * style.margin) * (1 if style.window == "per_frame" else _ROOM)
    return window_rect(((x1 + x2) / 2, (y1 + y2) / 2, side + 2), frame_size)


def cut_from(
    patch: Patch,
    frame_size: tuple[int, int],
    mask: Mask,
    window: tuple[float, float, float],
    size_px: int,
    *,
    background: str = "black",
) -> RgbArray:
    """:func:`cut` from a part of the frame ``(height, width)`` that holds what :func:`needed_rect` says."""
    centre_x, centre_y, side = window
    x0, y0 = centre_x - side / 2, centre_y - side / 2
    seen = left, top, right, bottom = window_rect(window, frame_size)
    if right <= left or bottom <= top:
        return np.zeros((size_px, size_px, 3), np.uint8)
    shape = (bottom - top, right - left)
    piece = np.zeros((*shape, 3), np.uint8) if background == "black" else np.ascontiguousarray(patch.part(seen))
    x, y, pixels = pixels_in_box(mask)
    x1, y1, x2, y2 = max(left, x), max(top, y), min(right, x + pixels.shape[1]), min(bottom, y + pixels.shape[0])
    if background != "keep" and x1 < x2 and y1 < y2:
        part = pixels[y1 - y : y2 - y, x1 - x : x2 - x]
        there = (slice(y1 - top, y2 - top), slice(x1 - left, x2 - left))
        if background == "black":
            piece[there] = patch.part((x1, y1, x2, y2)) * part[..., None]
        else:
            inside = np.zeros(shape, np.uint8)
            inside[there] = part
            piece = cv2.copyTo(piece, inside, _blurred(piece, side))
    scale = size_px / side
    if scale < 1:
        # Shrinking by interpolation alone would skip pixels and shimmer; averaging first does not.
        small = (max(1, round(piece.shape[1] * scale)), max(1, round(piece.shape[0] * scale)))
        shrunk = cv2.resize(piece, small, interpolation=cv2.INTER_AREA)
        scale_x, scale_y = scale * piece.shape[1] / small[0], scale * piece.shape[0] / small[1]
        piece = shrunk
    else:
        scale_x = scale_y = scale
    # Pixel centres sit at half coordinates, hence the halves.
    shift_x = (left - x0) * scale + 0.5 * scale_x - 0.5
    shift_y = (top - y0) * scale + 0.5 * scale_y - 0.5
    matrix = np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]])
    out: RgbArray = cv2.warpAffine(piece, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    return out


def _blurred(piece: RgbArray, side: float) -> RgbArray:
    """The surroundings without detail, by as much of the window whatever its size in px."""
    blurred: RgbArray = cv2.GaussianBlur(piece, (0, 0), sigmaX=max(1.0, side / 24), borderType=cv2.BORDER_REPLICATE)
    return blurred


def _segments(frames: NDArray[np.int64], fps: float) -> list[slice]:
    """Stretches without a pause of more than half a second: an object may come back elsewhere, and the window jumps there."""
    if len(frames) == 0:
        return []
    steps = np.diff(frames)
    usual = int(np.median(steps)) if len(steps) else 1
    breaks = np.flatnonzero(steps > max(2 * usual, fps / 2)) + 1
    edges = [0, *breaks.tolist(), len(frames)]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _smooth(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Gaussian over ``(N, k)`` in both directions of time; edges repeat the end values."""
    kernel = np.exp(-0.5 * (np.arange(-2 * radius, 2 * radius + 1) / radius) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, ((2 * radius, 2 * radius), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, mode="valid") for column in padded.T], axis=1)


def _running_max(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    padded = np.pad(values, radius, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1).max(axis=1)


def _output_size(sides: NDArray[np.float64]) -> int:
    if len(sides) == 0:
        return 64
    return int(min(max(round(float(np.percentile(sides, 90)) / 16) * 16, 64), 640))
