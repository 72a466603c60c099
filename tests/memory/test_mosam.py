"""MoSAM without weights: prompts and their gates, frames and positions by confidence, what may be forgotten."""

from __future__ import annotations

import json

import numpy as np
import pytest
from films import FRAME, HEIGHT, Film, rectangle
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import forward, pointers, slots

from keepsight.core import InputError, box_iou
from keepsight.memory import Candidates, FrameRecord, MemoryLimits, ObjectMemory, ReferenceRules, Role, SAM2Policy, Step
from keepsight.memory.mosam import MoSAM, MoSAMPolicy, confident_tokens

LIMITS = MemoryLimits(slots=7, pointers=16)
BUILTIN = MemoryLimits(slots=4, pointers=0, max_conditioning=2)
CODE = 6


def offered(mask, iou=0.9, score=5.0, region=FRAME, logits=None, others=()):
    masks = [mask, *others]
    seen = masks if score > 0 else [np.zeros_like(mask) for mask in masks]
    ious = (iou, *(iou / 2 for _ in others))
    return Candidates(0, ious, score, None, lambda j: seen[j], region, None if logits is None else lambda j: logits)


def record(frame, iou=0.9, score=5.0, role=Role.TRACK) -> FrameRecord:
    return FrameRecord(frame, role, memory="memory", pointer="pointer", logits="logits", iou=iou, object_score=score)


def bank(ious, conditioning=(0,)) -> ObjectMemory:
    """``ious`` by frame; a negative one is an absent object."""
    made = ObjectMemory()
    for frame in conditioning:
        made.add_conditioning(record(frame, 1.0, 10.0, Role.PROMPT))
    for frame, iou in dict(ious).items():
        if frame not in made.conditioning:
            made.add_tracked(frame, [record(frame, abs(iou), 5.0 if iou > 0 else -5.0)])
    return made


def made(limits=LIMITS, **options) -> MoSAMPolicy:
    """With all parts at work unless they are switched off."""
    parts = {"guidance": "both", "frame_selection": True, "pixel_confidence": 0.8}
    return MoSAMPolicy(limits, settings=MoSAM(**parts | options))


def proposed(
    policy, boxes, film, *, reverse=False, start=1, ious=(), scores=(), conditioning=(), stride=1, region=FRAME
):
    """What is proposed for the frame after those on which the object had these boxes."""
    step = Step(start, reverse, 100, stride)
    for index, box in enumerate(boxes):
        iou = ious[index] if ious else 0.9
        score = scores[index] if scores else 5.0
        policy.choose(step, [offered(rectangle(box, region), iou, score, region)])
        step = Step(step.back(-1), reverse, 100, stride)
    return policy.propose_prompts(step, bank({}, conditioning), 0, film)


# -- prompts -------------------------------------------------------------------------------------------------------------
STEADY = [(40, 30, 80, 60), (50, 34, 90, 64)]
NEXT = (60, 38, 100, 68)


def test_sparse_and_dense_prompts():
    said = proposed(made(), STEADY, Film((10, 4)))
    assert box_iou(said.box, NEXT) > 0.8
    assert len(said.points) == 5
    assert np.mean(said.points, 0) == pytest.approx((80, 53), abs=1)
    assert said.labels == (1,) * 5
    # A proposal asks for all candidates, and its frame stays a tracked one.
    assert (said.force_multimask, said.as_prompted) == (True, False)


def test_the_parts_of_guidance():
    sparse = proposed(made(guidance="sparse"), STEADY, Film((10, 4)))
    assert (sparse.box, len(sparse.points)) == (None, 5)
    dense = proposed(made(guidance="dense"), STEADY, Film((10, 4)))
    assert dense.points == dense.labels == ()
    assert box_iou(dense.box, NEXT) > 0.8
    assert proposed(made(guidance="none"), STEADY, Film((10, 4))) is None
    asks = {guidance: made(guidance=guidance).needs_motion for guidance in ("both", "sparse", "dense", "none")}
    assert asks == {"both": True, "sparse": False, "dense": True, "none": False}


