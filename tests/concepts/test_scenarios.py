"""What becomes of detections, in a world without weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from coloured import SIDE, ScriptedDetector, Seen, areas, film, ids, session

from keepsight.concepts import Detections
from keepsight.core import InputError, Mask, Region, Source
from keepsight.tracking import EngineOptions, Zoom

A, B = (4, 4, 20, 20), (36, 36, 56, 56)


def run(made):
    return list(made.propagate())


def test_what_is_there_is_followed_from_its_first_frame():
    results = run(session([{0: A, 1: B}] * 20))
    assert [result.frame for result in results] == list(range(20))
    assert areas(results, 1) == dict.fromkeys(range(20), 16 * 16)
    assert areas(results, 2) == dict.fromkeys(range(20), 20 * 20)
    assert results[0][1].source is Source.DETECTED
    assert results[1][1].source is Source.TRACKED


def test_nothing_found_is_a_normal_result():
    made = session([{0: A}] * 5, lambda frame: [])
    assert [len(result.objects) for result in run(made)] == [0] * 5
    assert made.detections == 0


def test_late_entry():
    results = run(session([{0: A}] * 10 + [{0: A, 1: B}] * 20))
    assert list(areas(results, 2)) == list(range(10, 30))


@pytest.mark.parametrize("away", [5, 40])
def test_exit_and_return_keeps_the_id(away):
    results = run(session([{0: A, 1: B}] * 20 + [{0: A}] * away + [{0: A, 1: (30, 4, 50, 24)}] * 10))
    assert ids(results) == {1, 2}
    seen = areas(results, 2)
    assert all(seen[frame] == 0 for frame in range(20, 20 + away))
    assert all(seen[frame] == 400 for frame in range(20 + away, 30 + away))


def test_a_split_detection_is_no_second_object():
    halves = [Seen((4, 4, 12, 20)), Seen((12, 4, 20, 20))]
    results = run(session([{0: A}] * 25, lambda frame: halves if 5 <= frame < 20 else [Seen(A)]))
    assert ids(results) == {1}


def test_a_duplicate_goes_within_its_trial():
    # Two things on the first frame turn out to be one: the second one's mask moves onto the first.
    frames = [{0: A, 1: B}] * 2 + [{0: (4, 4, 12, 20), 1: (12, 4, 20, 20)}] * 28
    results = run(session(frames, lambda frame: [Seen(A), Seen(B)] if frame < 2 else [Seen(A)]))
    assert ids(results) == {1}
    kept = run(session(frames, lambda frame: [Seen(A), Seen(B)] if frame < 2 else [Seen(A)], hotstart_frames=0))
    assert ids(kept) == {1, 2}


@pytest.mark.parametrize(("undetected_from", "stays"), [(3, False), (7, False), (8, True), (20, True)])
def test_a_false_find_goes_within_its_trial_and_never_shows(undetected_from, stays):
    # On trial for frames 0 to 14; the eighth frame without a detection decides.
    made = session([{0: A, 1: B}] * 40, lambda frame: [Seen(A), Seen(B)] if frame < undetected_from else [Seen(A)])
    results = run(made)
    decided = undetected_from + 7
    assert (2 in ids(results)) == stays == (decided >= 15)
    assert made.object_ids == ([1, 2] if stays else [1])


@pytest.mark.parametrize("detect_every", [2, 5, 20])
def test_a_false_find_goes_also_where_the_detector_looks_seldom(detect_every):
    frames = [{0: A, 1: B}] * 60
    made = session(frames, lambda frame: [Seen(A), Seen(B)] if frame == 0 else [Seen(A)], detect_every=detect_every)
    results = run(made)
    assert ids(results) == {1}
    # Missed once is not enough.
    missed = lambda frame: [Seen(A)] if frame == detect_every else [Seen(A), Seen(B)]  # noqa: E731
    assert ids(run(session(frames, missed, detect_every=detect_every))) == {1, 2}


def test_two_crossing_objects_keep_their_ids():
    def at(frame):
        return {0: (2 + 2 * frame, 20, 14 + 2 * frame, 32), 1: (50 - 2 * frame, 22, 62 - 2 * frame, 34)}

    frames = [at(frame) for frame in range(24)]
    results = run(session(frames))
    assert ids(results) == {1, 2}
    boxes = [results[-1][one].mask.box for one in (1, 2)]
    assert boxes[0][0] > boxes[1][0]
    assert boxes[0][0] == 2 + 2 * 23


def test_a_detector_that_is_silent_for_30_frames_loses_nobody():
    frames = [{0: A, 1: B}] * 60
    results = run(session(frames, lambda frame: [] if 15 <= frame < 45 else [Seen(A), Seen(B)]))
    assert ids(results) == {1, 2}
    assert all(area == 256 for area in areas(results, 1).values())


def test_a_detector_that_is_silent_hides_objects_where_that_is_asked_for():
    frames = [{0: A}] * 70
    script = lambda frame: [] if 16 <= frame < 60 else [Seen(A)]  # noqa: E731
    shown = areas(run(session(frames, script, hide_unmatched=True)), 1)
    # The count of 30 is used up after 30 frames; one detection brings it back to 0 and the next above.
    assert sorted(set(range(70)) - set(shown)) == list(range(45, 61))


def test_sixty_objects_at_once():
    boxes = {
        thing: (8 * (thing % 8), 8 * (thing // 8), 8 * (thing % 8) + 6, 8 * (thing // 8) + 6) for thing in range(60)
    }
    made = session([boxes] * 18)
    results = run(made)
    assert ids(results) == set(range(1, 61))
    assert all(item.mask.area == 36 for item in results[-1].objects)


def test_no_more_objects_than_asked_for_and_the_best_of_them():
    frames = [{0: A, 1: B, 2: (40, 4, 50, 14)}] * 16
    script = lambda frame: [Seen(A, 0.8), Seen(B, 0.75), Seen((40, 4, 50, 14), 0.95)]  # noqa: E731
    results = run(session(frames, script, max_objects=2))
    assert sorted(item.mask.area for item in results[-1].objects) == [100, 256]


def test_two_concepts_may_find_the_same_thing():
    made = session([{0: A}] * 16, lambda frame: [Seen(A), Seen(A, concept=2)], words=["cow", "animal"])
    results = run(made)
    assert ids(results) == {1, 2}
    assert made.labels == {1: "cow", 2: "animal"}
    assert made.concept_of(2).text == "animal"


@pytest.mark.parametrize(("lost", "emptied"), [((-1, -1), []), ((0, 1), [2]), ((1, 0), [1]), ((-1, 1), [])])
def test_of_two_objects_on_one_thing_the_one_lost_last_is_emptied(lost, emptied):
    # Both were found on the same thing, so both follow it.
    made = session([{0: A}] * 6, lambda frame: [Seen(A), Seen(A)] if frame == 0 else [], nms_iou=0, hotstart_frames=0)
    steps = made.propagate()
    next(steps)
    for one, step in zip((1, 2), lost, strict=True):
        made._loop.lives[one].last_lost = step
    result = next(steps)
    assert [item.object_id for item in result.objects if not item.present] == emptied


def test_rubbish_is_dropped_counted_and_harms_nobody():
    class Rubbish(ScriptedDetector):
        def _of(self, frame):
            good = super()._of(frame)
            boxes = np.array([[4, 4, 20, 20], [20, 20, 4, 4], [np.nan] * 4, [900, 900, 950, 950]], np.float32)
            scores = np.array([np.nan, 0.9, 0.9, 0.9], np.float32)
            return Detections(
                np.concatenate([good.concepts, [1, 1, 1, 1]]),
                np.concatenate([good.scores, scores]),
                np.concatenate([good.boxes, boxes]),
                torch.cat([good.masks, good.masks[:1].expand(4, -1, -1)]),
            )

    made = session([{0: A}] * 16, detector=Rubbish(lambda frame: [Seen(A)]))
    assert ids(run(made)) == {1}
    assert made.dropped == {"not finite": 32, "box": 32}


def test_boxes_alone_become_masks_by_the_trackers_own_decoder():
    made = session([{0: A, 1: B}] * 16, detector=ScriptedDetector(lambda frame: [Seen(A), Seen(B)], masks=False))
    results = run(made)
    assert areas(results, 2) == dict.fromkeys(range(16), 400)


@pytest.mark.parametrize("masks", [True, False])
def test_small_things_are_found_and_followed_closely(masks):
    small = {thing: (6 + 20 * thing, 8, 12 + 20 * thing, 14) for thing in range(3)}
    frames = [{n: (x1, y1 + t, x2, y2 + t) for n, (x1, y1, x2, y2) in small.items()} for t in range(30)]
    detector = ScriptedDetector(lambda frame: [Seen(box) for box in frames[frame].values()], masks=masks)
    made = session(frames, detector=detector, options=EngineOptions(zoom=Zoom(least_px=24)))
    results = run(made)
    assert ids(results) == {1, 2, 3}
    tracks = made._set.tracks.values()
    assert all(track.bank.at(29).region != Region.whole(SIDE, SIDE) for track in tracks)
    for result in results:
        for item, box in zip(result.objects, frames[result.frame].values(), strict=True):
            truth = np.zeros((SIDE, SIDE), bool)
            truth[box[1] : box[3], box[0] : box[2]] = True
            assert item.mask.iou(Mask.from_array(truth)) > 0.7


@pytest.mark.parametrize("frames_per_call", [1, 3])
def test_looking_at_every_third_frame(frames_per_call):
    frames = [{0: A}] * 4 + [{0: A, 1: B}] * 20
    script = lambda frame: [Seen(box) for box in frames[frame].values()]  # noqa: E731
    detector = ScriptedDetector(script, frames_per_call=frames_per_call)
    results = run(session(frames, detector=detector, detect_every=3))
    assert [frame for call in detector.calls for frame in call] == list(range(0, 24, 3))
    assert max(map(len, detector.calls)) == frames_per_call
    # What enters on frame 4 is found at the next look.
    assert min(areas(results, 2)) == 6


def test_what_is_away_for_long_is_given_up_where_that_is_asked_for():
    frames = [{0: A, 1: B}] * 10 + [{0: A}] * 10 + [{0: A, 1: B}] * 20
    made = session(frames, give_up_absent=8)
    results = run(made)
    # What was shown of it stays.
    assert list(areas(results, 2)) == list(range(17))
    assert list(areas(results, 3)) == list(range(20, 40))
    assert made.object_ids == [1, 3]


def test_objects_are_shown_once_confirmed():
    frames = [{0: A}] * 20
    results = run(session(frames, lambda frame: [Seen(A)] if frame != 1 else [], confirm_frames=3))
    assert min(areas(results, 1)) == 4


def test_the_numbers_of_a_long_run_stay_few():
    frames = [{0: A, 1: B}] * 200
    made = session(frames, lambda frame: [Seen(A)] if frame % 3 else [Seen(A), Seen(B)])
    sizes = []
    for result in made.propagate():
        if result.frame in (80, 180):
            sizes.append((len(str(made._loop.lives.state())), made.memory_bytes()))
    # The frame on which it was found, and the latest four on which it was surely seen.
    assert max(made._set.tracks[1].bank.conditioning) >= 176
    assert len(made._set.tracks[1].bank.conditioning) == 5
    (numbers, memory), (later, more) = sizes
    assert later - numbers < 20
    assert more <= memory


def test_an_unknown_range_is_refused():
    made = session([{0: A}] * 5)
    with pytest.raises(InputError, match="not in the video"):
        made.propagate(start=9)
    with pytest.raises(InputError, match="one direction"):
        made.propagate(direction="both")
    assert film([{0: A}]).height == SIDE
