"""SAMURAI without weights: the filter, the three stages of the choice, the three thresholds of the memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import by_code, reads

from keepsight.core import InputError, Region, box_iou
from keepsight.memory import (
    SAM2,
    SAMURAI,
    Candidates,
    FrameRecord,
    MemoryLimits,
    ObjectMemory,
    ReferenceRules,
    Role,
    SAMURAIPolicy,
    Step,
)
from keepsight.memory.samurai import FRESH, MOTION_IOU, BoxMotion

LIMITS = MemoryLimits(slots=7, pointers=16)
BUILTIN = MemoryLimits(slots=4, pointers=0, max_conditioning=2)
CODE = 6  # slot code of the conditioning class
COUNT = 400  # frames of the video
SIDE = 64  # of the frame and of the masks in it
BOX = (20, 24, 36, 48)
PLAIN = SAMURAI(
    motion_weight=0,
    memory_iou=None,
    memory_presence=None,
    memory_motion=None,
    first_remembered=1,
    presence=0,
)


def make(limits=LIMITS, **options) -> SAMURAIPolicy:
    return SAMURAIPolicy(limits, settings=SAMURAI(**options))


def mask(box) -> np.ndarray:
    """Boolean ``(SIDE, SIDE)`` with a filled box of whole cells; empty for ``None``."""
    pixels = np.zeros((SIDE, SIDE), bool)
    if box is not None:
        x1, y1, x2, y2 = box
        pixels[y1:y2, x1:x2] = True
    return pixels


def offer(*boxes, ious, presence=5.0) -> Candidates:
    masks = [mask(box) for box in boxes]
    return Candidates(0, tuple(ious), presence, None, masks.__getitem__, region=Region(0, 0, SIDE, SIDE))


def follow(policy, frame, *boxes, ious=(0.9, 0.5, 0.4), reverse=False, stride=1):
    """One step of the choice; gives the candidate and the overlap that was noted."""
    boxes = (*(boxes or (BOX,)), None, None)[: max(len(boxes), 3)]
    step, candidates = Step(frame, reverse, COUNT, stride), offer(*boxes[: len(ious)], ious=ious)
    survivors = policy.choose(step, [candidates])
    (plan,) = policy.write_plan(step, survivors, [candidates])
    return survivors[0].candidate, plan.marks.get(MOTION_IOU)


def stand(policy) -> tuple[int, bool]:
    """How long the filter has been right, and whether there is one."""
    state = policy.state()
    return state["stable"], state["motion"] is not None


# -- the filter ------------------------------------------------------------------------------------------------------
class InEightDimensions:
    """The same filter as it is usually written down, with full matrices."""

    def __init__(self, box):
        self.mean = np.concatenate([self.measured(box), np.zeros(4)])
        h = self.mean[3]
        std = [2 * h / 20, 2 * h / 20, 1e-2, 2 * h / 20, 10 * h / 160, 10 * h / 160, 1e-5, 10 * h / 160]
        self.covariance = np.diag(np.square(std))
        self.motion = np.eye(8) + np.eye(8, k=4)
        self.seen = np.eye(4, 8)

    @staticmethod
    def measured(box):
        x1, y1, x2, y2 = box
        return np.array([(x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / (y2 - y1), y2 - y1])

    def predict(self):
        h = self.mean[3]
        noise = [h / 20, h / 20, 1e-2, h / 20, h / 160, h / 160, 1e-5, h / 160]
        self.mean = self.motion @ self.mean
        self.covariance = self.motion @ self.covariance @ self.motion.T + np.diag(np.square(noise))

    def update(self, box):
        h = self.mean[3]
        noise = np.diag(np.square([h / 20, h / 20, 1e-1, h / 20]))
        total = self.seen @ self.covariance @ self.seen.T + noise
        gain = self.covariance @ self.seen.T @ np.linalg.inv(total)
        self.mean = self.mean + gain @ (self.measured(box) - self.seen @ self.mean)
        self.covariance = self.covariance - gain @ total @ gain.T


def test_four_small_filters_are_the_one_in_eight_dimensions():
    rng = np.random.default_rng(5)
    box = np.array([30.0, 40.0, 90.0, 160.0])
    ours, theirs = BoxMotion.start(tuple(box)), InEightDimensions(tuple(box))
    for turn in range(40):
        ours = ours.predicted()
        theirs.predict()
        if turn % 5:
            box = box + [2.0, -1.0, 2.5, -0.5] + rng.normal(0, 1, 4)
            ours = ours.updated(tuple(box))
            theirs.update(tuple(box))
        np.testing.assert_allclose(np.concatenate([ours.value, ours.velocity]), theirs.mean, rtol=1e-9, atol=1e-12)
        corners = np.stack(
            [np.diag(theirs.covariance)[:4], np.diag(theirs.covariance, 4), np.diag(theirs.covariance)[4:]]
        )
        np.testing.assert_allclose(ours.spread, corners, rtol=1e-8, atol=1e-14)


def test_the_filter_starts_at_rest_and_learns_the_velocity():
    motion = BoxMotion.start((10, 10, 30, 50))
    assert motion.predicted(3).box == (10, 10, 30, 50)
    for shift in range(1, 30):
        motion = motion.predicted().updated((10 + 3 * shift, 10 - shift, 30 + 3 * shift, 50 - shift))
    assert motion.velocity[:2] == pytest.approx([3, -1], abs=0.05)
    assert box_iou(motion.predicted().box, (100, -20, 120, 20)) > 0.95


def test_several_frames_at_once_are_single_frames():
    motion = BoxMotion.start((10, 10, 30, 50)).predicted().updated((13, 11, 33, 51))
    once, twice = motion.predicted(4), motion.predicted(1).predicted(3)
    assert once.state() == twice.state()


def test_the_filters_state_is_exact_in_json():
    motion = BoxMotion.start((1 / 3, 0.1, 7.7, 19.3)).predicted().updated((1, 1, 8, 20)).predicted()
    again = BoxMotion.restored(json.loads(json.dumps(motion.state())))
    assert again.updated((2, 2, 9, 21)).state() == motion.updated((2, 2, 9, 21)).state()


def test_a_box_that_has_shrunk_away_has_no_extent():
    motion = (
        BoxMotion.start((10, 10, 30, 50)).predicted().updated((15, 20, 25, 40)).predicted().updated((19, 29, 21, 31))
    )
    gone = motion.predicted(60)
    assert np.isfinite(gone.spread).all()
    assert box_iou(gone.box, (10, 10, 30, 50)) == 0


# -- the choice: stages A, B, C --------------------------------------------------------------------------------------
def test_stages_by_count():
    """The first frame starts the filter (1); motion has a say on the first frame that finds it at 15."""
    policy = make()
    elsewhere = (BOX, (0, 0, 8, 8), None)
    for frame in range(1, 16):
        # The filter would prefer candidate 0 throughout; q alone decides until it is stable.
        chosen, overlap = follow(policy, frame, *elsewhere, ious=(0.8, 0.5, 0.1))
        assert (chosen, overlap) == (0, None)
        assert stand(policy) == (frame, True)
    # Stage C: .85 * .8 + .15 beats .85 * .9 + 0.
    assert follow(policy, 16, *elsewhere, ious=(0.8, 0.9, 0.1)) == (0, pytest.approx(1.0))
    assert stand(policy) == (15, True)
    # A clear lead in q wins over motion, and the overlap noted is that of the winner.
    assert follow(policy, 17, *elsewhere, ious=(0.5, 0.9, 0.1)) == (1, 0.0)


@pytest.mark.parametrize(("count", "stage_c"), [(1, 2), (2, 3), (15, 16)])
def test_the_first_frame_of_stage_c(count, stage_c):
    policy = make(stable_frames=count)
    overlaps = [follow(policy, frame)[1] for frame in range(1, 20)]
    assert [frame for frame, overlap in enumerate(overlaps, 1) if overlap is not None] == list(range(stage_c, 20))


@pytest.mark.parametrize(("weight", "winner"), [(0.0, 1), (0.15, 0), (1.0, 0)])
def test_the_weight_of_motion(weight, winner):
    policy = make(stable_frames=2, motion_weight=weight)
    for frame in (1, 2):
        follow(policy, frame)
    assert follow(policy, 3, BOX, (0, 0, 8, 8), None, ious=(0.8, 0.85, 0.1))[0] == winner


def test_the_score_of_a_survivor():
    policy = make(stable_frames=1)
    follow(policy, 1)
    candidates = offer(BOX, (0, 0, 8, 8), None, ious=(0.8, 0.9, 0.1))
    (survivor,) = policy.choose(Step(2, False, COUNT), [candidates])
    assert survivor.score == pytest.approx(0.85 * 0.8 + 0.15)


def test_ties_go_to_the_first_candidate():
    policy = make(stable_frames=2)
    assert follow(policy, 1, BOX, BOX, BOX, ious=(0.7, 0.9, 0.9))[0] == 1
    follow(policy, 2)
    # In stage C too: both the same box and the same estimate.
    assert follow(policy, 3, None, BOX, BOX, ious=(0.2, 0.9, 0.9))[0] == 1


@pytest.mark.parametrize(("iou", "kept"), [(0.31, True), (0.3, False), (0.29, False)])
def test_stage_b_tests_above(iou, kept):
    policy = make()
    follow(policy, 1)
    follow(policy, 2, ious=(iou, 0.1, 0.1))
    assert stand(policy) == ((2, True) if kept else (0, False))


@pytest.mark.parametrize(("iou", "kept"), [(0.31, True), (0.3, True), (0.29, False)])
def test_stage_c_tests_below(iou, kept):
    policy = make(stable_frames=2)
    for frame in (1, 2):
        follow(policy, frame)
    follow(policy, 3, ious=(iou, 0.1, 0.1))
    assert stand(policy) == ((2, True) if kept else (0, False))


def test_after_a_bad_frame_all_begins_anew():
    policy = make(stable_frames=2)
    for frame in (1, 2, 3):
        follow(policy, frame)
    follow(policy, 4, ious=(0.1, 0.05, 0.05))
    assert [follow(policy, frame)[1] is None for frame in (5, 6, 7)] == [True, True, False]


def test_the_estimate_of_the_first_frame_is_not_asked():
    policy = make()
    follow(policy, 1, ious=(0.01, 0.0, 0.0))
    assert stand(policy) == (1, True)


def test_an_absent_object_does_not_drag_the_filter():
    """The released code updates with a box of zeros, which pulls the prediction into the corner."""
    policy = make(stable_frames=3)
    for frame in range(1, 6):
        follow(policy, frame)
    box = BoxMotion.restored(policy.state()["motion"]).box
    for frame in range(6, 16):
        assert follow(policy, frame, None, None, None, ious=(0.9, 0.8, 0.7)) == (0, 0.0)
    assert BoxMotion.restored(policy.state()["motion"]).box == pytest.approx(box, abs=1)
    assert follow(policy, 16, (0, 0, 8, 8), BOX, None, ious=(0.8, 0.75, 0.1))[0] == 1


@pytest.mark.parametrize("coast", [0, 1, 4])
def test_a_long_absence_ends_the_motion(coast):
    policy = make(coast_frames=coast)
    follow(policy, 1)
    for frame in range(2, 2 + coast):
        follow(policy, frame, None, None, None)
        assert stand(policy) == (1, True)
    follow(policy, 2 + coast, None, None, None)
    assert stand(policy) == (0, False)
    # Nothing to start from while it is gone.
    follow(policy, 3 + coast, None, None, None)
    assert stand(policy) == (0, False)


def test_an_absent_start():
    policy = make()
    follow(policy, 1, None, None, None)
    assert stand(policy) == (0, False)
    follow(policy, 2)
    assert stand(policy) == (1, True)


def test_a_single_candidate():
    policy = make(stable_frames=1)
    follow(policy, 1, BOX, ious=(0.9,))
    assert follow(policy, 2, BOX, ious=(0.9,)) == (0, pytest.approx(1.0))


# -- the choice: time and space --------------------------------------------------------------------------------------
def moving(frame):
    """A box that moves 2 px to the right a frame."""
    return (4 + 2 * frame, 24, 16 + 2 * frame, 48)


def test_backwards_is_forwards_in_a_mirror():
    states = []
    for reverse in (False, True):
        policy = make(stable_frames=3)
        for moment in range(1, 15):
            frame = 100 - moment if reverse else moment
            last = follow(policy, frame, moving(moment), BOX, None, reverse=reverse)
        states.append((policy.state()["motion"], last))
    assert states[0] == states[1]


@pytest.mark.parametrize("stride", [2, 3])
def test_a_stride_is_a_longer_time_step(stride):
    policy = make(stable_frames=3)
    for frame in range(stride, 24, stride):
        follow(policy, frame, moving(frame), stride=stride)
    motion = BoxMotion.restored(policy.state()["motion"])
    assert motion.velocity[0] == pytest.approx(2, abs=0.3)
    # The velocity is per frame, so a frame off the grid is no surprise either.
    ahead = policy.state()["place"][0] + 1
    assert follow(policy, ahead, moving(ahead), stride=stride)[1] > 0.9


@pytest.mark.parametrize("frame", [4, 3, 7, 1])
def test_the_motion_is_forgotten_where_the_run_does_not_go_on(frame):
    """The same frame again, a jump ahead, or a turn."""
    policy = make()
    for earlier in (1, 2, 3, 4):
        follow(policy, earlier)
    follow(policy, frame)
    assert stand(policy) == (1, True)


def test_a_turn_forgets_the_motion():
    policy = make()
    for earlier in (10, 11, 12):
        follow(policy, earlier)
    follow(policy, 11, reverse=True)
    assert stand(policy) == (1, True)


def test_a_persons_word_begins_anew():
    policy = make()
    for frame in (1, 2, 3):
        follow(policy, frame)
    policy.reset(record(3, Role.PROMPT))
    assert stand(policy) == (0, False)
    follow(policy, 4)
    assert stand(policy) == (1, True)


def test_a_prompted_frame_on_the_way_begins_anew():
    """Also at a stride, where the step over it is no longer than any other."""
    policy = make()
    follow(policy, 5, stride=5)
    follow(policy, 10, stride=5)
    memory = bank([0, 12], [])
    policy.role_changes(Step(12, False, COUNT, 5), memory)
    follow(policy, 15, stride=5)
    assert stand(policy) == (1, True)


def test_a_look_through_a_region_is_in_px_of_the_frame():
    policies = make(stable_frames=2), make(stable_frames=2)
    small = np.zeros((SIDE, SIDE), bool)
    small[16:48, 16:48] = True
    for frame in range(1, 5):
        follow(policies[0], frame, (20, 20, 36, 36))
        # The same box seen enlarged: cells 16 to 48 of a region of 32 px that begins at 12.
        near = Candidates(
            0, (0.9, 0.5, 0.4), 5.0, None, lambda j: small if j == 0 else mask(None), region=Region(12, 12, 44, 44)
        )
        policies[1].choose(Step(frame, False, COUNT), [near])
    assert policies[0].state() == policies[1].state()


def test_kill_and_resume_of_the_choice():
    rng = np.random.default_rng(1)
    whole, broken = make(stable_frames=4), make(stable_frames=4)
    for frame in range(1, 60):
        boxes = [moving(frame % 20), BOX, None]
        ious = tuple(rng.uniform(0.1, 1, 3))
        assert follow(whole, frame, *boxes, ious=ious) == follow(broken, frame, *boxes, ious=ious)
        resumed = make(stable_frames=4)
        resumed.restore(json.loads(json.dumps(broken.state())))
        assert resumed.state() == broken.state()
        broken = resumed


def test_masks_are_shown_above_a_presence_of_minus_one():
    assert make().mask_presence_threshold == -1
    assert make(presence=0).mask_presence_threshold == 0
    assert SAMURAIPolicy.mask_presence_threshold == 0


# -- memory ----------------------------------------------------------------------------------------------------------
def record(frame, role=Role.TRACK, iou=0.9, presence=5.0, overlap=None, memory="memory"):
    marks = {} if overlap is None else {MOTION_IOU: overlap}
    return FrameRecord(
        frame, role, memory=memory, pointer="pointer", logits="logits", iou=iou, object_score=presence, marks=marks
    )


def bank(conditioning, tracked, **records) -> ObjectMemory:
    """Good records on all ``tracked`` frames, but for those in ``records`` (by "f" and number)."""
    made = ObjectMemory()
    for frame in conditioning:
        made.add_conditioning(record(frame, Role.PROMPT, 1.0, 10.0))
    for frame in tracked:
        if frame not in made.conditioning:
            made.add_tracked(frame, [records.get(f"f{frame}", record(frame))])
    return made


def commit(policy, step, memory, item) -> None:
    policy.commit(step, memory, [item])


@pytest.mark.parametrize(
    ("values", "passes"),
    [
        ({}, True),
        ({"iou": 0.5}, False),
        ({"iou": 0.501}, True),
        ({"presence": 0.0}, False),
        ({"presence": 0.001}, True),
        ({"presence": -0.5}, False),
        ({"overlap": 0.0}, False),
        ({"overlap": 0.001}, True),
    ],
)
def test_three_thresholds(values, passes):
    assert make().remembers(record(5, **values)) == passes
    assert make(memory_iou=None, memory_presence=None, memory_motion=None).remembers(record(5, **values))


def test_thresholds_can_be_set():
    assert not make(memory_iou=0.9).remembers(record(5))
    assert not make(memory_presence=5.0).remembers(record(5))
    assert not make(memory_motion=0.5).remembers(record(5, overlap=0.5))
    assert make(memory_motion=0.5).remembers(record(5))


def test_slots_are_ranks_of_the_frames_that_pass():
    bad = {f"f{frame}": record(frame, iou=0.4) for frame in (3, 5, 6, 8, 12)}
    memory = bank([0], range(2, 20), **bad)
    expected = {CODE: [0], 0: [19], 1: [18], 2: [17], 3: [16], 4: [15], 5: [14]}
    assert by_code(make(), Step(20, False, COUNT), memory) == expected
    expected = {CODE: [0], 0: [11], 1: [10], 2: [9], 3: [7], 4: [4], 5: [2]}
    assert by_code(make(), Step(12, False, COUNT), memory) == expected


def test_the_last_frame_is_read_in_any_case():
    memory = bank([0], range(2, 20), f19=record(19, presence=-3.0))
    assert by_code(make(), Step(20, False, COUNT), memory) == {CODE: [0], 0: [19], **{k: [19 - k] for k in range(1, 6)}}


def test_one_frame_from_the_distant_past():
    bad = {f"f{frame}": record(frame, presence=-3.0) for frame in range(3, 90)}
    memory = bank([0], range(2, 90), **bad)
    assert by_code(make(), Step(90, False, COUNT), memory) == {CODE: [0], 0: [89], 1: [2]}


def test_nothing_that_passes():
    bad = {f"f{frame}": record(frame, iou=0.1) for frame in range(1, 9)}
    assert by_code(make(), Step(9, False, COUNT), bank([0], range(1, 9), **bad)) == {CODE: [0], 0: [8]}


@pytest.mark.parametrize("limits", [LIMITS, BUILTIN])
def test_one_and_two_frames(limits):
    policy, memory = make(limits), bank([0], [])
    assert by_code(policy, Step(0, False, 1), memory) == {limits.slots - 1: [0]}
    assert by_code(policy, Step(1, False, 2), memory) == {limits.slots - 1: [0]}
    assert [read.position for read in policy.select_memory(Step(1, False, 2), memory, 0).pointers] == (
        [1] if limits.pointers else []
    )


@pytest.mark.parametrize(("first", "eligible"), [(1, [1, 2, 3, 4]), (2, [2, 3, 4]), (4, [4])])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_frames_behind_a_prompt_are_left_out(first, eligible, reverse):
    """The published scan ends at frame 2: the prompted frame 0 and frame 1 are never taken from it."""
    policy, start = make(first_remembered=first), 50

    def at(moment):
        return start - moment if reverse else start + moment

    memory = bank([start], [])
    for moment in range(1, 6):
        step = Step(at(moment), reverse, COUNT)
        commit(policy, step, memory, record(at(moment)))
    assert [f for f in range(1, 5) if policy.remembers(memory.at(at(f)))] == eligible
    # Frame 1 is still the last frame for frame 2.
    assert by_code(policy, Step(at(2), reverse, COUNT), memory)[0] == [at(1)]


def test_a_mark_survives_a_checkpoint():
    policy, memory = make(), bank([0], [])
    commit(policy, Step(1, False, COUNT), memory, record(1))
    assert json.loads(json.dumps(memory.at(1).marks)) == {FRESH: 1.0}


def test_an_empty_slot_keeps_its_code():
    """After a correction the newest slot is spent on the corrected frame, which is read as a conditioning one."""
    memory = bank([0, 9], range(2, 9))
    assert by_code(make(), Step(10, False, COUNT), memory) == {CODE: [0, 9], **{k: [9 - k] for k in range(1, 6)}}
    # So it is where the frame before was never tracked.
    memory = bank([0], range(2, 9))
    assert by_code(make(), Step(10, False, COUNT), memory) == {CODE: [0], **{k: [9 - k] for k in range(1, 6)}}


def test_prompts_beyond_the_limit_are_ordinary_frames():
    policy = make(MemoryLimits(7, 16, max_conditioning=1))
    memory = bank([0, 4, 9], range(2, 12), f7=record(7, iou=0.2))
    assert by_code(policy, Step(12, False, COUNT), memory) == {
        CODE: [9],
        0: [11],
        1: [10],
        2: [8],
        3: [6],
        4: [5],
        5: [4],
    }


def test_pointers_are_those_of_sam2():
    bad = {f"f{frame}": record(frame, presence=-3.0) for frame in range(5, 20, 2)}
    memory = bank([0], range(1, 30), **bad)
    step = Step(30, False, COUNT)
    reads = [
        make().select_memory(step, memory, 0).pointers,
        SAM2()(LIMITS, ReferenceRules()).select_memory(step, memory, 0).pointers,
    ]
    assert [(r.record.frame, r.position) for r in reads[0]] == [(r.record.frame, r.position) for r in reads[1]]
    assert len(reads[0]) == 16


@settings(deadline=None, max_examples=40)
@given(
    frame=st.integers(1, 60), limits=st.sampled_from([LIMITS, BUILTIN]), stride=st.integers(1, 3), reverse=st.booleans()
)
def test_without_weights_and_thresholds_it_is_sam2(frame, limits, stride, reverse):
    start = 100
    at = (lambda moment: start - moment * stride) if reverse else (lambda moment: start + moment * stride)
    memory = bank([start], map(at, range(1, frame)))
    for moment in range(1, frame):
        memory.at(at(moment)).iou, memory.at(at(moment)).object_score = 0.1, -2.0
    step = Step(at(frame), reverse, COUNT, stride)
    ours = PLAIN(limits, ReferenceRules()).select_memory(step, memory, 0)
    theirs = SAM2()(limits, ReferenceRules()).select_memory(step, memory, 0)
    assert {(r.record.frame, r.slot_code) for r in ours.spatial} == {
        (r.record.frame, r.slot_code) for r in theirs.spatial
    }
    assert ours.pointers == theirs.pointers


# -- forgetting ------------------------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=80)
@given(
    prompts=st.lists(st.integers(0, 120), min_size=1, max_size=3, unique=True),
    length=st.integers(2, 130),
    stride=st.sampled_from([1, 1, 3]),
    limits=st.sampled_from([LIMITS, BUILTIN, MemoryLimits(7, 4, 1)]),
    share=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    turn=st.integers(0, 2),
    seed=st.integers(0, 99),
)
def test_eviction_takes_nothing_that_is_read_again(prompts, length, stride, limits, share, turn, seed):
    """Two banks follow the same frames, one of them evicting: they read the same onward and after turning at a prompt."""
    rng = np.random.default_rng(seed)
    policy = make(limits)
    kept, lean = bank(prompts, []), bank(prompts, [])

    def visit(frame, reverse):
        step = Step(frame, reverse, COUNT, stride)
        assert reads(policy, step, lean) == reads(policy, step, kept), (frame, reverse)
        iou = 0.9 if rng.random() < share else 0.2
        for memory in (kept, lean):
            if frame not in memory.conditioning:
                commit(policy, step, memory, record(frame, iou=iou))
        policy.evict(step, lean)

    first = min(prompts)
    for frame in sorted(set(range(first, first + length, stride)) | {f for f in prompts if f < first + length}):
        visit(frame, False)
    back = prompts[turn % len(prompts)]
    for frame in range(back - stride, max(back - 40 * stride, -1), -stride):
        # Where frames of the run before are passed over, those that it let go are missed.
        if any(frame <= old < frame + stride for old in (*kept.tracked, *kept.conditioning)):
            break
        visit(frame, True)


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
def test_a_stream_does_not_grow(share):
    rng = np.random.default_rng(2)
    policy, memory = make(), bank([0], [])
    sizes, spatial = [], []
    for frame in range(1, 700):
        step = Step(frame, False, None)
        commit(policy, step, memory, record(frame, iou=0.9 if rng.random() < share else 0.2))
        policy.evict(step, memory)
        sizes.append(len(memory))
        spatial.append(sum(item.memory is not None for item in memory))
    # Six that pass, the two last steps, the prompt; pointers of 16 frames.
    assert max(spatial) <= 1 + 6 + 2
    assert max(sizes) <= 1 + 6 + 17
    assert sum(item.logits is not None for item in memory) <= 1 + 8


def test_a_stream_keeps_prompts_up_to_the_limit():
    memory = bank([0, 10, 20, 30], range(31, 40))
    make(BUILTIN).evict(Step(39, False, None), memory)
    assert list(memory.conditioning) == [20, 30]
    make(BUILTIN).evict(Step(39, False, COUNT), memory)
    assert list(memory.conditioning) == [20, 30]


# -- options ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"motion_weight": 1.5}, r"samurai: motion_weight must be in \[0, 1\], got 1.5"),
        ({"stable_frames": 0}, "samurai: stable_frames must be 1 or more, got 0"),
        ({"stable_iou": -0.1}, "samurai: stable_iou must be in"),
        ({"coast_frames": -1}, "samurai: coast_frames must be 0 or more"),
        ({"memory_iou": 2}, "samurai: memory_iou must be none or in"),
        ({"first_remembered": 0}, "samurai: first_remembered must be 1 or more"),
    ],
)
def test_refused_with_the_range(values, says):
    with pytest.raises(InputError, match=says):
        SAMURAI(**values)


def test_the_published_defaults():
    options = SAMURAI()
    assert (options.motion_weight, options.stable_frames, options.stable_iou, options.presence) == (0.15, 15, 0.3, -1)
    assert (options.memory_iou, options.memory_presence, options.memory_motion) == (0.5, 0, 0)