def test_without_flow_the_points_are_left():
    said = proposed(made(), STEADY, Film())
    assert (said.box, len(said.points)) == (None, 5)
    assert proposed(made(guidance="dense"), STEADY, Film()) is None
    assert proposed(made(), STEADY, None) is None


def test_the_box_has_its_margin_and_stays_inside_the_frame():
    tight = proposed(made(guidance="dense", box_margin=0), STEADY, Film((10, 4))).box
    wide = proposed(made(guidance="dense", box_margin=0.5), STEADY, Film((10, 4))).box
    assert wide[0] == pytest.approx(tight[0] - (tight[2] - tight[0]) / 2)
    assert wide[3] == pytest.approx(min(tight[3] + (tight[3] - tight[1]) / 2, HEIGHT))
    corner = proposed(made(guidance="dense"), [(0, 0, 30, 20)] * 2, Film((0, 0))).box
    assert corner[:2] == (0, 0)


def test_points_outside_the_box_are_dropped():
    """The object turns: flow says left, the straight line says right."""
    said = proposed(made(), STEADY, Film((-40, 0)))
    assert said.points == ()
    assert said.box[2] < 60


def test_an_object_that_is_leaving_gets_no_prompts():
    # The line ends outside of the frame: none at all.
    leaving = [(100, 30, 120, 60), (130, 30, 150, 60)]
    assert proposed(made(guidance="sparse"), leaving, Film()) is None
    assert proposed(made(), leaving, Film((0, 0))) is None
    # Most of the mask is carried over the edge: none.
    assert proposed(made(guidance="dense"), [(110, 30, 150, 60)] * 2, Film((35, 0))) is None
    # Less than half of it: what is left of it.
    rest = proposed(made(guidance="dense"), [(110, 30, 150, 60)] * 2, Film((20, 0))).box
    assert rest == pytest.approx((129, 28.5, 160, 61.5), abs=2.6)


def test_a_point_that_was_not_on_the_mask_is_no_click():
    ring = rectangle((40, 30, 90, 80)) & ~rectangle((45, 35, 85, 75))
    policy = made(guidance="sparse")
    for frame in (1, 2):
        policy.choose(forward(frame), [offered(ring)])
    assert policy.propose_prompts(forward(3), bank({}), 0, Film()) is None
    half = rectangle((40, 30, 90, 80)) & ~rectangle((45, 35, 85, 55))
    for frame in (3, 4):
        policy.choose(forward(frame), [offered(half)])
    assert 0 < len(policy.propose_prompts(forward(5), bank({}), 0, Film()).points) < 5


def test_gates():
    film = Film((10, 4))
    assert proposed(made(), STEADY[:1], film) is None
    assert proposed(made(), STEADY, film, ious=(0.9, 0.7)) is None, "equal to the threshold"
    assert proposed(made(), STEADY, film, ious=(0.9, 0.71)) is not None
    assert proposed(made(), STEADY, film, ious=(0.1, 0.9)) is not None
    assert proposed(made(min_iou=0.95), STEADY, film) is None
    # An absent object has no mask, so nothing is made up from it; equal to the threshold is absent.
    for gone in (-3.0, 0.0):
        assert proposed(made(), STEADY, film, scores=(5.0, gone)) is None
        assert proposed(made(), STEADY, film, scores=(gone, 5.0)) is None
    assert proposed(made(), [STEADY[0], (0, 0, 0, 0)], film) is None
    # Flow that tears the mask, or blows it up.
    expanding = np.stack(np.meshgrid(-np.arange(40) * 0.6 + 10, -np.arange(30) * 0.6 + 7), -1).astype(np.float32)
    assert proposed(made(), STEADY, Film(flow=expanding)) is None
    assert proposed(made(max_area_change=20), STEADY, Film(flow=expanding)) is not None


def test_back_again_after_an_absence():
    policy = made()
    film = Film((10, 4))
    boxes = [STEADY[0], STEADY[1], (0, 0, 0, 0), STEADY[0], STEADY[1]]
    heard = [proposed(policy, [box], film, start=frame) for frame, box in enumerate(boxes, start=1)]
    assert [said is not None for said in heard] == [False, True, False, False, True]


