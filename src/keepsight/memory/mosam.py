"""MoSAM: prompts from motion, and memory chosen by confidence, in time and in space.

Source: MoSAM: Motion-Guided Segment Anything Model with Spatial-Temporal Memory Selection (arXiv 2505.00739), 2025. Its code
was never released and its constants are not public, and its motion encoders were trained while ours are not; so this is a
reconstruction from the published description, and every number in it is ours. Where we depart from the description:

* The flow is that between the frame before and the present one, which is known when it is segmented; nothing has to be
  extrapolated as the description does with flow. Key points, which the present frame does not have yet, are extrapolated.
* A key point that did not lie on the mask that it was taken from (objects with a bay or a hole) is no positive click.
* Blank frames, on which the object was absent, are not among the selected ones even where there are too few others.
* Of the prompts the points alone are the default, and a model that reads few recent frames reads the latest ones, whole: what the
  benchmark of the policies says of the built-in model (docs/policies.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Box, clip_box, option
from keepsight.memory.policy import (
    Candidates,
    MemoryLimits,
    Picture,
    ProposedPrompts,
    ReferenceRules,
    Selection,
    SpatialRead,
    Step,
    Survivor,
    best_candidate,
)
from keepsight.memory.reach import behind
from keepsight.memory.records import FrameRecord, ObjectMemory, Role
from keepsight.memory.sam2 import SAM2Policy, prompted_frames_option
from keepsight.memory.settings import PolicySettings, Summary
from keepsight.memory.sighting import BoolArray, Sighting, extrapolated, pack_mask, unpack_mask

FEW_FRAMES = 3
"""Recent frames up to which a model's memory is not selected from by default. What would be left out of so few are the doubtful
and the blank ones, and they are what tells such a model that the object has gone."""

LEAST_CONFIDENCE = 0.5
"""Confidence that every position has: it is on one side or the other."""

SURE_ENOUGH = 0.8
"""Least confidence of a position, by default, where memory is selected from."""

CELLS_PER_TOKEN = 4
"""Mask cells along a side of a memory position (SAM 2, SAM 3 and EdgeTAM; other backbones resize the map to their grid)."""


def confident_tokens(logits: NDArray[np.float32], threshold: float) -> BoolArray | None:
    """Which memory positions are confident enough to be read.

    A pixel's confidence is the probability of the side that it is on, ``max(s, 1 - s)`` with ``s`` its sigmoid; that of a
    position is the mean over its pixels.

    Args:
        logits: ``(h, w)``.
        threshold: least confidence in [0.5, 1]; a position that is equal to it is read.

    Returns:
        bool ``(h / 4, w / 4)``, true somewhere (the surest position, the first of them on ties, when all are below); ``None``
        where all may be read.
    """
    height, width = logits.shape
    if height % CELLS_PER_TOKEN or width % CELLS_PER_TOKEN:
        return None
    # 1 / (1 + exp(-|x|)) is the larger of both sides, and cannot overflow.
    sure = 1.0 / (1.0 + np.exp(-np.abs(logits.astype(np.float64))))
    rows, columns = height // CELLS_PER_TOKEN, width // CELLS_PER_TOKEN
    pooled = sure.reshape(rows, CELLS_PER_TOKEN, columns, CELLS_PER_TOKEN).mean((1, 3))
    keep = pooled >= threshold
    if keep.all():
        return None
    if not keep.any():
        keep.flat[int(pooled.argmax())] = True
    return keep


class MoSAMPolicy(SAM2Policy):
    """SAM 2 with motion-guided prompts and memory selected by confidence. Each part can be switched off; without all of them
    this is SAM 2's own rule."""

    name = "mosam"
    settings: MoSAM

    def __init__(
        self, limits: MemoryLimits, rules: ReferenceRules | None = None, settings: PolicySettings | None = None
    ) -> None:
        super().__init__(limits, rules, settings)
        most = limits.slots - 1
        self.keep_frames = most if self.settings.keep_frames is None else min(self.settings.keep_frames, most)
        few = most <= FEW_FRAMES
        self.selects_frames = not few if self.settings.frame_selection is None else self.settings.frame_selection
        default_confidence = LEAST_CONFIDENCE if few else SURE_ENOUGH
        confidence = self.settings.pixel_confidence
        self.pixel_confidence = default_confidence if confidence is None else confidence
        self.needs_motion = self.settings.guidance in ("both", "dense")
        # The last two steps at most, by frame.
        self._sightings: dict[int, Sighting] = {}
        # Positions that may be read, of frames whose spatial memory is there; a frame without an entry is read whole.
        self._tokens: dict[int, BoolArray] = {}

    # -- life of the object ------------------------------------------------------------------------------------------
    def reset(self, prompt: FrameRecord) -> None:
        """What a person says replaces what was seen there; of a prompt itself no mask is known, so motion begins after it."""
        self._sightings.pop(prompt.frame, None)
        self._tokens.pop(prompt.frame, None)

    def state(self) -> dict[str, Any]:
        return {
            "sightings": [sighting.state() for sighting in self._sightings.values()],
            "tokens": [[frame, *pack_mask(keep)] for frame, keep in self._tokens.items()],
        }

    def restore(self, state: dict[str, Any]) -> None:
        seen = [Sighting.restored(item) for item in state["sightings"]]
        self._sightings = {sighting.frame: sighting for sighting in seen}
        self._tokens = {frame: unpack_mask(packed) for frame, *packed in state["tokens"]}

    # -- memory ------------------------------------------------------------------------------------------------------
    def select_memory(self, step: Step, bank: ObjectMemory, hypothesis: int) -> Selection:
        if not self.selects_frames:
            return super().select_memory(step, bank, hypothesis)
        selected, unselected = self.conditioning(step, bank)
        spatial = [SpatialRead(record, self.limits.slots - 1) for record in selected.values()]
        picked = self._pick_frames(step, bank, unselected)
        spatial += [SpatialRead(record, len(picked) - 1 - place) for place, record in enumerate(picked)]
        return Selection(tuple(spatial), tuple(self._pointers(step, bank, selected, unselected)))

    def _pick_frames(self, step: Step, bank: ObjectMemory, unselected: dict[int, FrameRecord]) -> list[FrameRecord]:
        """The surest of the candidate frames, oldest first; newer ones win ties."""

        def at(steps: int) -> FrameRecord | None:
            frame = step.back(steps)
            record = bank.track_record(frame) or unselected.get(frame)
            return record if record is not None and record.memory is not None else None

        spacing = self.settings.candidate_stride
        candidates = [(i * spacing, at(i * spacing)) for i in range(1, self.settings.candidate_frames + 1)]
        rated = [(confidence(record), -steps, record) for steps, record in candidates if record is not None]
        rated = [entry for entry in rated if entry[0] > 0]
        rated.sort(key=lambda entry: entry[:2], reverse=True)
        picked = [(-steps, record) for _, steps, record in rated[: self.keep_frames]]
        before = at(1)
        if self.settings.keep_previous and before is not None and all(steps != 1 for steps, _ in picked):
            picked = [*picked[: self.keep_frames - 1], (1, before)]
        return [record for _, record in sorted(picked, key=lambda entry: -entry[0])]

    def modulate(self, step: Step, selection: Selection) -> Selection:
        """Hides unsure positions of tracked frames; what a person said is read whole."""
        if self.pixel_confidence <= LEAST_CONFIDENCE:
            return selection
        spatial = tuple(
            SpatialRead(read.record, read.slot_code, self._tokens[read.record.frame], read.key_scale)
            if read.record.role is not Role.PROMPT and read.record.frame in self._tokens
            else read
            for read in selection.spatial
        )
        return Selection(spatial, selection.pointers)

    # -- motion ------------------------------------------------------------------------------------------------------
    def propose_prompts(
        self, step: Step, bank: ObjectMemory, hypothesis: int, picture: Picture
    ) -> ProposedPrompts | None:
        """Five points, a box, or both, from how the object moved.

        Nothing is made up where the object was not seen on both steps before (a prompt counts), where the last mask was
        doubtful, or where it is leaving the frame: then this is SAM 2.
        """
        now = self._sightings.get(step.back(1))
        if self.settings.guidance == "none" or picture is None or now is None or now.iou <= self.settings.min_iou:
            return None
        earlier = self._sightings.get(step.back(2))
        said = bank.conditioning.get(step.back(2))
        if earlier is None and (said is None or said.object_score <= 0):
            return None
        box: Box | None = None
        if self.needs_motion:
            flow = picture.motion()
            if flow is not None:
                box = self._carried_box(now, flow, picture.size)
                if box is None:
                    return None
        points: list[tuple[float, float]] = []
        if self.settings.guidance in ("both", "sparse") and earlier is not None:
            # Extrapolated as they are numbered: the point below stays the point below.
            known = now.key_points()
            moved = extrapolated(known, earlier.key_points())[now.holds(known)]
            height, width = picture.size
            if not all(0 <= x < width and 0 <= y < height for x, y in moved):
                return None
            points = [(float(x), float(y)) for x, y in moved if box is None or _inside(x, y, box)]
        if box is None and not points:
            return None
        return ProposedPrompts(points=tuple(points), labels=(1,) * len(points), box=box)

    def _carried_box(self, now: Sighting, flow: NDArray[np.float32], size: tuple[int, int]) -> Box | None:
        """The box to propose, inside the frame; ``None`` where the flow carries too little of the mask along, or too much.

        What has left the frame is not carried along, so an object that is leaving soon gets none.
        """
        carried = now.carried(flow, size)
        limit = self.settings.max_area_change
        if carried is None or not 1 / limit <= carried.growth <= limit:
            return None
        (x1, y1, x2, y2), margin = carried.box, self.settings.box_margin
        pad_x, pad_y = margin * (x2 - x1), margin * (y2 - y1)
        return clip_box((x1 - pad_x, y1 - pad_y, x2 + pad_x, y2 + pad_y), *size)

    def choose(self, step: Step, candidates: Sequence[Candidates]) -> list[Survivor]:
        best = best_candidate(candidates)
        offered = next(one for one in candidates if one.hypothesis == best.hypothesis)
        self._sightings = {frame: seen for frame, seen in self._sightings.items() if frame == step.back(1)}
        self._tokens.pop(step.frame, None)
        if offered.object_score > self.mask_presence_threshold:
            if self.settings.guidance != "none":
                seen = Sighting.of(step.frame, best.score, offered.region, offered.mask(best.candidate))
                if seen is not None:
                    self._sightings[step.frame] = seen
            if self.pixel_confidence > LEAST_CONFIDENCE and offered.logits is not None:
                keep = confident_tokens(offered.logits(best.candidate), self.pixel_confidence)
                if keep is not None:
                    self._tokens[step.frame] = keep
        return [best]

    # -- forgetting --------------------------------------------------------------------------------------------------
    def evict(self, step: Step, bank: ObjectMemory) -> None:
        """Frees what can never be among the surest again, going on from here or (in a session) from a prompted frame."""
        if self.selects_frames:
            self._evict_unselectable(step, bank)
        else:
            super().evict(step, bank)
        kept = {
            frame for frame, records in bank.tracked.items() if any(record.memory is not None for record in records)
        }
        self._tokens = {frame: keep for frame, keep in self._tokens.items() if frame in kept}

    def _evict_unselectable(self, step: Step, bank: ObjectMemory) -> None:
        self.forget_conditioning(step, bank)
        spatial = self._selectable(step, bank)
        centres = [step.frame]
        if not step.endless:
            centres += bank.conditioning
            for centre in bank.conditioning:
                for reverse in (False, True):
                    spatial |= self._selectable(replace(step, frame=centre, reverse=reverse), bank)
            # The last few stay as they are, for a person to correct.
            reach = (self.limits.slots - 1) * step.stride
            spatial |= {frame for frame in bank.tracked if abs(frame - step.frame) <= reach}
        spatial.add(step.frame)
        pointer_reach = self.limits.pointers * step.stride
        for frame in list(bank.tracked):
            if frame in spatial:
                continue
            if min(abs(frame - centre) for centre in centres) > pointer_reach:
                del bank.tracked[frame]
            else:
                for record in bank.tracked[frame]:
                    record.forget_spatial()

    def _selectable(self, step: Step, bank: ObjectMemory) -> set[int]:
        """Frames that may still be picked by steps after this one: too few newer ones are as sure.

        Newer frames stay in the window longer than older ones, so who is outdone by as many as are kept is outdone for ever.
        Only frames that are candidates of the same steps compete. (That the frame before takes a place is left out of the
        account: a person may prompt it, and then it takes none.)
        """
        unit = self.settings.candidate_stride * step.stride
        window = self.settings.candidate_frames * unit
        gaps = ((behind(step, frame), frame) for frame in bank.tracked)
        rivals: dict[int, list[float]] = {}
        found: set[int] = set()
        for gap, frame in sorted(pair for pair in gaps if pair[0] >= 0):
            record = bank.track_record(frame)
            if record is None:
                continue
            if gap < step.stride:
                found.add(frame)  # the frame before of the next step, which may be read whatever it is like
            sure = confidence(record)
            next_seen = (gap // unit + 1) * unit
            if sure == 0 or next_seen > window:
                continue
            newer = rivals.setdefault(gap % unit, [])
            if sum(rival >= sure for rival in newer) < self.keep_frames:
                found.add(frame)
            newer.append(sure)
        return found


def confidence(record: FrameRecord) -> float:
    """What a frame is ranked by: the IoU estimate where the object is there, 0 where it is not."""
    return record.iou if record.object_score > 0 else 0.0


def _inside(x: float, y: float, box: Box) -> bool:
    return box[0] <= x <= box[2] and box[1] <= y <= box[3]


@dataclass(frozen=True)
class MoSAM(PolicySettings):
    """Parameters of :class:`MoSAMPolicy`. The paper's constants are not public: all defaults are ours."""

    policy = MoSAMPolicy
    title = "MoSAM"
    summary = Summary(
        idea="Points (and a box, if wanted), made up from how the object moved, guide the model on every frame; of the last "
        "frames the surest are remembered, and of these only the sure parts.",
        choose="Objects that move fast or steadily, among others of their kind, and short occlusions. Not for still scenes, "
        "nor for a model that was not trained with clicks on tracked frames.",
        cost="One unit evaluation a frame and object, as sam2; with a box optical flow once a frame for all objects, some 10 "
        "ms.",
        paper="MoSAM: Motion-Guided Segment Anything Model with Spatial-Temporal Memory Selection, 2025; our reconstruction, "
        "its code and constants are not public.",
    )

    guidance: str = option(
        "sparse",
        "prompts made up from motion (the paper has both; choice ours, by our benchmark)",
        effect="sparse: five points, extrapolated; dense: a box, carried by optical flow; both; none",
        choices=("both", "sparse", "dense", "none"),
    )
    min_iou: float = option(
        0.7,
        "no prompts are made up unless the last mask's IoU estimate is above this (value ours)",
        effect="fewer prompts, from surer masks only",
        low=0,
        high=1,
    )
    box_margin: float = option(
        0.05,
        "what is added to the box on every side, in parts of it (value ours)",
        effect="looser guidance, forgives wrong flow",
        low=0,
        high=1,
    )
    max_area_change: float = option(
        2.0,
        "no prompts when flow makes the mask larger or smaller by more than this factor (value ours)",
        effect="trusts flow on objects that tear or vanish",
        low=1,
    )
    frame_selection: bool | None = option(
        None,
        "read the surest of the last frames instead of the latest; none: where the model reads more than three recent ones "
        "(choice ours, by our benchmark)",
        effect="bad frames are not read again, nor those that say that the object has gone",
    )
    candidate_frames: int = option(
        15,
        "frames to choose from (value ours)",
        effect="reaches further back, keeps more memories",
        low=1,
        high=1000,
    )
    candidate_stride: int = option(
        1,
        "steps between two of them (value ours)",
        effect="reaches further back, sees fewer of the latest changes",
        low=1,
        high=100,
    )
    keep_frames: int | None = option(
        None,
        "frames that are read; none: as many as the model has slots for",
        effect="more memories, less sure ones among them",
        low=1,
    )
    keep_previous: bool = option(
        True,
        "the frame before is read in any case, in place of the least sure (not said in the paper; choice ours)",
        effect="follows fast change; a bad last frame is read too",
    )
    pixel_confidence: float | None = option(
        None,
        "positions of a remembered frame are read when the mask there is at least this sure, at 0.5 all; none: 0.8 where the "
        "model reads more than three recent frames, else 0.5 (values ours)",
        effect="hides more of the object's edge and of doubtful parts",
        low=LEAST_CONFIDENCE,
        high=1,
    )
    max_conditioning: int | None = prompted_frames_option()
