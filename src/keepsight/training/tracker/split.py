"""What is learned from, and what is kept back to tell whether it helped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from keepsight.core import InputError
from keepsight.training.tracker.footage import Footage, KnownObject

LEAST_FRAMES = 2
"""Frames on which an object must be known to be followed at all."""


@dataclass(frozen=True, eq=False)
class Part:
    """Frames ``start <= frame < stop`` of a video.

    Attributes:
        number: which of the parts of this name it is: two projects may have the same film, and both an object 1.
    """

    footage: Footage
    start: int
    stop: int
    number: int = 0

    def objects(self) -> list[KnownObject]:
        """Objects that can be followed here: pointed at on one frame and known on a later one."""
        return [item for item in self.footage.objects if len(self._from_first(item)) >= LEAST_FRAMES]

    def _from_first(self, item: KnownObject) -> list[int]:
        visible = item.visible(self.start, self.stop)
        if len(visible) == 0:
            return []
        return [int(frame) for frame in item.frames if visible[0] <= frame < self.stop]

    def known_frames(self, item: KnownObject) -> list[int]:
        """Frames of an object in this part on which its truth is known, ascending."""
        return [int(frame) for frame in item.frames if self.start <= frame < self.stop]

    def object_frames(self) -> int:
        """Known masks of objects that can be followed, counted."""
        return sum(len(self.known_frames(item)) for item in self.objects())

    @property
    def name(self) -> str:
        return self.footage.name

    def __str__(self) -> str:
        return f"{self.name} frames {self.start} to {self.stop - 1}"


@dataclass(frozen=True, eq=False)
class Split:
    """Parts to learn from and parts kept back; ``rule`` says in a line how they were chosen."""

    training: tuple[Part, ...]
    held_out: tuple[Part, ...]
    rule: str


def split(footage: Sequence[Footage], share: float, seed: int) -> Split:
    """Keeps a share back: whole videos where there are several, else one end of the only one.

    Args:
        share: of the videos, or of the frames with truth; in (0, 1).
        seed: which ones.

    Raises:
        InputError: too little to learn from and to keep back.
    """
    rng = np.random.default_rng([seed, 7])
    groups: dict[str, list[Footage]] = {}
    for item in footage:
        groups.setdefault(item.key, []).append(item)
    usable = [key for key, items in groups.items() if any(_whole(item).objects() for item in items)]
    if not usable:
        raise InputError(
            "No object is known on two frames or more, so nothing can be learned about following it; correct or accept more "
            "frames."
        )
    if len(usable) == 1:
        return _by_time(groups[usable[0]], share, rng)
    order = [usable[i] for i in rng.permutation(len(usable))]
    back = order[: max(1, min(round(share * len(order)), len(order) - 1))]
    training = tuple(_whole(item) for key in usable if key not in back for item in groups[key])
    held_out = tuple(_whole(item) for key in usable if key in back for item in groups[key])
    names = ", ".join(sorted({part.name for part in held_out}))
    rule = f"{len(back)} of {len(usable)} videos, drawn by seed: {names}"
    return _checked(training, held_out, rule)


def _whole(item: Footage) -> Part:
    frames = item.frames
    return Part(item, int(frames[0]), int(frames[-1]) + 1)


def _by_time(items: Sequence[Footage], share: float, rng: np.random.Generator) -> Split:
    """One end of the only video, drawn by seed; the other one where nothing can be followed there."""
    frames = np.unique(np.concatenate([item.frames for item in items]))
    count = min(max(LEAST_FRAMES, round(share * len(frames))), len(frames) - LEAST_FRAMES)
    if count < LEAST_FRAMES:
        raise InputError(
            f"There is one video with {len(frames)} frames of truth, too few to learn from and to keep some back; correct or "
            "accept more frames."
        )
    ends = [("last", int(frames[-count]), int(frames[-1]) + 1), ("first", int(frames[0]), int(frames[count - 1]) + 1)]
    if rng.random() < 0.5:
        ends.reverse()
    for name, start, stop in ends:
        rest = (int(frames[0]), start) if name == "last" else (stop, int(frames[-1]) + 1)
        held_out = tuple(part for item in items if (part := Part(item, start, stop)).objects())
        training = tuple(part for item in items if (part := Part(item, *rest)).objects())
        if held_out and training:
            rule = (
                f"the {name} {count} of {len(frames)} frames with truth, as there is one video (the end drawn by seed)"
            )
            return _checked(training, held_out, rule)
    raise InputError(
        "No object is known both in the part to learn from and in the part to keep back; correct or accept more frames, or "
        "give a second video."
    )


def _checked(training: tuple[Part, ...], held_out: tuple[Part, ...], rule: str) -> Split:
    training = tuple(part for part in training if part.objects())
    held_out = tuple(part for part in held_out if part.objects())
    if not training or not held_out:
        raise InputError("Too few videos have objects that are known on two frames; correct or accept more frames.")
    seen: Counter[str] = Counter()
    numbered = []
    for part in held_out:
        numbered.append(replace(part, number=seen[part.name]))
        seen[part.name] += 1
    return Split(training, tuple(numbered), rule)