def test_after_a_prompt_motion_begins_one_step_later():
    """Of a prompted frame the policy sees no mask: no prompts on the next one, flow from the second, points from the third."""
    policy, film = made(), Film((10, 4))
    memory = bank({}, conditioning=(0,))
    policy.reset(memory.conditioning[0])
    assert policy.propose_prompts(forward(1), memory, 0, film) is None
    policy.choose(forward(1), [offered(rectangle(STEADY[0]))])
    second = policy.propose_prompts(forward(2), memory, 0, film)
    assert second.points == ()
    assert second.box is not None
    # A prompt that says the object is not there is no sighting.
    memory.conditioning[0].object_score = -10
    assert policy.propose_prompts(forward(2), memory, 0, film) is None
    policy.choose(forward(2), [offered(rectangle(STEADY[1]))])
    assert len(policy.propose_prompts(forward(3), memory, 0, film).points) == 5
    # A correction of the last frame: what was seen there is not true any more.
    policy.reset(record(2, role=Role.PROMPT))
    assert policy.propose_prompts(forward(3), memory, 0, film) is None


@pytest.mark.parametrize(("reverse", "stride"), [(True, 1), (False, 4), (True, 3)])
def test_backward_and_with_a_stride(reverse, stride):
    said = proposed(made(), STEADY, Film((10, 4)), reverse=reverse, start=40, stride=stride)
    assert said == proposed(made(), STEADY, Film((10, 4)))


def test_after_a_turn_or_a_jump_nothing_is_known():
    policy = made()
    for frame, box in enumerate(STEADY, start=5):
        policy.choose(forward(frame), [offered(rectangle(box))])
    memory = bank({})
    assert policy.propose_prompts(forward(7), memory, 0, Film((0, 0))) is not None
    assert policy.propose_prompts(forward(9), memory, 0, Film((0, 0))) is None
    assert policy.propose_prompts(Step(3, True, 100), memory, 0, Film((0, 0))) is None
    # Turning where it was just seen, what was seen is true in this direction too.
    turned = policy.propose_prompts(Step(4, True, 100), memory, 0, Film((-10, -4)))
    assert box_iou(turned.box, (30, 26, 70, 56)) > 0.8
    assert np.mean(turned.points, 0) == pytest.approx((50, 41), abs=1)
    assert policy.propose_prompts(forward(8, stride=2), memory, 0, Film((0, 0))) is None


def test_the_chosen_candidate_is_what_was_seen():
    policy = made()
    for frame, box in enumerate(STEADY, start=1):
        wrong = rectangle((0, 80, 30, 110))
        first = policy.choose(forward(frame), [offered(rectangle(box), others=(wrong,))])
        assert (first[0].candidate, first[0].score) == (0, 0.9)
    assert policy.propose_prompts(forward(3), bank({}), 0, Film((10, 4))) == proposed(made(), STEADY, Film((10, 4)))


# -- frames --------------------------------------------------------------------------------------------------------------
def test_the_surest_frames_fill_the_slots_in_order_of_time():
    policy = made()
    ious = {1: 0.9, 2: 0.5, 3: 0.8, 4: 0.95, 5: 0.4, 6: 0.7, 7: -0.99, 8: 0.6, 9: 0.3}
    # Seven candidates for six slots; the frame before is the least sure, and takes the place of frame 5.
    assert slots(policy, forward(10), bank(ious)) == [(CODE, 0), (5, 1), (4, 3), (3, 4), (2, 6), (1, 8), (0, 9)]
    free = made(keep_previous=False)
    assert slots(free, forward(10), bank(ious)) == [(CODE, 0), (5, 1), (4, 2), (3, 3), (2, 4), (1, 6), (0, 8)]
    few = made(keep_frames=2)
    assert slots(few, forward(10), bank(ious)) == [(CODE, 0), (1, 4), (0, 9)]
    assert slots(made(keep_frames=1), forward(10), bank(ious)) == [(CODE, 0), (0, 9)]
    assert slots(made(keep_frames=50), forward(10), bank(ious)) == slots(policy, forward(10), bank(ious))
    # Pointers are SAM 2's: distances in time, absent frames too.
    assert pointers(policy, forward(10), bank(ious)) == [(10, 0), *((d, 10 - d) for d in range(1, 10))]


