"""Concepts in an endless stream: frames come once, results go out at once.

What a stream gives up against a file: an object that does not outlive its trial has been shown until then, for there is no
frame to hold back; and nobody can turn round, so a click holds from the present frame on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keepsight.concepts.detector import Concept, Detector, as_concepts
from keepsight.concepts.loop import ConceptLoop
from keepsight.concepts.settings import ConceptRules
from keepsight.core import FrameResult, Prompt
from keepsight.core.errors import InputError
from keepsight.memory import FrameRecord, Step
from keepsight.tracking import Sight, Tracker
from keepsight.tracking.track import Track
from keepsight.tracking.tracker import Stream
from keepsight.tracking.tracks import TrackSet


class ConceptStream:
    """Finds and follows all instances of concepts in frames that come one by one.

    Args:
        tracker, concepts, detector, rules: see :class:`~keepsight.concepts.ConceptSession`.
    """

    def __init__(
        self,
        tracker: Tracker,
        concepts: str | Concept | Sequence[str | Concept],
        detector: Detector,
        rules: ConceptRules | None = None,
    ) -> None:
        self.rules = rules or ConceptRules()
        tracks = TrackSet(tracker.backbone, tracker.policy, tracker.options)
        self._loop = ConceptLoop(tracks, self.rules, as_concepts(concepts))
        self._stream = _Found(self._loop, detector)

    @property
    def object_ids(self) -> list[int]:
        """Ids of the objects that are there."""
        lives = self._loop.lives
        return [one for one in self._loop.set.tracks if not lives[one].dismissed]

    @property
    def labels(self) -> dict[int, str]:
        """Labels by object id."""
        return {track.object_id: track.label for track in self._loop.set.tracks.values() if track.label}

    @property
    def next_id(self) -> int:
        """An id that was never given out."""
        return self._loop.lives.next_id

    @property
    def dropped(self) -> dict[str, int]:
        """Rubbish that the detector gave so far, by reason."""
        return dict(self._loop.dropped)

    @property
    def remarks(self) -> list[str]:
        """What the detector wants a person to know so far, one line each."""
        return list(getattr(self._stream.detector, "remarks", ()))

    def step(self, rgb: NDArray[np.uint8], time_s: float | None = None) -> FrameResult:
        """Finds and follows on the next frame; see :meth:`keepsight.tracking.Tracker.step`."""
        return self._stream.step(rgb, time_s)

    def add(
        self,
        *,
        object_id: int,
        points: Sequence[tuple[float, float]] = (),
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        mask: Any | None = None,
        label: str | None = None,
    ) -> None:
        """Refines an object on the frame that the next :meth:`step` brings, or adds one with :attr:`next_id`.

        Raises:
            InputError: a prompt that is not accepted, or an id that was given up.
        """
        lives = self._loop.lives
        known = object_id in lives
        if (known and lives[object_id].dismissed) or (not known and 0 < object_id < lives.next_id):
            raise InputError(f"Object {object_id} was given up; ids are never used again, take {self.next_id}.")
        if not known and label is None and len(self._loop.concepts) == 1:
            label = self._loop.concepts[0].text
        prompt = Prompt.of(object_id, 0, points=points, labels=labels, box=box, mask=mask, label=label)
        self._stream.waiting.append(prompt)
        concept = self._loop.concept_of_label(label)
        lives.welcome(object_id, concept or (lives[object_id].concept if known else concept))

    def remove(self, object_id: int) -> None:
        """Takes an object out of all results to come; it is followed unseen, so that it is not found anew.

        Raises:
            InputError: no such object.
        """
        if object_id not in self.object_ids:
            raise InputError(f"There is no object {object_id}; there are: {self.object_ids or 'none'}.")
        self._stream.waiting = [prompt for prompt in self._stream.waiting if prompt.object_id != object_id]
        self._loop.lives.dismiss(object_id)


class _Found(Stream):
    """A stream whose objects are found."""

    def __init__(self, loop: ConceptLoop, detector: Detector) -> None:
        super().__init__(loop.set)
        self.loop, self.detector = loop, detector

    def follow(self, tracks: list[Track], step: Step, sight: Sight) -> list[tuple[Track, FrameRecord]]:
        found = None
        if self.loop.due(self.loop.lives.step):
            [found] = self.detector.detect([sight], self.loop.concepts)
        return self.loop.advance(tracks, step, sight, found).shown
