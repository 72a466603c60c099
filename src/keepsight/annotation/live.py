"""A session that goes frame by frame as it is asked, and whose memory can be held against what a project says."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from copy import copy
from typing import TypeAlias

import torch

from keepsight.core import Box, Frame, FrameResult, Mask, Prompt, TrackedObject
from keepsight.memory import FrameRecord, PolicyFactory, Role, SAM2LongPolicy, Step
from keepsight.models.backbone import Backbone
from keepsight.tracking.appearance import learn_colours
from keepsight.tracking.looks import PreviousMask, last_record, measure_records
from keepsight.tracking.masks import mask_to_model
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.session import Session
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import Track, positive_points
from keepsight.video import VideoSource

Signature: TypeAlias = bytes
"""Tells masks apart: the run lengths themselves."""

_SURE_SCORE = 10.0  # presence logit of what is certain
_MOST_NOTES = 256  # masks an object; then those of frames that are not remembered any more go


class LiveSession(Session):
    """The tracker's side of a desk.

    What an object remembers is bounded, so what it believes about frames is compared with the project mask by mask
    (:meth:`believes`); whoever finds a difference forgets the object and tells it anew (:meth:`tell`).
    """

    def __init__(self, backbone: Backbone, policy: PolicyFactory, options: EngineOptions, video: VideoSource) -> None:
        super().__init__(backbone, policy, options, video)
        self._shown: dict[int, dict[int, Signature]] = {}
        self._hurried = False
        self._hovered: tuple[int, tuple[tuple[float, float], ...], Sight] | None = None
        # Pathways hang together from frame to frame: what was seen before is one beginning for them, not several.
        self._pathways = isinstance(self._set.new_track(0).policy, SAM2LongPolicy)

    @property
    def reach(self) -> int:
        """How many of the frames just before a new one are worth telling."""
        return 1 if self._pathways else max(self.backbone.info.slots - 1, 1)

    def believes(self, object_id: int) -> dict[int, Signature | None]:
        """What an object remembers, as the mask that was shown on each frame."""
        track = self._set.tracks.get(object_id)
        if track is None:
            return {}
        shown = self._shown.get(object_id, {})
        return {frame: shown.get(frame) for frame in (*track.bank.conditioning, *track.bank.tracked)}

    def anchored(self, object_id: int) -> set[int]:
        """Frames on which an object was told what it is."""
        track = self._set.tracks.get(object_id)
        return set() if track is None else set(track.bank.conditioning)

    def said(self, object_id: int, frame: int) -> tuple[tuple[tuple[float, float], ...], Box | None]:
        """Points and box that an object was told on a frame, which the next click adds to."""
        track = self._set.tracks.get(object_id)
        prompt = None if track is None else track.prompts.get(frame)
        return ((), None) if prompt is None else (tuple(prompt.points), prompt.box)

    def forget(self, object_id: int) -> None:
        """Lets an object go; its id may come again."""
        if object_id in self._set.tracks:
            self._set.let_go(object_id)
        self._shown.pop(object_id, None)

    # ---- what a person says ----

    def add_prompt(self, prompt: Prompt, *, clear: bool = False, previous: Mask | None = None) -> TrackedObject:
        answer = super().add_prompt(prompt, clear=clear, previous=previous)
        self._note(answer, prompt.frame)
        return answer

    def preview(self, prompt: Prompt, *, clear: bool = False, previous: Mask | None = None) -> TrackedObject:
        """What :meth:`add_prompt` would answer; nothing is remembered but the looks that were taken at the frame, for a click at
        the same place."""
        # Else the stand-in would write memories that the real one still takes to be owed.
        self._consolidate(except_frame=prompt.frame)
        tracks, real = self._set.tracks, self._set.tracks.get(prompt.object_id)
        order = list(tracks)
        sight = self._hover(prompt)
        tracks[prompt.object_id] = self._stand_in(prompt.object_id, real)
        try:
            return super().add_prompt(prompt, clear=clear, previous=previous)
        finally:
            self._sights.put(prompt.frame, sight)
            tracks.pop(prompt.object_id, None)
            if real is not None:
                tracks[prompt.object_id] = real
                self._set.tracks = {object_id: tracks[object_id] for object_id in order}

    def glance(self, prompt: Prompt, *, clear: bool = False, previous: Mask | None = None) -> TrackedObject | None:
        """A first, coarser answer to a click, from what was seen of the frame already, or else from the frame as a whole;
        ``None`` where :meth:`preview` needs no other looks than these."""
        self._hover(prompt)
        assert self._hovered is not None
        if not self._set.engine.unseen_of_click(_asked(prompt), self._hovered[2]):
            return None
        self._hurried = True
        try:
            return self.preview(prompt, clear=clear, previous=previous)
        finally:
            self._hurried = False

    def _ask_engine(self, track: Track, step: Step, sight: Sight, previous: PreviousMask | None) -> FrameRecord:
        return self._set.engine.prompt(track, step, sight, previous, self._hurried)

    def look_closely(self, prompt: Prompt) -> bool:
        """Gets a frame ready for a click at a certain place, in pieces.

        Args:
            prompt: the first that would be said about its object on the frame.

        Returns:
            Whether a piece was done, so that there may be more; if not, call :meth:`preview` for the last of it.
        """
        if not prompt.points or prompt.box is not None:
            return False
        self._hover(prompt)
        sight = self._sight_of(prompt.frame, keep=True)
        return self._set.engine.look_for_click(_asked(prompt), sight)

    def _hover(self, prompt: Prompt) -> Sight:
        """The looks that stay; those at the place of a prompt are apart and go with the pointer's next step, for a pointer that
        goes about looks everywhere."""
        before = self._hovered
        sight = self._looked_at(prompt.frame)
        if before is not None and before[:2] == (prompt.frame, prompt.points):
            self._hovered = before
        else:
            self._hovered = (prompt.frame, prompt.points, sight.fork())
        return sight

    def look_at(self, frame: int) -> None:
        """Gets a frame ready for a click: decoded and, seen as a whole, encoded."""
        self._looked_at(frame)

    def _looked_at(self, frame: int) -> Sight:
        self._hovered = None
        sight = self._sight_of(frame, keep=True)
        with self.backbone.leading(), torch.inference_mode():
            sight.see([sight.whole])
        self._sights.put(frame, sight)
        return sight

    def _known_sight(self, frame: int) -> Sight | None:
        if self._hovered is not None and self._hovered[0] == frame:
            return self._hovered[2]
        return super()._known_sight(frame)

    # ---- what the project says ----

    def tell(self, frame: int, objects: Mapping[int, TrackedObject], *, anchor: bool, reverse: bool = False) -> None:
        """Tells objects by stored masks what they were on a frame; those that are not followed yet begin with it.

        Args:
            objects: by id.
            anchor: as a person's word, which stays; otherwise as what was seen on the way, the way of a tracked frame.
            reverse: the way, of what was seen on it.
        """
        sight = self._sight_of(frame, keep=False)
        step = Step(frame, reverse, self.frame_count)
        tracks = [self._set.tracks.get(one) or self._set.new_track(one) for one in objects]
        with self.backbone.leading(), torch.inference_mode():
            records = self._records_of(list(objects.values()), tracks, step, sight)
            for track, record, item in zip(tracks, records, objects.values(), strict=True):
                self._set.tracks[track.object_id] = track
                track.bank.discard(frame)
                track.bank.add_conditioning(record)
                track.pending[frame] = record
                self._note(item, frame)
                if self.options.closely is not None and item.present:
                    learn_colours(track, record, sight)
            self._set.engine.write_pending(tracks, frame, sight)
            for track, record, item in zip(tracks, records, objects.values(), strict=True):
                if anchor or self._pathways:
                    track.policy.reset(record)
                    continue
                track.bank.discard(frame)
                record.role = Role.TRACK
                record.iou, record.object_score = item.score, _logit(item.presence)
                track.policy.commit(step, track.bank, [record])
                track.tracked.add(frame, 1, reverse)

    def _records_of(
        self, items: Collection[TrackedObject], tracks: Collection[Track], step: Step, sight: Sight
    ) -> list[FrameRecord]:
        zoom, size = self.options.closely, self.backbone.info.image_size
        regions, pixels = [], []
        for item in items:
            box = item.mask.box
            region = sight.whole if zoom is None or box is None else zoom.close_up(box, sight.size)
            regions.append(region)
            pixels.append(mask_to_model(item.mask, size, region) if item.present else torch.zeros(1, 1, size, size))
        records: list[FrameRecord] = []
        for start in range(0, len(regions), self.options.units_per_decode):
            rows = slice(start, start + self.options.units_per_decode)
            batch = torch.cat(pixels[rows]).to(self.backbone.device)
            records += self._set.engine.records_of_masks(batch, regions[rows], step, sight)
        measure_records(records, sight.size, [last_record(track, step) for track in tracks])
        for record, item in zip(records, items, strict=True):
            box = item.mask.box
            if box is not None:
                record.box, record.extent = box, max(box[2] - box[0], box[3] - box[1])
        return records

    # ---- a frame at a time ----

    def follow(self, frame: Frame, object_ids: Collection[int], *, reverse: bool) -> FrameResult:
        """Follows objects onto a frame, from what they remember; those that were told about it keep that.

        Args:
            object_ids: others are left as they are; ids that are not followed are passed over.
            reverse: the way.
        """
        step = Step(frame.index, reverse, self.frame_count)
        tracks = [self._set.tracks[one] for one in object_ids if one in self._set.tracks]
        sight = self._known_sight(frame.index) or self._new_sight(frame.index, frame.rgb)
        self._latest = (frame.index, sight)
        if any(track.policy.needs_motion for track in tracks):
            sight.see_motion(self._motion.look(frame.index, frame.rgb, step.back(1)))
        self._set.engine.look(tracks, step, sight)
        self._consolidate(except_frame=frame.index)
        result = self._visit(frame, sight, step, tracks)
        for item in result.objects:
            self._note(item, frame.index)
        return result

    def finalize(self) -> list[FrameResult]:
        revised = super().finalize()
        for result in revised:
            for item in result.objects:
                self._note(item, result.frame)
        return revised

    # ---- inside ----

    def _stand_in(self, object_id: int, real: Track | None) -> Track:
        """A track that remembers what the real one does and may be spoilt."""
        track = self._set.new_track(object_id)
        if real is not None:
            track.policy.restore(real.policy.state())
            track.bank.conditioning, track.bank.tracked = dict(real.bank.conditioning), dict(real.bank.tracked)
            track.prompts = {frame: copy(said) for frame, said in real.prompts.items()}
            track.pending, track.tracked, track.colours = dict(real.pending), real.tracked, real.colours
        return track

    def _note(self, item: TrackedObject, frame: int) -> None:
        notes = self._shown.setdefault(item.object_id, {})
        notes[frame] = item.mask.counts
        if len(notes) > _MOST_NOTES:
            track = self._set.tracks[item.object_id]
            held = {*track.bank.conditioning, *track.bank.tracked, frame}
            self._shown[item.object_id] = {at: mask for at, mask in notes.items() if at in held}


def _asked(prompt: Prompt) -> Sequence[tuple[float, float]]:
    """The points that looks are made around."""
    return positive_points(prompt.points, prompt.labels) or prompt.points


def _logit(probability: float) -> float:
    if probability <= 0.0 or probability >= 1.0:
        return math.copysign(_SURE_SCORE, probability - 0.5)
    return min(max(math.log(probability / (1 - probability)), -_SURE_SCORE), _SURE_SCORE)
