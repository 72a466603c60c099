"""A generated clip, a tiny random SAM 2, and what tests say at a desk."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import tiny_models
from keepsight.annotation import Desk, DeskSettings, Event, FrameDone, Job, Limits, Said, TrackRequest, Workshop
from keepsight.core import Direction, Mask, TrackedObject
from keepsight.video import ArrayVideo, VideoWriter

FRAMES, HEIGHT, WIDTH = 24, 72, 96
RED = Said(8, points=((30.0, 25.0),), labels=(1,), label="red")
BLUE = Said(12, box=(58.0, 48.0, 82.0, 64.0), label="blue")


def picture(index: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Two rectangles that pass each other over noise."""
    frame = np.random.default_rng(0).integers(0, 90, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    frame[15:38, 10 + index : 35 + index] = (220, 60, 40)
    frame[48:64, 70 - index : 94 - index] = (40, 200, 230)
    return frame


def clip(frames: int = FRAMES, name: str = "clip") -> ArrayVideo:
    return ArrayVideo(np.stack([picture(index) for index in range(frames)]), name=name)


def write_clip(path: Path, frames: int) -> Path:
    with VideoWriter(path, height=HEIGHT, width=WIDTH, fps=25) as writer:
        for index in range(frames):
            writer.write(picture(index))
    return path


def write_model(folder: Path) -> Path:
    tiny_models.sam2().save_pretrained(folder)
    return folder


def workshop(model: Path | str, **changes: Any) -> Workshop:
    return Workshop(DeskSettings(model=str(model)), devices=("cpu",), dtype="float32", limits=Limits(**changes))


def square(x: int, y: int, side: int = 12) -> Mask:
    pixels = np.zeros((HEIGHT, WIDTH), bool)
    pixels[y : y + side, x : x + side] = True
    return Mask.from_array(pixels)


def wait(desk: Desk, seconds: float = 120.0) -> Job:
    """The latest job, when it has come to rest."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        job = desk.jobs().result()[0]
        if job.state not in ("queued", "running"):
            return job
        time.sleep(0.005)
    raise TimeoutError(str(desk.jobs().result()[0]))


def track(desk: Desk, start: int, direction: str = "forward", **more: Any) -> Job:
    desk.track(TrackRequest(start, Direction(direction), **more)).result()
    return wait(desk)


def stored(desk: Desk, object_id: int) -> dict[int, TrackedObject]:
    """An object's masks by frame."""
    return {item.frame: item.objects[0] for item in desk.masks(0, 600, [object_id]).result()[1] if item.objects}


def counts(desk: Desk, object_id: int) -> dict[int, bytes]:
    return {frame: item.mask.counts for frame, item in stored(desk, object_id).items()}


class Diary:
    """Everything that was heard at a desk."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = threading.Condition()

    def __call__(self, event: Event) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    @property
    def frames(self) -> list[int]:
        """Frames that were tracked, in order."""
        return [event.what.frame for event in list(self.events) if isinstance(event.what, FrameDone)]

    def wait_for_frames(self, count: int, seconds: float = 60.0) -> None:
        with self._news:
            assert self._news.wait_for(lambda: len(self.frames) >= count, seconds), self.events
