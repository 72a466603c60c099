"""Prompted frames: what a person or a detector says about an object becomes a record in its bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from keepsight.core import Mask, Region, mask_box
from keepsight.memory import FrameRecord, Role, Selection, Step
from keepsight.tracking.appearance import learn_colours
from keepsight.tracking.calls import Calls
from keepsight.tracking.looks import (
    MOST_OVERLOOKED,
    Look,
    PreviousMask,
    best_heeding,
    best_look,
    closer,
    hull,
    measure_records,
    overlooked,
)
from keepsight.tracking.masks import fill_holes, keep_clicked, mask_to_model, measure, move_logits
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import FramePrompt, PointsAndLabels, Track, positive_points

REFINE_CLAMP = 32.0
"""Previous logits are clamped to +-32 before they are fed back (SAM 2's predictor)."""


class Prompting:
    """Answers prompts; see :meth:`keepsight.tracking.engine.Engine.prompt` and ``adopt``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._backbone = calls.backbone
        self._compatibility = calls.options.compatibility
        self._zoom = calls.options.closely

    # -- one object, by a person -------------------------------------------------------------------------------------
    def prompt(
        self, track: Track, step: Step, sight: Sight, previous: PreviousMask | None, hurried: bool = False
    ) -> FrameRecord:
        """The record of one object on one frame, its spatial memory still pending."""
        prompt = track.prompts[step.frame]
        # A correction is made from what other frames remember, not from the answer it is about to replace.
        track.bank.conditioning.pop(step.frame, None)
        tracked_before = track.tracked.direction(step.frame) is not None
        if prompt.mask is not None:
            record = self._by_mask(prompt.mask, step, sight)
        else:
            selection = Selection()
            if tracked_before and track.bank.conditioning:
                selection = track.selection(step, 0)
            threshold = track.policy.mask_presence_threshold
            record = self._by_points(prompt, selection, step, sight, previous, threshold, hurried)
        if tracked_before and not self._compatibility.corrections_last:
            record.role = Role.TRACK
            track.bank.discard(step.frame)
            track.bank.add_tracked(step.frame, [record])
        else:
            track.bank.add_conditioning(record)
        self._settle(track, record, sight)
        return record

    def _settle(self, track: Track, record: FrameRecord, sight: Sight) -> None:
        """What an object was told is owed a memory, shows what it looks like, and is news to its policy."""
        track.pending[record.frame] = record
        if self._zoom is not None:
            learn_colours(track, record, sight)
        track.policy.reset(record)

    def _by_mask(self, mask: Mask, step: Step, sight: Sight) -> FrameRecord:
        region = sight.whole
        box = mask_box(mask.to_array())
        if self._zoom is not None and box is not None:
            region = self._zoom.close_up(box, sight.size)
        pixels = mask_to_model(mask, self._backbone.info.image_size, region).to(self._backbone.device)
        record = self.records_of_masks(pixels, [region], step, sight)[0]
        measure_records([record], sight.size, [None])
        record.box = box
        record.extent = 0.0 if box is None else max(box[2] - box[0], box[3] - box[1])
        return record

    def _by_points(
        self,
        prompt: FramePrompt,
        selection: Selection,
        step: Step,
        sight: Sight,
        previous: PreviousMask | None,
        threshold: float,
        hurried: bool,
    ) -> FrameRecord:
        info = self._backbone.info
        said = prompt.as_points()
        fed_back = previous
        if not self._compatibility.refine_with_previous or not info.feeds_back_logits:
            fed_back = None
        regions = self._regions(prompt, previous, sight.size)
        if hurried:
            regions = [region for region in regions if sight.has(region)] or [sight.whole]
        looks = self._answer(said, regions, selection, step, sight, fed_back, threshold)
        bonus: tuple[float, ...] = ()
        if self._zoom is not None:
            # What a box or a mask that is there already frames is no question of part or whole.
            bonus = () if prompt.box is not None or previous is not None else info.whole_bonus
        # A box and a mask that is there already say where the object is; of clicks alone the model may take what is like it too.
        clicks = positive_points(prompt.points, prompt.labels) if prompt.box is None and previous is None else []
        chosen = best_look(looks, bonus)
        looks[chosen[0]] = self._as_clicked(looks[chosen[0]], chosen[1], clicks)
        if self._zoom is not None and not hurried:
            nearer = closer(looks[chosen[0]], chosen[1], self._zoom, sight.size)
            if nearer is not None:
                # The mask found from afar goes along, so that the second look means the same thing.
                first, candidate = looks[chosen[0]], chosen[1]
                guess = PreviousMask(first.logits[candidate], first.region) if info.feeds_back_logits else None
                looks = self._answer(said, [nearer], selection, step, sight, fed_back or guess, threshold)
                chosen = best_look(looks, bonus)
                looks[chosen[0]] = self._as_clicked(looks[chosen[0]], chosen[1], clicks)
            where = prompt.box is not None or positive_points(prompt.points, prompt.labels)
            if where and overlooked(looks[chosen[0]], chosen[1], prompt, kinds=(0,)) > MOST_OVERLOOKED:
                # As if there were no mask yet: what is fed back outweighs clicks that say that it is another thing.
                anew = self._regions(prompt, None, sight.size)
                looks += self._answer(said, anew, selection, step, sight, None, threshold, several=True)
                chosen = best_heeding(looks, prompt, sight.size)
        look, best = looks[chosen[0]], chosen[1]
        logits = fill_holes(look.logits[best], self._compatibility.fill_hole_px)
        if self._zoom is not None and prompt.box is not None and prompt.only_box and sight.has_pixels:
            drawn = look.region.box_to_grid(prompt.box, *logits.shape)
            logits = self._backbone.outline(logits, sight.pixels(look.region), drawn)
        record = FrameRecord(
            frame=step.frame,
            role=Role.PROMPT,
            pointer=None if look.pointers is None else look.pointers[best][None],
            logits=logits,
            iou=look.ious[best],
            object_score=look.object_score,
            candidate=best,
            region=look.region,
        )
        measure_records([record], sight.size, [None])
        return record

    def _as_clicked(self, look: Look, candidate: int, clicks: Sequence[tuple[float, float]]) -> Look:
        """A look without what lies far from all that was clicked on, in one of its masks."""
        if self._zoom is None or not self._zoom.stray or not clicks:
            return look
        cells = [look.region.point_to_grid(x, y, *look.logits.shape[-2:]) for x, y in clicks]
        logits = look.logits.clone()
        logits[candidate] = keep_clicked(logits[candidate], cells, self._zoom.stray)
        return replace(look, logits=logits)

    def regions_of_click(self, points: Sequence[tuple[float, float]], size: tuple[int, int]) -> list[Region]:
        """Where to look to answer the first clicks about an object on a frame."""
        return [Region.whole(*size)] if self._zoom is None else self._zoom.pyramid(points, size)

    def _regions(self, prompt: FramePrompt, previous: PreviousMask | None, size: tuple[int, int]) -> list[Region]:
        """Where to look to answer a prompt; several when it is open how large the object is."""
        if self._zoom is None:
            return [Region.whole(*size)]
        if prompt.box is not None:
            return [self._zoom.around_box(hull([prompt.box], prompt.points), size)]
        if previous is not None:
            box = previous.box()
            if box is not None:
                return [self._zoom.close_up(hull([box], prompt.points), size)]
        return self.regions_of_click(positive_points(prompt.points, prompt.labels) or prompt.points, size)

    def _answer(
        self,
        said: PointsAndLabels,
        regions: Sequence[Region],
        selection: Selection,
        step: Step,
        sight: Sight,
        previous: PreviousMask | None,
        threshold: float,
        *,
        several: bool = False,
    ) -> list[Look]:
        """Decodes the same prompt in every region, as one batch; for several candidates each, whatever the prompt."""
        views = sight.see(regions)
        fed_back = None
        if previous is not None:
            moved = [move_logits(previous.logits, previous.region, region) for region in regions]
            fed_back = torch.stack(moved)[:, None].clamp(-REFINE_CLAMP, REFINE_CLAMP)
        batch = self._calls.prompts([said] * len(regions), regions, fed_back)
        reads = [self._calls.reads(selection, step, region) for region in regions]
        features = sight.features
        conditioned = self._backbone.condition(features, reads, views)
        multimask = several or self._backbone.info.multimask(len(said[0]), prompted=True)
        decoded = self._calls.decode(features, conditioned, batch, multimask, views, [threshold] * len(regions))
        scores, ious = decoded.object_scores.float().cpu().tolist(), decoded.ious.float().cpu().tolist()
        pointers = decoded.pointers
        return [
            Look(region, decoded.logits[i], ious[i], scores[i], None if pointers is None else pointers[i])
            for i, region in enumerate(regions)
        ]

    # -- many objects, by a detector ---------------------------------------------------------------------------------
    def adopt(
        self, tracks: Sequence[Track], step: Step, sight: Sight, logits: Tensor, regions: Sequence[Region]
    ) -> list[FrameRecord]:
        """Records of objects that a detector found, an object a mask, written."""
        at_once = self._calls.options.units_per_decode
        records: list[FrameRecord] = []
        for start in range(0, len(tracks), at_once):
            rows = slice(start, start + at_once)
            pixels, views = self._found_pixels(logits[rows], regions[rows], sight)
            records += self.records_of_masks(pixels, views, step, sight)
        measure_records(records, sight.size, [None] * len(records))
        for track, record in zip(tracks, records, strict=True):
            track.bank.discard(step.frame)
            track.bank.add_conditioning(record)
            self._settle(track, record, sight)
        self._calls.write_pending(tracks, step.frame, sight)
        if self._zoom is None:
            shown, size = logits.to(self._backbone.device).float(), (self._backbone.info.mask_size,) * 2
            if shown.shape[-2:] != size:
                shown = F.interpolate(shown[:, None], size, mode="bilinear", antialias=True)[:, 0]
            for record, mask in zip(records, shown, strict=True):
                record.logits = mask.clone()
        return records

    def _found_pixels(self, logits: Tensor, regions: Sequence[Region], sight: Sight) -> tuple[Tensor, list[Region]]:
        """Detected masks as the model takes masks, and the regions they are shown to it in."""
        size = (self._backbone.info.image_size,) * 2
        logits = logits.to(self._backbone.device, torch.float32)
        if self._compatibility.found_mask_cut_first:
            cut = (logits >= 0.5).to(self._backbone.dtype)[:, None]
            resized = F.interpolate(cut.float(), size, mode="bilinear", antialias=True)
            return resized.to(self._backbone.dtype), list(regions)
        views = list(regions)
        if self._zoom is not None:
            _, boxes = measure(logits)
            for row, box in enumerate(boxes):
                if box is not None:
                    place = regions[row].box_from_grid(box, *logits.shape[-2:])
                    views[row] = self._zoom.close_up(place, sight.size)
        moved = [move_logits(mask, here, there) for mask, here, there in zip(logits, regions, views, strict=True)]
        fine = F.interpolate(torch.stack(moved)[:, None], size, mode="bilinear", align_corners=False)
        # A thin object must not vanish: fall back to its strongest cell.
        best = fine.flatten(1).amax(1)[:, None, None, None]
        return ((fine > 0) | ((best <= 0) & (fine == best))).to(self._backbone.dtype), views

    # -- masks that are given, not predicted -------------------------------------------------------------------------
    def records_of_masks(
        self, pixels: Tensor, regions: Sequence[Region], step: Step, sight: Sight
    ) -> list[FrameRecord]:
        """Records of given masks.

        Args:
            pixels: ``(B, 1, image_size, image_size)`` in [0, 1] over ``regions``.
        """
        views = sight.see(regions)
        high = pixels * 20.0 - 10.0
        size = (self._backbone.info.mask_size,) * 2
        # In float32, because CPUs cannot do it in bfloat16.
        low = F.interpolate(high.float(), size=size, mode="bilinear", align_corners=False, antialias=True)
        low = low.to(high.dtype)
        from_best = self._compatibility.mask_pointer_from_best
        pointers = self._backbone.mask_prompt_pointer(sight.features, pixels, from_best, views)
        there = pixels.flatten(1).any(1)
        absent = self._backbone.absent_pointer()
        if pointers is not None and absent is not None:
            pointers = torch.where(there[:, None], pointers, absent)
        records = []
        for row, (region, visible) in enumerate(zip(regions, there.tolist(), strict=True)):
            record = FrameRecord(
                frame=step.frame,
                role=Role.PROMPT,
                pointer=None if pointers is None else pointers[row : row + 1],
                logits=low[row, 0].clone(),
                iou=1.0,
                object_score=10.0 if visible else -10.0,
                region=region,
            )
            if not self._compatibility.mask_memory_from_low_res:
                # Kept until the memory is written; the logits alone have lost the mask's edge.
                record.memory = high[row : row + 1].clone()
            records.append(record)
        return records
