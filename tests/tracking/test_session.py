"""Sessions: prompts at any time, directions and ranges, cancel, errors, and what is freed."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

import tiny_models
from keepsight.core import InputError, Mask, Source
from keepsight.tracking import EngineOptions, Tracker
from keepsight.tracking.sight import Sight
from keepsight.tracking.tracks import FeatureCache
from reference import PixelBackbone, Run, Said, collect, disc, indexed_video, say

SIZE = 64
ONE = Said(1, 0, mask=disc(SIZE, 24, 30, 11))
TWO = Said(2, 3, box=(30, 30, 60, 60))
LATE = Said(3, 7, points=[(44, 20)])


@pytest.fixture(scope="module")
def model():
    return tiny_models.sam2(SIZE)


@pytest.fixture(scope="module")
def clip():
    return tiny_models.video(18, SIZE)


class Counting(PixelBackbone):
    """Remembers which frames were encoded."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.encoded: list[int] = []

    def preprocess(self, rgb):
        self.encoded.append(int(rgb[0, 0, 0]) * 256 + int(rgb[0, 0, 1]))
        return super().preprocess(rgb)


def open_session(model, clip, **settings):
    # One unit a call: with others in the batch a matrix product may be summed in another order.
    backbone = Counting(model, clip)
    return Tracker(backbone, "sam2", EngineOptions(units_per_decode=1, **settings)).open(indexed_video(len(clip), SIZE))


def follow(session, actions=None, **arguments) -> Run:
    """Propagates; ``actions`` maps a frame to what is done after its result."""
    run = Run()
    for result in session.propagate(**arguments):
        for object_id, logits in session.last_logits.items():
            run.logits[result.frame, object_id] = logits.clone()
        if actions and result.frame in actions:
            actions.pop(result.frame)(session)
    assert not actions
    return run


def same(first: Run, second: Run, object_id: int, frames) -> bool:
    return all(torch.equal(first.logits[f, object_id], second.logits[f, object_id]) for f in frames)


# -- objects come and go ---------------------------------------------------------------------------------------------
def test_others_are_not_disturbed(model, clip):
    """Added ahead, added behind, corrected, corrected twice, removed: object 1 does not change by a bit."""
    alone = open_session(model, clip)
    say(alone, ONE)
    undisturbed = follow(alone)

    session = open_session(model, clip)
    say(session, ONE)
    say(session, TWO)
    actions = {
        2: lambda s: s.add(object_id=4, frame=2, points=[(10, 50)]),
        5: lambda s: say(s, LATE),
        6: lambda s: s.add(object_id=9, frame=1, box=(5, 5, 20, 20)),
        8: lambda s: (
            s.add(object_id=2, frame=8, points=[(40, 40)]),
            s.add(object_id=2, frame=8, points=[(50, 50)], labels=[0]),
        ),
        10: lambda s: s.add(object_id=4, frame=6, mask=disc(SIZE, 20, 44, 6)),
        12: lambda s: s.remove(2),
        14: lambda s: s.clear_prompts(3, 7),
        16: lambda s: s.add(object_id=4, frame=17, points=[(10, 50)]),
    }
    disturbed = follow(session, actions)
    assert same(undisturbed, disturbed, 1, range(18))
    ids = {frame: {obj for f, obj in disturbed.logits if f == frame} for frame in range(18)}
    assert ids[2] == {1}
    assert ids[3] == {1, 2, 4}
    assert ids[7] == {1, 2, 3, 4, 9}
    assert ids[13] == {1, 3, 4, 9}
    assert ids[15] == ids[17] == {1, 4, 9}
    assert session.object_ids == [1, 4, 9]


def test_ids_of_removed_objects_are_gone(model, clip):
    session = open_session(model, clip)
    say(session, ONE)
    say(session, TWO)
    session.remove(1)
    with pytest.raises(InputError, match="Object 1 was removed; ids are never used again"):
        say(session, ONE)
    with pytest.raises(InputError, match=r"no object 1; there are: \[2\]"):
        session.remove(1)
    restored = open_session(model, clip)
    restored.load_state(session.save_state())
    with pytest.raises(InputError, match="never used again"):
        say(restored, ONE)
    # Taking a click back is no removal: the person may try again under the same id.
    session.clear_prompts(2, 3)
    assert session.object_ids == []
    say(session, TWO)


