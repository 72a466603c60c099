"""SAM 3's built-in memory selection: one score a frame for all objects that are followed together.

Sources: Carion et al., SAM 3: Segment Anything with Concepts, 2025; how the released tracker scores and filters frames, as
described in other words in the notes that this was written from. No code was copied.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from keepsight.core import option
from keepsight.memory.policy import PointerRead, Selection, SpatialRead, Step
from keepsight.memory.reach import behind, nearest_behind
from keepsight.memory.records import FrameRecord, ObjectMemory
from keepsight.memory.sam2 import SAM2Policy, prompted_frames_option
from keepsight.memory.settings import PolicySettings, Summary

FRAME_SCORE = "frame_score"
"""Mark in which the engine keeps what :meth:`~keepsight.memory.Policy.reduce_group` says."""


def presence(object_score: float) -> float:
    """``max(0, 2 sigmoid(object_score) - 1)``: 0 for an absent object, up to 1."""
    return max(0.0, math.tanh(object_score / 2))


def group_score(presences: NDArray[np.float64], qualities: NDArray[np.float64], *, paired: bool = False) -> float:
    """SAM 3's score of a frame over the objects on it.

    What is meant is the mean of the products. What the released tracker computes on followed frames is the product of the
    means, because a column of presences is multiplied with a row of qualities; that is what its threshold was chosen with.

    Args:
        presences: ``(B,)`` in [0, 1].
        qualities: ``(B,)`` IoU estimates in [0, 1].
        paired: the mean of the products instead (what the same code gives where qualities are kept as a column).

    Returns:
        The score in [0, 1]; 0 when there is no object. With one object both forms agree.
    """
    if presences.size == 0:
        return 0.0
    return float((presences * qualities).mean() if paired else presences.mean() * qualities.mean())


class SAM3Policy(SAM2Policy):
    """Group selection (SAM 3's tracker, driven with prompted objects): all objects of a session are one group.

    Every tracked frame is written. It is *read* when its score is above a threshold: the nearest such frames fill the recent
    slots by rank, and their pointers stand at their rank. The frame before is read in any case.
    """

    name = "sam3"
    settings: SAM3

    # -- the score ---------------------------------------------------------------------------------------------------
    @classmethod
    def reduce_group(cls, presences: NDArray[np.float64], qualities: NDArray[np.float64]) -> NDArray[np.float64]:
        """The group's score, the same for all of its objects."""
        return np.full(len(presences), group_score(presences, qualities))

    @classmethod
    def regroup(cls, banks: Sequence[ObjectMemory]) -> None:
        """Scores anew every frame that is still remembered, over the objects that remain.

        So decisions about past frames change when a member goes, as they do in the released tracker.
        """
        frames: dict[int, list[list[FrameRecord]]] = {}
        for bank in banks:
            for frame, records in bank.tracked.items():
                # Without a score: a frame that a person prompted and that was not made a conditioning one.
                if records and FRAME_SCORE in records[0].marks:
                    frames.setdefault(frame, []).append(records)
        for members in frames.values():
            presences = np.array([presence(records[0].object_score) for records in members])
            qualities = np.array([records[0].iou for records in members])
            for records, score in zip(members, cls.reduce_group(presences, qualities), strict=True):
                for record in records:
                    record.marks[FRAME_SCORE] = float(score)

    def accepts(self, record: FrameRecord) -> bool:
        """Whether a tracked frame may be read; a score equal to the threshold does not do."""
        return record.marks.get(FRAME_SCORE, -1.0) > self.settings.score_threshold

    # -- reading -----------------------------------------------------------------------------------------------------
    def valid_frames(self, step: Step, bank: ObjectMemory) -> list[int]:
        """Frames that fill slots and pointers, oldest first; the last one is the frame before, accepted or not.

        Going forward, frame 0 is never among the accepted ones (the released tracker takes it to be prompted); going
        backward, the last frame may be. The frame before is named even where nothing was remembered there, or where it is a
        conditioning frame: its slot is spent all the same.
        """
        passed = nearest_behind(step, bank.tracked)
        unit = self.stride * step.stride
        limit = max(self.pointer_budget(step), self.limits.slots) - 1
        accepted: list[int] = []
        for frame in passed:
            if len(accepted) == limit:
                break
            on_grid = self.stride == 1 or (behind(step, frame) - step.stride) % unit == 0
            record = bank.track_record(frame)
            if on_grid and (step.reverse or frame > 0) and record is not None and self.accepts(record):
                accepted.append(frame)
        before = _frame_before(step, bank, passed)
        if self.settings.keep_previous and before not in accepted:
            accepted.insert(0, before)
        return accepted[::-1]

    def select_memory(self, step: Step, bank: ObjectMemory, hypothesis: int) -> Selection:
        selected, unselected = self.conditioning(step, bank)
        valid = self.valid_frames(step, bank)
        spatial = [SpatialRead(record, self.limits.slots - 1) for record in selected.values()]
        for rank in range(min(self.limits.slots - 1, len(valid)), 0, -1):
            record = bank.track_record(valid[-rank]) or unselected.get(valid[-rank])
            if record is not None and record.memory is not None:
                spatial.append(SpatialRead(record, rank - 1))
        return Selection(tuple(spatial), tuple(self._rank_pointers(step, bank, valid, selected, unselected)))

    def _rank_pointers(
        self,
        step: Step,
        bank: ObjectMemory,
        valid: Sequence[int],
        selected: dict[int, FrameRecord],
        unselected: dict[int, FrameRecord],
    ) -> list[PointerRead]:
        """Conditioning pointers at their distance in time, the others at their rank; the oldest frame gives none."""
        if self.limits.pointers == 0:
            return []
        reads = self.conditioning_pointers(step, bank, selected)
        for rank in range(1, min(len(valid), self.pointer_budget(step))):
            record = bank.track_record(valid[-rank])
            if record is None and self.rules.unselected_fill_pointers:
                record = unselected.get(valid[-rank])
            if record is not None and record.pointer is not None:
                reads.append(PointerRead(record, rank))
        return reads

    # -- forgetting --------------------------------------------------------------------------------------------------
    def evict(self, step: Step, bank: ObjectMemory) -> None:
        """Frees exactly what cannot be read any more.

        Going on, a frame's rank only grows, and one that was not accepted is read at most by the very next step. So what the
        next step would read is all that any later one can. In a session the same holds at every prompted frame, in both
        directions, for a person may turn round there; and the last few frames stay as they are, to be corrected.
        """
        self.forget_conditioning(step, bank)
        starts = [(step.frame, step.reverse)]
        if not step.endless:
            starts += [(frame, reverse) for frame in bank.conditioning for reverse in (False, True)]
        readable: set[int] = set()
        spatial: set[int] = set()
        for frame, reverse in starts:
            # With a stride the frames in between take turns: the next few steps together see all of them.
            for ahead in range(1, self.stride + 1):
                future = replace(step, frame=frame, reverse=reverse)
                valid = self.valid_frames(replace(future, frame=future.back(-ahead)), bank)
                readable.update(valid)
                spatial.update(valid[-(self.limits.slots - 1) :])
        recent = 0 if step.endless else (self.limits.slots - 1) * step.stride
        readable.add(step.frame)
        spatial.add(step.frame)
        for frame in list(bank.tracked):
            if abs(frame - step.frame) <= recent:
                continue
            if frame not in readable:
                del bank.tracked[frame]
            elif frame not in spatial:
                for record in bank.tracked[frame]:
                    record.forget_spatial()


def _frame_before(step: Step, bank: ObjectMemory, passed: Iterable[int]) -> int:
    """The frame visited before this one: one stride back, or nearer where a prompted frame was visited between."""
    nearest = next(iter(nearest_behind(step, (*passed, *bank.conditioning))), None)
    return step.back(1) if nearest is None or behind(step, nearest) >= step.stride else nearest


@dataclass(frozen=True)
class SAM3(PolicySettings):
    """Parameters of :class:`SAM3Policy`; the threshold is that of the released SAM 3."""

    policy = SAM3Policy
    title = "SAM 3 (group)"
    summary = Summary(
        idea="Reads only frames on which the objects are there with good masks: one score a frame for all objects together, "
        "mean presence times mean IoU estimate. The frame before is always read.",
        choose="To reproduce SAM 3, or with one object (then it equals dms). With several, an absent one gets blank frames to "
        "read because the others are there; dms does not do that.",
        cost="As sam2: one unit evaluation a frame and object, up to 15 remembered frames.",
        paper="Carion et al., SAM 3: Segment Anything with Concepts, 2025.",
    )

    score_threshold: float = option(
        0.01,
        "a frame is read when its score (presence times IoU estimate, means over the group) is above this",
        effect="reads surer and older frames; too high and only the prompt and the frame before are left",
        low=0,
        high=1,
        high_open=True,
    )
    keep_previous: bool = option(
        True,
        "the frame before is read whatever its score, as the released tracker does",
        effect="follows fast change; a blank or wrong last frame is read too",
    )
    stride: int = option(
        1,
        "frames between two that are looked at",
        effect="reaches further back, sees fewer of the latest changes",
        low=1,
    )
    max_conditioning: int | None = prompted_frames_option(" (SAM 3: 4)")
