"""A generated clip, a random-weight model in a folder, and jobs on them: real runs in a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import tiny_models
from keepsight.core import FrameResult, Prompt
from keepsight.pipeline.job import Outputs, SegmentJob
from keepsight.store import Project
from keepsight.video import VideoWriter

FRAMES = 36
NOTHING = Outputs(overlay=False, crops=False, masks=False, annotations=False, report=False)
DATA = Outputs(overlay=False, crops=False, masks=True, annotations=True, report=False)
PROMPTS = (
    Prompt(1, 4, points=((30.0, 25.0),), labels=(1,), label="red"),
    Prompt(2, 9, box=(60.0, 48.0, 84.0, 64.0), label="blue"),
)


def write_clip(path: Path, frames: int = FRAMES) -> Path:
    """Two rectangles that pass each other over noise, 96x72 px."""
    noise = np.random.default_rng(0).integers(0, 90, (72, 96, 3), dtype=np.uint8)
    with VideoWriter(path, height=72, width=96, fps=25) as writer:
        for index in range(frames):
            frame = noise.copy()
            frame[15:38, 10 + index : 35 + index] = (220, 60, 40)
            frame[48:64, 70 - index : 94 - index] = (40, 200, 230)
            writer.write(frame)
    return path


def write_model(folder: Path) -> Path:
    """A tiny SAM 2.1 with random weights, as `--model FOLDER` takes it."""
    tiny_models.sam2().save_pretrained(folder)
    return folder


def small_job(folder: Path, out: Path, **changes: Any) -> SegmentJob:
    """Both objects, both ways, through the clip in ``folder``."""
    values: dict[str, Any] = {
        "video": folder / "clip.mp4",
        "model": str(folder / "model"),
        "prompts": PROMPTS,
        "direction": "both",
        "out": out,
        "outputs": NOTHING,
    }
    return SegmentJob(**values | changes)


def stored(out: Path) -> list[FrameResult]:
    """Everything that the project in ``out`` holds."""
    with Project.open(out / "project.keepsight", read_only=True) as project:
        return list(project.results(project.videos()[0].id))
