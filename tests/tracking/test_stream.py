"""``tracker.step``: the same as a session on the same frames, for as long as one likes."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
import torch

import tiny_models
from keepsight.core import InputError, Source
from keepsight.tracking import Tracker
from reference import PixelBackbone, Said, disc, indexed_video, options, our_session, say

SIZE = 64
MASK = disc(SIZE, 24, 30, 11)


@pytest.fixture(scope="module")
def model():
    return tiny_models.sam2(SIZE)


@pytest.fixture(scope="module")
def clip():
    return tiny_models.video(14, SIZE)


def tracker_on(model, clip):
    return Tracker(PixelBackbone(model, clip), "sam2", options("meta"))


def frames(count: int) -> list[np.ndarray]:
    return [frame.rgb for frame in indexed_video(count, SIZE).frames()]


def masks(results, object_id):
    return [result[object_id].mask for result in results]


def test_a_stream_equals_a_session_with_the_same_pointer_budget(model, clip):
    tracker = tracker_on(model, clip)
    results = []
    for index, rgb in enumerate(frames(14)):
        if index == 0:
            tracker.add(object_id=1, mask=MASK, label="disc")
        if index == 5:
            tracker.add(object_id=2, points=[(44, 20)])
        results.append(tracker.step(rgb, time_s=index / 10))
    # An object of a stream is not followed before it was pointed at.
    one_by_one = replace(options("meta", stream_pointer_budget=True), track_before_prompt=False)
    session = our_session(model, clip, one_by_one)
    say(session, Said(1, 0, mask=MASK))
    say(session, Said(2, 5, points=[(44, 20)]))
    assert list(session.propagate()) == results
    assert [len(result.objects) for result in results] == [1] * 5 + [2] * 9
    # With a file's own budget the same frames give other masks: the comparison can fail.
    plain = our_session(model, clip, options("meta"))
    say(plain, Said(1, 0, mask=MASK))
    assert masks(plain.propagate(), 1) != masks(results, 1)


def test_a_correction_refines_what_the_frame_would_have_shown(model, clip):
    untouched, corrected = tracker_on(model, clip), tracker_on(model, clip)
    before, after = [], []
    for index, rgb in enumerate(frames(12)):
        if index == 0:
            for tracker in (untouched, corrected):
                tracker.add(object_id=1, mask=MASK)
                tracker.add(object_id=2, points=[(44, 20)])
        if index == 6:
            corrected.add(object_id=1, points=[(50, 50)])
            corrected.add(object_id=1, points=[(24, 30)], labels=[0])
        before.append(untouched.step(rgb))
        after.append(corrected.step(rgb))
    assert masks(before[:6], 1) == masks(after[:6], 1)
    assert after[6][1].source is Source.PROMPT
    assert all(first[1].mask != second[1].mask for first, second in zip(before[6:], after[6:], strict=True))
    # The same is said to a session that has been followed up to there.
    session = our_session(model, clip, options("meta", stream_pointer_budget=True))
    say(session, Said(1, 0, mask=MASK))
    say(session, Said(2, 0, points=[(44, 20)]))
    for _ in session.propagate(stop=7):
        pass
    session.add(object_id=1, frame=6, points=[(50, 50)])
    session.add(object_id=1, frame=6, points=[(24, 30)], labels=[0])
    assert masks(session.propagate(6, 12), 1) == masks(after[6:], 1)


def test_removing_and_beginning_anew(model, clip):
    tracker = tracker_on(model, clip)
    tracker.add(object_id=1, mask=MASK)
    tracker.add(object_id=2, points=[(44, 20)])
    first, second = frames(2)
    before = tracker.step(first)
    tracker.remove(1)
    assert [item.object_id for item in tracker.step(second).objects] == [2]
    with pytest.raises(InputError, match="never used again"):
        tracker.add(object_id=1, mask=MASK)
    tracker.reset()
    tracker.add(object_id=1, mask=MASK)
    again = tracker.step(first)
    assert again.frame == 0
    assert again[1] == before[1]


def test_a_stream_without_objects_gives_empty_results(model, clip):
    result = tracker_on(model, clip).step(frames(1)[0])
    assert (result.objects, result.height, result.width) == ((), SIZE, SIZE)


@pytest.mark.parametrize(
    ("rgb", "says"),
    [
        (np.zeros((SIZE, SIZE), np.uint8), "uint8 .height, width, 3. array"),
        (np.zeros((SIZE, SIZE, 4), np.uint8), "uint8"),
        (np.zeros((SIZE, SIZE, 3), np.float32), "float32"),
        (np.zeros((SIZE, SIZE + 2, 3), np.uint8), "were 64x64 px and now are 66x64 px; call tracker.reset"),
    ],
)
def test_frames_that_do_not_fit(model, clip, rgb, says):
    tracker = tracker_on(model, clip)
    tracker.add(object_id=1, mask=MASK)
    tracker.step(frames(1)[0])
    with pytest.raises(InputError, match=says):
        tracker.step(rgb)
    assert tracker.step(frames(2)[1]).frame == 1


def test_a_prompt_outside_the_frame(model, clip):
    tracker = tracker_on(model, clip)
    tracker.add(object_id=1, points=[(SIZE + 5, 3)])
    with pytest.raises(InputError, match="outside"):
        tracker.step(frames(1)[0])
    tracker.remove(1)
    assert tracker.step(frames(1)[0]).objects == ()


def test_a_refused_prompt_does_not_stop_the_stream(model, clip):
    """A removed id is spoken to: that prompt is refused once, and the others go on as if nothing had been said."""
    quiet, bothered = tracker_on(model, clip), tracker_on(model, clip)
    for tracker in (quiet, bothered):
        tracker.add(object_id=1, mask=MASK)
        tracker.add(object_id=2, points=[(44, 20)])
    results = []
    for index, rgb in enumerate(frames(5)):
        if index == 2:
            quiet.remove(2)
            bothered.remove(2)
            with pytest.raises(InputError, match="never used again"):
                bothered.add(object_id=2, points=[(44, 20)])
        results.append((quiet.step(rgb), bothered.step(rgb)))
    assert all(first == second for first, second in results)


def test_bounded_over_500_frames(clip):
    model = tiny_models.sam2(32)
    small = torch.nn.functional.interpolate(clip, size=(32, 32))

    class Round(PixelBackbone):
        def preprocess(self, rgb):
            return self.clip[int(rgb[0, 0, 1]) % len(self.clip)][None]

    tracker = Tracker(Round(model, small))
    tracker.add(object_id=1, mask=disc(32, 12, 15, 6))
    rgb = np.zeros((32, 32, 3), np.uint8)
    held = []
    for index in range(500):
        rgb[0, 0, 1] = index % 200
        tracker.step(rgb)
        if index in (100, 300, 499):
            gc.collect()
            held.append(sum(type(item) is torch.Tensor for item in gc.get_objects()))
    assert max(held) - min(held) <= 2
    assert all(len(track.bank) <= 1 + 16 + 17 for track in tracker._streaming().set.tracks.values())
