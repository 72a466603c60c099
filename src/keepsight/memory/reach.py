"""What a policy that reads far into the past may free, shared by those whose reads are not a fixed number of frames back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from keepsight.memory.policy import MemoryLimits, Step
from keepsight.memory.records import ObjectMemory, Role


def behind(step: Step, frame: int) -> int:
    """How far ``frame`` lies behind the step in the direction of travel, in frames (not steps); negative when ahead."""
    return frame - step.frame if step.reverse else step.frame - frame


class Place(NamedTuple):
    """Where a run was last: frame and direction, JSON values both."""

    frame: int
    reverse: bool

    @classmethod
    def of(cls, step: Step) -> Place:
        return cls(step.frame, step.reverse)

    def leads_to(self, step: Step) -> bool:
        """Whether the step goes on from here: the same direction, the next frame or one within the stride."""
        return self.reverse == step.reverse and 1 <= behind(step, self.frame) <= step.stride


def nearest_behind(step: Step, frames: Iterable[int]) -> list[int]:
    """Those of ``frames`` that lie behind the step, nearest first."""
    return sorted((frame for frame in frames if behind(step, frame) > 0), key=lambda frame: behind(step, frame))


def viewpoints(step: Step, prompts: Iterable[int]) -> list[Step]:
    """From where the past may be looked at later on: the present going on, or a prompted frame, going either way.

    A stream cannot turn round. The steps stand one frame past their place, so that the place itself lies behind them.
    """
    ahead = -1 if step.reverse else 1
    seen = [Step(step.frame + ahead, step.reverse, step.frame_count, step.stride)]
    if not step.endless:
        seen += [Step(frame + 1, False, step.frame_count, step.stride) for frame in prompts]
        seen += [Step(frame - 1, True, step.frame_count, step.stride) for frame in prompts]
    return seen


def prompted(bank: ObjectMemory) -> list[int]:
    """Frames that a person spoke about, in the order of the bank."""
    return [frame for frame, record in bank.conditioning.items() if record.role is Role.PROMPT]


def forget_prompts(step: Step, bank: ObjectMemory, limit: int, *, keep_first: bool = False) -> None:
    """Lets old prompted frames of a stream go, all but the newest ``limit`` (and the first); -1 keeps all.

    A stream only goes forward, so a prompted frame beyond the limit is never the nearest again.
    """
    if step.endless and limit > 0:
        old = sorted(prompted(bank))[:-limit]
        for frame in old[1:] if keep_first else old:
            del bank.conditioning[frame]


def forget(step: Step, bank: ObjectMemory, limits: MemoryLimits, readable: set[int]) -> None:
    """Frees all spatial memories of tracked frames but those of ``readable``.

    Pointers stay within their reach of the present and, in a video that can be rewound, of the prompted frames. So do the
    logits near them, because a person may want to correct what was shown there.
    """
    spatial_reach = limits.slots * step.stride
    pointer_reach = max(limits.pointers * step.stride, spatial_reach)
    centres = [step.frame] if step.endless else [step.frame, *prompted(bank)]
    for frame in list(bank.tracked):
        nearest = min(abs(frame - centre) for centre in centres)
        if frame not in readable and nearest > pointer_reach:
            del bank.tracked[frame]
            continue
        for record in bank.tracked[frame]:
            if frame not in readable:
                record.memory = None
            if nearest > spatial_reach:
                record.logits = None