def test_a_model_that_reads_few_frames_reads_the_latest_unless_told_otherwise():
    ious = {1: 0.9, 2: 0.8, 3: 0.7, 4: 0.3, 5: -0.9, 6: 0.4}
    for limits, frames in ((LIMITS, [1, 2, 3, 4, 6]), (BUILTIN, [4, 5, 6])):
        policy = MoSAMPolicy(limits, settings=MoSAM())
        assert [frame for _, frame in slots(policy, forward(7), bank(ious))][1:] == frames
        assert policy.pixel_confidence == (0.8 if limits is LIMITS else 0.5)
    told = MoSAMPolicy(BUILTIN, settings=MoSAM(frame_selection=True, pixel_confidence=0.7))
    assert [frame for _, frame in slots(told, forward(7), bank(ious))][1:] == [1, 2, 6]
    assert told.pixel_confidence == 0.7


def test_newer_frames_win_ties():
    policy = made(keep_frames=2, keep_previous=False)
    assert slots(policy, forward(6), bank(dict.fromkeys(range(1, 6), 0.8))) == [(CODE, 0), (1, 4), (0, 5)]


def test_candidates_lie_on_their_grid_and_in_their_window():
    policy = made(candidate_stride=3, candidate_frames=3, keep_previous=False)
    memory = bank(dict.fromkeys(range(1, 20), 0.9))
    assert slots(policy, forward(20), memory) == [(CODE, 0), (2, 11), (1, 14), (0, 17)]
    kept = made(candidate_stride=3, candidate_frames=3)
    assert slots(kept, forward(20), memory) == [(CODE, 0), (3, 11), (2, 14), (1, 17), (0, 19)]
    mirrored = bank(dict.fromkeys(range(1, 20), 0.9), conditioning=(20,))
    assert slots(policy, Step(0, True, 30), mirrored) == [(CODE, 20), (2, 9), (1, 6), (0, 3)]


def test_nothing_of_an_absent_object_but_the_frame_before():
    memory = bank(dict.fromkeys(range(1, 30), -0.9))
    assert slots(made(), forward(30), memory) == [(CODE, 0), (0, 29)]
    assert slots(made(keep_previous=False), forward(30), memory) == [(CODE, 0)]


def test_short_videos_and_prompts_in_between():
    for limits in (LIMITS, BUILTIN):
        code = limits.slots - 1
        policy = made(limits)
        assert slots(policy, Step(0, False, 1), bank({}, ())) == []
        assert slots(policy, Step(1, False, 2), bank({})) == [(code, 0)]
        assert slots(policy, Step(0, True, 2), bank({}, (1,))) == [(code, 1)]
    # A prompted frame beyond the limit is memory like any other, and sure.
    memory = bank({1: 0.5, 2: 0.6, 4: 0.7, 6: 0.8}, conditioning=(0, 3, 5, 40))
    assert slots(made(BUILTIN), forward(7), memory) == [(3, 5), (3, 40), (2, 0), (1, 3), (0, 6)]


# -- positions -----------------------------------------------------------------------------------------------------------
def test_unsure_positions():
    logits = np.full((8, 8), 20.0, np.float32)
    logits[:4] = -20
    assert confident_tokens(logits, 0.9) is None
    logits[:4, 4:] = 0.1
    assert confident_tokens(logits, 0.9).tolist() == [[True, False], [True, True]]
    # Equal to the threshold is read, and something always is.
    level = np.zeros((8, 8), np.float32)
    assert confident_tokens(level, 0.5) is None
    assert confident_tokens(level, 0.6).tolist() == [[True, False], [False, False]]
    level[4:, 4:] = 0.2
    assert confident_tokens(level, 0.99).tolist() == [[False, False], [False, True]]
    assert confident_tokens(np.full((8, 8), -1024, np.float32), 1.0) is None
    assert confident_tokens(np.zeros((10, 10), np.float32), 0.9) is None


