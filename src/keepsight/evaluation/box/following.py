"""A sequence's objects followed from what is given on their first frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Literal

import numpy as np

from keepsight.core import Cancelled, InputError, Mask, Prompt
from keepsight.evaluation.box.overlaps import Floats
from keepsight.evaluation.box.regions import Nothing, Polygon, Region, mask_of
from keepsight.evaluation.box.sequences import BoxSequence, Prediction, Target
from keepsight.video import open_video

if TYPE_CHECKING:
    from keepsight.core import TrackedObject
    from keepsight.tracking import Tracker

Given = Literal["box", "region"]
"""What the tracker is told on an object's first frame: the box, or the region as the data set has it (a mask, a polygon)."""


def follow(
    tracker: Tracker,
    sequence: BoxSequence,
    given: Given,
    *,
    tell: Callable[[int], None] = lambda frames: None,
    stopped: Callable[[], bool] = lambda: False,
) -> list[Prediction]:
    """Follows all objects of a sequence together.

    A frame's box is the tight box of its mask; an empty mask, and a frame that could not be decoded, is no box. Times take in
    decoding.

    Args:
        tell: told the number of frames done.
        stopped: asked after every frame.

    Returns:
        One prediction a target.

    Raises:
        Cancelled: ``stopped`` said so.
        InputError: frames that cannot be read or are not as many as the truth has lines, an object without a box.
    """
    with open_video(sequence.frames) as video:
        if video.frame_count != sequence.frame_count:
            raise InputError(
                f"{sequence.name}: {sequence.frames} has {video.frame_count} frames, but the truth has {sequence.frame_count}."
            )
        size = (video.height, video.width)
        if sequence.size not in (None, size):
            raise InputError(f"{sequence.name}: frames are {size[1]}x{size[0]} px, but the data set says otherwise.")
        notes = [_Notes(target, sequence.frame_count, size) for target in sequence.targets]
        session = tracker.open(video)
        try:
            for place, item in enumerate(notes):
                session.add_prompt(item.prompt(place, given))
        except InputError as error:
            raise InputError(f"{sequence.name}: {error}") from error
        began = time.perf_counter()
        with closing(session.propagate()) as results:  # type: ignore[type-var]
            for done, result in enumerate(results, start=1):
                now = time.perf_counter()
                for shown in result.objects:
                    notes[shown.object_id].take(result.frame, shown, now - began)
                tell(done)
                if stopped():
                    raise Cancelled(f"Stopped in {sequence.name}.")
                began = time.perf_counter()
        for result in session.finalize():
            for shown in result.objects:
                notes[shown.object_id].take(result.frame, shown, 0.0)
    return [item.prediction() for item in notes]


class _Notes:
    """What comes in about one object."""

    def __init__(self, target: Target, frames: int, size: tuple[int, int]) -> None:
        self._target, self._size = target, size
        self._boxes: Floats = np.full((frames, 4), np.nan)
        self._seconds: Floats = np.full(frames, np.nan)
        # Boxes are all that a data set of boxes takes.
        with_masks = any(isinstance(region, Mask) for region in target.regions or ())
        self._masks: list[Region] | None = [Nothing.UNKNOWN] * frames if with_masks else None

    def prompt(self, object_id: int, given: Given) -> Prompt:
        """What is said on the first frame."""
        first = self._target.first
        region = self._target.regions[first] if self._target.regions is not None else None
        if given == "region" and isinstance(region, (Mask, Polygon)):
            return Prompt(object_id, first, mask=mask_of(region, self._size))
        x, y, width, height = self._target.boxes[first].tolist()
        return Prompt(object_id, first, box=(x, y, x + width, y + height))

    def take(self, frame: int, shown: TrackedObject, seconds: float) -> None:
        """A frame's mask; a later one for the same frame (a policy that looks back) replaces it."""
        box = shown.mask.box
        self._boxes[frame] = np.nan if box is None else (box[0], box[1], box[2] - box[0], box[3] - box[1])
        if np.isnan(self._seconds[frame]):
            self._seconds[frame] = seconds
        if self._masks is not None:
            self._masks[frame] = Nothing.UNKNOWN if box is None else shown.mask

    def prediction(self) -> Prediction:
        """All of it; the first frame as it was given."""
        first = self._target.first
        self._boxes[first] = self._target.boxes[first]
        if self._masks is None:
            return Prediction(self._boxes, None, self._seconds)
        self._masks[first] = Nothing.ABSENT  # VOT's word for "given here"
        return Prediction(self._boxes, tuple(self._masks), self._seconds)
