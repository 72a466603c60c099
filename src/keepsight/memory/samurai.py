"""SAMURAI: a Kalman filter takes part in the choice of the mask, and three thresholds in the choice of the memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, box_iou, option
from keepsight.memory.policy import (
    Candidates,
    MemoryLimits,
    ReferenceRules,
    RoleChange,
    Selection,
    SpatialRead,
    Step,
    Survivor,
    WritePlan,
)
from keepsight.memory.reach import Place, behind, forget, forget_prompts, nearest_behind, prompted, viewpoints
from keepsight.memory.records import FrameRecord, ObjectMemory
from keepsight.memory.sam2 import SAM2Policy
from keepsight.memory.settings import PolicySettings, Summary

MOTION_IOU = "motion_iou"
"""Mark of a record: IoU of its mask's box with the predicted one; missing where motion had no say."""

FRESH = "fresh"
"""Mark of a record that is too close behind a prompted frame to be remembered."""

POSITION_STD, VELOCITY_STD = 1 / 20, 1 / 160
"""Standard deviations a frame, as shares of the box height (Yang et al. 2024; before them SORT and DeepSORT)."""


class BoxMotion:
    """Kalman filter of a box that moves and grows at constant velocity.

    The state is the box's centre, aspect (width / height) and height with their velocities, one frame the unit of time, px
    of the frame the unit of length. All noises are diagonal and nothing but a value's own velocity moves it, so the
    usual filter in eight dimensions falls apart into four in two dimensions, which are kept side by side.

    Attributes:
        value, velocity: ``(4,)`` of centre x, centre y, aspect, height, and their change a frame.
        spread: ``(3, 4)`` variance of the value, covariance of value and velocity, variance of the velocity.
    """

    def __init__(self, value: NDArray[np.float64], velocity: NDArray[np.float64], spread: NDArray[np.float64]) -> None:
        self.value, self.velocity, self.spread = value, velocity, spread

    @classmethod
    def start(cls, box: Box) -> BoxMotion:
        """A box at rest; the velocities are as good as unknown."""
        value = _measured(box)
        position, velocity = _noise(value[3])
        wide = np.array([2, 2, 1, 2]) * position
        fast = np.array([10, 10, 1, 10]) * velocity
        return cls(value, np.zeros(4), np.stack([wide**2, np.zeros(4), fast**2]))

    def predicted(self, frames: int = 1) -> BoxMotion:
        """Where it will be after so many frames."""
        value, velocity, spread = self.value, self.velocity, self.spread
        for _ in range(frames):
            position_noise, velocity_noise = _noise(value[3])
            value = value + velocity
            spread = np.stack(
                [
                    spread[0] + 2 * spread[1] + spread[2] + position_noise**2,
                    spread[1] + spread[2],
                    spread[2] + velocity_noise**2,
                ]
            )
        return BoxMotion(value, velocity, spread)

    def updated(self, box: Box) -> BoxMotion:
        """What is known after the box was seen."""
        noise, _ = _noise(self.value[3], aspect=1e-1)
        total = self.spread[0] + noise**2
        gain, gain_velocity = self.spread[0] / total, self.spread[1] / total
        surprise = _measured(box) - self.value
        spread = np.stack(
            [
                self.spread[0] - gain * self.spread[0],
                self.spread[1] - gain * self.spread[1],
                self.spread[2] - gain_velocity * self.spread[1],
            ]
        )
        return BoxMotion(self.value + gain * surprise, self.velocity + gain_velocity * surprise, spread)

    @property
    def box(self) -> Box:
        """In px of the frame; without extent where height or aspect has run below 0."""
        x, y, aspect, height = (float(number) for number in self.value)
        height = max(height, 0.0)
        width = max(aspect, 0.0) * height
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2)

    def state(self) -> list[list[float]]:
        """Five rows of four numbers, exact in JSON."""
        return [row.tolist() for row in (self.value, self.velocity, *self.spread)]

    @classmethod
    def restored(cls, state: Sequence[Sequence[float]]) -> BoxMotion:
        """Inverse of :meth:`state`."""
        rows = np.array(state, dtype=np.float64)
        return cls(rows[0], rows[1], rows[2:])


def _measured(box: Box) -> NDArray[np.float64]:
    x1, y1, x2, y2 = box
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / (y2 - y1), y2 - y1])


