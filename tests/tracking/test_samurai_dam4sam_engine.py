"""SAMURAI and DAM4SAM run by the engine on tiny random weights, and on the built-in model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import keepsight
import tiny_models
from keepsight.core import Source
from keepsight.memory import DAM4SAM, SAMURAI, Role
from keepsight.memory.dam4sam import EPOCH
from keepsight.memory.samurai import MOTION_IOU
from keepsight.tracking import Compatibility, EngineOptions, Tracker
from keepsight.video import ArrayVideo
from reference import PixelBackbone, Run, Said, disc, equal, follow, indexed_video, say

SIZE, FRAMES = 64, 16  # the last frame is a multiple of 5, so that DAM4SAM's grid mirrors onto itself
# Random weights rate their masks at random: thresholds with which every rule has its say on a short clip.
LIVELY = {
    "samurai": SAMURAI(stable_frames=2, motion_weight=0.5, stable_iou=0, memory_iou=0.45, memory_motion=0.97),
    "dam4sam": DAM4SAM(stride=3, anchor_iou=0, anchor_area=1, anchor_agreement=1, anchor_spacing=2, max_conditioning=3),
}
SCRIPT = [Said(1, 2, mask=disc(SIZE, 24, 30, 11)), Said(2, 5, points=[(44, 20)]), Said(7, 9, box=(30, 30, 60, 60))]


class Recording(PixelBackbone):
    """Remembers how each memory was written."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.binarized: list[bool] = []
        self.presences: list[float] = []

    def encode_memory(self, features, mask_logits, object_scores, binarize, *rest):
        self.binarized += [binarize] * len(mask_logits)
        self.presences += object_scores.tolist()
        return super().encode_memory(features, mask_logits, object_scores, binarize, *rest)


@pytest.fixture(scope="module", params=["sam2", "edgetam"])
def any_model(request):
    return getattr(tiny_models, request.param)(SIZE)


@pytest.fixture(scope="module")
def model():
    return tiny_models.sam2(SIZE)


@pytest.fixture(scope="module")
def clip():
    return tiny_models.video(FRAMES, SIZE)


@pytest.fixture(params=sorted(LIVELY))
def policy(request):
    return LIVELY[request.param]


def open_session(model, clip, policy, **changes):
    options = EngineOptions(units_per_decode=1, **changes)
    return Tracker(Recording(model, clip), policy, options).open(indexed_video(len(clip), SIZE))


def told(model, clip, policy, script=SCRIPT, **changes):
    session = open_session(model, clip, policy, **changes)
    for said in script:
        say(session, said)
    return session


def banks(session):
    return {object_id: track.bank for object_id, track in session._set.tracks.items()}


def anchors(bank) -> list[int]:
    return sorted(frame for frame, record in bank.conditioning.items() if record.role is Role.ANCHOR)


# -- the rules have their say ----------------------------------------------------------------------------------------
def test_every_rule_is_at_work(model, clip):
    """Else the comparisons below would compare nothing."""
    plain = follow(told(model, clip, "sam2"))
    session = told(model, clip, LIVELY["samurai"], keep_all_memory=True)
    assert not equal(follow(session), plain)
    tracks = session._set.tracks.values()
    records = [(track.policy, record) for track in tracks for record in track.bank if record.role is Role.TRACK]
    assert sum(MOTION_IOU in record.marks for _, record in records) > 10
    assert {policy.remembers(record) for policy, record in records} == {True, False}

    session = told(model, clip, LIVELY["dam4sam"])
    assert not equal(follow(session), plain)
    assert all(len(anchors(bank)) >= 2 for bank in banks(session).values())


@pytest.mark.parametrize(
    "plain",
    [
        SAMURAI(
            motion_weight=0, memory_iou=None, memory_presence=None, memory_motion=None, first_remembered=1, presence=0
        ),
        DAM4SAM(stride=1, anchor_iou=1),
    ],
    ids=lambda settings: settings.name,
)
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_without_its_own_rules_it_is_sam2(any_model, clip, plain, direction):
    script = [replace(SCRIPT[0], frame=0 if direction == "forward" else FRAMES - 1)]
    ours, theirs = (told(any_model, clip, policy, script) for policy in (plain, "sam2"))
    assert equal(follow(ours, direction=direction), follow(theirs, direction=direction))
    assert len(ours.last_logits) == 1


