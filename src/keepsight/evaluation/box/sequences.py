"""What is followed and what was found: values that layouts read, the tracker fills and measures take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from keepsight.core import InputError
from keepsight.evaluation.box.overlaps import Bools, Floats, there
from keepsight.evaluation.box.regions import Region


@dataclass(frozen=True)
class Target:
    """One object of a sequence and its truth.

    Attributes:
        name: its id in the data set; empty where a sequence has one object only.
        boxes: ``(T, 4)``, ``(x, y, w, h)`` in px; NaN where there is none.
        visible: whether the object is there, ``(T,)``.
        known: whether anybody knows, ``(T,)``; other frames are not scored.
        regions: the truth as VOT gives it, one a frame; ``None`` in data sets of boxes.
    """

    name: str
    boxes: Floats
    visible: Bools
    known: Bools
    regions: tuple[Region, ...] | None = None

    @property
    def first(self) -> int:
        """The frame on which the object is given.

        Raises:
            InputError: it is never there.
        """
        places = np.flatnonzero(self.visible & self.known & there(self.boxes))
        if not len(places):
            raise InputError(f"object {self.name or '(the only one)'} has no box on any frame.")
        return int(places[0])


@dataclass(frozen=True)
class BoxSequence:
    """One video with its objects.

    Attributes:
        name: unique in the data set.
        frames: folder of images, or a video file.
        frame_count: T, as many as the truth has lines (of a withheld truth: as there are pictures).
        targets: objects, in the order in which they are followed.
        size: height and width of the frames in px where the layout says it.
        attributes: groups that the whole sequence belongs to.
        moments: attributes by frame, ``(T,)`` each.
        withheld: the truth is kept back beyond the first frame: predictions can be made but not scored.
    """

    name: str
    frames: Path
    frame_count: int
    targets: tuple[Target, ...]
    size: tuple[int, int] | None = None
    attributes: tuple[str, ...] = ()
    moments: Mapping[str, Bools] = field(default_factory=dict)
    withheld: bool = False

    def all_attributes(self) -> tuple[str, ...]:
        """Those of the sequence, and those that any of its frames has."""
        return (*self.attributes, *(name for name, frames in self.moments.items() if frames.any()))


@dataclass(frozen=True)
class Prediction:
    """What was found of one object.

    Attributes:
        boxes: ``(T, 4)``, ``(x, y, w, h)`` in px; NaN where nothing was found.
        regions: masks, where the data set takes them.
        seconds: time a frame took, ``(T,)``; NaN where nobody knows.
    """

    boxes: Floats
    regions: tuple[Region, ...] | None = None
    seconds: Floats = field(default_factory=lambda: np.empty(0))
