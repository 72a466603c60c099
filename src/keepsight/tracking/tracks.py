"""The objects of a session or stream, and the image features that stay for the next click."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import copy

import torch

from keepsight.core import Frame, FrameResult, Mask, Prompt, Source, TrackedObject
from keepsight.core.errors import InputError
from keepsight.memory import FrameRecord, MemoryLimits, Policy, PolicyFactory, Role, Step
from keepsight.models.backbone import Backbone
from keepsight.tracking.engine import Engine
from keepsight.tracking.masks import fill_holes, masks_at_size, without_overlap
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.sight import Sight
from keepsight.tracking.track import FramePrompt, Track

CONFIRMED = "confirmed"
"""Mark of a conditioning frame that a detector's mask made or confirmed; what is shown there is that mask."""


class FeatureCache:
    """Sights of frames, least recently used out first, within a byte budget."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._items: OrderedDict[int, Sight] = OrderedDict()

    def get(self, frame: int) -> Sight | None:
        if frame in self._items:
            self._items.move_to_end(frame)
        return self._items.get(frame)

    def put(self, frame: int, sight: Sight) -> None:
        self._items[frame] = sight
        self._items.move_to_end(frame)
        while self._items and sum(item.nbytes() for item in self._items.values()) > self._limit:
            self._items.popitem(last=False)


class TrackSet:
    """The objects of a session or stream, and what both do with them."""

    def __init__(self, backbone: Backbone, policy: PolicyFactory, options: EngineOptions) -> None:
        self.backbone = backbone
        self.options = options
        self.engine = Engine(backbone, options)
        self._policy_factory = policy
        self.tracks: dict[int, Track] = {}
        self.retired_ids: set[int] = set()

    def new_track(self, object_id: int) -> Track:
        return Track(object_id, self._new_policy())

    def _new_policy(self) -> Policy:
        info = self.backbone.info
        limits = MemoryLimits(info.slots, info.pointers, info.max_conditioning)
        return self._policy_factory(limits, self.options.compatibility.rules)

    def remember(self, object_id: int) -> Callable[[], None]:
        """What puts an object back as it is now, should a prompt fail."""
        track = self.tracks.get(object_id)
        if track is None:

            def forget() -> None:
                self.tracks.pop(object_id, None)

            return forget
        prompts = {frame: copy(said) for frame, said in track.prompts.items()}
        conditioning, label = dict(track.bank.conditioning), track.label

        def undo() -> None:
            track.prompts, track.bank.conditioning, track.label = prompts, conditioning, label

        return undo

    def take_prompt(self, prompt: Prompt, *, clear: bool) -> Track:
        """Adds a prompt to its object (made when new) without answering it yet."""
        if prompt.object_id in self.retired_ids:
            raise InputError(f"Object {prompt.object_id} was removed; ids are never used again, take another.")
        track = self.tracks.get(prompt.object_id) or self.new_track(prompt.object_id)
        said = track.prompts.get(prompt.frame)
        if said is None or clear or prompt.mask is not None or (prompt.box is not None and said.mask is not None):
            said = FramePrompt()
        if said.mask is not None:
            raise InputError(
                f"Object {prompt.object_id} has a mask on frame {prompt.frame}; "
                "correct it with clear=True, or with a new mask."
            )
        said.points = [*said.points, *prompt.points]
        said.labels = [*said.labels, *prompt.labels]
        said.box = prompt.box or said.box
        said.mask = prompt.mask
        track.prompts[prompt.frame] = said
        track.label = prompt.label or track.label
        self.tracks[prompt.object_id] = track
        return track

    def remove(self, object_id: int) -> None:
        if object_id not in self.tracks:
            raise InputError(f"There is no object {object_id}; there are: {sorted(self.tracks) or 'none'}.")
        self.retired_ids.add(object_id)
        self.let_go(object_id)

    def let_go(self, object_id: int) -> None:
        """Forgets an object whose id cannot come again."""
        group = self.tracks.pop(object_id).group
        group[0].regroup([track.bank for track in self.tracks.values() if track.group == group])

    def shown(self, tracks: Sequence[Track], step: Step) -> list[tuple[Track, FrameRecord]]:
        """What the policies show for ``tracks`` on a frame they have just been followed onto."""
        emitted = [(track, track.policy.emit(step, track.bank)) for track in tracks]
        return [(track, record) for track, record in emitted if record is not None and record.logits is not None]

    def result(self, frame: Frame, shown: Sequence[tuple[Track, FrameRecord]]) -> FrameResult:
        objects = self.present(shown, frame.height, frame.width)
        return FrameResult(frame.index, frame.time_s, frame.height, frame.width, tuple(objects))

    def present(self, shown: Sequence[tuple[Track, FrameRecord]], height: int, width: int) -> list[TrackedObject]:
        logits = []
        for _, record in shown:
            assert record.logits is not None
            # A prompted frame was filled before its memory was written, as Meta does.
            largest = 0 if record.role is Role.PROMPT else self.options.compatibility.fill_hole_px
            logits.append(fill_holes(record.logits, largest))
        regions = [record.region for _, record in shown]
        with self.engine.backbone.leading():
            masks = masks_at_size(logits, height, width, regions)
            if self.options.closely is not None:
                masks = [_given(*item) or mask for item, mask in zip(shown, masks, strict=True)]
            if self.options.exclusive:
                masks = without_overlap(masks, logits, regions)
        return [
            TrackedObject(
                object_id=track.object_id,
                mask=mask,
                score=min(max(record.iou, 0.0), 1.0),
                presence=float(torch.sigmoid(torch.tensor(record.object_score))),
                source=_source(track, record),
            )
            for (track, record), mask in zip(shown, masks, strict=True)
        ]


def _given(track: Track, record: FrameRecord) -> Mask | None:
    """The mask that somebody gave for the frame: logits, which both references show instead, have only the model's resolution."""
    said = track.prompts.get(record.frame)
    return None if said is None else said.mask


def _source(track: Track, record: FrameRecord) -> Source:
    if CONFIRMED in record.marks:
        return Source.DETECTED
    if record.role is not Role.PROMPT:
        return Source.TRACKED
    return Source.DETECTED if record.frame not in track.prompts else Source.PROMPT