def test_positions_are_hidden_on_tracked_frames_only():
    policy = made()
    mask = rectangle(STEADY[0])
    logits = np.where(mask, 8, -8).astype(np.float32)
    logits[:32] *= 0.05
    memory = bank({1: 0.9, 2: 0.9, 3: -0.9})
    policy.choose(forward(1), [offered(mask, logits=logits)])
    policy.choose(forward(2), [offered(mask, logits=np.where(mask, 9, -9).astype(np.float32))])
    policy.choose(forward(3), [offered(mask, score=-5.0, logits=np.zeros_like(logits))])

    def hidden():
        selection = policy.modulate(forward(4), policy.select_memory(forward(4), memory, 0))
        return {read.record.frame: read.token_keep for read in selection.spatial}

    reads = hidden()
    assert list(reads) == [0, 1, 2, 3]
    assert reads[1].shape == (16, 16)
    assert not reads[1][:8].any()
    assert reads[1][8:].all()
    assert reads[0] is reads[2] is reads[3] is None
    # Seen again without doubt, or corrected: read whole.
    again = made()
    again.restore(json.loads(json.dumps(policy.state())))
    policy.choose(forward(1), [offered(mask, logits=logits * 100)])
    assert hidden()[1] is None
    again.reset(record(1, role=Role.PROMPT))
    assert again.state()["tokens"] == []
    off = made(pixel_confidence=0.5)
    off.choose(forward(1), [offered(mask, logits=logits)])
    assert off.state()["tokens"] == []


# -- state ---------------------------------------------------------------------------------------------------------------
def test_state_goes_through_json():
    policy, film = made(), Film((10, 4))
    for frame, box in enumerate(STEADY, start=1):
        logits = np.where(rectangle(box), 0.5, -9).astype(np.float32)
        policy.choose(forward(frame), [offered(rectangle(box), logits=logits)])
    text = json.dumps(policy.state())
    assert len(text) < 2500
    other = made()
    other.restore(json.loads(text))
    assert other.state() == policy.state()
    memory = bank({1: 0.9, 2: 0.9})
    assert other.propose_prompts(forward(3), memory, 0, film) == policy.propose_prompts(forward(3), memory, 0, film)
    read = [
        one.modulate(forward(3), one.select_memory(forward(3), memory, 0)).spatial[-1].token_keep
        for one in (policy, other)
    ]
    assert read[0] is not None
    assert (read[0] == read[1]).all()


# -- forgetting ----------------------------------------------------------------------------------------------------------
def walk(policy, ious, *, forget=True, count=None, stride=1, reverse=False, memory=None):
    """Follows one object; what was read at each step, the most records with spatial memory, and the bank."""
    memory = memory or bank({}, (ious[0][0],))
    read, most = {}, 0
    for frame, iou in ious:
        step = Step(frame, reverse, count, stride)
        if frame not in memory.conditioning:
            read[frame] = slots(policy, step, memory), pointers(policy, step, memory)
            present = iou > 0
            policy.choose(step, [offered(rectangle((10, 10, 50, 50)), abs(iou), 5.0 if present else -5.0)])
            memory.add_tracked(frame, [record(frame, abs(iou), 5.0 if present else -5.0)])
        if forget:
            policy.evict(step, memory)
            assert memory.at(frame).logits is not None
        most = max(most, sum(one.memory is not None for one in memory))
    return read, most, memory


IOUS = st.lists(st.sampled_from([-0.9, 0.2, 0.5, 0.50001, 0.9]), min_size=2, max_size=50)


@given(
    IOUS,
    st.booleans(),
    st.sampled_from([1, 2, 3]),
    st.integers(1, 12),
    st.booleans(),
    st.sampled_from([LIMITS, BUILTIN]),
)
@settings(max_examples=80, deadline=None)
def test_forgetting_changes_nothing(ious, stream, spacing, candidates, keep_previous, limits):
    options = {"candidate_stride": spacing, "candidate_frames": candidates, "keep_previous": keep_previous}
    count = None if stream else len(ious)
    frames = list(enumerate(ious))
    kept = walk(made(limits, **options), frames, count=count)[0]
    assert kept == walk(made(limits, **options), frames, count=count, forget=False)[0]


