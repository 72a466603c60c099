"""The sample clip with outlines drawn by hand on a few of its frames: a check on moving pictures, never training data."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from clips import Target
from keepsight import Mask, open_video
from keepsight.core import Frame
from keepsight.video.source import VideoSource

_VIDEO = Path(__file__).parents[1] / "samples" / "bigbuckbunny.mp4"
_TRUTH = Path(__file__).with_name("truth") / "bigbuckbunny.json"


class SampleClip(VideoSource):
    """The clip as a source, with the same questions as `clips.HdClip`.

    Attributes:
        annotated: frames that have outlines, ascending; prompts are given on the first.
        targets: rabbit and rock; `event` holds the name.
    """

    def __init__(self) -> None:
        self._video = open_video(_VIDEO)
        self._truth = json.loads(_TRUTH.read_text(encoding="utf-8"))
        self.name, self.path, self.warnings = "sample", self._video.path, self._video.warnings
        self.width, self.height = self._video.width, self._video.height
        self.annotated = sorted(int(frame) for frame in self._truth["frames"])
        self.first = self.annotated[0]
        self.targets = []
        for number, name in self._truth["objects"].items():
            x1, y1, x2, y2 = self.truth(self.first, int(number)).box or (0, 0, 0, 0)
            self.targets.append(Target(int(number), max(x2 - x1, y2 - y1), name, 0))

    def has_truth(self, index: int) -> bool:
        return index in self.annotated

    @cache  # noqa: B019 - lives as long as the benchmark
    def truth(self, index: int, number: int) -> Mask:
        """Pixels whose centre lies inside the outline of object `number` on an annotated frame."""
        return Mask.from_array(fill(self._truth["frames"][str(index)][str(number)], self.height, self.width))

    @property
    def fps(self) -> float:
        return self._video.fps

    @property
    def frame_count(self) -> int | None:
        return self._video.frame_count

    @property
    def times_s(self) -> NDArray[np.float64]:
        return self._video.times_s

    def frames(self, start: int = 0, stop: int | None = None, step: int = 1) -> Iterator[Frame]:
        return self._video.frames(start, stop, step)

    def read(self, index: int) -> Frame:
        return self._video.read(index)

    def fingerprint(self) -> str:
        return self._video.fingerprint()


def fill(outline: list[list[float]], height: int, width: int) -> NDArray[np.uint8]:
    """(height, width) mask of an outline `[[x, y], ...]` in px."""
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(np.array(outline, np.float64)).astype(np.int32)], 1)
    return mask
