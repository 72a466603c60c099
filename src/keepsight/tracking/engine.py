"""The batched step: all hypotheses of all objects of a frame go through each sub-module together.

The engine holds no memory rule and no session state. It asks each object's policy what to read, hands the reads of all
units to the backbone, lets the policies choose among the candidates, and writes what they want written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor

from keepsight.core import Region
from keepsight.memory import FrameRecord, Step
from keepsight.models.backbone import Backbone, Decoded, ImageFeatures
from keepsight.tracking.appearance import refresh_colours
from keepsight.tracking.calls import Calls
from keepsight.tracking.candidates import CandidateMasks
from keepsight.tracking.claims import settle_boxes, settle_claims
from keepsight.tracking.looks import PreviousMask, measure_records, region_of, tidy
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.prompting import Prompting
from keepsight.tracking.recognition import dismiss, second_looks, single_out, third_looks
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import PointsAndLabels, Track
from keepsight.tracking.units import Chosen, Offer, Reviser, Unit, choose, score_frames, units_of

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
        self.units_decoded = 0
        self._calls = Calls(backbone, options)
        self._prompting = Prompting(self._calls)

    # -- prompted frames ---------------------------------------------------------------------------------------------
    @_at_work
    def prompt(
        self, track: Track, step: Step, sight: Sight, previous: PreviousMask | None, hurried: bool = False
    ) -> FrameRecord:
        """Answers the prompts of one object on one frame; writes a record, its spatial memory still pending.

        Args:
            previous: the mask that is there already, fed back with the clicks.
            hurried: from what was seen of the frame already, or else from the frame as a whole; sooner, and coarser.
        """
        return self._prompting.prompt(track, step, sight, previous, hurried)

    @_at_work
    def look_for_click(self, points: Sequence[tuple[float, float]], sight: Sight) -> bool:
        """Encodes regions of those that first clicks about an object need, as many as take no longer than one; ``False`` when
        all are there."""
        fresh = self.unseen_of_click(points, sight)
        sight.see(fresh[: self.backbone.views_at_once])
        return bool(fresh)

    def unseen_of_click(self, points: Sequence[tuple[float, float]], sight: Sight) -> list[Region]:
        """Regions that first clicks about an object need and that are still to be encoded."""
        return [region for region in self._prompting.regions_of_click(points, sight.size) if not sight.has(region)]

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
        return self._prompting.adopt(tracks, step, sight, logits, regions)

    @_at_work
    def records_of_masks(
        self, pixels: Tensor, regions: Sequence[Region], step: Step, sight: Sight
    ) -> list[FrameRecord]:
        """Records of masks that are given, in nobody's bank yet, their spatial memories still pending.

        Args:
            pixels: ``(B, 1, image_size, image_size)`` in [0, 1] over ``regions``.
        """
        return self._prompting.records_of_masks(pixels, regions, step, sight)

    @_at_work
    def write_pending(self, tracks: Iterable[Track], frame: int, sight: Sight) -> None:
        """Writes the spatial memories of everything that was prompted on a frame."""
        if self.options.apart:
            settle_boxes(tracks, frame, sight)
        self._calls.write_pending(tracks, frame, sight)

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
        units = [unit for track in moving for unit in units_of(track, step, sight, self.options.closely)]
        if units:
            self._see(units, step, sight)
            self._choose_and_write(units, step, sight, prompted_here, revise)
        elif revise is not None:
            revise([])
        for track in tracks:
            self._change_roles(track, step, sight)
            if not self.options.keep_all_memory:
                track.policy.evict(step, track.bank)
        for track in moving:
            track.tracked.add(step.frame, step.stride, step.reverse)

    def _see(self, units: Sequence[Unit], step: Step, sight: Sight) -> None:
        """Fills in what the decoder offers for every unit, where needed after further looks."""
        self._decode(units, step, sight)
        zoom = self.options.closely
        if zoom is None:
            return
        single_out(units, sight, zoom)
        again = second_looks(units, step, sight.size, zoom)
        if again:
            self._decode(again, step, sight)
            single_out(again, sight, zoom)
        further = third_looks(again, sight.size, zoom)
        if further:
            self._decode(further, step, sight)
            single_out(further, sight, zoom)
        dismiss(units, step, sight, zoom, self.backbone.absent_pointer())

    def _decode(self, units: Sequence[Unit], step: Step, sight: Sight) -> None:
        """Decodes units in as few calls as their prompts allow."""
        self.units_decoded += len(units)
        views = dict(zip(map(id, units), sight.see([unit.region for unit in units]), strict=True))
        features = sight.features
        coarse = self.backbone.coarse(features)
        with_memory = [unit for unit in units if unit.selection.spatial]
        without = [unit for unit in units if not unit.selection.spatial]
        for group in (with_memory, without):
            for start in range(0, len(group), self.options.units_per_decode):
                chunk = group[start : start + self.options.units_per_decode]
                reads = [
                    self._calls.reads(unit.selection, step, unit.region, unit.pace, unit.at, unit.was_lost)
                    for unit in chunk
                ]
                conditioned = self.backbone.condition(features, reads, [views[id(unit)] for unit in chunk])
                for members, said, multimask in self._mates(chunk):
                    mates = [chunk[member] for member in members]
                    seen = [views[id(unit)] for unit in mates]
                    prompts = None if said is None else self._calls.prompts(said, [unit.region for unit in mates])
                    rows = self.backbone.select_units(conditioned, members)
                    thresholds = [unit.track.policy.mask_presence_threshold for unit in mates]
                    decoded = self._calls.decode(coarse, rows, prompts, multimask, seen, thresholds)
                    self._take(decoded, mates, features, seen)

    def _mates(self, units: Sequence[Unit]) -> list[tuple[list[int], list[PointsAndLabels] | None, bool]]:
        """Units that may share a decoder call: as many proposed points, the same kind of output.

        Returns:
            Rows of ``units``; what is proposed for each of them, ``None`` where nothing is; whether several candidates are
            wanted.
        """
        groups: dict[tuple[int, bool], tuple[list[int], list[PointsAndLabels]]] = {}
        for index, unit in enumerate(units):
            said = unit.proposed_points()
            count = len(said[0])
            force = unit.proposed is not None and unit.proposed.force_multimask
            multimask = force or self.backbone.info.multimask(count, prompted=False)
            members, together = groups.setdefault((count, multimask), ([], []))
            members.append(index)
            together.append(said)
        return [
            (members, together if count else None, multimask)
            for (count, multimask), (members, together) in groups.items()
        ]

    def _take(self, decoded: Decoded, units: Sequence[Unit], features: ImageFeatures, views: Sequence[int]) -> None:
        scores, pointers = decoded.object_scores.float().cpu().tolist(), decoded.pointers
        for row, unit in enumerate(units):
            masks = CandidateMasks(self.backbone, features, views[row], decoded.logits[row])
            unit.offer = Offer(masks, decoded.ious[row], scores[row], None if pointers is None else pointers[row])

    def _choose_and_write(
        self, units: Sequence[Unit], step: Step, sight: Sight, prompted_here: bool, revise: Reviser | None
    ) -> None:
        chosen, zoom = choose(units, step), self.options.closely
        records = [item.record for item in chosen]
        lasts = {unit.track: unit.last for unit in units}
        before = [lasts[item.track] for item in chosen]
        if zoom is not None:
            tidy(records, zoom, sight.size, before)
        measure_records(records, sight.size, before, zoom)
        kept: dict[Track, list[FrameRecord]] = {}
        for item in chosen:
            kept.setdefault(item.track, []).append(item.record)
        if revise is None and self.options.apart:
            settle_claims(chosen, lasts, sight, zoom, self.backbone.absent_pointer())
        score_frames(kept, units)
        if revise is not None:
            revise(chosen)
        binarize_all = prompted_here and self.options.compatibility.binarize_neighbours
        self._write([item for item in chosen if item.plan.write], sight, binarize_all)
        for track, survivors in kept.items():
            track.policy.commit(step, track.bank, survivors)
            if zoom is not None:
                refresh_colours(track, survivors[0], step, sight)

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
                self._calls.encode([item.record for item in chunk], stacked, scores, sight, binarize=binarize)

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
                self._calls.encode([record], record.logits[None, None], [record.object_score], sight, binarize=True)
