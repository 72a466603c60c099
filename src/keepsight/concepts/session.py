"""A video in which everything that words name is found and followed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from keepsight.concepts.association import ANY_CONCEPT
from keepsight.concepts.detector import (
    Concept,
    Detections,
    Detector,
    Exemplar,
    LearnsAlong,
    LooksBeforehand,
    TakesExemplars,
    as_concepts,
)
from keepsight.concepts.held import HeldResults
from keepsight.concepts.loop import ConceptLoop, confirmed_frames
from keepsight.concepts.settings import ConceptRules
from keepsight.core import Direction, Frame, FrameResult, Mask, Prompt, TrackedObject
from keepsight.core.errors import InputError
from keepsight.core.geometry import as_box
from keepsight.memory import Step
from keepsight.tracking import Session, Sight, Tracker
from keepsight.tracking.plan import Visit, plan_visits
from keepsight.tracking.sight import SightSource
from keepsight.tracking.track import Track
from keepsight.video import VideoSource, open_video


class ConceptSession(Session):
    """Finds and follows all instances of concepts through one video.

    Works as a :class:`~keepsight.tracking.Session` does: iterate over :meth:`propagate`, correct with :meth:`add` on any
    frame, :meth:`remove` what is wrong, save and load its state. Ids count up from 1 and are never given out twice.

    Args:
        tracker: follows; its memory policy is each object's own (``sam3`` and ``dms`` are SAM 3's group selection and
            SAM3-DMS' decoupled one).
        video: path or opened source.
        concepts: words or short phrases.
        detector: finds.
        rules: numbers of the loop.
        sights: see :class:`~keepsight.tracking.Session`.

    Raises:
        InputError: no concept, or one that is not accepted; not a video that can be read, or a live one.
    """

    def __init__(
        self,
        tracker: Tracker,
        video: str | Path | VideoSource,
        concepts: str | Concept | Sequence[str | Concept],
        detector: Detector,
        rules: ConceptRules | None = None,
        sights: SightSource | None = None,
    ) -> None:
        wanted = as_concepts(concepts)
        source = video if isinstance(video, VideoSource) else open_video(video)
        super().__init__(tracker.backbone, tracker.policy, tracker.options, source, sights)
        self.detector = detector
        self.rules = rules or ConceptRules()
        self._loop = ConceptLoop(self._set, self.rules, wanted)
        self._held = HeldResults()
        self._given = 0
        self._ahead: dict[int, tuple[Sight, Detections | None]] = {}
        self._tell: Callable[[str], None] = lambda stage: None
        for concept in wanted:
            for exemplar in concept.exemplars:
                self._teach(concept, exemplar)

    # -- what there is -----------------------------------------------------------------------------------------------
    @property
    def concepts(self) -> list[Concept]:
        """What is looked for."""
        return list(self._loop.concepts)

    @property
    def object_ids(self) -> list[int]:
        """Ids of the objects that are there, those on trial included; not those that were removed."""
        return [one for one in super().object_ids if not self._is_dismissed(one)]

    @property
    def next_id(self) -> int:
        """An id that was never given out: take it to add an object that was missed."""
        return self._loop.lives.next_id

    @property
    def visited(self) -> int:
        return self._given

    @property
    def delay_frames(self) -> int:
        """By how many frames a result comes after its frame was followed, while the video goes on."""
        return max(self.rules.trial_frames - 1, 0)

    @property
    def detections(self) -> int:
        """Detections that counted so far, known objects included; 0 at the end means that nothing was found."""
        return self._loop.detected

    @property
    def dropped(self) -> dict[str, int]:
        """Rubbish that the detector gave so far, by reason; see :func:`~keepsight.concepts.checked`."""
        return dict(self._loop.dropped)

    @property
    def remarks(self) -> list[str]:
        """What the detector wants a person to know so far, one line each."""
        return list(getattr(self.detector, "remarks", ()))

    def concept_of(self, object_id: int) -> Concept | None:
        """The concept that an object is an instance of; ``None`` when a person did not say.

        Raises:
            InputError: no such object.
        """
        self._check_known(object_id)
        number = self._loop.lives[object_id].concept
        return next((item for item in self._loop.concepts if item.number == number), None)

    # -- what a person says ------------------------------------------------------------------------------------------
    def add_concept(self, text: str) -> Concept:
        """Looks for one more concept from now on; one that is looked for already is given back.

        Raises:
            InputError: a text that is not accepted.
        """
        concept = Concept(len(self._loop.concepts) + 1, text)
        for known in self._loop.concepts:
            if known.text.casefold() == concept.text.casefold():
                return known
        self._loop.concepts.append(concept)
        return concept

    def add_exemplar(self, concept: str, frame: int, box: Sequence[float], *, positive: bool = True) -> Concept:
        """Shows by a box what belongs to a concept, or what does not; holds from now on.

        Args:
            concept: its text; a new one is added.
            frame: frame index on which the box lies.
            box: ``(x1, y1, x2, y2)`` in px.

        Raises:
            InputError: the detector takes no exemplars, or the box does not fit the video.
        """
        exemplar = Exemplar(frame, as_box(box), positive)
        exemplar.check_inside(self.video.height, self.video.width, self.frame_count, of=concept)
        known = self.add_concept(concept)
        taught = replace(known, exemplars=(*known.exemplars, exemplar))
        self._teach(taught, exemplar)
        self._loop.concepts[taught.number - 1] = taught
        return taught

    def add_prompt(self, prompt: Prompt, *, clear: bool = False, previous: Mask | None = None) -> TrackedObject:
        """Refines an object that was found, or adds one that was missed (with :attr:`next_id`).

        An object that a person has pointed at is not taken for a false find any more. Its concept is the one that its label
        names, or the only one there is.
        """
        lives = self._loop.lives
        if self._is_dismissed(prompt.object_id):
            raise InputError(f"Object {prompt.object_id} was removed; ids are never used again, take {self.next_id}.")
        known = prompt.object_id in lives
        if not known and prompt.object_id < lives.next_id and prompt.object_id > 0:
            raise InputError(f"Object {prompt.object_id} was given up; ids are never used again, take {self.next_id}.")
        if not known and prompt.label is None and len(self._loop.concepts) == 1:
            prompt = replace(prompt, label=self._loop.concepts[0].text)
        answer = super().add_prompt(prompt, clear=clear, previous=previous)
        concept = self._loop.concept_of_label(prompt.label)
        if concept == ANY_CONCEPT and known:
            concept = lives[prompt.object_id].concept
        lives.welcome(prompt.object_id, concept)
        return answer

    def remove(self, object_id: int, *, for_good: bool = True) -> None:
        """Takes an object out of all results to come.

        Args:
            for_good: keep following it unseen, so that what is there is not found anew; costs what following costs.

        Raises:
            InputError: no such object.
        """
        self._check_known(object_id)
        if for_good:
            self._loop.lives.dismiss(object_id)
        else:
            super().remove(object_id)
            self._loop.lives.forget(object_id)
        self._held.hide([object_id])

    def clear_prompts(self, object_id: int, frame: int) -> None:
        super().clear_prompts(object_id, frame)
        if object_id not in self._set.tracks:
            self._loop.lives.forget(object_id)

    # -- following ---------------------------------------------------------------------------------------------------
    def propagate(
        self,
        start: int | None = None,
        stop: int | None = None,
        *,
        stride: int = 1,
        direction: Direction | str = Direction.FORWARD,
        resume: bool = False,
        on_stage: Callable[[str], None] | None = None,
        on_frame: Callable[[Frame], None] | None = None,
    ) -> Iterator[FrameResult]:
        """Finds and follows over a range of frames, a result a frame, in order.

        Results come :attr:`delay_frames` late, so that objects which do not outlive their trial are in none of them; the
        last ones come at the end, or when the run is cancelled. A later call keeps the objects that are there and goes on
        with their ids.

        Args:
            start: first frame of the range; default: the video's first.
            stop: end of the range, exclusive; default: the end of the video.
            stride: look at every n-th frame; frames with clicks are always visited.
            direction: forward or backward.
            resume: go on after the last result of the run whose state was loaded; all other arguments as they were.
            on_stage: told "decode", "encode", "detect" and "track" as these begin, for timing.
            on_frame: given every frame before it is followed, and so up to :attr:`delay_frames` before its result.

        Raises:
            InputError: an empty range, or another direction.
        """
        if not resume:
            self._given = 0
            self._held.clear()
            self._loop.lives.settle()
        self._tell = on_stage or (lambda stage: None)
        self._ahead = {}
        if isinstance(self.detector, LooksBeforehand):
            self.detector.prepare_from(self.video)
        results = super().propagate(
            start, stop, stride=stride, direction=direction, resume=resume, on_stage=self._tell, on_frame=on_frame
        )
        if not resume:
            self._forget_confirmed({visit.frame for visit in self._plan(start, stop, stride, Direction(direction))})
        return self._released(results)

    def _forget_confirmed(self, frames: set[int]) -> None:
        """What an earlier pass confirmed is open again where this one goes: a person may have said otherwise since."""
        for track in self._set.tracks.values():
            for frame in confirmed_frames(track):
                if frame in frames:
                    del track.bank.conditioning[frame]

    def _released(self, results: Iterator[FrameResult]) -> Iterator[FrameResult]:
        for result in results:
            self._held.hold(result)
            if len(self._held) > self.delay_frames:
                yield self._give()
        while self._held:
            yield self._give()

    def _give(self) -> FrameResult:
        self._given += 1
        return self._held.give()

    def _plan(self, start: int | None, stop: int | None, stride: int, direction: Direction) -> list[Visit]:
        if direction is Direction.BOTH:
            raise InputError("Concepts are looked for forward or backward, in one direction at a time.")
        spans = [(0, self.frame_count - 1)]
        return plan_visits(self.frame_count, spans, self._prompted_frames(), start, stop, stride, direction)

    def _prompted_frames(self) -> list[int]:
        return sorted({frame for track in self._set.tracks.values() for frame in track.prompts})

    def _run(
        self,
        visits: Sequence[Visit],
        skip: int,
        stride: int,
        direction: Direction,
        on_stage: Callable[[str], None],
    ) -> Iterator[FrameResult]:
        if skip and isinstance(self.detector, LearnsAlong):
            # As if the run had not been broken off.
            begun = self._loop.lives.step - skip
            with closing(super()._frames(visits[:skip])) as frames:
                for place, frame in enumerate(frames):
                    if self._loop.due(begun + place):
                        self.detector.watch(Sight(self.backbone, frame.rgb))
        yield from super()._run(visits, skip, stride, direction, on_stage)

    def _frames(self, visits: Sequence[Visit]) -> Generator[Frame, None, None]:
        if self.detector.frames_per_call <= 1:
            yield from super()._frames(visits)
            return
        # As many frames at once as hold one call's worth of looks.
        depth = self.detector.frames_per_call * self.rules.detect_every
        with closing(super()._frames(visits)) as frames:
            while batch := list(islice(frames, depth)):
                self._look_ahead(batch)
                yield from batch

    def _look_ahead(self, frames: Sequence[Frame]) -> None:
        sights = [super(ConceptSession, self)._known_sight(f.index) or self._new_sight(f.index, f.rgb) for f in frames]
        for frame, sight in zip(frames, sights, strict=True):
            # What is kept of a clicked frame are its features.
            sight.recall_pixels(frame.rgb)
        due = [self._loop.due(self._loop.lives.step + offset) for offset in range(len(frames))]
        found = iter(self._detect([sight for sight, wanted in zip(sights, due, strict=True) if wanted]))
        self._ahead = {
            frame.index: (sight, next(found) if wanted else None)
            for frame, sight, wanted in zip(frames, sights, due, strict=True)
        }

    def _known_sight(self, frame: int) -> Sight | None:
        return self._ahead[frame][0] if frame in self._ahead else super()._known_sight(frame)

    def _detect(self, sights: Sequence[Sight]) -> list[Detections]:
        if not sights:
            return []
        self._tell("detect")
        found = self.detector.detect(sights, self._loop.concepts)
        self._tell("track")
        return found

    def _visit(self, frame: Frame, sight: Sight, step: Step, tracks: Sequence[Track]) -> FrameResult:
        found: Detections | None = None
        if frame.index in self._ahead:
            found = self._ahead.pop(frame.index)[1]
        elif self._loop.due(self._loop.lives.step):
            # What is kept of a clicked frame are its features.
            sight.recall_pixels(frame.rgb)
            [found] = self._detect([sight])
        outcome = self._loop.advance(tracks, step, sight, found)
        self._held.hide(outcome.false)
        self.last_logits = {
            track.object_id: record.logits for track, record in outcome.shown if record.logits is not None
        }
        self.last_marks = {track.object_id: dict(record.marks) for track, record in outcome.shown}
        return self._set.result(frame, outcome.shown)

    def finalize(self) -> list[FrameResult]:
        def shown(result: FrameResult) -> FrameResult:
            lives = self._loop.lives
            return replace(result, objects=tuple(item for item in result.objects if lives.shows(item.object_id)))

        return [shown(result) for result in super().finalize()]

    # -- state -------------------------------------------------------------------------------------------------------
    def _own_state(self) -> dict[str, Any]:
        return {
            "concepts": [[item.text, [[e.frame, e.box, e.positive] for e in item.exemplars]] for item in self.concepts],
            "lives": self._loop.lives.state(),
            "held": self._held.state(),
            "given": self._given,
            "dropped": dict(self._loop.dropped),
            "detected": self._loop.detected,
        }

    def _restore_own(self, state: dict[str, Any]) -> None:
        if "lives" not in state:
            raise InputError("The saved state is of objects that were pointed at, not of concepts; start again.")
        concepts = [
            Concept(number, text, tuple(Exemplar(at, (*box,), positive) for at, box, positive in exemplars))
            for number, (text, exemplars) in enumerate(state["concepts"], start=1)
        ]
        for concept in concepts:
            for exemplar in concept.exemplars:
                self._teach(concept, exemplar)
        self._loop.concepts = concepts
        self._loop.lives.restore(state["lives"])
        self._held.restore(state["held"])
        self._given = state["given"]
        self._loop.dropped.clear()
        self._loop.dropped.update(state["dropped"])
        self._loop.detected = state["detected"]

    # -- inside ------------------------------------------------------------------------------------------------------
    def _teach(self, concept: Concept, exemplar: Exemplar) -> None:
        if not isinstance(self.detector, TakesExemplars):
            raise InputError(
                f"The detector '{self.detector.name}' cannot be shown examples; sam3 can. "
                "Point at single objects with clicks instead."
            )
        sight = self._sight_of(exemplar.frame, keep=False)
        if not sight.has_pixels:
            sight.recall_pixels(self.video.read(exemplar.frame).rgb)
        self.detector.learn(sight, concept, exemplar)

    def _is_dismissed(self, object_id: int) -> bool:
        return object_id in self._loop.lives and self._loop.lives[object_id].dismissed

    def _check_known(self, object_id: int) -> None:
        if object_id not in self._set.tracks or self._is_dismissed(object_id):
            raise InputError(f"There is no object {object_id}; there are: {self.object_ids or 'none'}.")
