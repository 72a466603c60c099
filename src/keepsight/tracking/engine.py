"""The batched step: all hypotheses of all objects of a frame go through each sub-module together.

The engine holds no memory rule and no session state. It asks each object's policy what to read, hands the reads of all
units to the backbone, lets the policies choose among the candidates, and writes what they want written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
from keepsight.tracking.masks import fill_holes, mask_to_model
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.track import FramePrompt, Track

REFINE_CLAMP = 32.0
"""Previous logits are clamped to +-32 before they are fed back (SAM 2's predictor)."""


@dataclass(eq=False)
class _Unit:
    """One hypothesis of one object on the current frame."""

    track: Track
    hypothesis: int
    reads: UnitReads
    proposed: ProposedPrompts | None
    parent: FrameRecord | None
    logits: Tensor | None = None  # (M, h, w), absent gate applied
    ious: Tensor | None = None  # (M,)
    object_score: float = 0.0
    pointers: Tensor | None = None  # (M, C), absent gate applied


class Engine:
    """Runs steps for any number of tracks on one backbone."""

    def __init__(self, backbone: Backbone, options: EngineOptions) -> None:
        self.backbone = backbone
        self.options = options
        self.compatibility = options.compatibility

    # -- prompted frames ---------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def prompt(
        self, track: Track, step: Step, features: ImageFeatures, size: tuple[int, int], previous: Tensor | None
    ) -> FrameRecord:
        """Answers the prompts of one object on one frame; writes a record, its spatial memory still pending.

        Args:
            size: ``(height, width)`` of the frame, in which prompts are stated.
            previous: mask logits ``(h, w)`` that are there already, fed back with the clicks.
        """
        prompt = track.prompts[step.frame]
        # A correction is made from what other frames remember, not from the answer it is about to replace.
        track.bank.conditioning.pop(step.frame, None)
        tracked_before = track.tracked.direction(step.frame) is not None
        if prompt.mask is not None:
            record = self._prompt_by_mask(prompt, step, features)
        else:
            record = self._prompt_by_points(track, prompt, step, features, size, previous, tracked_before)
        if tracked_before and not self.compatibility.corrections_last:
            record.role = Role.TRACK
            track.bank.discard(step.frame)
            track.bank.add_tracked(step.frame, [record])
        else:
            track.bank.add_conditioning(record)
        track.pending[step.frame] = record
        track.policy.reset(record)
        return record

    def _prompt_by_mask(self, prompt: FramePrompt, step: Step, features: ImageFeatures) -> FrameRecord:
        assert prompt.mask is not None
        info = self.backbone.info
        pixels = mask_to_model(prompt.mask, info.image_size).to(self.backbone.device)
        high = pixels * 20.0 - 10.0
        low = torch.nn.functional.interpolate(
            high, size=(info.mask_size,) * 2, mode="bilinear", align_corners=False, antialias=True
        )
        pointer = self.backbone.mask_prompt_pointer(features, pixels, self.compatibility.mask_pointer_from_best)
        record = FrameRecord(
            frame=step.frame,
            role=Role.PROMPT,
            pointer=pointer,
            logits=low[0, 0],
            iou=1.0,
            object_score=10.0,
            area_px=int((low > 0).sum()),
        )
        if not self.compatibility.mask_memory_from_low_res:
            # Kept until the memory is written; the logits alone have lost the mask's edge.
            record.memory = high
        return record

    def _prompt_by_points(
        self,
        track: Track,
        prompt: FramePrompt,
        step: Step,
        features: ImageFeatures,
        size: tuple[int, int],
        previous: Tensor | None,
        tracked_before: bool,
    ) -> FrameRecord:
        info = self.backbone.info
        if tracked_before and track.bank.conditioning:
            selection = self._selection(track, step, 0)
            reads = self._reads(selection, step)
        else:
            reads = UnitReads()
        points, labels = prompt.as_points()
        fed_back = None
        if previous is not None and self.compatibility.refine_with_previous and info.feeds_back_logits:
            fed_back = previous.clamp(-REFINE_CLAMP, REFINE_CLAMP)[None, None]
        batch = PromptBatch(
            points=self._to_model(points, size)[None],
            labels=torch.tensor([labels], dtype=torch.int32),
            logits=fed_back,
        )
        conditioned = self.backbone.condition(features, [reads])
        multimask = info.multimask(len(points), prompted=True)
        decoded = self.backbone.decode(features, conditioned, batch, multimask)
        self._check_finite(decoded)
        logits, pointers = self._gate(decoded, [track.policy.mask_presence_threshold])
        best = int(decoded.ious[0].argmax())
        chosen = fill_holes(logits[0, best], self.compatibility.fill_hole_px)
        return FrameRecord(
            frame=step.frame,
            role=Role.PROMPT,
            pointer=None if pointers is None else pointers[0, best][None],
            logits=chosen,
            iou=float(decoded.ious[0, best]),
            object_score=float(decoded.object_scores[0]),
            area_px=int((chosen > 0).sum()),
            candidate=best,
        )

    @torch.inference_mode()
    def write_pending(self, tracks: Iterable[Track], frame: int, features: ImageFeatures) -> None:
        """Writes the spatial memories of everything that was prompted on a frame."""
        owed = [(track, track.pending.pop(frame)) for track in tracks if frame in track.pending]
        from_logits = [record for _, record in owed if record.memory is None]
        from_mask = [record for _, record in owed if record.memory is not None]
        for group in (from_logits, from_mask):
            if not group:
                continue
            if group is from_mask:
                masks = torch.cat([record.memory for record in group])  # type: ignore[misc]
            else:
                masks = torch.stack([record.logits for record in group])[:, None]  # type: ignore[misc]
            scores = torch.tensor([record.object_score for record in group], device=self.backbone.device)
            memories = self.backbone.encode_memory(features, masks, scores, binarize=True)
            for record, memory in zip(group, memories, strict=True):
                record.memory = memory

    # -- tracked frames ----------------------------------------------------------------------------------------------
    @torch.inference_mode()
    def step(self, tracks: Sequence[Track], step: Step, features: ImageFeatures, size: tuple[int, int]) -> None:
        """Follows ``tracks`` onto a frame; objects with a conditioning record there keep it.

        Args:
            size: ``(height, width)`` of the frame, in which proposed prompts are stated.
        """
        prompted_here = any(step.frame in track.pending for track in tracks)
        self.write_pending(tracks, step.frame, features)
        moving = [track for track in tracks if step.frame not in track.bank.conditioning]
        units = [unit for track in moving for unit in self._units(track, step)]
        if units:
            self._decode_units(units, step, features, size)
            self._choose_and_write(units, step, features, prompted_here)
        for track in tracks:
            self._change_roles(track, step, features)
            if not self.options.keep_all_memory:
                track.policy.evict(step, track.bank)
        for track in moving:
            track.tracked.add(step.frame, step.stride, step.reverse)

    def _units(self, track: Track, step: Step) -> list[_Unit]:
        units = []
        for hypothesis in track.policy.active_hypotheses(step, track.bank):
            selection = self._selection(track, step, hypothesis)
            proposed = track.policy.propose_prompts(step, track.bank, hypothesis, None)  # type: ignore[arg-type]
            parent = track.bank.at(step.back(1), hypothesis)
            units.append(_Unit(track, hypothesis, self._reads(selection, step), proposed, parent))
        return units

    def _selection(self, track: Track, step: Step, hypothesis: int) -> Selection:
        return track.policy.modulate(step, track.policy.select_memory(step, track.bank, hypothesis))

    def _reads(self, selection: Selection, step: Step) -> UnitReads:
        budget = self.backbone.info.pointers
        if step.frame_count is not None and not self.compatibility.stream_pointer_budget:
            budget = min(step.frame_count, budget)
        spatial = tuple(
            MemoryRead(read.record.memory, read.slot_code, read.record.conditioning, read.token_keep, read.key_scale)
            for read in selection.spatial
        )
        pointers = tuple(
            PointerToken(read.record.pointer, read.position / max(budget - 1, 1), read.key_scale)
            for read in selection.pointers
            if read.record.pointer is not None
        )
        return UnitReads(spatial, pointers)

    def _decode_units(self, units: list[_Unit], step: Step, features: ImageFeatures, size: tuple[int, int]) -> None:
        """Fills in the candidates of every unit, in as few calls as their prompts allow."""
        with_memory = [unit for unit in units if unit.reads.spatial]
        without = [unit for unit in units if not unit.reads.spatial]
        for group in (with_memory, without):
            for start in range(0, len(group), self.options.units_per_decode):
                chunk = group[start : start + self.options.units_per_decode]
                conditioned = self.backbone.condition(features, [unit.reads for unit in chunk])
                for members, batch, multimask in self._prompt_batches(chunk, size):
                    rows = self.backbone.select_units(conditioned, members)
                    decoded = self.backbone.decode(features, rows, batch, multimask)
                    self._check_finite(decoded)
                    self._take(decoded, [chunk[member] for member in members])

    def _prompt_batches(
        self, units: Sequence[_Unit], size: tuple[int, int]
    ) -> list[tuple[list[int], PromptBatch | None, bool]]:
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
                    points=torch.stack([self._to_model(prompts[i][0], size) for i in members]),
                    labels=torch.tensor([prompts[i][1] for i in members], dtype=torch.int32),
                )
            batches.append((members, batch, multimask))
        return batches

    def _take(self, decoded: Decoded, units: Sequence[_Unit]) -> None:
        logits, pointers = self._gate(decoded, [unit.track.policy.mask_presence_threshold for unit in units])
        scores = decoded.object_scores.float().cpu().tolist()
        for row, unit in enumerate(units):
            unit.logits, unit.ious, unit.object_score = logits[row], decoded.ious[row], scores[row]
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
        self, units: Sequence[_Unit], step: Step, features: ImageFeatures, prompted_here: bool
    ) -> None:
        by_track: dict[int, list[_Unit]] = {}
        for unit in units:
            by_track.setdefault(id(unit.track), []).append(unit)
        kept: list[tuple[Policy, FrameRecord, WritePlan]] = []
        committed: list[tuple[Track, list[FrameRecord]]] = []
        for members in by_track.values():
            track = members[0].track
            candidates = [_candidates(unit) for unit in members]
            survivors = track.policy.choose(step, candidates)
            plans = track.policy.write_plan(step, survivors, candidates)
            if any(unit.proposed is not None and unit.proposed.as_prompted for unit in members):
                plans = [replace(plan, binarize=True) for plan in plans]
            runs = {unit.hypothesis: unit for unit in members}
            records = [
                _record(step, runs[survivor.hypothesis], survivor, slot, plan)
                for slot, (survivor, plan) in enumerate(zip(survivors, plans, strict=True))
            ]
            kept += [(track.policy, record, plan) for record, plan in zip(records, plans, strict=True)]
            committed.append((track, records))
        _score_frames(committed, units)
        binarize_all = prompted_here and self.compatibility.binarize_neighbours
        self._write([(record, plan) for _, record, plan in kept if plan.write], features, binarize_all)
        for track, records in committed:
            track.policy.commit(step, track.bank, records)

    def _write(
        self, writes: Sequence[tuple[FrameRecord, WritePlan]], features: ImageFeatures, binarize_all: bool
    ) -> None:
        for binarize in (False, True):
            group = [(record, plan) for record, plan in writes if (plan.binarize or binarize_all) == binarize]
            for start in range(0, len(group), self.options.units_per_decode):
                chunk = group[start : start + self.options.units_per_decode]
                masks = torch.stack([record.logits for record, _ in chunk])[:, None]  # type: ignore[misc]
                scores = torch.tensor(
                    [r.object_score if plan.object_score is None else plan.object_score for r, plan in chunk],
                    device=self.backbone.device,
                )
                memories = self.backbone.encode_memory(features, masks, scores, binarize)
                for (record, _), memory in zip(chunk, memories, strict=True):
                    record.memory = memory

    def _change_roles(self, track: Track, step: Step, features: ImageFeatures) -> None:
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
                score = torch.tensor([record.object_score], device=self.backbone.device)
                record.memory = self.backbone.encode_memory(features, record.logits[None, None], score, True)[0]

    # -- small things ------------------------------------------------------------------------------------------------
    def _to_model(self, points: Sequence[tuple[float, float]], size: tuple[int, int]) -> Tensor:
        """Points in px of the frame as ``(P, 2)`` in px of the model input."""
        height, width = size
        side = self.backbone.info.image_size
        return torch.tensor([(x / width * side, y / height * side) for x, y in points], dtype=torch.float32)

    def _check_finite(self, decoded: Decoded) -> None:
        if not bool(torch.isfinite(decoded.object_scores).all() and torch.isfinite(decoded.ious).all()):
            raise InputError(
                f"Model '{self.backbone.info.name}' gave NaN or infinite scores; "
                "try --dtype float32, and check the weights with 'keepsight doctor'."
            )


def _score_frames(committed: Sequence[tuple[Track, list[FrameRecord]]], units: Sequence[_Unit]) -> None:
    """Lets each kind of policy score the frame over all of its objects at once."""
    best: dict[int, float] = {}
    for unit in units:
        assert unit.ious is not None
        best[id(unit.track)] = max(best.get(id(unit.track), 0.0), float(unit.ious.max()))
    kinds: dict[type[Policy], list[tuple[Track, list[FrameRecord]]]] = {}
    for track, records in committed:
        kinds.setdefault(type(track.policy), []).append((track, records))
    for kind, members in kinds.items():
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
    )


def _record(step: Step, unit: _Unit, survivor: Survivor, slot: int, plan: WritePlan) -> FrameRecord:
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
        area_px=int((logits > 0).sum()),
        candidate=survivor.candidate,
        slot=slot,
        score=survivor.score,
        marks=dict(plan.marks),
    )
