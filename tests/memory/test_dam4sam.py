"""DAM4SAM without weights: what is read, which frames become anchors, what may be forgotten."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import by_code, reads

from keepsight.core import InputError
from keepsight.memory import (
    DAM4SAM,
    SAM2,
    Candidates,
    DAM4SAMPolicy,
    FrameRecord,
    MemoryLimits,
    ObjectMemory,
    ReferenceRules,
    Role,
    Step,
)
from keepsight.memory.dam4sam import EPOCH, agreement, area_ratio, largest_part

LIMITS = MemoryLimits(slots=7, pointers=16)
BUILTIN = MemoryLimits(slots=4, pointers=0, max_conditioning=2)
CODE = 6  # slot code of the conditioning class
COUNT = 400
SIDE = 64


def make(limits=LIMITS, **options) -> DAM4SAMPolicy:
    return DAM4SAMPolicy(limits, settings=DAM4SAM(**options))


def record(frame, role=Role.TRACK, area=100, iou=0.9) -> FrameRecord:
    marks = {EPOCH: 0} if role is Role.ANCHOR else {}
    return FrameRecord(
        frame, role, memory="memory", pointer="pointer", logits="logits", iou=iou, area_px=area, marks=marks
    )


def bank(prompts, tracked, anchors=(), absent=()) -> ObjectMemory:
    made = ObjectMemory()
    for frame in prompts:
        made.add_conditioning(record(frame, Role.PROMPT))
    for frame in anchors:
        made.add_conditioning(record(frame, Role.ANCHOR))
    for frame in tracked:
        if frame not in made.conditioning:
            made.add_tracked(frame, [record(frame, area=0 if frame in absent else 100)])
    return made


# -- what is read ----------------------------------------------------------------------------------------------------
# One to four conditioning frames; the last of them may be the step before, which then is a recent frame.
READ = [
    (1, [], {CODE: [0]}),
    (2, [], {CODE: [0], 0: [1]}),
    (6, [], {CODE: [0], 0: [5]}),
    (7, [], {CODE: [0], 0: [6], 1: [5]}),
    (33, [], {CODE: [0], 0: [32], 1: [30], 2: [25], 3: [20], 4: [15], 5: [10]}),
    (33, [12], {CODE: [0, 12], 0: [32], 1: [30], 2: [25], 3: [20], 4: [15]}),
    (33, [12, 20], {CODE: [0, 20, 12], 0: [32], 1: [30], 2: [25], 3: [15]}),
    (33, [6, 12, 20], {CODE: [0, 20, 12, 6], 0: [32], 1: [30], 2: [25]}),
    # The farthest anchor is left out, and so it is an ordinary frame; here it is no longer reached.
    (33, [5, 12, 20, 26], {CODE: [0, 26, 20, 12], 0: [32], 1: [30], 2: [25]}),
    (33, [32], {CODE: [0], 0: [32], 1: [30], 2: [25], 3: [20], 4: [15], 5: [10]}),
    (33, [12, 32], {CODE: [0, 12], 0: [32], 1: [30], 2: [25], 3: [20], 4: [15]}),
    (31, [12, 30], {CODE: [0, 12], 0: [30], 1: [25], 2: [20], 3: [15], 4: [10]}),
]


@pytest.mark.parametrize(("frame", "anchors", "expected"), READ)
@pytest.mark.parametrize("reverse", [False, True])
def test_what_is_read(frame, anchors, expected, reverse):
    last = 100 if reverse else 0  # a multiple of 5, so that the grid mirrors onto itself

    def at(moment):
        return last - moment if reverse else moment

    memory = bank([at(0)], map(at, range(1, frame)), map(at, anchors))
    found = by_code(make(), Step(at(frame), reverse, COUNT), memory)
    assert found == {code: [at(moment) for moment in moments] for code, moments in expected.items()}


@pytest.mark.parametrize("conditioning", [1, 2, 3, 4, 5])
def test_codes_by_the_number_of_anchors(conditioning):
    memory = bank([0], range(1, 60), [20 + 6 * i for i in range(conditioning - 1)])
    found = by_code(make(), Step(60, False, COUNT), memory)
    taken = min(conditioning, 4)
    assert len(found.pop(CODE)) == taken
    assert sorted(found) == list(range(7 - taken))


@pytest.mark.parametrize(
    ("frame", "absent", "expected"),
    [
        (33, [32], [31, 30, 25, 20, 15, 10]),
        (33, [31, 32], [30, 25, 20, 15, 10, 5]),
        (33, [30, 31, 32], [29, 25, 20, 15, 10, 5]),
        (33, [25, 15], [32, 30, 20, 10, 5]),
        (33, range(3, 33), [2]),
        (33, range(1, 33), []),
    ],
)
def test_frames_without_the_object_are_not_read(frame, absent, expected):
    """Empty slots take the oldest codes: the newest that is read is 0 however far back it lies."""
    memory = bank([0], range(1, frame), absent=absent)
    recent = {code: [moment] for code, moment in enumerate(expected)}
    assert by_code(make(), Step(frame, False, COUNT), memory) == {CODE: [0], **recent}


def test_the_first_prompt_is_always_read_and_prompts_go_before_anchors():
    policy = make()
    memory = bank([0, 10, 20, 30], range(1, 100), anchors=[50, 60, 70])
    step = Step(100, False, COUNT)
    assert list(policy.distractor_memory(step, memory)) == [0, 70, 30, 20]
    assert list(make(max_conditioning=1).distractor_memory(step, memory)) == [0]
    assert list(make(max_conditioning=2).distractor_memory(step, memory)) == [0, 70]
    # A prompted frame ahead counts by its distance.
    memory = bank([0, 110], range(1, 100), anchors=[50, 60, 70])
    assert list(policy.distractor_memory(step, memory)) == [0, 70, 110, 60]


def test_anchors_ahead_and_of_an_earlier_epoch_are_not_read():
    memory = bank([50], range(51, 100), anchors=[70, 90])
    assert by_code(make(), Step(80, False, COUNT), memory)[CODE] == [50, 70]
    assert by_code(make(), Step(80, True, COUNT), memory)[CODE] == [50, 90]
    policy = make()
    policy.reset(memory.at(50))
    assert by_code(policy, Step(80, False, COUNT), memory)[CODE] == [50]


def test_a_smaller_models_limits():
    memory = bank([0], range(1, 40), anchors=[12, 20, 26])
    assert by_code(make(BUILTIN), Step(40, False, COUNT), memory) == {3: [0, 26], 0: [39], 1: [35]}
    assert by_code(make(BUILTIN), Step(40, False, COUNT), bank([0], range(1, 40))) == {
        3: [0],
        0: [39],
        1: [35],
        2: [30],
    }
    assert make(BUILTIN).select_memory(Step(40, False, COUNT), memory, 0).pointers == ()
    # One slot is left to the recent frames in any case.
    assert make(MemoryLimits(3, 0), max_conditioning=9).max_conditioning == 2
    assert make(MemoryLimits(1, 0), max_conditioning=9).max_conditioning == 1


@pytest.mark.parametrize("stride", [1, 2, 5])
@pytest.mark.parametrize("start", [0, 7])
def test_the_grid_of_a_run_with_a_stride_counts_steps(stride, start):
    tracked = range(start + stride, start + 60 * stride, stride)
    step = Step(start + 60 * stride, False, 1000, stride)
    read = [frames[0] for code, frames in sorted(by_code(make(), step, bank([start], tracked)).items()) if code != CODE]
    assert read[0] == step.back(1)
    assert len(read) == 6
    assert 1 <= (read[0] - read[1]) / stride <= 5
    assert np.diff(read[1:]).tolist() == [-5 * stride] * 4


def test_pointers_are_of_visible_frames_at_their_distance():
    memory = bank([0], range(1, 40), anchors=[12, 30], absent=[39, 33, 32])
    found = [(r.record.frame, r.position) for r in make().select_memory(Step(40, False, COUNT), memory, 0).pointers]
    expected = [(0, 40), (30, 10), (12, 28)]
    expected += [(40 - d, d) for d in range(1, 16) if 40 - d not in (39, 33, 32, 30)]
    assert found == expected


def test_pointers_of_prompts_ahead_are_not_read():
    found = make().select_memory(Step(10, False, COUNT), bank([0, 50], range(1, 10)), 0).pointers
    assert (50, -40) not in [(read.record.frame, read.position) for read in found]
    assert len(found) == 10


def test_an_anchor_that_was_not_selected_is_an_ordinary_frame():
    memory = bank([0], range(1, 40), anchors=[20, 38])
    selection = make(max_conditioning=1).select_memory(Step(40, False, COUNT), memory, 0)
    assert [read.record.frame for read in selection.spatial] == [0, 15, 20, 25, 30, 35, 39]
    assert (38, 2) in [(read.record.frame, read.position) for read in selection.pointers]


@pytest.mark.parametrize("limits", [LIMITS, BUILTIN])
def test_one_and_two_frames(limits):
    policy, memory = make(limits), bank([0], [])
    assert by_code(policy, Step(1, False, 2), memory) == {limits.slots - 1: [0]}
    assert by_code(policy, Step(0, False, 1), memory) == {limits.slots - 1: [0]}


def test_nothing_prompted_yet():
    """Before the first prompt nothing is read (an object may be followed there from the future prompt alone)."""
    assert by_code(make(), Step(3, False, COUNT), ObjectMemory()) == {}
    assert by_code(make(), Step(3, False, COUNT), bank([9], [])) == {CODE: [9]}


@settings(deadline=None, max_examples=40)
@given(
    frame=st.integers(1, 60), limits=st.sampled_from([LIMITS, BUILTIN]), stride=st.integers(1, 3), reverse=st.booleans()
)
def test_without_a_grid_and_with_the_object_in_sight_it_is_sam2(frame, limits, stride, reverse):
    at = (lambda moment: 200 - moment * stride) if reverse else (lambda moment: 200 + moment * stride)
    memory = bank([200], map(at, range(1, frame)))
    step = Step(at(frame), reverse, COUNT, stride)
    ours = make(limits, stride=1).select_memory(step, memory, 0)
    theirs = SAM2()(limits, ReferenceRules()).select_memory(step, memory, 0)
    assert {(r.record.frame, r.slot_code) for r in ours.spatial} == {
        (r.record.frame, r.slot_code) for r in theirs.spatial
    }
    assert ours.pointers == theirs.pointers


# -- distractors -----------------------------------------------------------------------------------------------------
def box(x1, y1, x2, y2) -> np.ndarray:
    pixels = np.zeros((SIDE, SIDE), bool)
    pixels[y1:y2, x1:x2] = True
    return pixels


CHOSEN = box(10, 10, 20, 20)


def test_the_largest_part():
    both = box(0, 0, 3, 3) | box(10, 10, 14, 14)
    assert np.array_equal(largest_part(both), box(10, 10, 14, 14))
    assert largest_part(np.zeros((4, 4), bool)) is None
    assert np.array_equal(largest_part(CHOSEN), CHOSEN)
    # Corners touch: eight neighbours make one part of two.
    assert np.array_equal(largest_part(box(0, 0, 3, 3) | box(3, 3, 6, 6)), box(0, 0, 3, 3) | box(3, 3, 6, 6))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (CHOSEN, None),
        (box(12, 12, 15, 15), None),
        (np.zeros((SIDE, SIDE), bool), None),
        (box(10, 10, 20, 30), 0.5),
        (box(20, 10, 30, 20), 0.5),
        (box(30, 30, 40, 40), 100 / 900),
        # Only the largest extra part counts: the farther, smaller one does not widen the box.
        (box(20, 10, 30, 20) | box(50, 50, 53, 53), 0.5),
        (box(8, 8, 22, 22), 100 / 196),
    ],
)
def test_agreement_of_boxes(other, expected):
    assert agreement(CHOSEN, other) == (None if expected is None else pytest.approx(expected))


# -- sizes -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ([], None),
        ([100], None),
        ([100, 0], None),
        ([0, 100], 1.0),
        ([100, 100], 1.0),
        # The present one is part of the median.
        ([100, 200], 200 / 150),
        ([100, 100, 200], 2.0),
        # Ten that are not 0, itself among them: the first 50 is out.
        ([50, *[100] * 5, 0, 0, *[120] * 4, 120], 120 / 110),
        ([*[10] * 20, *[100] * 9, 100], 1.0),
        ([*[10] * 20, *[100] * 4, 100], 100 / 55),
    ],
)
def test_area_ratio(areas, expected):
    ratio = area_ratio(areas, 10)
    assert ratio == (None if expected is None else pytest.approx(expected))


# -- promotion -------------------------------------------------------------------------------------------------------
DISTRACTED = (CHOSEN, box(10, 10, 20, 30), CHOSEN)


def track(policy, memory, frame, masks=DISTRACTED, ious=(0.9, 0.5, 0.4), area=None, reverse=False, stride=1):
    """One step as the engine takes it; gives the role that the frame ends with."""
    step = Step(frame, reverse, COUNT, stride)
    if frame in memory.conditioning:
        changes = policy.role_changes(step, memory)
    else:
        candidates = Candidates(0, tuple(ious[: len(masks)]), 5.0, None, masks.__getitem__)
        (survivor,) = policy.choose(step, [candidates])
        size = int(masks[survivor.candidate].sum()) if area is None else area
        new = record(frame, area=size, iou=ious[survivor.candidate])
        policy.commit(step, memory, [new])
        changes = policy.role_changes(step, memory)
    for change in changes:
        change.record.role = change.role
        memory.discard(change.record.frame)
        if change.record.conditioning:
            assert change.reencode
            memory.add_conditioning(change.record)
        else:
            memory.add_tracked(change.record.frame, [change.record])
    return memory.at(frame).role


def warmed(**options):
    """A policy that has seen three quiet frames of usual size behind the prompt."""
    policy, memory = make(**options), bank([0], [])
    policy.reset(memory.at(0))
    for item in memory:
        item.marks.clear()
    for frame in range(4):
        track(policy, memory, frame, masks=(CHOSEN, CHOSEN, CHOSEN))
    return policy, memory


# Each condition alone keeps a frame from becoming an anchor.
@pytest.mark.parametrize(
    ("how", "anchor"),
    [
        ({}, True),
        ({"ious": (0.81, 0.1, 0.1)}, True),
        ({"ious": (0.8, 0.1, 0.1)}, False),
        ({"ious": (0.7, 0.1, 0.1)}, False),
        ({"area": 0}, False),
        ({"area": 120}, True),
        ({"area": 121}, False),
        ({"area": 80}, True),
        ({"area": 79}, False),
        ({"masks": (CHOSEN, CHOSEN, CHOSEN)}, False),
        ({"masks": (CHOSEN, CHOSEN, box(12, 12, 14, 14))}, False),
        ({"masks": (CHOSEN,)}, False),
        # 100 / 140 is above 0.7, 100 / 150 below.
        ({"masks": (CHOSEN, box(10, 10, 20, 24), CHOSEN)}, False),
        ({"masks": (CHOSEN, CHOSEN, box(10, 10, 20, 25))}, True),
    ],
)
def test_promotion(how, anchor):
    policy, memory = warmed()
    assert track(policy, memory, 4, **how) is (Role.ANCHOR if anchor else Role.TRACK)


def test_the_agreement_may_equal_its_threshold():
    policy, memory = warmed(anchor_agreement=0.5)
    assert track(policy, memory, 4) is Role.ANCHOR
    policy, memory = warmed(anchor_agreement=0.499)
    assert track(policy, memory, 4) is Role.TRACK


def test_the_chosen_one_may_be_any_candidate():
    policy, memory = warmed()
    masks = (box(40, 40, 50, 50), CHOSEN, CHOSEN)
    assert track(policy, memory, 4, masks=masks, ious=(0.5, 0.9, 0.4)) is Role.ANCHOR
    # Ties: the first one.
    policy, memory = warmed()
    track(policy, memory, 4, ious=(0.9, 0.9, 0.4))
    assert memory.at(4).area_px == CHOSEN.sum()


def test_the_first_tracked_frame_is_never_promoted():
    policy, memory = make(), bank([0], [])
    assert [track(policy, memory, frame) for frame in range(4)] == [Role.PROMPT, Role.TRACK, Role.ANCHOR, Role.TRACK]


def test_anchors_keep_apart():
    policy, memory = make(), bank([0], [])
    roles = [track(policy, memory, frame) for frame in range(22)]
    assert [frame for frame, role in enumerate(roles) if role is Role.ANCHOR] == [2, 8, 14, 20]
    policy, memory = make(anchor_spacing=0), bank([0], [])
    roles = [track(policy, memory, frame) for frame in range(6)]
    assert [frame for frame, role in enumerate(roles) if role is Role.ANCHOR] == [2, 3, 4, 5]


def test_no_anchors_at_an_estimate_of_one():
    policy, memory = make(anchor_iou=1), bank([0], [])
    assert {track(policy, memory, frame, ious=(1.0, 0.5, 0.4)) for frame in range(9)} == {Role.PROMPT, Role.TRACK}


@pytest.mark.parametrize(("stride", "reverse"), [(1, True), (3, False), (3, True)])
def test_anchors_keep_apart_in_steps_and_in_both_directions(stride, reverse):
    policy, memory = make(), bank([90], [])
    sign = -1 if reverse else 1
    frames = [90 + sign * stride * moment for moment in range(22)]
    roles = [track(policy, memory, frame, reverse=reverse, stride=stride) for frame in frames]
    assert [moment for moment, role in enumerate(roles) if role is Role.ANCHOR] == [2, 8, 14, 20]


def test_an_absence_is_no_size():
    """Zeros are left out of the median, but they age: beyond ``area_history`` the size is unknown."""
    for absent, anchor in ((20, True), (320, False)):
        policy, memory = warmed()
        for frame in range(4, 4 + absent):
            track(policy, memory, frame, area=0)
        # Twice the size: refused while the old one is known; alone, it is its own median.
        role = track(policy, memory, 4 + absent, area=200)
        assert (role is Role.TRACK) == anchor


def test_a_correction_ends_the_anchors_and_the_history():
    policy, memory = make(), bank([0], [])
    for frame in range(12):
        track(policy, memory, frame)
    assert memory.at(2).role is memory.at(8).role is Role.ANCHOR
    corrected = record(11, Role.PROMPT)
    memory.add_conditioning(corrected)
    policy.reset(corrected)
    assert by_code(policy, Step(12, False, COUNT), memory)[CODE] == [0]
    track(policy, memory, 11)
    assert memory.at(2).role is memory.at(8).role is Role.TRACK
    assert list(memory.conditioning) == [0, 11]
    # New anchors come as behind any prompt, and are read.
    assert [track(policy, memory, frame) for frame in (12, 13)] == [Role.TRACK, Role.ANCHOR]
    assert by_code(policy, Step(15, False, COUNT), memory)[CODE] == [0, 13, 11]


def test_following_again_meets_no_old_anchor():
    """Anchors ahead become ordinary frames, which are tracked anew; those behind stay when a run turns round."""
    policy, memory = make(), bank([20], [])
    first = [track(policy, memory, frame) for frame in range(20, 40)]
    again = [track(policy, memory, frame) for frame in range(20, 40)]
    assert first == again
    assert [frame for frame, item in memory.conditioning.items() if item.role is Role.ANCHOR] == [22, 28, 34]
    track(policy, memory, 20, reverse=True)
    track(policy, memory, 19, reverse=True)
    assert by_code(policy, Step(18, True, COUNT), memory)[CODE] == [20, 22, 28, 34]


def test_another_run_has_its_own_sizes_and_spacing():
    policy, memory = make(), bank([50], [])
    for frame in range(50, 58):
        track(policy, memory, frame)
    assert memory.at(52).role is Role.ANCHOR
    for frame in (50, 49):
        track(policy, memory, frame, area=300, reverse=True)
    assert track(policy, memory, 48, area=300, reverse=True) is Role.ANCHOR


def test_a_prompted_frame_on_the_way_ends_nothing():
    policy, memory = make(), bank([0, 5], [])
    roles = [track(policy, memory, frame) for frame in range(10)]
    assert roles[5] is Role.PROMPT
    assert [frame for frame, role in enumerate(roles) if role is Role.ANCHOR] == [2, 8]


def test_kill_and_resume_of_the_promotion():
    rng = np.random.default_rng(3)
    runs = []
    for killed in (False, True):
        policy, memory = make(), bank([0], [])
        rng = np.random.default_rng(3)
        roles = []
        for frame in range(80):
            if killed:
                fresh = make()
                fresh.restore(json.loads(json.dumps(policy.state())))
                assert fresh.state() == policy.state()
                policy = fresh
            area = int(rng.integers(60, 140)) if rng.random() < 0.8 else 0
            roles.append(track(policy, memory, frame, area=area, ious=(float(rng.uniform(0.6, 1)), 0.5, 0.4)))
        runs.append(roles)
    assert runs[0] == runs[1]
    assert runs[0].count(Role.ANCHOR) > 3


def test_the_state_is_small():
    policy, memory = warmed()
    for frame in range(4, 700):
        track(policy, memory, frame)
    assert len(policy.state()["areas"]) == 300
    assert policy._offer is None


# -- forgetting ------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=80)
@given(
    prompts=st.lists(st.integers(0, 120), min_size=1, max_size=3, unique=True),
    length=st.integers(2, 130),
    stride=st.sampled_from([1, 1, 3]),
    grid=st.sampled_from([1, 5, 5]),
    limits=st.sampled_from([LIMITS, BUILTIN, MemoryLimits(7, 4)]),
    most=st.sampled_from([1, 2, 4]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    turn=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_eviction_takes_nothing_that_is_read_again(prompts, length, stride, grid, limits, most, share, turn, seed):
    """Two banks follow the same frames, one of them evicting: they read the same onward and after turning at a prompt."""
    rng = np.random.default_rng(seed)
    kept, lean = bank(prompts, []), bank(prompts, [])
    policies = [make(limits, stride=grid, max_conditioning=most) for _ in range(2)]

    def visit(frame, reverse):
        step = Step(frame, reverse, COUNT, stride)
        assert reads(policies[0], step, lean) == reads(policies[1], step, kept), (frame, reverse)
        area = 100 if rng.random() < share else 0
        masks = DISTRACTED if rng.random() < 0.7 else (CHOSEN,)
        for policy, memory in zip(policies, (lean, kept), strict=True):
            track(policy, memory, frame, masks=masks, area=area, reverse=reverse, stride=stride)
        policies[0].evict(step, lean)

    first = min(prompts)
    for frame in sorted(set(range(first, first + length, stride)) | {f for f in prompts if f < first + length}):
        visit(frame, False)
    back = prompts[turn % len(prompts)]
    for frame in range(back - stride, max(back - 40 * stride, -1), -stride):
        # Where frames of the run before are passed over, those that it let go are missed.
        if any(frame <= old < frame + stride for old in (*kept.tracked, *kept.conditioning)):
            break
        visit(frame, True)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize("limits", [LIMITS, BUILTIN])
def test_a_stream_does_not_grow(share, limits):
    rng = np.random.default_rng(2)
    policy, memory = make(limits), bank([0], [])
    sizes, spatial = [], []
    for frame in range(1, 700):
        step = Step(frame, False, None)
        track(policy, memory, frame, area=100 if rng.random() < share else 0)
        policy.evict(step, memory)
        sizes.append(len(memory))
        spatial.append(sum(item.memory is not None for item in memory))
    most = policy.max_conditioning
    # The first prompt, anchors, the last visible frame and those on the grid; pointers of 16 frames.
    assert max(spatial) <= 1 + (most + 1) + 3 + 1 + limits.slots + most
    assert max(sizes) <= max(spatial) + max(limits.pointers, limits.slots) + 1
    assert sizes[-1] < 40


def test_a_stream_keeps_the_first_prompt_and_the_newest():
    memory = bank([0, 10, 20, 30, 40, 50], range(51, 60))
    make().evict(Step(59, False, COUNT), memory)
    assert list(memory.conditioning) == [0, 10, 20, 30, 40, 50]
    make().evict(Step(59, False, None), memory)
    assert list(memory.conditioning) == [0, 20, 30, 40, 50]


# -- options ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"stride": 0}, "dam4sam: stride must be 1 or more, got 0"),
        ({"max_conditioning": 0}, "dam4sam: max_conditioning must be 1 or more, got 0"),
        ({"anchor_iou": 1.1}, r"dam4sam: anchor_iou must be in \[0, 1\], got 1.1"),
        ({"anchor_area": -0.2}, "dam4sam: anchor_area must be in"),
        ({"anchor_agreement": 2}, "dam4sam: anchor_agreement must be in"),
        ({"area_frames": 0}, "dam4sam: area_frames must be 1 or more"),
    ],
)
def test_refused_with_the_range(values, says):
    with pytest.raises(InputError, match=says):
        DAM4SAM(**values)


def test_the_published_defaults():
    options = DAM4SAM()
    assert (options.stride, options.max_conditioning, options.anchor_spacing, options.area_frames) == (5, 4, 5, 10)
    assert (options.anchor_iou, options.anchor_area, options.anchor_agreement) == (0.8, 0.2, 0.7)