def _noise(height: float, aspect: float = 1e-2) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Standard deviations of the values and of the velocities at a height; never below those of 1 px."""
    size = max(float(height), 1.0)
    position, velocity = size * POSITION_STD, size * VELOCITY_STD
    return np.array([position, position, aspect, position]), np.array([velocity, velocity, 1e-5, velocity])


class SAMURAIPolicy(SAM2Policy):
    """Motion-aware choice and memory (Yang et al. 2024), written from a description of the method.

    The choice goes through three stages, counted by the frames on which the filter was right in a row:

    A. no filter: the highest IoU estimate wins, and its box starts the filter;
    B. fewer than ``stable_frames``: the same choice; the filter learns if the estimate is above ``stable_iou`` and is
       forgotten otherwise;
    C. from then on ``motion_weight`` of the score is the overlap with the predicted box; the filter learns unless the
       estimate is below ``stable_iou``, and then is forgotten.

    Where the released code goes wrong, this does not: the filter belongs to one object of one session, an empty mask is no
    measurement (there it drags the filter into the corner of the image), and the overlap is kept with the record.
    """

    name = "samurai"
    settings: SAMURAI

    def __init__(
        self, limits: MemoryLimits, rules: ReferenceRules | None = None, settings: PolicySettings | None = None
    ) -> None:
        super().__init__(limits, rules, settings)
        self.mask_presence_threshold = self.settings.presence
        self._motion: BoxMotion | None = None
        self._place: Place | None = None  # where the filter stands
        self._stable = 0
        self._unseen = 0
        self._overlap: float | None = None  # from choose to write_plan of one step

    # -- life of the object ------------------------------------------------------------------------------------------
    def reset(self, prompt: FrameRecord) -> None:
        """Where the object is and goes begins anew with a person's word."""
        self._forget_motion()

    def state(self) -> dict[str, Any]:
        return {
            "motion": None if self._motion is None else self._motion.state(),
            "place": None if self._place is None else list(self._place),
            "stable": self._stable,
            "unseen": self._unseen,
        }

    def restore(self, state: dict[str, Any]) -> None:
        motion = state["motion"]
        self._motion = None if motion is None else BoxMotion.restored(motion)
        self._place = None if state["place"] is None else Place(*state["place"])
        self._stable, self._unseen = state["stable"], state["unseen"]

    def _forget_motion(self) -> None:
        self._motion, self._place, self._stable, self._unseen = None, None, 0, 0

    # -- choice ------------------------------------------------------------------------------------------------------
    def choose(self, step: Step, candidates: Sequence[Candidates]) -> list[Survivor]:
        offered = candidates[0]
        self._advance(step)
        weight, scores = self.settings.motion_weight, list(offered.ious)
        overlaps: list[float] | None = None
        if self._motion is not None and self._stable >= self.settings.stable_frames:
            expected = self._motion.box
            boxes = [offered.box(j) for j in range(len(scores))]
            overlaps = [0.0 if box is None else box_iou(expected, box) for box in boxes]
            scores = [
                weight * overlap + (1 - weight) * iou for overlap, iou in zip(overlaps, offered.ious, strict=True)
            ]
        best = max(range(len(scores)), key=scores.__getitem__)  # the first one on ties
        self._overlap = None if overlaps is None else overlaps[best]
        self._learn(step, offered.box(best), offered.ious[best], guided=overlaps is not None)
        return [Survivor(offered.hypothesis, best, scores[best])]

    def _advance(self, step: Step) -> None:
        """Predicts onto the frame of the step; forgets the motion where the run does not go on from the last frame."""
        if self._motion is None or self._place is None:
            return
        if self._place.leads_to(step):
            self._motion = self._motion.predicted(behind(step, self._place.frame))
        else:
            self._forget_motion()

    def _learn(self, step: Step, box: Box | None, iou: float, *, guided: bool) -> None:
        limit = self.settings.stable_iou
        if self._motion is None:
            if box is not None:
                self._motion, self._stable = BoxMotion.start(box), 1
        elif iou < limit or (iou == limit and not guided):
            self._forget_motion()
        elif box is not None:
            self._motion, self._unseen = self._motion.updated(box), 0
            self._stable += not guided
        else:
            self._unseen += 1
            if self._unseen > self.settings.coast_frames:
                self._forget_motion()
        self._place = None if self._motion is None else Place.of(step)

    def write_plan(
        self, step: Step, survivors: Sequence[Survivor], candidates: Sequence[Candidates]
    ) -> list[WritePlan]:
        return [WritePlan(marks={} if self._overlap is None else {MOTION_IOU: self._overlap})]

    def commit(self, step: Step, bank: ObjectMemory, records: list[FrameRecord]) -> None:
        near = range(1, self.settings.first_remembered)
        if any(step.back(steps) in bank.conditioning for steps in near):
            for record in records:
                record.marks[FRESH] = 1.0
        super().commit(step, bank, records)

    def role_changes(self, step: Step, bank: ObjectMemory) -> list[RoleChange]:
        # The one hook that is asked on prompted frames too: what was learnt before them does not go on behind them.
        if step.frame in bank.conditioning:
            self._forget_motion()
        return []

    # -- memory ------------------------------------------------------------------------------------------------------
    def remembers(self, record: FrameRecord) -> bool:
        """Whether a record passes the three thresholds (all strict) and was not made too close behind a prompt."""
        options = self.settings
        motion = record.marks.get(MOTION_IOU)
        return (
            FRESH not in record.marks
            and (options.memory_iou is None or record.iou > options.memory_iou)
            and (options.memory_presence is None or record.object_score > options.memory_presence)
            and (options.memory_motion is None or motion is None or motion > options.memory_motion)
        )

    def _recent(self, step: Step, bank: ObjectMemory, unselected: dict[int, FrameRecord]) -> list[int]:
        """Frames of the recent slots, nearest first; one without a record leaves its slot empty.

        Those before the step that pass the thresholds, however far back, and always the frame straight before it.
        """
        count = self.limits.slots - 1
        known = {frame: records[0] for frame, records in bank.tracked.items()} | unselected
        passing = [frame for frame, record in known.items() if record.memory is not None and self.remembers(record)]
        found = nearest_behind(step, passing)[:count]
        previous = step.back(1)
        return found if previous in found else [previous, *found][:count]

    def select_memory(self, step: Step, bank: ObjectMemory, hypothesis: int) -> Selection:
        selected, unselected = self.conditioning(step, bank)
        spatial = [SpatialRead(record, self.limits.slots - 1) for record in selected.values()]
        # Oldest first, as SAM 2 has it: attention does not mind, but sums round as they are ordered.
        for code, frame in reversed(list(enumerate(self._recent(step, bank, unselected)))):
            record = bank.track_record(frame) or unselected.get(frame)
            if record is not None and record.memory is not None:
                spatial.append(SpatialRead(record, code))
        return Selection(tuple(spatial), tuple(self._pointers(step, bank, selected, unselected)))

    def evict(self, step: Step, bank: ObjectMemory) -> None:
        """Keeps the remembered frames nearest to the present and to the prompted frames, as many as there are slots.

        Nothing else can be read again: the choice of slots only ever takes the nearest frames that pass, and passing is
        decided once, when a frame is tracked. The last step is kept in any case, for the next one always reads it.
        """
        forget_prompts(step, bank, self.max_conditioning)
        passing = [
            frame
            for frame, records in bank.tracked.items()
            if records[0].memory is not None and self.remembers(records[0])
        ]
        readable = {frame for frame in bank.tracked if abs(frame - step.frame) <= step.stride}
        for view in viewpoints(step, prompted(bank)):
            readable.update(nearest_behind(view, passing)[: self.limits.slots - 1])
        forget(step, bank, self.limits, readable)


