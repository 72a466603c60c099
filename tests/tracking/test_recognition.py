"""What is found in an object's place and is not it is taken back, by its size and colours."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import keepsight
from keepsight.core import Region
from keepsight.memory import FrameRecord, Role, Selection, SpatialRead, Step
from keepsight.tracking import Zoom
from keepsight.tracking.appearance import colours_of
from keepsight.tracking.candidates import CandidateMasks
from keepsight.tracking.engine import Engine
from keepsight.tracking.options import EngineOptions
from keepsight.tracking.pace import on_its_way
from keepsight.tracking.recognition import DISMISSED_SCORE, dismiss, second_looks, single_out, third_looks
from keepsight.tracking.track import FramePrompt, Track
from keepsight.tracking.units import Offer, Unit, best_boxes, units_of
from keepsight.video import ArrayVideo

SIZE = (200, 300)
REGION = Region(50, 40, 178, 168)  # 128 px: a cell of the 64 x 64 logits is two of them
RED, BLUE = (200, 40, 40), (40, 60, 200)


class _AsTheyAre:
    """A backbone whose masks are as large as they were decoded."""

    def sharpen_each(self, features, coarse, views):
        return coarse


def square(x: int, y: int, width: int, height: int) -> torch.Tensor:
    """Logits of a rectangle, in px of the frame."""
    logits = torch.full((64, 64), -5.0)
    logits[
        (y - REGION.y1) // 2 : (y + height - REGION.y1) // 2, (x - REGION.x1) // 2 : (x + width - REGION.x1) // 2
    ] = 5
    return logits


def found(logits: torch.Tensor, colour, *, red_to=0, lost=0, iou=0.9, alone=False, said=None, **marks) -> Unit:
    """One red object of 40 px, last seen at 100, 80; what is found on a frame that has ``colour``, and red left of ``red_to``;
    of that, if ``alone``, the piece that is most like it. ``said`` is how it was prompted, by its box if nothing is."""
    red = np.full((*SIZE, 3), RED, np.uint8)
    track = Track(1, SimpleNamespace())  # type: ignore[arg-type]
    track.colours = colours_of(red, np.ones(SIZE, bool))
    track.prompts[0] = said or FramePrompt(box=(100.0, 80.0, 140.0, 120.0))
    last = FrameRecord(10, Role.TRACK, box=(100.0, 80.0, 140.0, 120.0), extent=40.0, lost=lost, marks=marks)
    unit = Unit(track, 0, REGION, Selection([], []), None, None, last)
    masks = CandidateMasks(_AsTheyAre(), None, 0, logits[None])  # type: ignore[arg-type]
    unit.offer = Offer(masks, torch.tensor([iou]), 3.0, None)
    frame = np.full((*SIZE, 3), colour, np.uint8)
    frame[:, :red_to] = RED
    sight = SimpleNamespace(size=SIZE, pixels=lambda at: frame[at.y1 : at.y2, at.x1 : at.x2])
    if alone:
        single_out([unit], sight, Zoom())  # type: ignore[arg-type]
    dismiss([unit], Step(11, False, 100), sight, Zoom(), None)  # type: ignore[arg-type]
    return unit


def stays(unit: Unit) -> bool:
    return unit.offer.object_score > DISMISSED_SCORE


@pytest.mark.parametrize(
    ("ratio", "least"),
    [(0.39, "kept_likeness"), (0.4, "shrunk_likeness"), (0.74, "shrunk_likeness"), (1.51, "spread_likeness")],
)
def test_the_odder_its_size_the_more_alike_it_must_be(ratio, least):
    zoom = Zoom()
    assert zoom.least_likeness((10.0, 10.0, 10 + 100 * ratio, 20.0), 100.0) == getattr(zoom, least)


@pytest.mark.parametrize("ratio", [0.75, 1.0, 1.5])
def test_colours_alone_decide_nothing(ratio):
    assert Zoom().least_likeness((10.0, 10.0, 10 + 100 * ratio, 20.0), 100.0) == 0.0
    assert stays(found(square(100, 80, 40, 40), BLUE))  # the light may have changed


@pytest.mark.parametrize(("x", "width"), [(84, 80), (100, 24), (100, 12)])
def test_what_spreads_or_stays_behind_on_other_colours_is_not_the_object(x, width):
    mask = square(x, 80, width, min(width, 40))
    assert stays(found(mask, RED))
    assert not stays(found(mask, BLUE))


def test_of_what_spreads_remains_what_is_where_the_object_is_expected():
    spread = square(100, 80, 76, 40)  # 36 px too wide
    assert not stays(found(spread, BLUE))
    for moved in (0, 10):
        unit = found(spread, BLUE, red_to=140 + moved, pace_x=float(moved), pace_y=0.0)
        assert stays(unit)
        [box] = best_boxes([unit], SIZE)
        assert box is not None
        # To a cell: a margin of .15 of its size beyond where it should be by now.
        assert box[2] == pytest.approx(140 + moved + 6, abs=2)
        assert box[:2] == (100 + max(moved - 6, 0), 80)
    assert not stays(found(spread, BLUE, red_to=140, pace_x=60.0, pace_y=0.0))  # it must be elsewhere


def test_stray_pieces_do_not_make_a_sure_find_too_large():
    mask = square(80, 70, 40, 40)
    mask[54:62, 54:62] = 5  # far away, and small
    assert stays(found(mask, RED, lost=3))
    # Of an unsure one they say that it is a guess.
    assert not stays(found(mask, RED, lost=3, iou=0.5))
    assert not stays(found(mask, BLUE, lost=3))


def test_of_what_is_scattered_remains_the_piece_most_like_a_lost_object():
    both = torch.maximum(square(60, 60, 30, 30), square(120, 110, 40, 40))  # the larger piece is blue
    assert not stays(found(both, BLUE, red_to=100, lost=9))  # all of it is too large, and half of it blue
    unit = found(both, BLUE, red_to=100, lost=9, alone=True)
    assert stays(unit)
    assert best_boxes([unit], SIZE) == [(60, 60, 90, 90)]


def test_what_was_only_clicked_on_may_come_back_larger():
    click = FramePrompt([(120.0, 100.0)], [1])
    for side, alone in ((60, False), (78, True)):
        larger = square(120 - side // 2, 100 - side // 2, side, side)
        assert stays(found(larger, RED, lost=3, alone=alone, said=click))
        assert not stays(found(larger, RED, lost=3, alone=alone))
        boxed = FramePrompt([(120.0, 100.0)], [1], box=(100.0, 80.0, 140.0, 120.0))
        assert not stays(found(larger, RED, lost=3, alone=alone, said=boxed))
    assert not stays(found(square(76, 56, 88, 88), RED, lost=3, said=click))


def test_what_was_said_of_an_objects_size_outlives_the_prompt():
    track = Track(1, SimpleNamespace())  # type: ignore[arg-type]
    track.prompts = {3: FramePrompt([(1.0, 1.0)], [1]), 4: FramePrompt(box=(0.0, 0.0, 9.0, 9.0)), 5: FramePrompt()}
    assert not track.guessed
    for frame in (4, 3, 5):
        track.forget_prompt(frame)
        assert not track.guessed
    assert not track.prompts
    track.sized = False
    assert track.guessed
    track.found = 7
    assert not track.guessed  # a detector's mask says it too


def test_a_piece_of_another_size_is_not_singled_out():
    speck = torch.maximum(square(60, 60, 8, 8), square(100, 80, 40, 40))
    unit = found(speck, BLUE, red_to=80, lost=9, alone=True)  # the speck is as red as the object
    assert not stays(unit)
    [box] = best_boxes([found(speck, RED, lost=0, alone=True)], SIZE)
    assert box is not None
    assert box[0] < 68  # who is not lost keeps all


class _Scattered(Engine):
    """Sees both pieces of a mask wherever it looks."""

    def __init__(self, pieces) -> None:
        self.backbone = SimpleNamespace(absent_pointer=lambda: None)  # type: ignore[assignment]
        self.options = EngineOptions(zoom=Zoom())
        self.pieces = pieces
        self.seen: list[Region] = []

    def _decode(self, units, step, sight):
        for unit in units:
            self.seen.append(unit.region)
            logits = torch.full((64, 64), -5.0)
            for box in self.pieces:
                x1, y1, x2, y2 = (round(at) for at in unit.region.box_to_grid(box, 64, 64))
                logits[y1:y2, x1:x2] = 5
            masks = CandidateMasks(_AsTheyAre(), None, 0, logits[None])  # type: ignore[arg-type]
            unit.offer = Offer(masks, torch.tensor([0.9]), 3.0, None)


def test_a_lost_object_is_looked_at_from_near_where_it_is_most_like_it():
    """And not where all that resembles it lies; of what is seen from near, too, one piece remains."""
    red, blue, speck = (60, 60, 90, 90), (130, 110, 170, 150), (60, 96, 64, 100)
    unit = found(square(60, 60, 30, 30), BLUE, red_to=100, lost=9)
    frame = np.full((*SIZE, 3), BLUE, np.uint8)
    frame[:, :100] = RED
    sight = SimpleNamespace(size=SIZE, pixels=lambda at: frame[at.y1 : at.y2, at.x1 : at.x2])
    unit.region = far = Region(0, 0, 200, 200)
    engine = _Scattered((red, blue, speck))
    engine._see([unit], Step(11, False, 100), sight)  # type: ignore[arg-type]
    first, second = engine.seen
    assert first == far
    assert tuple(second) == pytest.approx(Zoom().close_up(red, SIZE), abs=4)  # to a cell of what was seen from afar
    assert stays(unit)
    [box] = best_boxes([unit], SIZE)
    assert box == pytest.approx(red, abs=3)


@pytest.mark.parametrize(
    ("x", "lost", "pace", "may"),
    [
        (140, 1, 0.0, True),  # just within reach
        (141, 1, 0.0, False),
        (141, 8, 0.0, False),
        (141, 9, 0.0, True),  # anywhere, after a while
        (220, 1, 40.0, True),  # two steps on its way
        (221, 1, 40.0, False),
        (140, 1, 40.0, True),  # it may have stopped
        (59, 1, 40.0, False),  # or gone back, but not far
        (221, 0, 0.0, True),  # who is not lost is not asked
    ],
)
def test_who_was_lost_a_moment_ago_is_found_on_its_way(x, lost, pace, may):
    marks = {"pace_x": pace, "pace_y": 0.0}
    last = FrameRecord(10, Role.TRACK, box=(100.0, 80.0, 140.0, 120.0), extent=40.0, lost=lost, marks=marks)
    assert on_its_way((float(x), 80.0, x + 40.0, 120.0), last, Step(11, False, 100)) == may


@pytest.mark.parametrize(("lost", "marks", "wider"), [(0, {}, True), (0, {"pace_x": 0.0}, False), (1, {}, False)])
def test_more_is_looked_at_for_what_vanishes_before_anybody_knows_how_fast_it_is(lost, marks, wider):
    unit = found(torch.full((64, 64), -5.0), RED, lost=lost, **marks)
    again = second_looks([unit], Step(11, False, 100), SIZE, Zoom())
    assert (again == [unit]) == wider
    assert (unit.region.width > REGION.width) == wider


@pytest.mark.parametrize(
    ("mask", "searching", "marks", "further"),
    [
        (None, True, {}, True),
        (square(100, 80, 40, 40), True, {}, False),  # there it is
        (square(REGION.x1, 80, 40, 40), True, {}, True),  # half of it
        (None, True, {"pace_x": 60.0}, False),  # it has turned, or is hidden
        (None, False, {}, False),
    ],
)
def test_what_may_be_anywhere_is_looked_for_further_away_where_it_is_not_seen_whole(mask, searching, marks, further):
    unit = found(torch.full((64, 64), -5.0) if mask is None else mask, RED, **marks)
    unit.searching = searching
    assert third_looks([unit], SIZE, Zoom()) == [unit] * further
    assert (unit.region.width > REGION.width) == further
    assert third_looks([], SIZE, Zoom()) == []


@pytest.mark.parametrize(
    ("pace", "at"),
    [
        (60.0, (120.0, 100.0)),  # where it was
        (-110.0, (120.0, 100.0)),
        (-125.0, None),  # it has left the frame
    ],
)
def test_what_does_not_go_on_as_it_went_is_asked_for_where_it_was_unless_it_has_left(pace, at):
    unit = found(torch.full((64, 64), -5.0), RED, pace_x=pace, pace_y=0.0)
    unit.pace = (pace, 0.0)
    assert second_looks([unit], Step(11, False, 100), SIZE, Zoom()) == [unit]
    assert unit.searching
    assert (unit.at, unit.pace) == (at, (pace if at is None else 0.0, 0.0))


@pytest.mark.parametrize(
    ("side", "likeness", "just_seen", "known"),
    [
        (56, 0.9, True, True),  # as what is being followed may have become larger
        (56, 0.9, False, False),
        (56, 0.85, True, False),
        (61, 0.9, True, False),
        (30, 0.9, True, True),
        (52, 0.8, False, True),
    ],
)
def test_how_large_what_was_seen_a_step_before_may_be(side, likeness, just_seen, known):
    box = (10.0, 10.0, 10.0 + side, 20.0)
    assert Zoom().recognised(box, 40.0, 0.6, likeness, just_seen=just_seen) == known


@pytest.mark.parametrize(("iou", "at"), [(0.66, (118.0, 108.0)), (0.64, None)])
def test_a_likely_find_is_compared_as_if_the_object_had_always_been_there(iou, at):
    unit = found(square(110, 100, 16, 16), RED, lost=1, iou=iou)
    masks = CandidateMasks(_AsTheyAre(), None, 0, square(110, 100, 16, 16)[None])  # type: ignore[arg-type]
    unit.offer = Offer(masks, torch.tensor([iou]), 3.0, None)
    assert second_looks([unit], Step(11, False, 100), SIZE, Zoom()) == [unit]
    assert unit.at == at
    assert unit.region == Region(94, 84, 142, 132)  # from near, either way


YELLOW = (230, 190, 40)


def discs(radius: int, places: list[tuple[int, int] | None], side: int, left_half=YELLOW):
    """Frames of 48 x 18 squares of ``side`` px with a yellow disc, and its pixels; away where a place is missing."""
    rng = np.random.default_rng(4)
    ground = np.kron(rng.integers(80, 110, (18, 48, 3), np.uint8), np.ones((side, side, 1), np.uint8))
    y, x = np.mgrid[: ground.shape[0], : ground.shape[1]]
    rgbs, truths = [], []
    for place in places:
        rgb, truth = ground.copy(), np.zeros(ground.shape[:2], bool)
        if place is not None:
            truth = (x - place[0]) ** 2 + (y - place[1]) ** 2 <= radius**2
            rgb[truth], rgb[truth & (x < place[0])] = YELLOW, left_half
        rgbs.append(rgb)
        truths.append(truth)
    return rgbs, truths


def followed(rgbs, truths, zoom: Zoom | bool = True) -> list[float]:
    """IoU on each frame; 1 where the object is away and nothing is shown."""
    session = keepsight.load("builtin", zoom=zoom).open(ArrayVideo(rgbs))
    session.add(object_id=1, frame=0, mask=truths[0])
    shown = {result.frame: result[1].mask.to_array() for result in session.propagate()}
    both = [(shown[t] & truth, shown[t] | truth) for t, truth in enumerate(truths)]
    return [common.sum() / either.sum() if either.any() else 1.0 for common, either in both]


@pytest.mark.parametrize(("radius", "pace"), [(20, 75), (10, 60), (20, 110)])
def test_a_thing_that_is_fast_from_the_first_frame_on_is_not_lost(radius, pace):
    """From two to three of its sizes a frame."""
    assert min(followed(*discs(radius, [(100 + pace * t, 180) for t in range(6)], side=20))) > 0.6


@pytest.mark.parametrize("pace", [40, 60, 75])
def test_a_fast_thing_that_turns_round_is_not_lost(pace):
    """From one to two of its sizes a frame, out and back."""
    places = [(300 + pace * t, 180) for t in [*range(6), *range(4, -1, -1)]]
    assert min(followed(*discs(20, places, side=20))) > 0.8


def test_a_thing_that_leaves_the_frame_fast_is_not_exchanged_for_one_that_comes():
    rgbs, truths = discs(20, [(620 + 75 * t, 180) for t in range(5)] + [None] * 4, side=20)
    came, _ = discs(20, [None] * 5 + [(900 - 60 * t, 200) for t in range(4)], side=20)
    assert min(followed(rgbs[:5] + came[5:], truths)) > 0.8


@pytest.mark.parametrize(("radius", "side", "far"), [(20, 20, (500, 180)), (60, 40, (1400, 360))])
def test_what_comes_back_far_from_where_it_left_is_found_again(radius, side, far):
    """A thing of less than a twentieth of the frame, which is searched in tiles, and one that shows in the whole frame."""
    left = (5 * radius, 9 * side)
    ious = followed(*discs(radius, [left] * 3 + [None] * 10 + [far] * 12, side, left_half=BLUE))
    assert min(ious[:13]) > 0.8  # and nothing is shown while it is away
    assert min(ious[-4:]) > 0.8


class _Sent(Zoom):
    """Looks for lost objects in the same tile in every frame."""

    def search(self, box, extent, lost, before, size, ahead=(0.0, 0.0), *, paced=True):
        return Region(1580, 240, 1820, 480)


def test_a_small_thing_is_known_in_a_tile_that_lies_many_tiles_from_where_it_left():
    ious = followed(*discs(20, [(100, 360)] * 2 + [None] * 9 + [(1720, 340)] * 2, 40, left_half=BLUE), zoom=_Sent())
    assert min(ious) > 0.8


def reading(selection: Selection) -> Track:
    """An object whose policy reads just that, with one hypothesis."""
    policy = SimpleNamespace(
        select_memory=lambda *_: selection,
        modulate=lambda _, chosen: chosen,
        active_hypotheses=lambda *_: [0],
        propose_prompts=lambda *_: None,
    )
    return Track(1, policy)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lost", "extent", "pace", "zoom", "at"),
    [
        (0, 14.0, 0.0, Zoom(), (107.0, 87.0)),
        (0, 15.0, 0.0, Zoom(), (107.0, 87.0)),
        (1, 14.0, 0.0, Zoom(), None),  # who knows where it is
        (25, 14.0, 0.0, Zoom(), (204.0, 100.0)),  # in the middle of a tile, if it is there
        (26, 14.0, 0.0, Zoom(), None),  # where it went, once more
        (17, 15.0, 0.0, Zoom(), None),  # in a tile, but a twentieth of the frame
        (0, 14.0, 60.0, Zoom(), None),  # told by its pace
        (0, 14.0, 0.0, None, None),
    ],
)
def test_what_was_said_long_ago_is_compared_where_the_object_is_now(lost, extent, pace, zoom, at):
    marks = {"pace_x": pace, "pace_y": 0.0}
    last = FrameRecord(
        10, Role.TRACK, box=(100.0, 80.0, 114.0, 94.0), extent=extent, lost=lost, region=REGION, marks=marks
    )
    track = reading(Selection((), ()))
    track.bank.add_tracked(10, [last])
    [unit] = units_of(track, Step(11, False, 100), SimpleNamespace(size=SIZE), zoom)  # type: ignore[arg-type]
    assert unit.at == at


@pytest.mark.parametrize(
    ("lost", "extent", "zoom", "read"),
    [
        ((0, 0, 0), 14.0, Zoom(), (0, 8, 9, 10)),
        ((0, 0, 1), 14.0, Zoom(), (0, 8, 9)),
        ((2, 3, 4), 14.0, Zoom(), (0,)),
        ((2, 3, 4), 15.0, Zoom(), (0, 8, 9, 10)),  # a twentieth of the frame: it would have been seen
        ((2, 3, 4), 14.0, None, (0, 8, 9, 10)),  # without zoom everything is as the reference has it
    ],
)
def test_of_a_small_lost_object_only_frames_that_show_it_are_read(lost, extent, zoom, read):
    told = FrameRecord(0, Role.PROMPT, box=(100.0, 80.0, 100 + extent, 80 + extent), extent=extent)
    recent = [
        FrameRecord(8 + i, Role.TRACK, box=told.box, extent=extent, lost=steps, region=REGION)
        for i, steps in enumerate(lost)
    ]
    selection = Selection(tuple(SpatialRead(record, i) for i, record in enumerate([told, *recent])))
    track = reading(selection)
    track.bank.add_conditioning(told)
    for record in recent:
        track.bank.add_tracked(record.frame, [record])
    [unit] = units_of(track, Step(11, False, 100), SimpleNamespace(size=SIZE), zoom)  # type: ignore[arg-type]
    assert tuple(one.record.frame for one in unit.selection.spatial) == read
