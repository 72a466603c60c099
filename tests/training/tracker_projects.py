"""Small projects to learn from: a red square that wanders over noise, with its masks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from keepsight.core import FrameResult, Mask, Source, TrackedObject
from keepsight.pipeline.folder import add_video
from keepsight.store import Project
from keepsight.video import open_video

SIDE = 64


def wandering(frames: int, seed: int, squares: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Frames ``(T, S, S, 3)`` and masks ``(T, N, S, S)``."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 120, (SIDE, SIDE, 3), np.uint8)
    pictures = np.repeat(ground[None], frames, 0)
    masks = np.zeros((frames, squares, SIDE, SIDE), np.bool_)
    for n in range(squares):
        x, y, dx, dy = *rng.uniform(4, 24, 2), *rng.uniform(0.8, 1.6, 2)
        colour = [(230, 30, 30), (30, 60, 230)][n]
        for t in range(frames):
            left, top = round(x + dx * t) % 40, round(y + n * 12 + dy * t) % 40
            masks[t, :, top : top + 20, left : left + 18] = False
            masks[t, n, top : top + 20, left : left + 18] = True
            pictures[t, top : top + 20, left : left + 18] = colour
    return pictures, masks


def write_frames(folder: Path, pictures: NDArray[np.uint8]) -> Path:
    folder.mkdir(parents=True)
    for t, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{t:05d}.png")
    return folder


def make_project(
    folder: Path, frames: int = 12, seed: int = 0, squares: int = 1, source: Source = Source.EDITED
) -> Path:
    """A project file with every mask, drawn by a person unless ``source`` says otherwise."""
    pictures, masks = wandering(frames, seed, squares)
    video = open_video(write_frames(folder / f"video{seed}", pictures))
    file = folder / f"clip{seed}.keepsight"
    with Project.create(file) as project:
        video_id = add_video(project, video)
        for n in range(squares):
            project.add_object(video_id, n + 1, "square")
        run = project.start_run(video_id, {"tracked": True})
        for t in range(frames):
            items = tuple(TrackedObject(n + 1, Mask.from_array(masks[t, n]), 1.0, 1.0, source) for n in range(squares))
            if source is Source.EDITED:
                for item in items:
                    project.set_mask(video_id, item.object_id, t, item.mask)
            else:
                project.write_result(video_id, run, FrameResult(t, t / 25, SIDE, SIDE, items))
        project.finish_run(run, "finished")
    return file
