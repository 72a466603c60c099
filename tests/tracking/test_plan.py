"""Which frames a run visits, in which order."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepsight.core import Direction, InputError
from keepsight.tracking.plan import plan_visits
from keepsight.tracking.track import TrackedFrames

FRAMES = st.integers(0, 60)


@given(
    count=st.integers(1, 60),
    prompts=st.lists(st.lists(FRAMES, min_size=1, max_size=3), min_size=1, max_size=3),
    start=st.none() | FRAMES,
    stop=st.none() | FRAMES,
    stride=st.integers(1, 7),
    direction=st.sampled_from(Direction),
)
def test_any_plan(count, prompts, start, stop, stride, direction):
    prompts = [[min(frame, count - 1) for frame in frames] for frames in prompts]
    spans = [(min(frames), max(frames)) for frames in prompts]
    prompted = sorted({frame for frames in prompts for frame in frames})
    low, high = start or 0, count if stop is None else min(stop, count)
    if low >= count or high <= low:
        with pytest.raises(InputError):
            plan_visits(count, spans, prompted, start, stop, stride, direction)
        return
    visits = plan_visits(count, spans, prompted, start, stop, stride, direction)
    forward = [visit.frame for visit in visits if not visit.reverse]
    backward = [visit.frame for visit in visits if visit.reverse]
    assert all(low <= frame < high for frame in forward + backward)
    assert [visit.frame for visit in visits] == forward + backward
    assert forward == sorted(set(forward))
    assert backward == sorted(set(backward), reverse=True)
    assert direction is not Direction.FORWARD or not backward
    assert direction is not Direction.BACKWARD or not forward
    for frames in (forward, backward):
        if frames:
            inside = [frame for frame in prompted if min(frames) <= frame <= max(frames)]
            assert set(inside) <= set(frames)
            assert all(abs(a - b) <= stride for a, b in pairwise(frames))
    if direction is Direction.BOTH:
        # Where some object is still open every frame is reached (at stride 1).
        first, last = min(first for first, _ in spans), max(first for first, _ in spans)
        if stride == 1:
            assert forward == list(range(max(first, low), high))
            assert backward == list(range(min(last, high) - 1, low - 1, -1))


@pytest.mark.parametrize(
    ("arguments", "forward", "backward"),
    [
        ((None, None, 1, Direction.FORWARD), [4, 5, 6, 7, 8, 9], []),
        ((None, None, 1, Direction.BACKWARD), [], [7, 6, 5, 4, 3, 2, 1, 0]),
        ((None, None, 1, Direction.BOTH), [4, 5, 6, 7, 8, 9], [5, 4, 3, 2, 1, 0]),
        ((2, 8, 1, Direction.FORWARD), [2, 3, 4, 5, 6, 7], []),
        ((2, 8, 1, Direction.BACKWARD), [], [7, 6, 5, 4, 3, 2]),
        ((5, None, 1, Direction.BOTH), [5, 6, 7, 8, 9], [5]),
        ((None, None, 4, Direction.FORWARD), [4, 6, 7, 8], []),
        ((None, None, 4, Direction.BACKWARD), [], [7, 6, 4, 3]),
        ((None, None, 4, Direction.BOTH), [4, 6, 7, 8], [4, 2]),
    ],
)
def test_two_objects(arguments, forward, backward):
    """Object A is prompted on frames 4 and 7, B on frame 6, of ten."""
    visits = plan_visits(10, [(4, 7), (6, 6)], [4, 6, 7], *arguments)
    assert [v.frame for v in visits if not v.reverse] == forward
    assert [v.frame for v in visits if v.reverse] == backward


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 20), st.integers(1, 3), st.booleans()), min_size=1, max_size=5
    )
)
def test_tracked_frames_are_remembered_exactly(passes):
    """Against a plain dictionary; through its saved form; and in a space that passes bound, not frames."""
    tracked, truth = TrackedFrames(), {}
    for first, count, stride, reverse in passes:
        for number in range(count):
            frame = first - number * stride if reverse else first + number * stride
            if frame >= 0:
                tracked.add(frame, stride, reverse)
                truth[frame] = reverse
    restored = TrackedFrames()
    restored.restore(tracked.state())
    for memory in (tracked, restored):
        assert {f: memory.direction(f) for f in range(-2, 120) if memory.direction(f) is not None} == truth


def test_tracked_frames_do_not_grow():
    tracked = TrackedFrames()
    for _ in range(20):
        for frame in range(500):
            tracked.add(frame, 1, False)
    assert len(tracked.state()) == 1
