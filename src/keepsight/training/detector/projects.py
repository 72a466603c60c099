"""Reads what people tracked and corrected: objects with labels, on frames of videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keepsight.core import InputError, Mask
from keepsight.training.detector.album import Album, Instance, Picture
from keepsight.training.tracker.footage import Footage, collect


@dataclass(frozen=True, eq=False)
class VideoFrame:
    """A frame of a video that stays open."""

    footage: Footage
    index: int

    @property
    def identity(self) -> str:
        return f"{self.footage.key}/{self.index}"

    def read(self) -> NDArray[np.uint8]:
        return self.footage.rgb(self.index)


def read_footage(sources: Sequence[Path], scratch: Path, *, frame_step: int, tracked: bool) -> Album:
    """Frames of projects, exports and data sets on which somebody stands for the masks; labels become phrases.

    A phrase is on a frame where one of its objects is known to be there, and is known not to be where all of them are known to
    be away. What merely was tracked there teaches nothing, and nothing that is found there counts.

    Args:
        sources, scratch, tracked: see :func:`keepsight.training.tracker.footage.collect`.
        frame_step: of the frames with truth every n-th is a picture; neighbours are almost the same.

    Raises:
        InputError: nothing that can be read, or no object with a label.
    """
    album = Album()
    found = collect(sources, scratch, tracked=tracked)
    try:
        for footage in found:
            if not any(_label(item.label) for item in footage.objects):
                album.without(f"videos without a labelled object ({footage.name})")
                continue
            album.pictures += _pictures(footage, frame_step)
    finally:
        for footage in found:  # masks were read; pictures come from the video
            footage.project.close()
    if not album.phrases:
        raise InputError(
            f"{', '.join(map(str, sources))}: no object has a label; name the objects, the names are what is asked for."
        )
    return album


def _label(text: str | None) -> str:
    return " ".join((text or "").split())


def _pictures(footage: Footage, frame_step: int) -> Iterator[Picture]:
    labels = {item.object_id: _label(item.label) for item in footage.objects}
    phrases = [*dict.fromkeys(label for label in labels.values() if label)]
    for frame in footage.frames[::frame_step].tolist():
        known = [item for item in footage.objects if item.known(frame)]
        objects = []
        for item in known:
            mask = footage.masks(item.object_id, [frame])[frame]
            if mask.box is not None and labels[item.object_id]:
                objects.append(Instance(labels[item.object_id], mask.box, mask))
        unsure = {labels[item.object_id] for item in footage.objects if item not in known}
        objects += _unsure(footage, frame, [item.object_id for item in footage.objects if item not in known], labels)
        here = {item.phrase for item in objects} | unsure
        yield Picture(
            f"{footage.name}/{frame:06d}",
            VideoFrame(footage, frame),
            footage.height,
            footage.width,
            tuple(objects),
            tuple(phrase for phrase in phrases if phrase not in here),
            footage.key,
        )


def _unsure(footage: Footage, frame: int, object_ids: Sequence[int], labels: dict[int, str]) -> list[Instance]:
    """Where something was tracked that nobody looked at: a region that does not count."""
    found: dict[int, Mask] = {one: footage.masks(one, [frame])[frame] for one in object_ids if labels[one]}
    return [Instance(labels[one], mask.box, mask, crowd=True) for one, mask in found.items() if mask.box is not None]
