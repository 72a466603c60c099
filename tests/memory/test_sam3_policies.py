"""SAM 3's group selection and SAM3-DMS without weights: scores, slots, ranks, edges, what may be forgotten."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import forward, pointers, slots

from keepsight.core import InputError
from keepsight.memory import FrameRecord, MemoryLimits, ObjectMemory, ReferenceRules, Role, Step
from keepsight.memory.sam3 import SAM3, SAM3Policy, group_score, presence
from keepsight.memory.sam3_dms import SAM3DMS, SAM3DMSPolicy

LIMITS = MemoryLimits(slots=7, pointers=16)
BUILTIN = MemoryLimits(slots=4, pointers=0, max_conditioning=2)
CODE = 6
GOOD, BAD = 0.5, 0.0


def record(frame, score=None, role=Role.TRACK, **fields) -> FrameRecord:
    marks = {} if score is None else {"frame_score": score}
    return FrameRecord(frame, role, memory="memory", pointer="pointer", logits="logits", marks=marks, **fields)


def bank(scores, conditioning=(0,)) -> ObjectMemory:
    """``scores``: frame score by frame, ``None`` for a record without one."""
    made = ObjectMemory()
    for frame in conditioning:
        made.add_conditioning(record(frame, role=Role.PROMPT))
    for frame, score in dict(scores).items():
        if frame not in made.conditioning:
            made.add_tracked(frame, [record(frame, score)])
    return made


# -- scores --------------------------------------------------------------------------------------------------------------
def test_the_group_score_is_the_product_of_means():
    p, q = np.array([0.9, 0.0, 0.3]), np.array([0.8, 0.1, 0.6])
    assert group_score(p, q) == pytest.approx(0.4 * 0.5)
    # As the released code has it: a column times a row, and the mean of all nine.
    assert group_score(p, q) == pytest.approx((p[:, None] * q[None, :]).mean())
    assert group_score(p, q, paired=True) == pytest.approx((0.72 + 0 + 0.18) / 3)
    assert SAM3Policy.reduce_group(p, q) == pytest.approx([0.2] * 3)
    assert SAM3DMSPolicy.reduce_group(p, q) == pytest.approx([0.72, 0, 0.18])


def test_one_object_has_one_score():
    p, q = np.array([0.7]), np.array([0.9])
    scores = [group_score(p, q), group_score(p, q, paired=True), *SAM3Policy.reduce_group(p, q)]
    assert [*scores, *SAM3DMSPolicy.reduce_group(p, q)] == pytest.approx([0.63] * 4)
    assert group_score(np.array([]), np.array([])) == 0.0


def test_presence():
    assert presence(-3.0) == presence(0.0) == 0.0
    assert presence(2.0) == pytest.approx(2 / (1 + np.exp(-2)) - 1)
    assert presence(40.0) == pytest.approx(1.0)


# -- what is read --------------------------------------------------------------------------------------------------------
def test_the_frame_after_a_conditioning_frame_spends_the_newest_slot():
    """f - 1 is the prompted frame: it is named, resolves to nothing, and its code is not given to another."""
    policy = SAM3Policy(LIMITS)
    memory = bank({1: GOOD, 2: GOOD, 3: GOOD}, conditioning=(0, 4))
    assert policy.valid_frames(forward(5), memory) == [1, 2, 3, 4]
    assert slots(policy, forward(5), memory) == [(CODE, 0), (CODE, 4), (3, 1), (2, 2), (1, 3)]
    # The same for pointers: rank 1 is spent, and the oldest member gives none.
    assert pointers(policy, forward(5), memory) == [(5, 0), (1, 4), (2, 3), (3, 2)]


def test_an_unselected_conditioning_frame_is_ordinary_memory():
    policy = SAM3Policy(LIMITS, settings=SAM3(max_conditioning=1))
    memory = bank({1: GOOD}, conditioning=(0, 3, 5))
    # Nearest before frame 4 is 3; frame 3 is selected, so the newest slot stays empty.
    assert slots(policy, forward(4), memory) == [(CODE, 3), (1, 1)]
    policy = SAM3Policy(LIMITS, settings=SAM3(max_conditioning=2))
    memory = bank({1: GOOD}, conditioning=(3, 4, 6))
    backward = Step(5, True, 10)
    assert slots(policy, backward, memory) == [(CODE, 4), (CODE, 6)]
    policy = SAM3Policy(MemoryLimits(7, 16, 1), rules=ReferenceRules())
    late = bank({1: GOOD}, conditioning=(3, 4))
    # Backward from 3 only 4 could be the frame before; of both, 3 is at the frame itself and nearest.
    assert slots(policy, Step(3, True, 10), late) == [(CODE, 3), (0, 4)]


def test_rejected_frames_are_skipped_and_ranks_close_up():
    policy = SAM3Policy(LIMITS)
    memory = bank({1: GOOD, 2: BAD, 3: GOOD, 4: BAD, 5: BAD, 6: GOOD, 7: GOOD, 8: BAD})
    assert policy.valid_frames(forward(9), memory) == [1, 3, 6, 7, 8]
    assert slots(policy, forward(9), memory) == [(CODE, 0), (4, 1), (3, 3), (2, 6), (1, 7), (0, 8)]
    # Positions are ranks, not distances; the conditioning pointer stands at its distance in time.
    assert pointers(policy, forward(9), memory) == [(9, 0), (1, 8), (2, 7), (3, 6), (4, 3)]
    without = SAM3Policy(LIMITS, settings=SAM3(keep_previous=False))
    assert without.valid_frames(forward(9), memory) == [1, 3, 6, 7]


def test_a_score_equal_to_the_threshold_does_not_do():
    policy = SAM3Policy(LIMITS, settings=SAM3(score_threshold=0.25, keep_previous=False))
    memory = bank({1: 0.25, 2: np.nextafter(0.25, 1), 3: 0.2, 4: None})
    assert policy.valid_frames(forward(6), memory) == [2]


def test_a_valid_frame_of_the_distant_past_is_read_when_there_is_no_other():
    policy = SAM3Policy(LIMITS)
    memory = bank({2: GOOD, **dict.fromkeys(range(3, 80), BAD)})
    assert slots(policy, forward(80), memory) == [(CODE, 0), (1, 2), (0, 79)]


def test_an_object_that_was_never_there():
    """The prompt and the frame before, and not one recent pointer."""
    policy = SAM3DMSPolicy(LIMITS)
    memory = bank(dict.fromkeys(range(1, 30), BAD))
    assert slots(policy, forward(30), memory) == [(CODE, 0), (0, 29)]
    assert pointers(policy, forward(30), memory) == [(30, 0)]


def test_at_most_fifteen_accepted_frames():
    policy = SAM3Policy(LIMITS)
    memory = bank(dict.fromkeys(range(1, 40), GOOD) | {39: BAD})
    assert policy.valid_frames(forward(40), memory) == [*range(24, 39), 39]
    read = pointers(policy, forward(40), memory)
    assert [position for position, _ in read] == [40, *range(1, 16)]
    assert read[-1] == (15, 25)


def test_frame_zero_and_the_last_frame():
    """Released code: going forward frame 0 is never accepted (only as the frame before), going back the last one is."""
    policy = SAM3Policy(LIMITS)
    memory = bank(dict.fromkeys(range(10), GOOD), conditioning=(5,))
    assert policy.valid_frames(forward(3), memory) == [1, 2]
    assert policy.valid_frames(forward(1), memory) == [0]
    assert policy.valid_frames(Step(6, True, 10), memory) == [9, 8, 7]
    assert policy.valid_frames(Step(0, True, 10), memory) == [9, 8, 7, 6, 4, 3, 2, 1]


def test_reverse_mirrors_forward():
    scores = {1: GOOD, 2: BAD, 3: GOOD, 4: BAD, 6: GOOD, 7: BAD}
    policy = SAM3Policy(LIMITS)
    ahead = slots(policy, forward(8, 10), bank(scores))
    back = slots(policy, Step(1, True, 10), bank({9 - f: s for f, s in scores.items()}, conditioning=(9,)))
    assert [(code, 9 - frame) for code, frame in back] == ahead


def test_one_and_two_frame_videos():
    for policy in (SAM3Policy(LIMITS), SAM3DMSPolicy(LIMITS), SAM3Policy(BUILTIN)):
        code = policy.limits.slots - 1
        assert slots(policy, Step(0, False, 1), bank({}, conditioning=())) == []
        assert slots(policy, Step(0, True, 1), bank({}, conditioning=())) == []
        assert slots(policy, Step(1, False, 2), bank({})) == [(code, 0)]
        assert slots(policy, Step(0, True, 2), bank({}, conditioning=(1,))) == [(code, 1)]
    assert pointers(SAM3Policy(LIMITS), Step(1, False, 2), bank({})) == [(1, 0)]


def test_a_backbone_without_pointers_still_fills_its_slots():
    policy = SAM3DMSPolicy(BUILTIN)
    memory = bank({1: GOOD, 2: GOOD, 3: BAD, 4: GOOD, 5: BAD})
    assert slots(policy, forward(6), memory) == [(3, 0), (2, 2), (1, 4), (0, 5)]
    assert pointers(policy, forward(6), memory) == []


def test_stride_of_the_policy_and_of_the_run():
    memory = bank(dict.fromkeys(range(1, 20), GOOD))
    assert SAM3Policy(LIMITS, settings=SAM3(stride=3)).valid_frames(forward(20), memory) == [1, 4, 7, 10, 13, 16, 19]
    every_fourth = bank(dict.fromkeys((4, 8, 12, 14, 16), GOOD))
    policy = SAM3Policy(LIMITS)
    assert policy.valid_frames(forward(20, stride=4), every_fourth) == [4, 8, 12, 14, 16]
    # Frame 18 was prompted for another object: visited off the grid, and the frame before it is 16.
    assert policy.valid_frames(forward(18, stride=4), every_fourth) == [4, 8, 12, 14, 16]
    off_grid = bank(dict.fromkeys((4, 8, 12, 16), GOOD) | {18: BAD})
    assert policy.valid_frames(forward(20, stride=4), off_grid) == [4, 8, 12, 16, 18]


# -- the difference ------------------------------------------------------------------------------------------------------
def two_objects(kind, threshold):
    """Object 1 always in view, object 2 hidden on frames 4 to 7; the valid frames of both at frame 8, by one rule."""
    policy = kind(LIMITS, settings=kind.settings_type(score_threshold=threshold, keep_previous=False))
    banks = [bank({}), bank({})]
    for frame in range(1, 8):
        logits = [6.0, -6.0 if frame >= 4 else 6.0]
        qualities = [0.9, 0.3 if frame >= 4 else 0.9]
        scores = kind.reduce_group(np.array([presence(value) for value in logits]), np.array(qualities))
        for one, score, logit, quality in zip(banks, scores, logits, qualities, strict=True):
            one.add_tracked(frame, [record(frame, float(score), object_score=logit, iou=quality)])
    return policy, banks


def valid(policy, banks):
    return [policy.valid_frames(forward(8), one) for one in banks]


def test_group_selection_against_decoupled_selection():
    """At the published threshold the group lets blank frames in; at a stricter one it drops good frames of the other."""
    everything, seen = [1, 2, 3, 4, 5, 6, 7], [1, 2, 3]
    assert valid(*two_objects(SAM3Policy, 0.01)) == [everything, everything]
    assert valid(*two_objects(SAM3DMSPolicy, 0.01)) == [everything, seen]
    assert valid(*two_objects(SAM3Policy, 0.4)) == [seen, seen]
    assert valid(*two_objects(SAM3DMSPolicy, 0.4)) == [everything, seen]


def test_at_the_published_threshold_too_a_faint_object_loses_frames_to_its_group():
    faint, hidden = presence(0.03), presence(-4.0)
    scores = SAM3Policy.reduce_group(np.array([faint, hidden]), np.array([0.9, 0.9]))
    assert scores[0] < 0.01 < SAM3DMSPolicy.reduce_group(np.array([faint]), np.array([0.9]))[0]


def test_removing_a_member_changes_what_was_decided():
    policy, banks = two_objects(SAM3Policy, 0.4)
    unscored = record(9, object_score=9.0)
    banks[0].add_tracked(9, [unscored])
    SAM3Policy.regroup(banks[:1])
    assert policy.valid_frames(forward(8), banks[0]) == [1, 2, 3, 4, 5, 6, 7]
    assert banks[0].track_record(5).marks["frame_score"] == pytest.approx(presence(6.0) * 0.9)
    assert not unscored.marks
    # Of an object by itself nothing changes.
    _, banks = two_objects(SAM3DMSPolicy, 0.4)
    before = [one.marks["frame_score"] for one in banks[0] if one.marks]
    SAM3DMSPolicy.regroup(banks[:1])
    assert [one.marks["frame_score"] for one in banks[0] if one.marks] == before


# -- forgetting ----------------------------------------------------------------------------------------------------------
def walk(policy, scores, *, conditioning=(0,), reverse=False, count=None, stride=1, forget=True):
    """Follows one object over the frames of ``scores``; what was read at each, and the largest bank."""
    memory = bank({}, conditioning)
    read, most = {}, 0
    for frame, score in scores:
        step = Step(frame, reverse, count, stride)
        if frame not in memory.conditioning:
            read[frame] = slots(policy, step, memory), pointers(policy, step, memory)
            memory.add_tracked(frame, [record(frame, score)])
        if forget:
            policy.evict(step, memory)
            assert frame in memory.conditioning or memory.track_record(frame).logits is not None
        most = max(most, len(memory))
    return read, most, memory


CASES = st.lists(st.sampled_from([0.0, 0.01, 0.5]), min_size=1, max_size=60)


@given(CASES, st.booleans(), st.sampled_from([1, 2, 3]), st.booleans(), st.sampled_from([LIMITS, BUILTIN]))
@settings(max_examples=60, deadline=None)
def test_forgetting_changes_nothing(scores, stream, stride, keep_previous, limits):
    policy = SAM3DMSPolicy(limits, settings=SAM3DMS(stride=stride, keep_previous=keep_previous))
    count = None if stream else len(scores) + 1
    frames = list(enumerate(scores, start=1))
    kept, _, _ = walk(policy, frames, count=count)
    everything, _, _ = walk(policy, frames, count=count, forget=False)
    assert kept == everything


@given(CASES, st.integers(1, 59))
@settings(max_examples=40, deadline=None)
def test_forgetting_leaves_a_way_back_at_every_prompt(scores, prompt):
    """Forward from the prompt to the end, then backward from it: as if nothing had been forgotten."""
    count = len(scores) + 1
    prompt = min(prompt, count - 1)
    policy = SAM3Policy(LIMITS)
    results = []
    for forget in (True, False):
        ahead = [(frame, scores[frame - 1]) for frame in range(prompt + 1, count)]
        _, _, memory = walk(policy, ahead, conditioning=(prompt,), count=count, forget=forget)
        read = []
        for frame in range(prompt - 1, -1, -1):
            step = Step(frame, True, count)
            read.append((slots(policy, step, memory), pointers(policy, step, memory)))
            memory.add_tracked(frame, [record(frame, scores[frame - 1])])
            if forget:
                policy.evict(step, memory)
        results.append(read)
    assert results[0] == results[1]


@pytest.mark.parametrize("score", [GOOD, BAD])
def test_a_stream_needs_the_same_memory_for_ever(score):
    policy = SAM3DMSPolicy(LIMITS)
    _, most, memory = walk(policy, [(frame, score) for frame in range(1, 400)])
    # 15 accepted frames and the prompt; of an absent object the frame before and the prompt.
    assert most <= (17 if score == GOOD else 3)
    spatial = [one.frame for one in memory if one.memory is not None and one.role is Role.TRACK]
    assert sorted(spatial) == ([394, 395, 396, 397, 398, 399] if score == GOOD else [399])


def test_a_stream_lets_go_of_prompts_beyond_the_limit():
    policy = SAM3Policy(MemoryLimits(7, 16, 2))
    memory = bank({7: GOOD}, conditioning=(0, 3, 5))
    policy.evict(Step(7, False, None), memory)
    assert sorted(memory.conditioning) == [3, 5]


# -- settings ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "values",
    [
        {"score_threshold": 1.0},
        {"score_threshold": -0.1},
        {"score_threshold": float("nan")},
        {"stride": 0},
        {"max_conditioning": -2},
    ],
)
@pytest.mark.parametrize("kind", [SAM3, SAM3DMS])
def test_refused_values_name_the_range(kind, values):
    name = next(iter(values))
    with pytest.raises(InputError, match=f"{kind.name}: {name} must be"):
        kind(**values)


def test_settings_make_policies():
    made = SAM3DMS(score_threshold=0.3)(LIMITS, ReferenceRules())
    assert type(made) is SAM3DMSPolicy
    assert made.settings.score_threshold == 0.3
    assert (SAM3.name, SAM3DMS.name, SAM3Policy.settings_type, SAM3DMSPolicy.settings_type) == (
        "sam3",
        "dms",
        SAM3,
        SAM3DMS,
    )
    assert SAM3Policy(BUILTIN).max_conditioning == 2