@dataclass(frozen=True)
class SAMURAI(PolicySettings):
    """Parameters of :class:`SAMURAIPolicy`; defaults of Yang et al. 2024 (arXiv 2411.11922) and its released settings,
    but for ``coast_frames``, which is ours."""

    policy = SAMURAIPolicy
    title = "SAMURAI"
    summary = Summary(
        idea="A Kalman filter predicts the object's box and takes part in the choice of the mask; only frames with a good "
        "IoU estimate, a visible object and a box that fits the motion are remembered.",
        choose="For one thing that moves steadily among things that look like it (sport, traffic, animals). Not for cuts "
        "or a camera that jumps: there the prediction is wrong.",
        cost="That of sam2; the filter takes well under a millisecond a frame and object.",
        paper="Yang et al., SAMURAI: Adapting Segment Anything Model for Zero-Shot Visual Tracking with Motion-Aware "
        "Memory, 2024.",
    )

    motion_weight: float = option(
        0.15,
        "share of the predicted box in the choice of the mask; published: 0.15 for large, 0.25 for smaller models",
        effect="trusts motion more and the model's IoU estimate less",
        low=0,
        high=1,
    )
    stable_frames: int = option(
        15,
        "frames in a row that the motion must fit before it takes part in the choice",
        effect="motion has a say later, and on better grounds",
        low=1,
    )
    stable_iou: float = option(
        0.3,
        "IoU estimate below which the motion is forgotten and learnt anew",
        effect="motion is forgotten sooner",
        low=0,
        high=1,
    )
    coast_frames: int = option(
        15,
        "frames without a mask over which the motion is carried on; after so many an error of the velocity has grown to "
        "about the object's own size",
        effect="expects an object that hid for longer where it was heading",
        low=0,
    )
    memory_iou: float | None = option(
        0.5,
        "a frame is remembered if its IoU estimate is above this; none: whatever it is",
        effect="remembers fewer, better frames",
        low=0,
        high=1,
    )
    memory_presence: float | None = option(
        0.0,
        "a frame is remembered if its presence logit is above this; none: whatever it is",
        effect="remembers only frames on which the object is plainly visible",
    )
    memory_motion: float | None = option(
        0.0,
        "a frame is remembered if the mask's box overlaps the predicted one by more than this IoU, or no motion was known; "
        "none: whatever it is",
        effect="remembers only frames that fit the motion",
        low=0,
        high=1,
    )
    first_remembered: int = option(
        2,
        "first frame behind a prompted one that may be remembered (the one straight before is read in any case); 1: also "
        "the next",
        effect="leaves out more frames that repeat the prompted one",
        low=1,
    )
    presence: float = option(
        -1.0,
        "presence logit above which a mask is shown",
        effect="more often nothing is shown",
    )
