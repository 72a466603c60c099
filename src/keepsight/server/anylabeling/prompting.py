"""What a client's prompt is about, and having it answered by the desk.

The client says little: text starts afresh each time, points are always about "object 10000" and come all together. What belongs
together is therefore taken from the session and from what the project says was pointed at before.
"""

from __future__ import annotations

from collections.abc import Iterable

from keepsight.annotation import Desk, DeskView, Said
from keepsight.annotation.finding import split_words
from keepsight.server.anylabeling.offers import wordless
from keepsight.server.anylabeling.sessions import Marks, Session
from keepsight.server.errors import ApiError
from keepsight.server.reception import soon
from keepsight.store import DeleteRange, Lane

POINTED = "AUTOLABEL_OBJECT"
"""The client's word for what was pointed at and has no name yet."""

_NEAR_PX = 0.05  # relative coordinates come as 32-bit floats


async def look_for(desk: Desk, session: Session, frame: int, text: str, detector: str | None) -> None:
    """Finds what words name on a frame; the session is then about that, and about what has their labels on other frames."""
    chosen = wordless(text) or detector
    found = await soon(desk.find(frame, text, chosen, session.threshold))
    labels = {item.id: item.label or text for item, _ in found.objects} | dict(found.known_as)
    concepts = {concept.text.casefold(): concept.text for concept in split_words(text, len(text))}
    _, here = await soon(desk.masks(frame, frame + 1))
    visible = {item.object_id for result in here for item in result.objects if item.present}
    view = await soon(desk.view())
    for item in view.objects:
        label = (item.label or "").casefold()
        if label in concepts and item.id not in visible:
            labels.setdefault(item.id, concepts[label])
    session.labels, session.text, session.current, session.said = labels, text, None, {}
    session.prompted = frame


async def point_at(desk: Desk, session: Session, frame: int, marks: Marks, *, new_objects: bool) -> None:
    """Says by points what an object is on a frame; what was said before already is not said again."""
    if session.text is not None:
        session.labels, session.current, session.text = {}, None, None
    view = await soon(desk.view())
    there = {item.id for item in view.objects}
    if session.current not in there:
        session.current, session.said = _recognised(view, frame, marks)
    earlier = session.said.get(frame, ())
    if _same(earlier, marks):
        session.prompted = frame
        session.labels[_owner(session)] = POINTED
        return
    if not earlier and any(_same(other, marks) for other in session.said.values()):
        # Auto Run sends the points of the prompted frame for the first frame of its range, where they mean nothing.
        session.labels[_owner(session)] = POINTED
        return
    goes_on = bool(earlier) and _holds(marks, earlier)
    if not goes_on and new_objects and session.current is not None:
        session.current, session.said = None, {}
        if session.delivered:
            # The client puts one label on all that comes, so what it has already must not come again.
            session.labels = {}
    fresh = tuple(mark for mark in marks if not _holds((mark,), earlier, any_of=True)) if goes_on else marks
    said = Said(
        frame,
        session.current,
        tuple((x, y) for x, y, _ in fresh),
        tuple(on for _, _, on in fresh),
        replace=not goes_on,
    )
    answer = await soon(desk.prompt(said))
    if session.current is not None:
        await _forget_what_followed(desk, session.current, frame)
    session.current = answer.object.id
    session.said[frame] = marks
    session.labels[answer.object.id] = POINTED
    session.prompted, session.delivered = frame, False


def in_px(points: Iterable[tuple[float, float]], labels: Iterable[int], width: int, height: int) -> Marks:
    """Points of the client, 0 to 1, in px of the frame.

    Raises:
        ApiError: 422, outside of the frame.
    """
    marks = []
    for (x, y), on in zip(points, labels, strict=True):
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise ApiError(422, "PROMPT_ERROR", "Points are parts of the picture's width and height, 0 to 1.")
        marks.append((min(round(x * width, 2), width - 0.01), min(round(y * height, 2), height - 0.01), on))
    return tuple(marks)


def _owner(session: Session) -> int:
    assert session.current is not None
    return session.current


def _recognised(view: DeskView, frame: int, marks: Marks) -> tuple[int | None, dict[int, Marks]]:
    """The object about which a project knows these points, or the first of them on this frame, and all that it knows."""
    said: dict[int, dict[int, Marks]] = {}
    for stored in view.prompts:
        prompt = stored.prompt
        if prompt.points and prompt.box is None:
            of_object = said.setdefault(prompt.object_id, {})
            more = tuple((x, y, on) for (x, y), on in zip(prompt.points, prompt.labels, strict=True))
            of_object[prompt.frame] = of_object.get(prompt.frame, ()) + more
    there = {item.id for item in view.objects}
    candidates = {one: frames for one, frames in said.items() if one in there}
    for test in (
        lambda frames: _same(frames.get(frame, ()), marks),
        lambda frames: any(_same(other, marks) for other in frames.values()),
        lambda frames: bool(frames.get(frame)) and _holds(marks, frames[frame]),
    ):
        for one in reversed(candidates):
            if test(candidates[one]):
                return one, dict(candidates[one])
    return None, {}


def _same(a: Marks, b: Marks) -> bool:
    return bool(a) and len(a) == len(b) and _holds(a, b)


def _holds(marks: Marks, others: Marks, *, any_of: bool = False) -> bool:
    """Whether all (or any) of ``others`` are among ``marks``."""
    found = (
        any(abs(x - u) < _NEAR_PX and abs(y - v) < _NEAR_PX and on == of for u, v, of in marks) for x, y, on in others
    )
    return any(found) if any_of else all(found)


async def _forget_what_followed(desk: Desk, object_id: int, frame: int) -> None:
    """Deletes what was tracked from the former word about a frame; undo in the page brings it back."""
    timeline = await soon(desk.timeline())
    lane = next((lane for lane in timeline.lanes if lane.object_id == object_id), None)
    if lane is None:
        return
    given = {*lane.prompted, *lane.edited, *lane.accepted}
    after = min((other for other in given if other > frame), default=desk.frame_count)
    ranges = [(frame + 1, after)]
    if not any(other < frame for other in given):
        ranges.append((0, frame))
    for start, stop in ranges:
        if any(low < stop and high > start for low, high in seen(lane)):
            await soon(desk.edit(DeleteRange(object_id, start, stop)))


def seen(lane: Lane) -> tuple[tuple[int, int], ...]:
    """Half-open ranges of frames on which somebody looked for an object, in order."""
    return tuple(sorted((*lane.present, *lane.absent)))
