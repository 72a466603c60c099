"""Contact sheets: a few evenly chosen frames with their overlays, in one picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from keepsight.core import InputError
from keepsight.render.overlay import OverlayStyle, Painter
from keepsight.render.tags import RgbArray, paste, tag_bitmap
from keepsight.store import Project
from keepsight.store.files import replacing_file
from keepsight.video import VideoSource

_GAP_PX = 4
_CAPTION = (24, 24, 24)


def contact_sheet(
    video: VideoSource,
    project: Project,
    video_id: int,
    *,
    count: int = 8,
    columns: int = 4,
    width_px: int = 1600,
    frames: Sequence[int] | None = None,
    style: OverlayStyle | None = None,
) -> RgbArray:
    """A grid of frames with overlays, uint8 ``(h, width_px, 3)``; every cell says its frame and time.

    Args:
        count: how many frames, spread evenly over those with a result.
        columns: cells in a row; ``count`` for a strip.
        width_px: of the whole sheet.
        frames: chooses the frames instead.

    Raises:
        InputError: nothing is stored, or a chosen frame has no result.
    """
    chosen = list(frames) if frames is not None else _evenly(project, video_id, count)
    columns = max(1, min(columns, len(chosen)))
    rows = -(-len(chosen) // columns)
    cell_width = (width_px - (columns - 1) * _GAP_PX) // columns
    cell_height = max(1, round(cell_width * video.height / video.width))
    # Tags are drawn at full size and shrink with the picture: they must be large enough to be read afterwards.
    scale = max(1.0, video.width / cell_width)
    style = style or OverlayStyle(text_px=round(13 * scale), contour_px=max(1, round(1.5 * scale)), scores=False)
    painter = Painter(project, video_id, style)
    sheet = np.full((rows * cell_height + (rows - 1) * _GAP_PX, width_px, 3), _CAPTION, np.uint8)  # dark suits any page
    for number, index in enumerate(chosen):
        result = project.result(video_id, index)
        if result is None:
            raise InputError(f"Frame {index} has no result; choose a frame that was tracked.")
        picture = painter.draw(video.read(index).rgb, result)
        interpolation = cv2.INTER_AREA if scale > 1 else cv2.INTER_LINEAR
        cell = np.ascontiguousarray(cv2.resize(picture, (cell_width, cell_height), interpolation=interpolation))
        caption, opacity = tag_bitmap(f"{index}  ·  {result.time_s:.1f} s", _CAPTION, 12, cell_width)
        paste(cell, caption, opacity * 0.8, 6, max(0, cell_height - caption.shape[0] - 6))
        top, left = (number // columns) * (cell_height + _GAP_PX), (number % columns) * (cell_width + _GAP_PX)
        sheet[top : top + cell_height, left : left + cell_width] = cell
    return sheet


def save_sheet(sheet: RgbArray, path: str | os.PathLike[str]) -> None:
    """Writes a sheet as PNG, JPEG or WebP, by the suffix.

    Raises:
        StoreError: the file cannot be written.
    """
    with replacing_file(Path(path)) as temporary:
        Image.fromarray(sheet).save(temporary)


def _evenly(project: Project, video_id: int, count: int) -> list[int]:
    done = sorted(project.frames_done(video_id))
    if not done:
        raise InputError(f"{project.path} has no results yet; track objects first.")
    places = np.linspace(0, len(done) - 1, num=min(max(1, count), len(done)))
    return [done[round(float(place))] for place in places]
