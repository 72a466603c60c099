"""SAM 2's own rule: every prompted frame, and the six frames before this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keepsight.core import option
from keepsight.memory.policy import (
    Candidates,
    MemoryLimits,
    PointerRead,
    Policy,
    ReferenceRules,
    Selection,
    SpatialRead,
    Step,
    Survivor,
    best_candidate,
)
from keepsight.memory.records import FrameRecord, ObjectMemory
from keepsight.memory.settings import PolicySettings, Summary


def select_conditioning(
    frame: int, conditioning: dict[int, FrameRecord], limit: int, *, by_slicing: bool = False
) -> tuple[dict[int, FrameRecord], dict[int, FrameRecord]]:
    """Splits conditioning records into those attended and the rest.

    Without a limit (-1) all are attended. Otherwise the nearest before ``frame``, the nearest at or after it, then the
    nearest others until ``limit`` are taken; ties keep insertion order.

    Args:
        by_slicing: keep transformers' behaviour for ``limit == 1`` with prompts on both sides, where a negative
            remainder slices off only the farthest one.
    """
    if limit == -1 or len(conditioning) <= limit:
        return conditioning, {}
    before = max((t for t in conditioning if t < frame), default=None)
    after = min((t for t in conditioning if t >= frame), default=None)
    picked = [t for t in (before, after) if t is not None]
    if limit < len(picked) and not by_slicing:
        picked = sorted(picked, key=lambda t: abs(t - frame))[:limit]
    others = sorted((t for t in conditioning if t not in picked), key=lambda t: abs(t - frame))
    picked += others[: limit - len(picked)]
    selected = {t: conditioning[t] for t in picked}
    return selected, {t: record for t, record in conditioning.items() if t not in selected}


def prompted_frames_option(trained: str = "") -> Any:
    """The option ``max_conditioning`` of SAM 2 and of what extends it; ``trained`` is an example of how models were."""
    return option(
        None,
        f"prompted frames read at most, nearest first; -1: all; none: as the model was trained{trained}",
        effect="more loyal to what was prompted, slower",
        low=-1,
    )


class SAM2Policy(Policy):
    """Recent-6 (Ravi et al. 2024, section 4; memory_attention of the released predictor)."""

    name = "sam2"

    def __init__(
        self, limits: MemoryLimits, rules: ReferenceRules | None = None, settings: PolicySettings | None = None
    ) -> None:
        super().__init__(limits, rules, settings)
        # A policy that extends this one may leave these options out, and then this is how the model was trained.
        self.stride = getattr(self.settings, "stride", 1)
        given = getattr(self.settings, "max_conditioning", None)
        self.max_conditioning = limits.max_conditioning if given is None else given

    def recent_frames(self, step: Step) -> list[tuple[int, int]]:
        """``(slot code, frame)`` of the recent slots, oldest first.

        With stride r > 1 the previous frame is always read and the others lie on a grid of r frames, so that
        neighbouring steps read the same old frames. Where steps are several frames apart, the grid is one of frames that
        the run visits.
        """
        slots = []
        offset = step.frame % step.stride
        for relative in range(self.limits.slots - 1, 0, -1):
            if relative == 1 or self.stride == 1:
                frame = step.back(relative)
            else:
                unit = self.stride * step.stride
                if step.reverse:
                    frame = -((offset - step.back(2)) // unit) * unit + (relative - 2) * unit + offset
                else:
                    frame = (step.back(2) - offset) // unit * unit - (relative - 2) * unit + offset
            slots.append((relative - 1, frame))
        return slots

    def conditioning(self, step: Step, bank: ObjectMemory) -> tuple[dict[int, FrameRecord], dict[int, FrameRecord]]:
        """The conditioning records that are read, and the rest."""
        return select_conditioning(
            step.frame, bank.conditioning, self.max_conditioning, by_slicing=self.rules.limit_by_slicing
        )

    def select_memory(self, step: Step, bank: ObjectMemory, hypothesis: int) -> Selection:
        selected, unselected = self.conditioning(step, bank)
        conditioning_code = self.limits.slots - 1
        spatial = [SpatialRead(record, conditioning_code) for record in selected.values()]
        for code, frame in self.recent_frames(step):
            record = bank.track_record(frame) or unselected.get(frame)
            if record is not None and record.memory is not None:
                spatial.append(SpatialRead(record, code))
        return Selection(tuple(spatial), tuple(self._pointers(step, bank, selected, unselected)))

    def pointer_budget(self, step: Step) -> int:
        """Pointers that fit: the backbone's budget, or the length of a shorter clip."""
        return self.limits.pointers if step.frame_count is None else min(step.frame_count, self.limits.pointers)

    def conditioning_pointers(
        self, step: Step, bank: ObjectMemory, selected: dict[int, FrameRecord]
    ) -> list[PointerRead]:
        """Pointers of the conditioning frames that do not lie ahead, at their distance in time."""
        eligible = bank.conditioning if self.rules.pointers_of_unselected else selected
        return [
            PointerRead(record, step.distance(frame)) for frame, record in eligible.items() if step.distance(frame) >= 0
        ]

    def _pointers(
        self, step: Step, bank: ObjectMemory, selected: dict[int, FrameRecord], unselected: dict[int, FrameRecord]
    ) -> list[PointerRead]:
        if self.limits.pointers == 0:
            return []
        reads = self.conditioning_pointers(step, bank, selected)
        for distance in range(1, self.pointer_budget(step)):
            frame = step.back(distance)
            if frame < 0 or (step.frame_count is not None and frame >= step.frame_count):
                break
            record = bank.track_record(frame)
            if record is None and self.rules.unselected_fill_pointers:
                record = unselected.get(frame)
            if record is not None and record.pointer is not None:
                reads.append(PointerRead(record, distance))
        return reads

    def choose(self, step: Step, candidates: Sequence[Candidates]) -> list[Survivor]:
        return [best_candidate(candidates)]

    def forget_conditioning(self, step: Step, bank: ObjectMemory) -> None:
        """A stream cannot turn round, and there a conditioning frame beyond the limit is never the nearest again."""
        if step.endless and self.max_conditioning > 0:
            for frame in sorted(bank.conditioning)[: -self.max_conditioning]:
                del bank.conditioning[frame]

    def evict(self, step: Step, bank: ObjectMemory) -> None:
        """Keeps the last slots and pointers, and the same reach around prompted frames.

        A person may turn round at a prompt (or run "both"), and then the frames on its far side are the recent ones.
        """
        self.forget_conditioning(step, bank)
        spatial_reach = (self.limits.slots - 1) * self.stride * step.stride + step.stride
        pointer_reach = max(self.limits.pointers * step.stride, spatial_reach)
        centres = [step.frame] if step.endless else [step.frame, *bank.conditioning]
        for frame in list(bank.tracked):
            nearest = min(abs(frame - centre) for centre in centres)
            if nearest > pointer_reach:
                del bank.tracked[frame]
            elif nearest > spatial_reach:
                for record in bank.tracked[frame]:
                    record.forget_spatial()


@dataclass(frozen=True)
class SAM2(PolicySettings):
    """Parameters of :class:`SAM2Policy`; defaults are those of the released SAM 2.1 predictor."""

    policy = SAM2Policy
    title = "SAM 2"
    summary = Summary(
        idea="Remembers the prompted frames and the six frames before this one; of the masks on offer, the one with the "
        "highest IoU estimate wins.",
        choose="First. It is the cheapest policy and the baseline of all others; take another one when objects hide for "
        "long, leave and come back, or look-alikes cross.",
        cost="The baseline: one unit evaluation a frame and object.",
        paper="Ravi et al., SAM 2: Segment Anything in Images and Videos, 2024.",
    )

    stride: int = option(
        1,
        "frames between two recent memories; the previous frame is always read",
        effect="reaches further back, sees fewer of the latest changes",
        low=1,
    )
    max_conditioning: int | None = prompted_frames_option()
