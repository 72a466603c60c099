"""SAM 2's rule without weights: slots, conditioning frames, pointers, and what may be forgotten."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reading import by_code, reads

from keepsight.core import InputError
from keepsight.memory import (
    SAM2,
    FrameRecord,
    MemoryLimits,
    ObjectMemory,
    ReferenceRules,
    Role,
    SAM2Policy,
    Step,
    policy_factory,
    select_conditioning,
)

LIMITS = MemoryLimits(slots=7, pointers=16)
CODE = 6  # slot code of the conditioning class


def record(frame: int, role: Role = Role.TRACK) -> FrameRecord:
    return FrameRecord(frame, role, memory="memory", pointer="pointer", logits="logits")


def bank(conditioning, tracked) -> ObjectMemory:
    made = ObjectMemory()
    for frame in conditioning:
        made.add_conditioning(record(frame, Role.PROMPT))
    for frame in tracked:
        if frame not in made.conditioning:
            made.add_tracked(frame, [record(frame)])
    return made


# Code 0 is the newest recent slot, 5 the oldest; conditioning frames 0 and 4 (never among the recent ones while selected).
FORWARD = {
    1: {CODE: [0, 4]},
    2: {CODE: [0, 4], 0: [1]},
    3: {CODE: [0, 4], 0: [2], 1: [1]},
    4: {CODE: [0, 4], 0: [3], 1: [2], 2: [1]},
    5: {CODE: [0, 4], 1: [3], 2: [2], 3: [1]},
    6: {CODE: [0, 4], 0: [5], 2: [3], 3: [2], 4: [1]},
    7: {CODE: [0, 4], 0: [6], 1: [5], 3: [3], 4: [2], 5: [1]},
    8: {CODE: [0, 4], 0: [7], 1: [6], 2: [5], 4: [3], 5: [2]},
    9: {CODE: [0, 4], 0: [8], 1: [7], 2: [6], 3: [5], 5: [3]},
    10: {CODE: [0, 4], 0: [9], 1: [8], 2: [7], 3: [6], 4: [5]},
}
# r = 5: the previous frame, then floor((f - 2) / 5) * 5 and five-frame steps back; frame 0 is conditioning, never recent.
FORWARD_BY_5 = {
    1: {CODE: [0, 4]},
    2: {CODE: [0, 4], 0: [1]},
    3: {CODE: [0, 4], 0: [2]},
    4: {CODE: [0, 4], 0: [3]},
    5: {CODE: [0, 4]},
    6: {CODE: [0, 4], 0: [5]},
    7: {CODE: [0, 4], 0: [6], 1: [5]},
    8: {CODE: [0, 4], 0: [7], 1: [5]},
    9: {CODE: [0, 4], 0: [8], 1: [5]},
    10: {CODE: [0, 4], 0: [9], 1: [5]},
}


@pytest.mark.parametrize(("stride", "table"), [(1, FORWARD), (5, FORWARD_BY_5)])
def test_slot_table(stride, table):
    policy = SAM2Policy(LIMITS, settings=SAM2(stride=stride))
    for frame, expected in table.items():
        memory = bank([0, 4], range(frame))
        assert by_code(policy, Step(frame, False, 100), memory) == expected, frame


@pytest.mark.parametrize(("stride", "table"), [(1, FORWARD), (5, FORWARD_BY_5)])
def test_slot_table_in_reverse_is_its_mirror(stride, table):
    last = 100  # a multiple of 5, so that the grid of five frames mirrors onto itself
    policy = SAM2Policy(LIMITS, settings=SAM2(stride=stride))
    for frame, expected in table.items():
        memory = bank([last, last - 4], range(last - frame + 1, last))
        mirrored = {code: [last - f for f in frames] for code, frames in expected.items()}
        assert by_code(policy, Step(last - frame, True, last + 1), memory) == mirrored, frame


def test_a_far_grid_of_five():
    memory = bank([0], range(1, 41))
    assert by_code(SAM2Policy(LIMITS, settings=SAM2(stride=5)), Step(41, False, 100), memory) == {
        CODE: [0],
        0: [40],
        1: [35],
        2: [30],
        3: [25],
        4: [20],
        5: [15],
    }


def test_empty_slots_keep_their_code():
    memory = bank([0], [10, 12, 15])
    assert by_code(SAM2Policy(LIMITS), Step(16, False, 100), memory) == {CODE: [0], 0: [15], 3: [12], 5: [10]}


def test_a_run_with_a_stride_counts_in_steps():
    memory = bank([0], range(3, 60, 3))
    step = Step(60, False, 200, stride=3)
    policy = SAM2Policy(LIMITS)
    assert by_code(policy, step, memory) == {CODE: [0], **{k: [57 - 3 * k] for k in range(6)}}
    pointers = {read.record.frame: read.position for read in policy.select_memory(step, memory, 0).pointers}
    assert pointers == {0: 20, **{60 - 3 * d: d for d in range(1, 16)}}


def test_unselected_conditioning_frames_fill_recent_slots():
    policy = SAM2Policy(LIMITS, settings=SAM2(max_conditioning=2))
    memory = bank([0, 7, 9], range(1, 10))
    step = Step(10, False, 100)
    assert by_code(policy, step, memory) == {CODE: [9, 7], 1: [8], 3: [6], 4: [5], 5: [4]}
    memory = bank([5, 8, 9, 12], range(13))
    assert by_code(policy, step, memory) == {CODE: [9, 12], 1: [8], 2: [7], 3: [6], 4: [5], 5: [4]}


# -- conditioning frames ---------------------------------------------------------------------------------------------
def _picked(frame, conditioning, limit, **how):
    selected, rest = select_conditioning(frame, {f: record(f) for f in conditioning}, limit, **how)
    assert set(selected).isdisjoint(rest)
    assert set(selected) | set(rest) == set(conditioning)
    return list(selected)


@pytest.mark.parametrize(
    ("frame", "conditioning", "limit", "expected"),
    [
        (10, [0, 5, 20], -1, [0, 5, 20]),
        (10, [0, 5, 20], 3, [0, 5, 20]),
        (10, [0, 5, 8, 20, 12], 2, [8, 12]),
        (10, [0, 5, 8, 20, 12], 3, [8, 12, 5]),
        # The frame itself counts as "at or after"; 8 and 12 are equally far, the first inserted wins.
        (10, [10, 12, 8, 0], 2, [8, 10]),
        (10, [6, 9, 14, 11], 3, [9, 11, 6]),
        (10, [14, 9, 6, 11], 3, [9, 11, 14]),
        (10, [0, 1, 2], 2, [2, 1]),
        (10, [20, 30, 40], 2, [20, 30]),
        (10, [5, 30], 1, [5]),
        (10, [8, 12], 1, [8]),
    ],
)
def test_conditioning_frames_within_a_limit(frame, conditioning, limit, expected):
    assert _picked(frame, conditioning, limit) == expected


def test_a_limit_of_one_as_transformers_slices_it():
    assert _picked(10, [0, 8, 12, 30], 1, by_slicing=True) == [8, 12, 0]
    assert _picked(10, [0, 8, 12, 30], 1) == [8]
    # With prompts on one side only, or a limit of two and more, both agree.
    assert _picked(10, [0, 4, 8], 1, by_slicing=True) == _picked(10, [0, 4, 8], 1) == [8]
    assert _picked(10, [0, 8, 12, 30], 2, by_slicing=True) == _picked(10, [0, 8, 12, 30], 2)


@given(st.integers(0, 50), st.lists(st.integers(0, 50), unique=True, max_size=8), st.integers(1, 9))
def test_a_limit_is_a_limit(frame, conditioning, limit):
    picked = _picked(frame, conditioning, limit)
    assert len(picked) == min(limit, len(conditioning))
    if conditioning and limit >= 2:
        before, after = [f for f in conditioning if f < frame], [f for f in conditioning if f >= frame]
        assert not before or max(before) in picked
        assert not after or min(after) in picked


# -- pointers --------------------------------------------------------------------------------------------------------
def _pointers(policy, step, memory):
    return [(read.record.frame, read.position) for read in policy.select_memory(step, memory, 0).pointers]


def test_pointers_are_distances_and_only_of_the_past():
    memory = bank([0, 50], range(1, 30))
    forward = _pointers(SAM2Policy(LIMITS), Step(30, False, 100), memory)
    assert forward == [(0, 30)] + [(30 - d, d) for d in range(1, 16)]
    backward = _pointers(SAM2Policy(LIMITS), Step(10, True, 100), memory)
    assert backward == [(50, 40)] + [(10 + d, d) for d in range(1, 16)]


@pytest.mark.parametrize(("frame_count", "budget"), [(1, 1), (2, 2), (5, 5), (16, 16), (17, 16), (None, 16)])
def test_the_budget_of_short_clips_and_streams(frame_count, budget):
    last = 4 if frame_count is None else frame_count - 1
    policy = SAM2Policy(LIMITS)
    step = Step(last, False, frame_count)
    assert policy.pointer_budget(step) == budget
    recent = [(last - d, d) for d in range(1, min(last, budget))]
    assert _pointers(policy, step, bank([0], range(1, last))) == [(0, last), *recent]


def test_pointers_of_unselected_conditioning_frames():
    memory = bank([0, 7, 9], range(1, 10))
    step = Step(10, False, 100)
    meta = _pointers(SAM2Policy(LIMITS, settings=SAM2(max_conditioning=1)), step, memory)
    assert meta == [(9, 1), (8, 2), (7, 3), *[(10 - d, d) for d in range(4, 11)]]
    rules = ReferenceRules(pointers_of_unselected=True, unselected_fill_pointers=False)
    transformers = _pointers(SAM2Policy(LIMITS, rules, SAM2(max_conditioning=1)), step, memory)
    assert sorted(transformers) == sorted([(0, 10), (7, 3), (9, 1), (8, 2), *[(10 - d, d) for d in range(4, 10)]])


def test_a_backbone_without_pointers_reads_none():
    assert _pointers(SAM2Policy(MemoryLimits(7, 0)), Step(5, False, 9), bank([0], range(1, 5))) == []


# -- forgetting ------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=60)
@given(
    prompts=st.lists(st.integers(0, 120), min_size=1, max_size=3, unique=True),
    length=st.integers(2, 130),
    memory_stride=st.sampled_from([1, 2, 5]),
    run_stride=st.sampled_from([1, 1, 3]),
    limit=st.sampled_from([-1, 1, 2]),
    turn=st.integers(0, 2),
    pointers=st.sampled_from([0, 4, 16]),
)
@example(prompts=[0, 85], length=43, memory_stride=2, run_stride=3, limit=-1, turn=1, pointers=0)
def test_eviction_takes_nothing_that_is_read_again(prompts, length, memory_stride, run_stride, limit, turn, pointers):
    """Two banks follow the same frames, one of them evicting: they read the same onward and after turning at a prompt."""
    policy = SAM2Policy(MemoryLimits(7, pointers), settings=SAM2(stride=memory_stride, max_conditioning=limit))
    kept, lean = bank(prompts, []), bank(prompts, [])
    count = 400

    def visit(frame, reverse):
        step = Step(frame, reverse, count, run_stride)
        assert reads(policy, step, lean) == reads(policy, step, kept), (frame, reverse)
        for memory in (kept, lean):
            if frame not in memory.conditioning:
                memory.add_tracked(frame, [record(frame)])
        policy.evict(step, lean)

    first = min(prompts)
    grid = set(range(first, first + length, run_stride)) | {f for f in prompts if f < first + length}
    for frame in sorted(grid):
        visit(frame, False)
    back = prompts[turn % len(prompts)]
    for frame in range(back - run_stride, max(back - 40 * run_stride, -1), -run_stride):
        if frame in kept.conditioning:
            continue
        # What lies between prompts belongs to the run before; only the reads are compared, then it is tracked anew.
        visit(frame, True)


@pytest.mark.parametrize("begin", [0, 1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_old_memories_are_taken_from_frames_that_a_strided_run_visits(begin, reverse):
    policy = SAM2Policy(LIMITS, settings=SAM2(stride=2))
    visited = range(begin, begin + 60, 3)
    memory = bank([begin], visited[1:-1])
    step = Step(visited[0] if reverse else visited[-1], reverse, 400, 3)
    frames = {frame for _, frame in policy.recent_frames(step)}
    assert len(frames) == 6
    assert frames <= set(visited)
    assert len(policy.select_memory(step, memory, 0).spatial) >= 6


@pytest.mark.parametrize("memory_stride", [1, 5])
def test_the_bank_does_not_grow(memory_stride):
    policy = SAM2Policy(LIMITS, settings=SAM2(stride=memory_stride))
    memory = bank([0, 40], [])
    sizes, spatial = [], []
    for frame in range(1, 2000):
        if frame in memory.conditioning:
            continue
        memory.add_tracked(frame, [record(frame)])
        policy.evict(Step(frame, False, None), memory)
        sizes.append(len(memory))
        spatial.append(sum(item.memory is not None for item in memory))
    # Each prompted frame keeps its surroundings on both sides beside what the current frame reads.
    reach = max(16, 6 * memory_stride + 1)
    assert max(sizes) <= 2 + 5 * reach + 5
    assert max(spatial) <= 2 + 5 * (6 * memory_stride + 1) + 5
    assert sizes[200:] == [sizes[200]] * len(sizes[200:])


# -- by name ---------------------------------------------------------------------------------------------------------
def test_policies_by_name():
    made = policy_factory("sam2", {"stride": 4})(LIMITS, ReferenceRules())
    assert isinstance(made, SAM2Policy)
    assert made.stride == 4
    with pytest.raises(InputError, match="Did you mean 'sam2'"):
        policy_factory("sma2")
    with pytest.raises(InputError, match="no option 'strides'; it has: stride, max_conditioning"):
        policy_factory("sam2", {"strides": 4})
    with pytest.raises(InputError, match=r"^sam2: stride must be 1 or more, got 0.$"):
        policy_factory("sam2", {"stride": 0})(LIMITS, ReferenceRules())
