"""Looking for what words name while tracking: a job that finds objects on its way, frame by frame like any other.

Results come late by the frames of an object's trial, so a kill costs those frames as well as the one in hand: what was still on
trial is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from keepsight.annotation.case import Case
from keepsight.annotation.clicks import TrackerSide
from keepsight.annotation.finding import split_words
from keepsight.annotation.plan import Way
from keepsight.annotation.progress import JobRun, Progress
from keepsight.annotation.values import FrameDone
from keepsight.concepts import ConceptRules, ConceptSession
from keepsight.core import FrameResult, Prompt, TrackedObject
from keepsight.core.errors import InputError
from keepsight.store import Project


class StepwiseSession(ConceptSession):
    """A concept session that says after every frame that it is still there, also while results are held back."""

    def number_from(self, first_id: int) -> None:
        """Gives what is found from now on ids from ``first_id`` on."""
        self._loop.lives.next_id = max(self._loop.lives.next_id, first_id)

    def _released(self, results: Iterator[FrameResult]) -> Iterator[FrameResult]:
        for result in results:
            self._held.hold(result)
            yield self._give() if len(self._held) > self.delay_frames else _HELD
        while self._held:
            yield self._give()


_HELD = FrameResult(-1, 0.0, 1, 1)
"""Stands for a result that is held back."""


class WordsRun(JobRun):
    """Finds and follows over the ranges of a plan.

    When somebody changes the project meanwhile, or the job goes on after a rest, the session is made anew: what is stored of the
    last frame that is done is where it begins.
    """

    def __init__(self, progress: Progress, case: Case, side: TrackerSide, tell: Callable[[FrameDone], None]) -> None:
        super().__init__(progress, case.video_id, tell)
        self._case, self._side = case, side
        self._session: StepwiseSession | None = None
        self._results: Iterator[FrameResult] | None = None
        self._begun: tuple[int, int] | None = None  # number of the way, changes of the project
        self._units = 0

    def advance(self, project: Project) -> bool:
        to_come = self.progress.next()
        if to_come is None:
            return False
        way, frame = to_come
        now = (self.progress.way, self._case.changes)
        if self._session is None or self._begun != now:
            self.close()
            self._open(project, way, frame)
            self._begun = now
        assert self._session is not None
        assert self._results is not None
        result = next(self._results, None)
        self.progress.units += self._session.units_decoded - self._units
        self._units = self._session.units_decoded
        if result is _HELD:
            self.progress.message = "Looking ahead, to be sure of what is found."
            return True
        if result is None:
            # Damaged to the end of the way: nothing more is to come of it.
            self.store(project, frame, None)
            return True
        self.progress.message = " ".join(self._session.remarks)
        self.store(project, result.frame, result, self._session.labels)
        return self.progress.next() is not None

    def close(self) -> None:
        if self._session is not None:
            self._session.cancel()
        close = getattr(self._results, "close", None)
        if close is not None:
            close()
        self._session = self._results = None
        self._units = 0

    def _open(self, project: Project, way: Way, frame: int) -> None:
        request, settings = self.progress.plan.request, self.progress.plan.settings
        bench = self._side.bench
        tracker = bench.tracker(settings.model, settings.policy)
        concepts = split_words(request.text or "", self._case.limits.text_length)
        detector = bench.detector(request.detector, settings.model, tracker)
        if not detector.understands_words and len(concepts) > 1:
            raise InputError(f"The detector '{detector.name}' does not understand words; give one concept.")
        rules = ConceptRules()
        if request.threshold is not None:
            rules = replace(rules, score_threshold=request.threshold, new_score=request.threshold)
        session = StepwiseSession(tracker, self._case.video, concepts, detector, rules)
        self._welcome(project, session, request.start if self.progress.frame is None else self.progress.frame)
        session.number_from(project.next_object_id(self.video_id))
        end = way.spans[next(iter(way.spans))][1]
        if way.reverse:
            self._results = session.propagate(end + 1, frame + 1, direction="backward")
        else:
            self._results = session.propagate(frame, end, direction="forward")
        self._session = session

    def _welcome(self, project: Project, session: StepwiseSession, frame: int) -> None:
        """Tells the session what is there, all of it, so that none of it is found anew."""
        labels = {item.object_id: item.label for item in project.objects(self.video_id)}
        for one, item in sorted(self.stored(project, frame).items()):
            if item.present:
                session.add_prompt(Prompt(one, frame, mask=item.mask, label=labels.get(one)))

    def write(
        self, project: Project, result: FrameResult, labels: Mapping[int, str] | None = None
    ) -> tuple[TrackedObject, ...]:
        known = {item.object_id for item in project.objects(self.video_id)}
        mine = {*self.progress.plan.objects, *self.progress.found}
        # An id that is neither is one that somebody gave to an object of their own meanwhile, or was not asked for.
        stay = (known - mine) | self._final_before(project, result.frame)
        if result.frame == self.progress.plan.request.start:
            stay |= set(self.stored(project, result.frame))
        items = tuple(item for item in result.objects if item.object_id not in stay)
        written = super().write(project, replace(result, objects=items), labels)
        fresh = [item.object_id for item in written if item.object_id not in mine]
        self.progress.found += fresh
        return written

    def _final_before(self, project: Project, frame: int) -> set[int]:
        """Objects whose way has met a frame on which they are accepted."""
        start = self.progress.plan.request.start
        low, high = sorted((start, frame))
        return {one for at, one in project.accepted(self.video_id, low, high + 1) if at != start}