@given(IOUS, st.integers(0, 49), st.sampled_from([1, 3]))
@settings(max_examples=40, deadline=None)
def test_forgetting_leaves_a_way_back_at_every_prompt(ious, prompt, spacing):
    prompt, count = min(prompt, len(ious) - 1), len(ious)
    results = []
    for forget in (True, False):
        policy = made(candidate_stride=spacing, keep_previous=False)
        ahead = [(frame, ious[frame]) for frame in range(prompt, count)]
        memory = walk(policy, ahead, count=count, forget=forget)[2]
        back = [(frame, ious[frame]) for frame in range(prompt - 1, -1, -1)]
        results.append(walk(policy, back, count=count, forget=forget, reverse=True, memory=memory)[0] if back else {})
    assert results[0] == results[1]


def test_with_prompts_between_the_steps_of_a_run():
    """Stride 4, and frame 10 visited besides: nothing that the steps on the grid read is lost there."""
    frames = [(0, 0.9), (4, 0.9), (8, -0.9), (10, 0.9), (12, 0.8), (16, 0.9), (18, 0.9), (20, 0.9), (24, 0.9)]
    runs = [walk(made(), frames, count=30, stride=4, forget=forget)[0] for forget in (True, False)]
    assert runs[0] == runs[1]
    assert (0, 8) in runs[0][12][0]


@pytest.mark.parametrize("iou", [0.9, -0.9])
def test_a_stream_needs_the_same_memory_for_ever(iou):
    policy = made()
    logits = np.full((64, 64), 0.1, np.float32)
    memory = bank({}, (0,))
    for frame in range(1, 300):
        step = Step(frame, False, None)
        policy.choose(step, [offered(rectangle((10, 10, 50, 50)), abs(iou), 5.0 if iou > 0 else -5.0, logits=logits)])
        memory.add_tracked(frame, [record(frame, abs(iou), 5.0 if iou > 0 else -5.0)])
        policy.evict(step, memory)
    assert len(memory) <= 18
    assert sum(one.memory is not None for one in memory) == (7 if iou > 0 else 2)
    state = policy.state()
    assert (len(state["sightings"]), len(state["tokens"])) == ((2, 6) if iou > 0 else (0, 0))


# -- settings ------------------------------------------------------------------------------------------------------------
def test_all_switched_off_is_sam2():
    off = made(guidance="none", frame_selection=False, pixel_confidence=0.5)
    plain = SAM2Policy(LIMITS)
    ious = {frame: (-1) ** (frame // 4) * (0.3 + frame / 50) for frame in range(30)}
    for frame in range(1, 30):
        for step in (forward(frame, 30), Step(29 - frame, True, 30), Step(frame, False, None)):
            memory = bank(ious, conditioning=(0, 12, 29))
            assert off.modulate(step, off.select_memory(step, memory, 0)) == plain.select_memory(step, memory, 0)
            assert off.propose_prompts(step, memory, 0, Film((1, 1))) is None
            other = bank(ious, conditioning=(0, 12, 29))
            off.evict(step, memory)
            plain.evict(step, other)
            assert [(one.frame, one.memory) for one in memory] == [(one.frame, one.memory) for one in other]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"guidance": "loud"}, "both, sparse, dense or none"),
        ({"min_iou": 1.2}, r"in \[0, 1\]"),
        ({"box_margin": -0.1}, r"in \[0, 1\]"),
        ({"max_area_change": 0.5}, "1 or more"),
        ({"candidate_frames": 0}, r"in \[1, 1000\]"),
        ({"candidate_stride": 0}, r"in \[1, 100\]"),
        ({"keep_frames": 0}, "none or 1 or more"),
        ({"pixel_confidence": 0.4}, r"none or in \[0.5, 1\]"),
        ({"frame_selection": 1}, "none or true or false"),
    ],
)
def test_refused_values_name_the_range(values, says):
    with pytest.raises(InputError, match=f"mosam: {next(iter(values))} must be {says}"):
        MoSAM(**values)


def test_settings_make_policies():
    policy = MoSAM(guidance="sparse")(BUILTIN, ReferenceRules())
    assert type(policy) is MoSAMPolicy
    assert (policy.max_conditioning, policy.keep_frames, policy.needs_motion) == (2, 3, False)
    assert MoSAM(max_conditioning=-1)(BUILTIN, ReferenceRules()).max_conditioning == -1