@pytest.mark.parametrize("prompt", [{"points": [(50, 50)]}, {"box": (40, 40, 60, 60)}, {"mask": disc(SIZE, 50, 50, 8)}])
def test_a_correction_lasts(model, clip, prompt):
    session = open_session(model, clip)
    say(session, ONE)
    before = follow(session)
    shown = session.add(object_id=1, frame=9, **prompt)
    after = follow(session)
    # Everything on frame 9 is as it was said; later frames follow it, as do earlier ones, which see it ahead.
    assert shown.source is Source.PROMPT
    assert not same(before, after, 1, [9])
    assert all(not same(before, after, 1, [frame]) for frame in range(10, 18))
    again = follow(session)
    assert same(after, again, 1, range(18))
    result = next(iter(session.propagate(9, 10)))
    assert result[1].source is Source.PROMPT
    assert result[1].mask == shown.mask


def test_clicks_add_up_and_refine(model, clip):
    session = open_session(model, clip)
    session.add(object_id=1, frame=0, points=[(20, 30)])
    both = session.add(object_id=1, frame=0, points=[(44, 12)], labels=[0])
    together = open_session(model, clip)
    at_once = together.add(object_id=1, frame=0, points=[(20, 30), (44, 12)], labels=[1, 0])
    assert session._set.tracks[1].prompts[0].points == [(20, 30), (44, 12)]
    # The second click refines the mask of the first; said at once there is nothing to refine.
    assert both.mask != at_once.mask
    cleared = session.add(object_id=1, frame=0, points=[(20, 30), (44, 12)], labels=[1, 0], clear=True)
    assert cleared.mask == at_once.mask
    session.add(object_id=1, frame=0, mask=disc(SIZE, 20, 20, 5))
    with pytest.raises(InputError, match="has a mask on frame 0"):
        session.add(object_id=1, frame=0, points=[(3, 3)])


def test_a_failed_correction_leaves_things_as_they_were(model, clip, monkeypatch):
    session = open_session(model, clip)
    say(session, ONE)
    session.add(object_id=2, frame=0, points=[(20, 30)])
    before = follow(session)
    original = session.backbone.decode

    def broken(*args):
        decoded = original(*args)
        decoded.ious[:] = float("nan")
        return decoded

    with monkeypatch.context() as patch:
        patch.setattr(session.backbone, "decode", broken)
        for object_id, frame in ((2, 0), (2, 9), (5, 3)):
            with pytest.raises(InputError, match="NaN"):
                session.add(object_id=object_id, frame=frame, points=[(50, 50)], label="lost")
    assert session.object_ids == [1, 2]
    assert session.labels == {}
    after = follow(session)
    assert same(before, after, 1, range(18))
    assert same(before, after, 2, range(18))


# -- ranges and directions -------------------------------------------------------------------------------------------
def visits(session, **arguments):
    return [(result.frame, {obj.object_id for obj in result.objects}) for result in session.propagate(**arguments)]


def test_start_and_stop(model, clip):
    session = open_session(model, clip)
    say(session, TWO)
    say(session, LATE)
    assert [f for f, _ in visits(session)] == list(range(3, 18))
    assert visits(session, start=1, stop=5) == [(1, set()), (2, set()), (3, {2}), (4, {2})]
    assert visits(session, start=6, stop=8) == [(6, {2}), (7, {2, 3})]
    assert [f for f, _ in visits(session, stop=999)][-1] == 17
    assert visits(session, direction="backward") == [
        *[(f, {2, 3} if f <= 3 else {3}) for f in range(7, -1, -1)],
    ]
    assert [f for f, _ in visits(session, direction="backward", start=2, stop=6)] == [5, 4, 3, 2]


def test_both_directions(model, clip):
    """Forward from the first prompt, then back, each object only before its own first prompt."""
    session = open_session(model, clip)
    say(session, TWO)
    say(session, LATE)
    forward = [(f, {2, 3} if f >= 7 else {2}) for f in range(3, 18)]
    backward = [(f, {3} if f >= 3 else {2, 3}) for f in range(6, -1, -1)]
    assert visits(session, direction="both") == forward + backward
    # An object's part before its prompt is what a backward run from there gives.
    session = open_session(model, clip)
    say(session, TWO)
    say(session, LATE)
    run = collect(session, Run(), direction="both")
    alone = open_session(model, clip)
    say(alone, TWO)
    follow(alone)
    back = follow(alone, direction="backward")
    assert same(run, back, 2, range(3))