# -- killed, mirrored, together, corrected ---------------------------------------------------------------------------
def test_kill_and_resume(model, clip, policy):
    """Broken off before other objects' prompts, in the middle, and behind the turn (14 results)."""
    expected = follow(told(model, clip, policy), direction="both")
    broken, run = told(model, clip, policy), Run()
    for stop_after in (1, 8, 15, None):
        run = follow(broken, run, upto=stop_after, direction="both", resume=broken.visited > 0)
        state = broken.save_state()
        broken = open_session(model, clip, policy)
        broken.load_state(state)
        assert broken.save_state() == state
    assert equal(run, expected)


def test_backwards_is_forwards_on_the_reversed_clip(model, clip, policy):
    script = [replace(SCRIPT[0], frame=0)]
    forward = follow(told(model, clip, policy, script))
    mirrored = [replace(said, frame=FRAMES - 1 - said.frame) for said in script]
    backward = follow(told(model, clip.flip(0), policy, mirrored), direction="backward")
    assert equal(forward, backward)


def test_several_objects_are_each_alone(model, clip, policy):
    together = follow(told(model, clip, policy))
    for said in SCRIPT:
        alone = follow(told(model, clip, policy, [said]), start=2)
        assert alone.logits
        assert all(torch.equal(together.logits[key], logits) for key, logits in alone.logits.items())


def test_what_is_let_go_was_not_needed(model, clip, policy):
    lean = follow(told(model, clip, policy), direction="both")
    assert equal(lean, follow(told(model, clip, policy, keep_all_memory=True), direction="both"))


def test_the_same_run_again_is_the_same(model, clip, policy):
    session = told(model, clip, policy)
    first = follow(session)
    assert equal(first, follow(session))


@pytest.mark.parametrize("frame", [8, 15])
def test_a_correction_in_the_middle(model, clip, policy, frame):
    session = told(model, clip, policy, SCRIPT[:2])
    first = follow(session)
    before = anchors(banks(session)[1])
    session.add(object_id=1, frame=frame, points=[(20, 40)])
    state = session._set.tracks[1].policy.state()
    if policy.name == "samurai":
        assert state["motion"] is None
    else:
        assert (state["areas"], state["epoch"]) == ([], 2)
    again = follow(session)
    assert again.logits.keys() == first.logits.keys()
    bank = banks(session)[1]
    assert [f for f, record in bank.conditioning.items() if record.role is Role.PROMPT] == [2, frame]
    # The corrected frame shows the correction, and what comes behind it differs.
    moment = frame - 1
    assert not torch.equal(first.logits[moment, 1], again.logits[moment, 1])
    assert all(
        not torch.equal(first.logits[key], again.logits[key]) for key in first.logits if key[0] > moment and key[1] == 1
    )
    # The other object is as it was.
    assert all(torch.equal(first.logits[key], again.logits[key]) for key in first.logits if key[1] == 2)
    if policy.name == "dam4sam":
        assert before
        assert {record.marks[EPOCH] for record in bank.conditioning.values() if record.role is Role.ANCHOR} <= {2.0}


def test_a_stream_is_a_file(model, clip, policy):
    """With the stream's pointer budget, and prompts said in time."""
    options = EngineOptions(units_per_decode=1, compatibility=Compatibility(stream_pointer_budget=True))
    session = Tracker(Recording(model, clip), policy, options).open(indexed_video(FRAMES, SIZE))
    for said in SCRIPT[:2]:
        say(session, said)
    expected = {result.frame: result for result in session.propagate()}
    stream = Tracker(Recording(model, clip), policy, options)
    for frame in indexed_video(FRAMES, SIZE).frames(0, FRAMES, 1):
        for said in SCRIPT[:2]:
            if said.frame == frame.index:
                mask = {} if said.mask is None else {"mask": said.mask}
                stream.add(object_id=said.object_id, points=said.points, **mask)
        result = stream.step(frame.rgb)
        if frame.index >= 2:
            theirs = expected[frame.index]
            assert [item.mask for item in result.objects] == [item.mask for item in theirs.objects]
            assert [item.score for item in result.objects] == [item.score for item in theirs.objects]


@pytest.mark.parametrize("stride", [2, 3])
def test_a_run_with_a_stride(model, clip, policy, stride):
    session = told(model, clip, policy)
    follow(session, stride=stride, direction="both")
    assert {track.policy.state().get("stable", 0) <= 2 for track in session._set.tracks.values()} == {True}


@pytest.mark.parametrize("frames", [1, 2])
def test_one_and_two_frames(model, clip, policy, frames):
    session = told(model, clip[:frames], policy, [replace(SCRIPT[0], frame=0)])
    assert len(follow(session).logits) == frames


