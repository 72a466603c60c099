"""Pointing at objects: what a click, a box or a mask comes to, at once, and stored as one step of undo."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from keepsight.annotation.agreement import Agreement
from keepsight.annotation.bench import Bench
from keepsight.annotation.case import Case
from keepsight.annotation.live import LiveSession
from keepsight.annotation.trouble import TooMuch
from keepsight.annotation.values import Answer, DeskSettings, Said
from keepsight.core import Box, Mask, Prompt, Source, TrackedObject
from keepsight.core.errors import InputError
from keepsight.store import Project

LONGEST_LABEL = 200


@dataclass(frozen=True)
class _Earlier:
    """What was said about an object on a frame so far, as far as another click adds to it."""

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: Box | None = None

    def with_more(self, prompt: Prompt) -> Prompt:
        return replace(
            prompt,
            points=(*self.points, *prompt.points),
            labels=(*self.labels, *prompt.labels),
            box=prompt.box or self.box,
        )


class TrackerSide:
    """The live session of a desk; for the worker's thread only."""

    def __init__(self, case: Case, bench: Bench) -> None:
        self.case, self.bench = case, bench
        self._made_for: tuple[str, str] | None = None
        self._agreement: Agreement | None = None

    def agreement(self, settings: DeskSettings) -> Agreement:
        """The session of these settings, made anew where they have changed."""
        wanted = (settings.model, settings.policy)
        if self._agreement is None or self._made_for != wanted:
            self._agreement = None
            tracker = self.bench.tracker(*wanted)
            session = LiveSession(tracker.backbone, tracker.policy, tracker.options, self.case.video)
            self._agreement, self._made_for = Agreement(session, self.case.video_id), wanted
        return self._agreement

    @property
    def units_decoded(self) -> int:
        """See :attr:`keepsight.tracking.Session.units_decoded`."""
        return 0 if self._agreement is None else self._agreement.session.units_decoded


