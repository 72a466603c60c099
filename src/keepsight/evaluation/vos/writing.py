"""Predictions in the layout in which they are handed in: a picture of ids a frame, or a picture an object and frame."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from keepsight.core import FrameResult, Mask, TrackedObject
from keepsight.evaluation.vos.clips import Clip
from keepsight.formats.davis import flatten
from keepsight.formats.labels import write_labels
from keepsight.store.files import replacing_folder
from keepsight.video import VideoSource

_OURS = r"([0-9]+/)?[^/]+\.png"
_KEPT = ".results.jsonl"


@contextmanager
def writing(folder: Path, clip: Clip, video: VideoSource, *, per_object: bool) -> Iterator[ClipWriter]:
    """A writer for a clip's folder, which takes its place when everything is written, replacing an earlier one.

    Raises:
        StoreError: it cannot be written, or holds what is not ours.
    """
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        shutil.rmtree(left, ignore_errors=True)  # of a run that was killed: a clip is followed by one process at a time
    with replacing_folder(folder, _OURS) as temporary:
        writer = ClipWriter(temporary, clip, video, per_object=per_object)
        with writer:
            yield writer
            writer.complete()


class ClipWriter:
    """Writes frames as they come; results that are revised later are merged with what stays of theirs.

    What was written lies beside the pictures as run lengths until the end, not in memory.

    Args:
        folder: empty, and there.
    """

    def __init__(self, folder: Path, clip: Clip, video: VideoSource, *, per_object: bool) -> None:
        self._folder, self._clip, self._video, self._per_object = folder, clip, video, per_object
        self._places: dict[int, int] = {}
        self._written: set[int] = set()
        self._kept: IO[str] | None = None

    def __enter__(self) -> ClipWriter:
        self._kept = (self._folder / _KEPT).open("w+", encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        if self._kept is not None:
            self._kept.close()
        (self._folder / _KEPT).unlink(missing_ok=True)

    def write(self, result: FrameResult) -> None:
        """Writes a frame, or its objects that were revised."""
        if result.frame in self._places:
            result = self._merged(result)
        self._keep(result)
        if not self._is_wanted(result.frame):
            return
        name = f"{self._stem(result.frame)}.png"
        self._written.add(result.frame)
        if not self._per_object:
            write_labels(self._folder / name, flatten(result)[0])
            return
        for item in result.objects:
            target = self._folder / f"{item.object_id:03d}"
            target.mkdir(exist_ok=True)
            write_labels(target / name, item.mask.to_array().astype(np.uint8))

    def complete(self) -> None:
        """Writes the frames before the first object, which nobody followed: nothing is on them."""
        if self._per_object:
            return
        nothing = np.zeros((self._video.height, self._video.width), np.uint8)
        for frame in range(self._video.frame_count or 0):
            if frame not in self._written and self._is_wanted(frame):
                write_labels(self._folder / f"{self._stem(frame)}.png", nothing)

    def _is_wanted(self, frame: int) -> bool:
        number = self._clip.numbers[frame] if self._clip.numbers else frame
        return not self._clip.wanted or number in self._clip.wanted

    def _stem(self, frame: int) -> str:
        return self._clip.stems[frame] if self._clip.stems else f"{frame:05d}"

    def _keep(self, result: FrameResult) -> None:
        assert self._kept is not None
        self._kept.seek(0, 2)
        self._places[result.frame] = self._kept.tell()
        objects = [[item.object_id, item.mask.counts.decode("ascii")] for item in result.objects]
        self._kept.write(json.dumps(objects) + "\n")

    def _merged(self, revised: FrameResult) -> FrameResult:
        assert self._kept is not None
        self._kept.seek(self._places[revised.frame])
        fresh = {item.object_id: item for item in revised.objects}
        height, width = revised.height, revised.width
        objects = [
            fresh.pop(object_id)
            if object_id in fresh
            else TrackedObject(object_id, Mask(height, width, counts.encode("ascii")), 0.0, 0.0)
            for object_id, counts in json.loads(self._kept.readline())
        ]
        return replace(revised, objects=(*objects, *fresh.values()))