# -- single rules ----------------------------------------------------------------------------------------------------
def test_motion_takes_part_in_the_choice(model, clip):
    """With all the weight on motion, the candidate whose box fits the prediction best wins."""
    seen = []

    class Listening(SAMURAI.policy):
        name = "listening"

        def choose(self, step, candidates):
            (survivor,) = super().choose(step, candidates)
            seen.append((candidates[0].ious, survivor, self._overlap))
            return [survivor]

    tracker = Tracker(PixelBackbone(model, clip), lambda limits, rules: Listening(limits, rules, all_motion))
    all_motion = SAMURAI(stable_frames=1, motion_weight=1, stable_iou=0)
    session = tracker.open(indexed_video(FRAMES, SIZE))
    say(session, SCRIPT[0])
    follow(session)
    guided = [(ious, survivor) for ious, survivor, overlap in seen if overlap is not None]
    assert len(guided) >= 8
    assert all(survivor.score == overlap for _, survivor, overlap in seen if overlap is not None)
    assert any(survivor.candidate != int(np.argmax(ious)) for ious, survivor in guided)


def test_a_faint_object_is_shown_and_remembered_as_absent(clip):
    """A presence of about -0.5: SAMURAI shows the mask; memory is told that the object is absent, and is not read."""
    model = tiny_models.sam2(SIZE)
    head = model.mask_decoder.pred_obj_score_head.proj_out
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(-0.5)
    session = told(model, clip, SAMURAI(), SCRIPT[:1], keep_all_memory=True)
    shown = follow(session)
    assert not any(bool((logits == -1024).all()) for logits in shown.logits.values())
    assert session.backbone.presences[1:] == [-0.5] * (FRAMES - 3)
    track = session._set.tracks[1]
    assert not any(track.policy.remembers(record) for record in track.bank if record.role is Role.TRACK)
    hidden = follow(told(model, clip, SAMURAI(presence=0), SCRIPT[:1]))
    assert all(bool((logits == -1024).all()) for (moment, _), logits in hidden.logits.items() if moment > 1)


def test_an_anchor_is_written_anew_with_a_hard_mask(model, clip):
    session = told(model, clip, LIVELY["dam4sam"], SCRIPT[:1])
    results = list(session.propagate())
    bank = banks(session)[1]
    found = anchors(bank)
    made = session.backbone.binarized
    # One for the prompt, one for each anchor, those that were let go included.
    assert made.count(True) > len(found) >= 2
    assert made.count(False) == FRAMES - 3
    assert {result[1].source for result in results[1:]} == {Source.TRACKED}
    soft = told(model, clip, LIVELY["dam4sam"], SCRIPT[:1])
    policy = type(soft._set.tracks[1].policy)
    assert policy.name == "dam4sam"
    assert all(bank.at(frame).memory is not None for frame in found)


def test_no_anchor_without_alternatives(clip):
    """A model that offers a single mask while tracking has nothing to compare."""
    model = tiny_models.sam2(SIZE, multimask_output_for_tracking=False)
    session = told(model, clip, LIVELY["dam4sam"], SCRIPT[:1])
    follow(session)
    assert anchors(banks(session)[1]) == []
    assert len(follow(told(model, clip, LIVELY["samurai"], SCRIPT[:1])).logits) == FRAMES - 2


# -- the built-in model ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["samurai", "dam4sam"])
def test_the_built_in_model(name):
    """Four slots, no pointers, two conditioning frames: two squares are followed, and the state stays small."""
    count, red, blue = 12, (220, 60, 40), (40, 200, 220)
    frames = np.full((count, 96, 128, 3), 60, np.uint8)
    for moment in range(count):
        frames[moment, 20:44, 8 + 3 * moment : 32 + 3 * moment] = red
        frames[moment, 60:84, 96 - 3 * moment : 120 - 3 * moment] = blue
    session = keepsight.load("builtin", policy=name, device="cpu").open(ArrayVideo(frames, fps=10))
    session.add(object_id=1, frame=0, box=(8, 20, 32, 44))
    session.add(object_id=2, frame=2, box=(90, 60, 114, 84))
    for result in session.propagate():
        for item in result.objects:
            wanted = (frames[result.frame] == (red if item.object_id == 1 else blue)).all(-1)
            assert item.mask.to_array()[wanted].mean() > 0.8, (result.frame, item.object_id)
    for bank in banks(session).values():
        assert sum(record.memory is not None for record in bank) <= 14
