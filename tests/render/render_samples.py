"""A small project with a moving square, a still one and a third that is never seen, and the video that belongs to it."""

from __future__ import annotations

import numpy as np

from keepsight.core import FrameResult, Mask, Prompt, TrackedObject
from keepsight.store import Project
from keepsight.video import ArrayVideo

HEIGHT, WIDTH, FRAMES = 72, 96, 20


def square(x, y, side):
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[y : y + side, x : x + side] = True
    return Mask.from_array(pixels)


def result(frame):
    moving = Mask.empty(HEIGHT, WIDTH) if 8 <= frame < 12 else square(2 * frame, frame, 20)
    items = ((1, moving, 0.3 if frame < 3 else 0.9), (2, square(70, 40, 16), 0.8), (3, Mask.empty(HEIGHT, WIDTH), 0.0))
    return FrameResult(
        frame, frame / 25, HEIGHT, WIDTH, tuple(TrackedObject(i, m, s, float(m.area > 0)) for i, m, s in items)
    )


def make(path, frames=range(FRAMES), label="rabbit"):
    project = Project.create(path)
    project.add_video(path="c.mp4", name="clip", height=HEIGHT, width=WIDTH, fps=25, frame_count=FRAMES, fingerprint="")
    project.add_prompt(1, Prompt(1, 0, box=(0, 0, 20, 20), label=label))
    run = project.start_run(1, {"model": "builtin"})
    for frame in frames:
        project.write_result(1, run, result(frame))
    project.finish_run(run, "finished", facts={"seconds": {"decode": 0.5}, "warnings": ["three & <four>"]})
    return project


class CountingVideo(ArrayVideo):
    """Counts how often it is decoded from end to end."""

    passes = 0

    def frames(self, start=0, stop=None, step=1):
        self.passes += 1
        return super().frames(start, stop, step)


def video():
    rng = np.random.default_rng(0)
    return CountingVideo(rng.integers(60, 255, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8), fps=25)
