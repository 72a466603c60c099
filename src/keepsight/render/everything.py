"""Overlay and crops of all objects in one pass over the video: decoding costs more than drawing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from keepsight.render.crops import CropPlan, CropStyle, CropWriter
from keepsight.render.overlay import OverlayStyle, Painter
from keepsight.render.pairs import output_times, paired
from keepsight.store import Project
from keepsight.store.files import replacing_folder
from keepsight.video import VideoSource, VideoWriter
from keepsight.video.beside import Beside

OVERLAY_NAME, CROPS_NAME = "overlay.mp4", "objects"


@dataclass(frozen=True)
class Rendered:
    """What was written.

    Attributes:
        frames: frames with a result.
        overlay: path, ``None`` when not asked for.
        crops: path by object id; an object that is never present has none.
    """

    frames: int
    overlay: Path | None = None
    crops: dict[int, Path] = field(default_factory=dict)


def render_all(
    video: VideoSource,
    project: Project,
    video_id: int,
    out: str | os.PathLike[str],
    *,
    overlay: bool = True,
    crops: bool = True,
    style: OverlayStyle | None = None,
    crop_style: CropStyle | None = None,
    max_writers: int = 16,
) -> Rendered:
    """Writes ``out/overlay.mp4`` and ``out/objects/<id>.mp4``.

    Args:
        max_writers: crops encoded at a time; each encoder takes a few tens of MB. More objects than this take further passes over
            the video.

    Raises:
        InputError: nothing is stored, or the video is not the one that was tracked.
        StoreError: ``out`` cannot be written, or ``out/objects`` holds other files.
    """
    root = Path(out)
    crop_style = crop_style or CropStyle()
    plans: dict[int, CropPlan] = {}
    if crops:
        for item in project.objects(video_id):
            plan = CropPlan(project.track(video_id, item.object_id), video.fps, crop_style)
            if len(plan):
                plans[item.object_id] = plan
    painter = Painter(project, video_id, style) if overlay else None
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(replacing_folder(root / CROPS_NAME, r"\d+\.mp4")) if crops else None
        ids = list(plans)
        batches = [ids[start : start + max_writers] for start in range(0, len(ids), max_writers)] or [[]]
        frames = 0
        for number, batch in enumerate(batches):
            files = {i: folder / f"{i}.mp4" for i in batch} if folder else {}
            first = painter if number == 0 else None
            frames = _one_pass(video, project, video_id, root, first, {i: plans[i] for i in batch}, files, crop_style)
    written = {object_id: root / CROPS_NAME / f"{object_id}.mp4" for object_id in plans}
    return Rendered(frames, root / OVERLAY_NAME if overlay else None, written)


def _one_pass(
    video: VideoSource,
    project: Project,
    video_id: int,
    root: Path,
    painter: Painter | None,
    plans: dict[int, CropPlan],
    files: dict[int, Path],
    style: CropStyle,
) -> int:
    frames = 0
    with contextlib.ExitStack() as stack:
        whole = None
        if painter:
            whole = stack.enter_context(
                VideoWriter(root / OVERLAY_NAME, height=video.height, width=video.width, fps=video.fps)
            )
        writers: dict[int, CropWriter] = {}
        for object_id, plan in plans.items():
            writers[object_id] = CropWriter(files[object_id], plan, video.fps, style)
            stack.enter_context(writers[object_id].writer)
        if whole is None and not writers:
            return 0
        # Encoders let go of the interpreter, so a few threads share them out; each object stays with one.
        threads = [stack.enter_context(Beside()) for _ in range(min(encoder_threads(), len(writers)))]
        for time_s, frame, result in output_times(paired(video, project, video_id)):
            masks = {item.object_id: item.mask for item in result.objects}
            for number, (object_id, writer) in enumerate(writers.items()):
                work = partial(writer.write, frame.rgb, frame.index, masks.get(object_id), time_s)
                threads[number % len(threads)].do("crops", work)
            if whole is not None and painter:
                whole.write(painter.draw(frame.rgb, result), time_s)
            frames += 1
    return frames


def encoder_threads() -> int:
    """Threads that encode cut-outs at a time."""
    return min(4, os.cpu_count() or 1)
