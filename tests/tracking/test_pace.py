"""Objects that move by about their own size in a frame: how fast they are taken to be, and that they are followed."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

import keepsight
from keepsight.core import Region
from keepsight.memory import FrameRecord, Role, Selection, SpatialRead, Step
from keepsight.tracking import Zoom
from keepsight.tracking.calls import Calls, _placement
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.pace import PACE_X, PACE_Y, ahead, fast_pace, note_pace
from keepsight.video import ArrayVideo

SIZE = (1080, 1920)


def record(frame, box, *, lost=0, iou=0.9, **marks):
    extent = max(box[2] - box[0], box[3] - box[1])
    return FrameRecord(frame, Role.TRACK, box=box, extent=extent, lost=lost, iou=iou, marks=marks)


def paced(before, after, *, shown=True, **marks):
    last, now = record(10, before, **marks), record(11, after)
    note_pace(now, last, shown=shown)
    return now.marks.get(PACE_X), now.marks.get(PACE_Y)


def test_the_first_movement_is_the_pace_and_later_ones_change_it_step_by_step():
    assert paced((100, 100, 140, 120), (130, 90, 170, 110)) == (30, -10)
    x, y = paced((100, 100, 140, 120), (130, 90, 170, 110), pace_x=0.0, pace_y=-10.0)
    assert 15 < x < 30
    assert y == -10


def test_what_is_being_covered_goes_on_as_it_did():
    x, y = paced((100, 100, 140, 120), (130, 100, 150, 120), pace_x=25.0, pace_y=0.0)
    assert (x, y) == (25, 0)
    assert paced((100, 100, 140, 120), (100, 100, 140, 120), shown=False, pace_x=25.0, pace_y=5.0) == (25, 5)


def test_a_thing_that_stands_has_no_pace_and_an_unsure_mask_says_nothing():
    assert paced((100, 100, 140, 120), (99, 100, 141, 121)) == (0, 0)
    last, now = record(10, (100, 100, 140, 120), pace_x=3.0, pace_y=0.0), record(11, (150, 100, 190, 120), iou=0.3)
    note_pace(now, last, shown=True)
    assert now.marks[PACE_X] == 3


def test_of_a_thing_whose_first_steps_change_its_size_nobody_knows_yet_how_fast_it_is():
    # Back from outside, 27 px further up, half of it out of the region in which it was expected.
    assert paced((1811, 1052, 1830, 1072), (1810, 1035, 1828, 1046)) == (None, None)


def test_a_thing_that_goes_far_may_be_outlined_loosely_on_its_way():
    """Twice its size in a frame, seen from afar: its box is 7 px wider than it was, of 28."""
    assert paced((232, 329, 258, 360), (292, 354, 325, 384)) == (60, 24)
    assert paced((232, 329, 258, 360), (252, 354, 285, 384)) == (None, None)  # of 20 px 7 are too many


def test_what_was_long_lost_is_found_without_a_pace():
    for lost, known in ((3, True), (4, False)):
        last, now = record(10, (100, 100, 140, 120), lost=lost, pace_x=9.0, pace_y=0.0), record(11, (0, 0, 40, 20))
        note_pace(now, last, shown=True)
        assert (PACE_X in now.marks) == known


def test_what_vanishes_right_away_has_no_pace_rather_than_none():
    box = (100, 100, 140, 120)
    assert paced(box, box, shown=False) == (None, None)
    before = Zoom().close_up(box, SIZE)
    looks = [Zoom().search(box, 40, 1, before, SIZE, paced=paced) for paced in (True, False)]
    assert looks[0] == before
    assert looks[1].width == 1.5 * before.width


@pytest.mark.parametrize(("frame", "reverse"), [(11, False), (9, True)])
def test_a_lost_object_is_looked_for_further_on_but_not_for_ever(frame, reverse):
    way, zoom = frame - 10, Zoom()
    box = (100.0, 100.0, 140.0, 120.0)
    step = Step(frame, reverse, 50)
    assert ahead(record(10, box, pace_x=way * 20.0, pace_y=0.0), step, zoom) == pytest.approx((20, 0))
    reached = [ahead(record(10, box, lost=lost, pace_x=way * 20.0, pace_y=0.0), step, zoom)[0] for lost in range(60)]
    assert reached == sorted(reached)
    assert 90 < reached[-1] <= 100
    # A slow one is waited for, and a run that goes on elsewhere knows nothing of it.
    assert ahead(record(10, box, lost=20, pace_x=way * 8.0, pace_y=0.0), step, zoom) == (0, 0)
    assert ahead(record(10, box, pace_x=20.0, pace_y=0.0), Step(30, reverse, 50), zoom) == (0, 0)


def test_the_region_goes_ahead_of_fast_objects_only():
    zoom, box, step = Zoom(), (500.0, 500.0, 540.0, 540.0), Step(11, False, 50)
    before = zoom.close_up(box, SIZE)
    assert zoom.follow(box, 40, before, SIZE) == before
    led = zoom.follow(box, 40, before, SIZE, (60.0, 0.0))
    assert led.x1 <= 560 - 20
    assert led.x2 >= 600 + 20
    assert zoom.search(box, 40, 1, before, SIZE) == before
    assert zoom.search(box, 40, 1, before, SIZE, (60.0, 0.0)).x2 > led.x2
    assert fast_pace(record(10, box, pace_x=60.0, pace_y=0.0), step, zoom) == (60, 0)
    assert fast_pace(record(10, box, pace_x=8.0, pace_y=0.0), step, zoom) == (0, 0)
    assert fast_pace(record(10, box, lost=1, pace_x=60.0, pace_y=0.0), step, zoom) == (0, 0)


def test_remembered_frames_lie_where_the_object_would_be_by_now():
    region = Region(100, 100, 200, 200)
    remembered = FrameRecord(8, Role.TRACK, region=Region(60, 100, 160, 200))
    assert _placement(remembered, region, 10, (20.0, 0.0)) == pytest.approx((1, 1, 0, 0))
    assert _placement(FrameRecord(8, Role.TRACK, region=region), region, 10, (0.0, 0.0)) is None
    assert _placement(FrameRecord(8, Role.TRACK, region=region), region, 10, (0.0, 5.0)) == pytest.approx(
        (1, 1, 0, 0.1)
    )
    # What a person has said may be long ago.
    assert _placement(FrameRecord(8, Role.PROMPT, region=region), region, 10, (20.0, 0.0)) is None


@pytest.mark.parametrize(("role", "frame"), [(Role.PROMPT, 0), (Role.TRACK, 8)])
def test_what_was_far_from_where_the_object_is_now_lies_there(role, frame):
    """A place that is out of reach of the view says nothing of what is in it."""
    remembered = FrameRecord(frame, role, box=(100.0, 140.0, 120.0, 160.0), region=Region(60, 100, 160, 200))
    region = Region(500, 100, 600, 200)
    near = Region(100, 100, 200, 200)
    assert _placement(remembered, region, 10, (0.0, 0.0), (550.0, 150.0)) == pytest.approx((1, 1, 0, 0))
    assert _placement(remembered, region, 10, (0.0, 0.0), (560.0, 150.0)) == pytest.approx((1, 1, 0.1, 0))
    assert _placement(remembered, region, 10, (0.0, 0.0)) == pytest.approx((1, 1, -4.4, 0))
    assert _placement(remembered, near, 10, (0.0, 0.0), (160.0, 150.0)) == pytest.approx((1, 1, -0.4, 0))
    assert _placement(remembered, near, 10, (0.0, 0.0), (161.0, 150.0)) == pytest.approx((1, 1, 0.11, 0))


@pytest.mark.parametrize(("anew", "shift"), [(False, -4.4), (True, 0.0)])
def test_recent_frames_say_where_an_object_is_until_it_is_lost(anew, shift):
    backbone = SimpleNamespace(info=SimpleNamespace(pointers=0))
    told, recent = (
        FrameRecord(frame, role, box=(100.0, 140.0, 120.0, 160.0), region=Region(60, 100, 160, 200))
        for frame, role in ((0, Role.PROMPT), (9, Role.TRACK))
    )
    reads = Calls(backbone, EngineOptions()).reads(  # type: ignore[arg-type]
        Selection((SpatialRead(told, 0), SpatialRead(recent, 1))),
        Step(10, False, 100),
        Region(500, 100, 600, 200),
        at=(550.0, 150.0),
        anew=anew,
    )
    assert [read.placement for read in reads.spatial] == [pytest.approx((1, 1, 0, 0)), pytest.approx((1, 1, shift, 0))]


def test_the_tiles_of_a_search_begin_where_the_object_was_last():
    zoom, box = Zoom(), (1500.0, 200.0, 1525.0, 225.0)
    looks = [zoom.search(box, 25, lost, zoom.close_up(box, SIZE), SIZE) for lost in range(2, 40)]
    looks = [look for look in looks if look != Region.whole(*SIZE)]
    far = [abs(look.x1 + look.x2 - 3025) / 2 for look in looks]
    assert max(look.width for look in looks) < 300  # a thing of 25 px is not seen in more
    assert max(far[:10]) < max(far)
    assert max(far[:10]) < 200


def test_a_thing_that_moves_by_more_than_its_size_is_followed():
    rng = np.random.default_rng(3)
    ground = cv2.resize(rng.integers(60, 110, (24, 64, 3), np.uint8), (960, 360), interpolation=cv2.INTER_CUBIC)
    rgbs, truths = [], []
    for t in range(12):
        rgb, truth = ground.copy(), np.zeros(ground.shape[:2], np.uint8)
        at = (60 + 60 * t, 120 + 6 * t)
        cv2.ellipse(truth, at, (24, 16), 0, 0, 360, 1, -1)
        rgb[truth > 0] = (220, 160, 40)
        cv2.circle(rgb, (at[0] + 8, at[1]), 6, (60, 40, 200), -1)
        rgbs.append(rgb)
        truths.append(truth > 0)
    session = keepsight.load("builtin", zoom=True).open(ArrayVideo(rgbs))
    session.add(object_id=1, frame=0, mask=truths[0])
    found = {result.frame: result[1].mask.to_array() for result in session.propagate()}
    ious = [(found[t] & truths[t]).sum() / (found[t] | truths[t]).sum() for t in range(1, 12)]
    assert min(ious) > 0.6
