"""The unit of work, one hypothesis of one object on a frame: from what it reads to what its policy takes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from keepsight.core import Box, Region
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
from keepsight.tracking.candidates import CandidateMasks, sharpen_together
from keepsight.tracking.looks import last_record, middle, region_of
from keepsight.tracking.masks import measure
from keepsight.tracking.pace import fast_pace
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import FramePrompt, PointsAndLabels, Track
from keepsight.tracking.zoom import Zoom, seen_in_whole_frame


@dataclass(frozen=True, eq=False)
class Offer:
    """What the decoder offers for a unit, M candidates, absent gate applied."""

    masks: CandidateMasks
    ious: Tensor  # (M,)
    object_score: float
    pointers: Tensor | None  # (M, C)

    @property
    def best(self) -> int:
        """The most trusted candidate."""
        return int(self.ious.argmax())


@dataclass(eq=False)
class Unit:
    """One hypothesis of one object on the current frame."""

    track: Track
    hypothesis: int
    region: Region
    selection: Selection
    proposed: ProposedPrompts | None
    parent: FrameRecord | None
    last: FrameRecord | None  # where the object was last, whatever the hypothesis
    pace: tuple[float, float] = (0.0, 0.0)  # px a frame, of an object so fast that it matters
    searching: bool = False  # it was not where it was expected
    at: tuple[float, float] | None = None  # px of the frame, where it is taken to be; None where that is not known
    offer: Offer = field(init=False)  # there once it was decoded

    @property
    def was_lost(self) -> bool:
        """Whether the object was not seen on the step before."""
        return self.last is not None and self.last.lost > 0

    def proposed_points(self) -> PointsAndLabels:
        """What the policy proposes for the decoder, none where it proposes nothing."""
        if self.proposed is None:
            return [], []
        proposed = self.proposed
        return FramePrompt(list(proposed.points), list(proposed.labels), proposed.box).as_points()


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


def units_of(track: Track, step: Step, sight: Sight, zoom: Zoom | None) -> list[Unit]:
    """One unit a hypothesis that the object's policy keeps going, with what it reads and where it looks."""
    region, last = region_of(track, step, sight.size, zoom), last_record(track, step)
    pace = (0.0, 0.0) if zoom is None or last is None else fast_pace(last, step, zoom)
    return [
        Unit(
            track=track,
            hypothesis=hypothesis,
            region=region,
            selection=_telling(track.selection(step, hypothesis), None if zoom is None else last, sight.size),
            proposed=track.policy.propose_prompts(step, track.bank, hypothesis, sight),
            parent=track.bank.at(step.back(1), hypothesis),
            last=last,
            pace=pace,
            at=_place(last, region, sight.size) if zoom is not None and pace == (0.0, 0.0) else None,
        )
        for hypothesis in track.policy.active_hypotheses(step, track.bank)
    ]


def _place(last: FrameRecord | None, region: Region, size: tuple[int, int]) -> tuple[float, float] | None:
    """Where an object is, in px of the frame, as far as one knows before looking; a fast one's place is told by its pace.

    A small one that is lost is asked for in the middle of a tile that lies elsewhere: by where it was, some tiles away, nothing
    in it would be the object. Large ones are found in the whole frame, and asked for like that they would be
    taken for look-alikes.
    """
    if last is None or last.box is None:
        return None
    x, y = middle(last.box)
    if not last.lost:
        return x, y
    elsewhere = not (region.x1 <= x < region.x2 and region.y1 <= y < region.y2)
    if elsewhere and not seen_in_whole_frame(last.extent, size):
        return (region.x1 + region.x2) / 2, (region.y1 + region.y2) / 2
    return None


def _telling(selection: Selection, last: FrameRecord | None, size: tuple[int, int]) -> Selection:
    """What is worth reading about a lost object: of a small one, only frames that show it.

    In those where it was looked for in vain it may have been outside of the view, or too small in it, and they speak against it
    when it is back. What they say of a large one is true, and keeps look-alikes away.
    """
    if last is None or not last.lost or seen_in_whole_frame(last.extent, size):
        return selection
    telling = tuple(read for read in selection.spatial if read.record.conditioning or not read.record.lost)
    return replace(selection, spatial=telling) if telling else selection


