"""Jobs that find their objects: a clip for `motion`, and a detector that gives what a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from small_jobs import FRAMES, small_job

from keepsight.core import Concept
from keepsight.pipeline.job import SegmentJob
from keepsight.video import VideoWriter

MOVERS = (Concept(1, "mover"),)
AT_ONCE = {"hotstart_frames": 0}
Boxes = Callable[[int], Sequence[tuple[float, float, float, float]]]


def truth(frame: int) -> list[tuple[float, float, float, float]]:
    return [(10 + frame, 15, 35 + frame, 38), (70 - frame, 48, 94 - frame, 64)]


def write_still(path: Path) -> Path:
    """Two discs that drive past in opposite ways before a camera that stands still, 160x120 px."""
    rng = np.random.default_rng(0)
    scenery = cv2.resize(
        rng.integers(30, 200, (30, 40, 3), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_NEAREST
    )
    with VideoWriter(path, height=120, width=160, fps=25) as writer:
        for index in range(FRAMES):
            frame = scenery.copy()
            cv2.circle(frame, (10 + 4 * index, 30), 8, (250, 20, 20), -1)
            cv2.circle(frame, (150 - 4 * index, 90), 9, (20, 250, 250), -1)
            writer.write(frame)
    return path


def finding_job(studio: Path, out: Path, **changes: Any) -> SegmentJob:
    values: dict[str, Any] = {"prompts": (), "concepts": MOVERS, "detector": "motion", "direction": None}
    return small_job(studio, out, **values | changes)


class Scripted:
    """Gives boxes by the frame, known by the place of the red rectangle."""

    name, understands_words, frames_per_call = "motion", False, 1

    def __init__(self, boxes: Boxes, score: float = 0.9) -> None:
        self.boxes, self.score, self.frame = boxes, score, 0

    def detect(self, sights: Sequence[Any], concepts: Sequence[Concept]) -> list[Any]:
        from keepsight.concepts import Detections

        boxes = self.boxes(self.frame)
        self.frame += 1
        masks = torch.full((len(boxes), 72, 96), -8.0)
        for mask, box in zip(masks, boxes, strict=True):
            x1, y1, x2, y2 = (int(value) if value == value else 0 for value in box)
            mask[y1:y2, x1:x2] = 8.0
        return [Detections.of([1] * len(boxes), [self.score] * len(boxes), boxes, masks)]
