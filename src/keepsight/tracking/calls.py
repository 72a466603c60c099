"""Calls on the backbone that following and prompting share: what is read, asked, decoded and remembered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from keepsight.core import Placement, Region
from keepsight.core.errors import InputError
from keepsight.memory import FrameRecord, Selection, Step
from keepsight.models.backbone import (
    ABSENT_LOGIT,
    Backbone,
    Decoded,
    ImageFeatures,
    MemoryRead,
    PointerToken,
    PromptBatch,
    UnitReads,
)
from keepsight.tracking.looks import labels_inside, middle
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import PointsAndLabels, Track

FAR_SHARE = 0.5
"""How far from where an object is now it may have been on a remembered frame, over the side of the present view. Beyond that its
place says nothing any more, and memories that compare places would find that nothing is where it was."""


class Calls:
    """What the engine says to a backbone, and how it takes the answers."""

    def __init__(self, backbone: Backbone, options: EngineOptions) -> None:
        self.backbone = backbone
        self.options = options

    def reads(
        self,
        selection: Selection,
        step: Step,
        region: Region,
        pace: tuple[float, float] = (0.0, 0.0),
        at: tuple[float, float] | None = None,
        anew: bool = False,
    ) -> UnitReads:
        """What a unit that looks at ``region`` attends to.

        Args:
            pace: px a frame that the object moves: remembered frames are taken to be where it would be by now, as if the
                camera had gone along with it.
            at: px of the frame, where the object is taken to be; conditioning frames that show it far away are read as if it
                had been there. None where that is not known: all places count as they are.
            anew: it was lost, so that where it was on recent frames says nothing either.
        """
        budget = self.backbone.info.pointers
        if step.frame_count is not None and not self.options.compatibility.stream_pointer_budget:
            budget = min(step.frame_count, budget)
        spatial = tuple(
            MemoryRead(
                read.record.memory,
                read.slot_code,
                read.record.conditioning,
                read.token_keep,
                read.key_scale,
                step.distance(read.record.frame),
                _placement(read.record, region, step.frame, pace, at if anew or read.record.conditioning else None),
            )
            for read in selection.spatial
        )
        pointers = tuple(
            PointerToken(read.record.pointer, read.position / max(budget - 1, 1), read.key_scale)
            for read in selection.pointers
            if read.record.pointer is not None
        )
        return UnitReads(spatial, pointers)

    def prompts(
        self, said: Sequence[PointsAndLabels], regions: Sequence[Region], logits: Tensor | None = None
    ) -> PromptBatch:
        """One batch of prompts in px of the frame, each seen in its region.

        Args:
            said: points and labels, the same number in each.
            logits: ``(B, 1, mask_size, mask_size)``, masks that are fed back.
        """
        pairs = list(zip(said, regions, strict=True))
        return PromptBatch(
            points=torch.stack([self._to_model(points, region) for (points, _), region in pairs]),
            labels=torch.tensor([labels_inside(*one, region) for one, region in pairs], dtype=torch.int32),
            logits=logits,
        )

    def _to_model(self, points: Sequence[tuple[float, float]], region: Region) -> Tensor:
        """Points in px of the frame as ``(P, 2)`` in px of the model input."""
        side = self.backbone.info.image_size
        return torch.tensor(
            [region.point_to_grid(x, y, side, side) for x, y in points],
            dtype=torch.float32,
        )

    def decode(
        self,
        features: ImageFeatures,
        conditioned: Any,
        prompts: PromptBatch | None,
        multimask: bool,
        views: Sequence[int],
        thresholds: Sequence[float],
    ) -> Decoded:
        """Candidates, emptied where the object is not there.

        Args:
            thresholds: presence logits, one a unit, at or below which masks are emptied and pointers swapped.

        Raises:
            InputError: the model gave NaN or infinite scores.
        """
        decoded = self.backbone.decode(features, conditioned, prompts, multimask, views)
        if not bool(torch.isfinite(decoded.object_scores).all() and torch.isfinite(decoded.ious).all()):
            raise InputError(
                f"Model '{self.backbone.info.name}' gave NaN or infinite scores; "
                "try --dtype float32, and check the weights with 'keepsight doctor'."
            )
        return self._gate(decoded, thresholds)

    def _gate(self, decoded: Decoded, thresholds: Sequence[float]) -> Decoded:
        """Empties masks and swaps pointers of units whose object is not there (hard gate, SAM 2)."""
        limit = torch.tensor(thresholds, device=decoded.object_scores.device, dtype=decoded.object_scores.dtype)
        present = decoded.object_scores > limit
        logits = torch.where(present[:, None, None, None], decoded.logits, ABSENT_LOGIT)
        pointers, absent = decoded.pointers, self.backbone.absent_pointer()
        if pointers is not None and absent is not None:
            weight = present.to(pointers.dtype)[:, None, None]
            pointers = weight * pointers + (1 - weight) * absent
        return replace(decoded, logits=logits, pointers=pointers)

    def encode(
        self, records: Sequence[FrameRecord], masks: Tensor, scores: Sequence[float], sight: Sight, *, binarize: bool
    ) -> None:
        """Writes the spatial memories of records of the present frame.

        Args:
            masks: logits ``(B, 1, h, w)``.
            scores: presence logits, one a record.
        """
        views = sight.see([record.region or sight.whole for record in records])
        present = torch.tensor(scores, device=self.backbone.device)
        memories = self.backbone.encode_memory(sight.features, masks, present, binarize, views)
        for record, memory in zip(records, memories, strict=True):
            record.memory = memory

    def write_pending(self, tracks: Iterable[Track], frame: int, sight: Sight) -> None:
        """Writes the spatial memories of everything that was prompted on a frame."""
        owed = [track.pending.pop(frame) for track in tracks if frame in track.pending]
        from_logits = [record for record in owed if record.memory is None]
        from_mask = [record for record in owed if record.memory is not None]
        for group in (from_logits, from_mask):
            if not group:
                continue
            if group is from_mask:
                masks = torch.cat([record.memory for record in group])  # type: ignore[misc]
            else:
                masks = torch.stack([record.logits for record in group])[:, None]  # type: ignore[misc]
            self.encode(group, masks, [record.object_score for record in group], sight, binarize=True)


def _placement(
    record: FrameRecord,
    region: Region,
    frame: int,
    pace: tuple[float, float],
    at: tuple[float, float] | None = None,
) -> Placement | None:
    """Of a remembered frame's view in the present one; ``None`` where they are the same."""
    # What a person has said may be long ago.
    by_x, by_y = (0.0, 0.0) if record.conditioning else (way * (frame - record.frame) for way in pace)
    if at is not None and record.box is not None:
        x, y = middle(record.box)
        to_x, to_y = at[0] - x, at[1] - y
        if max(abs(to_x) / region.width, abs(to_y) / region.height) > FAR_SHARE:
            by_x, by_y = to_x, to_y
    if record.region is None or (record.region == region and not by_x and not by_y):
        return None
    scale_x, scale_y, shift_x, shift_y = record.region.placement_in(region)
    return scale_x, scale_y, shift_x + by_x / region.width, shift_y + by_y / region.height