def choose(units: Sequence[Unit], step: Step) -> list[Chosen]:
    """Lets the policies take what they want of the candidates; an object's survivors stand together, best first."""
    by_track: dict[Track, list[Unit]] = {}
    for unit in units:
        by_track.setdefault(unit.track, []).append(unit)
    lives: list[tuple[Unit, Survivor, WritePlan, int]] = []
    for track, members in by_track.items():
        candidates = [_candidates(unit) for unit in members]
        survivors = track.policy.choose(step, candidates)
        plans = track.policy.write_plan(step, survivors, candidates)
        if any(unit.proposed is not None and unit.proposed.as_prompted for unit in members):
            plans = [replace(plan, binarize=True) for plan in plans]
        runs = {unit.hypothesis: unit for unit in members}
        lived = [runs[survivor.hypothesis] for survivor in survivors]
        lives += zip(lived, survivors, plans, range(len(survivors)), strict=True)
    _sharpen([(unit, survivor.candidate) for unit, survivor, _, _ in lives])
    return [Chosen(unit.track, _record(step, unit, survivor, plan, slot), plan) for unit, survivor, plan, slot in lives]


def _candidates(unit: Unit) -> Candidates:
    masks = unit.offer.masks

    def mask(index: int) -> NDArray[np.bool_]:
        return (masks[index] > 0).cpu().numpy()

    return Candidates(
        hypothesis=unit.hypothesis,
        ious=tuple(unit.offer.ious.float().cpu().tolist()),
        object_score=unit.offer.object_score,
        parent=unit.parent,
        mask=mask,
        region=unit.region,
        logits=lambda index: masks[index].float().cpu().numpy(),
    )


def _record(step: Step, unit: Unit, survivor: Survivor, plan: WritePlan, slot: int) -> FrameRecord:
    offer, candidate = unit.offer, survivor.candidate
    # Cloned: a view would keep all candidates of all units of the frame alive.
    return FrameRecord(
        frame=step.frame,
        role=Role.TRACK,
        pointer=None if offer.pointers is None else offer.pointers[candidate][None].clone(),
        logits=offer.masks[candidate].clone(),
        iou=float(offer.ious[candidate]),
        object_score=offer.object_score,
        region=unit.region,
        candidate=candidate,
        slot=slot,
        score=survivor.score,
        marks=dict(plan.marks),
    )


def score_frames(kept: Mapping[Track, Sequence[FrameRecord]], units: Sequence[Unit]) -> None:
    """Lets each kind of policy score the frame over the objects of a group at once.

    Objects that a person pointed at are one group; what a detector found on the same frame is one (SAM 3).
    """
    best: dict[Track, float] = {}
    for unit in units:
        best[unit.track] = max(best.get(unit.track, 0.0), float(unit.offer.ious.max()))
    groups: dict[tuple[type[Policy], int | None], list[Track]] = {}
    for track in kept:
        groups.setdefault(track.group, []).append(track)
    for (kind, _), members in groups.items():
        logits = np.array([kept[track][0].object_score for track in members])
        presences = np.maximum(0.0, np.tanh(logits / 2))  # 2 sigmoid(x) - 1
        qualities = np.array([best[track] for track in members])
        for track, score in zip(members, kind.reduce_group(presences, qualities), strict=True):
            for record in kept[track]:
                record.marks["frame_score"] = float(score)


def best_boxes(units: Sequence[Unit], size: tuple[int, int]) -> list[Box | None]:
    """Box in px of the frame of each unit's most trusted candidate, ``None`` where it is empty."""
    masks = _sharpen([(unit, unit.offer.best) for unit in units])
    shape = masks[0].shape
    _, boxes = measure(torch.stack(masks))
    return [
        None if box is None else unit.region.box_from_grid(box, *shape) for unit, box in zip(units, boxes, strict=True)
    ]


def _sharpen(wanted: Sequence[tuple[Unit, int]]) -> list[Tensor]:
    """Candidates of units, at full size, in one go."""
    return sharpen_together([(unit.offer.masks, candidate) for unit, candidate in wanted])
