"""Words at a desk: what they name is found, on a frame or on the way, and belongs to the project like anything else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_desks import FRAMES, RED, Diary, clip, counts, square, stored, track, wait

from keepsight.annotation import Desk, TrackRequest
from keepsight.concepts import Detections, choosing
from keepsight.core import InputError, Mask


class Colours:
    """Finds what is red or blue, by its colour."""

    name, understands_words, frames_per_call = "colours", True, 1

    def detect(self, sights, concepts):
        return [self._one(sight.pixels(sight.whole).astype(int), concepts) for sight in sights]

    def _one(self, rgb, concepts):
        rows, boxes, masks = [], [], []
        for concept in concepts:
            place = {"red": rgb[..., 0] > 180, "blue": rgb[..., 2] > 180}.get(concept.text)
            if place is None or not place.any():
                continue
            ys, xs = np.nonzero(place)
            rows.append(concept.number)
            boxes.append((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1))
            masks.append(torch.from_numpy(place).float() * 8 - 4)
        return Detections.of(rows, [0.9] * len(rows), boxes, torch.stack(masks)) if rows else Detections.none()


@pytest.fixture(autouse=True)
def colours(monkeypatch):
    monkeypatch.setattr(choosing, "choose", lambda *_: "colours")
    monkeypatch.setattr(choosing, "pick", lambda *_, **__: Colours())


def labels(desk: Desk) -> dict[int, str | None]:
    return {item.id: item.label for item in desk.view().result().objects}


def test_words_on_a_frame_become_objects_that_can_be_tracked(desk):
    found = desk.find(8, "red, blue; dodo").result()
    assert [(item.label, mask.source) for item, mask in found.objects] == [("red", "detected"), ("blue", "detected")]
    assert stored(desk, 1)[8].mask.box == (18.0, 15.0, 43.0, 38.0)
    again = desk.find(8, "red").result()
    assert (again.objects, again.known) == ((), 1)
    assert desk.view().result().undo == "find 'red, blue, dodo' on frame 8"
    assert track(desk, 8, "forward").objects == (1, 2)
    assert list(stored(desk, 2)) == list(range(8, FRAMES))
    for name in ("track 15 frames", "find 'red, blue, dodo' on frame 8"):
        assert desk.undo().result()[0] == name
    assert desk.view().result().objects == ()
    with pytest.raises(InputError):
        desk.find(8, " , ").result()
    with pytest.raises(InputError):
        desk.find(8, "red", threshold=2.0).result()


def test_a_job_finds_what_words_name_and_leaves_what_is_there(sure):
    sure.prompt(RED).result()
    sure.set_mask(sure.add_object("drawn").result().id, 8, square(2, 55)).result()
    sure.change_object(2, locked=True).result()
    job = sure.track(TrackRequest(8, "both", text="red, blue")).result()
    job = wait(sure)
    assert (job.state, job.done, job.total) == ("finished", FRAMES, FRAMES), job.message
    assert labels(sure) == {1: "red", 2: "drawn", 3: "blue"}
    assert job.objects == (1, 3)
    assert list(stored(sure, 1)) == list(stored(sure, 3)) == list(range(FRAMES))
    assert list(stored(sure, 2)) == [8]
    truth = clip()
    for frame in (0, 14, FRAMES - 1):
        blue = Mask.from_array(truth.read(frame).rgb[..., 2].astype(int) > 180)
        assert stored(sure, 3)[frame].mask.iou(blue) > 0.8
    found = counts(sure, 3)
    assert sure.undo().result()[0] == f"look for 'red, blue' on {FRAMES} frames"
    assert (labels(sure), list(stored(sure, 1))) == ({1: "red", 2: "drawn"}, [8])
    sure.redo().result()
    assert (labels(sure)[3], counts(sure, 3)) == ("blue", found)


def test_a_job_that_finds_goes_on_after_a_rest_and_after_changes(sure):
    diary = Diary()
    sure.subscribe(diary)
    job = sure.track(TrackRequest(4, text="red, blue")).result()
    diary.wait_for_frames(1)
    sure.cancel(job.id).result()
    assert wait(sure).state == "cancelled"
    before = counts(sure, 1)
    assert before
    sure.accept(4).result()
    sure.resume(job.id).result()
    done = wait(sure)
    assert (done.state, done.done) == ("finished", FRAMES - 4)
    assert sorted(labels(sure).values()) == ["blue", "red"]
    assert {frame: counts(sure, 1)[frame] for frame in before} == before
    assert sorted(diary.frames) == sorted(set(diary.frames))


def test_what_holds_a_part_that_is_called_the_same_is_known_already(desk):
    nose = desk.add_object("red").result().id
    desk.set_mask(nose, 8, Mask.from_box(72, 96, 18, 15, 26, 38)).result()  # a third of it
    found = desk.find(8, "red").result()
    assert (found.objects, found.known_as) == ((), ((nose, "red"),))
    desk.change_object(nose, label="nose").result()
    (new, _) = desk.find(8, "red").result().objects[0]
    assert (new.id, new.label) == (nose + 1, "red")
