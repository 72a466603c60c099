"""Generated videos of a known object, and a batch over them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import yaml

from keepsight.video import VideoWriter

COLOUR = (250, 20, 20)


RADIUS_PX = 10


def place(frame: int, width: int = 128, height: int = 72) -> tuple[int, int]:
    """Where the disc is: it drives to and fro, 3 px a frame."""
    room = width - 28
    way = 3 * frame % (2 * room)
    return 14 + min(way, 2 * room - way), height // 2


def write_mover(
    path: Path, frames: int, *, width: int = 128, height: int = 72, fps: float = 25, uneven: bool = False
) -> Path:
    """A red disc that drives past before a camera that stands still."""
    rng = np.random.default_rng(0)
    scenery = cv2.resize(
        rng.integers(30, 200, (18, width // 4, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, height=height, width=width, fps=fps) as writer:
        for index in range(frames):
            picture = scenery.copy()
            cv2.circle(picture, place(index, width, height), RADIUS_PX, COLOUR, -1)
            writer.write(picture, (index + (index % 3 == 2) * 0.5) / fps if uneven else None)
    return path


def settings(videos: Path, out: Path) -> list[str]:
    """The command that runs a batch over ``videos``, in clips of 12 frames."""
    config = out.with_suffix(".yaml")
    values = {
        "input_folder": str(videos),
        "output_folder": str(out),
        "frames_per_clip": 12,
        "detector": "motion",
        "prompt_class": "cow",
        "rules": {"hotstart_frames": 0},
        "crop_size": 64,
        "boxes": "both",
        "crop_path": "per-frame",
        "attempts": 4,
    }
    config.write_text(yaml.safe_dump(values))
    return ["pipeline", "run", str(config)]


def results(out: Path) -> dict[str, str]:
    """SHA-256 of all that people use, by path."""
    paths = [
        path
        for kind in ("clips/**/*.mp4", "crops/**/*.*", "work/**/*.png", "work/**/*.json")
        for path in out.glob(kind)
    ]
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