class Clicks:
    """Answers prompts; for the worker's thread only."""

    def __init__(self, case: Case, side: TrackerSide) -> None:
        self._case, self._side = case, side

    def look_at(self, settings: DeskSettings, frame: int) -> None:
        """Gets a frame ready for clicks."""
        self._case.check_frame(frame)
        self._side.agreement(settings).session.look_at(frame)

    def look_closely(self, project: Project, settings: DeskSettings, said: Said) -> bool:
        """Gets a frame ready for a click at a certain place, in pieces; whether there may be more."""
        object_id, prompt = self._checked(project, said)
        if self._is_first(project, prompt) and self._side.agreement(settings).session.look_closely(prompt):
            return True
        self._answered(project, settings, said, prompt, object_id, keep=False)
        return False

    def glance(self, project: Project, settings: DeskSettings, said: Said) -> TrackedObject | None:
        """What can be shown of :meth:`preview` at once; ``None``: it comes as soon itself."""
        object_id, prompt = self._checked(project, said)
        if prompt.box is not None or prompt.mask is not None or not self._is_first(project, prompt):
            return None
        agreement = self._side.agreement(settings)
        agreement.forget_what_is_wrong(project, [object_id])
        shown = agreement.session.glance(prompt, clear=True)
        return None if shown is None else _prompted(shown)

    def preview(self, project: Project, settings: DeskSettings, said: Said) -> TrackedObject:
        """What :meth:`prompt` would show."""
        object_id, prompt = self._checked(project, said)
        return self._answered(project, settings, said, prompt, object_id, keep=False)

    def prompt(self, project: Project, settings: DeskSettings, said: Said, by: str | None) -> Answer:
        """Says something about an object; stores it with the mask that it made."""
        case = self._case
        object_id, prompt = self._checked(project, said)
        item = self._answered(project, settings, said, prompt, object_id, keep=True)
        try:
            prompt_id = self._store(project, said, prompt, item)
        except BaseException:
            with contextlib.suppress(InputError):
                self._side.agreement(settings).session.forget(object_id)
            raise
        revision = case.note("objects", "prompts", "masks", frames=(said.frame, said.frame + 1), by=by)
        return Answer(case.object(project, object_id), item, prompt_id, revision)

    # ---- checks ----

    def _checked(self, project: Project, said: Said) -> tuple[int, Prompt]:
        case = self._case
        case.check_frame(said.frame)
        check_label(said.label)
        if said.object_id is None:
            if len(project.objects(case.video_id)) >= case.limits.objects:
                raise TooMuch(f"A video may have {case.limits.objects} objects; remove one first.")
            object_id = project.next_object_id(case.video_id)
        else:
            object_id = case.check_free(project, said.object_id, said.frame).id
        prompt = said.as_prompt(object_id)
        prompt.check_inside(case.video.height, case.video.width)
        earlier = len(self._earlier(project, object_id, said.frame).points)
        if (0 if said.replace else earlier) + len(said.points) > case.limits.points:
            raise TooMuch(f"An object may have {case.limits.points} points on a frame; draw a box or a mask instead.")
        return object_id, prompt

    # ---- the model's answer ----

    def _is_first(self, project: Project, prompt: Prompt) -> bool:
        """Whether a prompt is the first that is said about its object on a frame, where it has no mask either."""
        if self._earlier(project, prompt.object_id, prompt.frame).points:
            return False
        return not project.masks_of(self._case.video_id, prompt.object_id, [prompt.frame])

    def _answered(
        self, project: Project, settings: DeskSettings, said: Said, prompt: Prompt, object_id: int, *, keep: bool
    ) -> TrackedObject:
        if prompt.mask is not None:
            # What a person drew needs no model; the tracker is told before it follows the object.
            return TrackedObject(object_id, prompt.mask, 1.0, 1.0, Source.PROMPT)
        frame = said.frame
        stored = project.masks_of(self._case.video_id, object_id, [frame]).get(frame)
        if stored is not None and not said.replace and _says_nothing_new(prompt, stored.mask):
            # "Not here", where nothing is: a model that is asked all the same would only shake what is right.
            return replace(stored, source=Source.PROMPT)
        agreement = self._side.agreement(settings)
        agreement.forget_what_is_wrong(project, [object_id])
        session = agreement.session
        add = session.add_prompt if keep else session.preview
        if said.replace:
            return _prompted(add(prompt, clear=True))
        earlier = self._earlier(project, object_id, frame)
        told = session.said(object_id, frame) == (earlier.points, earlier.box)
        if told and frame in session.believes(object_id):
            return _prompted(add(prompt))
        previous: Mask | None = stored.mask if stored is not None and stored.present else None
        return _prompted(add(earlier.with_more(prompt), clear=True, previous=previous))

    def _earlier(self, project: Project, object_id: int, frame: int) -> _Earlier:
        earlier = _Earlier()
        for stored in project.prompts(self._case.video_id):
            prompt = stored.prompt
            if (prompt.object_id, prompt.frame) != (object_id, frame):
                continue
            # A mask stands by itself; clicks after it refine it.
            earlier = _Earlier() if prompt.mask is not None else _earlier_of(earlier.with_more(prompt))
        return earlier

    # ---- the store ----

    def _store(self, project: Project, said: Said, prompt: Prompt, item: TrackedObject) -> int:
        video_id, object_id, frame = self._case.video_id, prompt.object_id, prompt.frame
        where = f"object {object_id} on frame {frame}"
        with project.operation(f"point at {where}" if prompt.mask is None else f"draw {where}"):
            if said.object_id is None:
                project.add_object(video_id, object_id, said.label)
            elif said.label is not None and self._case.object(project, object_id).label != said.label:
                project.rename_object(video_id, object_id, said.label)
            if said.replace or prompt.mask is not None:
                for prompt_id in prompts_on(project, video_id, object_id, frame):
                    project.remove_prompt(prompt_id)
            prompt_id = project.add_prompt(video_id, prompt)
            project.set_mask(video_id, object_id, frame, item.mask, Source.PROMPT, item.score)
        return prompt_id


def _says_nothing_new(prompt: Prompt, mask: Mask) -> bool:
    """Whether a prompt only says of places outside of a mask that the object is not there."""
    if not prompt.points or prompt.box is not None or any(prompt.labels):
        return False
    pixels = mask.to_array()
    last_y, last_x = mask.height - 1, mask.width - 1
    return not any(pixels[min(int(y), last_y), min(int(x), last_x)] for x, y in prompt.points)


def prompts_on(project: Project, video_id: int, object_id: int, frame: int) -> Iterator[int]:
    """Numbers of what was said about an object on a frame."""
    for stored in project.prompts(video_id):
        if (stored.prompt.object_id, stored.prompt.frame) == (object_id, frame):
            yield stored.id


def check_label(label: str | None) -> None:
    """Raises :class:`InputError` for a label that is empty or too long."""
    if label is not None and not 0 < len(label.strip()) <= LONGEST_LABEL:
        raise InputError(f"A label has 1 to {LONGEST_LABEL} characters.")


def _earlier_of(prompt: Prompt) -> _Earlier:
    return _Earlier(prompt.points, prompt.labels, prompt.box)


def _prompted(item: TrackedObject) -> TrackedObject:
    return replace(item, source=Source.PROMPT, presence=1.0 if item.present else 0.0)
