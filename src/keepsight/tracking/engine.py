"""The batched step: all hypotheses of all objects of a frame go through each sub-module together.

The engine holds no memory rule and no session state. It asks each object's policy what to read, hands the reads of all
units to the backbone, lets the policies choose among the candidates, and writes what they want written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Box, Mask, Region, mask_box
from keepsight.core.errors import InputError
from keepsight.memory import (
    Candidates,
    FrameRecord,
    Policy,
    ProposedPrompts,
    Role,
    Selection,
    Step,
    Survivor,
    WritePlan,
)
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
from keepsight.tracking.appearance import likeness
from keepsight.tracking.candidates import CandidateMasks, sharpen_together
from keepsight.tracking.looks import (
    Look,
    PreviousMask,
    alike,
    best_look,
    closer,
    colours_in,
    hull,
    labels_inside,
    last_record,
    measure_records,
    region_of,
    tidy,
)
from keepsight.tracking.masks import fill_holes, mask_to_model, measure, move_logits
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import FramePrompt, Track

REFINE_CLAMP = 32.0
"""Previous logits are clamped to +-32 before they are fed back (SAM 2's predictor)."""

DISMISSED_SCORE = -2.0
"""Presence logit of something that was found in place of a lost object and is not it."""

COLOURS_EVERY = 4
"""Steps between two looks at an object's colours."""

COLOURS_RATE = 0.2
"""Weight of a new look."""

SURE_IOU, SURE_PRESENCE = 0.6, 2.0
"""IoU estimate and presence logit from which a frame teaches what an object looks like."""


@dataclass(eq=False)
class _Unit:
    """One hypothesis of one object on the current frame."""

    track: Track
    hypothesis: int
    region: Region
    selection: Selection
    reads: UnitReads
    proposed: ProposedPrompts | None
    parent: FrameRecord | None
    last: FrameRecord | None  # where the object was last, whatever the hypothesis
    logits: CandidateMasks | None = None  # M of them, absent gate applied
    ious: Tensor | None = None  # (M,)
    object_score: float = 0.0
    pointers: Tensor | None = None  # (M, C), absent gate applied


@dataclass(eq=False)
class Chosen:
    """What was chosen for one hypothesis of one object on a frame, before it is written.

    Attributes:
        record: its ``logits`` are what is going to be shown and remembered, over the record's region.
        plan: how it is going to be written.
        to_write: logits ``(h, w)`` to be remembered instead of the record's; of one size for all of a frame.
    """

    track: Track
    record: FrameRecord
    plan: WritePlan
    to_write: Tensor | None = None


Reviser: TypeAlias = Callable[[Sequence[Chosen]], None]
"""May change masks, presence and plans of a frame between choosing and writing; called once a step, for all objects together,
also when there is none."""


_Arguments = ParamSpec("_Arguments")
_Answer = TypeVar("_Answer")


def _at_work(
    method: Callable[Concatenate[Engine, _Arguments], _Answer],
) -> Callable[Concatenate[Engine, _Arguments], _Answer]:
    """Runs a method without gradients, with the backbone's threads at hand."""

    @wraps(method)
    def run(self: Engine, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Answer:
        with self.backbone.leading(), torch.inference_mode():
            return method(self, *args, **kwargs)

    return run


class Engine:
    """Runs steps for any number of tracks on one backbone."""

    def __init__(self, backbone: Backbone, options: EngineOptions) -> None:
        self.backbone = backbone
        self.options = options
        self.compatibility = options.compatibility
        self.units_decoded = 0

    # -- prompted frames ---------------------------------------------------------------------------------------------
    @_at_work
    def prompt(self, track: Track, step: Step, sight: Sight, previous: PreviousMask | None) -> FrameRecord:
        """Answers the prompts of one object on one frame; writes a record, its spatial memory still pending.

        Args:
            previous: the mask that is there already, fed back with the clicks.
        """
        prompt = track.prompts[step.frame]
        # A correction is made from what other frames remember, not from the answer it is about to replace.
        track.bank.conditioning.pop(step.frame, None)
        tracked_before = track.tracked.direction(step.frame) is not None
        if prompt.mask is not None:
            record = self._prompt_by_mask(prompt, prompt.mask, step, sight)
        else:
            record = self._prompt_by_points(track, prompt, step, sight, previous, tracked_before)
        if tracked_before and not self.compatibility.corrections_last:
            record.role = Role.TRACK
            track.bank.discard(step.frame)
            track.bank.add_tracked(step.frame, [record])
        else:
            track.bank.add_conditioning(record)
        track.pending[step.frame] = record
        if self.options.closely is not None and record.logits is not None:
            seen = colours_in(record.logits, record.region or sight.whole, sight)
            track.colours = track.colours if seen is None else seen
        track.policy.reset(record)
        return record

    def _prompt_by_mask(self, prompt: FramePrompt, mask: Mask, step: Step, sight: Sight) -> FrameRecord:
        info = self.backbone.info
        region = sight.whole
        box = mask_box(mask.to_array())
        if self.options.closely is not None and box is not None:
            region = self.options.closely.close_up(box, sight.size)
        pixels = mask_to_model(mask, info.image_size, region).to(self.backbone.device)
        record = self._records_of_masks(pixels, [region], step, sight)[0]
        measure_records([record], sight.size, [None])
        record.box = box
        record.extent = 0.0 if box is None else max(box[2] - box[0], box[3] - box[1])
        return record

    def _records_of_masks(
        self, pixels: Tensor, regions: Sequence[Region], step: Step, sight: Sight
    ) -> list[FrameRecord]:
        """Records of masks that are given, not predicted.

        Args:
            pixels: ``(B, 1, image_size, image_size)`` in [0, 1] over ``regions``.
        """
        info = self.backbone.info
        views = sight.see(regions)
        high = pixels * 20.0 - 10.0
        low = torch.nn.functional.interpolate(
            high, size=(info.mask_size,) * 2, mode="bilinear", align_corners=False, antialias=True
        )
        from_best = self.compatibility.mask_pointer_from_best
        pointers = self.backbone.mask_prompt_pointer(sight.features, pixels, from_best, views)
        there = pixels.flatten(1).any(1)
        absent = self.backbone.absent_pointer()
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
            if not self.compatibility.mask_memory_from_low_res:
                # Kept until the memory is written; the logits alone have lost the mask's edge.
                record.memory = high[row : row + 1].clone()
            records.append(record)
        return records

    def _prompt_by_points(
        self,
        track: Track,
        prompt: FramePrompt,
        step: Step,
        sight: Sight,
        previous: PreviousMask | None,
        tracked_before: bool,
    ) -> FrameRecord:
        info = self.backbone.info
        selection = Selection()
        if tracked_before and track.bank.conditioning:
            selection = self._selection(track, step, 0)
        points, labels = prompt.as_points()
        fed_back = previous
        if not self.compatibility.refine_with_previous or not info.feeds_back_logits:
            fed_back = None
        regions = self._prompt_regions(prompt, previous, sight.size)
        threshold = track.policy.mask_presence_threshold
        looks = self._answer(points, labels, regions, selection, step, sight, fed_back, threshold)
        bonus: tuple[float, ...] = ()
        if self.options.closely is not None:
            # What a box or a mask that is there already frames is no question of part or whole.
            bonus = () if prompt.box is not None or previous is not None else info.whole_bonus
        chosen = best_look(looks, bonus)
        if self.options.closely is not None:
            nearer = closer(looks[chosen[0]], chosen[1], self.options.closely, sight.size)
            if nearer is not None:
                # The mask found from afar goes along, so that the second look means the same thing.
                first, candidate = looks[chosen[0]], chosen[1]
                guess = PreviousMask(first.logits[candidate], first.region) if info.feeds_back_logits else None
                looks = self._answer(points, labels, [nearer], selection, step, sight, fed_back or guess, threshold)
                chosen = best_look(looks, bonus)
        look, best = looks[chosen[0]], chosen[1]
        logits = fill_holes(look.logits[best], self.compatibility.fill_hole_px)
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

    def _prompt_regions(
        self, prompt: FramePrompt, previous: PreviousMask | None, size: tuple[int, int]
    ) -> list[Region]:
        """Where to look to answer a prompt; several when it is open how large the object is."""
        zoom = self.options.closely
        if zoom is None:
            return [Region.whole(*size)]
        if prompt.box is not None:
            return [zoom.around_box(hull([prompt.box], prompt.points), size)]
        if previous is not None:
            box = previous.box()
            if box is not None:
                return [zoom.close_up(hull([box], prompt.points), size)]
        positive = [point for point, label in zip(prompt.points, prompt.labels, strict=True) if label == 1]
        return zoom.pyramid(positive or prompt.points, size)

    def _answer(
        self,
        points: Sequence[tuple[float, float]],
        labels: Sequence[int],
        regions: Sequence[Region],
        selection: Selection,
        step: Step,
        sight: Sight,
        previous: PreviousMask | None,
        presence_threshold: float,
    ) -> list[Look]:
        """Decodes the same prompt in every region, as one batch."""
        info = self.backbone.info
        views = sight.see(regions)
        fed_back = None
        if previous is not None:
            moved = [move_logits(previous.logits, previous.region, region) for region in regions]
            fed_back = torch.stack(moved)[:, None].clamp(-REFINE_CLAMP, REFINE_CLAMP)
        batch = PromptBatch(
            points=torch.stack([self._to_model(points, region) for region in regions]),
            labels=torch.tensor([labels_inside(points, labels, region) for region in regions], dtype=torch.int32),
            logits=fed_back,
        )
        reads = [self._reads(selection, step, region) for region in regions]
        features = sight.features
        conditioned = self.backbone.condition(features, reads, views)
        decoded = self.backbone.decode(features, conditioned, batch, info.multimask(len(points), prompted=True), views)
        self._check_finite(decoded)
        logits, pointers = self._gate(decoded, [presence_threshold] * len(regions))
        scores, ious = decoded.object_scores.float().cpu().tolist(), decoded.ious.float().cpu().tolist()
        return [
            Look(region, logits[i], ious[i], scores[i], None if pointers is None else pointers[i])
            for i, region in enumerate(regions)
        ]

    # -- objects that a detector found -------------------------------------------------------------------------------
    @_at_work
    def adopt(
        self, tracks: Sequence[Track], step: Step, sight: Sight, logits: Tensor, regions: Sequence[Region]
    ) -> list[FrameRecord]:
        """Tells objects what they look like on a frame by detected masks, as if a person had drawn these.

        Args:
            logits: ``(B, h, w)``, one mask an object, over ``regions``.

        Returns:
            The records, written, already in the tracks' banks; they show the detected masks.
        """
        records: list[FrameRecord] = []
        for start in range(0, len(tracks), self.options.units_per_decode):
            rows = slice(start, start + self.options.units_per_decode)
            pixels, views = self._found_pixels(logits[rows], regions[rows], sight)
            records += self._records_of_masks(pixels, views, step, sight)
        measure_records(records, sight.size, [None] * len(records))
        for track, record in zip(tracks, records, strict=True):
            track.bank.discard(step.frame)
            track.bank.add_conditioning(record)
            track.pending[step.frame] = record
            if self.options.closely is not None and record.logits is not None:
                seen = colours_in(record.logits, record.region or sight.whole, sight)
                track.colours = track.colours if seen is None else seen
            track.policy.reset(record)
        self.write_pending(tracks, step.frame, sight)
        if self.options.closely is None:
            shown, size = logits.to(self.backbone.device).float(), (self.backbone.info.mask_size,) * 2
            if shown.shape[-2:] != size:
                shown = torch.nn.functional.interpolate(shown[:, None], size, mode="bilinear", antialias=True)[:, 0]
            for record, mask in zip(records, shown, strict=True):
                record.logits = mask.clone()
        return records

    def _found_pixels(self, logits: Tensor, regions: Sequence[Region], sight: Sight) -> tuple[Tensor, list[Region]]:
        """Detected masks as the model takes masks, and the regions they are shown to it in."""
        size = (self.backbone.info.image_size,) * 2
        logits = logits.to(self.backbone.device, torch.float32)
        if self.compatibility.found_mask_cut_first:
            cut = (logits >= 0.5).to(self.backbone.dtype)[:, None]
            resized = torch.nn.functional.interpolate(cut.float(), size, mode="bilinear", antialias=True)
            return resized.to(self.backbone.dtype), list(regions)
        views = list(regions)
        if self.options.closely is not None:
            _, boxes = measure(logits)
            for row, box in enumerate(boxes):
                if box is not None:
                    place = regions[row].box_from_grid(box, *logits.shape[-2:])
                    views[row] = self.options.closely.close_up(place, sight.size)
        moved = [move_logits(mask, here, there) for mask, here, there in zip(logits, regions, views, strict=True)]
        fine = torch.nn.functional.interpolate(torch.stack(moved)[:, None], size, mode="bilinear", align_corners=False)
        # A thin object must not vanish: fall back to its strongest cell.
        best = fine.flatten(1).amax(1)[:, None, None, None]
        return ((fine > 0) | ((best <= 0) & (fine == best))).to(self.backbone.dtype), views

    @_at_work
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
            self._encode(group, masks, [record.object_score for record in group], sight, binarize=True)

    def _encode(
        self, records: Sequence[FrameRecord], masks: Tensor, scores: Sequence[float], sight: Sight, *, binarize: bool
    ) -> None:
        """Writes the spatial memories of records of the present frame."""
        views = sight.see([record.region or sight.whole for record in records])
        present = torch.tensor(scores, device=self.backbone.device)
        memories = self.backbone.encode_memory(sight.features, masks, present, binarize, views)
        for record, memory in zip(records, memories, strict=True):
            record.memory = memory

    # -- tracked frames ----------------------------------------------------------------------------------------------
    @_at_work
    def look(self, tracks: Sequence[Track], step: Step, sight: Sight) -> None:
        """Encodes what :meth:`step` is going to look at first; only to time it apart from the rest."""
        moving = [track for track in tracks if step.frame not in track.bank.conditioning]
        pending = [track.pending[step.frame].region for track in tracks if step.frame in track.pending]
        regions = [region_of(track, step, sight.size, self.options.closely) for track in moving]
        sight.see([*regions, *(region or sight.whole for region in pending)])

    @_at_work
    def step(self, tracks: Sequence[Track], step: Step, sight: Sight, revise: Reviser | None = None) -> None:
        """Follows ``tracks`` onto a frame; objects with a conditioning record there keep it.

        Args:
            revise: has a say in what was chosen before it is written.
        """
        prompted_here = any(step.frame in track.pending for track in tracks)
        self.write_pending(tracks, step.frame, sight)
        moving = [track for track in tracks if step.frame not in track.bank.conditioning]
        units = [unit for track in moving for unit in self._units(track, step, sight)]
        if units:
            self._decode_units(units, sight)
            again = self._second_looks(units, step, sight)
            if again:
                self._decode_units(again, sight)
            self._dismiss(units, sight)
            self._choose_and_write(units, step, sight, prompted_here, revise)
        elif revise is not None:
            revise([])
        for track in tracks:
            self._change_roles(track, step, sight)
            if not self.options.keep_all_memory:
                track.policy.evict(step, track.bank)
        for track in moving:
            track.tracked.add(step.frame, step.stride, step.reverse)

    def _units(self, track: Track, step: Step, sight: Sight) -> list[_Unit]:
        units = []
        region = region_of(track, step, sight.size, self.options.closely)
        last = last_record(track, step)
        for hypothesis in track.policy.active_hypotheses(step, track.bank):
            selection = self._selection(track, step, hypothesis)
            proposed = track.policy.propose_prompts(step, track.bank, hypothesis, sight)
            parent = track.bank.at(step.back(1), hypothesis)
            reads = self._reads(selection, step, region)
            units.append(_Unit(track, hypothesis, region, selection, reads, proposed, parent, last))
        return units

    def _second_looks(self, units: Sequence[_Unit], step: Step, sight: Sight) -> list[_Unit]:
        """Moves the region of objects that were not seen well in the first one; gives the units to decode again.

        A lost object that seems to be found is confirmed from near before anybody is told; a mask that runs into the
        border of its region is seen whole. All hypotheses of an object look at the same region.
        """
        zoom = self.options.closely
        if zoom is None:
            return []
        regions: dict[int, Region] = {}
        for unit, box in zip(units, _best_boxes(units, sight.size), strict=True):
            if id(unit.track) in regions or box is None:
                continue
            if unit.last is not None and unit.last.lost:
                better: Region | None = zoom.close_up(box, sight.size)
                if better is not None and alike(better, unit.region):
                    better = None
            else:
                better = zoom.recentre(box, unit.last.extent if unit.last else 0.0, unit.region, sight.size)
            if better is not None and better != unit.region:
                regions[id(unit.track)] = better
        again = [unit for unit in units if id(unit.track) in regions]
        for unit in again:
            unit.region = regions[id(unit.track)]
            unit.reads = self._reads(unit.selection, step, unit.region)
        return again

    def _dismiss(self, units: Sequence[_Unit], sight: Sight) -> None:
        """Takes back what is not the object, by its size and colours.

        A lost object that seems to be found is checked always; one that is being followed only when next to nothing is
        left of it, for that is how a mask stays behind on something else when its object leaves.
        """
        zoom = self.options.closely
        if zoom is None:
            return
        absent = self.backbone.absent_pointer()
        for unit, box in zip(units, _best_boxes(units, sight.size), strict=True):
            if box is None or unit.last is None or not unit.last.extent:
                continue
            assert unit.logits is not None
            assert unit.ious is not None
            if unit.last.lost:
                fits = zoom.plausible(box, unit.last.extent, float(unit.ious.max()))
                keep = fits and self._likeness(unit, sight) >= zoom.found_likeness
            elif zoom.remnant(box, unit.last.extent):
                keep = self._likeness(unit, sight) >= zoom.kept_likeness
            else:
                keep = True
            if not keep:
                unit.logits = unit.logits.emptied()
                unit.object_score = min(unit.object_score, DISMISSED_SCORE)
                if unit.pointers is not None and absent is not None:
                    unit.pointers = absent.expand_as(unit.pointers)

    def _likeness(self, unit: _Unit, sight: Sight) -> float:
        """How much the best candidate looks like the object, by colours; 1 when that is not known."""
        assert unit.logits is not None
        assert unit.ious is not None
        known = unit.track.colours
        if known is None:
            return 1.0
        seen = colours_in(unit.logits[int(unit.ious.argmax())], unit.region, sight)
        return 0.0 if seen is None else likeness(known, seen)

    def _remember_colours(self, track: Track, record: FrameRecord, step: Step, sight: Sight) -> None:
        """Keeps what an object looks like up to date, now and then, from frames on which it is certain."""
        # Counted in steps: a run need not begin on a multiple of its stride.
        due = step.frame // step.stride % COLOURS_EVERY == 0
        sure = record.lost == 0 and record.iou >= SURE_IOU and record.object_score >= SURE_PRESENCE
        if self.options.closely is None or record.logits is None or not (due and sure):
            return
        seen = colours_in(record.logits, record.region or sight.whole, sight)
        if seen is not None:
            track.colours = seen if track.colours is None else track.colours + COLOURS_RATE * (seen - track.colours)

    def _selection(self, track: Track, step: Step, hypothesis: int) -> Selection:
        return track.policy.modulate(step, track.policy.select_memory(step, track.bank, hypothesis))

    def _reads(self, selection: Selection, step: Step, region: Region) -> UnitReads:
        budget = self.backbone.info.pointers
        if step.frame_count is not None and not self.compatibility.stream_pointer_budget:
            budget = min(step.frame_count, budget)
        spatial = tuple(
            MemoryRead(
                read.record.memory,
                read.slot_code,
                read.record.conditioning,
                read.token_keep,
                read.key_scale,
                step.distance(read.record.frame),
                None if read.record.region in (None, region) else read.record.region.placement_in(region),
            )
            for read in selection.spatial
        )
        pointers = tuple(
            PointerToken(read.record.pointer, read.position / max(budget - 1, 1), read.key_scale)
            for read in selection.pointers
            if read.record.pointer is not None
        )
        return UnitReads(spatial, pointers)

    def _decode_units(self, units: Sequence[_Unit], sight: Sight) -> None:
        """Fills in the candidates of every unit, in as few calls as their prompts allow."""
        self.units_decoded += len(units)
        views = dict(zip(map(id, units), sight.see([unit.region for unit in units]), strict=True))
        features = sight.features
        coarse = self.backbone.coarse(features)
        with_memory = [unit for unit in units if unit.reads.spatial]
        without = [unit for unit in units if not unit.reads.spatial]
        for group in (with_memory, without):
            for start in range(0, len(group), self.options.units_per_decode):
                chunk = group[start : start + self.options.units_per_decode]
                seen = [views[id(unit)] for unit in chunk]
                conditioned = self.backbone.condition(features, [unit.reads for unit in chunk], seen)
                for members, batch, multimask in self._prompt_batches(chunk):
                    rows = self.backbone.select_units(conditioned, members)
                    decoded = self.backbone.decode(coarse, rows, batch, multimask, [seen[i] for i in members])
                    self._check_finite(decoded)
                    self._take(decoded, [chunk[member] for member in members], features, [seen[i] for i in members])

    def _prompt_batches(self, units: Sequence[_Unit]) -> list[tuple[list[int], PromptBatch | None, bool]]:
        """Units that may share a decoder call: the same number of proposed points, the same kind of output."""
        info = self.backbone.info
        groups: dict[tuple[int, bool], list[int]] = {}
        prompts: list[tuple[list[tuple[float, float]], list[int]]] = []
        for index, unit in enumerate(units):
            prompt, force = FramePrompt(), False
            if unit.proposed is not None:
                proposed = unit.proposed
                prompt = FramePrompt(list(proposed.points), list(proposed.labels), proposed.box)
                force = proposed.force_multimask
            points, labels = prompt.as_points()
            prompts.append((points, labels))
            multimask = force or info.multimask(len(points), prompted=False)
            groups.setdefault((len(points), multimask), []).append(index)
        batches: list[tuple[list[int], PromptBatch | None, bool]] = []
        for (count, multimask), members in groups.items():
            batch = None
            if count:
                batch = PromptBatch(
                    points=torch.stack([self._to_model(prompts[i][0], units[i].region) for i in members]),
                    labels=torch.tensor(
                        [labels_inside(*prompts[i], units[i].region) for i in members], dtype=torch.int32
                    ),
                )
            batches.append((members, batch, multimask))
        return batches

    def _take(self, decoded: Decoded, units: Sequence[_Unit], features: ImageFeatures, views: Sequence[int]) -> None:
        logits, pointers = self._gate(decoded, [unit.track.policy.mask_presence_threshold for unit in units])
        scores = decoded.object_scores.float().cpu().tolist()
        for row, unit in enumerate(units):
            unit.logits = CandidateMasks(self.backbone, features, views[row], logits[row])
            unit.ious, unit.object_score = decoded.ious[row], scores[row]
            unit.pointers = None if pointers is None else pointers[row]

    def _gate(self, decoded: Decoded, thresholds: Sequence[float]) -> tuple[Tensor, Tensor | None]:
        """Empties masks and swaps pointers of units whose object is not there (hard gate, SAM 2)."""
        limit = torch.tensor(thresholds, device=decoded.object_scores.device, dtype=decoded.object_scores.dtype)
        present = decoded.object_scores > limit
        logits = torch.where(present[:, None, None, None], decoded.logits, ABSENT_LOGIT)
        pointers, absent = decoded.pointers, self.backbone.absent_pointer()
        if pointers is not None and absent is not None:
            weight = present.to(pointers.dtype)[:, None, None]
            pointers = weight * pointers + (1 - weight) * absent
        return logits, pointers

    def _choose_and_write(
        self, units: Sequence[_Unit], step: Step, sight: Sight, prompted_here: bool, revise: Reviser | None
    ) -> None:
        by_track: dict[int, list[_Unit]] = {}
        for unit in units:
            by_track.setdefault(id(unit.track), []).append(unit)
        decided: list[tuple[Track, list[tuple[_Unit, Survivor, WritePlan]]]] = []
        for members in by_track.values():
            track = members[0].track
            candidates = [_candidates(unit) for unit in members]
            survivors = track.policy.choose(step, candidates)
            plans = track.policy.write_plan(step, survivors, candidates)
            if any(unit.proposed is not None and unit.proposed.as_prompted for unit in members):
                plans = [replace(plan, binarize=True) for plan in plans]
            runs = {unit.hypothesis: unit for unit in members}
            lived = [runs[survivor.hypothesis] for survivor in survivors]
            decided.append((track, list(zip(lived, survivors, plans, strict=True))))
        _sharpen([(unit, survivor.candidate) for _, lives in decided for unit, survivor, _ in lives])
        kept: list[Chosen] = []
        committed: list[tuple[Track, list[FrameRecord]]] = []
        lasts: list[FrameRecord | None] = []
        for track, lives in decided:
            records = [_record(step, *life, slot) for slot, life in enumerate(lives)]
            kept += [Chosen(track, record, plan) for record, (_, _, plan) in zip(records, lives, strict=True)]
            lasts += [lives[0][0].last] * len(records)
            committed.append((track, records))
        if self.options.closely is not None:
            tidy([item.record for item in kept], self.options.closely)
        measure_records([item.record for item in kept], sight.size, lasts, self.options.closely)
        _score_frames(committed, units)
        if revise is not None:
            revise(kept)
        binarize_all = prompted_here and self.compatibility.binarize_neighbours
        self._write([item for item in kept if item.plan.write], sight, binarize_all)
        for track, records in committed:
            track.policy.commit(step, track.bank, records)
            self._remember_colours(track, records[0], step, sight)

    def _write(self, writes: Sequence[Chosen], sight: Sight, binarize_all: bool) -> None:
        for binarize in (False, True):
            group = [item for item in writes if (item.plan.binarize or binarize_all) == binarize]
            for start in range(0, len(group), self.options.units_per_decode):
                chunk = group[start : start + self.options.units_per_decode]
                masks = [item.record.logits if item.to_write is None else item.to_write for item in chunk]
                scores = [
                    item.record.object_score if item.plan.object_score is None else item.plan.object_score
                    for item in chunk
                ]
                stacked = torch.stack(masks)[:, None]  # type: ignore[arg-type]
                self._encode([item.record for item in chunk], stacked, scores, sight, binarize=binarize)

    def _change_roles(self, track: Track, step: Step, sight: Sight) -> None:
        for change in track.policy.role_changes(step, track.bank):
            record = change.record
            record.role = change.role
            if record.conditioning:
                track.bank.add_conditioning(record)
            else:
                track.bank.discard(record.frame)
                track.bank.add_tracked(record.frame, [record])
            if change.reencode:
                if record.frame != step.frame:
                    raise ValueError("only the current frame can be written anew: older features are gone")
                assert record.logits is not None
                self._encode([record], record.logits[None, None], [record.object_score], sight, binarize=True)

    # -- small things ------------------------------------------------------------------------------------------------
    def _to_model(self, points: Sequence[tuple[float, float]], region: Region) -> Tensor:
        """Points in px of the frame as ``(P, 2)`` in px of the model input."""
        side = self.backbone.info.image_size
        return torch.tensor(
            [((x - region.x1) / region.width * side, (y - region.y1) / region.height * side) for x, y in points],
            dtype=torch.float32,
        )

    def _check_finite(self, decoded: Decoded) -> None:
        if not bool(torch.isfinite(decoded.object_scores).all() and torch.isfinite(decoded.ious).all()):
            raise InputError(
                f"Model '{self.backbone.info.name}' gave NaN or infinite scores; "
                "try --dtype float32, and check the weights with 'keepsight doctor'."
            )


def _score_frames(committed: Sequence[tuple[Track, list[FrameRecord]]], units: Sequence[_Unit]) -> None:
    """Lets each kind of policy score the frame over the objects of a group at once.

    Objects that a person pointed at are one group; what a detector found on the same frame is one (SAM 3).
    """
    best: dict[int, float] = {}
    for unit in units:
        assert unit.ious is not None
        best[id(unit.track)] = max(best.get(id(unit.track), 0.0), float(unit.ious.max()))
    groups: dict[tuple[type[Policy], int | None], list[tuple[Track, list[FrameRecord]]]] = {}
    for track, records in committed:
        groups.setdefault(track.group, []).append((track, records))
    for (kind, _), members in groups.items():
        logits = np.array([records[0].object_score for _, records in members])
        presences = np.maximum(0.0, np.tanh(logits / 2))  # 2 sigmoid(x) - 1
        qualities = np.array([best[id(track)] for track, _ in members])
        for (_, records), score in zip(members, kind.reduce_group(presences, qualities), strict=True):
            for record in records:
                record.marks["frame_score"] = float(score)


def _candidates(unit: _Unit) -> Candidates:
    assert unit.logits is not None
    assert unit.ious is not None
    logits = unit.logits

    def mask(index: int) -> NDArray[np.bool_]:
        return (logits[index] > 0).cpu().numpy()

    return Candidates(
        hypothesis=unit.hypothesis,
        ious=tuple(unit.ious.float().cpu().tolist()),
        object_score=unit.object_score,
        parent=unit.parent,
        mask=mask,
        region=unit.region,
        logits=lambda index: logits[index].float().cpu().numpy(),
    )


def _record(step: Step, unit: _Unit, survivor: Survivor, plan: WritePlan, slot: int) -> FrameRecord:
    assert unit.logits is not None
    assert unit.ious is not None
    # Cloned: a view would keep all candidates of all units of the frame alive.
    logits = unit.logits[survivor.candidate].clone()
    return FrameRecord(
        frame=step.frame,
        role=Role.TRACK,
        pointer=None if unit.pointers is None else unit.pointers[survivor.candidate][None].clone(),
        logits=logits,
        iou=float(unit.ious[survivor.candidate]),
        object_score=unit.object_score,
        region=unit.region,
        candidate=survivor.candidate,
        slot=slot,
        score=survivor.score,
        marks=dict(plan.marks),
    )


def _sharpen(wanted: Sequence[tuple[_Unit, int]]) -> list[Tensor]:
    """Candidates of units, at full size, in one go."""
    masks = []
    for unit, candidate in wanted:
        assert unit.logits is not None
        masks.append((unit.logits, candidate))
    return sharpen_together(masks)


def _best_boxes(units: Sequence[_Unit], size: tuple[int, int]) -> list[Box | None]:
    """Box in px of the frame of each unit's most trusted candidate, ``None`` where it is empty."""
    best = []
    for unit in units:
        assert unit.ious is not None
        best.append((unit, int(unit.ious.argmax())))
    chosen = _sharpen(best)
    shape = chosen[0].shape
    _, boxes = measure(torch.stack(chosen))
    return [
        None if box is None else unit.region.box_from_grid(box, *shape) for unit, box in zip(units, boxes, strict=True)
    ]
