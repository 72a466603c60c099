"""MoSAM, SAM 3's group selection and SAM3-DMS through the real engine, on tiny weights and on the built-in model."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

import tiny_models
from keepsight.core import Source
from keepsight.memory import SAM3, SAM3DMS, MoSAM, Role, SAM3DMSPolicy
from keepsight.models.builtin.backbone import load_builtin
from keepsight.tracking import EngineOptions, Tracker
from keepsight.video import ArrayVideo
from reference import PixelBackbone, Run, Said, collect, disc, indexed_video, options, say

SIZE, FRAMES = 64, 14
# In the midst of the scores that the tiny model gives, so that some frames are read and some are not.
THRESHOLD = 0.234
# The heads of tiny models are random, so the gates stand open.
GUIDED = MoSAM(
    guidance="both", frame_selection=True, min_iou=0.0, max_area_change=50.0, pixel_confidence=0.9, candidate_frames=5
)
POINTS = replace(GUIDED, guidance="sparse")
POLICIES = [GUIDED, POINTS, SAM3(score_threshold=THRESHOLD), SAM3DMS(score_threshold=THRESHOLD)]
SCRIPT = [Said(1, 0, mask=disc(SIZE, 24, 30, 11)), Said(2, 2, points=[(44, 20)]), Said(7, 5, box=(30, 30, 60, 60))]


def name_of(policy) -> str:
    return policy.name + getattr(policy, "guidance", "")


every_policy = pytest.mark.parametrize("policy", POLICIES, ids=name_of)


class Listening(PixelBackbone):
    """Remembers which points were decoded, how, and what was written binarised."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.decoded, self.binarized = [], []

    def decode(self, features, conditioned, prompts, multimask, views):
        if prompts is not None:
            self.decoded += [(labels.tolist(), multimask) for labels in prompts.labels]
        return super().decode(features, conditioned, prompts, multimask, views)

    def encode_memory(self, features, mask_logits, object_scores, binarize, views):
        self.binarized += [binarize] * len(mask_logits)
        return super().encode_memory(features, mask_logits, object_scores, binarize, views)


@pytest.fixture(scope="module")
def model():
    """Presence varies from frame to frame on it, and with it the scores."""
    made = tiny_models.sam2(SIZE)
    head = made.mask_decoder.pred_obj_score_head.proj_out
    with torch.no_grad():
        head.bias.fill_(1.0)
        head.weight.mul_(4.0)
    return made


@pytest.fixture(scope="module")
def clip():
    return tiny_models.video(FRAMES, SIZE)


def session_on(model, clip, policy, engine_options=None):
    tracker = Tracker(Listening(model, clip), policy, engine_options or EngineOptions(units_per_decode=8))
    return tracker.open(indexed_video(len(clip), clip.shape[-1]))


def follow(model, clip, policy, script=SCRIPT, engine_options=None, **arguments):
    session = session_on(model, clip, policy, engine_options)
    for said in script:
        say(session, said)
    return session, collect(session, Run(), **arguments)


def valid(session, frame):
    """Frames that each object would read next, by object."""
    from keepsight.memory import Step

    step = Step(frame, False, FRAMES)
    return {key: track.policy.valid_frames(step, track.bank) for key, track in session._set.tracks.items()}


def scores(session, key):
    tracked = session._set.tracks[key].bank.tracked
    return {frame: records[0].marks.get("frame_score") for frame, records in sorted(tracked.items())}


# -- MoSAM ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_mosam_switched_off_is_sam2(model, clip, direction):
    off = MoSAM(guidance="none", frame_selection=False, pixel_confidence=0.5)
    assert (
        follow(model, clip, off, direction=direction)[1].difference(follow(model, clip, "sam2", direction=direction)[1])
        == 0
    )


def test_each_part_of_mosam_does_something(model, clip):
    plain = follow(model, clip, "sam2")[1]
    off = {"guidance": "none", "frame_selection": False, "pixel_confidence": 0.5}
    for part in ({"guidance": "sparse", "min_iou": 0.0}, {"frame_selection": True}, {"pixel_confidence": 0.9}):
        assert follow(model, clip, MoSAM(**{**off, **part}))[1].difference(plain) > 1e-3, part


