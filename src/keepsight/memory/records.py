"""What an object leaves behind on a frame, and the bank that holds it.

A record's tensors (spatial memory, pointer) belong to the backbone that wrote them and are opaque here: policies decide
from scalars and small masks only, so they can be tested without weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from keepsight.core import Box, Region


class Role(StrEnum):
    """Why a record is in the bank."""

    PROMPT = "prompt"  # a person spoke about this frame
    ANCHOR = "anchor"  # a tracked frame that a policy promoted to a conditioning frame
    TRACK = "track"


@dataclass(eq=False)
class FrameRecord:
    """One object (and hypothesis) on one frame.

    Attributes:
        frame: frame index.
        role: see :class:`Role`.
        memory: spatial memory, readable by the backbone that wrote it; ``None`` once evicted or never written.
        pointer: object pointer, likewise.
        logits: chosen low-resolution mask logits ``(h, w)``, opaque; ``None`` once evicted.
        iou: the model's IoU estimate of the chosen candidate, in [0, 1]; 1 for a mask prompt.
        object_score: presence logit; > 0 means visible.
        area_px: positive low-resolution pixels of the chosen mask, counted as if the whole frame had been decoded.
        region: part of the frame that the model saw and that ``logits`` cover; ``None`` for the whole frame.
        box: box of the mask in px of the frame; while the object is gone, of the last frame that showed it.
        extent: larger side in px of the frame that the object is believed to have; follows the box slowly, so that one bad
            mask does not change it much.
        lost: steps since the object was last seen; 0 while it is there.
        candidate: index of the chosen candidate among those decoded.
        slot: place of the hypothesis in the policy's order, 0 = best.
        parent: record of the previous step that this one continues (``None`` for single-hypothesis policies, which
            have no use for the chain, and at a prompt).
        score: cumulative score of the hypothesis, in the policy's own unit.
        marks: further scalars that a policy wants to find again (motion IoU, effective IoU, ...).
    """

    frame: int
    role: Role
    memory: Any | None = None
    pointer: Any | None = None
    logits: Any | None = None
    iou: float = 0.0
    object_score: float = 0.0
    area_px: int = 0
    region: Region | None = None
    box: Box | None = None
    extent: float = 0.0
    lost: int = 0
    candidate: int = 0
    slot: int = 0
    parent: FrameRecord | None = None
    score: float = 0.0
    marks: dict[str, float] = field(default_factory=dict)

    @property
    def conditioning(self) -> bool:
        return self.role is not Role.TRACK

    def forget_spatial(self) -> None:
        """Frees everything but the pointer and the scalars."""
        self.memory = None
        self.logits = None


class ObjectMemory:
    """The records of one object, by frame.

    A frame holds either one conditioning record or the records of the surviving hypotheses, never both: a conditioning
    record replaces what was tracked there, as the references do at the start of a propagation.
    """

    def __init__(self) -> None:
        self.conditioning: dict[int, FrameRecord] = {}
        self.tracked: dict[int, list[FrameRecord]] = {}

    def add_conditioning(self, record: FrameRecord) -> None:
        self.conditioning[record.frame] = record
        self.tracked.pop(record.frame, None)

    def add_tracked(self, frame: int, records: list[FrameRecord]) -> None:
        self.tracked[frame] = records

    def track_record(self, frame: int, slot: int = 0) -> FrameRecord | None:
        """The tracked record of a hypothesis at a frame, ``None`` when there is none."""
        records = self.tracked.get(frame)
        return records[slot] if records and slot < len(records) else None

    def at(self, frame: int, slot: int = 0) -> FrameRecord | None:
        """The record at a frame, conditioning first."""
        return self.conditioning.get(frame) or self.track_record(frame, slot)

    def discard(self, frame: int) -> None:
        """Forgets a frame."""
        self.conditioning.pop(frame, None)
        self.tracked.pop(frame, None)

    def __iter__(self) -> Iterator[FrameRecord]:
        yield from self.conditioning.values()
        for records in self.tracked.values():
            yield from records

    def __len__(self) -> int:
        return len(self.conditioning) + sum(len(records) for records in self.tracked.values())
