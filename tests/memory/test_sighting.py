"""What was seen on a frame: its key points, and its mask carried along by optical flow."""

from __future__ import annotations

import json

import numpy as np
import pytest
from films import CELLS, FRAME, HEIGHT, WIDTH, Film, rectangle

from keepsight.core import Region
from keepsight.memory.sighting import Sighting, extrapolated, pack_mask, unpack_mask


# -- key points ----------------------------------------------------------------------------------------------------------
def test_key_points_are_centroid_and_midpoints_to_the_ends():
    seen = Sighting.of(3, 0.9, FRAME, rectangle((40, 30, 80, 60)))
    assert seen.box == (40, 30, 80, 60)
    half = (80 - 40) / 4 - FRAME.width / CELLS / 4, (60 - 30) / 4 - FRAME.height / CELLS / 4
    expected = [(60, 45), (60, 45 - half[1]), (60, 45 + half[1]), (60 - half[0], 45), (60 + half[0], 45)]
    assert seen.key_points() == pytest.approx(np.array(expected))
    assert Sighting.of(3, 0.9, FRAME, np.zeros((8, 8), bool)) is None


def test_key_points_in_a_close_up_are_px_of_the_frame():
    close = Region(40, 20, 72, 52)
    near = Sighting.of(0, 0.9, close, rectangle((48, 26, 60, 38), close)).key_points()
    far = Sighting.of(0, 0.9, FRAME, rectangle((48, 26, 60, 38), FRAME, 160)).key_points()
    assert near == pytest.approx(far, abs=1.0)
    one = np.zeros((4, 4), bool)
    one[1, 2] = True
    assert Sighting.of(0, 0.9, Region(8, 8, 16, 16), one).key_points() == pytest.approx(np.full((5, 2), (13, 11)))


def test_points_move_on_in_a_straight_line():
    assert extrapolated(np.array([[10.0, 5.0]]), np.array([[7.0, 9.0]])).tolist() == [[13, 1]]
    assert extrapolated(np.array([[10.0, 5.0]]), np.array([[7.0, 9.0]]), 0.5).tolist() == [[11.5, 3]]


# -- carried masks -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("region", [FRAME, Region(30, 20, 94, 84)])
def test_a_mask_is_carried_by_the_flow(region):
    seen = Sighting.of(0, 0.9, region, rectangle((44, 36, 76, 60), region))
    carried = seen.carried(Film((10, -6)).motion(), (HEIGHT, WIDTH))
    assert carried.box == pytest.approx((54, 30, 86, 54), abs=2.6)
    assert carried.growth == pytest.approx(1, abs=0.15)


def test_only_what_moved_is_carried():
    """The object moves by 16 px, its surroundings stand still: the box holds the object alone."""
    flow = np.zeros((60, 80, 2), np.float32)
    flow[:, :] = 0
    x = (np.arange(80) + 0.5) * 2
    y = (np.arange(60)[:, None] + 0.5) * 2
    flow[(x >= 56) & (x < 96) & (y >= 40) & (y < 70)] = (-8, 0)
    # What the object uncovered shows background that was hidden: its origin is outside of the mask.
    flow[(x >= 40) & (x < 56) & (y >= 40) & (y < 70)] = (-12, 0)
    carried = Sighting.of(0, 0.9, FRAME, rectangle((40, 40, 80, 70))).carried(flow, (HEIGHT, WIDTH))
    assert carried.box == pytest.approx((56, 40, 96, 70), abs=2.6)


def test_an_object_smaller_than_a_cell_of_the_flow_keeps_its_size():
    region = Region(60, 40, 76, 56)
    seen = Sighting.of(0, 0.9, region, rectangle((66, 46, 69, 49), region))
    carried = seen.carried(Film((7, 5), grid=(12, 16)).motion(), (HEIGHT, WIDTH))
    assert carried.box == pytest.approx((73, 51, 76, 54), abs=0.6)


def test_a_mask_that_left_is_not_carried():
    seen = Sighting.of(0, 0.9, FRAME, rectangle((140, 40, 160, 60)))
    assert seen.carried(Film((40, 0)).motion(), (HEIGHT, WIDTH)) is None
    # And a single wrong vector does not widen the box.
    flow = Film((0, 0)).motion()
    flow[0, 0] = (15, 12)
    carried = Sighting.of(0, 0.9, FRAME, rectangle((40, 30, 80, 60))).carried(flow, (HEIGHT, WIDTH))
    assert carried.box == pytest.approx((40, 30, 80, 60), abs=2.6)


# -- packing -------------------------------------------------------------------------------------------------------------
def test_a_mask_goes_through_json():
    mask = rectangle((50, 34, 90, 64))
    assert mask.any()
    assert (unpack_mask(json.loads(json.dumps(pack_mask(mask)))) == mask).all()
