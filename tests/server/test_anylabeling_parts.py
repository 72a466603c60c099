"""The parts of the X-AnyLabeling API that need no server: bodies in pieces, shapes, what fits into one event."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from keepsight.core import Mask, Source, TrackedObject
from keepsight.formats.polygons import fill_polygons
from keepsight.server.anylabeling.intake import JsonPieces
from keepsight.server.anylabeling.shapes import compact, group_id, pack, shapes_of

TEXTS = st.text(alphabet='ab"\\/\n\u00e9\u2028', max_size=400)
VALUES = st.recursive(TEXTS | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text("k"), inner))


@given(VALUES, st.integers(1, 97), st.booleans())
def test_json_in_pieces_is_the_same_json_and_long_strings_leave_it(value, step, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    taken = []

    def take(long):
        taken.append(long)
        return f"#{len(taken) - 1}"

    pieces = JsonPieces(take, 10_000)
    for start in range(0, len(text), step):
        pieces.feed(text[start : start + step])

    def restored(found):
        if isinstance(found, str):
            return taken[int(found[1:])] if found.startswith("#") else found
        if isinstance(found, list):
            return [restored(item) for item in found]
        return {key: restored(item) for key, item in found.items()} if isinstance(found, dict) else found

    assert restored(pieces.finish()) == value
    assert all(len(json.dumps(long, ensure_ascii=False).encode()) > 250 for long in taken)


def item(pixels, score=0.9, object_id=1):
    mask = Mask.from_array(pixels)
    return TrackedObject(object_id, mask, score, 1.0 if mask.area else 0.0, Source.TRACKED)


def blob(side=200, seed=0):
    rows, columns = np.mgrid[:side, :side]
    angle = np.arctan2(rows - side / 2, columns - side / 2)
    waves = np.random.default_rng(seed).normal(size=12)
    radius = side / 4 + sum(w * np.cos(k * angle) for k, w in enumerate(waves)) * side / 80
    return np.hypot(rows - side / 2, columns - side / 2) < radius


def test_all_parts_of_an_object_are_polygons_of_one_group_and_dirt_is_left_out():
    pixels = np.zeros((60, 80), bool)
    pixels[5:25, 5:25] = pixels[30:50, 40:70] = True
    pixels[58, 2] = True
    shapes = shapes_of(item(pixels), "cow", "polygon")
    assert [(shape["label"], shape["group_id"]) for shape in shapes] == [("cow", 1)] * 2
    back = fill_polygons([shape["points"] for shape in shapes], 60, 80).to_array()
    pixels[58, 2] = False
    assert (back == pixels).all()


def test_masks_of_any_size_are_shapes_with_three_corners_at_least():
    for height, width in ((1, 1), (1, 9), (9, 1), (2, 2)):
        pixels = np.zeros((12, 12), bool)
        pixels[2 : 2 + height, 3 : 3 + width] = True
        (shape,) = shapes_of(item(pixels), "dot", "polygon")
        assert len(shape["points"]) >= 4
        assert (np.ptp(shape["points"], axis=0) > 0).all()
    assert shapes_of(item(np.zeros((12, 12), bool)), "gone", "polygon") == []
    assert shapes_of(item(np.zeros((12, 12), bool)), "gone", "rectangle") == []


def test_polygons_get_coarser_until_all_frames_fit_and_stay_near_the_mask():
    item_of = item(blob())
    frames = range(50)

    def read():
        for frame in frames:
            yield frame, [item_of]

    fine = pack(read, frames, {1: "cow"}, "polygon", 0.0001, 10, budget=10**9)
    size = len(compact(fine))
    tight = pack(read, frames, {1: "cow"}, "polygon", 0.0001, 10, budget=size // 5)
    assert len(compact(tight)) < size // 4
    assert list(tight) == [str(frame) for frame in range(10, 60)]
    mask = fill_polygons([tight["10"]["masks"][0]["points"]], 200, 200)
    assert mask.iou(item_of.mask) > 0.9
    assert pack(read, frames, {2: "other"}, "polygon", 0.001, 0)["0"] == {"masks": []}


def test_group_ids_are_those_that_the_client_can_manage():
    assert [group_id(one) for one in (1, 2, 9999, 10_000)] == [1, 2, 9999, 1]
