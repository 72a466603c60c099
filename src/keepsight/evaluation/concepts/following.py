"""Phrases of a video found and followed, for an evaluation: text -> find -> follow, as ``keepsight segment --text`` does.

Each phrase has a session of its own, so its tubes are those that it would have alone: what one session finds for another phrase
neither competes for memory (group selection scores all objects of a session together) nor decides from which score on
something new is taken. The sessions go through the video in step, and every frame is decoded and encoded once for all of
them. A detector that reads no words finds the same whatever the phrase, so it looks once.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from keepsight.core import Concept, FrameResult, InputError, Mask
from keepsight.evaluation.concepts.media import Footage
from keepsight.evaluation.concepts.tubes import Tube
from keepsight.pipeline.finding import load_detector, remarks_of, settle_finding
from keepsight.pipeline.job import Progress, ProgressCallback
from keepsight.pipeline.loaded import LoadedModels
from keepsight.pipeline.run import load_tracker
from keepsight.pipeline.settings import Settings
from keepsight.pipeline.words import ANYTHING, LIKE

if TYPE_CHECKING:
    from keepsight.concepts import ConceptRules, ConceptSession, Detector
    from keepsight.tracking import Sight, Tracker

AT_ONCE = 8
"""Phrases that go through a video together. Up: fewer passes over its frames, more memory."""


class PhraseFollower:
    """Finds and follows phrases in one video after another.

    Args:
        tracker: follows.
        detector: gives the detector for a video: the same one, or where it learns along, a new one.
        rules: how detections become objects.
        at_once: see :data:`AT_ONCE`.

    Attributes:
        remarks: what a person should know about how things were found, with the videos it is about.
    """

    def __init__(
        self, tracker: Tracker, detector: Callable[[], Detector], rules: ConceptRules, at_once: int = AT_ONCE
    ) -> None:
        self.tracker, self.rules, self.at_once = tracker, rules, at_once
        self.remarks: dict[str, list[str]] = {}
        self._detector = detector

    def follow(
        self, footage: Footage, phrases: Sequence[str], tell: Callable[[int, int], None] = lambda done, total: None
    ) -> list[tuple[Tube, ...]]:
        """Tubes of each phrase, a tube an object; its score is the one with which it was found.

        Args:
            tell: told how many frames of how many were followed, over all passes.

        Raises:
            InputError: a phrase that is not accepted.
        """
        detector = self._detector()
        asked = phrases if detector.understands_words else phrases[:1]
        groups = [asked[start : start + self.at_once] for start in range(0, len(asked), self.at_once)]
        stop = max(footage.places) + 1
        found: list[tuple[Tube, ...]] = []
        for number, group in enumerate(groups):
            sessions = self._sessions(footage, group, detector)
            found += self._pass(footage, sessions, stop, _From(tell, number * stop, len(groups) * stop))
        self._remark(footage, footage.source.warnings)
        return found if detector.understands_words else found * len(phrases)

    def _remark(self, footage: Footage, lines: Sequence[str]) -> None:
        for line in lines:
            names = self.remarks.setdefault(line, [])
            if footage.source.name not in names:
                names.append(footage.source.name)

    def _pass(
        self, footage: Footage, sessions: Sequence[ConceptSession], stop: int, tell: Callable[[int], None]
    ) -> list[tuple[Tube, ...]]:
        notes = [_Notes(footage.places) for _ in sessions]
        with ExitStack() as stack:
            ways: list[Iterator[FrameResult]] = [session.propagate(stop=stop) for session in sessions]
            for way in ways:
                stack.enter_context(closing(way))  # type: ignore[type-var]
            for done, results in enumerate(zip(*ways, strict=True), 1):
                for taken, result in zip(notes, results, strict=True):
                    taken.take(result)
                tell(done)
        for session, taken in zip(sessions, notes, strict=True):
            for result in session.finalize():
                taken.take(result)
            self._remark(footage, remarks_of(session))
        return [taken.tubes() for taken in notes]

    def _sessions(self, footage: Footage, phrases: Sequence[str], detector: Detector) -> list[ConceptSession]:
        from keepsight.concepts import ConceptSession
        from keepsight.video.shared import SharedVideo

        sights = _RecentSights(self.tracker, max(1, detector.frames_per_call * self.rules.detect_every))
        readers = SharedVideo(footage.source, len(phrases)).readers()
        sessions = []
        for phrase, reader in zip(phrases, readers, strict=True):
            try:
                concept = Concept(1, phrase)
            except InputError as error:
                raise InputError(f"{footage.source.name}: '{phrase[:40]}': {error}") from error
            sessions.append(ConceptSession(self.tracker, reader, concept, detector, self.rules, sights))
        return sessions


def load_follower(asked: Settings, tell: ProgressCallback) -> tuple[PhraseFollower, Settings]:
    """A follower, loaded once for all videos, and what ``auto`` came to.

    Args:
        asked: what to find with and how to follow; its concepts are not looked at.
        tell: told about loading.

    Raises:
        InputError, ModelError: no such model or detector, not here, or rules that are refused.
    """
    from keepsight.concepts import ConceptRules

    if asked.detector == LIKE:
        raise InputError("The detector 'like' is shown an example, and a set has phrases only; use another --detector.")
    settled = settle_finding(replace(asked, concepts=(Concept(1, ANYTHING),)))
    tracker, settings = load_tracker(settled, {}, lambda stage, done, total: tell(Progress(stage, done, total)))
    models = LoadedModels()

    def detector() -> Detector:
        return models.detector(tracker, settings, lambda: load_detector(tracker, settings))

    return PhraseFollower(tracker, detector, ConceptRules.of(settings.rules)), settings


@dataclass(frozen=True)
class _From:
    """Tells how many frames were followed, those of earlier passes included."""

    tell: Callable[[int, int], None]
    before: int
    total: int

    def __call__(self, frames: int) -> None:
        self.tell(self.before + frames, self.total)


class _RecentSights:
    """One sight a frame for all sessions that ask for it; holds the last few frames, as many as are looked at together."""

    def __init__(self, tracker: Tracker, most: int) -> None:
        self._tracker, self._most = tracker, most
        self._held: OrderedDict[int, Sight] = OrderedDict()

    def __call__(self, frame: int, rgb: NDArray[np.uint8]) -> Sight:
        from keepsight.tracking import Sight

        if frame not in self._held:
            self._held[frame] = Sight(self._tracker.backbone, rgb, self._tracker.options.units_per_decode)
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        return self._held[frame]


class _Notes:
    """What comes in about one phrase."""

    def __init__(self, places: Mapping[int, int]) -> None:
        self._places = places
        self._scores: dict[int, float] = {}
        self._masks: dict[int, dict[int, Mask]] = {}

    def take(self, result: FrameResult) -> None:
        """A frame's masks; a later result for the same frame (a policy that looks back) replaces what it is about."""
        place = self._places.get(result.frame)
        for item in result.objects:
            self._scores.setdefault(item.object_id, item.score)
            if place is None:
                continue
            masks = self._masks.setdefault(item.object_id, {})
            if item.present:
                masks[place] = item.mask
            else:
                masks.pop(place, None)

    def tubes(self) -> tuple[Tube, ...]:
        """In the order in which they were found; those that are on no scored frame are left out."""
        return tuple(
            Tube(dict(sorted(masks.items())), self._scores[object_id])
            for object_id, masks in sorted(self._masks.items())
            if masks
        )
