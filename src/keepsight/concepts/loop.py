"""One frame of the concept loop: follow, match with what was detected, judge, write, take in what is new.

The engine follows all objects in one batch as it always does. Between its choice of masks and their writing the rules of
SAM 3 step in (:meth:`ConceptLoop._revise`), because what is remembered depends on what the detector saw.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from keepsight.concepts.association import ANY_CONCEPT, Matches, associate, doubled, shrunk
from keepsight.concepts.decoding import BOX_CORNERS, answers, regions_for
from keepsight.concepts.detector import Concept, Detections, checked
from keepsight.concepts.grids import EMPTY_LOGIT, on_grid, without_specks
from keepsight.concepts.life import Lives
from keepsight.concepts.overlap import keep_best, mask_overlaps
from keepsight.concepts.settings import ConceptRules
from keepsight.core import Region
from keepsight.memory import FrameRecord, Role, Step
from keepsight.tracking import Sight
from keepsight.tracking.track import Track
from keepsight.tracking.tracks import CONFIRMED, TrackSet
from keepsight.tracking.units import Chosen

MOST_ANCHORS = 4
"""Conditioning frames that an object gets by being detected, at most; the oldest goes first (SAM 3 reads four)."""

WRITTEN_SCORE = 10.0
"""Presence logit, or minus it, with which masks are remembered."""


@dataclass(eq=False)
class _Found:
    """Detections that count, with their masks."""

    detections: Detections
    logits: Tensor  # (N, h, w)
    regions: list[Region]
    masks: Tensor  # bool (N, side, side), on the frame's grid

    def __len__(self) -> int:
        return len(self.detections)


@dataclass(eq=False)
class Outcome:
    """What a frame came to.

    Attributes:
        shown: objects with the record that is to be shown, in the order in which they were found.
        false: ids of objects that were found to be none; they are forgotten already, as are those that were given up.
        born: ids of new objects.
    """

    shown: list[tuple[Track, FrameRecord]] = field(default_factory=list)
    false: list[int] = field(default_factory=list)
    born: list[int] = field(default_factory=list)


class ConceptLoop:
    """State of a run over the frames of one video or stream.

    Args:
        tracks: the objects; the loop adds and removes.
        rules: see there.
        concepts: what is looked for.

    Attributes:
        dropped: rubbish that detectors gave so far, by reason.
    """

    def __init__(self, tracks: TrackSet, rules: ConceptRules, concepts: Sequence[Concept]) -> None:
        self.set = tracks
        self.rules = rules
        self.concepts = list(concepts)
        self.lives = Lives(rules)
        self.dropped: Counter[str] = Counter()
        self.detected = 0

    def due(self, step: int) -> bool:
        """Whether the detector looks at a step."""
        return step % self.rules.detect_every == 0

    def label(self, concept: int) -> str | None:
        """A concept's text."""
        return next((item.text for item in self.concepts if item.number == concept), None)

    # -- a frame -----------------------------------------------------------------------------------------------------
    def advance(self, tracks: Sequence[Track], step: Step, sight: Sight, detections: Detections | None) -> Outcome:
        """Follows all objects onto a frame and takes in what is new there.

        Args:
            tracks: those that are to be followed.
            detections: what the detector gave, unchecked; ``None`` when it did not look at this frame.
        """
        frame = _FrameWork(self, tracks, step, sight, self._usable(detections, sight))
        self.set.engine.step(tracks, step, sight, frame.revise)
        outcome = frame.finish()
        self.lives.step += 1
        return outcome

    def _usable(self, detections: Detections | None, sight: Sight) -> _Found | None:
        """Checked, above the threshold, with masks, without doubles."""
        if detections is None:
            return None
        height, width = sight.size
        clean, dropped = checked(detections, height, width, self.concepts)
        self.dropped += dropped
        clean = clean.only(clean.scores > self.rules.score_threshold)
        whole = sight.whole
        if clean.masks is None:
            logits, regions = self._masks_of_boxes(clean.boxes, sight)
        else:
            logits, regions = clean.masks.to(self.set.backbone.device).float(), [whole] * len(clean)
        side = max(self.set.backbone.info.mask_size, *logits.shape[-2:])
        masks = on_grid(list(logits), regions, whole, side) > 0
        rows = np.flatnonzero(masks.flatten(1).any(1).cpu().numpy()) if len(clean) else np.zeros(0, np.int64)
        limit = self.rules.effective_nms_iou
        if limit and len(rows) > 1:
            overlaps, _ = mask_overlaps(masks[torch.from_numpy(rows).to(masks.device)])
            rows = np.sort(rows[keep_best(overlaps, clean.scores[rows], limit, clean.concepts[rows])])
        self.detected += len(rows)
        picked = torch.from_numpy(rows).to(logits.device)
        return _Found(clean.only(rows), logits[picked], [regions[row] for row in rows], masks[picked])

    def _masks_of_boxes(self, boxes: NDArray[np.float32], sight: Sight) -> tuple[Tensor, list[Region]]:
        """What the tracker's decoder makes of boxes: logits ``(N, mask_size, mask_size)`` and the region of each."""
        backbone, side = self.set.backbone, self.set.backbone.info.mask_size
        logits = torch.zeros(len(boxes), side, side, device=backbone.device)
        if not len(boxes):
            return logits, []
        regions = regions_for(boxes, self.set.options.closely, sight)
        for answer in answers(backbone, sight, boxes.reshape(-1, 2, 2), BOX_CORNERS, regions):
            best = answer.ious.argmax(1)
            picked = answer.logits[torch.arange(len(best), device=best.device), best].float()
            logits[torch.from_numpy(answer.rows).to(logits.device)] = picked
        return logits, regions

    # -- what a person says ------------------------------------------------------------------------------------------
    def concept_of_label(self, label: str | None) -> int:
        """Number of the concept that a label names, else :data:`ANY_CONCEPT`."""
        wanted = (label or "").strip().casefold()
        return next((item.number for item in self.concepts if item.text.casefold() == wanted), ANY_CONCEPT)


