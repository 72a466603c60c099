"""SAM2Long without weights: its memory, its beam, its tree, and what may be forgotten."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pathways import LIMITS, Literal, Rig, drawn

from keepsight.core import InputError
from keepsight.memory import (
    SAM2,
    Candidates,
    FrameRecord,
    MemoryLimits,
    ObjectMemory,
    Role,
    SAM2Long,
    SAM2LongPolicy,
    SAM2Policy,
    Step,
)
from keepsight.memory.beam import is_certain, key_weights, prune


def offer(hypothesis, ious, score) -> Candidates:
    return Candidates(hypothesis, tuple(ious), score, None, lambda j: np.zeros((2, 2), bool))


def chain(qualities, presences, *, start=0) -> ObjectMemory:
    """One pathway: a prompt on ``start`` and a tracked frame a score after it."""
    bank = ObjectMemory()
    bank.add_conditioning(FrameRecord(start, Role.PROMPT, "memory", "pointer", iou=1.0, object_score=10.0))
    parent = None
    for frame, (iou, score) in enumerate(zip(qualities, presences, strict=True), start + 1):
        record = FrameRecord(frame, Role.TRACK, "memory", "pointer", iou=iou, object_score=score, parent=parent)
        bank.add_tracked(frame, [record])
        parent = record
    return bank


def read(bank, frame, count=1000, **options):
    """``(frame, code)`` of the recent slots and ``(frame, position)`` of the recent pointers."""
    policy = SAM2LongPolicy(LIMITS, settings=SAM2Long(**options))
    selection = policy.select_memory(Step(frame, False, count), bank, 0)
    assert [(r.record.frame, r.slot_code) for r in selection.spatial[:1]] == [(0, 6)]
    assert [(r.record.frame, r.position) for r in selection.pointers[:1]] == [(0, frame)]
    return (
        [(r.record.frame, r.slot_code) for r in selection.spatial[1:]],
        [(r.record.frame, r.position) for r in selection.pointers[1:]],
    )


# -- which frames are remembered -------------------------------------------------------------------------------------
def test_a_frame_after_the_prompt_reads_the_prompt_alone():
    assert read(chain([], []), 1) == ([], [])


def test_the_latest_valid_frames_fill_the_slots_by_rank():
    """q = [.9, .2, .9, ...]: every second frame is read, the newest with code 0; no slot stays empty for the others."""
    bank = chain([0.9, 0.2] * 10, [5.0] * 20)
    spatial, pointers = read(bank, 20)
    assert spatial == [(19, 0), (17, 1), (15, 2), (13, 3), (11, 4), (9, 5)]
    # A rank, not a distance; ten frames are valid, and the oldest of them is counted but not read.
    assert pointers == [(21 - 2 * d, d) for d in range(1, 10)]


def test_the_frame_before_is_read_in_any_case():
    bank = chain([0.9] * 5, [5.0] * 4 + [-3.0])
    spatial, pointers = read(bank, 6)
    assert spatial == [(5, 0), (4, 1), (3, 2), (2, 3), (1, 4)]
    assert pointers == [(5, 1), (4, 2), (3, 3), (2, 4)]
    bank = chain([0.9] * 4 + [0.1], [5.0] * 5)
    assert read(bank, 6)[0][0] == (5, 0)


def test_sixteen_members_when_the_frame_before_comes_on_top():
    bank = chain([0.9] * 30, [5.0] * 29 + [-1.0])
    policy = SAM2LongPolicy(LIMITS)
    recent = policy.recent(Step(31, False, 1000), bank)
    assert [record.frame for record in recent] == [*range(15, 30), 30]
    spatial, pointers = read(bank, 31)
    assert spatial == [(30, 0), (29, 1), (28, 2), (27, 3), (26, 4), (25, 5)]
    assert pointers == [(31 - d, d) for d in range(1, 16)]
    # Fifteen when it is one of them, and then fourteen pointers.
    bank = chain([0.9] * 30, [5.0] * 30)
    assert [record.frame for record in policy.recent(Step(31, False, 1000), bank)] == list(range(16, 31))
    assert read(bank, 31)[1] == [(31 - d, d) for d in range(1, 15)]


def test_one_member_gives_no_recent_pointer():
    assert read(chain([0.9], [5.0]), 2) == ([(1, 0)], [])
    assert read(chain([0.1] * 9, [5.0] * 9), 10) == ([(9, 0)], [])


def test_a_valid_frame_from_long_ago_is_read_when_nothing_else_is():
    bank = chain([0.9, 0.9] + [0.9] * 500, [5.0, 5.0] + [-4.0] * 500)
    assert read(bank, 503) == ([(502, 0), (2, 1), (1, 2)], [(502, 1), (2, 2)])


@pytest.mark.parametrize(
    ("iou", "score", "remembered"), [(0.3, 5, False), (0.3001, 5, True), (0.9, 0, False), (0.9, 1e-3, True)]
)
def test_thresholds_are_strict(iou, score, remembered):
    bank = chain([iou, 0.9], [score, 5.0])
    assert ((1, 1) in read(bank, 3)[0]) is remembered


def test_a_threshold_of_zero_still_wants_the_object_there():
    bank = chain([0.01, 0.0, 0.5, 0.5], [5.0, 5.0, -1.0, 1.0])
    assert read(bank, 5, iou_threshold=0.0)[0] == [(4, 0), (1, 1)]


@pytest.mark.parametrize("count", [2, 3, 5, 15, 16, 17, 40])
def test_short_videos(count):
    """The pointer budget of a short clip is its length; no frame that there is goes missing for it."""
    last = count - 1
    spatial, pointers = read(chain([0.9] * (last - 1), [5.0] * (last - 1)), last, count=count)
    assert [frame for frame, _ in spatial] == list(range(last - 1, 0, -1))[:6]
    assert [position for _, position in pointers] == list(range(1, min(last - 1, min(count, 16) - 1)))


def test_a_model_without_pointers():
    policy = SAM2LongPolicy(MemoryLimits(7, 0))
    selection = policy.select_memory(Step(31, False, 100), chain([0.9] * 30, [5.0] * 30), 0)
    assert [r.record.frame for r in selection.spatial] == [0, 30, 29, 28, 27, 26, 25]
    assert selection.pointers == ()


def test_without_a_filter_the_reads_are_those_of_sam2():
    dice = random.Random(0)
    bank = chain([dice.random() for _ in range(40)], [dice.uniform(-5, 5) for _ in range(40)])
    bank.add_conditioning(FrameRecord(12, Role.PROMPT, "memory", "pointer"))
    long, plain = SAM2LongPolicy(LIMITS, settings=SAM2Long(iou_threshold=None)), SAM2Policy(LIMITS)
    for frame, reverse in [(41, False), (20, False), (13, False), (3, False), (5, True), (30, True)]:
        step = Step(frame, reverse, 100)
        assert long.select_memory(step, bank, 0) == plain.select_memory(step, bank, 0), step


def test_a_prompted_frame_beyond_the_limit_is_an_ordinary_one():
    bank = chain([0.9] * 9, [5.0] * 9)
    for frame in (4, 8):
        bank.add_conditioning(FrameRecord(frame, Role.PROMPT, "memory", "pointer", iou=1.0, object_score=10.0))
    policy = SAM2LongPolicy(LIMITS, settings=SAM2Long(max_conditioning=1))
    selection = policy.select_memory(Step(10, False, 100), bank, 0)
    assert [(r.record.frame, r.slot_code) for r in selection.spatial] == [
        (8, 6), (9, 0), (7, 1), (6, 2), (5, 3), (4, 4), (3, 5),
    ]  # fmt: skip


# -- key scaling -----------------------------------------------------------------------------------------------------
def test_key_weights():
    assert key_weights([10, 4, 7], 0.05) == pytest.approx([1.05, 0.95, 1.0])
    assert key_weights([10, 12.5, -3], 0.05) == pytest.approx([1.0, 1.05, 0.95])
    assert key_weights([10], 0.05) == [0.95]
    # Whoever is equal shares; their order does not matter.
    assert key_weights([10, 5, 5, 1], 0.3) == pytest.approx([1.3, 1.0, 1.0, 0.7])
    assert key_weights([10, 10], 0.05) == pytest.approx([1.0, 1.0])
    assert key_weights([10, 4, 7, 5, 6, 8, 9], 0.05) == pytest.approx(
        np.linspace(0.95, 1.05, 7)[[6, 0, 3, 1, 2, 4, 5]].tolist()
    )


def scales(bank, frame, **options):
    policy = SAM2LongPolicy(LIMITS, settings=SAM2Long(**options))
    step = Step(frame, False, 1000)
    selection = policy.modulate(step, policy.select_memory(step, bank, 0))
    return [r.key_scale for r in selection.spatial], [r.key_scale for r in selection.pointers]


def test_what_is_scaled():
    assert scales(chain([], []), 1) == ([1.0], [1.0])  # the prompt alone: nothing
    assert scales(chain([0.9], [5.0]), 2) == (pytest.approx([1.05, 0.95]), [0.95])  # the only pointer
    # A surer frame than the prompt's constant ten; the absent frame before gets least.
    bank = chain([0.9, 0.9, 0.9], [11.0, 4.0, -2.0])
    spatial, pointers = scales(bank, 4)
    assert spatial == pytest.approx([1 + 0.05 / 3, 0.95, 1 - 0.05 / 3, 1.05])
    assert pointers == pytest.approx([1.05, 0.95, 1.0])
    assert scales(bank, 4, key_spread=0.0) == ([1.0] * 4, [1.0] * 3)
    assert min(scales(bank, 4, key_spread=0.4)[0]) == pytest.approx(0.6)


# -- the beam --------------------------------------------------------------------------------------------------------
def test_a_frame_is_uncertain_up_to_the_threshold_itself():
    assert not is_certain([offer(0, [0.5], 2.0)], 2.0)
    assert not is_certain([offer(0, [0.5], -2.0)], 2.0)
    assert is_certain([offer(0, [0.5], -2.0001)], 2.0)
    # One pathway that is sure, of either, is enough.
    assert is_certain([offer(0, [0.5], 0.1), offer(1, [0.5], -3.0)], 2.0)
    assert not is_certain([offer(0, [0.5], 0.0)], 0.0)


def kept(pathways, scores, candidates, uncertainty=2.0):
    return [(e.pathway, e.candidate) for e in prune(pathways, scores, candidates, uncertainty)]


def test_identical_pathways_stay_identical_on_a_certain_frame():
    assert kept([0, 0, 0], [0.0] * 3, [offer(0, [0.2, 0.9, 0.5], 6.0)]) == [(0, 1), (1, 1), (2, 1)]


def test_the_first_uncertain_frame_tells_them_apart():
    assert kept([0, 0, 0], [0.0] * 3, [offer(0, [0.2, 0.9, 0.5], 1.0)]) == [(0, 1), (0, 2), (0, 0)]


def test_masks_of_the_same_rounded_estimate_count_once_and_the_rest_is_filled_up():
    # .901 and .903 are the same to two decimals; what is missing comes from the pathways that nothing kept continues.
    assert kept([0, 0, 0], [0.0] * 3, [offer(0, [0.901, 0.903, 0.5], 1.0)]) == [(0, 1), (0, 2), (1, 1)]
    assert kept([0, 0, 0], [0.0] * 3, [offer(0, [0.9, 0.9, 0.9], 1.0)]) == [(0, 0), (1, 0), (2, 0)]
    # The sign of the presence is part of the key.
    same = [offer(0, [0.9, 0.9, 0.9], 1.0), offer(1, [0.9, 0.9, 0.9], -1.0)]
    assert kept([0, 1], [0.0, -1.0], same) == [(0, 0), (1, 0)]


def test_filling_up_looks_at_who_was_kept_before_it_began():
    """Two kept of pathway 2; then 0 and not 1, for the places are given out in order of rank."""
    candidates = [offer(0, [0.5, 0.5, 0.5], 1.0), offer(1, [0.5, 0.5, 0.5], 1.0), offer(2, [0.5, 0.6, 0.6], 1.0)]
    assert kept([0, 1, 2], [-5.0, -5.0, 0.0], candidates) == [(2, 1), (2, 0), (0, 0)]


def test_equal_masks_of_equal_pathways_tell_them_apart_on_certain_frames_too():
    """As released: in the order of rank, then mask, the first pathway's two best masks come before the second's best."""
    assert kept([0, 0, 0], [0.0] * 3, [offer(0, [0.9, 0.9, 0.5], 6.0)]) == [(0, 0), (0, 1), (1, 0)]


def test_ties_go_by_rank_and_then_by_mask():
    tied = [offer(0, [0.5, 0.5, 0.5], 5.0), offer(1, [0.5, 0.5, 0.5], 5.0), offer(2, [0.5, 0.5, 0.5], 5.0)]
    assert kept([0, 1, 2], [0.0] * 3, tied) == [(0, 0), (0, 1), (0, 2)]


def test_after_they_differ_a_certain_frame_may_bring_them_together():
    candidates = [offer(0, [0.9, 0.8, 0.85], 5.0), offer(1, [0.1, 0.1, 0.1], 5.0), offer(2, [0.1, 0.1, 0.1], 5.0)]
    assert kept([0, 1, 2], [0.0, -0.1, -0.2], candidates) == [(0, 0), (0, 2), (0, 1)]


def test_single_masks():
    """A decoder that offers one mask only: everybody goes on."""
    assert kept([0, 1, 1], [0.0, -1.0, -1.0], [offer(0, [0.5], 1.0), offer(1, [0.5], 1.0)]) == [(0, 0), (1, 0), (2, 0)]


def test_scores_add_up_also_where_the_object_is_absent():
    scores = {1: ((0.6, 0.5, 0.4), 5.0), 2: ((0.7, 0.2, 0.1), -6.0), 3: ((0.1, 0.5, 0.3), 6.0)}
    rig = Rig(lambda frame, path: scores[frame], SAM2Long())
    rig.prompt(0)
    rig.visit(1)
    assert [score for _, score in rig.pathways()] == [0.0] * 3  # the first is not counted
    rig.visit(2)
    assert [score for _, score in rig.pathways()] == [pytest.approx(math.log(0.70001))] * 3
    rig.visit(3)
    assert rig.pathways()[0][1] == pytest.approx(math.log(0.70001) + math.log(0.50001))


# -- the tree against the published rule -----------------------------------------------------------------------------
@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    frames=st.integers(1, 70),
    pathways=st.integers(1, 4),
    start=st.sampled_from([0, 3]),
    certain=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    present=st.sampled_from([0.1, 0.7, 1.0]),
    evict=st.booleans(),
)
def test_equals_the_rule_written_out(seed, frames, pathways, start, certain, present, evict):
    """Reads of every pathway, scores, and the result at the end; with shared histories run once, and while forgetting."""
    offers, count = drawn(seed, certain, present), start + frames + 1
    rig = Rig(offers, SAM2Long(pathways=pathways, key_spread=0), count=count, evict=evict)
    rule = Literal(offers, start, count, pathways)
    rig.prompt(start)
    rig.visit(start)
    online = {}
    for frame in range(start + 1, count):
        read = rig.reads(frame)
        for rank, hypothesis in enumerate(rig.policy._pathways(pathways)):
            assert rule.reads(frame, rank) == read[hypothesis][:2], (frame, rank)
        rig.visit(frame)
        rule.step(frame)
        assert [path for path, _ in rig.pathways()] == [rule.levels[frame][own[frame]].path for own in rule.maps]
        assert [score for _, score in rig.pathways()] == pytest.approx(rule.scores)
        online[frame] = rule.levels[frame][0].path
        assert rig.shown[frame] == online[frame]
    best = rule.best()
    assert {frame: path for frame, path in rig.final().items() if frame > start} == best
    # Revised are exactly the frames whose best-at-the-time is no ancestor of the best at the end.
    assert [r.frame for r in rig.policy.finalize(rig.bank)] == [f for f in best if best[f] != online[f]]
    # Histories that are the same are run once.
    assert rig.evaluations == sum(
        len({rule.levels[f - 1][own[f - 1]].path for own in rule.seen[f - 1]}) if f > start + 1 else 1
        for f in range(start + 1, count)
    )


def test_the_result_at_the_end_may_differ_and_looking_does_not_change_it():
    differing = 0
    for seed in range(20):
        rigs = [Rig(drawn(seed), SAM2Long(revise=revise)) for revise in (True, False)]
        for rig in rigs:
            rig.prompt(0)
            for frame in range(40):
                rig.visit(frame)
                if frame == 20:
                    rig.policy.finalize(rig.bank)
        revising, live = rigs
        differing += revising.final() != revising.shown
        assert live.final() == live.shown == revising.shown
        assert [path for path, _ in live.pathways()] == [path for path, _ in revising.pathways()]
    assert differing > 5


# -- forgetting ------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=60)
@example(seed=135115, prompts=[1, 16], length=10, stride=3, limit=-1, turn=1, pointers=0, present=0.1, threshold=0.3)
@given(
    seed=st.integers(0, 10**6),
    prompts=st.lists(st.integers(0, 60), min_size=1, max_size=3, unique=True),
    length=st.integers(2, 80),
    stride=st.sampled_from([1, 1, 3]),
    limit=st.sampled_from([-1, 1, 2]),
    turn=st.integers(0, 2),
    pointers=st.sampled_from([0, 4, 16]),
    present=st.sampled_from([0.1, 0.6, 1.0]),
    threshold=st.sampled_from([0.3, 0.3, None]),
)
def test_eviction_takes_nothing_that_is_read_again(
    seed, prompts, length, stride, limit, turn, pointers, present, threshold
):
    """Two banks follow the same frames, one of them forgetting: the same reads onward, and after turning at a prompt.

    With a stride the way back must be on the frames of the way there: on others it meets leftovers that are between its own
    steps, and those may have been let go (docs/policies.md).
    """
    assume((prompts[turn % len(prompts)] - min(prompts)) % stride == 0)
    offers = drawn(seed, 0.5, present)
    options = SAM2Long(max_conditioning=limit, iou_threshold=threshold)
    kept, lean = (Rig(offers, options, limits=MemoryLimits(7, pointers), evict=evict) for evict in (False, True))
    for rig in (kept, lean):
        for frame in prompts:
            rig.prompt(frame)
    first = min(prompts)
    onward = sorted(set(range(first, first + length, stride)) | {f for f in prompts if f < first + length})
    for frame in onward:
        assert kept.visit(frame, stride=stride) == lean.visit(frame, stride=stride), frame
    assert kept.final() == lean.final()
    back = prompts[turn % len(prompts)]
    for frame in range(back - stride, max(back - 30 * stride, -1), -stride):
        read = [rig.visit(frame, reverse=True, stride=stride) for rig in (kept, lean)]
        assert read[0] == read[1], frame


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), at=st.integers(5, 40), back=st.integers(0, 4), certain=st.sampled_from([0.0, 0.8]))
def test_a_correction_and_going_on_from_it(seed, at, back, certain):
    """A person corrects a frame that was tracked: the tree begins anew there, on the best history so far."""
    kept, lean = (Rig(drawn(seed, certain), SAM2Long(), evict=evict) for evict in (False, True))
    for rig in (kept, lean):
        rig.prompt(0)
        for frame in range(at + 1):
            rig.visit(frame)
    corrected = at - back
    best = kept.bank.tracked[corrected][0].memory
    for rig in (kept, lean):
        rig.prompt(corrected)
    for frame in range(corrected + 1, corrected + 30):
        read = [rig.visit(frame) for rig in (kept, lean)]
        # A correction of the frame just shown misses nothing; further back, what was let go on the way is gone.
        assert back or read[0] == read[1], frame
        if frame == corrected + 1:
            assert len(read[1]) == 1
            # Only of the history that was the best one.
            assert all(best[: len(path)] == path for path, code in read[1][0].spatial if code < 6)


def test_all_but_the_best_history_ends_at_a_prompt():
    rig = Rig(drawn(3, certain=0.0), SAM2Long())
    rig.prompt(0)
    for frame in range(21):
        rig.visit(frame)
    assert len(rig.bank.tracked[20]) == 3
    shown = rig.bank.tracked[20][0].memory
    rig.prompt(21)
    rig.visit(21)
    rig.visit(22)
    assert rig.policy._pathways(3) == [0, 0, 0]
    assert [len(records) for records in rig.bank.tracked.values()] == [1] * len(rig.bank.tracked)
    paths = [records[0].pointer for frame, records in rig.bank.tracked.items() if frame < 21]
    assert sum(path is not None for path in paths) > 5
    assert all(path is None or shown[: len(path)] == path for path in paths)
    assert rig.bank.tracked[22][0].score == 0.0


def test_what_is_kept_does_not_grow_with_the_video():
    """Undecided frames keep links and, but for those shown, folded masks; everything else is bounded."""
    rig = Rig(drawn(1, certain=0.7, present=0.6), SAM2Long())
    rig.prompt(0)
    memories, pointers = [], []
    for frame in range(1500):
        rig.visit(frame)
        memories.append(sum(record.memory is not None for record in rig.bank))
        pointers.append(sum(record.pointer is not None for record in rig.bank))
    # Three histories of six valid frames and the two latest, the prompt, and six frames next to it.
    assert max(memories) <= 3 * 8 + 1 + 6
    assert max(pointers) <= 3 * 17 + 1 + 15
    for frame, records in rig.bank.tracked.items():
        if len(records) == 1 and records[0].memory is records[0].pointer is None:
            assert records[0].marks["shown"] == 0.0, frame
        assert all(r.memory is not None or r.logits is None or r.marks["shown"] == 0.0 for r in records)


def test_a_stretch_without_doubt_leaves_nothing_behind():
    rig = Rig(lambda frame, path: ((0.9, 0.5, 0.4), 5.0), SAM2Long())
    rig.prompt(0)
    for frame in range(300):
        rig.visit(frame)
    assert rig.evaluations == 299
    # Fifteen for going on and the latest, fifteen next to the prompt.
    assert sorted(rig.bank.tracked) == [*range(1, 16), *range(284, 300)]
    assert all(record.parent is None for frame, (record,) in rig.bank.tracked.items() if frame < 299)


def test_a_stream_keeps_what_going_on_needs_alone():
    rig = Rig(drawn(2, certain=0.8), SAM2Long(max_conditioning=2), count=None)
    for frame in range(400):
        if frame in (0, 50, 100, 150):
            rig.prompt(frame)
        rig.visit(frame)
    assert list(rig.bank.conditioning) == [100, 150]
    assert sum(record.memory is not None for record in rig.bank) <= 3 * 8 + 2


def test_another_start_goes_on_from_the_last_frame_known():
    rig = Rig(lambda frame, path: ((0.9, 0.5, 0.4), 5.0), SAM2Long(key_spread=0))
    rig.prompt(0)
    for frame in range(50):
        rig.visit(frame)
    (read,) = rig.reads(80)
    assert read.frames == [(0, 6), *[(49 - k, k) for k in range(6)]]


def test_frames_off_the_grid_of_a_strided_run():
    """A frame that is visited because another object is prompted there goes on from the last one visited."""
    rig = Rig(lambda frame, path: ((0.9, 0.5, 0.4), 5.0), SAM2Long(key_spread=0))
    rig.prompt(0)
    read = {}
    for frame in (0, 3, 6, 7, 9):
        read[frame] = [slot for history in rig.visit(frame, stride=3) for slot in history.frames]
    assert read[7] == [(0, 6), (6, 0), (3, 1)]
    assert read[9] == [(0, 6), (7, 0), (6, 1), (3, 2)]


# -- settings --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"iou_threshold": 3}, "sam2long: iou_threshold must be none or in [0, 1], got 3."),
        ({"pathways": 0}, "sam2long: pathways must be in [1, 16], got 0."),
        ({"uncertainty": -1}, "sam2long: uncertainty must be 0 or more, got -1."),
        ({"key_spread": 0.6}, "sam2long: key_spread must be in [0, 0.5], got 0.6."),
    ],
)
def test_refused(values, says):
    with pytest.raises(InputError) as refused:
        SAM2Long(**values)
    assert str(refused.value) == says


def test_the_papers_defaults():
    assert SAM2Long() == SAM2Long(pathways=3, iou_threshold=0.3, uncertainty=2, key_spread=0.05, revise=True)
    assert SAM2().policy is SAM2Policy