def test_a_stride_visits_prompts_too(model, clip):
    session = open_session(model, clip)
    say(session, TWO)
    say(session, LATE)
    assert [f for f, _ in visits(session, stride=5)] == [3, 7, 8, 13]
    assert [f for f, _ in visits(session, stride=5, direction="backward")] == [7, 3, 2]
    assert [f for f, _ in visits(session, stride=5, start=0, stop=9)] == [0, 3, 5, 7]


def test_cancel_keeps_and_resumes(model, clip):
    session = open_session(model, clip)
    say(session, ONE)
    whole = follow(session)
    session = open_session(model, clip)
    say(session, ONE)
    first = follow(session, {9: lambda s: s.cancel()})
    assert [frame for frame, _ in first.logits] == list(range(10))
    assert session.visited == 10
    rest = follow(session, resume=True)
    assert [frame for frame, _ in rest.logits] == list(range(10, 18))
    first.logits.update(rest.logits)
    assert same(whole, first, 1, range(18))
    assert list(session.propagate(resume=True)) == []


def test_a_run_may_be_abandoned(model, clip):
    session = open_session(model, clip)
    say(session, ONE)
    for result in session.propagate():
        if result.frame == 5:
            break
    assert len(follow(session).logits) == 18


# -- errors ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"start": 18}, "18 is not in the video, whose frames are 0 to 17"),
        ({"start": -1}, "-1 is not in the video"),
        ({"start": 9, "stop": 9}, "holds no frame"),
        ({"start": 9, "stop": 4}, "holds no frame"),
        ({"stop": 2}, "wrong side of every prompt"),
        ({"start": 8, "direction": "backward"}, "wrong side of every prompt"),
        ({"stride": 0}, "stride must be 1 or more"),
        ({"direction": "sideways"}, "forward, backward or both"),
    ],
)
def test_ranges_without_a_frame(model, clip, arguments, says):
    session = open_session(model, clip)
    say(session, TWO)
    with pytest.raises(InputError, match=says) as caught:
        session.propagate(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"frame": 18, "points": [(1, 1)]}, "frame 18 is not in 'array', whose frames are 0 to 17"),
        ({"frame": -1, "points": [(1, 1)]}, "frame -1 is not in"),
        ({"frame": 0, "points": [(SIZE, 1)]}, "outside"),
        ({"frame": 0, "box": (1, 2, 3)}, "3 numbers"),
        ({"frame": 0, "mask": np.zeros((SIZE, SIZE))}, "empty"),
        ({"frame": 0, "mask": np.ones((SIZE, SIZE + 1))}, "65x64 px"),
        ({"frame": 0}, "at least one point"),
    ],
)
def test_prompts_that_do_not_fit_leave_nothing_behind(model, clip, arguments, says):
    session = open_session(model, clip)
    with pytest.raises(InputError, match=says):
        session.add(object_id=1, **arguments)
    assert session.object_ids == []
    with pytest.raises(InputError, match="Nothing to follow"):
        session.propagate()
    with pytest.raises(InputError, match="Nothing was said"):
        session.clear_prompts(1, 0)


# -- what is computed, and what is freed -----------------------------------------------------------------------------
def test_every_frame_is_encoded_once(model, clip):
    session = open_session(model, clip)
    encoded = session.backbone.encoded
    for said in (ONE, TWO, LATE, Said(4, 0, points=[(8, 8)])):
        say(session, said)
    session.add(object_id=4, frame=0, points=[(12, 12)])
    session.add(object_id=4, frame=0, points=[(50, 12)], labels=[0])
    assert sorted(encoded) == [0, 3, 7]
    follow(session)
    assert sorted(encoded) == list(range(18))


def test_the_feature_cache_keeps_its_budget(model, clip):
    backbone = PixelBackbone(model, clip)
    sights = [Sight.of_features(backbone, backbone.encode_image(clip[i][None]), (SIZE, SIZE)) for i in range(4)]
    cache = FeatureCache(2 * sights[0].nbytes() + 1)
    cache.put(0, sights[0])
    cache.put(1, sights[1])
    assert cache.get(0) is sights[0]
    cache.put(2, sights[2])
    assert [cache.get(i) is not None for i in range(3)] == [True, False, True]
    cache.put(2, sights[3])
    assert cache.get(0) is sights[0]
    assert cache.get(2) is sights[3]
    none = FeatureCache(0)
    none.put(0, sights[0])
    assert none.get(0) is None