def confirmed_frames(track: Track) -> list[int]:
    """Conditioning frames that an object got by being detected, in the order in which it got them."""
    return [frame for frame, record in track.bank.conditioning.items() if CONFIRMED in record.marks]


class _FrameWork:
    """The loop's work on one frame."""

    def __init__(
        self, loop: ConceptLoop, tracks: Sequence[Track], step: Step, sight: Sight, found: _Found | None
    ) -> None:
        self.loop, self.rules, self.lives = loop, loop.rules, loop.lives
        self.tracks, self.step, self.sight, self.found = tracks, step, sight, found
        self.new: list[int] = []  # rows of the detections that are new objects
        self.gone: list[int] = []
        self.confirmed: list[tuple[Track, int]] = []  # objects to recondition, with the row of their detection
        self.away: list[int] = []
        self.emptied: set[int] = set()

    # -- between choosing and writing --------------------------------------------------------------------------------
    def revise(self, chosen: Sequence[Chosen]) -> None:
        """SAM 3's rules on the frame's masks, before they are remembered."""
        self._tidy(chosen)
        records = {id(item.track): item.record for item in chosen if item.record.slot == 0}
        for track in self.tracks:
            fixed = track.bank.conditioning.get(self.step.frame)
            if fixed is not None and fixed.logits is not None and id(track) not in records:
                records[id(track)] = fixed
        members = [track for track in self.tracks if id(track) in records]
        ids = [track.object_id for track in members]
        grid = self._grid([records[id(track)] for track in members])
        masks = grid > 0
        concepts = self.lives.concepts(ids)
        if self.found is not None:
            self._judge(members, records, masks, concepts, self.found)
        moving = {id(item.track) for item in chosen}
        twice = doubled(masks, concepts, self.lives.last_lost(ids), self.rules.overlap_iou)
        twice &= np.array([id(track) in moving for track in members], bool)
        self.emptied = {one for one, empty in zip(ids, twice, strict=True) if empty}
        if self.emptied:
            grid[torch.from_numpy(np.flatnonzero(twice)).to(grid.device)] = EMPTY_LOGIT
        self.lives.note_lost(ids, twice | ~masks.flatten(1).any(1).cpu().numpy() if ids else twice)
        self.away = [one for one in self.lives.given_up() if one not in self.gone]
        faint = shrunk(grid, concepts, self.rules.shrink_share)
        self._plan(chosen, {one for one, gone in zip(ids, faint, strict=True) if gone})

    def _tidy(self, chosen: Sequence[Chosen]) -> None:
        """Fills holes and takes specks away in what was followed."""
        self.plain = [item.record.logits for item in chosen]
        if chosen and self.rules.effective_fill_px:
            tidy = without_specks(torch.stack(self.plain), self.rules.effective_fill_px)  # type: ignore[arg-type]
            for item, logits in zip(chosen, tidy, strict=True):
                item.record.logits = logits

    def _grid(self, records: Sequence[FrameRecord]) -> Tensor:
        """The objects' masks on the detections' grid, or on the tracker's when the detector did not look."""
        backbone = self.loop.set.backbone
        side = backbone.info.mask_size if self.found is None else int(self.found.masks.shape[-1])
        regions = [record.region or self.sight.whole for record in records]
        logits = [record.logits for record in records if record.logits is not None]
        return on_grid(logits, regions, self.sight.whole, side).to(backbone.device)

    def _judge(
        self,
        members: Sequence[Track],
        records: dict[int, FrameRecord],
        masks: Tensor,
        concepts: NDArray[np.int64],
        found: _Found,
    ) -> None:
        ids = [track.object_id for track in members]
        scores = found.detections.scores
        matches = associate(found.masks, scores, found.detections.concepts, masks, concepts, self.rules)
        self.new = self._within_limit(matches, scores, len(members))
        self.gone = self.lives.judge(ids, matches)
        if self.lives.recondition_due():
            self.confirmed = [
                (track, int(row))
                for track, row in zip(members, matches.confident, strict=True)
                if row >= 0
                and records[id(track)].object_score > self.rules.recondition_score
                and self.step.frame not in track.bank.conditioning
                # Where several histories are open none of them is confirmed.
                and len(track.policy.active_hypotheses(self.step, track.bank)) == 1
            ]

    def _within_limit(self, matches: Matches, scores: NDArray[np.float32], followed: int) -> list[int]:
        room = max(self.rules.max_objects - followed, 0)
        new = matches.new
        if len(new) > room:
            new = new[np.argsort(-scores[new], kind="stable")[:room]]
        return [int(row) for row in new]

    def _plan(self, chosen: Sequence[Chosen], faint: set[int]) -> None:
        """How each hypothesis is remembered; an object that was emptied is so in all of them."""
        if not chosen:
            return
        for item in chosen:
            assert item.record.logits is not None
            if item.track.object_id in self.emptied:
                item.record.logits = torch.full_like(item.record.logits, EMPTY_LOGIT)
        written = torch.stack([item.record.logits for item in chosen])  # type: ignore[misc]
        below = [row for row, item in enumerate(chosen) if item.track.object_id in faint]
        written[below] = written[below].clamp(max=EMPTY_LOGIT)
        there = (written > 0).flatten(1).any(1).tolist()
        if self.rules.as_transformers:
            size = (4 * written.shape[-1],) * 2
            wide = F.interpolate(written[:, None].float(), size, mode="bilinear", antialias=True)
            written = wide[:, 0].to(written.dtype)
        for item, mask, visible in zip(chosen, written, there, strict=True):
            item.plan = replace(item.plan, object_score=WRITTEN_SCORE if visible else -WRITTEN_SCORE)
            item.to_write = mask
        if self.rules.as_transformers and self.new:
            self._write_anew(chosen)

    def _write_anew(self, chosen: Sequence[Chosen]) -> None:
        """transformers follows every object a second time and overwrites what was suppressed."""
        confirmed = {id(track) for track, _ in self.confirmed}
        for item, plain in zip(chosen, self.plain, strict=True):
            if id(item.track) not in confirmed:
                item.plan = replace(item.plan, binarize=True, object_score=None)
                item.to_write = plain

    # -- after writing -----------------------------------------------------------------------------------------------
    def finish(self) -> Outcome:
        """Reconditions, takes in new objects, lets go of those that are none."""
        instead = self._recondition()
        born = self._bear()
        for object_id in (*self.gone, *self.away):
            self.loop.set.let_go(object_id)
            self.lives.forget(object_id)
        alive = [track for track in self.tracks if track.object_id in self.lives]
        shown = [
            (track, instead.get(track.object_id, record))
            for track, record in self.loop.set.shown([*alive, *born], self.step)
            if self.lives.shows(track.object_id)
        ]
        return Outcome(shown, self.gone, [track.object_id for track in born])

    def _recondition(self) -> dict[int, FrameRecord]:
        """Turns the frame into a conditioning one for objects that are surely seen; gives what to show for them."""
        if not self.confirmed or self.found is None:
            return {}
        frame, found = self.step.frame, self.found
        shown: dict[int, FrameRecord] = {}
        if self.rules.recondition_on_tracked:
            for track, row in self.confirmed:
                record = track.bank.track_record(frame)
                if record is None:
                    continue
                record.role, record.marks[CONFIRMED] = Role.ANCHOR, 1.0
                track.bank.add_conditioning(record)
                # The detector's mask is the better one to look at where both agree.
                shown[track.object_id] = replace(record, logits=found.logits[row], region=found.regions[row])
        else:
            rows = [row for _, row in self.confirmed]
            tracks = [track for track, _ in self.confirmed]
            regions = [found.regions[row] for row in rows]
            for record in self.loop.set.engine.adopt(tracks, self.step, self.sight, found.logits[rows], regions):
                record.role, record.marks[CONFIRMED] = Role.ANCHOR, 1.0
        if not self.rules.as_transformers:
            for track, _ in self.confirmed:
                for at in confirmed_frames(track)[:-MOST_ANCHORS]:
                    del track.bank.conditioning[at]
        return shown

    def _bear(self) -> list[Track]:
        """New objects from the detections that are none of the known ones."""
        if not self.new or self.found is None:
            return []
        found, loop = self.found, self.loop
        tracks = []
        for row in self.new:
            concept = int(found.detections.concepts[row])
            track = loop.set.new_track(self.lives.bear(concept, float(found.detections.scores[row])))
            track.label, track.found = loop.label(concept), self.step.frame
            loop.set.tracks[track.object_id] = track
            tracks.append(track)
        logits = without_specks(found.logits[self.new], self.rules.effective_fill_px)
        regions = [found.regions[row] for row in self.new]
        records = loop.set.engine.adopt(tracks, self.step, self.sight, logits, regions)
        for track, record in zip(tracks, records, strict=True):
            # The detector's score is the only one there is.
            record.iou = self.lives[track.object_id].score
        return tracks
