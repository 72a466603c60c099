"""Objects on transparency, at the place and size that they have in the frame: one PNG a frame, or one WebM an object."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keepsight.core import InputError, Mask
from keepsight.render.pairs import output_times, paired
from keepsight.render.regions import pixels_in_box
from keepsight.render.tags import RgbArray
from keepsight.store import Project
from keepsight.store.files import replacing_folder
from keepsight.video import VideoSource
from keepsight.video.alpha import AlphaWriter

CUTOUTS = {
    "alpha-png": "cut-outs with transparency, a PNG an object and frame",
    "alpha-webm": "cut-outs with transparency, a WebM an object",
}
_OURS = {"alpha-png": r"\d+/\d+\.png", "alpha-webm": r"\d+\.webm"}


def write_cutouts(
    video: VideoSource,
    project: Project,
    video_id: int,
    kind: str,
    folder: str | os.PathLike[str],
    *,
    start: int | None = None,
    stop: int | None = None,
    max_writers: int = 8,
) -> int:
    """Writes ``<object>/<frame>.png`` (frames where the object is present) or ``<object>.webm`` (every frame with a result, in
    step with the video). Colours outside the mask are black and fully transparent. Returns the number of files.

    Args:
        kind: a name of :data:`CUTOUTS`.
        max_writers: WebM files encoded at a time; more objects take further passes over the video.

    Raises:
        InputError: no object is visible there.
        StoreError: the folder cannot be written or holds other files.
    """
    window = range(start or 0, 2**62 if stop is None else stop)
    visible = [
        item.object_id
        for item in project.objects(video_id)
        if any(point.area and point.frame in window for point in project.track(video_id, item.object_id))
    ]
    if not visible:
        raise InputError("No object is visible on these frames, so there is nothing to cut out.")
    size = len(visible) if kind == "alpha-png" else max_writers
    files = 0
    with replacing_folder(folder, _OURS[kind]) as temporary:
        for first in range(0, len(visible), size):
            batch = visible[first : first + size]
            with contextlib.ExitStack() as stack:
                writers = {}
                for object_id in batch:
                    if kind == "alpha-png":
                        (temporary / str(object_id)).mkdir()
                    else:
                        writer = AlphaWriter(
                            temporary / f"{object_id}.webm", height=video.height, width=video.width, fps=video.fps
                        )
                        writers[object_id] = stack.enter_context(writer)
                        files += 1
                for time_s, frame, result in output_times(paired(video, project, video_id)):
                    if frame.index not in window:
                        continue
                    masks = {item.object_id: item.mask for item in result.objects}
                    for object_id in batch:
                        mask = masks.get(object_id)
                        if object_id in writers:
                            writers[object_id].write(cut_out(frame.rgb, mask), time_s)
                        elif mask is not None and mask.area:
                            _save(temporary / str(object_id) / f"{frame.index:05d}.png", cut_out(frame.rgb, mask))
                            files += 1
    return files


def cut_out(rgb: RgbArray, mask: Mask | None) -> NDArray[np.uint8]:
    """``(H, W, 4)`` uint8: the object's pixels, opaque; everything else zero."""
    out = np.zeros((*rgb.shape[:2], 4), np.uint8)
    if mask is not None and mask.area:
        x, y, pixels = pixels_in_box(mask)
        rows, columns = slice(y, y + pixels.shape[0]), slice(x, x + pixels.shape[1])
        out[rows, columns, :3] = rgb[rows, columns] * pixels[..., None]
        out[rows, columns, 3] = pixels * np.uint8(255)
    return out


def _save(path: Path, rgba: NDArray[np.uint8]) -> None:
    Image.fromarray(rgba).save(path, format="PNG", compress_level=1)