def test_proposals_leave_frames_tracked(model, clip):
    session, _ = follow(model, clip, POINTS, SCRIPT[:1])
    results = session.propagate()
    assert [result[1].source for result in results][1:] == [Source.TRACKED] * (FRAMES - 1)
    track = session._set.tracks[1]
    assert list(track.bank.conditioning) == [0]
    assert all(records[0].role is Role.TRACK for records in track.bank.tracked.values())
    asked = [labels for labels, _ in session.backbone.decoded]
    assert asked
    assert all(set(labels) == {1} and len(labels) <= 5 for labels in asked)
    assert all(multimask for _, multimask in session.backbone.decoded)
    assert session.backbone.binarized.count(True) == 1


def test_flow_makes_boxes(model, clip):
    """The frames are black, so what flow carries stays where it was: a box around the last mask."""
    session, _ = follow(model, clip, replace(GUIDED, guidance="dense"), SCRIPT[:1])
    asked = [labels for labels, _ in session.backbone.decoded]
    assert asked
    assert all(labels == [2, 3] for labels in asked)
    both = follow(model, clip, GUIDED, SCRIPT[:1])[0]
    assert any(labels[:2] == [2, 3] and len(labels) > 2 for labels, _ in both.backbone.decoded)


# -- group and decoupled selection ---------------------------------------------------------------------------------------
def test_dms_in_one_batch_equals_each_object_alone(model, clip):
    policy = SAM3DMS(score_threshold=THRESHOLD)
    together, run = follow(model, clip, policy)
    reads = valid(together, FRAMES)
    assert len({tuple(frames) for frames in reads.values()}) > 1, "the objects read different frames"
    assert 1 < len(reads[1]) < FRAMES - 3, "some frames are read and some are not"
    for said in SCRIPT:
        alone, single = follow(model, clip, policy, [said])
        assert valid(alone, FRAMES)[said.object_id] == reads[said.object_id]
        mine = Run({key: logits for key, logits in run.logits.items() if key[1] == said.object_id})
        assert mine.difference(single) < 1e-3


def test_the_group_couples_its_objects(model, clip):
    group, run = follow(model, clip, SAM3(score_threshold=THRESHOLD))
    apart, single = follow(model, clip, SAM3DMS(score_threshold=THRESHOLD))
    assert run.difference(single) > 1e-3
    first, second = scores(group, 1), scores(group, 7)
    assert all(first[frame] == second[frame] for frame in second)
    assert scores(apart, 1)[10] != scores(apart, 7)[10]
    # With one object there is nothing to couple.
    ones = [follow(model, clip, kind(score_threshold=THRESHOLD), SCRIPT[:1])[1] for kind in (SAM3, SAM3DMS)]
    assert ones[0].difference(ones[1]) == 0


def test_removing_an_object_changes_the_scores_of_its_group(model, clip):
    for kind, changes in ((SAM3, True), (SAM3DMS, False)):
        session, _ = follow(model, clip, kind(), SCRIPT[:2])
        before = scores(session, 1)
        session.remove(2)
        after = scores(session, 1)
        assert (before != after) is changes
        alone = SAM3DMSPolicy.reduce_group
        for frame, score in after.items():
            record = session._set.tracks[1].bank.track_record(frame)
            if changes and score is not None:
                present = max(0.0, np.tanh(record.object_score / 2))
                assert score == pytest.approx(alone(np.array([present]), np.array([record.iou]))[0])


# -- all of them ---------------------------------------------------------------------------------------------------------
@every_policy
def test_kill_and_resume(model, clip, policy):
    direction = "both"
    script = [replace(said, frame=said.frame + 3) for said in SCRIPT]
    _, whole = follow(model, clip, policy, script, direction=direction)
    for stop_after in (5, 12):
        first = session_on(model, clip, policy)
        for said in script:
            say(first, said)
        run = Run()
        for count, result in enumerate(first.propagate(direction=direction), start=1):
            run.logits |= {(result.frame, key): logits.clone() for key, logits in first.last_logits.items()}
            if count == stop_after:
                break
        state = first.save_state()
        second = session_on(model, clip, policy)
        second.load_state(state)
        collect(second, run, direction=direction, resume=True)
        assert run.difference(whole) == 0, stop_after


@every_policy
def test_backward_is_forward_on_the_reversed_clip(model, clip, policy):
    backward = [replace(said, frame=FRAMES - 1 - said.frame) for said in SCRIPT]
    ahead = follow(model, clip, policy)[1]
    back = follow(model, clip.flip(0), policy, backward, direction="backward")[1]
    mirrored = Run({(FRAMES - 1 - frame, key): logits for (frame, key), logits in back.logits.items()})
    assert mirrored.difference(ahead) < 1e-5


