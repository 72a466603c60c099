"""Rules of the search region, and masks, prompts and checkpoints through it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import keepsight
from keepsight.core import InputError, Mask, Region
from keepsight.models.builtin.backbone import BuiltinBackbone
from keepsight.tracking import Zoom
from keepsight.tracking.appearance import colours_of, likeness
from keepsight.tracking.masks import drop_strays, keep_clicked, masks_at_size, measure, move_logits, pieces_of
from keepsight.video import ArrayVideo

ZOOM = Zoom()
SIZES = st.tuples(st.integers(40, 1200), st.integers(40, 2000))


@st.composite
def boxes(draw):
    height, width = draw(SIZES)
    x1, y1 = draw(st.integers(0, width - 2)), draw(st.integers(0, height - 2))
    x2, y2 = draw(st.integers(x1 + 1, width)), draw(st.integers(y1 + 1, height))
    return (float(x1), float(y1), float(x2), float(y2)), (height, width)


def inside(region: Region, size: tuple[int, int]) -> bool:
    return 0 <= region.x1 < region.x2 <= size[1] and 0 <= region.y1 < region.y2 <= size[0]


def holds(region: Region, box) -> bool:
    return region.x1 <= box[0] and region.y1 <= box[1] and region.x2 >= box[2] and region.y2 >= box[3]


@settings(deadline=None)
@given(boxes())
def test_a_close_up_lies_in_the_frame_and_holds_its_object(drawn):
    box, size = drawn
    for region in (ZOOM.close_up(box, size), ZOOM.around_box(box, size)):
        assert inside(region, size)
        assert holds(region, box)


@settings(deadline=None)
@given(boxes(), st.integers(1, 10**7))
def test_a_lost_object_is_searched_inside_the_frame(drawn, lost):
    box, size = drawn
    extent = max(box[2] - box[0], box[3] - box[1])
    assert inside(ZOOM.search(box, extent, lost, ZOOM.close_up(box, size), size), size)


@settings(deadline=None, max_examples=40)
@given(boxes())
def test_a_long_search_looks_everywhere(drawn):
    box, size = drawn
    extent = max(box[2] - box[0], box[3] - box[1])
    before = ZOOM.close_up(box, size)
    tiles = ZOOM.tiles(extent, size)
    seen = [ZOOM.search(box, extent, lost, before, size) for lost in range(1, 40 + 3 * len(tiles))]
    assert Region.whole(*size) in seen
    assert set(tiles) <= set(seen)
    covered = np.zeros(size, bool)
    for tile in tiles:
        covered[tile.y1 : tile.y2, tile.x1 : tile.x2] = True
    assert covered.all() or not tiles


def test_the_region_stands_still_until_the_object_leaves_its_middle():
    size, before = (1080, 1920), ZOOM.close_up((500, 500, 540, 560), (1080, 1920))
    assert ZOOM.follow((504, 503, 544, 563), 60, before, size) == before
    moved = ZOOM.follow((560, 500, 600, 560), 60, before, size)
    assert moved != before
    assert holds(moved, (560, 500, 600, 560))


def test_one_bad_mask_changes_the_believed_size_little():
    size = (1080, 1920)
    assert ZOOM.believe((500, 500, 510, 510), 100.0, size) == pytest.approx(100 / ZOOM.shrink)
    assert ZOOM.believe((300, 300, 900, 900), 100.0, size) == pytest.approx(100 * ZOOM.grow)
    assert ZOOM.believe((500, 500, 600, 560), 100.0, size) == 100.0
    # An object that is leaving is cut by the frame and has not become smaller.
    assert ZOOM.believe((0, 500, 10, 510), 100.0, size) == 100.0


def test_large_objects_share_the_whole_frame():
    assert ZOOM.close_up((0, 0, 700, 700), (1080, 1920)) == Region.whole(1080, 1920)


def test_a_pyramid_holds_all_clicks_and_ends_close():
    points = [(100.0, 900.0), (160.0, 940.0)]
    regions = ZOOM.pyramid(points, (1080, 1920))
    assert regions[0] == Region.whole(1080, 1920)
    sides = [region.width for region in regions]
    assert sides == sorted(sides, reverse=True)
    assert sides[-1] < 200
    assert all(region.x1 <= x < region.x2 and region.y1 <= y < region.y2 for region in regions for x, y in points)


@pytest.mark.parametrize("bad", [{"context": 1.0}, {"least_px": 2}, {"drift": 0.6}, {"found_likeness": 1.5}])
def test_settings_that_cannot_work_are_refused(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        Zoom(**bad)


# -- masks through regions ---------------------------------------------------------------------------------------------
def test_a_mask_is_pasted_at_its_place_at_native_size():
    logits = torch.full((64, 64), -5.0)
    logits[16:48, 16:48] = 5.0
    region = Region(100, 40, 228, 168)
    [mask] = masks_at_size([logits], 300, 400, [region])
    truth = np.zeros((300, 400), bool)
    truth[72:136, 132:196] = True
    assert mask == Mask.from_array(truth)
    [area], [box] = measure(logits[None])
    assert area == 32 * 32
    assert region.box_from_grid(box, 64, 64) == (132, 72, 196, 136)


def test_a_speck_does_not_widen_the_box():
    logits = torch.full((64, 64), -5.0)
    logits[20:44, 20:44] = 5.0
    logits[2, 60] = 5.0
    [_], [box] = measure(logits[None])
    assert box == (20, 20, 44, 44)
    assert measure(torch.full((1, 8, 8), -1.0)) == ([0], [None])


def test_pieces_far_from_the_object_are_dropped_and_near_or_large_ones_stay():
    logits = torch.full((64, 64), -5.0)
    logits[10:30, 10:30] = 5.0  # the object
    logits[10:30, 33:36] = 5.0  # its other half, behind a pole
    logits[50:54, 50:54] = 5.0  # a piece that stayed on something else
    tidy = drop_strays(logits, 0.25)
    assert (tidy[50:54, 50:54] < 0).all()
    assert torch.equal(tidy[:40], logits[:40])
    assert drop_strays(logits, 3.0) is logits
    large = torch.full((64, 64), -5.0)
    large[0:20, 0:20] = large[44:64, 44:60] = 5.0
    assert drop_strays(large, 0.1) is large
    assert drop_strays(torch.full((8, 8), -1.0), 0.1).max() < 0


def test_pieces_of_a_mask_are_told_by_their_boxes_the_largest_first():
    logits = torch.full((40, 60), -1.0)
    pieces = [(20.0, 10.0, 28.0, 22.0), (50.0, 30.0, 60.0, 40.0), (5.0, 8.0, 7.0, 9.0)]
    for x1, y1, x2, y2 in pieces:
        logits[int(y1) : int(y2), int(x1) : int(x2)] = 1
    by_size = [pieces[1], pieces[0], pieces[2]]
    assert pieces_of(logits, 9) == by_size
    assert pieces_of(logits, 2) == by_size[:2]
    logits[10:40, 20:60] = 1
    logits[:10] = -1
    assert pieces_of(logits, 9) == pieces_of(torch.full((8, 8), -1.0), 9) == []


def test_a_large_piece_that_comes_in_elsewhere_is_a_stray():
    logits = torch.full((64, 64), -5.0)
    logits[5:25, 5:25], logits[40:58, 40:58] = 4.0, 4.0
    assert drop_strays(logits, 0.25) is logits
    assert drop_strays(logits, 0.25, (4.0, 4.0, 42.0, 42.0)) is logits  # it was there before
    assert (drop_strays(logits, 0.25, (4.0, 4.0, 26.0, 26.0)) > 0).sum() == 400
    assert drop_strays(logits, 3.0, (4.0, 4.0, 26.0, 26.0)) is logits  # near enough
    # Where the largest piece is new as well, the object has moved and nothing is known.
    assert drop_strays(logits, 0.25, (30.0, 0.0, 36.0, 4.0)) is logits


def test_of_a_clicked_mask_stays_what_was_clicked_on():
    logits = torch.full((64, 64), -5.0)
    logits[5:15, 5:15], logits[16:18, 5:15], logits[30:60, 30:60] = 4.0, 3.0, 4.0
    kept = keep_clicked(logits, [(10.0, 8.5)], 0.25)
    assert (kept > 0).sum() == 120  # and what lies next to it
    assert torch.equal(kept[:20], logits[:20])
    assert keep_clicked(logits, [(10.0, 8.5), (40.0, 40.0)], 0.25) is logits
    assert keep_clicked(logits, [(63.0, 2.0)], 0.25) is logits  # a click beside the mask says nothing about its pieces
    assert keep_clicked(logits, [(10.0, 8.5)], 5.0) is logits


def test_a_lost_object_is_looked_for_where_it_went_in_every_other_look_and_everywhere_in_the_others():
    zoom, size, box = Zoom(), (576, 768), (2.0, 180.0, 32.0, 240.0)
    looks = [zoom.search(box, 60.0, lost, Region(0, 139, 150, 289), size) for lost in range(1, 40)]
    later = looks[10:]
    there = [look.x1 == 0 and look.y1 <= 180 and look.y2 >= 240 and look.width < 300 for look in later]
    assert all(any(pair) for pair in pairwise(there))
    seen = np.zeros(size, bool)
    for look in later:
        if look != Region.whole(*size):
            seen[look.y1 : look.y2, look.x1 : look.x2] = True
    assert seen.all()


def test_a_part_of_a_lost_object_is_believed_only_where_the_estimate_is_high():
    zoom = Zoom()
    part = (100.0, 100.0, 140.0, 130.0)
    assert zoom.plausible(part, 100.0, zoom.part_iou)
    assert not zoom.plausible(part, 100.0, zoom.part_iou - 0.01)
    assert not zoom.plausible(part, 200.0, 1.0)
    assert zoom.plausible((0.0, 0.0, 130.0, 130.0), 100.0, 1.0)
    assert not zoom.plausible((0.0, 0.0, 131.0, 131.0), 100.0, 1.0)
    assert zoom.plausible((0.0, 0.0, 200.0, 131.0), 100.0, 1.0, guessed=True)
    assert not zoom.plausible((0.0, 0.0, 201.0, 131.0), 100.0, 1.0, guessed=True)
    assert zoom.plausible((0.0, 0.0, 100.0, 100.0), 100.0, zoom.found_iou)
    assert not zoom.plausible((0.0, 0.0, 100.0, 100.0), 100.0, zoom.found_iou - 0.01)


def test_what_looks_just_like_a_lost_object_need_not_be_sure_of_its_outline():
    zoom = Zoom()

    def known(side: float, iou: float, likeness: float, **how) -> bool:
        return zoom.recognised((0.0, 0.0, side, side), 100.0, iou, likeness, **how)

    assert known(100, zoom.found_iou, zoom.found_likeness)
    assert not known(100, 1.0, zoom.found_likeness - 0.01)
    assert known(100, zoom.unsure_iou, zoom.unsure_likeness)
    assert not known(100, zoom.unsure_iou - 0.01, 1.0)
    assert not known(100, zoom.found_iou - 0.01, zoom.unsure_likeness - 0.01)
    # Neither a part of it, nor what is larger, whatever is believed of one that was only clicked on.
    assert known(50, zoom.unsure_iou, 1.0)
    assert not known(49, zoom.unsure_iou, 1.0)
    assert not known(116, zoom.unsure_iou, 1.0, guessed=True)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(40, 100))
def test_logits_moved_to_another_region_show_the_same_mask(x, y, side):
    whole, region = Region(0, 0, 160, 160), Region(x, y, x + side, y + side)
    logits = torch.full((80, 80), -8.0)
    logits[15:25, 18:30] = 8.0
    moved = move_logits(logits, whole, region)
    [there], [here] = masks_at_size([moved], 160, 160, [region]), masks_at_size([logits], 160, 160, [whole])
    inside_region = here.to_array().copy()
    outside = np.ones((160, 160), bool)
    outside[region.y1 : region.y2, region.x1 : region.x2] = False
    inside_region[outside] = False
    # Resampled twice: the edge may shift by a cell.
    assert (there.to_array() ^ inside_region).sum() <= 4 * (10 + 12) * 2
    assert move_logits(logits, whole, whole) is logits


# -- the built-in model looking closely ----------------------------------------------------------------------------------
LEAVING_AND_BACK = (560, 580, 600, 620, 640, 670, 700, 700, 670, 640, 620, 600, 580, 560)


def scene(
    frames: int | None = None, size: tuple[int, int] = (360, 640), places: Sequence[int] = LEAVING_AND_BACK
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """A 24 px red disc with a yellow core over a soft pattern; it leaves at the right and comes back.

    Args:
        places: where it is, in px from the left, on each frame.
    """
    height, width = size
    y, x = np.mgrid[:height, :width]
    ground = np.stack([90 + 30 * np.sin(x / 17), 110 + 25 * np.cos(y / 23), 90 + 20 * np.sin((x + y) / 31)], -1)
    rgbs, masks = [], []
    for place in places[:frames]:
        disc = (x - place) ** 2 + (y - 200) ** 2 <= 12**2
        rgb = ground.copy()
        rgb[disc] = (220, 40, 40)
        rgb[(x - place) ** 2 + (y - 200) ** 2 <= 5**2] = (250, 220, 60)
        rgbs.append(rgb.astype(np.uint8))
        masks.append(disc)
    return rgbs, masks


def mean_iou(results, masks) -> float:
    values = []
    for result in results:
        truth = masks[result.frame]
        found = result.objects[0].mask.to_array()
        union = (truth | found).sum()
        values.append(1.0 if union == 0 else (truth & found).sum() / union)
    return float(np.mean(values))


def test_small_objects_gain_by_zoom_and_are_found_again():
    rgbs, masks = scene()
    runs = {}
    for zoom in (True, False):
        session = keepsight.load("builtin", zoom=zoom).open(ArrayVideo(rgbs))
        session.add(object_id=1, frame=0, mask=masks[0])
        runs[zoom] = list(session.propagate())
    assert mean_iou(runs[True], masks) > max(0.7, mean_iou(runs[False], masks))
    gone = [frame for frame, mask in enumerate(masks) if not mask.any()]
    assert gone
    assert all(runs[True][frame].objects[0].mask.area == 0 for frame in gone)
    assert runs[True][-1].objects[0].mask.area > 0


def test_a_session_with_zoom_goes_on_from_its_checkpoint_bit_for_bit():
    rgbs, masks = scene()
    tracker = keepsight.load("builtin", zoom=True)
    whole = tracker.open(ArrayVideo(rgbs))
    whole.add(object_id=1, frame=0, mask=masks[0])
    expected = list(whole.propagate())
    for stop in (3, 7, 10):  # while it is there, while it is gone, after it came back
        broken = tracker.open(ArrayVideo(rgbs))
        broken.add(object_id=1, frame=0, mask=masks[0])
        run = broken.propagate()
        got = [next(run) for _ in range(stop)]
        run.close()
        again = tracker.open(ArrayVideo(rgbs))
        again.load_state(broken.save_state())
        got += list(again.propagate(resume=True))
        assert got == expected


def test_objects_together_are_as_each_alone():
    rgbs, masks = scene(5)
    box = (100.0, 80.0, 180.0, 170.0)
    tracker = keepsight.load("builtin", zoom=True)

    def run(ids):
        session = tracker.open(ArrayVideo(rgbs))
        if 1 in ids:
            session.add(object_id=1, frame=0, mask=masks[0])
        if 2 in ids:
            session.add(object_id=2, frame=0, box=box)
        return [{o.object_id: o.mask for o in result.objects} for result in session.propagate()]

    both = run({1, 2})
    for number in (1, 2):
        for frame, alone in enumerate(run({number})):
            together = both[frame][number].to_array()
            assert (together ^ alone[number].to_array()).sum() <= 2


def test_a_stream_with_zoom_equals_a_session():
    rgbs, masks = scene(6)
    session = keepsight.load("builtin", zoom=True).open(ArrayVideo(rgbs))
    session.add(object_id=1, frame=0, mask=masks[0])
    tracker = keepsight.load("builtin", zoom=True)
    tracker.add(object_id=1, mask=masks[0])
    for rgb, expected in zip(rgbs, session.propagate(), strict=True):
        assert [o.mask for o in tracker.step(rgb).objects] == [o.mask for o in expected.objects]


def test_what_is_answered_to_a_small_box_alone_is_outlined_by_the_model_and_followed_as_it_was_outlined(monkeypatch):
    rgbs, masks = scene(2)
    y, x = np.nonzero(masks[0])
    box = (float(x.min()), float(y.min()), float(x.max() + 1), float(y.max() + 1))
    asked = []

    def outline(self, logits, rgb, drawn):
        """The upper half of the box."""
        asked.append(rgb.shape)
        x1, y1, x2, y2 = (round(side) for side in drawn)
        half = torch.full_like(logits, -5.0)
        half[y1 : (y1 + y2) // 2, x1:x2] = 5.0
        return half

    monkeypatch.setattr(BuiltinBackbone, "outline", outline)
    session = keepsight.load("builtin", zoom=True).open(ArrayVideo(rgbs))
    answer = session.add(object_id=1, frame=0, box=box)
    upper = np.zeros_like(masks[0])
    upper[int(box[1]) : round((box[1] + box[3]) / 2), int(box[0]) : int(box[2])] = True
    assert answer.mask.iou(Mask.from_array(upper)) > 0.9
    first, second = (result[1].mask for result in session.propagate())
    assert first == answer.mask
    lower = masks[1] & (np.arange(360) > 203)[:, None]
    assert (second.to_array() & lower).sum() < 0.3 * lower.sum()  # it remembers the upper half
    assert asked == [(50, 50, 3)]
    # Clicks say more than edges do, a mask says it all, and a whole frame is not looked at closely.
    session.add(object_id=1, frame=0, points=[(560.0, 200.0)])
    session.add(object_id=2, frame=0, points=[(560.0, 200.0)])
    session.add(object_id=3, frame=0, mask=masks[0])
    keepsight.load("builtin", zoom=False).open(ArrayVideo(rgbs)).add(object_id=1, frame=0, box=box)
    assert len(asked) == 1


def test_a_mask_that_somebody_gives_is_shown_as_it_was_given():
    rgbs, _ = scene(2)
    y, x = np.mgrid[:360, :640]
    # Large, with hairs of one px and holes: more than the logits of a region can hold.
    ragged = (np.hypot(x - 320, y - 180) < 150 + 15 * np.sin(40 * np.arctan2(y - 180, x - 320))) & (
        (x % 20 > 0) | (y % 2 > 0)
    )
    session = keepsight.load("builtin").open(ArrayVideo(rgbs))
    answer = session.add(object_id=1, frame=0, mask=ragged)
    shown = [result[1].mask for result in session.propagate()]
    tracker = keepsight.load("builtin")
    tracker.add(object_id=1, mask=ragged)
    given_mask = Mask.from_array(ragged)
    assert answer.mask == shown[0] == tracker.step(rgbs[0])[1].mask == given_mask
    assert shown[1] != given_mask
    # Without zoom it is what both references show: the model's logits.
    whole = keepsight.load("builtin", zoom=False).open(ArrayVideo(rgbs))
    assert whole.add(object_id=1, frame=0, mask=ragged).mask != given_mask


# -- colours -----------------------------------------------------------------------------------------------------------
def test_colours_tell_things_apart_and_survive_a_change_of_size():
    rng = np.random.default_rng(0)
    red = np.clip(rng.normal((200, 40, 40), 8, (40, 30, 3)), 0, 255).astype(np.uint8)
    blue = np.clip(rng.normal((40, 60, 190), 8, (40, 30, 3)), 0, 255).astype(np.uint8)
    mask = np.ones((40, 30), bool)
    a, b = colours_of(red, mask), colours_of(blue, mask)
    assert a is not None
    assert b is not None
    assert a.sum() == pytest.approx(1)
    assert likeness(a, a) == pytest.approx(1)
    assert likeness(a, b) < 0.2
    small = colours_of(red[::2, ::2], mask[::2, ::2])
    assert small is not None
    assert likeness(a, small) > 0.95
    assert colours_of(red, np.zeros((40, 30), bool)) is None


@pytest.mark.parametrize(("begin", "reverse"), [(0, False), (1, False), (24, True), (25, True)])
def test_a_strided_run_looks_at_colours_on_every_fourth_step_wherever_it_begins(begin, reverse):
    rgbs, masks = scene(places=range(300, 352, 2))
    session = keepsight.load("builtin", zoom=True).open(ArrayVideo(rgbs))
    session.add(object_id=1, frame=begin, mask=masks[begin])
    track, learnt = session._set.tracks[1], []
    known = track.colours
    for result in session.propagate(stride=2, direction="backward" if reverse else "forward"):
        if track.colours is not known:
            learnt.append(result.frame)
            known = track.colours
    assert len(learnt) == 3
    assert all(abs(b - a) == 4 * 2 for a, b in pairwise(learnt))


def test_zoom_is_the_built_in_models_own_choice_until_somebody_says_otherwise():
    options = keepsight.EngineOptions()
    assert keepsight.load("builtin").options.closely == Zoom()
    assert keepsight.load("builtin", options=options).options.closely == Zoom()
    assert keepsight.load("builtin", options=options, zoom=False).options.closely is None
    assert keepsight.load("builtin", zoom=Zoom(context=3.0)).options.closely == Zoom(context=3.0)
    assert options.settled(False).closely is None
    assert keepsight.EngineOptions(zoom=True).settled(False).closely == Zoom()
