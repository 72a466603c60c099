"""Draws clips of true masks: some frames of a video, some objects, forward or backward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from keepsight.training.tracker.footage import Footage, KnownObject
from keepsight.training.tracker.split import Part


@dataclass(frozen=True, eq=False)
class Drawn:
    """A clip in the order in which it is followed.

    Attributes:
        frames: frame indices, descending in a clip that runs backward.
        objects: all of them are there on the first frame.
        known: ``(T, N)`` bool, where the truth is known; elsewhere nothing is learned.
    """

    footage: Footage
    frames: tuple[int, ...]
    objects: tuple[KnownObject, ...]
    known: NDArray[np.bool_]


class Sampler:
    """Draws clips from parts of videos; every object-frame of truth is as likely to be in one.

    Args:
        stride: at most so many known frames are passed over from one frame of a clip to the next, less one. Up: faster
            motion.
        reverse: share of clips that run backward.
    """

    def __init__(self, parts: Sequence[Part], *, stride: int = 3, reverse: float = 0.5) -> None:
        self.parts, self.stride, self.reverse = list(parts), stride, reverse
        weights = np.array([part.object_frames() for part in self.parts], np.float64)
        self._weights = weights / weights.sum()

    def draw(self, rng: np.random.Generator, frames: int, objects: int) -> Drawn:
        """A clip of at most ``frames`` frames (at least two) and at most ``objects`` objects (at least one)."""
        part = self.parts[int(rng.choice(len(self.parts), p=self._weights))]
        items = part.objects()
        sizes = np.array([len(part.known_frames(item)) for item in items], np.float64)
        anchor = items[int(rng.choice(len(items), p=sizes / sizes.sum()))]
        times = self._times(rng, part, anchor, frames)
        others = [item for item in items if item is not anchor and _there(item, times[0]) and _mostly(item, times)]
        rng.shuffle(others)
        chosen = (anchor, *others[: objects - 1])
        known = np.array([[item.known(frame) for item in chosen] for frame in times])
        return Drawn(part.footage, tuple(times), chosen, known)

    def _times(self, rng: np.random.Generator, part: Part, item: KnownObject, count: int) -> list[int]:
        known = part.known_frames(item)
        backward = bool(rng.random() < self.reverse)
        if backward:
            known.reverse()
        there = [place for place, frame in enumerate(known[:-1]) if _there(item, frame)]
        if not there:  # seen on the last frame only, which is the first one backward
            known.reverse()
            there = [place for place, frame in enumerate(known[:-1]) if _there(item, frame)]
        count = min(count, len(known))
        # The larger the step, the fewer starts it leaves; a clip that would run off the end takes a smaller one.
        step = int(rng.integers(1, self.stride + 1))
        roomy = [place for place in there if place + (count - 1) * step < len(known)]
        while not roomy and step > 1:
            step -= 1
            roomy = [place for place in there if place + (count - 1) * step < len(known)]
        start = int(rng.choice(roomy or there))
        return known[start : start + (count - 1) * step + 1 : step]


def _there(item: KnownObject, frame: int) -> bool:
    at = int(np.searchsorted(item.frames, frame))
    return at < len(item.frames) and int(item.frames[at]) == frame and bool(item.present[at])


def _mostly(item: KnownObject, frames: Sequence[int]) -> bool:
    return 2 * sum(item.known(frame) for frame in frames) >= len(frames)
