"""Crops of all objects from the patches that were kept of them; only frames of which too little was kept are decoded."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from keepsight.core import Frame
from keepsight.render.crops import CropPlan, CropStyle, CropWriter, needed_rect
from keepsight.render.everything import CROPS_NAME, encoder_threads, render_all
from keepsight.render.patches import Patch, PatchFile, Rect
from keepsight.store import Project
from keepsight.store.files import replacing_folder
from keepsight.video import VideoSource, prefetch

_SINGLE_FRAMES = 8  # fewer are decoded one by one


@dataclass(frozen=True)
class CutOut:
    """What was written.

    Attributes:
        crops: path by object id; an object that is never present has none.
        decoded: frames that were decoded again.
    """

    crops: dict[int, Path] = field(default_factory=dict)
    decoded: int = 0


def render_from_patches(
    video: VideoSource,
    project: Project,
    video_id: int,
    out: str | os.PathLike[str],
    patches: PatchFile,
    style: CropStyle | None = None,
    *,
    threads: int | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> CutOut:
    """Writes ``out/objects/<id>.mp4``, each with the pictures that :func:`keepsight.render.render_all` would give it.

    Args:
        patches: of this video; what is missing in them is added.
        style: with ``absent`` left at ``skip``; other styles are cut from frames that are decoded again.
        threads: objects encoded at a time; each takes a few tens of MB.
        tell: told how many objects are done, and how many there are.

    Raises:
        StoreError: ``out`` cannot be written, or ``out/objects`` holds other files.
        DamagedPatchesError: see :class:`PatchFile`.
    """
    style, root = style or CropStyle(), Path(out)
    plans: dict[int, CropPlan] = {}
    for item in project.objects(video_id):
        plan = CropPlan(project.track(video_id, item.object_id), video.fps, style)
        if len(plan):
            plans[item.object_id] = plan
    missing = _missing(video, project, video_id, plans, style, patches)
    rects = [rect for of_frame in missing.values() for rect in of_frame.values()]
    wanted_bytes = sum(3 * (right - left) * (bottom - top) for left, top, right, bottom in rects) + 64 * len(rects)
    if style.absent != "skip" or patches.size_bytes + wanted_bytes > patches.limit_bytes:
        made = render_all(video, project, video_id, root, overlay=False, crop_style=style)
        return CutOut(made.crops, made.frames)
    decoded = 0
    for frame in _decoded(video, sorted(missing)):
        decoded += 1
        for object_id, rect in missing[frame.index].items():
            patches.add(frame.index, object_id, Patch.of(frame.rgb, rect))
    with replacing_folder(root / CROPS_NAME, r"\d+\.mp4") as folder:
        write = partial(_write_one, video, project, video_id, patches, plans, style, folder)
        with ThreadPoolExecutor(threads or encoder_threads()) as pool:
            for done, _ in enumerate(pool.map(write, plans), start=1):
                tell(done, len(plans))
    return CutOut({object_id: root / CROPS_NAME / f"{object_id}.mp4" for object_id in plans}, decoded)


def _missing(
    video: VideoSource,
    project: Project,
    video_id: int,
    plans: Mapping[int, CropPlan],
    style: CropStyle,
    patches: PatchFile,
) -> dict[int, dict[int, Rect]]:
    """What is needed and not kept, by frame and object."""
    size = (video.height, video.width)
    missing: dict[int, dict[int, Rect]] = {}
    for object_id, plan in plans.items():
        for point in project.track(video_id, object_id):
            window = plan.window(point.frame)
            if point.box is None or window is None:
                continue
            rect = needed_rect(point.box, window, size, style.background)
            if rect is not None and not patches.holds(point.frame, object_id, rect):
                missing.setdefault(point.frame, {})[object_id] = rect
    return missing


def _decoded(video: VideoSource, wanted: list[int]) -> Iterator[Frame]:
    """Frames by rising index."""
    if len(wanted) <= _SINGLE_FRAMES:
        yield from map(video.read, wanted)
        return
    among = set(wanted)
    for frame in prefetch(video.frames(wanted[0], wanted[-1] + 1)):
        if frame.index in among:
            yield frame


def _write_one(
    video: VideoSource,
    project: Project,
    video_id: int,
    patches: PatchFile,
    plans: Mapping[int, CropPlan],
    style: CropStyle,
    folder: Path,
    object_id: int,
) -> None:
    plan, size = plans[object_id], (video.height, video.width)
    writer = CropWriter(folder / f"{object_id}.mp4", plan, video.fps, style)
    nothing = Patch(0, 0, np.zeros((0, 0, 3), np.uint8))
    # A connection belongs to the thread that opened it.
    with writer.writer, Project.open(project.path, read_only=True) as own:
        for frame, item in own.masklet(video_id, object_id):
            window = plan.window(frame)
            if window is None or not item.mask.area:
                continue
            box = item.mask.box
            assert box is not None
            patch = nothing
            if needed_rect(box, window, size, style.background) is not None:
                found = patches.get(frame, object_id)
                if found is None:
                    continue  # it can no longer be decoded
                patch = found
            writer.write_from(patch, size, item.mask, window)