@pytest.mark.parametrize(("keep", "frames"), [(False, 100), (True, 50)])
def test_records_and_features_are_freed(model, clip, keep, frames):
    """Only the surroundings of the prompt and of the current frame are left."""
    long_clip = clip.repeat(frames // len(clip) + 1, 1, 1, 1)[:frames]
    session = open_session(model, long_clip, keep_all_memory=keep, feature_cache_bytes=0)
    features = []
    original = session.backbone.encode_image

    def remember(pixels):
        made = original(pixels)
        features.append(weakref.ref(made))
        return made

    session.backbone.encode_image = remember
    say(session, ONE)
    records, memories, alive = [], [], []
    for result in session.propagate():
        record = session._set.tracks[1].bank.at(result.frame)
        records.append(weakref.ref(record))
        memories.append(weakref.ref(record.memory))
        del record
        if result.frame in (49, 74, 99):
            gc.collect()
            alive.append([sum(ref() is not None for ref in refs) for refs in (records, memories, features)])
    if keep:
        assert alive[-1][:2] == [frames, frames]
    else:
        # 1 prompt, 16 records after it, 17 up to now; of these 1 + 7 + 8 with spatial memory.
        assert alive == [alive[0]] * 3
        assert alive[0][0] <= 1 + 16 + 17
        assert alive[0][1] <= 1 + 7 + 8
    assert alive[-1][2] <= 2


def test_a_mask_that_the_session_let_go_can_be_given_back(model, clip):
    session = open_session(model, clip)
    say(session, ONE)
    masks = {result.frame: result[1].mask for result in session.propagate()}
    track = session._set.tracks[1]
    shown = {}
    for name, previous in (("kept", None), ("given", masks[12]), ("none", None)):
        copy = open_session(model, clip)
        copy.load_state(session.save_state())
        if name != "kept":
            copy._set.tracks[1].bank.discard(12)
        shown[name] = copy.add(object_id=1, frame=12, points=[(50, 50)], previous=previous)
    assert track.bank.at(12) is not None
    assert shown["given"].mask != shown["none"].mask


def test_a_mask_prompt_shows_the_mask(model, clip):
    session = open_session(model, clip)
    mask = Mask.from_array(disc(SIZE, 24, 30, 11))
    shown = session.add(object_id=1, frame=0, mask=mask, label="disc")
    assert shown.mask.iou(mask) > 0.9
    assert (shown.score, shown.source) == (1.0, Source.PROMPT)
    assert shown.presence > 0.999
    assert session.labels == {1: "disc"}


def test_eviction_changes_nothing_but_away_from_prompts(model, clip):
    """Going on, turning at a prompt with "both": as if all were kept. Starting or turning elsewhere: the recent is gone."""
    frames = 46
    longer = torch.cat([clip, clip.flip(0), clip])[:frames]
    runs = {}
    for keep in (False, True):
        session = open_session(model, longer, keep_all_memory=keep)
        say(session, Said(1, 4, mask=disc(SIZE, 24, 30, 11)))
        say(session, Said(1, 44, mask=disc(SIZE, 24, 30, 11)))
        runs[keep] = [
            follow(session, direction="both"),
            follow(session, start=24, stop=25),
            follow(session, direction="backward", start=19, stop=20),
        ]
    for number, frame in enumerate((None, 24, 19)):
        lean, full = runs[False][number], runs[True][number]
        if frame is None:
            assert same(lean, full, 1, range(frames))
        else:
            assert not same(lean, full, 1, [frame])


@pytest.mark.parametrize(("direction", "prompted", "read"), [("forward", 0, {6, 3, 0}), ("backward", 17, {11, 14, 17})])
def test_a_correction_reads_the_steps_of_its_run(model, clip, monkeypatch, direction, prompted, read):
    session = open_session(model, clip)
    say(session, Said(1, prompted, mask=disc(SIZE, 24, 30, 11)))
    follow(session, stride=3, direction=direction)
    frames = {}
    policy = session._set.tracks[1].policy
    select = policy.select_memory

    def listening(step, bank, hypothesis):
        selection = select(step, bank, hypothesis)
        frames[step.frame] = {read.record.frame for read in selection.spatial}
        return selection

    monkeypatch.setattr(policy, "select_memory", listening)
    corrected = 9 if direction == "forward" else 8
    session.add(object_id=1, frame=corrected, points=[(50, 50)])
    assert frames[corrected] == read
