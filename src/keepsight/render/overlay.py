"""Masks drawn over frames: a tint, a sharp outline and a small tag for every object."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from keepsight.core import FrameResult, InputError, TrackedObject
from keepsight.render.pairs import output_times, paired
from keepsight.render.palette import Colour, object_colour
from keepsight.render.regions import pixels_in_box
from keepsight.render.tags import RgbArray, paste, place, tag_bitmap
from keepsight.store import Project
from keepsight.video import VideoSource, VideoWriter


@dataclass(frozen=True)
class OverlayStyle:
    """How an overlay looks. Sizes left as ``None`` follow the resolution.

    Attributes:
        fill: opacity of the tint in [0, 1]; higher hides more of the object, 0 draws outlines only.
        contour_px: width of the outline, 0 for none.
        tags: whether id, label and score are shown.
        scores: whether the tag has the score.
        text_px: height of the text.
        colours: ``#rrggbb`` for object ids; others get the palette's.
    """

    fill: float = 0.4
    contour_px: int | None = None
    tags: bool = True
    scores: bool = True
    text_px: int | None = None
    colours: Mapping[int, str] | None = None


def draw_overlay(
    rgb: RgbArray,
    result: FrameResult,
    labels: Mapping[int, str | None] | None = None,
    style: OverlayStyle | None = None,
) -> RgbArray:
    """Draws a frame's objects on a copy of the frame.

    Args:
        rgb: uint8 ``(H, W, 3)``.
        result: masks of the same size; absent objects leave no mark.
        labels: names by object id.

    Returns:
        uint8 ``(H, W, 3)``.

    Raises:
        InputError: the sizes differ.
    """
    style = style or OverlayStyle()
    if rgb.shape[:2] != (result.height, result.width):
        raise InputError(
            f"Frame {result.frame} is {rgb.shape[1]}x{rgb.shape[0]} px but its masks are {result.width}x{result.height} px."
        )
    out = np.array(rgb, copy=True, order="C")
    short_side = min(result.height, result.width)
    contour_px = max(1, round(short_side / 400)) if style.contour_px is None else style.contour_px
    present = [(item, _colour(item.object_id, style)) for item in result.objects if item.present]
    for item, colour in present:
        _draw_mask(out, item, colour, style.fill, contour_px)
    if style.tags:
        # After all masks, so that no tint lies over a tag.
        text_px = min(max(11, round(short_side / 42)), 48) if style.text_px is None else style.text_px
        _draw_tags(out, present, labels or {}, text_px, scores=style.scores)
    return out


def render_overlay(
    video: VideoSource,
    project: Project,
    video_id: int,
    out_path: str | os.PathLike[str],
    style: OverlayStyle | None = None,
) -> int:
    """Writes a video of all frames that have a result, at their own times; returns how many.

    Raises:
        InputError: nothing is stored, or the video is not the one that was tracked.
        StoreError: the video cannot be written.
    """
    painter = Painter(project, video_id, style)
    frames = 0
    with VideoWriter(Path(out_path), height=video.height, width=video.width, fps=video.fps) as writer:
        for time_s, frame, result in output_times(paired(video, project, video_id)):
            writer.write(painter.draw(frame.rgb, result), time_s)
            frames += 1
    return frames


class Painter:
    """Draws overlays with the names and colours that the project has for its objects."""

    def __init__(self, project: Project, video_id: int, style: OverlayStyle | None = None) -> None:
        objects = project.objects(video_id)
        style = style or OverlayStyle()
        colours = {item.object_id: item.colour for item in objects if item.colour} | dict(style.colours or {})
        self._labels = {item.object_id: item.label for item in objects}
        self._style = OverlayStyle(style.fill, style.contour_px, style.tags, style.scores, style.text_px, colours)

    def draw(self, rgb: RgbArray, result: FrameResult) -> RgbArray:
        """See :func:`draw_overlay`."""
        return draw_overlay(rgb, result, self._labels, self._style)


def _colour(object_id: int, style: OverlayStyle) -> Colour:
    return object_colour(object_id, (style.colours or {}).get(object_id))


def _draw_mask(out: RgbArray, item: TrackedObject, colour: Colour, fill: float, contour_px: int) -> None:
    # Everything happens inside the object's box: small objects cost little.
    x1, y1, mask = pixels_in_box(item.mask)
    window = out[y1 : y1 + mask.shape[0], x1 : x1 + mask.shape[1]]
    inside = mask.view(np.uint8)
    if fill > 0:
        faded = cv2.convertScaleAbs(window, alpha=1 - fill)
        tinted = cv2.add(faded, tuple(fill * channel for channel in (*colour, 0)))
        cv2.copyTo(tinted, inside, window)  # in place: `window` is a view of `out`
    if contour_px > 0:
        contours, _ = cv2.findContours(inside, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(x1, y1))
        # A dark line under the coloured one keeps the outline visible on any background.
        if contour_px > 1:
            cv2.polylines(out, contours, True, tuple(channel // 4 for channel in colour), contour_px + 1)
        cv2.polylines(out, contours, True, colour, contour_px, cv2.LINE_AA)


def _draw_tags(
    out: RgbArray,
    present: list[tuple[TrackedObject, Colour]],
    labels: Mapping[int, str | None],
    text_px: int,
    *,
    scores: bool,
) -> None:
    height, width = out.shape[:2]
    taken: list[tuple[float, float, float, float]] = []
    for item, colour in present:
        text = f"{item.object_id} {labels.get(item.object_id) or ''}".strip()
        if scores:
            text += f"  {item.score:.2f}"
        bitmap, opacity = tag_bitmap(text, colour, text_px, max(40, width // 2))
        assert item.mask.box is not None
        x, y = place(item.mask.box, bitmap.shape[1], bitmap.shape[0], width, height, taken)
        taken.append((x, y, x + bitmap.shape[1], y + bitmap.shape[0]))
        paste(out, bitmap, opacity, x, y)
