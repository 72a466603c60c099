"""One followed object: its prompts, its bank, its policy, and where it has been tracked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, Mask
from keepsight.memory import FrameRecord, ObjectMemory, Policy, Selection, Step

PointsAndLabels: TypeAlias = tuple[list[tuple[float, float]], list[int]]
"""``(x, y)`` in px of the frame, and what each says: 1 on the object, 0 not on it, 2 and 3 corners of its box."""


@dataclass
class FramePrompt:
    """All that was said about one object on one frame."""

    points: list[tuple[float, float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    box: Box | None = None
    mask: Mask | None = None

    @property
    def sized(self) -> bool:
        """Whether it says how large the object is."""
        return self.box is not None or self.mask is not None

    @property
    def only_box(self) -> bool:
        """Whether a box is all that was said."""
        return self.box is not None and self.mask is None and not self.points

    def as_points(self) -> PointsAndLabels:
        """Points and labels for the decoder; a box becomes its corners (labels 2, 3), placed first."""
        if self.box is None:
            return self.points, self.labels
        x1, y1, x2, y2 = self.box
        return [(x1, y1), (x2, y2), *self.points], [2, 3, *self.labels]


def positive_points(points: Sequence[tuple[float, float]], labels: Sequence[int]) -> list[tuple[float, float]]:
    """Where somebody said that the object is."""
    return [point for point, label in zip(points, labels, strict=True) if label == 1]


@dataclass
class _Run:
    first: int
    last: int
    stride: int
    reverse: bool


class TrackedFrames:
    """Which frames were tracked, and in which direction, in a space that does not grow with the video."""

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def add(self, frame: int, stride: int, reverse: bool) -> None:
        step = -stride if reverse else stride
        if self._runs:
            run = self._runs[-1]
            if run.reverse == reverse and run.stride == stride and run.last + step == frame:
                run.last = frame
                return
        if self.direction(frame) is None or self.direction(frame) != reverse:
            self._runs.append(_Run(frame, frame, stride, reverse))

    def direction(self, frame: int) -> bool | None:
        """Whether the frame was last tracked in reverse; ``None`` when it never was."""
        run = self._last_run(frame)
        return None if run is None else run.reverse

    def stride(self, frame: int) -> int:
        """Frames between two steps when the frame was last tracked; 1 when it never was."""
        run = self._last_run(frame)
        return 1 if run is None else run.stride

    def _last_run(self, frame: int) -> _Run | None:
        for run in reversed(self._runs):
            low, high = min(run.first, run.last), max(run.first, run.last)
            if low <= frame <= high and (frame - run.first) % run.stride == 0:
                return run
        return None

    def state(self) -> list[list[int]]:
        return [[run.first, run.last, run.stride, int(run.reverse)] for run in self._runs]

    def restore(self, state: list[list[int]]) -> None:
        self._runs = [_Run(first, last, stride, bool(reverse)) for first, last, stride, reverse in state]


@dataclass(eq=False)
class Track:
    """State of one object in a session.

    Attributes:
        colours: what the object looks like (:mod:`keepsight.tracking.appearance`), known only where lost objects are
            searched for.
        pending: prompted records whose memory is still to be written, by frame; clicking stays quick that way.
        found: frame on which a detector found the object; ``None`` for one that a person pointed at.
        sized: whether a prompt that was let go said how large it is.
    """

    object_id: int
    policy: Policy
    label: str | None = None
    bank: ObjectMemory = field(default_factory=ObjectMemory)
    prompts: dict[int, FramePrompt] = field(default_factory=dict)
    pending: dict[int, FrameRecord] = field(default_factory=dict)
    tracked: TrackedFrames = field(default_factory=TrackedFrames)
    colours: NDArray[np.float32] | None = None
    found: int | None = None
    sized: bool = False

    @property
    def told(self) -> list[int]:
        """Frames on which a person or a detector said where the object is, ascending."""
        return sorted({*self.prompts, *(() if self.found is None else (self.found,))})

    @property
    def first_prompt(self) -> int:
        """Earliest of the frames on which something was said."""
        return self.told[0]

    @property
    def last_prompt(self) -> int:
        return self.told[-1]

    @property
    def guessed(self) -> bool:
        """Whether nobody said how large the object is: it was clicked on, and that is all."""
        return not self.sized and self.found is None and not any(said.sized for said in self.prompts.values())

    def forget_prompt(self, frame: int) -> None:
        """Lets go of what was said on a frame, but for what follows from it."""
        self.sized = self.prompts.pop(frame).sized or self.sized

    @property
    def group(self) -> tuple[type[Policy], int | None]:
        """Objects whose frames are scored together, where the policy does so."""
        return type(self.policy), self.found

    def selection(self, step: Step, hypothesis: int) -> Selection:
        """What the policy has a hypothesis read on a frame."""
        return self.policy.modulate(step, self.policy.select_memory(step, self.bank, hypothesis))
