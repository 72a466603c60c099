"""A prompt checks itself: what is refused, and that the line says why."""

from __future__ import annotations

import numpy as np
import pytest

from keepsight.core import FrameResult, InputError, Mask, Prompt, TrackedObject

MASK = Mask.from_array(np.eye(4))
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "at least one point, a box or a mask"),
        ({"points": ((1, 1),)}, "1 points but 0 point labels"),
        ({"labels": (1,)}, "0 points but 1 point labels"),
        ({"points": ((1, 1),), "labels": (2,)}, "1 .on the object. or 0"),
        ({"points": ((1, 1),), "labels": (-1,)}, "1 .on the object. or 0"),
        ({"points": ((NAN, 1),), "labels": (1,)}, "finite"),
        ({"points": ((1, INF),), "labels": (1,)}, "finite"),
        ({"points": ((1,),), "labels": (1,)}, "x,y"),
        ({"points": ((1, 2, 3),), "labels": (1,)}, "x,y"),
        ({"box": (0, 0, NAN, 4)}, "finite"),
        ({"box": (4, 0, 4, 4)}, "X2 > X1"),
        ({"box": (0, 5, 4, 4)}, "Y2 > Y1"),
        ({"box": (0, 0, 4)}, "X1,Y1,X2,Y2"),
        ({"mask": MASK, "box": (0, 0, 4, 4)}, "not both"),
        ({"mask": MASK, "points": ((1, 1),), "labels": (1,)}, "not both"),
        ({"object_id": -1, "mask": MASK}, "0 or more"),
    ],
)
def test_refused(given, says):
    with pytest.raises(InputError, match=says) as caught:
        Prompt(**{"object_id": 3, "frame": 7, **given})
    assert f"object {given.get('object_id', 3)} on frame 7" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"points": ((4, 1),), "labels": (1,)}, "point 4,1 lies outside the 4x3"),
        ({"points": ((1, -0.5),), "labels": (1,)}, "outside"),
        ({"box": (4, 0, 5, 1)}, "box 4,0,5,1 lies outside"),
        ({"box": (-3, 0, 0, 1)}, "outside"),
        ({"mask": MASK}, "the mask is 4x4 px but the frame is 4x3 px"),
        ({"mask": Mask.empty(3, 4)}, "empty"),
    ],
)
def test_outside_the_frame(given, says):
    with pytest.raises(InputError, match=says):
        Prompt(1, 0, **given).check_inside(3, 4)


@pytest.mark.parametrize(
    "given",
    [
        {"points": ((0, 0), (3.9, 2.9)), "labels": (1, 0)},
        {"box": (-5, -5, 50, 50)},
        {"box": (1, 1, 2, 2), "points": ((1, 1),), "labels": (0,)},
        {"mask": Mask.from_array(np.eye(3, 4))},
    ],
)
def test_inside_the_frame(given):
    Prompt(0, 0, **given).check_inside(3, 4)


def test_results_are_read_by_object_id():
    item = TrackedObject(5, MASK, 0.5, 0.9)
    result = FrameResult(0, 0.0, 4, 4, (item, TrackedObject(2, Mask.empty(4, 4), 0.5, 0.1)))
    assert result[5] is item
    assert [obj.present for obj in result.objects] == [True, False]
    with pytest.raises(KeyError):
        result[0]


def test_loose_values_make_a_prompt():
    loose = Prompt.of(3, 7, points=[(1, 2), np.array([3, 4])], box=np.arange(4), label="cow")
    assert loose == Prompt(3, 7, ((1.0, 2.0), (3.0, 4.0)), (1, 1), (0.0, 1.0, 2.0, 3.0), None, "cow")
    assert all(type(value) is float for value in (*loose.points[1], *loose.box))
    assert Prompt.of(3, 7, points=[(1, 2)], labels=np.array([0])).labels == (0,)
    assert Prompt.of(3, 7, mask=np.eye(4)) == Prompt.of(3, 7, mask=MASK) == Prompt(3, 7, mask=MASK)
    with pytest.raises(InputError, match="got 3 numbers"):
        Prompt.of(3, 7, box=(0, 0, 4))
