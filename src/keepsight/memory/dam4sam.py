"""DAM4SAM: recent frames far apart, and anchors from the moments in which the model nearly took something else."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.core import box_iou, mask_box, option
from keepsight.memory.policy import (
    Candidates,
    MemoryLimits,
    PointerRead,
    Policy,
    ReferenceRules,
    RoleChange,
    Selection,
    SpatialRead,
    Step,
    Survivor,
    best_candidate,
)
from keepsight.memory.reach import Place, behind, forget, forget_prompts, nearest_behind, prompted, viewpoints
from keepsight.memory.records import FrameRecord, ObjectMemory, Role
from keepsight.memory.settings import PolicySettings, Summary

EPOCH = "anchor_epoch"
"""Mark of an anchor: how often a person had spoken about the object when the policy promoted it."""


def largest_part(mask: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """Largest 8-connected component of a boolean ``(h, w)`` mask, the first in reading order on ties; ``None`` if empty."""
    if not mask.any():
        return None
    import cv2  # not at the top: whoever only lists policies should not wait for it

    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    if count == 2:
        return mask
    return np.asarray(labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA])))


def agreement(chosen: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """How little an alternative mask adds to the chosen one, in (0, 1].

    IoU of the box of the chosen mask and the box of it together with the largest part of what only the alternative has. Low
    when the alternative reaches for something elsewhere: a distractor.

    Args:
        chosen: boolean ``(h, w)``, not empty.
        other: the alternative, of the same shape.

    Returns:
        ``None`` when the alternative adds nothing.
    """
    extra = largest_part(other & ~chosen)
    if extra is None:
        return None
    box, both = mask_box(chosen), mask_box(chosen | extra)
    assert box is not None
    assert both is not None
    return box_iou(box, both)


def area_ratio(areas: Sequence[int], frames: int) -> float | None:
    """The last of ``areas`` (px) over the median of the last ``frames`` that are not 0, itself among them.

    ``None`` with fewer than two areas, or when the last one is 0.
    """
    if len(areas) < 2 or areas[-1] == 0:
        return None
    return areas[-1] / statistics.median([area for area in areas if area > 0][-frames:])


@dataclass
class _Offer:
    """What was chosen on a frame and from what; lives from the choice to the end of the same step."""

    frame: int
    candidates: Candidates
    chosen: int


class DAM4SAMPolicy(Policy):
    """Recent and distractor-resolving memory (Videnovic et al. 2025), written from a description of the method.

    Conditioning slots are the distractor-resolving memory: prompted frames and anchors. All other slots are the recent
    memory: the last frame that shows the object, then such frames on a grid of ``stride`` frames. A tracked frame becomes an
    anchor when its mask is reliable, of a usual size, and another candidate reached for something else.

    Ours: several prompted frames (they go before anchors, and the first is always read), both directions, anchors ended by
    a person's correction, an end to how many anchors are kept, and smaller models' limits.
    """

    name = "dam4sam"
    settings: DAM4SAM

    def __init__(
        self, limits: MemoryLimits, rules: ReferenceRules | None = None, settings: PolicySettings | None = None
    ) -> None:
        super().__init__(limits, rules, settings)
        most = self.settings.max_conditioning
        if limits.max_conditioning > 0:
            most = min(most, limits.max_conditioning)
        # At least one slot is left to the recent memory.
        self.max_conditioning = max(1, min(most, limits.slots - 1))
        self._areas: list[int] = []  # px of the masks on tracked frames, oldest first
        self._last_anchor: int | None = None
        self._place: Place | None = None  # the step taken last
        self._epoch = 0
        self._offer: _Offer | None = None

    # -- life of the object ------------------------------------------------------------------------------------------
    def reset(self, prompt: FrameRecord) -> None:
        """A person's word ends the anchors made before it: they may show what the person has just corrected."""
        self._epoch += 1
        self._begin()

    def _begin(self) -> None:
        self._areas, self._last_anchor = [], None

    def state(self) -> dict[str, Any]:
        return {
            "areas": self._areas,
            "last_anchor": self._last_anchor,
            "place": None if self._place is None else list(self._place),
            "epoch": self._epoch,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self._areas, self._last_anchor = list(state["areas"]), state["last_anchor"]
        self._place = None if state["place"] is None else Place(*state["place"])
        self._epoch = state["epoch"]

    # -- reading -----------------------------------------------------------------------------------------------------
    def _readable(self, step: Step, bank: ObjectMemory) -> dict[int, FrameRecord]:
        """Conditioning records that count: prompted frames anywhere, anchors of this epoch that do not lie ahead.

        Those ahead are of an earlier run over frames that are about to be tracked again.
        """
        return {
            frame: record
            for frame, record in bank.conditioning.items()
            if record.role is Role.PROMPT or (record.marks.get(EPOCH) == self._epoch and behind(step, frame) >= 0)
        }

    def distractor_memory(self, step: Step, bank: ObjectMemory) -> dict[int, FrameRecord]:
        """The conditioning records that are read, ``max_conditioning`` at most.

        The first prompted frame always; the nearest conditioning frame behind; then the nearest others, prompted ones
        before anchors. One that is the very last step is left to the recent memory, the first prompted frame excepted.
        """
        records = self._readable(step, bank)
        prompts = [frame for frame, record in records.items() if record.role is Role.PROMPT]
        picked = [max(prompts) if step.reverse else min(prompts)] if prompts else []
        others = [frame for frame in records if frame not in picked and frame != step.back(1)]
        picked += nearest_behind(step, others)[:1]
        rest = [frame for frame in others if frame not in picked]
        rest.sort(key=lambda frame: (records[frame].role is not Role.PROMPT, abs(frame - step.frame)))
        return {frame: records[frame] for frame in (picked + rest)[: self.max_conditioning]}

    def on_grid(self, step: Step, frame: int) -> bool:
        """Whether a frame may be read beside the last visible one; counted in steps of the run."""
        return (frame // step.stride) % self.settings.stride == 0

    def recent_memory(self, step: Step, bank: ObjectMemory, distractors: dict[int, FrameRecord]) -> list[FrameRecord]:
        """Records of the recent slots, nearest first: the last that shows the object, then such ones on the grid."""
        known = {frame: records[0] for frame, records in bank.tracked.items()} | self._readable(step, bank)
        visible = [
            frame
            for frame, record in known.items()
            if frame not in distractors and record.memory is not None and record.area_px > 0
        ]
        near = nearest_behind(step, visible)
        frames = near[:1] + [frame for frame in near[1:] if self.on_grid(step, frame)]
        return [known[frame] for frame in frames[: self.limits.slots - len(distractors)]]

    def select_memory(self, step: Step, bank: ObjectMemory, hypothesis: int) -> Selection:
        distractors = self.distractor_memory(step, bank)
        spatial = [SpatialRead(record, self.limits.slots - 1) for record in distractors.values()]
        # Codes are ranks: the newest is 0, whatever lies between; empty slots take the oldest codes.
        # Oldest first, as SAM 2 has it: attention does not mind, but sums round as they are ordered.
        recent = list(enumerate(self.recent_memory(step, bank, distractors)))
        spatial += [SpatialRead(record, code) for code, record in reversed(recent)]
        return Selection(tuple(spatial), tuple(self._pointers(step, bank, distractors)))

    def _pointers(self, step: Step, bank: ObjectMemory, distractors: dict[int, FrameRecord]) -> list[PointerRead]:
        """Distractor memory of the past and the last visible frames, at their distance in time."""
        if self.limits.pointers == 0:
            return []
        reads = [
            PointerRead(record, step.distance(frame))
            for frame, record in distractors.items()
            if step.distance(frame) >= 0
        ]
        readable = self._readable(step, bank)
        budget = self.limits.pointers if step.frame_count is None else min(step.frame_count, self.limits.pointers)
        for distance in range(1, budget):
            frame = step.back(distance)
            record = bank.track_record(frame)
            if record is None and frame not in distractors and self.rules.unselected_fill_pointers:
                record = readable.get(frame)
            if record is not None and record.pointer is not None and record.area_px > 0:
                reads.append(PointerRead(record, distance))
        return reads

    # -- choice and promotion ----------------------------------------------------------------------------------------
    def choose(self, step: Step, candidates: Sequence[Candidates]) -> list[Survivor]:
        best = best_candidate(candidates)
        self._offer = _Offer(step.frame, candidates[0], best.candidate)
        return [best]

    def role_changes(self, step: Step, bank: ObjectMemory) -> list[RoleChange]:
        """Promotes the frame if it shows the object beside a distractor; ends anchors that no longer count."""
        offer, self._offer = self._offer, None
        if self._place is None or not self._place.leads_to(step):
            # Another run: sizes and spacing of the last one say nothing about this place.
            self._begin()
        self._place = Place.of(step)
        valid = self._readable(step, bank)
        changes = [
            RoleChange(record, Role.TRACK)
            for frame, record in bank.conditioning.items()
            if record.role is Role.ANCHOR and frame not in valid
        ]
        record = bank.track_record(step.frame)
        if record is None or offer is None or offer.frame != step.frame:
            return changes
        self._areas = [*self._areas, record.area_px][-self.settings.area_history :]
        if self._reliable(step, record) and self._disputed(offer):
            self._last_anchor = step.frame
            record.marks[EPOCH] = self._epoch
            changes.append(RoleChange(record, Role.ANCHOR, reencode=True))
        return changes

    def _reliable(self, step: Step, record: FrameRecord) -> bool:
        options = self.settings
        if not record.iou > options.anchor_iou:
            return False
        ratio = area_ratio(self._areas, options.area_frames)
        if ratio is None or not 1 - options.anchor_area <= ratio <= 1 + options.anchor_area:
            return False
        if self._last_anchor is None:
            return True
        return abs(step.frame - self._last_anchor) > options.anchor_spacing * step.stride

    def _disputed(self, offer: _Offer) -> bool:
        """Whether a candidate that was not chosen reaches for something else."""
        chosen = offer.candidates.mask(offer.chosen)
        others = [j for j in range(len(offer.candidates.ious)) if j != offer.chosen]
        found = (agreement(chosen, offer.candidates.mask(j)) for j in others)
        return any(value is not None and value <= self.settings.anchor_agreement for value in found)

    # -- forgetting --------------------------------------------------------------------------------------------------
    def evict(self, step: Step, bank: ObjectMemory) -> None:
        """Keeps what the recent and the distractor memory can still take, going on or turning round at a prompt.

        The recent memory takes the nearest visible frame and the nearest ones on the grid; of these some may be anchors
        that the distractor memory takes instead. Of the anchors it takes the nearest, one of which may be the last step.
        """
        forget_prompts(step, bank, self.max_conditioning, keep_first=True)
        slots, most = self.limits.slots, self.max_conditioning
        known = {frame: records[0] for frame, records in bank.tracked.items()}
        known |= {frame: record for frame, record in bank.conditioning.items() if record.role is Role.ANCHOR}
        visible = [frame for frame, record in known.items() if record.memory is not None and record.area_px > 0]
        anchors = [frame for frame in known if frame in bank.conditioning]
        readable: set[int] = set()
        prompts = prompted(bank)
        for view in viewpoints(step, prompts):
            near = nearest_behind(view, visible)
            readable.update([frame for frame in near if frame not in bank.conditioning][:1])
            readable.update([frame for frame in near if self.on_grid(step, frame)][: slots + most])
            readable.update(nearest_behind(view, anchors)[: most + 1])
        forget(step, bank, self.limits, readable)
        reach = max(self.limits.pointers, slots) * step.stride
        centres = [step.frame] if step.endless else [step.frame, *prompts]
        for frame in anchors:
            if frame not in readable and all(abs(frame - centre) > reach for centre in centres):
                del bank.conditioning[frame]


@dataclass(frozen=True)
class DAM4SAM(PolicySettings):
    """Parameters of :class:`DAM4SAMPolicy`; defaults of Videnovic et al. 2025 (arXiv 2411.17576) and its released
    settings."""

    policy = DAM4SAMPolicy
    title = "DAM4SAM"
    summary = Summary(
        idea="Half of the memory holds anchors: the prompted frames, and frames on which the model was sure of the object "
        "while another candidate reached for something else. The other half holds recent frames that show the object, five "
        "apart.",
        choose="When things that look like the object come near it or touch it, and the object does not change much. The "
        "anchors hold what tells them apart.",
        cost="That of sam2, and one memory encoding for each anchor; anchors stay in memory a little longer.",
        paper="Videnovic, Lukezic, Kristan, A Distractor-Aware Memory for Visual Object Tracking with SAM2, 2025.",
    )

    stride: int = option(
        5,
        "frames between two recent memories; the last frame that shows the object is always read",
        effect="reaches further back, sees fewer of the latest changes",
        low=1,
    )
    max_conditioning: int = option(
        4,
        "prompted frames and anchors read at most; never more than the model was trained to read, or than leaves a slot "
        "to the recent frames",
        effect="more against look-alikes, less of the recent frames",
        low=1,
    )
    anchor_iou: float = option(
        0.8,
        "a frame becomes an anchor only if its IoU estimate is above this; 1: no anchors",
        effect="fewer, surer anchors",
        low=0,
        high=1,
    )
    anchor_area: float = option(
        0.2,
        "by what share an anchor's area may differ from the median of the last areas",
        effect="anchors also while the mask grows or shrinks",
        low=0,
        high=1,
    )
    anchor_agreement: float = option(
        0.7,
        "a distractor is seen where the box of the mask and the box of the mask with an alternative's largest extra part "
        "have at most this IoU",
        effect="more anchors, also where the alternatives hardly differ",
        low=0,
        high=1,
    )
    anchor_spacing: int = option(
        5, "frames that lie at least between two anchors", effect="fewer anchors, further apart", low=0
    )
    area_frames: int = option(
        10, "areas of which the median is taken, zeros left out", effect="a steadier, slower idea of the size", low=1
    )
    area_history: int = option(
        300, "frames in which these areas are looked for", effect="remembers a size over a longer absence", low=2
    )