@every_policy
def test_forgetting_changes_nothing(model, clip, policy):
    everything = EngineOptions(units_per_decode=8, keep_all_memory=True)
    script = [replace(said, frame=said.frame + 4) for said in SCRIPT]
    kept = follow(model, clip, policy, script, direction="both")[1]
    assert kept.difference(follow(model, clip, policy, script, everything, direction="both")[1]) == 0


@every_policy
def test_a_stream_equals_a_session(model, clip, policy):
    by_stream = options("meta", stream_pointer_budget=True)
    tracker = Tracker(PixelBackbone(model, clip), policy, options("meta"))
    results = []
    for index, frame in enumerate(indexed_video(FRAMES, SIZE).frames()):
        for said in SCRIPT:
            if said.frame == index:
                mask = None if said.mask is None else said.mask
                tracker.add(object_id=said.object_id, points=said.points, box=said.box, mask=mask)
        results.append(tracker.step(frame.rgb, time_s=index / 10))
    session = session_on(model, clip, policy, replace(by_stream, track_before_prompt=False))
    for said in SCRIPT:
        say(session, said)
    assert list(session.propagate()) == results


@every_policy
def test_corrections_and_strides(model, clip, policy):
    session, before = follow(model, clip, policy, stride=2)
    say(session, Said(1, 6, points=[(40, 40)]))
    say(session, Said(2, 7, box=(10, 10, 40, 40)))
    after = collect(session, Run(), start=4, stride=2)
    assert sorted(session._set.tracks[1].bank.conditioning) == [0, 6]
    assert {frame for frame, _ in after.logits} == {4, 5, 6, 7, 8, 10, 12}
    assert not torch.equal(before.logits[10, 1], after.logits[10, 1])
    again = collect(session, Run(), direction="backward")
    assert {frame for frame, _ in again.logits} == set(range(8))


@every_policy
def test_one_and_two_frame_videos(model, clip, policy):
    for count in (1, 2):
        for direction in ("forward", "backward", "both"):
            _, run = follow(model, clip[:count], policy, SCRIPT[:1], direction=direction)
            assert (0, 1) in run.logits


@every_policy
@pytest.mark.parametrize("family", ["edgetam", "sam3_tracker"])
def test_other_families(policy, family):
    made = getattr(tiny_models, family)()
    size = made.config.image_size if family == "sam3_tracker" else SIZE
    clip = tiny_models.video(8, size)
    script = [Said(1, 0, mask=disc(size, 24, 30, 11)), Said(2, 2, points=[(40, 20)])]
    _, run = follow(made, clip, policy, script)
    assert len(run.logits) == 8 + 6
    assert follow(made, clip, "sam2", script)[1].difference(run) > 0


# -- the built-in model --------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def builtin():
    return load_builtin()


def two_things(frames=12):
    """A square that moves steadily and a disc that hides behind a bar on frames 4 to 7; with the truth of both."""
    rng = np.random.default_rng(0)
    ground = cv2.resize(rng.integers(20, 70, (18, 32, 3), np.uint8), (320, 180))
    pictures, truth = [], []
    for t in range(frames):
        picture = ground.copy()
        square = np.zeros((180, 320), np.uint8)
        square[20:70, 30 + 12 * t : 80 + 12 * t] = 1
        round_thing = np.zeros((180, 320), np.uint8)
        cv2.circle(round_thing, (60 + 3 * t, 130), 22, 1, -1)
        picture[square > 0] = (220, 170, 40)
        picture[round_thing > 0] = (60, 90, 230)
        if 4 <= t < 8:
            picture[100:160, 20:140] = (70, 140, 70)
            round_thing[:] = 0
        pictures.append(picture)
        truth.append((square > 0, round_thing > 0))
    return ArrayVideo(np.stack(pictures), fps=10), truth


@pytest.mark.parametrize("policy", [MoSAM(), SAM3(), SAM3DMS()], ids=name_of)
def test_the_builtin_model_with_every_policy(builtin, policy):
    video, truth = two_things()
    session = Tracker(builtin, policy, EngineOptions()).open(video)
    for key, mask in enumerate(truth[0], start=1):
        session.add(object_id=key, frame=0, mask=mask)
    for result in session.propagate():
        square = result[1].mask.to_array()
        shown, meant = square > 0, truth[result.frame][0]
        assert (shown & meant).sum() / (shown | meant).sum() > 0.7, result.frame
    for track in session._set.tracks.values():
        memories = [record for record in track.bank if record.memory is not None]
        assert len(memories) <= 1 + 15
